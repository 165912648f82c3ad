"""Settings of the guard: limits, and what is unusual."""

import base64
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from app.environment import UnsafeSettings, is_loopback, whole
from app.money import MAX_MINOR

#: Where requests may be counted beside the database, by the URL's scheme, and the package that it needs.
LIMIT_STORAGES = {
    "redis": "redis",
    "rediss": "redis",
    "redis+unix": "redis",
    "valkey": "valkey",
    "valkeys": "valkey",
    "valkey+unix": "valkey",
}


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
    issuing_limited: int = 1
    funds_short: int = 1
    funds_low: int = 1
    funds_unknown: int = 1
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


def read_issuing(environ: Mapping[str, str]) -> IssuingLimits:
    """No number means no limit: a client that is stolen must come to an end."""
    limits = {
        name: whole(environ, f"ISSUE_LIMIT_{name.upper()}", default, least=0, most=MAX_MINOR)
        for name, default in asdict(IssuingLimits()).items()
    }
    return IssuingLimits(**limits)


def read_limits(environ: Mapping[str, str]) -> Limits:
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


def read_alarms(environ: Mapping[str, str]) -> Alarms:
    thresholds = {
        name: whole(environ, f"ALARM_{name.upper()}", default, least=1)
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
