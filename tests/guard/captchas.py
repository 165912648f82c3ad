"""Captchas for tests: they are asked of everybody, and solved as a browser solves them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from altcha import Challenge, Payload, solve_challenge

from app.guard import suspicion


@contextmanager
def captchas_asked() -> Iterator[None]:
    """In this process a captcha is asked of everybody, wherever they come from."""
    suspicion.is_asked_of_all = True
    try:
        yield
    finally:
        suspicion.is_asked_of_all = False


def solved(challenge: Mapping[str, Any]) -> str:
    """The solution, as it is sent."""
    found = Challenge.from_dict(dict(challenge))
    solution = solve_challenge(found)
    assert solution is not None
    return Payload(found, solution).to_base64()
