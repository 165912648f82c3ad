"""Short ways to ask the holder's routes, for tests over HTTP."""

from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from app import clock
from app.db.transaction import transaction
from app.issuance import links
from app.secrecy import random_secret
from tests.world import World, key_of

ORIGIN = "http://127.0.0.1:8000"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


def issue(world: World, amount_minor: int = 5_000, **changes: Any) -> tuple[str, str]:
    """A fresh card's link: its ID and its key."""
    card = world.issue(amount_minor, **changes)
    assert card.claim_link is not None
    return key_of(card.claim_link)


def open_link(client: FlaskClient, link: tuple[str, str], *, nonce: str | None = None, **more: Any) -> TestResponse:
    """Posts key and nonce as JSON, as a program does."""
    link_id, key = link
    more.setdefault("headers", {"User-Agent": FIREFOX})
    return client.post(f"/claim/{link_id}", json={"key": key, "nonce": nonce or random_secret()}, **more)


def newest_link(card_id: str) -> tuple[str, str]:
    """The card's newest link with a key as its letter would carry."""
    with transaction() as db:
        link_id = db.scalar(select(links.newest_link(card_id)))
        assert link_id is not None
        return key_of(links.draw_claim_key(db, link_id, clock.now(db)))


def csrf(client: FlaskClient, link_id: str) -> str:
    """What the session's forms carry."""
    return str(json_of(client.get(f"/claim/{link_id}/card"))["csrf"])


def json_of(answer: TestResponse) -> dict[str, Any]:
    """The answer's object."""
    found = answer.get_json(force=True)
    assert isinstance(found, dict)
    return found
