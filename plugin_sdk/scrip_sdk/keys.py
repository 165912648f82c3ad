"""Idempotency-Keys from the store's own data, so that a process that was restarted repeats and never doubles."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from scrip_sdk.money import Money
from scrip_sdk.shopper import Shopper

#: What stands in a key as it is. Neither the separator nor the mark of a hash is in it, so no two keys collide.
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_SEPARATOR, _HASHED = ":", "~"
LONGEST_NONCE = 200


def request_key(verb: str, payment_id: str, order_reference: str, *, part: str = "") -> str:
    """The name of what is done once to a payment for an order, or once for each `part` of it.

    1 to 255 visible ASCII characters, as the service wants them. Other arguments give another key: what is long or
    unusual stands in it as its SHA-256.
    """
    texts = (verb, payment_id, order_reference, *((part,) if part else ()))
    return _SEPARATOR.join(text if _PLAIN.fullmatch(text) else _hashed(text) for text in texts)


def new_nonce() -> str:
    """128 random bits, to be rendered into a checkout form: whoever sends the same form twice means it once."""
    return secrets.token_urlsafe(16)


def exchange_key(nonce: str, *, order_reference: str, shopper: Shopper | str, amount: Money | None = None) -> str:
    """The key for the code that was typed into the form with this nonce.

    `nonce` comes from a browser, so the shopper is in the key, by `shopper_of` or as the session's or customer's ID:
    nobody can name somebody else's exchange. The code is not, for nothing of it may be kept: one that is typed into
    a form that was sent already is answered with the payment of the first. So render each form with a fresh nonce.

    What else the exchange sends is in the key too, or the service would refuse the form that comes again from another
    network, or for another amount, as a key that was used for something else: the network of a Shopper, and `amount`,
    which must be given here exactly if it is given to the exchange. The code's payment stays the same one all the same.

    Raises ValueError for a nonce that is empty, or too long to be one.
    """
    if not 0 < len(nonce) <= LONGEST_NONCE:
        raise ValueError("the form has no nonce")
    who, network = (shopper, None) if isinstance(shopper, str) else (shopper.key_hash, shopper.address_prefix)
    # Each with a mark of its own, so that neither can be taken for the other; what is not given changes no key.
    more = [f"{mark}{text}" for mark, text in (("network ", network), ("amount ", amount)) if text is not None]
    digest = hmac.new(nonce.encode("utf-8", "surrogatepass"), digestmod=hashlib.sha256)
    for text in (who, order_reference, *more):
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return f"exchange{_SEPARATOR}{digest.hexdigest()}"


def _hashed(text: str) -> str:
    return _HASHED + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
