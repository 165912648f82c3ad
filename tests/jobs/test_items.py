"""Items one by one: bugs contained, patience with the database, traces without values."""

import pytest
from structlog.testing import capture_logs

from app.errors import Busy, NotFound
from app.jobs.items import Broken, one_item, patiently
from app.web.traces import trace_of


def test_a_bug_in_one_item_is_logged_under_its_label_and_told_by_name_only() -> None:
    with capture_logs() as logs, pytest.raises(Broken) as caught, one_item(letter_id="let_1"):
        raise KeyError("sam@holder.example")
    assert str(caught.value) == "KeyError"
    assert (logs[0]["event"], logs[0]["letter_id"]) == ("item_broken", "let_1")
    assert "holder.example" not in str(logs)


def test_busy_is_not_the_items_fault() -> None:
    with capture_logs() as logs, pytest.raises(Busy), one_item(letter_id="let_1"):
        raise Busy
    assert logs == []


def test_what_was_named_passes_and_another_refusal_does_not() -> None:
    with pytest.raises(NotFound), one_item(passing=(NotFound,)):
        raise NotFound
    with pytest.raises(Broken), one_item():
        raise NotFound


def test_patience_outlasts_a_short_absence() -> None:
    troubles = [Busy(), Busy(), Busy()]

    def work() -> str:
        if troubles:
            raise troubles.pop()
        return "done"

    assert patiently(work, for_s=5) == "done"


def test_patience_has_an_end() -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        raise Busy

    with pytest.raises(Busy):
        patiently(work, for_s=0.25)
    assert len(calls) == 2


def test_patience_is_only_for_busy() -> None:
    with pytest.raises(ZeroDivisionError):
        patiently(lambda: 1 // 0, for_s=5)


def fail_deep(depth: int) -> None:
    if depth:
        return fail_deep(depth - 1)
    raise ValueError("claim key")


def test_a_trace_names_errors_and_places_and_no_values() -> None:
    with pytest.raises(RuntimeError) as caught:
        try:
            fail_deep(3)
        except ValueError as error:
            raise RuntimeError("sam@holder.example") from error
    outer, inner = trace_of(caught.value)
    assert outer.startswith("RuntimeError: ")
    assert inner.startswith("ValueError: ")
    assert inner.endswith("fail_deep")
    assert "tests/jobs/test_items.py:" in inner
    assert "holder" not in outer + inner
    assert "key" not in inner


def test_a_trace_follows_what_was_being_handled_unless_it_was_set_aside() -> None:
    try:
        try:
            fail_deep(0)
        except ValueError:
            fail_deep(1)
    except ValueError as error:
        assert len(trace_of(error)) == 2
    try:
        try:
            fail_deep(0)
        except ValueError:
            raise RuntimeError from None
    except RuntimeError as error:
        assert len(trace_of(error)) == 1
