"""Settings: one frozen object, read once from the environment, which refuses what is missing or unsafe."""

import base64
import os
import re
import stat
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from email.utils import parseaddr
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from app.money import MAX_MINOR
from app.secrecy import KEY_BYTES, KeyRing, from_text

#: OWASP's and ASVS's minimum for Argon2id; the service refuses to start below it.
ARGON2_FLOOR_KIB, ARGON2_FLOOR_TIME = 19_456, 2

#: A pepper epoch as its line holds it: pepper, salt, and the Argon2 cost (KiB, passes, lanes) of its codes.
PEPPER_EPOCH = struct.Struct(">32s32sIII")

#: The one role that the service runs as: it can add to the books, and change nothing in them.
SERVICE_ROLE = "scrip_service"

#: Where requests may be counted beside the database, by the URL's scheme, and the package that it needs.
LIMIT_STORAGES = {
    "redis": "redis",
    "rediss": "redis",
    "redis+unix": "redis",
    "valkey": "valkey",
    "valkeys": "valkey",
    "valkey+unix": "valkey",
}

KEY_FILES = ("pepper", "personal", "sealing", "session", "hashing")


class UnsafeSettings(Exception):
    """A setting is missing or unsafe; the message says which, and what to do."""


@dataclass(frozen=True)
class Argon2Cost:
    """Memory in KiB, passes, lanes of pepper epochs that begin from now on: each epoch keeps what it began with.

    `concurrency` hashes run at once in a process, `queue` more may wait.
    """

    memory_kib: int = ARGON2_FLOOR_KIB
    time_cost: int = ARGON2_FLOOR_TIME
    parallelism: int = 1
    concurrency: int = 2
    queue: int = 64


@dataclass(frozen=True)
class IssuingLimits:
    """What a client, and an issuer by all of its clients, may issue in a day where no operator has set another limit.

    In minor units of each currency, and in cards.
    """

    client_minor: int = 1_000_000
    client_cards: int = 1_000
    issuer_minor: int = 5_000_000
    issuer_cards: int = 5_000

    def of(self, *, is_issuer: bool) -> tuple[int, int]:
        """Minor units and cards of an issuer, or of a client."""
        return (self.issuer_minor, self.issuer_cards) if is_issuer else (self.client_minor, self.client_cards)


@dataclass(frozen=True)
class Smtp:
    """Where letters go. `security` is `starttls`, `tls`, or `none` (to loopback only)."""

    host: str
    port: int
    security: str
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Limits:
    """How many requests in how much time, as `1200/minute`, and the storage that counts them.

    `per_client`: of one OAuth client, and of one address at the OAuth endpoints, where it is not known yet.
    `per_address`: of one address (v6: of one /64) on pages, in the widget and with access tokens that are not good.
    `per_site`: of one v6 /48. `wrong_secrets`: of one address for one client.
    """

    storage_url: str = field(default="pg://", repr=False)
    per_client: str = "12000/minute"
    per_address: str = "1200/minute"
    per_site: str = "6000/minute"
    wrong_secrets: str = "20/minute"


@dataclass(frozen=True)
class Keys:
    """The secret keys outside the database. The pepper file is read again when it changes (issuance/code_hash.py)."""

    pepper_file: Path
    personal: KeyRing
    sealing: KeyRing
    session: KeyRing
    hashing: KeyRing


@dataclass(frozen=True)
class AlarmThresholds:
    """From which figure on an alarm is given; the rules (guard/alarm_rules.py) say of what. Each is ALARM_<NAME>.

    Amounts are in whole units of the currency, such as pounds; see `Alarms.rates`.
    """

    wrong_codes_store: int = 10
    wrong_codes_overall: int = 150
    wrong_codes_share: int = 20
    elsewhere: int = 3
    openings: int = 30
    new_links: int = 5
    countries: int = 5
    settled_amount: int = 2_000
    settled_count: int = 50
    refunded_amount: int = 500
    refunded_count: int = 10
    issued_amount: int = 5_000
    issued_count: int = 100
    times_usual: int = 3
    spreads: int = 6


