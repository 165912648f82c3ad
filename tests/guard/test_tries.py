"""Guessing is hopeless and costs us little; whoever is honest beside it never notices."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from argon2.low_level import hash_secret_raw
from flask import Flask
from sqlalchemy import text

from app import clock
from app.config import settings
from app.db.transaction import transaction
from app.errors import Busy, CodeMistyped, CodeNotAccepted, LinkNotAccepted, TryLater
from app.guard import backoff, counts, keys, tries
from app.guard.keys import ANYBODY, browser_keys, store_key
from app.guard.tries import Visitor, one_key, one_try, watch_store, watch_visitor
from app.ids import StoreId
from app.issuance import code_hash
from app.issuance.code import draw_code, show_code
from app.redemption.code_token import make_code_token
from app.redemption.rules import Asker
from tests.at_once import at_once, split
from tests.checkout.shop import Shopper, bookshop_of
from tests.world import World, gbp, reference, rows, visitor


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each Argon2 that runs."""
    done: list[int] = []

    def counted(*args: Any, **kwargs: Any) -> bytes:
        done.append(1)
        return hash_secret_raw(*args, **kwargs)

    monkeypatch.setattr(code_hash, "hash_secret_raw", counted)
    return done


def wrong(world: World, times: int = 1, **who: Any) -> None:
    for _ in range(times):
        with pytest.raises(CodeNotAccepted):
            world.exchange(draw_code(), **who)


def wait_s(world: World, **who: Any) -> int:
    """What a shopper who tries now is told."""
    with pytest.raises(TryLater) as told:
        world.exchange(draw_code(), **who)
    return told.value.retry_after_s


def spend_budget(world: World) -> None:
    """Many sessions of one hostile shopper are wrong."""
    for _ in range(25):
        tries._settle((store_key(world.bookshop),), tries._note_wrong)


# ── a shopper at a store ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_sixth_wrong_code_of_a_shopper_has_to_wait_and_costs_no_argon2_and_no_look_up(
    world: World, hashes: list[int]
) -> None:
    wrong(world, 5)
    assert len(hashes) == 5
    events = len(rows("SELECT id FROM event WHERE kind = 'code_refused' AND facts->>'store_id' = :s", s=world.bookshop))
    for _ in range(20):
        assert wait_s(world) == 1
    assert len(hashes) == 5
    assert (
        events
        == 5
        == len(rows("SELECT id FROM event WHERE kind = 'code_refused' AND facts->>'store_id' = :s", s=world.bookshop))
    )


def test_who_has_to_wait_is_told_nothing_of_the_code(world: World) -> None:
    good, dead = world.code().code, world.code().code
    world.settle(world.exchange(dead, shopper="other").payment.id, 5_000)
    wrong(world, 5)
    told = []
    for code in (good, dead, draw_code()):
        with pytest.raises(TryLater) as refusal:
            world.exchange(code)
        told.append((refusal.value.detail, refusal.value.facts, refusal.value.slug))
    assert told == [told[0]] * 3


def test_a_typing_mistake_is_no_try_however_often_it_is_made(world: World, hashes: list[int]) -> None:
    for _ in range(30):
        with pytest.raises(CodeMistyped):
            world.exchange("7KQ4-ZX9M-2FHN-C0NZ")
    assert hashes == []
    wrong(world, 5)


def test_the_wait_ends_and_the_next_is_twice_as_long(world: World) -> None:
    wrong(world, 5)
    assert wait_s(world) == 1
    with clock.ahead(timedelta(seconds=1)):
        wrong(world)
        assert wait_s(world) == 2


def test_one_hostile_shopper_makes_no_other_wait(world: World) -> None:
    wrong(world, 5, shopper="hostile")
    assert wait_s(world, shopper="hostile")
    for number in range(6):
        assert world.exchange(world.code().code, shopper=f"honest-{number}").opened
    wrong(world, 5, shopper="honest-0")
    assert world.exchange(world.code().code, shopper="hostile", store=world.toyshop).opened, "at another store too"


