"""A higher limit takes two operators, a lower one none to agree; and whoever runs a command is not who he says."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app import clock, operators
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound
from app.issuance.limit_requests import (
    LAPSES_AFTER,
    LimitRequest,
    approve_limit,
    find_limits,
    reject_limit,
    request_limit,
)
from app.money import MAX_MINOR
from app.operators import NOBODY, login_uid, operator
from tests.at_once import at_once, split
from tests.issuance.limits import ALICE, BOB, Issuing, issuing, limit
from tests.service import ROOT
from tests.world import rows

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def acme() -> Issuing:
    """A client of its may issue 1000 minor units and 10 cards a day."""
    made = issuing()
    limit(made.client_id, minor=1_000, cards=10)
    return made


def wish(acme: Issuing, *, minor: int | None = 5_000, cards: int | None = None) -> LimitRequest:
    wanted = {"limit_minor": minor, "limit_cards": cards}
    asked = request_limit(acme.client_id, "GBP", **wanted, reason="Christmas", operator=ALICE)
    assert asked is not None
    return asked


def holds(acme: Issuing) -> tuple[int, int]:
    [found] = [each for each in find_limits()[0] if each.subject_id == acme.client_id]
    return found.limit_minor, found.limit_cards


def waiting(acme: Issuing) -> list[str]:
    return [asked.id for asked in find_limits()[1] if asked.subject_id == acme.client_id]


def history(acme: Issuing) -> list[str]:
    told = "SELECT kind FROM event WHERE facts ->> 'subject_id' = :id ORDER BY at, id"
    return [row.kind for row in rows(told, id=acme.client_id)]


def test_a_second_operator_approves_and_then_it_holds(acme: Issuing) -> None:
    assert (acme.issue(1_000), acme.issue(4_000)) == (1_000, 0)
    asked = wish(acme)
    assert (holds(acme), waiting(acme)) == ((1_000, 10), [asked.id])
    approve_limit(asked.id, operator=BOB)
    assert (holds(acme), waiting(acme)) == ((5_000, 10), [])
    assert (acme.issue(4_010), acme.issue(4_000)) == (0, 4_000)
    assert history(acme) == [
        "issuing_limit_lowered",
        "issuing_limited",
        "issuing_limit_requested",
        "issuing_limit_raised",
    ]


def test_nobody_approves_what_he_asked_for_but_may_take_it_back(acme: Issuing) -> None:
    asked = wish(acme)
    with pytest.raises(InvalidRequest, match="another operator"):
        approve_limit(asked.id, operator=ALICE)
    assert holds(acme) == (1_000, 10)
    reject_limit(asked.id, operator=ALICE)
    with pytest.raises(NotFound):
        approve_limit(asked.id, operator=BOB)
    assert history(acme)[-1] == "issuing_limit_rejected"


@pytest.mark.parametrize("decided_by", [ALICE, None])
def test_the_database_too_wants_four_eyes(acme: Issuing, decided_by: str | None) -> None:
    asked = wish(acme)
    approving = (
        "UPDATE issuing_limit_request SET state = 'approved', decided_by = :by, decided_at = now() WHERE id = :id"
    )
    with pytest.raises(IntegrityError, match=r"four_eyes|decided"), transaction() as db:
        db.execute(text(approving), {"by": decided_by, "id": asked.id})


def test_a_request_lapses(acme: Issuing) -> None:
    asked = wish(acme)
    with clock.ahead(LAPSES_AFTER):
        assert waiting(acme) == []
        for decide in (approve_limit, reject_limit):
            with pytest.raises(NotFound):
                decide(asked.id, operator=BOB)
    with clock.ahead(LAPSES_AFTER - timedelta(minutes=1)):
        approve_limit(asked.id, operator=BOB)


def test_what_has_changed_since_is_asked_for_anew(acme: Issuing) -> None:
    """Two requests would otherwise come to a limit that neither of the four eyes has looked at."""
    first, second = wish(acme), wish(acme, minor=2_000)
    approve_limit(first.id, operator=BOB)
    with pytest.raises(InvalidRequest, match="anew"):
        approve_limit(second.id, operator=BOB)
    assert (holds(acme), waiting(acme)) == ((5_000, 10), [second.id])


@pytest.mark.parametrize(
    ("minor", "cards", "then"),
    [(500, None, (500, 10)), (None, 5, (1_000, 5)), (1_000, 10, (1_000, 10)), (0, 0, (0, 0))],
)
def test_a_lower_limit_holds_at_once(
    acme: Issuing, minor: int | None, cards: int | None, then: tuple[int, int]
) -> None:
    limit(acme.client_id, minor=minor, cards=cards)
    assert holds(acme) == then


@pytest.mark.parametrize(("minor", "cards"), [(1_001, None), (None, 11), (500, 11), (1_001, 5)])
def test_whatever_raises_one_number_waits_as_a_whole(acme: Issuing, minor: int | None, cards: int | None) -> None:
    asked = wish(acme, minor=minor, cards=cards)
    assert holds(acme) == (1_000, 10)
    approve_limit(asked.id, operator=BOB)
    assert holds(acme) == (minor or 1_000, cards or 10)


def test_what_is_lowered_stays_used_up_to_the_new_limit(acme: Issuing) -> None:
    acme.issue(900)
    limit(acme.client_id, minor=300)
    assert acme.issue(10) == 0
    with clock.ahead(timedelta(days=1)):
        assert acme.issue(300) == 300


def test_of_many_who_approve_at_once_one_does(acme: Issuing) -> None:
    asked = wish(acme)
    deciders = [lambda n=n: approve_limit(asked.id, operator=f"operator:{n}") for n in range(6)]
    done, refused = split(at_once([*deciders, lambda: reject_limit(asked.id, operator=ALICE)]))
    assert (len(done), {type(refusal) for refusal in refused}) == (1, {NotFound})
    assert sum(kind in ("issuing_limit_raised", "issuing_limit_rejected") for kind in history(acme)) == 1


def test_a_lower_limit_and_an_approval_at_once_leave_no_limit_that_nobody_wanted(acme: Issuing) -> None:
    """Whoever is second sees that something has changed, or lowers what the other has raised."""
    asked = wish(acme)
    at_once([lambda: limit(acme.client_id, minor=200), lambda: approve_limit(asked.id, operator=BOB)])
    assert holds(acme) == (200, 10)


def test_what_is_no_wish_is_refused(acme: Issuing) -> None:
    good: dict[str, Any] = {"limit_minor": 1, "limit_cards": 1, "reason": "x", "operator": ALICE}
    for wrong in ({"limit_minor": -1}, {"limit_cards": MAX_MINOR + 1}, {"reason": " "}, {"reason": "a\nb"}):
        with pytest.raises(InvalidRequest):
            request_limit(acme.client_id, "GBP", **{**good, **wrong})
    with pytest.raises(InvalidRequest):
        request_limit(acme.client_id, "GBX", **good)
    for subject_id in ("cli_unknown", acme.world.bookshop, ""):
        with pytest.raises(NotFound):
            request_limit(subject_id, "GBP", **good)
    with pytest.raises(NotFound):
        approve_limit("lim_unknown", operator=BOB)


# ── who an operator is ──────────────────────────────────────────────────────────────────────────────────────────────


def test_an_operator_is_who_logged_in_whatever_the_environment_says(tmp_path: Path) -> None:
    told = tmp_path / "loginuid"
    for says, uid in ((str(NOBODY), None), ("", None), ("1234\n", 1234), ("0", 0)):
        told.write_text(says)
        assert login_uid(told) == uid
    assert login_uid(tmp_path / "none") is None


def test_names_in_the_environment_change_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = "from app.operators import operator; print(operator())"
    lies = dict.fromkeys(("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"), "mallory")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SUDO_UID": "1", **lies}
    ran = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == operator()
    monkeypatch.setattr(operators, "login_uid", lambda: 4_000_000_001)
    assert operator() == "operator:4000000001"
