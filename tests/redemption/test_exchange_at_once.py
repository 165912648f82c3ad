"""Two stores race one code; and a store's repeat races its first request."""

import pytest
from sqlalchemy import event

from app.db.engine import engine
from app.errors import CodeNotAccepted, TryLater
from tests.at_once import at_once, split
from tests.redemption.without_locks import take_out_locks
from tests.world import World, reference, rows


def check_one_exchange_wins(world: World) -> None:
    code = world.code()
    stores = [world.bookshop, world.toyshop]
    calls = [lambda store=stores[n % 2]: world.exchange(code.code, store=store) for n in range(50)]
    exchanged, refused = split(at_once(calls))
    payments = {outcome.payment.id for outcome in exchanged}
    assert len(payments) == 1
    assert {outcome.payment.store_id for outcome in exchanged} < set(stores)
    assert sum(outcome.opened for outcome in exchanged) == 1
    told_to_wait = [refusal for refusal in refused if isinstance(refusal, TryLater)]
    winner = exchanged[0].payment.store_id
    again = world.exchange(code.code, store=winner)
    assert (again.payment.id, again.opened) == (exchanged[0].payment.id, False), "the winner's repeats get its payment"
    assert len(exchanged) + len(told_to_wait) >= 25
    assert {CodeNotAccepted} <= {type(refusal) for refusal in refused} <= {CodeNotAccepted, TryLater}
    assert len(rows("SELECT id FROM payment WHERE card_id = :card", card=code.card_id)) == 1


def test_fifty_exchanges_of_one_code_from_two_stores_make_one_payment(world: World) -> None:
    check_one_exchange_wins(world)


def test_without_locks_the_race_is_noticed(own_database: object, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    take_out_locks(monkeypatch)
    with pytest.raises(AssertionError):
        for _ in range(5):
            check_one_exchange_wins(world)


def test_a_repeat_is_answered_again_even_if_its_code_dies_while_it_looks(own_database: object, world: World) -> None:
    """The first request is carried out, and its payment settled, between the two looks of its repeat."""
    code, first = world.code().code, reference(world.bookshop)

    def carry_out_and_settle(*_: object) -> None:
        world.settle(world.exchange(code, reference=first).payment.id, 5_000)

    event.listen(engine(), "after_cursor_execute", carry_out_and_settle, once=True)
    assert world.exchange(code, reference=first).replayed