def test_new_sessions_of_one_network_are_seen_through_where_the_store_tells_it(world: World) -> None:
    for number in range(20):
        asker = Asker(world.bookshop, "test", f"session-{number}", "order-1", "192.0.2.0/24")
        with (
            suppress(CodeNotAccepted),
            one_try(watch_store(asker.store_id, shopper_key=asker.shopper_key, network=asker.network)),
        ):
            raise CodeNotAccepted
    for spelt in ("192.0.2.0/24", "192.0.2.77/32", "192.0.2.128/25"):
        with pytest.raises(TryLater), one_try(watch_store(world.bookshop, shopper_key="new", network=spelt)):
            pytest.fail("looked at")
    with one_try(watch_store(world.bookshop, shopper_key="new", network="192.0.3.0/24")):
        pass


def test_networks_of_v4_that_are_spelt_as_v6_are_told_apart(world: World) -> None:
    spelt = [keys.shopper_keys(world.bookshop, "x", f"::ffff:{network}.0/120")[1] for network in ("192.0.2", "192.0.3")]
    plain = [keys.shopper_keys(world.bookshop, "x", f"{network}.0/24")[1] for network in ("192.0.2", "192.0.3")]
    assert spelt == plain and spelt[0] != spelt[1]


def test_success_halves_the_count_of_its_own_key_and_of_no_other(world: World) -> None:
    wrong(world, 4, shopper="one")
    wrong(world, 4, shopper="two")
    world.exchange(world.code().code, shopper="one")
    wrong(world, 3, shopper="one")
    assert wait_s(world, shopper="one") == 1
    wrong(world, 1, shopper="two")
    assert wait_s(world, shopper="two") == 1


def test_what_was_no_ones_fault_is_given_back(world: World) -> None:
    who = watch_store(world.bookshop, shopper_key="shopper")
    for _ in range(12):
        with pytest.raises(Busy), one_try(who):
            raise Busy
    wrong(world, 5)


def test_a_process_that_dies_while_it_looks_has_counted_a_wrong_code(world: World) -> None:
    """Nobody is left to give the try back."""
    for _ in range(5):
        tries._take(watch_store(world.bookshop, shopper_key="shopper"))
    assert wait_s(world) == 1


def test_an_honest_exchange_leaves_no_row_behind(world: World) -> None:
    for _ in range(3):
        world.exchange(world.code().code, shopper="shopper")
    assert rows("SELECT key FROM guard_count") == []


# ── a store ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_spent_budget_slows_those_without_a_shopper_and_delays_nobody_who_has_one(world: World) -> None:
    spend_budget(world)
    wrong(world, shopper=None)
    assert 1 <= wait_s(world, shopper=None) <= 60
    assert world.exchange(world.code().code, shopper="honest").opened
    wrong(world, 4, shopper="honest")
    assert world.exchange(world.code().code, shopper=None, store=world.toyshop).opened
    with clock.ahead(timedelta(seconds=60)):
        assert world.exchange(world.code().code, shopper=None).opened, "later, never refused for good"


def test_a_budget_grows_with_the_stores_good_exchanges(own_database: object, world: World) -> None:
    with transaction() as db:
        db.execute(
            text(
                "INSERT INTO event (id, at, kind, actor, facts) SELECT 'evt_' || gen_random_uuid(), clock_timestamp(), "
                "'code_exchanged', 'test', jsonb_build_object('store_id', cast(:store AS text)) "
                "FROM generate_series(1, 2000)"
            ),
            {"store": world.bookshop},
        )
    who = watch_store(world.bookshop, shopper_key=None)
    for _ in range(95):
        with suppress(CodeNotAccepted), one_try(who):
            raise CodeNotAccepted
    assert [row.budget for row in rows("SELECT budget FROM guard_count WHERE budget IS NOT NULL")] == [100]


# ── a page of ours ──────────────────────────────────────────────────────────────────────────────────────────────────


