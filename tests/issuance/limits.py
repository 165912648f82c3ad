"""A world whose issuer has real clients, and ways to limit what they issue."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from app import config
from app.errors import IssuingLimitReached
from app.issuance.limit_requests import request_limit
from app.oauth.clients import add_client
from tests.world import World, make_world

ALICE, BOB = "operator:alice", "operator:bob"


@dataclass(frozen=True)
class Issuing:
    """An issuer with two clients."""

    world: World
    client_id: str
    other_id: str

    def issue(self, amount_minor: int, *, client_id: str | None = None, **more: object) -> int:
        """Issues a card; returns its amount, or 0 where a limit was met."""
        try:
            self.world.issue(amount_minor, client_id=client_id or self.client_id, **more)
        except IssuingLimitReached:
            return 0
        return amount_minor


def issuing(*, mode: str = "test", **terms: object) -> Issuing:
    """A world of its own, whose programme issues cards of any amount."""
    world = make_world(mode=mode, **{"card_min_minor": 1, "card_max_minor": 10**9, **terms})
    named = {"mode": mode, "issuer_id": world.issuer_id, "scopes": ["issue"]}
    return Issuing(world, *(add_client(name=name, **named).client_id for name in ("one", "other")))  # type: ignore[arg-type]


def limit(subject_id: str, *, minor: int | None = None, cards: int | None = None, currency: str = "GBP") -> None:
    """Lowers a limit, which holds at once."""
    wanted = {"limit_minor": minor, "limit_cards": cards}
    asked = request_limit(subject_id, currency, **wanted, reason="a test", operator=ALICE)
    assert asked is None, "this would raise it"


@contextmanager
def defaults(**changes: int) -> Iterator[None]:
    """The settings' limits are these."""
    before = config.settings()
    config.use(replace(before, issuing=replace(before.issuing, **changes)))
    try:
        yield
    finally:
        config.use(before)
