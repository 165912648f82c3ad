"""How a process compares its clock with the database's: what is less than a reading took proves nothing."""

import logging
import time
from collections.abc import Iterator

import pytest

from app import clock, config
from app.db.time import current_time
from app.db.transaction import transaction
from app.ids import new_id


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = clock._offset_s, clock._compared_at_s
    yield
    clock._offset_s, clock._compared_at_s = before


@pytest.mark.parametrize("off_s", [-86_400, -0.6, 0.6, 86_400])
def test_a_wrong_clock_is_set_right_and_told_once(off_s: float, caplog: pytest.LogCaptureFixture) -> None:
    right_s = clock._offset_s
    clock._offset_s = right_s - off_s
    with caplog.at_level(logging.WARNING, "app.clock"):
        for _ in range(3):
            clock._compare(right_s, took_s=0.01)
    assert clock._offset_s == right_s
    assert [record.getMessage() for record in caplog.records] == [
        f"the clock of this machine is wrong: the database's is {off_s:+.1f} s from it"
    ]


@pytest.mark.parametrize(("off_s", "took_s"), [(0.4, 0.01), (-0.4, 0.01), (3, 2.6), (-3, 2.6)])
def test_a_difference_that_the_reading_explains_changes_nothing(off_s: float, took_s: float) -> None:
    """Else identifiers that one process draws one after the other would now and then be out of order."""
    before_s = clock._offset_s
    clock._compare(before_s + off_s, took_s=took_s)
    assert clock._offset_s == before_s


def test_the_database_is_asked_only_when_the_last_comparison_is_old(database: config.Settings) -> None:
    clock._compared_at_s, clock._offset_s = None, clock._offset_s - 86_400
    with transaction() as db:
        right = clock.now(db)
    clock._compared_at_s, clock._offset_s = None, clock._offset_s - 86_400
    assert abs((current_time() - right).total_seconds()) < 60
    compared_at_s = clock._compared_at_s
    current_time()
    assert clock._compared_at_s == compared_at_s


def test_what_somebody_does_to_this_machine_s_clock_changes_no_identifier(monkeypatch: pytest.MonkeyPatch) -> None:
    before = new_id("card")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    time.sleep(0.002)
    assert new_id("card") > before
