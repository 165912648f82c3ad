"""What becomes of a hold, a bound code, a link and a card as time passes, with and without a sweeper."""

from datetime import timedelta
from typing import Any

import pytest

from app import clock
from app.errors import (
    AmountOverHold,
    CardHeld,
    CodeNotAccepted,
    LinkLapsed,
    LinkOpened,
    PaymentClosed,
    PaymentUnconfirmed,
)
from app.ids import CardId, PaymentId
from app.issuance.address import correct_address
from app.issuance.claim import Claimed
from app.redemption.confirm import confirm_payment
from app.redemption.expire import expire_due
from app.redemption.extend import extend_payment
from app.redemption.holds import close_due
from app.redemption.payment import read_payment
from app.redemption.refund import refund_payment
from app.redemption.reissue import reissue_card, resend_link
from app.redemption.void import void_payment
from tests.world import World, gbp, key_of, make_world, reference, rows

MINUTES, HOURS, DAYS = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
A_SECOND = timedelta(seconds=1)


def letters(card_id: str) -> list[str]:
    return [row.kind for row in rows("SELECT kind FROM letter WHERE card_id = :id ORDER BY id", id=card_id)]


def confirm(world: World, payment_id: PaymentId) -> None:
    confirm_payment(payment_id, store_id=world.bookshop, order_reference="order-1", reference=reference(world.bookshop))


def claim_again(world: World, card_id: CardId) -> Claimed:
    """The card's next code, by a link that its issuer asked for."""
    mine = reference(world.issuer_id)
    return world.claim(reissue_card(card_id, issuer_id=world.issuer_id, deliver="link", reference=mine).claim_link)


def test_a_hold_past_its_time_is_expired_before_any_job_ran(world: World) -> None:
    payment = world.payment().payment
    with clock.ahead(30 * MINUTES + A_SECOND):
        seen = read_payment(payment.id, store_id=world.bookshop)
        assert (seen.state, seen.held, seen.released) == ("expired", gbp(0), gbp(5_000))
        with pytest.raises(PaymentClosed):
            confirm(world, payment.id)
        with pytest.raises(PaymentClosed):
            void_payment(payment.id, store_id=world.bookshop, reference=reference(world.bookshop))


def test_an_expired_hold_frees_the_card_and_mails_a_new_link(own_database: object) -> None:
    world = make_world()
    claimed = world.code()
    world.exchange(claimed.code)
    with clock.ahead(30 * MINUTES + A_SECOND):
        assert expire_due() == 1
        assert expire_due() == 0
        card = world.card(claimed.card_id)
        assert card.reached_through is not None
        assert (card.reached_through.kind, card.balance) == ("link", gbp(5_000))
        assert letters(card.id) == ["hold_expired"]
        with pytest.raises(CodeNotAccepted):
            world.exchange(claimed.code)
    assert rows("SELECT hash FROM code WHERE card_id = :id", id=claimed.card_id)[0].hash is None


def test_a_confirmed_hold_lasts_the_programmes_longer_time(world: World) -> None:
    payment = world.payment().payment
    confirm(world, payment.id)
    with clock.ahead(7 * DAYS - MINUTES):
        assert read_payment(payment.id, store_id=world.bookshop).state == "held"
        assert world.settle(payment.id, 5_000).settled == gbp(5_000)


def test_only_a_confirmed_hold_is_extended_and_never_past_the_limit(world: World) -> None:
    payment = world.payment().payment
    mine = {"store_id": world.bookshop}
    with pytest.raises(PaymentUnconfirmed):
        extend_payment(payment.id, 60, reference=reference(world.bookshop), **mine)
    confirm(world, payment.id)
    extended = extend_payment(payment.id, 365 * 86_400, reference=reference(world.bookshop), **mine)
    assert extended.expires_at - extended.created_at == 30 * DAYS


@pytest.mark.parametrize("swept", [True, False])
def test_a_late_settle_takes_the_waiting_link_along(own_database: object, swept: bool) -> None:
    world = make_world()
    payment = world.payment().payment
    with clock.ahead(30 * MINUTES + A_SECOND):
        if swept:
            expire_due()
    with clock.ahead(72 * HOURS + 29 * MINUTES):
        settled = world.settle(payment.id, 3_000)
        assert (settled.payment.state, settled.payment.settled, settled.payment.released) == (
            "settled",
            gbp(3_000),
            gbp(2_000),
        )
        card = world.card_of(payment.id)
        assert card.balance == gbp(2_000)
        links = rows("SELECT state FROM claim_link WHERE card_id = :id ORDER BY created_at", id=card.id)
        assert [link.state for link in links] == ["opened", "superseded", "waiting"]
        assert letters(card.id) == ["hold_expired", "reissue"]


