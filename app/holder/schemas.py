"""The shapes that the holder's pages take in, and the card's state as they give it out."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app.errors import InvalidRequest, LinkNotAccepted
from app.holder.rules import is_nonce, is_secret
from app.holder.state import HolderView
from app.issuance.claim import Claimed
from app.money import Money

#: A whole link, pasted, has some 110 characters; a mail program may have broken it into lines.
LONGEST_PASTED = 512


def read_key(text: object) -> str:
    """A claim key, alone or at the end of a whole pasted link.

    Raises LinkNotAccepted for what cannot be a key, like a wrong one; InvalidRequest when there is none.
    """
    if not isinstance(text, str):
        raise InvalidRequest("The key must be text.", pointer="/key")
    if len(text) > LONGEST_PASTED:
        raise LinkNotAccepted()
    key = "".join(text.split()).rpartition("#")[2]
    if not is_secret(key):
        raise LinkNotAccepted()
    return key


def read_nonce(text: object) -> str:
    """The nonce of a browser: 256 random bits, in whatever URL-safe spelling. Raises InvalidRequest."""
    if not isinstance(text, str) or not is_nonce(text):
        raise InvalidRequest("The nonce must be 256 random bits in 43 to 128 URL-safe characters.", pointer="/nonce")
    return text


def check_fields(fields: Mapping[str, object], *known: str) -> None:
    """Raises InvalidRequest for a field that is not known here."""
    for name in fields:
        if name not in known:
            raise InvalidRequest("There is no such field here.", pointer=f"/{name[:64]}")


def dump_claimed(claimed: Claimed) -> dict[str, Any]:
    """The answer that shows a code, this once."""
    return {
        "code": claimed.code,
        "balance": dump_money(claimed.balance),
        "expires_at": dump_time(claimed.expires_at),
        "card_id": claimed.card_id,
    }


def dump_view(view: HolderView) -> dict[str, Any]:
    """The card's state for its holder: amounts in minor units, times in UTC."""
    return {
        "id": view.card_id,
        "state": view.state,
        "standing": view.standing.value,
        "balance": dump_money(view.balance),
        "expires_at": dump_time(view.expires_at),
        "holds": [
            {"store": hold.store, "amount": dump_money(hold.amount), "until": dump_time(hold.until)}
            for hold in view.holds
        ],
        "history": [
            {"kind": spent.kind, "store": spent.store, "amount": dump_money(spent.amount), "at": dump_time(spent.at)}
            for spent in view.history
        ],
        "offers": {"fresh_code": view.offers_fresh_code, "new_link": view.offers_new_link},
    }


def dump_facts(facts: Mapping[str, object]) -> dict[str, object]:
    """A refusal's facts as a program reads them."""
    return {name: _dump_fact(fact) for name, fact in facts.items()}


def dump_money(money: Money) -> dict[str, Any]:
    """Money as the API says it."""
    return {"amount_minor": money.amount_minor, "currency": money.currency}


def dump_time(at: datetime) -> str:
    """RFC 3339 in UTC, as everywhere in the API."""
    return at.astimezone(UTC).isoformat()


def _dump_fact(fact: object) -> object:
    if isinstance(fact, HolderView):
        return dump_view(fact)
    return dump_time(fact) if isinstance(fact, datetime) else fact