@dataclass(frozen=True)
class Alarms:
    """From when on, and to whom, alarms are told. `rates`: units of a currency that are worth about one of the others.

    `webhook_secret` is the key of the Standard Webhooks scheme.
    """

    thresholds: AlarmThresholds = AlarmThresholds()
    rates: Mapping[str, int] = field(default_factory=dict)
    emails: tuple[str, ...] = field(default=(), repr=False)
    webhook_url: str | None = field(default=None, repr=False)
    webhook_secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Settings:
    """What an operator decides about one process. Times in the unit that the name ends in."""

    database_url: str = field(repr=False)
    public_url: str
    keys: Keys
    smtp: Smtp
    argon2: Argon2Cost = Argon2Cost()
    issuing: IssuingLimits = IssuingLimits()
    limits: Limits = Limits()
    link_valid_days: int = 90
    log_level: str = "INFO"
    database_pool_size: int = 10
    fapi_only: bool = False
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    client_certificate_header: str | None = None
    country_header: str | None = None
    usual_wrong_codes_per_s: int = 20
    captcha_cost: int = 4_000
    metrics_dir: Path | None = None
    alarms: Alarms = Alarms()

    @property
    def loopback(self) -> bool:
        """Whether the service is for this machine only: a demo or a test."""
        return is_loopback(urlsplit(self.public_url).hostname or "")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Reads the environment. Raises UnsafeSettings with advice for whatever is missing or unsafe."""
        keys = read_keys(Path(_required(environ, "KEYS_DIR", "the folder of key files; make it by `scrip keys init`")))
        _check_epochs(keys.pepper_file)
        return cls(
            database_url=_database_url(
                _required(environ, "DATABASE_URL", "the URL of the service's role in PostgreSQL")
            ),
            public_url=_origin(_required(environ, "PUBLIC_URL", "the origin that holders and stores reach")),
            keys=keys,
            smtp=_smtp(environ),
            argon2=read_argon2(environ),
            issuing=_issuing(environ),
            limits=_limits(environ),
            link_valid_days=_whole(environ, "LINK_VALID_DAYS", 90, least=1),
            log_level=_one_of(environ, "LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
            database_pool_size=_whole(environ, "DATABASE_POOL_SIZE", 10, least=2),
            fapi_only=_one_of(environ, "OAUTH_FAPI_ONLY", ("no", "yes")) == "yes",
            trusted_proxies=_networks(environ, "TRUSTED_PROXIES"),
            client_certificate_header=_believed_header(environ, "CLIENT_CERTIFICATE_HEADER"),
            country_header=_believed_header(environ, "COUNTRY_HEADER"),
            usual_wrong_codes_per_s=_whole(environ, "USUAL_WRONG_CODES_PER_S", 20, least=1),
            captcha_cost=_whole(environ, "CAPTCHA_COST", 4_000, least=20, most=40_000),
            metrics_dir=_own_folder(environ, "PROMETHEUS_MULTIPROC_DIR"),
            alarms=_alarms(environ),
        )


def read_keys(folder: Path) -> Keys:
    """A folder of key files, each 0400. Raises UnsafeSettings when one is missing, malformed or readable by others."""
    read_key_lines(folder / "pepper.keys")
    rings = {name: KeyRing(read_key_lines(folder / f"{name}.keys")) for name in KEY_FILES if name != "pepper"}
    return Keys(pepper_file=folder / "pepper.keys", **rings)


def read_key_lines(path: Path) -> dict[int, bytes]:
    """`version:secret` lines, a secret being 32 bytes (an epoch of peppers: PEPPER_EPOCH) in URL-safe base64."""
    length = PEPPER_EPOCH.size if path.name.startswith("pepper") else KEY_BYTES
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UnsafeSettings(f"{path} can be read by others: chmod 400 it")
        lines = path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        raise UnsafeSettings(
            f"{path} is missing: `scrip keys init` makes it (never for a database that has cards)"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UnsafeSettings(f"{path} cannot be read: {error}") from None
    try:
        versions = {int(version): from_text(secret) for version, _, secret in (line.partition(":") for line in lines)}
    except ValueError:
        raise UnsafeSettings(f"{path} must hold lines of version:secret, as `scrip keys init` writes them") from None
    if not versions or any(len(secret) != length or not 0 < version < 256 for version, secret in versions.items()):
        raise UnsafeSettings(f"{path} must hold versions from 1 to 255 with secrets of {length} bytes")
    return versions


def is_loopback(host: str) -> bool:
    """Whether a host name or address stays on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_current: Settings | None = None


def use(chosen: Settings) -> None:
    """Makes these the settings of the process."""
    global _current
    _current = chosen


def settings() -> Settings:
    """The settings of the process; `use` comes first."""
    if _current is None:
        raise RuntimeError("no settings yet: call app.config.use first")
    return _current


def _required(environ: Mapping[str, str], name: str, meaning: str) -> str:
    if value := environ.get(name, "").strip():
        return value
    raise UnsafeSettings(f"{name} is not set: {meaning}")


