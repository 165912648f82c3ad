"""Scrip for Django: put `scrip_sdk.django` into INSTALLED_APPS, say `SCRIP` in the settings, and run `migrate`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrip_sdk import Client

__all__ = ["client", "forget_client", "use_client"]

_lock = threading.Lock()
#: By what they are for: "any" call, or what is "quick" because a shopper waits for a page though all is done.
_clients: dict[str, Client] = {}


def client() -> Client:
    """The one client of this process, made on first use. Raises ImproperlyConfigured."""
    return _client_for("any")


def quick_client() -> Client:
    """The same with less time: for what would be done later anyway."""
    return _client_for("quick")


def use_client(other: Client) -> None:
    """Puts another client in their place: a store's tests put one of `scrip_sdk.testing` here."""
    _clients.update(any=other, quick=other)


def forget_client() -> None:
    """Reads the settings and makes the client anew when either is next asked for."""
    from scrip_sdk.django.settings import scrip_settings

    scrip_settings.cache_clear()
    _clients.clear()


def _client_for(purpose: str) -> Client:
    found = _clients.get(purpose)
    if found is None:
        with _lock:
            found = _clients.get(purpose)
            if found is None:
                found = _clients[purpose] = _made(purpose)
    return found


def _made(purpose: str) -> Client:
    """Models cannot be imported before the apps are ready, and settings not before they are said: not above."""
    from django.core.exceptions import ImproperlyConfigured

    from scrip_sdk import Budget, Client
    from scrip_sdk.django.settings import scrip_settings

    said = scrip_settings()
    total_s = min(said.total_s, said.deliver_budget_s) if purpose == "quick" else said.total_s
    try:
        budget = Budget(min(said.connect_s, total_s), min(said.read_s, total_s), total_s)
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
