"""Settings: one frozen object, read once from the environment, which refuses what is missing or unsafe."""

import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from urllib.parse import urlsplit

from app.config_guard import Alarms, IssuingLimits, Limits, read_alarms, read_issuing, read_limits
from app.environment import (
    UnsafeSettings,
    believed_header,
    is_loopback,
    one_of,
    own_folder,
    required,
    trusted_proxies,
    whole,
)
from app.secrecy import KEY_BYTES, KeyRing, from_text

#: OWASP's and ASVS's minimum for Argon2id; the service refuses to start below it.
ARGON2_FLOOR_KIB, ARGON2_FLOOR_TIME = 19_456, 2

#: A pepper epoch as its line holds it: pepper, salt, and the Argon2 cost (KiB, passes, lanes) of its codes.
PEPPER_EPOCH = struct.Struct(">32s32sIII")

#: The one role that the service runs as: it can add to the books, and change nothing in them.
SERVICE_ROLE = "scrip_service"

KEY_FILES = ("pepper", "personal", "sealing", "session", "hashing")


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
class Smtp:
    """Where letters go. `security` is `starttls`, `tls`, or `none` (to loopback only)."""

    host: str
    port: int
    security: str
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Keys:
    """The secret keys outside the database. The pepper file is read again when it changes (issuance/code_hash.py)."""

    pepper_file: Path
    personal: KeyRing
    sealing: KeyRing
    session: KeyRing
    hashing: KeyRing


@dataclass(frozen=True)
class Settings:
    """What an operator decides about one process. Times in the unit that the name ends in."""

    database_url: str = field(repr=False)
    public_url: str
    keys: Keys
    smtp: Smtp
    argon2: Argon2Cost = Argon2Cost()
    issuing: IssuingLimits = field(default_factory=IssuingLimits)
    limits: Limits = field(default_factory=Limits)
    link_valid_days: int = 90
    log_level: str = "INFO"
    database_pool_size: int = 10
    fapi_only: bool = False
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    trusts_socket: bool = False
    client_certificate_header: str | None = None
    country_header: str | None = None
    usual_wrong_codes_per_s: int = 20
    captcha_cost: int = 4_000
    metrics_dir: Path | None = None
    alarms: Alarms = field(default_factory=Alarms)
    self_bill_after_days: int = 0

    @property
    def loopback(self) -> bool:
        """Whether the service is for this machine only: a demo or a test."""
        return is_loopback(urlsplit(self.public_url).hostname or "")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Reads the environment. Raises UnsafeSettings with advice for whatever is missing or unsafe."""
        keys = read_keys(Path(required(environ, "KEYS_DIR", "the folder of key files; make it by `scrip keys init`")))
        _check_epochs(keys.pepper_file)
        public_url = _origin(required(environ, "PUBLIC_URL", "the origin that holders and stores reach"))
        proxies, trusts_socket = trusted_proxies(environ, is_loopback=is_loopback(urlsplit(public_url).hostname or ""))
        return cls(
            database_url=_database_url(
                required(environ, "DATABASE_URL", "the URL of the service's role in PostgreSQL")
            ),
            public_url=public_url,
            keys=keys,
            smtp=_smtp(environ),
            argon2=read_argon2(environ),
            issuing=read_issuing(environ),
            limits=read_limits(environ),
            link_valid_days=whole(environ, "LINK_VALID_DAYS", 90, least=1),
            log_level=one_of(environ, "LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
            database_pool_size=whole(environ, "DATABASE_POOL_SIZE", 10, least=2),
            fapi_only=one_of(environ, "OAUTH_FAPI_ONLY", ("no", "yes")) == "yes",
            trusted_proxies=proxies,
            trusts_socket=trusts_socket,
            client_certificate_header=believed_header(environ, "CLIENT_CERTIFICATE_HEADER"),
            country_header=believed_header(environ, "COUNTRY_HEADER"),
            usual_wrong_codes_per_s=whole(environ, "USUAL_WRONG_CODES_PER_S", 20, least=1),
            captcha_cost=whole(environ, "CAPTCHA_COST", 4_000, least=20, most=40_000),
            metrics_dir=own_folder(environ, "PROMETHEUS_MULTIPROC_DIR"),
            alarms=read_alarms(environ),
            self_bill_after_days=whole(environ, "SELF_BILL_AFTER_DAYS", 0, least=0),
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


def _check_epochs(pepper_file: Path) -> None:
    for epoch, line in read_key_lines(pepper_file).items():
        _, _, memory_kib, time_cost, _ = PEPPER_EPOCH.unpack(line)
        if memory_kib < ARGON2_FLOOR_KIB or time_cost < ARGON2_FLOOR_TIME:
            raise UnsafeSettings(f"{pepper_file}: epoch {epoch} hashes with less than the least that is safe")


def _database_url(url: str) -> str:
    """A role with more rights, a superuser above all, would take the database's own guard away."""
    if not url.startswith("postgresql+psycopg://") or urlsplit(url).username != SERVICE_ROLE:
        raise UnsafeSettings(f"DATABASE_URL must be postgresql+psycopg://{SERVICE_ROLE}:…@host/database")
    return url


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
    host = required(environ, "SMTP_HOST", "the server that takes letters")
    security = one_of(environ, "SMTP_TLS", ("starttls", "tls", "none"))
    if security == "none" and not is_loopback(host):
        raise UnsafeSettings("SMTP_TLS=none is for loopback only: claim links would travel in clear")
    password_file = environ.get("SMTP_PASSWORD_FILE")
    try:
        password = Path(password_file).read_text().strip() if password_file else None
    except OSError as error:
        raise UnsafeSettings(f"SMTP_PASSWORD_FILE cannot be read: {error}") from None
    return Smtp(
        host=host,
        port=whole(environ, "SMTP_PORT", 587, least=1),
        security=security,
        sender=_sender(required(environ, "MAIL_FROM", "the address that letters come from")),
        user=environ.get("SMTP_USER") or None,
        password=password,
    )


def read_argon2(environ: Mapping[str, str]) -> Argon2Cost:
    """The cost of new epochs. Raises UnsafeSettings below the floor."""
    return Argon2Cost(
        memory_kib=whole(environ, "ARGON2_MEMORY_KIB", ARGON2_FLOOR_KIB, least=ARGON2_FLOOR_KIB),
        time_cost=whole(environ, "ARGON2_TIME_COST", ARGON2_FLOOR_TIME, least=ARGON2_FLOOR_TIME),
        parallelism=whole(environ, "ARGON2_PARALLELISM", 1, least=1),
        concurrency=whole(environ, "ARGON2_CONCURRENCY", 2, least=1),
    )
