"""Which key signs now, and which ones verify."""

from datetime import UTC, datetime, timedelta

import pytest
from joserfc.jwk import ECKey

from app.oauth.key_ring import Purpose, Ring, RingKey

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PAIR = ECKey.generate_key("P-256")


def key(
    kid: str, *, since: datetime | None = None, until: datetime | None = None, purpose: Purpose = "access"
) -> RingKey:
    return RingKey(kid, purpose, PAIR, signs_from=since, retires_at=until)


def test_the_newest_key_whose_time_has_come_signs() -> None:
    """A key that took over, but is not yet published for long enough, waits; the one before it signs on."""
    ring = Ring([key("old", since=NOON - HOUR, until=NOON + HOUR), key("new", since=NOON), key("next")])
    assert ring.signer("access", NOON - timedelta(seconds=1)).kid == "old"
    assert ring.signer("access", NOON).kid == "new"


def test_a_clock_that_is_behind_does_not_leave_us_without_a_key() -> None:
    ring = Ring([key("first", since=NOON), key("second", since=NOON + HOUR)])
    assert ring.signer("access", NOON - HOUR).kid == "first"


def test_a_key_signs_for_its_own_purpose_only() -> None:
    ring = Ring([key("a", since=NOON), key("b", since=NOON + HOUR, purpose="balance")])
    assert ring.signer("access", NOON + 2 * HOUR).kid == "a"
    assert ring.signer("balance", NOON).kid == "b"
    with pytest.raises(LookupError):
        Ring([key("a", since=NOON), key("next", purpose="balance")]).signer("balance", NOON)


def test_a_key_is_published_from_before_it_signs_until_it_retires() -> None:
    ring = Ring([key("old", since=NOON - HOUR, until=NOON), key("new", since=NOON - HOUR), key("next")])
    assert [each.kid for each in ring.published(NOON - timedelta(seconds=1))] == ["old", "new", "next"]
    assert [each.kid for each in ring.published(NOON)] == ["new", "next"]


def test_a_key_verifies_for_its_own_purpose_only() -> None:
    ring = Ring([key("a", since=NOON), key("b", since=NOON, purpose="balance"), key("gone", until=NOON)])
    assert ring.verifier("a", "access", NOON) is PAIR
    assert ring.verifier("b", "access", NOON) is None
    assert ring.verifier("a", "balance", NOON) is None
    assert ring.verifier("gone", "access", NOON) is None
    assert ring.verifier("unknown", "access", NOON) is None


def test_what_is_published_holds_no_private_half() -> None:
    published = key("a", since=NOON).public_jwk()
    assert set(published) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (published["kid"], published["use"], published["alg"]) == ("a", "sig", "ES256")


def test_the_repr_of_a_ring_shows_no_key() -> None:
    assert repr(Ring([key("a"), key("b")])) == "Ring(['a', 'b'])"
