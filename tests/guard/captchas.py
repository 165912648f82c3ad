"""Captchas for tests: they are asked of everybody, and solved as a browser solves them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from altcha import Challenge, Payload, solve_challenge

from app.db.transaction import transaction
from app.guard.keys import ANYBODY
from tests.world import forgive_all


@contextmanager
def captchas_asked() -> Iterator[None]:
    """A captcha is asked of everybody: there are too many wrong codes, for an hour yet."""
    with transaction() as db:
        db.exec_driver_sql(_UNUSUAL, (ANYBODY.hash,))
    try:
        yield
    finally:
        forgive_all()


_UNUSUAL = """
INSERT INTO guard_count (key, level, as_of, free_at, over_at)
VALUES ($1, 1000000, now() + interval '1 hour', now(), now() + interval '1 day')
ON CONFLICT (key) DO UPDATE SET level = excluded.level, as_of = excluded.as_of
"""


def solved(challenge: Mapping[str, Any] | None) -> str:
    """The solution, as it is sent."""
    assert challenge is not None, "no captcha was asked"
    found = Challenge.from_dict(dict(challenge))
    solution = solve_challenge(found)
    assert solution is not None
    return Payload(found, solution).to_base64()
