"""What a sliding window's counts mean."""

import pytest

from app.guard.limit_window import Window


@pytest.mark.parametrize(
    ("previous", "current", "ends_in_s", "left", "waits_s"),
    [
        (0, 0, 60, 10, 1),
        (0, 4, 30, 6, 1),
        (0, 10, 60, 0, 61),  # the window is full: until it ends, and a moment more
        (0, 10, 0.5, 0, 1),
        (10, 0, 60, 0, 1),  # all of the previous window still counts, but for a moment
        (10, 0, 30, 5, 1),  # half of it does
        (10, 5, 30, 0, 1),
        (10, 5, 45, 0, 16),  # room when only half of it does
        (10, 9, 60, 0, 55),
        (20, 5, 30, 0, 16),  # a limit that was lowered meanwhile
        (0, 20, 60, 0, 91),
    ],
)
def test_what_is_left_and_how_long_to_wait(
    previous: int, current: int, ends_in_s: float, left: int, waits_s: int
) -> None:
    window = Window(60, previous, current, ends_in_s)
    assert (window.left(10), window.waits_s(10)) == (left, waits_s)


@pytest.mark.parametrize("previous", [0, 3, 10, 25])
@pytest.mark.parametrize("current", [0, 1, 9, 10, 30])
@pytest.mark.parametrize("ends_in_s", [1, 20, 59])
def test_after_the_wait_one_more_gets_through(previous: int, current: int, ends_in_s: int) -> None:
    waits_s = Window(60, previous, current, ends_in_s).waits_s(10)
    if waits_s < ends_in_s:
        then = Window(60, previous, current, ends_in_s - waits_s)
    else:
        then = Window(60, current, 0, ends_in_s + 60 - waits_s)
    assert then.left(10) > 0
