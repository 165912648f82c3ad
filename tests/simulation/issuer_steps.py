"""Steps of issuers: issue, reissue, correct an address."""

from datetime import datetime, timedelta
from typing import Any

from app.db.request import Reference
from app.ids import CardId
from app.issuance.address import correct_address
from app.issuance.holder_data import HolderData
from app.issuance.issue import issue_card
from app.money import Money
from app.redemption.reissue import reissue_card
from tests.simulation import issuer_rules
from tests.simulation.acting import ISSUER, WHICH, Acting
from tests.simulation.facts import (
    card_facts,
)
from tests.simulation.model import DAY, HOUR, Card
from tests.simulation.parties import PROGRAMMES
from tests.simulation.steps import step


class IssuerSteps(Acting):
    """Two issuers, who try each other's cards too."""

    @step(
        6,
        needs="room",
        programme=sorted(PROGRAMMES),
        minor=[5_000, 5_000, 101, 100, 99, 1, 50_000, 50_001],
        currency=["GBP"] * 7 + ["USD"],
        by=ISSUER,
        letter=[True, False],
        put_off=[None] * 8 + [40 * DAY, -HOUR, 366 * DAY, 367 * DAY, -25 * HOUR],
    )
    def issue(
        self, programme: str, minor: int, currency: str, by: str, letter: bool, put_off: timedelta | None
    ) -> None:
        self._issue(programme, Money(minor, currency), by, letter=letter, put_off=put_off)

    def _issue(self, programme: str, amount: Money, by: str, *, letter: bool, put_off: timedelta | None) -> None:
        issuer, terms = PROGRAMMES[programme]
        asker = issuer if by == "own" else by
        not_before = None if put_off is None else self.walk.now + put_off

        def send(reference: Reference) -> Any:
            return issue_card(
                self.parties.programmes[programme],
                amount,
                issuer_id=self.parties.issuers[asker],
                client_id=f"cli_of_{self.parties.issuers[asker]}",
                holder=HolderData("sam@holder.example", "Sam"),
                deliver="email" if letter else "link",
                not_before=not_before,
                reference=reference,
            )

        def predict(now: datetime) -> Card:
            return issuer_rules.issue(
                terms, amount, issuer=issuer, asker=asker, letter=letter, put_off=put_off, now=now
            )

        reference = self._reference(self.parties.issuers[asker], "issue", programme)
        done = self.walk.issue(lambda: send(reference), predict, card_facts)
        self._keep(done.refused is None, self.walk.cards[0] if self.walk.cards else None, reference, send, done.answer)

    @step(3, which=WHICH, by=ISSUER, letter=[True, False])
    def reissue(self, which: int, by: str, letter: bool) -> None:
        card, asker = self._card(which), self._asker(which, by)
        issuer_id = self.parties.issuers[asker]

        def send(reference: Reference) -> Any:
            deliver = "email" if letter else "link"
            return reissue_card(CardId(card.id), issuer_id=issuer_id, deliver=deliver, reference=reference)  # type: ignore[arg-type]

        self._on_card(
            "reissue",
            card,
            asker,
            send,
            lambda card, now: issuer_rules.reissue(card, asker=asker, letter=letter, now=now),
        )

    @step(2, which=WHICH, by=ISSUER)
    def address(self, which: int, by: str) -> None:
        card, asker = self._card(which), self._asker(which, by)
        issuer_id = self.parties.issuers[asker]

        def send(reference: Reference) -> Any:
            return correct_address(CardId(card.id), "sam@right.example", issuer_id=issuer_id, reference=reference)

        self._on_card(
            "address", card, asker, send, lambda card, now: issuer_rules.correct_address(card, asker=asker, now=now)
        )

    def _on_card(self, verb: str, card: Card, asker: str, send: Any, predict: Any) -> None:
        reference = self._reference(self.parties.issuers[asker], verb, card.id)

        def predicted(card: Card, now: datetime) -> dict[str, object]:
            predict(card, now)
            return {"issued": card.issued, "ends_at": card.ends_at}  # the rest is seen later than it was decided

        done = self.walk.take(verb, card, lambda: send(reference), predicted, card_facts)
        self._keep(done.refused is None, card, reference, send, done.answer)
