"""A small world to test in: an issuer, a programme, two stores, and short ways to walk the money's path."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from sqlalchemy import text

from app.config_guard import IssuingLimits
from app.db.request import Reference
from app.db.transaction import transaction
from app.guard.tries import Visitor
from app.ids import CardId, IssuerId, LinkId, PaymentId, ProgrammeId, StoreId
from app.issuance.card import Card, read_card
from app.issuance.claim import Claimed, claim_link
from app.issuance.holder_data import HolderData
from app.issuance.issue import issue_card
from app.issuance.issuer import add_issuer
from app.issuance.programme import ProgrammeTerms, create_programme
from app.ledger.audit import audit
from app.money import MAX_MINOR, Money
from app.redemption.exchange import Exchanged, exchange_code
from app.redemption.rules import Asker
from app.redemption.settle import Settlement, settle_payment
from app.redemption.store import add_store
from app.secrecy import random_secret

TERMS: dict[str, Any] = {
    "name": "Gift card",
    "currency": "GBP",
    "card_min_minor": 100,
    "card_max_minor": 50_000,
    "valid_days": 365,
    "link_policy": "single_use",
    "hold_ttl_s": 1_800,
    "confirmed_ttl_s": 7 * 86_400,
    "hold_max_s": 30 * 86_400,
    "stores": None,
}


#: For all that issues day in, day out: the limits are there, and are far away.
ROOMY = IssuingLimits(client_minor=MAX_MINOR, client_cards=10**9, issuer_minor=MAX_MINOR, issuer_cards=10**9)


def gbp(amount_minor: int) -> Money:
    return Money(amount_minor, "GBP")


def reference(party_id: str, key: str | None = None, *, content: str = "") -> Reference:
    """A request of this party, under a fresh key unless one is given."""
    digest = hashlib.sha256(content.encode()).digest()
    return Reference(party_id, key or random_secret(), "test", "target", (digest,))


def key_of(claim_url: str) -> tuple[LinkId, str]:
    """The link's ID and its claim key."""
    found = re.fullmatch(r".*/claim/(link_[0-9a-z]{26})#([\w-]{43})", claim_url)
    assert found is not None
    return LinkId(found[1]), found[2]


@dataclass(frozen=True)
class World:
    """Acme issues; Bookshop and Toyshop take cards."""

    issuer_id: IssuerId
    programme_id: ProgrammeId
    bookshop: StoreId
    toyshop: StoreId

    @property
    def client_id(self) -> str:
        """The issuer's client, as far as a verb wants to know one."""
        return f"cli_of_{self.issuer_id}"

    def issue(self, amount_minor: int = 5_000, **changes: Any) -> Card:
        wanted: dict[str, Any] = {
            "issuer_id": self.issuer_id,
            "client_id": self.client_id,
            "holder": HolderData("sam@holder.example", "Sam"),
            "deliver": "link",
            "reference": reference(self.issuer_id),
        }
        return issue_card(self.programme_id, gbp(amount_minor), **{**wanted, **changes})

    def claim(self, claim_url: str | None, nonce: str | None = None) -> Claimed:
        assert claim_url is not None
        link_id, key = key_of(claim_url)
        return claim_link(link_id, key=key, nonce=nonce or random_secret(), opened_by="Firefox")

    def code(self, amount_minor: int = 5_000) -> Claimed:
        """A fresh card's code."""
        return self.claim(self.issue(amount_minor).claim_link)

    def exchange(
        self, code: str, *, store: StoreId | None = None, shopper: str | None = "shopper", **more: Any
    ) -> Exchanged:
        store = store or self.bookshop
        order = more.pop("order_reference", "order-1")
        asker = Asker(store, more.pop("mode", "test"), shopper, order)
        return exchange_code(code, asker=asker, reference=more.pop("reference", None) or reference(store), **more)

    def payment(self, amount_minor: int = 5_000, **more: Any) -> Exchanged:
        """An open payment on a fresh card, at Bookshop."""
        return self.exchange(self.code(amount_minor).code, **more)

    def settle(self, payment_id: PaymentId, amount_minor: int, **more: Any) -> Settlement:
        more.setdefault("reference", reference(self.bookshop))
        return settle_payment(payment_id, gbp(amount_minor), store_id=self.bookshop, **more)

    def card(self, card_id: CardId) -> Card:
        return read_card(card_id, issuer_id=self.issuer_id)

    def card_of(self, payment_id: PaymentId) -> Card:
        found = rows("SELECT card_id FROM payment WHERE id = :id", id=payment_id)
        return self.card(found[0].card_id)


def make_world(*, mode: str = "test", **terms: Any) -> World:
    """A world of its own, so that tests share a database and nothing else."""
    issuer = add_issuer("Acme", mode=mode)
    bookshop, toyshop = add_store("Bookshop", mode=mode), add_store("Toyshop", mode=mode)
    programme = create_programme(
        ProgrammeTerms(**{**TERMS, **terms}), issuer_id=issuer.id, mode=mode, reference=reference(issuer.id)
    )
    return World(issuer.id, programme.id, bookshop.id, toyshop.id)


def visitor() -> Visitor:
    """Somebody at one of our pages, from a network where nobody else has been."""
    return Visitor(IPv6Address(secrets.randbits(128)))


def forgive_all() -> None:
    """Nobody has been wrong yet: all tests come from one address."""
    with transaction() as db:
        db.execute(text("DELETE FROM guard_count"))


def assert_audit_is_clean() -> None:
    """`scrip audit` finds nothing. For a test with a database of its own: others move the clock, or forge rows."""
    with transaction() as db:
        assert {check.name: found for check, count, found in audit(db) if count} == {}


def rows(query: str, **values: Any) -> list[Any]:
    """What a query says, in a transaction of its own."""
    with transaction() as db:
        return list(db.execute(text(query), values))
