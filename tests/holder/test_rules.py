"""Where a card's value is, as its holder is told, and what is offered: one row per standing, in the order of checks."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.holder.rules import (
    CardSeen,
    Standing,
    decide_standing,
    is_nonce,
    is_secret,
    offers_fresh_code,
    offers_new_link,
    wait_in_words,
)

NOW = datetime(2026, 11, 23, 10, 2, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(minutes=30), NOW - timedelta(seconds=1)
WITH_LINK = CardSeen(
    state="active",
    expires_at=NOW + timedelta(days=365),
    has_hold=False,
    held_until=None,
    has_link=True,
    code_state=None,
    bound_until=None,
)
WITH_CODE = replace(WITH_LINK, has_link=False, code_state="live")
BOUND = replace(WITH_CODE, code_state="bound", bound_until=LATER)
HELD = replace(BOUND, has_hold=True, held_until=LATER)


@pytest.mark.parametrize(
    ("card", "standing"),
    [
        (replace(WITH_LINK, state="spent", has_link=False), Standing.SPENT),
        (replace(WITH_LINK, state="lapsed", has_link=False), Standing.LAPSED),
        (replace(WITH_CODE, expires_at=NOW), Standing.LAPSED),
        (replace(HELD, expires_at=EARLIER), Standing.HELD),
        (replace(WITH_LINK, state="frozen"), Standing.CLOSED),
        (HELD, Standing.HELD),
        (replace(HELD, held_until=NOW), Standing.LINK_DUE),
        (replace(HELD, held_until=EARLIER, expires_at=EARLIER), Standing.LINK_DUE),
        (WITH_CODE, Standing.CODE_OUT),
        (BOUND, Standing.AT_STORE),
        (replace(BOUND, bound_until=NOW), Standing.LINK_DUE),
        (WITH_LINK, Standing.LINK_OUT),
        (replace(WITH_LINK, has_link=False), Standing.CLOSED),
    ],
)
def test_standing(card: CardSeen, standing: Standing) -> None:
    assert decide_standing(card, NOW) is standing


@pytest.mark.parametrize(
    ("standing", "fresh_code", "new_link"),
    [
        (Standing.HELD, False, False),
        (Standing.AT_STORE, True, True),
        (Standing.CODE_OUT, True, True),
        (Standing.LINK_OUT, False, True),
        (Standing.LINK_DUE, False, True),
        (Standing.SPENT, False, False),
        (Standing.LAPSED, False, False),
        (Standing.CLOSED, False, False),
    ],
)
def test_what_is_offered(standing: Standing, fresh_code: bool, new_link: bool) -> None:
    assert (offers_fresh_code(standing), offers_new_link(standing)) == (fresh_code, new_link)


@pytest.mark.parametrize("text", ["", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "é", "A" * 43 + "\n"])
def test_what_is_not_43_url_safe_characters_is_no_secret(text: str) -> None:
    assert not is_secret(text)


def test_43_url_safe_characters_are_a_secret() -> None:
    assert is_secret("aZ09-_" + "x" * 37)


@pytest.mark.parametrize(
    ("wait_s", "words"),
    [
        (1, "a second"),
        (59, "59 seconds"),
        (60, "a minute"),
        (61, "2 minutes"),
        (600, "10 minutes"),
        (3600, "60 minutes"),
        (5400, "2 hours"),
        (86_400, "24 hours"),
    ],
)
def test_a_wait_in_words(wait_s: int, words: str) -> None:
    assert wait_in_words(wait_s) == words


def test_a_claim_key_and_a_nonce_are_known_by_their_shape() -> None:
    assert is_secret("A" * 43) and is_nonce("A" * 43) and is_nonce("f" * 64)
    assert not any(is_secret(text) for text in ("", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "\n"))
    assert not any(is_nonce(text) for text in ("", "A" * 42, "A" * 129, "A" * 42 + " "))
