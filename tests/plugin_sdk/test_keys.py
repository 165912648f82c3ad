"""Keys: the same for the same request, another for any other, and always as the service wants them."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrip_sdk.keys import exchange_key, new_nonce, request_key
from scrip_sdk.money import Money
from scrip_sdk.shopper import Shopper, shopper_of

#: Texts that are hard to keep apart when they are put together.
texts = st.text("ab:~-", max_size=4) | st.text(max_size=3) | st.text("a", min_size=60, max_size=70)
requests = st.tuples(st.sampled_from(["settle", "refund"]), texts, texts, texts)


@given(requests, requests)
def test_two_keys_are_the_same_exactly_if_their_requests_are(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    keys = [request_key(*request[:3], part=request[3]) for request in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)
    assert re.fullmatch("[!-~]{1,255}", keys[0])


def test_a_hash_cannot_be_taken_for_an_order_reference() -> None:
    """Whoever names an order like another one's hash gets another key."""
    long = "x" * 65
    hashed = request_key("settle", "pay_1", long).rpartition(":")[2]
    assert request_key("settle", "pay_1", hashed) != request_key("settle", "pay_1", long)


def test_a_key_can_be_read() -> None:
    assert request_key("settle", "pay_01m84qf1bgfsdrt5wy3xxw2v4q", "web-1001") == (
        "settle:pay_01m84qf1bgfsdrt5wy3xxw2v4q:web-1001"
    )


def test_a_form_that_is_sent_twice_means_it_once_and_nobody_elses_form_does() -> None:
    one, other = shopper_of("a store's own secret", "session-1"), shopper_of("a store's own secret", "session-2")
    nonce = new_nonce()
    key = exchange_key(nonce, order_reference="order-1", shopper=one)
    assert key == exchange_key(nonce, order_reference="order-1", shopper=one)
    assert key == exchange_key(nonce, order_reference="order-1", shopper=one.key_hash)
    others = {
        exchange_key(nonce, order_reference="order-1", shopper=other),
        exchange_key(nonce, order_reference="order-2", shopper=one),
        exchange_key(new_nonce(), order_reference="order-1", shopper=one),
    }
    assert len(others - {key}) == 3
    assert re.fullmatch("[!-~]{1,255}", key)
    assert nonce not in key


def test_a_form_that_comes_again_with_other_content_has_another_key() -> None:
    """From another network, or for another amount: the service would refuse the first one's key."""
    nonce, shopper = new_nonce(), Shopper("h" * 64)
    amounts = (None, Money(1, "GBP"), Money(1, "EUR"), Money(2, "GBP"))
    keys = [
        exchange_key(nonce, order_reference="order-1", shopper=replace(shopper, address_prefix=network), amount=amount)
        for network in (None, "192.0.2.0/24", "198.51.100.0/24", "0.01 GBP")
        for amount in amounts
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == exchange_key(nonce, order_reference="order-1", shopper=shopper.key_hash)


@given(st.text(min_size=1, max_size=200))
def test_a_nonce_from_a_hostile_browser_makes_a_key_like_any_other(nonce: str) -> None:
    assert re.fullmatch("[!-~]{1,255}", exchange_key(nonce, order_reference="order-1", shopper="session-1"))


@pytest.mark.parametrize("nonce", ["", "x" * 201])
def test_a_form_without_a_nonce_is_refused(nonce: str) -> None:
    with pytest.raises(ValueError, match="no nonce"):
        exchange_key(nonce, order_reference="order-1", shopper="session-1")
