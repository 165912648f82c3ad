"""Who is at the checkout, as the service may know it: for the same shopper always the same, and nothing else."""

import secrets
from typing import Any

from scrip_sdk.django.settings import scrip_settings
from scrip_sdk.shopper import Shopper, shopper_of

#: Where an ID stays in the session, whose own key changes when the shopper logs in, in the middle of a checkout.
SESSION_KEY = "scrip_shopper"


def shopper_of_request(request: Any) -> Shopper:
    """The customer who is logged in, or else this session; with the network of the address that the request came from.

    A shopper who logs in at the checkout stays who he was. X-Forwarded-For counts only by `TRUSTED_PROXIES`.
    """
    session, user = request.session, getattr(request, "user", None)
    if SESSION_KEY in session:
        who = session[SESSION_KEY]
    elif user is not None and user.is_authenticated:
        who = f"customer {user.pk}"
    else:
        who = session[SESSION_KEY] = f"session {secrets.token_urlsafe(16)}"
    return shopper_of(scrip_settings().shopper_secret, who, address_of_request(request))


def address_of_request(request: Any) -> "str | None":
    """The shopper's address. Each proxy of the store's own has added whom it heard to X-Forwarded-For; what stands
    before these in the header anybody can write."""
    heard = [request.META.get("REMOTE_ADDR") or ""]
    heard += reversed(
        [each.strip() for each in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if each.strip()]
    )
    proxies = scrip_settings().trusted_proxies
    return heard[min(proxies, len(heard) - 1)] or None
