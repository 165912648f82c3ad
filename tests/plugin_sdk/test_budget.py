"""What a call may take, and when it comes again: tables of pure decisions."""

import math

import pytest

from scrip_sdk.budget import Budget, Deadline, Timeouts, is_repeated, pause_s, timeouts


@pytest.mark.parametrize(
    "attempt,left_s,retry_after_s,draw,pause",
    [
        (0, 8, None, 1.0, 0.5),
        (0, 8, None, 0.0, 0.25),
        (1, 8, None, 1.0, 1.0),
        (2, 8, None, 1.0, 2.0),
        (2, 8, None, 0.0, 1.0),
        (9, 99, None, 1.0, 8.0),
        (999, 99, None, 1.0, 8.0),
        (0, 8, 0, 1.0, 0.5),  # told to come at once: not everybody does
        (0, 8, 1, 0.0, 1.0),
        (0, 8, 1, 1.0, 1.1),
        (3, 8, 1, 1.0, 4.0),
        (0, 8, 7, 1.0, 7.7),
        (0, 8, 8, 0.0, None),
        (0, 8, 99, 1.0, None),
        (0, 0.59, None, 1.0, None),
        (0, 0.61, None, 1.0, 0.5),
        (0, 0, None, 0.0, None),
    ],
)
def test_a_repeat_waits_and_has_time_left(
    attempt: int, left_s: float, retry_after_s: int | None, draw: float, pause: float | None
) -> None:
    found = pause_s(attempt, left_s=left_s, retry_after_s=retry_after_s, draw=lambda: draw)
    assert found == (None if pause is None else pytest.approx(pause))


@pytest.mark.parametrize(
    "left_s,expected",
    [(8, Timeouts(2, 3, 5)), (5, Timeouts(2, 3, 5)), (4, Timeouts(2, 3, 4)), (1, Timeouts(1, 1, 1))],
)
def test_an_attempt_gets_what_is_left(left_s: float, expected: Timeouts) -> None:
    assert timeouts(Budget(), left_s) == expected


def test_the_budget_is_what_is_promised() -> None:
    assert Budget() == Budget(connect_s=2, read_s=3, total_s=8)


@pytest.mark.parametrize("wrong", [0, -1, math.inf, math.nan])
def test_a_budget_has_an_end(wrong: float) -> None:
    for name in ("connect_s", "read_s", "total_s"):
        with pytest.raises(ValueError, match="above zero"):
            Budget(**{name: wrong})


def test_a_deadline_comes_nearer_and_is_never_put_off() -> None:
    now = [100.0]
    deadline = Deadline.after(8, lambda: now[0])
    assert deadline.left_s() == 8
    assert deadline.sooner(2).left_s() == 2
    now[0] = 107.0
    assert (deadline.left_s(), deadline.sooner(2).left_s()) == (1, 1)
    now[0] = 200.0
    assert deadline.left_s() == 0


@pytest.mark.parametrize(
    "status,repeated",
    [
        *((status, False) for status in (200, 302, 400, 401, 403, 404, 409, 410, 422)),
        *((status, True) for status in (408, 425, 429, 500, 502, 503, 504)),
    ],
)
def test_what_says_nothing_about_the_request_is_repeated(status: int, repeated: bool) -> None:
    assert is_repeated(status) is repeated