def test_a_late_settle_takes_an_unused_code_along_and_may_take_everything(world: World) -> None:
    payment = world.payment().payment
    with clock.ahead(30 * MINUTES + A_SECOND):
        claimed = claim_again(world, world.card_of(payment.id).id)
        world.settle(payment.id, 5_000)
        assert world.card(claimed.card_id).state == "spent"
        with pytest.raises(CodeNotAccepted):
            world.exchange(claimed.code)


def test_a_late_settle_is_refused_once_another_store_holds_the_value(world: World) -> None:
    payment = world.payment().payment
    with clock.ahead(30 * MINUTES + A_SECOND):
        claimed = claim_again(world, world.card_of(payment.id).id)
        world.exchange(claimed.code, store=world.toyshop)
        with pytest.raises(PaymentClosed):
            world.settle(payment.id, 3_000)


def test_a_late_settle_is_refused_after_72_hours(world: World) -> None:
    payment = world.payment().payment
    with clock.ahead(72 * HOURS + 30 * MINUTES + A_SECOND), pytest.raises(PaymentClosed):
        world.settle(payment.id, 3_000)


def test_a_part_settled_and_the_rest_expired_ends_as_settled(own_database: object) -> None:
    world = make_world()
    payment = world.payment().payment
    world.settle(payment.id, 2_000, final=False)
    with clock.ahead(31 * MINUTES):
        assert read_payment(payment.id, store_id=world.bookshop).state == "settled"
        expire_due()
        seen = read_payment(payment.id, store_id=world.bookshop)
        assert (seen.state, seen.settled, seen.released) == ("settled", gbp(2_000), gbp(3_000))
        assert world.card_of(payment.id).balance == gbp(3_000)


def test_a_voided_payments_code_stays_with_its_store_and_shopper(world: World) -> None:
    claimed = world.code()
    payment = world.exchange(claimed.code).payment
    voided = void_payment(payment.id, store_id=world.bookshop, reference=reference(world.bookshop))
    assert (voided.state, voided.released) == ("voided", gbp(5_000))
    for elsewhere in ({"store": world.toyshop}, {"shopper": "eve"}, {"shopper": None}):
        with pytest.raises(CodeNotAccepted):
            world.exchange(claimed.code, **elsewhere)
    again = world.exchange(claimed.code)
    assert again.opened
    assert again.payment.id != payment.id


def test_a_voided_payments_code_dies_when_the_holds_time_is_over(own_database: object) -> None:
    world = make_world()
    claimed = world.code()
    payment = world.exchange(claimed.code).payment
    confirm(world, payment.id)
    void_payment(payment.id, store_id=world.bookshop, reference=reference(world.bookshop))
    with clock.ahead(30 * MINUTES + A_SECOND):
        with pytest.raises(CodeNotAccepted):
            world.exchange(claimed.code)
        assert expire_due() == 1
        card = world.card(claimed.card_id)
        assert card.reached_through is not None
        assert card.reached_through.kind == "link"


def test_void_after_a_part_was_settled_ends_as_settled_and_mails_a_link(world: World) -> None:
    payment = world.payment().payment
    world.settle(payment.id, 2_000, final=False)
    voided = void_payment(payment.id, store_id=world.bookshop, reference=reference(world.bookshop))
    assert (voided.state, voided.settled, voided.released) == ("settled", gbp(2_000), gbp(3_000))
    card = world.card_of(payment.id)
    assert card.reached_through is not None
    assert (card.reached_through.kind, card.letter) == ("link", "queued")


def test_value_from_a_hold_lives_fourteen_more_days(own_database: object) -> None:
    world = make_world(valid_days=1)
    payment = world.payment().payment
    confirm(world, payment.id)
    card_id = world.card_of(payment.id).id
    with clock.ahead(6 * DAYS):
        assert expire_due() == 0, "a hold keeps its card past its date"
        assert world.card(card_id).state == "active"
    with clock.ahead(7 * DAYS + A_SECOND):
        expire_due()
        card = world.card(card_id)
        assert card.state == "active"
        now = rows("SELECT clock_timestamp() AS now")[0].now
        assert timedelta(days=20) < card.expires_at - now < timedelta(days=22)
    with clock.ahead(21 * DAYS + MINUTES):
        assert world.card(card_id).state == "lapsed"


