"""What is sent for each verb, and how its answer is read: tables of pure decisions."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from scrip_sdk import (
    AmountTooHigh,
    Code,
    CodeMistyped,
    CodeRefused,
    Money,
    PaymentClosed,
    RequestRejected,
    ScripError,
    Shopper,
    TryLater,
    calls,
)
from scrip_sdk.calls import Answer, Call
from tests.plugin_sdk.hostile import PAYMENT_ID, REQUEST_ID

CODE = "S5FR-5EZY-B8FS-5CWB"
POUNDS = Money.of("30.00", "GBP")
SHOWN = {"amount_minor": 3_000, "currency": "GBP"}
PATH = f"/v1/payments/{PAYMENT_ID}"
ORDER: dict[str, Any] = {"order_reference": "order-1", "key": "key-1"}


@pytest.mark.parametrize(
    "call,path,body",
    [
        (calls.exchange(CODE, **ORDER), "/v1/payments", {"code": "S5FR5EZYB8FS5CWB", "order_reference": "order-1"}),
        (
            calls.exchange(
                Code(CODE), **ORDER, shopper=Shopper("h" * 64, "192.0.2.0/24"), amount=POUNDS, hold_ttl_s=60
            ),
            "/v1/payments",
            {
                "code": "S5FR5EZYB8FS5CWB",
                "order_reference": "order-1",
                "shopper": {"key_hash": "h" * 64, "address_prefix": "192.0.2.0/24"},
                "amount": SHOWN,
                "hold_ttl_s": 60,
            },
        ),
        (
            calls.exchange_token("ct_x", **ORDER, shopper=Shopper("h" * 64)),
            "/v1/payments",
            {"code_token": "ct_x", "order_reference": "order-1", "shopper": {"key_hash": "h" * 64}},
        ),
        (calls.confirm(PAYMENT_ID, order_reference="o"), f"{PATH}/confirm", {"order_reference": "o"}),
        (calls.settle(PAYMENT_ID, POUNDS), f"{PATH}/settlements", {"amount": SHOWN, "final": True}),
        (
            calls.settle(PAYMENT_ID, POUNDS, order_reference="o", final=False, key="part-1"),
            f"{PATH}/settlements",
            {"amount": SHOWN, "final": False, "order_reference": "o"},
        ),
        (calls.void(PAYMENT_ID), f"{PATH}/void", {}),
        (calls.extend(PAYMENT_ID, 60, key="k"), f"{PATH}/extend", {"hold_ttl_s": 60}),
        (calls.refund(PAYMENT_ID, POUNDS, key="k"), f"{PATH}/refunds", {"amount": SHOWN}),
        (
            calls.refund(PAYMENT_ID, POUNDS, key="k", reason="back"),
            f"{PATH}/refunds",
            {"amount": SHOWN, "reason": "back"},
        ),
    ],
)
def test_a_verb_is_sent_so(call: Call[Any], path: str, body: dict[str, Any]) -> None:
    assert (call.method, call.path, json.loads(call.body)) == ("POST", path, body)
    assert call.key
    assert "S5FR" not in repr(call) and "ct_x" not in repr(call)


def test_a_mistyped_code_is_no_call() -> None:
    with pytest.raises(CodeMistyped):
        calls.exchange("S5FR-5EZY-B8FS-5CWC", **ORDER)


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────

OTHER_ID = PAYMENT_ID[:-1] + "r"
#: Each is another request; made again, it has its own key again.
DIFFERENT: list[Callable[[], Call[Any]]] = [
    lambda: calls.settle(PAYMENT_ID, POUNDS, order_reference="o-1"),
    lambda: calls.settle(PAYMENT_ID, POUNDS, order_reference="o-2"),
    lambda: calls.settle(PAYMENT_ID, POUNDS),
    lambda: calls.void(PAYMENT_ID),
    lambda: calls.void(OTHER_ID),
]


def test_a_default_key_is_made_of_the_stores_own_data() -> None:
    keys = [make().key for make in DIFFERENT]
    assert len(set(keys)) == len(keys)
    assert keys == [make().key for make in DIFFERENT]


def test_each_confirm_asks_how_things_stand_now() -> None:
    """An old key is answered with an old `held`, whatever became of the payment."""
    one, other = (calls.confirm(PAYMENT_ID, order_reference="x" * 200) for _ in range(2))
    assert one.key != other.key
    assert calls.confirm(PAYMENT_ID, order_reference="o-1", key="mine").key == "mine"


def test_a_final_settle_is_one_whatever_its_amount() -> None:
    """A restarted process that reckons anew must not take twice: the service refuses the key with other content."""
    assert calls.settle(PAYMENT_ID, POUNDS).key == calls.settle(PAYMENT_ID, Money(1, "GBP")).key


def test_a_part_needs_a_key_of_its_own() -> None:
    with pytest.raises(RequestRejected) as raised:
        calls.settle(PAYMENT_ID, POUNDS, final=False)
    assert raised.value.slug == "idempotency-key-missing"


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ключ", "a\r\nX: y", None, 7])
def test_a_key_that_the_service_would_refuse_is_not_sent(key: Any) -> None:
    with pytest.raises(RequestRejected) as raised:
        calls.extend(PAYMENT_ID, 60, key=key)
    assert raised.value.slug == "idempotency-key-invalid"


# ── refusals ────────────────────────────────────────────────────────────────────────────────────────────────────────


def refused(status: int, body: dict[str, Any], call: Call[Any] | None = None, **headers: str) -> ScripError:
    """What such an answer raises."""
    named = {"content-type": "application/problem+json"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.raises(ScripError) as raised:
        calls.read_answer(call or calls.void(PAYMENT_ID), Answer(status, named, json.dumps(body).encode()))
    return raised.value


def test_a_refusal_says_what_the_shop_can_act_on() -> None:
    over = refused(422, {"slug": "amount-over-hold", "held_minor": 5_000}, x_request_id=REQUEST_ID)
    assert isinstance(over, AmountTooHigh)
    assert (over.left_minor, over.status, over.request_id) == (5_000, 422, REQUEST_ID)
    limited = refused(422, {"slug": "refund-limit-reached", "left_minor": 7})
    assert isinstance(limited, AmountTooHigh) and limited.left_minor == 7
    closed = refused(409, {"slug": "payment-closed", "state": "voided"})
    assert isinstance(closed, PaymentClosed) and closed.state == "voided"
    other = refused(409, {"slug": "order-superseded"})
    assert isinstance(other, PaymentClosed) and other.state is None
    later = refused(429, {"slug": "try-later"}, retry_after="12")
    assert isinstance(later, TryLater) and later.retry_after_s == 12
    wrong = refused(422, {"slug": "invalid-request", "errors": [{"pointer": "/amount"}, {"pointer": "/x"}, 7]})
    assert isinstance(wrong, RequestRejected) and wrong.fields == ("/amount",)


def test_a_card_in_another_currency_is_the_shoppers_matter_at_the_exchange_alone() -> None:
    body = {"slug": "currency-mismatch"}
    assert isinstance(refused(422, body, calls.exchange(CODE, **ORDER)), CodeRefused)
    assert isinstance(refused(422, body), RequestRejected)


@pytest.mark.parametrize(
    "body",
    [
        {"slug": "payment-closed", "state": ["voided"]},
        {"slug": "payment-closed", "state": "S5FR5EZYB8FS5CWB"},
        {"slug": "amount-over-hold", "held_minor": "all of it"},
        {"slug": "amount-over-hold", "held_minor": True},
        {"slug": "invalid-request", "errors": {"pointer": "/code"}},
        {"slug": "invalid-request", "errors": [{"pointer": ["/code"]}, None]},
    ],
)
def test_facts_of_another_shape_are_left_out(body: dict[str, Any]) -> None:
    error = refused(422, body)
    assert not {"state", "left_minor", "fields"} & {name for name, value in vars(error).items() if value}
    assert "S5FR" not in str(vars(error))


@pytest.mark.parametrize("text", ["", "-1", "1.5", "Wed, 21 Oct 2026 07:28:00 GMT", "9" * 7, "１"])
def test_a_wait_of_another_shape_is_none(text: str) -> None:
    assert Answer(503, {"retry-after": text}, b"").retry_after_s is None