class Asked(Exception):
    """A captcha is asked, and none came along."""


def at_page(address: str | None) -> Visitor:
    def prove() -> None:
        raise Asked

    return Visitor(ip_address(address) if address else None, prove=prove)


def is_captcha_asked(who: tries.Watched) -> bool:
    try:
        tries._ask_for_captcha(who, must_wait=False)
    except Asked:
        return True
    return False


def wrong_at_page(address: str | None, times: int = 1, store_id: StoreId | None = None) -> None:
    for _ in range(times):
        who = Visitor(ip_address(address) if address else None, prove=lambda: None)
        with suppress(CodeNotAccepted), one_try(watch_visitor(who, store_id=store_id)):
            raise CodeNotAccepted


def is_let_in(address: str | None, store_id: StoreId | None = None) -> bool:
    who = Visitor(ip_address(address) if address else None, prove=lambda: None)
    try:
        with one_try(watch_visitor(who, store_id=store_id)):
            return True
    except TryLater:
        return False


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("192.0.2.1", "192.0.2.254", "192.0.3.1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.9", "192.0.3.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"),
        (None, None, "192.0.2.1"),
    ],
)
def test_a_network_has_five_wrong_tries_whatever_address_of_it_comes(
    world: World, address: str | None, same: str | None, other: str
) -> None:
    wrong_at_page(address, 5)
    assert not is_let_in(same)
    assert is_let_in(other)


def test_hopping_over_the_networks_of_one_v6_site_ends_after_twenty(world: World) -> None:
    for number in range(20):
        wrong_at_page(f"2001:db8:1:{number:x}::1")
    assert not is_let_in("2001:db8:1:ffff::1")
    assert is_let_in("2001:db8:2::1")


def test_a_captcha_is_asked_after_three_wrong_tries_from_a_network_and_of_nobody_else(world: World) -> None:
    wrong_at_page("192.0.2.1", 2)
    assert not is_captcha_asked(watch_visitor(at_page("192.0.2.9")))
    wrong_at_page("192.0.2.1")
    assert is_captcha_asked(watch_visitor(at_page("192.0.2.9")))
    with pytest.raises(Asked), one_try(watch_visitor(at_page("192.0.2.9"))):
        pytest.fail("looked at")
    assert not is_captcha_asked(watch_visitor(at_page("192.0.3.9")))


def test_who_has_to_wait_is_told_so_before_a_captcha_is_spent(world: World) -> None:
    wrong_at_page("192.0.2.1", 5)
    with pytest.raises(TryLater), one_try(watch_visitor(at_page("192.0.2.9"))):
        pytest.fail("looked at")


def test_a_stores_spent_budget_asks_for_a_captcha_where_the_page_is_for_its_order(world: World) -> None:
    assert not is_captcha_asked(watch_visitor(at_page("192.0.2.1"), store_id=world.bookshop))
    spend_budget(world)
    assert is_captcha_asked(watch_visitor(at_page("192.0.2.1"), store_id=world.bookshop))
    assert not is_captcha_asked(watch_visitor(at_page("192.0.2.1"), store_id=world.toyshop))
    assert not is_captcha_asked(watch_visitor(at_page("192.0.2.1")))


def test_more_than_twenty_wrong_codes_a_second_anywhere_ask_everybody(world: World) -> None:
    with clock_that_stands():
        for number in range(30):
            wrong_at_page(f"10.0.{number}.1")
        assert is_captcha_asked(watch_visitor(at_page("192.0.2.1")))
    with clock.ahead(timedelta(seconds=60)):
        assert not is_captcha_asked(watch_visitor(at_page("192.0.2.1")))