def test_a_card_lapses_at_its_date_and_its_rest_is_breakage(own_database: object) -> None:
    world = make_world(valid_days=1)
    card = world.issue()
    code = world.code()
    with clock.ahead(1 * DAYS + A_SECOND):
        seen = world.card(card.id)
        assert (seen.state, seen.balance, seen.reached_through) == ("lapsed", gbp(0), None)
        with pytest.raises(LinkLapsed):
            world.claim(card.claim_link)
        with pytest.raises(CodeNotAccepted):
            world.exchange(code.code)
        assert expire_due() == 2
        assert world.card(card.id).state == "lapsed"
    moved = rows("SELECT sum(amount_minor) AS total FROM transfer WHERE kind = 'lapse'")
    assert moved[0].total == 10_000


def test_a_lapsed_link_does_not_lapse_its_card(own_database: object) -> None:
    world = make_world()
    card = world.issue()
    assert card.claim_link is not None
    link_id, key = key_of(card.claim_link)
    with clock.ahead(91 * DAYS):
        seen = world.card(card.id).reached_through
        assert seen is not None
        assert (seen.kind, seen.state) == ("link", "lapsed")
        with pytest.raises(LinkLapsed):
            world.claim(card.claim_link)
        assert expire_due() == 1
        resend_link(link_id, key=key)
        seen = world.card(card.id).reached_through
        assert seen is not None
        assert (seen.state, letters(card.id)) == ("waiting", ["new_link"])


def refund(world: World, payment_id: PaymentId, amount_minor: int) -> None:
    refund_payment(payment_id, gbp(amount_minor), store_id=world.bookshop, reference=reference(world.bookshop))


def test_a_refund_to_a_spent_card_makes_it_active_with_a_new_link(world: World) -> None:
    payment = world.payment().payment
    world.settle(payment.id, 5_000)
    assert world.card_of(payment.id).state == "spent"
    refund(world, payment.id, 1_000)
    card = world.card_of(payment.id)
    assert (card.state, card.balance) == ("active", gbp(1_000))
    assert letters(card.id) == ["receipt", "refund"]
    assert card.reached_through is not None
    assert card.reached_through.kind == "link"


def test_a_refund_to_a_lapsed_card_gives_it_ninety_days(own_database: object) -> None:
    world = make_world(valid_days=30)
    payment = world.payment().payment
    world.settle(payment.id, 3_000)
    with clock.ahead(31 * DAYS):
        refund(world, payment.id, 500)
        card = world.card_of(payment.id)
        assert (card.state, card.balance) == ("active", gbp(500)), "what was left lapsed, the refund did not"
        now = rows("SELECT clock_timestamp() AS now")[0].now
        assert timedelta(days=120) < card.expires_at - now < timedelta(days=122)


def test_a_refund_to_a_held_card_touches_neither_key_nor_hold(world: World) -> None:
    payment = world.payment().payment
    world.settle(payment.id, 3_000, final=False)
    refund(world, payment.id, 1_000)
    card = world.card_of(payment.id)
    assert card.balance == gbp(3_000)
    assert card.reached_through is not None
    assert (card.reached_through.kind, card.reached_through.id) == ("payment", payment.id)
    assert read_payment(payment.id, store_id=world.bookshop).held == gbp(2_000)
    settled = world.settle(payment.id, 2_000)
    assert settled.payment.state == "settled"
    assert world.card_of(payment.id).balance == gbp(1_000)


def test_while_a_store_holds_the_card_nobody_takes_it_back(world: World) -> None:
    card = world.issue()
    claimed = world.claim(card.claim_link)
    world.exchange(claimed.code)
    assert card.claim_link is not None
    link_id, key = key_of(card.claim_link)
    with pytest.raises(CardHeld):
        resend_link(link_id, key=key)
    with pytest.raises(CardHeld):
        reissue_card(card.id, issuer_id=world.issuer_id, deliver="email", reference=reference(world.issuer_id))
    with pytest.raises(LinkOpened):
        world.claim(card.claim_link)


