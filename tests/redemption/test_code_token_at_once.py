"""A code token is raced: by its store against itself, by two tokens for one code, and by the code itself."""

import pytest

from app.errors import Busy, CodeNotAccepted
from tests.at_once import at_once, split
from tests.redemption.test_code_token import exchanged, made
from tests.redemption.without_locks import take_out_locks
from tests.world import World, gbp, rows


def check_one_use_wins(world: World) -> None:
    code = world.code()
    code_token = made(world, code.code)
    uses, refused = split(at_once([lambda: exchanged(world, code_token) for _ in range(20)]))
    assert [use.opened for use in uses] == [True]
    assert {type(refusal) for refusal in refused} == {CodeNotAccepted}
    assert len(rows("SELECT id FROM payment WHERE card_id = :card", card=code.card_id)) == 1


def test_of_twenty_uses_at_once_under_keys_of_their_own_one_succeeds(world: World) -> None:
    check_one_use_wins(world)


def test_without_locks_the_race_is_noticed(own_database: object, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    take_out_locks(monkeypatch)
    with pytest.raises(AssertionError):
        for _ in range(5):
            check_one_use_wins(world)


def test_twenty_times_the_same_request_is_one_payment_and_nineteen_replays(world: World) -> None:
    code_token = made(world)
    answers, refused = split(at_once([lambda: exchanged(world, code_token, key="same") for _ in range(20)]))
    assert not refused
    assert len({answer.payment.id for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 19


def test_two_tokens_of_two_stores_for_one_code_make_one_payment(world: World) -> None:
    code = world.code().code
    stores = [world.bookshop, world.toyshop] * 5
    made_for = [(store, made(world, code, store_id=store)) for store in stores]
    calls = [lambda store=store, token=token: exchanged(world, token, store_id=store) for store, token in made_for]
    answers, refused = split(at_once(calls))
    assert len({answer.payment.id for answer in answers}) == 1
    assert sum(answer.opened for answer in answers) == 1
    assert (len(answers), len(refused)) == (5, 5)


def test_a_token_and_the_code_itself_at_once_make_one_payment_and_break_nothing(world: World) -> None:
    code = world.code().code
    tokens = [made(world, code, shopper_key="shopper") for _ in range(5)]
    by_token = [lambda token=token: exchanged(world, token, shopper_key="shopper") for token in tokens]
    by_code = [lambda: world.exchange(code, amount=gbp(3_000)) for _ in range(5)]
    answers, refused = split(at_once([*by_token, *by_code]))
    assert not refused
    assert len({answer.payment.id for answer in answers}) == 1


def test_making_tokens_while_the_code_is_exchanged_and_settled_never_breaks(world: World) -> None:
    """They only read: nobody waits for them, and none of them can deadlock."""
    codes = [world.code().code for _ in range(5)]
    makers = [lambda code=code: made(world, code) for code in codes * 3]
    settlers = [lambda code=code: world.settle(world.exchange(code).payment.id, 5_000) for code in codes]
    done, refused = split(at_once([*makers, *settlers]))
    assert len(done) + len(refused) == 20
    assert {type(refusal) for refusal in refused} <= {CodeNotAccepted, Busy}