def _whole(environ: Mapping[str, str], name: str, default: int, *, least: int, most: int | None = None) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < least:
        raise UnsafeSettings(f"{name} must be a whole number of at least {least}, not {text!r}")
    if most is not None and int(text) > most:
        raise UnsafeSettings(f"{name} must be at most {most}, not {text!r}")
    return int(text)


def _issuing(environ: Mapping[str, str]) -> IssuingLimits:
    """No number means no limit: a client that is stolen must come to an end."""
    limits = {
        name: _whole(environ, f"ISSUE_LIMIT_{name.upper()}", default, least=0, most=MAX_MINOR)
        for name, default in asdict(IssuingLimits()).items()
    }
    return IssuingLimits(**limits)


def _check_epochs(pepper_file: Path) -> None:
    for epoch, line in read_key_lines(pepper_file).items():
        _, _, memory_kib, time_cost, _ = PEPPER_EPOCH.unpack(line)
        if memory_kib < ARGON2_FLOOR_KIB or time_cost < ARGON2_FLOOR_TIME:
            raise UnsafeSettings(f"{pepper_file}: epoch {epoch} hashes with less than the least that is safe")


def _one_of(environ: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """The first choice is the default."""
    value = environ.get(name) or choices[0]
    if value not in choices:
        raise UnsafeSettings(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def _database_url(url: str) -> str:
    """A role with more rights, a superuser above all, would take the database's own guard away."""
    if not url.startswith("postgresql+psycopg://") or urlsplit(url).username != SERVICE_ROLE:
        raise UnsafeSettings(f"DATABASE_URL must be postgresql+psycopg://{SERVICE_ROLE}:…@host/database")
    return url


def _networks(environ: Mapping[str, str], name: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(network.strip()) for network in environ.get(name, "").split(",") if network.strip())
    except ValueError as error:
        raise UnsafeSettings(f"{name} must be networks such as 10.0.0.0/24, with commas: {error}") from None


def _believed_header(environ: Mapping[str, str], name: str) -> str | None:
    """Anybody can send a header: one that is believed needs a proxy that is."""
    header = environ.get(name, "").strip() or None
    if header and not re.fullmatch("[A-Za-z0-9-]+", header):
        raise UnsafeSettings(f"{name} must be a name of letters, digits and dashes, not {header!r}")
    if header and not _networks(environ, "TRUSTED_PROXIES"):
        raise UnsafeSettings(f"{name} needs TRUSTED_PROXIES: the addresses that may send it")
    return header


def _own_folder(environ: Mapping[str, str], name: str) -> Path | None:
    """A folder that is there, in which this account may write and nobody else."""
    folder = Path(environ[name]) if environ.get(name) else None
    if folder is None:
        return None
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UnsafeSettings(f"{name} must be a folder that this account can write to: {folder} is none")
    if stat.S_IMODE(folder.stat().st_mode) & 0o022:
        raise UnsafeSettings(f"{folder} can be written to by others: chmod 700 it")
    return folder


def _sender(address: str) -> str:
    if "@" not in parseaddr(address)[1]:
        raise UnsafeSettings(f"MAIL_FROM must be an address such as 'Scrip <cards@cards.example>', not {address!r}")
    return address


def _origin(url: str) -> str:
    parts = urlsplit(url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise UnsafeSettings(f"PUBLIC_URL must be an origin such as https://cards.example, not {url!r}")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise UnsafeSettings("PUBLIC_URL must be https: codes and access tokens would travel in clear")
    return f"{parts.scheme}://{parts.netloc}"


def _smtp(environ: Mapping[str, str]) -> Smtp:
    host = _required(environ, "SMTP_HOST", "the server that takes letters")
    security = _one_of(environ, "SMTP_TLS", ("starttls", "tls", "none"))
    if security == "none" and not is_loopback(host):
        raise UnsafeSettings("SMTP_TLS=none is for loopback only: claim links would travel in clear")
    password_file = environ.get("SMTP_PASSWORD_FILE")
    try:
        password = Path(password_file).read_text().strip() if password_file else None
    except OSError as error:
        raise UnsafeSettings(f"SMTP_PASSWORD_FILE cannot be read: {error}") from None
    return Smtp(
        host=host,
        port=_whole(environ, "SMTP_PORT", 587, least=1),
        security=security,
        sender=_sender(_required(environ, "MAIL_FROM", "the address that letters come from")),
        user=environ.get("SMTP_USER") or None,
        password=password,
    )


def _alarms(environ: Mapping[str, str]) -> Alarms:
    thresholds = {
        name: _whole(environ, f"ALARM_{name.upper()}", default, least=1)
        for name, default in asdict(AlarmThresholds()).items()
    }
    url = environ.get("ALARM_WEBHOOK_URL", "").strip() or None
    return Alarms(
        thresholds=AlarmThresholds(**thresholds),
        rates=_rates(environ.get("ALARM_RATES", "")),
        emails=tuple(_bare_address(each) for each in environ.get("ALARM_EMAIL", "").split(",") if each.strip()),
        webhook_url=_hook_url(url) if url else None,
        webhook_secret=_hook_secret(environ.get("ALARM_WEBHOOK_SECRET_FILE"), is_needed=url is not None),
    )


def _rates(text: str) -> dict[str, int]:
    pairs = [pair.partition("=") for pair in text.replace(" ", "").split(",") if pair]
    if any(not re.fullmatch("[A-Z]{3}", code) or not re.fullmatch("[1-9][0-9]{0,8}", rate) for code, _, rate in pairs):
        raise UnsafeSettings(f"ALARM_RATES must be such as JPY=150,HUF=350, not {text!r}")
    return {code: int(rate) for code, _, rate in pairs}


def _bare_address(text: str) -> str:
    """The message does not repeat what may be a person's address."""
    if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", text.strip()):
        raise UnsafeSettings("ALARM_EMAIL must be addresses such as ops@cards.example, with commas")
    return text.strip()


def _hook_url(url: str) -> str:
    """The message does not repeat it: many receivers have a secret in theirs."""
    parts = urlsplit(url)
    if not re.fullmatch(r"https?://[!-~]+", url) or not parts.hostname or parts.username or parts.fragment:
        raise UnsafeSettings("ALARM_WEBHOOK_URL must be an address such as https://hooks.example/scrip")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise UnsafeSettings("ALARM_WEBHOOK_URL must be https: anybody on the way could read and change alarms")
    return url


def _hook_secret(path: str | None, *, is_needed: bool) -> bytes | None:
    if not is_needed:
        return None
    if not path:
        raise UnsafeSettings("ALARM_WEBHOOK_URL needs ALARM_WEBHOOK_SECRET_FILE: receivers verify our signature")
    try:
        text = Path(path).read_text(encoding="ascii").strip()
        secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except OSError as error:
        raise UnsafeSettings(f"ALARM_WEBHOOK_SECRET_FILE cannot be read: {error}") from None
    except ValueError:
        secret = b""
    if not 24 <= len(secret) <= 64:
        raise UnsafeSettings("ALARM_WEBHOOK_SECRET_FILE must hold whsec_ and 24 to 64 random bytes in base64")
    return secret


def _limits(environ: Mapping[str, str]) -> Limits:
    """Memory is no storage: each process would count for itself, and two of them let twice as much through."""
    storage_url = environ.get("LIMITS_STORAGE_URL", "").strip() or "pg://"
    scheme = storage_url.partition("://")[0]
    if storage_url != "pg://" and scheme not in LIMIT_STORAGES:
        raise UnsafeSettings(f"LIMITS_STORAGE_URL must be pg://, or begin with one of {', '.join(LIMIT_STORAGES)}")
    package = LIMIT_STORAGES.get(scheme)
    if package and find_spec(package) is None:
        raise UnsafeSettings(f"LIMITS_STORAGE_URL needs a package that is not here: .venv/bin/pip install {package}")
    return Limits(
        storage_url=storage_url,
        per_client=_rate(environ, "LIMIT_PER_CLIENT", Limits.per_client),
        per_address=_rate(environ, "LIMIT_PER_ADDRESS", Limits.per_address),
        per_site=_rate(environ, "LIMIT_PER_SITE", Limits.per_site),
        wrong_secrets=_rate(environ, "LIMIT_WRONG_SECRETS", Limits.wrong_secrets),
    )


def _rate(environ: Mapping[str, str], name: str, default: str) -> str:
    rate = environ.get(name, "").strip() or default
    if not re.fullmatch(r"[1-9][0-9]{0,8}/(second|minute|hour)", rate):
        raise UnsafeSettings(f"{name} must be a number of requests in a second, minute or hour, such as {default}")
    return rate


def read_argon2(environ: Mapping[str, str]) -> Argon2Cost:
    """The cost of new epochs. Raises UnsafeSettings below the floor."""
    return Argon2Cost(
        memory_kib=_whole(environ, "ARGON2_MEMORY_KIB", ARGON2_FLOOR_KIB, least=ARGON2_FLOOR_KIB),
        time_cost=_whole(environ, "ARGON2_TIME_COST", ARGON2_FLOOR_TIME, least=ARGON2_FLOOR_TIME),
        parallelism=_whole(environ, "ARGON2_PARALLELISM", 1, least=1),
        concurrency=_whole(environ, "ARGON2_CONCURRENCY", 2, least=1),
    )
