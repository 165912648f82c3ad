"""Two stores race one code."""

import pytest

from app.errors import CodeNotAccepted
from tests.at_once import at_once, split
from tests.redemption.without_locks import take_out_locks
from tests.world import World, rows


def check_one_exchange_wins(world: World) -> None:
    code = world.code()
    stores = [world.bookshop, world.toyshop]
    calls = [lambda store=stores[n % 2]: world.exchange(code.code, store=store) for n in range(50)]
    exchanged, refused = split(at_once(calls))
    payments = {outcome.payment.id for outcome in exchanged}
    assert len(payments) == 1
    assert {outcome.payment.store_id for outcome in exchanged} < set(stores)
    assert sum(outcome.opened for outcome in exchanged) == 1
    assert len(exchanged) == 25, "the winner's repeats all get its payment"
    assert {type(refusal) for refusal in refused} == {CodeNotAccepted}
    assert len(rows("SELECT id FROM payment WHERE card_id = :card", card=code.card_id)) == 1


def test_fifty_exchanges_of_one_code_from_two_stores_make_one_payment(world: World) -> None:
    check_one_exchange_wins(world)


def test_without_locks_the_race_is_noticed(own_database: object, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    take_out_locks(monkeypatch)
    with pytest.raises(AssertionError):
        for _ in range(5):
            check_one_exchange_wins(world)
