"""What a store says in `SCRIP` of its Django settings, or in the environment: read once, and refused when wrong."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from scrip_sdk.django import brings_clients
from scrip_sdk.shopper import SHORTEST_SECRET

#: Names that the environment may say too, as SCRIP_URL and so on, where the settings are silent.
FROM_ENVIRONMENT = ("URL", "CLIENT_ID", "CLIENT_SECRET", "CLIENT_SECRET_FILE", "PRIVATE_KEY_FILE", "STORE_ID")


@dataclass(frozen=True)
class ScripSettings:
    """How this store reaches the service, and what it wants. Times are in seconds."""

    #: Empty, as `client_id`, only where an app brings its clients.
    url: str = field(default="")
    client_id: str = field(default="")
    client_secret: str | None = field(default=None, repr=False)
    private_key: str | dict[str, Any] | None = field(default=None, repr=False)
    store_id: str | None = None
    #: Where the service goes by another origin than `url`.
    issuer: str | None = None
    #: The keys of the hash that names a shopper to the service.
    shopper_secret: bytes = field(default=b"", repr=False)
    #: One call's time budget: to connect, to wait for an answer, and in all with its retries.
    connect_s: float = 2.0
    read_s: float = 3.0
    total_s: float = 8.0
    #: Whether instructions are delivered right after the commit, and for how long at most; else by the command only.
    deliver_on_commit: bool = True
    deliver_budget_s: float = 2.0
    #: How long after it was confirmed a payment without an order is given back.
    abandoned_after_s: float = 900.0
    #: How old a waiting instruction may get before `manage.py check` speaks of it.
    late_after_s: float = 3600.0
    #: How many proxies of the store's own stand before it and add to X-Forwarded-For.
    trusted_proxies: int = 0
    #: Names of posted fields that hold a code, besides those of `CodeField`.
    code_fields: tuple[str, ...] = ()
    #: Whether ADMINS get a mail when an instruction is given up.
    mail_admins: bool = True


@lru_cache(maxsize=1)
def scrip_settings() -> ScripSettings:
    """The store's settings. Raises ImproperlyConfigured, which names what is missing and never says a secret."""
    said = _said()
    known = {option.name.upper() for option in fields(ScripSettings)} | {"CLIENT_SECRET_FILE", "PRIVATE_KEY_FILE"}
    if unknown := sorted(set(said) - (known - {"PRIVATE_KEY"})):
        raise ImproperlyConfigured(f"SCRIP has settings that do not exist: {', '.join(map(repr, unknown))}.")
    brought = brings_clients()
    for name in ("URL", "CLIENT_ID"):
        if not said.get(name) and not brought:
            raise ImproperlyConfigured(f"SCRIP[{name!r}] is missing (or SCRIP_{name} in the environment).")
    plain = {name.lower(): value for name, value in said.items() if not name.endswith("_FILE")}
    if "CLIENT_SECRET_FILE" in said:
        plain["client_secret"] = _content("CLIENT_SECRET_FILE", said)
    if "PRIVATE_KEY_FILE" in said:
        plain["private_key"] = _key(_content("PRIVATE_KEY_FILE", said))
    if bool(plain.get("client_secret")) == bool(plain.get("private_key")) and not brought:
        raise ImproperlyConfigured("SCRIP needs one of CLIENT_SECRET, CLIENT_SECRET_FILE and PRIVATE_KEY_FILE.")
    for name in ("connect_s", "read_s", "total_s", "deliver_budget_s", "abandoned_after_s", "late_after_s"):
        if not isinstance(plain.get(name, 0.0), int | float) or plain.get(name, 0.0) < 0:
            raise ImproperlyConfigured(f"SCRIP[{name.upper()!r}] must be a number of seconds.")
    plain["code_fields"] = tuple(plain.get("code_fields", ()))
    plain["shopper_secret"] = _shopper_secret(plain.get("shopper_secret"))
    return ScripSettings(**plain)


def _said() -> dict[str, Any]:
    said = getattr(settings, "SCRIP", None) or {}
    if not isinstance(said, Mapping):
        raise ImproperlyConfigured("SCRIP must be a dictionary.")
    environment = {name: os.environ[f"SCRIP_{name}"] for name in FROM_ENVIRONMENT if os.environ.get(f"SCRIP_{name}")}
    if brings_clients():
        environment = {}
    if any(said.get(name) for name in ("CLIENT_SECRET", "CLIENT_SECRET_FILE", "PRIVATE_KEY_FILE")):
        for name in ("CLIENT_SECRET", "CLIENT_SECRET_FILE", "PRIVATE_KEY_FILE"):
            environment.pop(name, None)  # the settings have said how: another way in the environment is none of this
    return environment | {name: value for name, value in said.items() if value is not None}


def _content(name: str, said: Mapping[str, Any]) -> str:
    try:
        content = Path(said[name]).read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(f"SCRIP[{name!r}] cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ImproperlyConfigured(f"SCRIP[{name!r}] is no text file.") from None
    if not content:
        raise ImproperlyConfigured(f"SCRIP[{name!r}] is an empty file.")
    return content


def _key(content: str) -> str | dict[str, Any]:
    """A JWK as what it says; all else as it is: PEM, or what the client says is no key."""
    try:
        read = json.loads(content)
    except ValueError:
        return content
    return read if isinstance(read, dict) else content


def _shopper_secret(said: str | bytes | None) -> bytes:
    """The store's own, or one that follows from its SECRET_KEY."""
    if said:
        own = said.encode() if isinstance(said, str) else said
        if len(own) < SHORTEST_SECRET:
            raise ImproperlyConfigured(f"SCRIP['SHOPPER_SECRET'] must have {SHORTEST_SECRET} bytes at least.")
        return own
    digest: bytes = salted_hmac("scrip_sdk.django.shopper", "shopper", algorithm="sha256").digest()
    return digest
