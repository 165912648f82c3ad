"""What the tests of mail share: a post office, an empty queue, and a fill that draws real claim keys."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from app import clock, config
from app.db.transaction import transaction
from app.issuance import links
from app.mail import filling
from app.mail.filling import Filled
from app.mail.letter import DueLetter
from app.money import Money
from tests.mail.post_office import PostOffice, opened
from tests.service import free_port
from tests.world import World, rows


@dataclass
class Filler:
    """Fills letters; addresses and names by card, and faults, as a test wishes."""

    addresses: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    unwanted: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    urls: list[str] = field(default_factory=list)

    def __call__(self, db: Connection, letter: DueLetter, now: datetime) -> Filled | None:
        if letter.card_id in self.unwanted:
            return None
        url = links.draw_claim_key(db, letter.link_id, now) if letter.link_id else None
        self.urls += [url] if url else []
        if letter.card_id in self.broken:
            raise KeyError("sam@holder.example")
        context = {
            "issuer_name": "Acme",
            "amount": Money(5_000, "GBP"),
            "claim_url": url,
            "expires_at": now + timedelta(days=365),
        }
        address = self.addresses.get(letter.card_id, "sam@holder.example")
        return Filled(address, self.names.get(letter.card_id, "Sam"), "en_GB", letter.kind, context)


@pytest.fixture
def filler() -> Iterator[Filler]:
    before = dict(filling._fills)
    filler = Filler()
    filling.register("claim", filler)
    yield filler
    filling._fills.clear()
    filling._fills.update(before)


@pytest.fixture
def closed_office(database: config.Settings) -> Iterator[PostOffice]:
    """A post office that is not open yet; the process's settings name it, and the queue of letters is empty."""
    office = PostOffice(free_port())
    smtp = config.Smtp("127.0.0.1", office.port, "none", "Scrip <letters@scrip.example>")
    before = config.settings()
    config.use(replace(before, smtp=smtp))
    with transaction() as db:
        db.execute(text("UPDATE letter SET state = 'dropped' WHERE state = 'queued'"))
    yield office
    config.use(before)


@pytest.fixture
def office(closed_office: PostOffice) -> Iterator[PostOffice]:
    with opened(closed_office) as office:
        yield office


def post(world: World, filler: Filler | None = None, address: str | None = None) -> Any:
    """Issues a card by e-mail, and gives its queued letter."""
    card = world.issue(deliver="email")
    if filler is not None and address is not None:
        filler.addresses[card.id] = address
    return letter(card.id)


def letter(card_id: str) -> Any:
    """A card's letter as it stands now."""
    query = "SELECT *, due_at - clock_timestamp() AS wait FROM letter WHERE card_id = :id ORDER BY id"
    return rows(query, id=card_id)[0]


def events(card_id: str) -> list[Any]:
    """What was told about a card's letters."""
    query = "SELECT kind, actor, facts FROM event WHERE card_id = :id AND kind LIKE 'letter%' ORDER BY id"
    return rows(query, id=card_id)


def later(**by: float) -> Any:
    """A while later, by the service's clock."""
    return clock.ahead(timedelta(**by))