def test_what_is_wrong_at_our_pages_never_counts_for_the_store(world: World) -> None:
    for number in range(60):
        with suppress(CodeNotAccepted):
            asker = Asker(world.bookshop, "test", None, f"order-{number}")
            make_code_token(show_code(draw_code()), asker=asker, amount=gbp(100), who=visitor())
    with clock.ahead(timedelta(seconds=30)):  # so many at once were unusual everywhere
        assert not is_captcha_asked(watch_visitor(at_page("192.0.2.1"), store_id=world.bookshop))
    assert world.exchange(world.code().code, shopper=None).opened
    wrong(world, 20, shopper=None)


@contextmanager
def clock_that_stands() -> Iterator[None]:
    with transaction() as db:
        now = clock.now(db)
    with clock.set_to(now):
        yield


def test_the_right_key_of_a_link_never_waits_and_wrong_ones_do(world: World) -> None:
    who = watch_visitor(Visitor(ip_address("192.0.2.1")))
    for _ in range(5):
        with pytest.raises(LinkNotAccepted), one_key(who):
            raise LinkNotAccepted
    for _ in range(3):
        with pytest.raises(TryLater), one_key(who):
            raise LinkNotAccepted
        with one_key(who):
            pass


def test_wrong_keys_of_links_delay_no_code_from_the_same_network(world: World) -> None:
    wrong_at_page("192.0.2.1", 5)
    assert not is_let_in("192.0.2.1")
    assert is_let_in("192.0.2.1", world.bookshop)
    assert not is_captcha_asked(watch_visitor(at_page("192.0.2.1"), store_id=world.bookshop))


def test_who_has_waited_does_not_wait_again_for_what_was_our_fault(world: World) -> None:
    wrong(world, 5)
    with clock.ahead(timedelta(seconds=1)):
        wrong(world)
    with clock.ahead(timedelta(seconds=4)):
        who = watch_store(world.bookshop, shopper_key="shopper")
        for _ in range(3):
            with pytest.raises(Busy), one_try(who):
                raise Busy
        assert world.exchange(world.code().code).opened


def test_a_repeat_is_answered_while_its_shopper_waits_and_costs_no_argon2(world: World, hashes: list[int]) -> None:
    """The answer was lost, and somebody went on trying: the store must find out what it holds."""
    code, first = world.code().code, reference(world.bookshop)
    payment = world.exchange(code, reference=first).payment
    wrong(world, 5)
    assert wait_s(world)
    before = len(hashes)
    again = world.exchange(code, reference=first)
    assert (again.payment.id, again.replayed) == (payment.id, True)
    assert len(hashes) == before


def test_a_wrong_code_counts_though_its_event_cannot_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch, hashes: list[int]
) -> None:
    monkeypatch.setattr("app.redemption.codes.refused_code", _broken_write)
    for _ in range(5):
        with pytest.raises(Busy):
            world.exchange(draw_code())
    assert wait_s(world) == 1
    assert len(hashes) == 5


