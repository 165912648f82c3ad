"""Scrip for Django: put `scrip_sdk.django` into INSTALLED_APPS, say `SCRIP` in the settings, and run `migrate`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrip_sdk import Client

__all__ = ["client", "forget_client", "use_client"]

_lock = threading.Lock()
_client: Client | None = None


def client() -> Client:
    """The one client of this process, made on first use. Raises ImproperlyConfigured."""
    global _client
    found = _client
    if found is None:
        with _lock:
            found = _client = _client or _made()
    return found


def use_client(other: Client) -> None:
    """Puts another client in its place: a store's tests put one of `scrip_sdk.testing` here."""
    global _client
    _client = other


def forget_client() -> None:
    """Reads the settings and makes the client anew when it is next asked for."""
    from scrip_sdk.django.settings import scrip_settings

    global _client
    scrip_settings.cache_clear()
    _client = None


def _made() -> Client:
    """Models cannot be imported before the apps are ready, and settings not before they are said: not above."""
    from django.core.exceptions import ImproperlyConfigured

    from scrip_sdk import Budget, Client
    from scrip_sdk.django.settings import scrip_settings

    said = scrip_settings()
    try:
        budget = Budget(min(said.connect_s, said.total_s), min(said.read_s, said.total_s), said.total_s)
        return Client(
            said.url,
            said.client_id,
            said.client_secret,
            private_key=said.private_key,
            issuer=said.issuer,
            budget=budget,
        )
    except ValueError as error:
        raise ImproperlyConfigured(f"SCRIP: {error}") from None
