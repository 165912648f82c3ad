"""Waiting times as stories, told with a clock that is set."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.guard import backoff
from app.guard.backoff import Count, Wait

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
FRESH = Count(0, datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(0, UTC))


@dataclass
class Person:
    """Somebody who tries codes, and the time on his clock."""

    count: Count = FRESH
    now: datetime = NOON
    waited: list[int] = field(default_factory=list)

    def waits(self, seconds: float) -> "Person":
        self.now += timedelta(seconds=seconds)
        return self

    def tries(self, how: str, times: int = 1) -> "Person":
        """Tries, as soon as he may; `waited` has what he was told before each."""
        for _ in range(times):
            try:
                taken = backoff.take_try(self.count, self.now, free=5)
                self.waited.append(0)
            except Wait as wait:
                self.waited.append(wait.seconds)
                self.waits(wait.seconds)
                taken = backoff.take_try(self.count, self.now, free=5)
            if how == "wrong":
                self.count = taken
            else:
                self.count = backoff.give_back_try(taken, self.now, free=5)
                if how == "right":
                    self.count = backoff.note_success(self.count, self.now, free=5)
        return self


def test_five_wrong_codes_are_free_and_then_each_wait_is_twice_the_one_before_up_to_a_quarter_of_an_hour() -> None:
    person = Person().tries("wrong", 18)
    assert person.waited == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


def test_who_comes_too_soon_is_told_how_long_and_is_not_delayed_further_by_having_asked() -> None:
    person = Person().tries("wrong", 7).waits(0.5)
    for _ in range(3):
        with pytest.raises(Wait) as told:
            backoff.take_try(person.count, person.now, free=5)
        assert told.value.seconds == 4  # three and a half, rounded up
    person.waits(3.5)
    assert backoff.take_try(person.count, person.now, free=5).level > person.count.level - 1


def test_the_wait_is_over_at_its_very_end() -> None:
    person = Person().tries("wrong", 5)
    with pytest.raises(Wait):
        backoff.take_try(person.count, person.count.free_at - timedelta(microseconds=1), free=5)
    backoff.take_try(person.count, person.count.free_at, free=5)


def test_one_wrong_code_is_forgiven_each_quarter_of_an_hour_and_none_before() -> None:
    assert Person().tries("wrong", 5).waits(899).tries("wrong", 2).waited[-2:] == [0, 2]
    assert Person().tries("wrong", 5).waits(901).tries("wrong", 2).waited[-2:] == [0, 1]
    assert Person().tries("wrong", 5).waits(5 * 900 + 1).tries("wrong", 6).waited[-6:] == [0, 0, 0, 0, 0, 1]


def test_whoever_tried_for_a_whole_day_is_a_stranger_again_after_four_hours() -> None:
    person = Person().tries("wrong", 96)
    assert person.waits(4 * 3_600).tries("wrong", 6).waited[-6:] == [0, 0, 0, 0, 0, 1]


def test_a_patient_guesser_has_four_wrong_codes_an_hour_once_the_free_ones_are_gone() -> None:
    person = Person().tries("wrong", 15)
    began, tried = person.now, 0
    while person.now < began + timedelta(days=1):
        person.tries("wrong")
        tried += 1
    assert tried <= 24 * 4 + 1


def test_a_success_halves_what_was_wrong() -> None:
    person = Person().tries("wrong", 8).tries("right")
    assert 3.9 < person.count.level <= 4
    assert person.tries("wrong", 2).waited[-2:] == [0, 1]


def test_a_thief_is_not_rid_of_his_wrong_codes_by_using_a_card_of_his_own_again_and_again() -> None:
    thief = Person()
    for _ in range(40):
        thief.tries("wrong", 2).tries("right")
    honest = Person().tries("wrong", 80)
    assert sum(thief.waited) > 0.4 * sum(honest.waited)


def test_an_honest_shopper_with_good_codes_only_never_waits() -> None:
    person = Person()
    for _ in range(200):
        person.tries("right").waits(0.01)
    assert set(person.waited) == {0} and person.count.level == 0


def test_what_came_to_nothing_counts_for_nothing() -> None:
    person = Person().tries("wrong", 4)
    before = person.count.level
    person.tries("nothing", 50)
    assert person.count.level == pytest.approx(before, abs=0.01)
    assert person.tries("wrong", 2).waited[-2:] == [0, 1]


def test_of_many_at_once_only_the_free_ones_are_let_in() -> None:
    """All are taken before any is settled."""
    count, let_in = FRESH, 0
    for _ in range(50):
        try:
            count = backoff.take_try(count, NOON, free=5)
            let_in += 1
        except Wait:
            pass
    assert let_in == 5


def test_a_try_under_way_keeps_the_wait_that_another_one_has_earned() -> None:
    count = Person().tries("wrong", 9).count
    now = count.free_at
    right = backoff.take_try(count, now, free=5)
    later = right.free_at
    wrong = backoff.take_try(right, later, free=5)
    settled = backoff.give_back_try(wrong, later, free=5)
    assert settled.free_at > later


@given(st.lists(st.tuples(st.sampled_from(["wrong", "right", "nothing"]), st.floats(0, 5_000)), max_size=60))
def test_no_order_of_things_makes_a_level_negative_or_a_wait_longer_than_the_longest(
    steps: list[tuple[str, float]],
) -> None:
    person = Person()
    for how, pause_s in steps:
        person.tries(how).waits(pause_s)
        assert 0 <= person.count.level <= 5 + backoff.DOUBLINGS
        assert person.waited[-1] <= backoff.LONGEST_S


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2_000)), max_size=80))
def test_whatever_is_mixed_with_right_codes_a_thief_has_few_wrong_ones_in_a_day(
    steps: list[tuple[bool, float]],
) -> None:
    """What is forgiven in a quarter of an hour is one; by a success in an hour, half of what there is."""
    person, wrong = Person(), 0
    for is_wrong, pause_s in steps:
        person.tries("wrong" if is_wrong else "right").waits(pause_s)
        wrong += is_wrong
    passed, most = person.now - NOON, 5 + backoff.DOUBLINGS
    forgiven, halved = passed.total_seconds() / backoff.LONGEST_S, passed / backoff.HALVED_EACH + 1
    assert wrong <= most + forgiven + halved * most / 2


def test_a_clock_that_was_set_back_forgives_nothing_and_punishes_nobody_twice() -> None:
    count = Person().tries("wrong", 3).count
    taken = backoff.take_try(count, NOON - timedelta(hours=1), free=5)
    assert taken.level == pytest.approx(4, abs=0.01)


# ── a store ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("good", "budget"), [(0, 20), (400, 20), (419, 20), (420, 21), (36_000, 1_800)])
def test_a_store_may_have_twenty_wrong_codes_a_minute_or_one_in_twenty_of_its_good_exchanges(
    good: int, budget: int
) -> None:
    assert backoff.budget_of(good) == budget


def unnamed(count: Count, now: datetime) -> Count:
    return backoff.take_unnamed_try(count, now, budget=20)


def test_a_store_that_names_no_shopper_has_its_budget_and_then_a_twentieth_of_a_minute_for_each() -> None:
    count = FRESH
    for _ in range(20):
        count = unnamed(count, NOON)
    with pytest.raises(Wait) as told:
        unnamed(count, NOON)
    assert told.value.seconds == 3
    unnamed(count, NOON + timedelta(seconds=3))


def test_a_spent_budget_slows_unnamed_tries_down_to_one_a_minute_and_refuses_none_for_good() -> None:
    """However many shoppers with counts of their own are wrong meanwhile."""
    count, now, let_in = FRESH, NOON, 0
    for _ in range(10_000):
        count = backoff.note_wrong(count, now, budget=20)
    for second in range(600):
        now = NOON + timedelta(seconds=second)
        for _ in range(5):
            count = backoff.note_wrong(count, now, budget=20)
        try:
            count, let_in = unnamed(count, now), let_in + 1
        except Wait as wait:
            assert wait.seconds <= 60
    assert let_in == 10


def test_good_unnamed_tries_do_not_delay_each_other_even_while_the_budget_is_spent() -> None:
    count = FRESH
    for _ in range(40):
        count = backoff.note_wrong(count, NOON, budget=20)
    for _ in range(30):
        count = backoff.give_back_unnamed_try(unnamed(count, NOON), NOON, budget=20)
    assert backoff.is_spent(count, NOON, budget=20)


def test_a_spent_budget_is_whole_again_two_minutes_after_the_last_wrong_code() -> None:
    count = FRESH
    for _ in range(1_000):
        count = backoff.note_wrong(count, NOON, budget=20)
    assert backoff.is_spent(count, NOON + timedelta(seconds=59), budget=20)
    assert not backoff.is_spent(count, NOON + timedelta(seconds=61), budget=20)
    assert backoff.note_wrong(count, NOON + timedelta(minutes=2), budget=20).level == 1


# ── everybody ───────────────────────────────────────────────────────────────────────────────────────────────────────


def anywhere(count: Count, *, per_s: int, for_s: int, since: datetime) -> Count:
    for step in range(per_s * for_s):
        count = backoff.note_wrong_anywhere(count, since + timedelta(seconds=step / per_s), usual_per_s=20)
    return count


def test_the_usual_rate_stays_usual_for_ever() -> None:
    count = anywhere(FRESH, per_s=20, for_s=120, since=NOON)
    assert not backoff.is_unusual(count, NOON + timedelta(seconds=120), usual_per_s=20)


def test_twice_the_usual_rate_is_seen_within_two_seconds() -> None:
    count = anywhere(FRESH, per_s=40, for_s=2, since=NOON)
    assert backoff.is_unusual(count, NOON + timedelta(seconds=2), usual_per_s=20)


def test_all_is_usual_again_half_a_minute_after_the_worst_attack() -> None:
    count = anywhere(FRESH, per_s=500, for_s=10, since=NOON)
    ended = NOON + timedelta(seconds=10)
    assert backoff.is_unusual(count, ended + timedelta(seconds=20), usual_per_s=20)
    assert not backoff.is_unusual(count, ended + timedelta(seconds=30), usual_per_s=20)