def test_a_wrong_code_at_the_checkout_counts_though_its_event_cannot_be_written(
    app: Flask, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, shopper = bookshop_of(app, world), Shopper(app.test_client())
    monkeypatch.setattr("app.checkout.try_code.refused_code", _broken_write)
    assert shopper.decide(shop.push(), "code", code=draw_code()).status_code == 503
    assert len(rows("SELECT key FROM guard_count")) == 2  # the network's and everybody's


def test_a_budget_that_cannot_be_reckoned_costs_nobody_a_try(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spend_budget(world)
    with transaction() as db:
        db.execute(text("UPDATE guard_count SET budget = NULL, budgeted_at = NULL"))
    monkeypatch.setattr(counts, "note_budget", _broken_write)
    assert world.exchange(world.code().code, shopper=None).opened


# ── many at once ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_fifty_tries_at_once_five_are_looked_at(world: World, hashes: list[int]) -> None:
    code = draw_code()
    opened, refused = split(at_once([lambda: world.exchange(code) for _ in range(50)]))
    assert not opened
    kinds = [type(refusal) for refusal in refused]
    assert set(kinds) <= {CodeNotAccepted, TryLater, Busy}, set(kinds)
    assert 1 <= len(hashes) <= 5


def test_without_taking_the_try_first_many_would_slip_through(
    world: World, hashes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault that the test before is there for: looking first, and counting when all is known."""

    @contextmanager
    def look_and_then_note(who: tries.Watched) -> Iterator[None]:
        with transaction() as db:
            found, now = counts.read(db, [key.hash for key in who.own])
        for seen in found.values():
            if now < seen.count.free_at:
                raise TryLater("later", retry_after_s=1)
        together.wait()  # what a busy moment does
        try:
            yield
        except CodeNotAccepted:
            tries._take(who)
            raise

    together = threading.Barrier(30)
    monkeypatch.setattr("app.redemption.exchange.one_try", look_and_then_note)
    code = draw_code()
    at_once([lambda: world.exchange(code) for _ in range(30)])
    assert len(hashes) > 5


def test_of_right_codes_at_once_by_one_shopper_none_is_lost(world: World) -> None:
    """A try that is under way counts as wrong, so the sixth of one moment may have to come again: after a second."""
    made = [world.code().code for _ in range(5)]
    opened, refused = split(at_once([lambda code=code: world.exchange(code) for code in made]))  # type: ignore[misc]
    assert len(opened) == 5, refused


# ── what is kept ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_row_tells_neither_the_shopper_nor_the_address_nor_the_store(world: World) -> None:
    wrong(world, shopper="shopper-key-hash")
    wrong_at_page("192.0.2.1")
    found = rows("SELECT guard_count.*::text AS cells FROM guard_count")
    assert len(found) == 4  # shopper, store, anybody, network
    for row in found:
        for named in ("shopper-key-hash", "192.0.2", world.bookshop):
            assert named not in row.cells and named.encode().hex() not in row.cells


def test_what_is_forgiven_is_forgotten_and_nothing_before(world: World) -> None:
    wrong(world, 3)
    wrong_at_page("192.0.2.1")
    counts.forget_counts()  # everybody's may be over already
    assert len(rows("SELECT key FROM guard_count")) >= 3
    with clock.ahead(timedelta(minutes=5)):
        counts.forget_counts()
    assert len(rows("SELECT key FROM guard_count")) == 2  # the shopper's and the network's
    with clock.ahead(timedelta(minutes=46)):
        assert counts.forget_counts() == 2
    assert rows("SELECT key FROM guard_count") == []


def test_counts_that_are_full_are_written_beside_others(world: World) -> None:
    """In the worst of an attack everybody's count is at its most, and a store's is not."""
    keys = (ANYBODY, store_key(world.bookshop))
    many = settings().usual_wrong_codes_per_s * backoff.UNUSUAL_FOR_S
    with transaction() as db:
        found, now = counts.lock(db, [key.hash for key in keys])
        levels = zip(keys, (many, 1.5), strict=True)
        full = {key.hash: replace(found[key.hash], count=backoff.Count(level, now, now)) for key, level in levels}
        counts.write(db, {mark: counts.Noted(each, over_at=now) for mark, each in full.items()})
    wrong(world)
    assert sorted(row.level for row in rows("SELECT level FROM guard_count"))[-1] > many - 10


def test_a_count_that_could_not_be_mended_does_not_undo_the_exchange(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The money has moved: the caller must hear so, even if the database goes away in that moment."""
    code = world.code().code
    take = tries._take

    def take_and_break(who: tries.Watched) -> tries.Changes:
        taken = take(who)
        monkeypatch.setattr(tries, "_change", _broken)
        return taken

    monkeypatch.setattr(tries, "_take", take_and_break)
    assert world.exchange(code).opened


def _broken(*_: object) -> None:
    raise Busy


def _broken_write(*_: object, **__: object) -> None:
    raise Busy


def test_keys_of_two_kinds_never_meet() -> None:
    addresses = [ip_address(address) for address in ("192.0.2.1", "::c000:0201")]
    assert len({key.name for address in addresses for key in browser_keys(address, "code")}) == 3
