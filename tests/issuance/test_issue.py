"""Issuing: money enters a card, once, within the programme's terms and its mode."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.db.transaction import transaction
from app.errors import AmountOutsideProgramme, CodeNotAccepted, CurrencyMismatch, NotFound, ReferenceReused
from app.ids import new_id
from app.issuance.card import list_cards, read_card, read_card_events
from app.issuance.holder_data import HolderData
from app.issuance.issue import issue_card
from app.issuance.programme import ProgrammeTerms, create_programme
from app.money import Money
from app.redemption.exchange import exchange_code
from app.redemption.reissue import reissue_card
from app.redemption.rules import Asker
from tests.world import TERMS, World, gbp, make_world, reference, rows


def letters_of(card_id: str) -> list[tuple[str, float]]:
    query = "SELECT kind, extract(epoch FROM due_at - clock_timestamp()) AS wait_s FROM letter WHERE card_id = :id"
    return [(row.kind, float(row.wait_s)) for row in rows(query, id=card_id)]


def test_issuing_moves_the_amount_from_the_issuers_funding_to_the_card(world: World) -> None:
    card = world.issue(5_000)
    (moved,) = rows("SELECT * FROM transfer WHERE card_id = :id", id=card.id)
    assert (moved.kind, moved.amount_minor) == ("issue", 5_000)
    assert moved.debit_id == f"{world.issuer_id}:funding:GBP"
    assert moved.credit_id == f"{card.id}:card:GBP"
    assert card.balance == card.issued == gbp(5_000)


def test_a_card_by_email_has_a_queued_letter_and_no_link_in_its_answer(world: World) -> None:
    card = world.issue(deliver="email")
    assert (card.claim_link, card.letter, card.holder_email) == (None, "queued", "s…@h…")
    assert [kind for kind, _ in letters_of(card.id)] == ["claim"]


def test_a_letter_waits_for_its_day_and_the_card_lives_from_then_on(world: World) -> None:
    (row,) = rows("SELECT clock_timestamp() + interval '10 days' AS then")
    card = world.issue(deliver="email", not_before=row.then)
    ((_, wait_s),) = letters_of(card.id)
    assert abs(wait_s - 10 * 86_400) < 60
    assert card.expires_at == row.then + timedelta(days=365)
    link = card.reached_through
    assert link is not None
    assert link.until == row.then + timedelta(days=90), "the link's life begins with its letter"


def test_a_link_asked_for_by_the_issuer_waits_for_the_same_day(world: World) -> None:
    (row,) = rows("SELECT clock_timestamp() + interval '100 days' AS then")
    card = world.issue(deliver="email", not_before=row.then)
    reissue_card(card.id, issuer_id=world.issuer_id, deliver="email", reference=reference(world.issuer_id))
    assert {round(wait_s / 86_400) for _, wait_s in letters_of(card.id)} == {100}


def test_the_same_request_issues_one_card_and_its_repeat_shows_no_link(world: World) -> None:
    once = reference(world.issuer_id, "order-77")
    first, again = world.issue(reference=once), world.issue(reference=once)
    assert first.claim_link is not None
    assert (again.id, again.claim_link, again.replayed) == (first.id, None, True)
    with pytest.raises(ReferenceReused):
        world.issue(reference=reference(world.issuer_id, "order-77", content="another"))


def test_terms_are_kept(world: World) -> None:
    with pytest.raises(AmountOutsideProgramme):
        world.issue(99)
    with pytest.raises(CurrencyMismatch):
        issue_card(
            world.programme_id,
            Money(5_000, "EUR"),
            issuer_id=world.issuer_id,
            client_id=world.client_id,
            holder=HolderData("sam@holder.example"),
            deliver="link",
            reference=reference(world.issuer_id),
        )


def test_another_issuers_programme_and_card_are_not_found(world: World) -> None:
    other = make_world()
    with pytest.raises(NotFound):
        world.issue(issuer_id=other.issuer_id)
    with pytest.raises(NotFound):
        read_card(world.issue().id, issuer_id=other.issuer_id)


def test_cards_are_listed_by_order_reference_and_state(world: World) -> None:
    wanted = world.issue(order_reference="order-5")
    world.issue(order_reference="order-6")

    def found(order_reference: str | None = None, state: str | None = None) -> list[str]:
        cards = list_cards(
            issuer_id=world.issuer_id, order_reference=order_reference, state=state, after=None, limit=10
        )
        return [card.id for card in cards]

    assert found("order-5") == [wanted.id]
    assert len(found(state="active")) == 2
    assert found(state="spent") == []


def test_a_cards_history_is_told_in_order(world: World) -> None:
    payment = world.payment().payment
    world.settle(payment.id, 3_000)
    card_id = world.card_of(payment.id).id
    history = read_card_events(card_id, issuer_id=world.issuer_id, after=None, limit=100)
    assert [event.kind for event in history] == ["card_issued", "code_shown", "code_exchanged", "payment_settled"]
    rest = read_card_events(card_id, issuer_id=world.issuer_id, after=history[1].id, limit=1)
    assert [event.kind for event in rest] == ["code_exchanged"]


def test_a_test_store_cannot_take_a_live_card_and_the_database_would_not_let_it(world: World) -> None:
    live = make_world(mode="live")
    code = live.code()
    with pytest.raises(CodeNotAccepted):
        exchange_code(
            code.code,
            asker=Asker(world.bookshop, "test", "shopper", "order-1"),
            reference=reference(world.bookshop),
        )
    payment = live.exchange(code.code, mode="live").payment
    forged = """
        INSERT INTO payment SELECT ('pay_' || repeat('0', 26)), card_id, code_id, :store, mode, currency, 'voided',
               order_reference, balance_minor, hold_minor, 0, 0, hold_minor, 0, 0, created_at, confirmed_at,
               expires_at, clock_timestamp(), expired_at
        FROM payment WHERE id = :id
    """
    with pytest.raises(IntegrityError, match="payment_store_id_mode_fkey"), transaction() as db:
        db.execute(text(forged), {"store": world.bookshop, "id": payment.id})


def test_a_programme_for_some_stores_is_for_no_other(world: World) -> None:
    picky = make_world()
    terms = ProgrammeTerms(**{**TERMS, "stores": [picky.bookshop]})
    programme = create_programme(terms, issuer_id=picky.issuer_id, mode="test", reference=reference(picky.issuer_id))
    only = World(picky.issuer_id, programme.id, picky.bookshop, picky.toyshop)
    code = only.code()
    with pytest.raises(CodeNotAccepted):
        only.exchange(code.code, store=only.toyshop)
    assert only.exchange(code.code).opened


def test_history_is_in_order_though_the_clocks_of_two_machines_differ(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Identifiers are drawn by the machine that acts; here each later one sorts before the earlier."""
    drawn = sorted((new_id("evt") for _ in range(50)), reverse=True)
    monkeypatch.setattr("app.events.event.new_id", lambda _: drawn.pop(0))
    payment = world.payment().payment
    world.settle(payment.id, 5_000)
    card_id = world.card_of(payment.id).id
    history = read_card_events(card_id, issuer_id=world.issuer_id, after=None, limit=100)
    assert [event.kind for event in history] == ["card_issued", "code_shown", "code_exchanged", "payment_settled"]
    assert [event.id for event in history] == sorted((event.id for event in history), reverse=True)
    rest = read_card_events(card_id, issuer_id=world.issuer_id, after=history[1].id, limit=9)
    assert [event.kind for event in rest] == ["code_exchanged", "payment_settled"]