def test_a_late_settle_takes_no_more_than_was_held_when_the_hold_expired(world: World) -> None:
    payment = world.payment().payment
    confirm_payment(
        payment.id,
        store_id=world.bookshop,
        order_reference="order-1",
        amount=gbp(3_000),
        reference=reference(world.bookshop),
    )
    with clock.ahead(7 * DAYS + A_SECOND):
        with pytest.raises(AmountOverHold):
            world.settle(payment.id, 3_001)
        assert world.settle(payment.id, 3_000).settled == gbp(3_000)


def test_a_final_late_settle_is_the_last_and_another_is_not(world: World) -> None:
    payment = world.payment().payment
    with clock.ahead(30 * MINUTES + A_SECOND):
        world.settle(payment.id, 1_000, final=False)
        world.settle(payment.id, 1_500)
        with pytest.raises(PaymentClosed):
            world.settle(payment.id, 1)
    assert world.card_of(payment.id).balance == gbp(2_500)


@pytest.mark.parametrize("swept", [True, False])
def test_a_late_settle_does_not_depend_on_the_sweeper(own_database: object, swept: bool) -> None:
    """The other store's hold is over as well, so the value is with nobody."""
    world = make_world()
    payment = world.payment().payment
    card_id = world.card_of(payment.id).id
    with clock.ahead(31 * MINUTES):
        world.exchange(claim_again(world, card_id).code, store=world.toyshop)
    with clock.ahead(62 * MINUTES):
        if swept:
            expire_due()
        assert world.settle(payment.id, 3_000).settled == gbp(3_000)


def test_the_holder_gets_a_new_link_for_an_expired_hold_though_no_sweeper_ran(world: World) -> None:
    card = world.issue()
    world.exchange(world.claim(card.claim_link).code)
    assert card.claim_link is not None
    link_id, key = key_of(card.claim_link)
    with clock.ahead(31 * MINUTES):
        resend_link(link_id, key=key)
        assert letters(card.id) == ["hold_expired"]
        seen = world.card(card.id).reached_through
        assert seen is not None
        assert (seen.kind, seen.state) == ("link", "waiting")


def test_a_code_bound_for_long_keeps_its_card(own_database: object) -> None:
    world = make_world(valid_days=1, hold_ttl_s=20 * 86_400)
    claimed = world.code()
    payment = world.exchange(claimed.code).payment
    void_payment(payment.id, store_id=world.bookshop, reference=reference(world.bookshop))
    with clock.ahead(19 * DAYS):
        assert expire_due() == 0
        assert world.card(claimed.card_id).state == "active"
        assert world.exchange(claimed.code).opened


def test_what_a_payment_says_of_the_balance_is_true_after_a_refund(world: World) -> None:
    payment = world.payment().payment
    world.settle(payment.id, 3_000, final=False)
    refund(world, payment.id, 1_000)
    assert read_payment(payment.id, store_id=world.bookshop).balance == gbp(3_000)
    assert world.settle(payment.id, 500, final=False).payment.balance == gbp(2_500)


def test_a_bug_with_one_card_stops_the_sweep_of_no_other(own_database: object, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    broken, other = world.payment().payment, world.payment().payment
    broken_card = world.card_of(broken.id).id

    def close(db: Any, card_id: CardId, now: Any) -> bool:
        if card_id == broken_card:
            raise KeyError(card_id)
        return close_due(db, card_id, now)

    monkeypatch.setattr("app.redemption.expire.close_due", close)
    with clock.ahead(31 * MINUTES):
        assert expire_due() == 1
    assert read_payment(other.id, store_id=world.bookshop).state == "expired"


def test_without_a_shopper_the_first_exchanges_order_is_what_counts(world: World) -> None:
    """Whatever number the order got when it was confirmed."""
    claimed = world.code()
    payment = world.exchange(claimed.code, shopper=None, order_reference="cart-7").payment
    confirm(world, payment.id)
    again = world.exchange(claimed.code, shopper=None, order_reference="cart-7")
    assert (again.payment.id, again.opened, again.payment.order_reference) == (payment.id, False, "order-1")
    with pytest.raises(CodeNotAccepted):
        world.exchange(claimed.code, shopper=None, order_reference="order-1")


def test_a_card_that_a_store_holds_past_its_date_has_not_lapsed_for_its_issuer(own_database: object) -> None:
    world = make_world(valid_days=1)
    payment = world.payment().payment
    confirm(world, payment.id)
    with clock.ahead(2 * DAYS), pytest.raises(LinkOpened):
        mine = reference(world.issuer_id)
        correct_address(world.card_of(payment.id).id, "pat@holder.example", issuer_id=world.issuer_id, reference=mine)
