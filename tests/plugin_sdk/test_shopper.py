"""Who the shopper is: the same for the same store, nothing for anybody else; and of his address the network alone."""

import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.redemption import schemas
from scrip_sdk.shopper import prefix_of, shopper_of

SECRET = "a store's own secret"


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_are_the_same_exactly_if_their_ids_are(one: str, other: str) -> None:
    assert (shopper_of(SECRET, one).key_hash == shopper_of(SECRET, other).key_hash) == (one == other)


def test_the_hash_has_the_services_shape_and_is_made_with_a_key_of_its_own() -> None:
    made = shopper_of(SECRET, "session-1").key_hash
    assert re.fullmatch("[!-~]{8,128}", made)
    assert made != hmac.new(SECRET.encode(), b"session-1", hashlib.sha256).hexdigest()
    assert made != shopper_of(SECRET + "2", "session-1").key_hash
    assert made == shopper_of(SECRET.encode(), "session-1").key_hash
    assert "session-1" not in repr(shopper_of(SECRET, "session-1"))


def test_strangers_do_not_share_a_hash_by_accident() -> None:
    with pytest.raises(ValueError, match="ID of his session"):
        shopper_of(SECRET, "")
    with pytest.raises(ValueError, match="16 bytes"):
        shopper_of("short", "session-1")


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        (" 192.0.2.77 ", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", "127.0.0.0/24"),
        (None, None),
        ("", None),
        ("unknown", None),
        ("192.0.2.77:443", None),
        ("192.0.2.77, 198.51.100.1", None),
        ("192.0.2.0/24", None),
        ("3221225985", None),
        ("[2001:db8::1]", None),
        ("<script>", None),
    ],
)
def test_of_an_address_the_network_is_left(address: str | None, prefix: str | None) -> None:
    assert shopper_of(SECRET, "session-1", address).address_prefix == prefix
    assert prefix is None or re.fullmatch(schemas._PREFIX, prefix)


@given(st.text())
def test_rubbish_in_place_of_an_address_is_none_and_no_error(address: str) -> None:
    assert prefix_of(address) is None or re.fullmatch(schemas._PREFIX, str(prefix_of(address)))
