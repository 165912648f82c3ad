"""Scrip for Django: put `scrip_sdk.django` into INSTALLED_APPS, say `SCRIP` in the settings, and run `migrate`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrip_sdk import Client

__all__ = ["brings_clients", "client", "forget_client", "use_client", "with_client"]

_lock = threading.Lock()
_client: Client | None = None
_inside: ContextVar[Client | None] = ContextVar("scrip_client", default=None)


def client() -> Client:
    """The one client of this process, made on first use; inside `with_client` that one. Raises ImproperlyConfigured."""
    global _client
    found = _inside.get() or _client
    if found is None:
        with _lock:
            found = _client = _client or _made()
    return found


def use_client(other: Client) -> None:
    """Puts another client in its place: a store's tests put one of `scrip_sdk.testing` here."""
    global _client
    _client = other


@contextmanager
def with_client(other: Client) -> Iterator[None]:
    """Inside the block, and in no other thread, `client()` is this one: for software that serves several stores.

    What is told after a commit is told by the client of the block in which that was asked for.
    """
    before = _inside.set(other)
    try:
        yield
    finally:
        _inside.reset(before)


def brings_clients() -> bool:
    """Whether an installed app says `with_client` wherever one is needed (`brings_scrip_clients` of its AppConfig), so
    that the settings name none."""
    from django.apps import apps

    return any(getattr(app, "brings_scrip_clients", False) for app in apps.get_app_configs())


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
    if not said.url:
        raise ImproperlyConfigured(
            "SCRIP names no client, and nobody has brought one: see scrip_sdk.django.with_client."
        )
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
