"""A code token is good once, for a minute, for the store, shopper, order and amount that it was made for."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from app import clock
from app.errors import CodeMistyped, CodeNotAccepted, CurrencyMismatch, ReferenceReused
from app.issuance.code import draw_code
from app.money import Money
from app.redemption.code_token import forget_code_tokens, make_code_token
from app.redemption.exchange import Exchanged, exchange_code_token
from app.redemption.rules import CODE_TOKEN_TTL, Asker
from app.secrecy import fingerprint
from tests.api import nothing_changes
from tests.world import World, gbp, make_world, reference, rows, visitor

TICK = timedelta(microseconds=1)


def asker(world: World, **changes: Any) -> Asker:
    given = {"store_id": world.bookshop, "mode": "test", "shopper_key": "shopper-1", "order_reference": "order-1"}
    return Asker(**{**given, **changes})


def made(world: World, code: str | None = None, *, amount: Money | None = None, **who: Any) -> str:
    """A code token for a fresh card of 50.00 GBP, of which the shopper saw "up to 30.00 GBP"."""
    typed = code or world.code().code
    return make_code_token(typed, asker=asker(world, **who), amount=amount or gbp(3_000), who=visitor())


def exchanged(world: World, code_token: str, *, key: str | None = None, **more: Any) -> Exchanged:
    who = {name: more.pop(name) for name in ("store_id", "mode", "shopper_key", "order_reference") if name in more}
    by = asker(world, **who)
    return exchange_code_token(code_token, asker=by, reference=reference(by.store_id, key), **more)


def newest_reason() -> str:
    found = rows("SELECT facts FROM event WHERE kind = 'code_refused' ORDER BY id DESC LIMIT 1")
    return str(found[0].facts["reason"])


@pytest.fixture
def noon(world: World) -> Iterator[datetime]:
    """A minute that begins after everything else has been done."""
    with clock.set_to(moment := clock.here() + timedelta(hours=1)):
        yield moment


# ── making one ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_holds_what_the_shopper_saw_and_no_more(world: World) -> None:
    payment = exchanged(world, made(world)).payment
    assert (payment.state, payment.held, payment.balance) == ("held", gbp(3_000), gbp(5_000))


def test_it_holds_the_balance_where_that_is_less_than_the_shopper_saw(world: World) -> None:
    assert exchanged(world, made(world, amount=gbp(9_000))).payment.held == gbp(5_000)


def test_making_one_holds_nothing_and_leaves_an_event(world: World) -> None:
    code = world.code()
    with nothing_changes(but=("code_token", "event")):
        code_token = made(world, code.code)
    assert code_token.startswith("ct_") and len(code_token) == 46
    events = rows("SELECT kind, facts FROM event WHERE card_id = :card ORDER BY at DESC LIMIT 1", card=code.card_id)
    assert events[0].kind == "code_token_made"
    assert code_token not in str(events[0].facts)
    assert world.exchange(code.code, store=world.toyshop).opened, "the code is still whoever's exchanges it first"


def test_a_code_that_could_not_be_exchanged_gets_none_and_the_event_has_the_reason(world: World) -> None:
    bound = world.code().code
    world.exchange(bound, store=world.toyshop)
    other = make_world()
    cases: list[tuple[str, str, dict[str, Any]]] = [
        (draw_code(), "unknown", {}),
        (bound, "bound_elsewhere", {}),
        (world.code().code, "other_mode", {"mode": "live"}),
        (world.code().code, "lapsed", {}),
    ]
    for code, reason, who in cases:
        with (
            nothing_changes(but=("event", "guard_count")),
            clock.ahead(timedelta(days=366 if reason == "lapsed" else 0)),
        ):
            with pytest.raises(CodeNotAccepted) as refused:
                made(world, code, **who)
        assert (type(refused.value), dict(refused.value.facts)) == (CodeNotAccepted, {})
        assert newest_reason() == reason
    assert exchanged(other, made(other)).opened


def test_a_mistyped_code_is_no_try(world: World) -> None:
    with nothing_changes(), pytest.raises(CodeMistyped):
        made(world, "7KQ4-ZX9M-2FHN-C0NA")


def test_an_amount_in_another_currency_is_refused_without_naming_the_cards(world: World) -> None:
    code = world.code().code
    with nothing_changes(), pytest.raises(CurrencyMismatch) as refused:
        made(world, code, amount=Money(3_000, "EUR"))
    assert "GBP" not in refused.value.detail and not refused.value.facts


def test_only_its_sha_256_is_kept(world: World) -> None:
    code_token = made(world)
    [row] = rows("SELECT * FROM code_token WHERE hash = :hash", hash=fingerprint(code_token))
    assert code_token.removeprefix("ct_") not in " ".join(str(cell) for cell in row)


# ── its bounds ──────────────────────────────────────────────────────────────────────────────────────────────────────


def end_of_newest() -> datetime:
    row = rows("SELECT created_at, expires_at FROM code_token ORDER BY created_at DESC LIMIT 1")[0]
    assert row.expires_at - row.created_at == CODE_TOKEN_TTL
    end: datetime = row.expires_at
    return end


def test_the_last_moment_of_its_minute_is_in_time(world: World, noon: datetime) -> None:
    code = world.code().code
    with clock.set_to(noon):
        code_token = made(world, code)
    with clock.set_to(end_of_newest() - TICK):
        assert exchanged(world, code_token).opened


def test_the_moment_of_its_end_is_past_and_nothing_happens(world: World, noon: datetime) -> None:
    code = world.code().code
    with clock.set_to(noon):
        code_token = made(world, code)
    with nothing_changes(but=("event",)), clock.set_to(end_of_newest()), pytest.raises(CodeNotAccepted):
        exchanged(world, code_token)
    with clock.ahead(timedelta(days=1)):
        assert newest_reason() == "token_over"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"store": True}, "token_of_other_store"),
        ({"shopper_key": "shopper-2"}, "token_of_other_shopper"),
        ({"shopper_key": None}, "token_of_other_shopper"),
        ({"order_reference": "order-2"}, "token_of_other_order"),
        ({"amount": gbp(3_001)}, "token_of_other_amount"),
        ({"amount": gbp(2_999)}, "token_of_other_amount"),
        ({"amount": Money(3_000, "EUR")}, "token_of_other_amount"),
        ({"mode": "live"}, "other_mode"),
    ],
)
def test_whatever_it_is_bound_to_must_be_the_same(world: World, changes: dict[str, Any], reason: str) -> None:
    """And a refused use takes nothing away: the right one still succeeds."""
    code_token = made(world)
    changes = {"store_id": world.toyshop} if "store" in changes else changes
    with nothing_changes(but=("event",)), pytest.raises(CodeNotAccepted) as refused:
        exchanged(world, code_token, **changes)
    assert (type(refused.value), dict(refused.value.facts)) == (CodeNotAccepted, {})
    assert newest_reason() == reason
    assert exchanged(world, code_token).opened


def test_where_no_shopper_was_named_none_may_be(world: World) -> None:
    code_token = made(world, shopper_key=None)
    with pytest.raises(CodeNotAccepted):
        exchanged(world, code_token, shopper_key="shopper-1")
    assert exchanged(world, code_token, shopper_key=None).opened


def test_the_same_amount_may_be_named_and_a_shorter_hold_asked_for(world: World) -> None:
    payment = exchanged(world, made(world), amount=gbp(3_000), hold_ttl_s=60).payment
    assert payment.expires_at - payment.created_at == timedelta(seconds=60)


def test_an_unknown_one_is_refused_like_all_others(world: World) -> None:
    with nothing_changes(but=("event",)), pytest.raises(CodeNotAccepted):
        exchanged(world, "ct_" + "x" * 43)
    assert newest_reason() == "token_unknown"


def test_a_code_that_died_meanwhile_is_refused_and_the_token_stays_unspent(world: World) -> None:
    code = world.code().code
    code_token = made(world, code)
    world.settle(world.exchange(code).payment.id, 5_000)
    with nothing_changes(but=("event",)), pytest.raises(CodeNotAccepted):
        exchanged(world, code_token)
    assert newest_reason() == "dead"


# ── once ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_spent_by_the_payment_that_it_opened(world: World) -> None:
    code_token = made(world)
    exchanged(world, code_token)
    with nothing_changes(but=("event",)), pytest.raises(CodeNotAccepted):
        exchanged(world, code_token)
    assert newest_reason() == "token_spent"


def test_the_same_request_again_gets_the_same_answer_though_the_token_is_spent_expired_and_forgotten(
    world: World,
) -> None:
    code_token = made(world)
    first = exchanged(world, code_token, key="one-key")
    again = exchanged(world, code_token, key="one-key")
    assert (again.payment.id, again.opened, again.replayed) == (first.payment.id, True, True)
    world.settle(first.payment.id, 3_000)
    with clock.ahead(timedelta(days=2)):
        assert exchanged(world, code_token, key="one-key").replayed
        assert forget_code_tokens() > 0
        late = exchanged(world, code_token, key="one-key")
    assert (late.payment.id, late.payment.state, late.replayed) == (first.payment.id, "held", True)


def test_the_same_key_for_another_request_is_refused(world: World) -> None:
    code_token = made(world)
    by = asker(world)
    exchange_code_token(code_token, asker=by, reference=reference(by.store_id, "key", content="one"))
    with pytest.raises(ReferenceReused):
        exchange_code_token(code_token, asker=by, reference=reference(by.store_id, "key", content="two"))


def test_the_same_shopper_who_types_the_code_again_gets_the_open_payment_and_spends_the_second_token_too(
    world: World,
) -> None:
    code = world.code().code
    first = exchanged(world, made(world, code))
    second_token = made(world, code, amount=gbp(4_500))
    again = exchanged(world, second_token)
    assert (again.payment.id, again.opened, again.payment.held) == (first.payment.id, False, gbp(3_000))
    with pytest.raises(CodeNotAccepted):
        exchanged(world, second_token)


def test_another_shopper_of_the_store_cannot_have_a_token_for_a_held_code(world: World) -> None:
    code = world.code().code
    exchanged(world, made(world, code))
    with pytest.raises(CodeNotAccepted):
        made(world, code, shopper_key="shopper-2")


def test_those_that_are_long_over_are_forgotten_and_no_others(own_database: object) -> None:
    world = make_world()
    with clock.ahead(timedelta(hours=-25)):
        made(world)
    code_token = made(world)
    assert (forget_code_tokens(), forget_code_tokens()) == (1, 0)
    assert exchanged(world, code_token).opened
