"""What a mail server's answer means, and when to try again."""

from datetime import timedelta

import pytest

from app.mail.rules import (
    FIRST_WAIT_S,
    LEASE,
    LONGEST_WAIT_S,
    MOST_TRIES,
    SLOW_S,
    is_last,
    judge,
    numbers_of,
    wait_before_next,
)


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (250, "accepted"),
        (251, "accepted"),
        (421, "session"),
        (450, "later"),
        (451, "later"),
        (452, "later"),
        (454, "later"),
        (500, "session"),
        (503, "session"),
        (530, "session"),
        (535, "session"),
        (538, "session"),
        (550, "never"),
        (552, "never"),
        (554, "never"),
        (354, "later"),
        (-1, "later"),
        (999, "later"),
    ],
)
def test_only_a_permanent_refusal_of_the_letter_itself_is_for_ever(code: int, verdict: str) -> None:
    assert judge(code) == verdict


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (b"5.1.1 <sam@holder.example> unknown", "RCPT 550 5.1.1"),
        (b"sam@holder.example 5.1.1 unknown", "RCPT 550"),
        (b"5.1.1234 odd", "RCPT 550"),
        (b"", "RCPT 550"),
    ],
)
def test_a_reason_holds_numbers_and_none_of_the_words(words: bytes, told: str) -> None:
    assert numbers_of("RCPT", 550, words) == told


def test_waits_double_from_ten_seconds_to_an_hour() -> None:
    waits = [wait_before_next(tries, 0.5).total_seconds() for tries in range(1, 12)]
    assert waits == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    assert wait_before_next(10_000, 0.5) == timedelta(hours=1)


def test_waits_differ_by_a_fifth_so_that_letters_do_not_come_back_all_at_once() -> None:
    assert wait_before_next(1, 0.0).total_seconds() == pytest.approx(0.8 * FIRST_WAIT_S)
    assert wait_before_next(99, 0.999).total_seconds() == pytest.approx(1.2 * LONGEST_WAIT_S, rel=0.01)


def test_a_letter_is_given_up_about_three_days_after_its_first_try() -> None:
    waited = sum((wait_before_next(tries, 0.5) for tries in range(1, MOST_TRIES)), timedelta())
    assert timedelta(days=2.8) < waited < timedelta(days=3.2)
    assert is_last(MOST_TRIES)
    assert not is_last(MOST_TRIES - 1)


def test_no_send_outlasts_its_lease() -> None:
    """DATA and the message each wait for a command's time at most, and the message's way out takes as long again."""
    from app.mail.delivery import COMMAND_S

    assert LEASE.total_seconds() > SLOW_S + 3 * COMMAND_S
