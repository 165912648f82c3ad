"""The client of an event: what its organizer says in the payment settings, one for live and one for test mode."""

from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from django.conf import settings
from pretix.helpers.ssrf import should_block_access

from scrip_sdk import Budget, Client
from scrip_sdk.django import with_client
from scrip_sdk.django.settings import scrip_settings

PROVIDER = "scrip"


class NoClient(Exception):
    """The event has no client for this mode: its organizer has taken the settings out."""


def has_client(event: Any, *, is_test: bool) -> bool:
    """Whether the event can take cards in this mode."""
    return all(_said(event, is_test))


def client_of(event: Any, *, is_test: bool) -> Client:
    """Raises NoClient."""
    url, client_id, client_secret = _said(event, is_test)
    if not (url and client_id and client_secret):
        raise NoClient
    try:
        return make_client(url, client_id, client_secret)
    except ValueError:  # an address that was good when it was saved
        raise NoClient from None


def as_client_of(event: Any, *, is_test: bool) -> AbstractContextManager[None]:
    """Inside the block the functions of `scrip_sdk.django` speak for this event. Raises NoClient."""
    return with_client(client_of(event, is_test=is_test))


@lru_cache(maxsize=128)
def make_client(url: str, client_id: str, client_secret: str) -> Client:
    """One for each set of credentials, which keeps its connections and access token. Raises ValueError.

    Organizers say addresses, and none of them may look into the network that pretix stands in: pretix forbids that for
    the connections that it knows of, and so does this client.
    """
    said = scrip_settings()
    budget = Budget(min(said.connect_s, said.total_s), min(said.read_s, said.total_s), said.total_s)
    return Client(url, client_id, client_secret, budget=budget, may_connect=_may_connect)


def _may_connect(address: str) -> bool:
    return settings.ALLOW_HTTP_TO_PRIVATE_NETWORKS or not should_block_access((address,))[0]


def _said(event: Any, is_test: bool) -> tuple[str, str, str]:
    prefix = f"payment_{PROVIDER}_"
    mode = "test_" if is_test else ""
    names = ("url", f"{mode}client_id", f"{mode}client_secret")
    url, client_id, client_secret = (str(event.settings.get(prefix + name) or "") for name in names)
    return url, client_id, client_secret
