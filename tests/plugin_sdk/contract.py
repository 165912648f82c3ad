"""What a store can do and be told, case by case: each is run against the fake and against the real service.

A case asks, and asserts what it is about; everything that either side answered beside that is compared afterwards.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.checkout.shop import Pushed, challenge_of, details
from tests.plugin_sdk.sides import CALLBACK, Heard, Side, gbp

Case = Callable[[Side], None]
CASES: dict[str, Case] = {}

MINUTE, DAY = 60, 86_400
SAM, KIM = {"key_hash": "sam-12345678"}, {"key_hash": "kim-12345678"}


def case(run: Case) -> Case:
    CASES[run.__name__] = run
    return run


# ── exchange ────────────────────────────────────────────────────────────────────────────────────────────────────────


@case
def a_code_becomes_a_payment(side: Side) -> None:
    answer = side.exchange(side.code(), key="one", shopper=SAM)
    assert (answer.status, answer.json["held"], answer.json["state"]) == (201, gbp(5_000), "held")
    assert side.get(answer.json["id"]).json["balance_token"]


@case
def the_same_key_is_answered_again(side: Side) -> None:
    code = side.code()
    first = side.exchange(code, key="one")
    again = side.exchange(code, key="one")
    assert (again.status, again.json["id"]) == (201, first.json["id"])
    assert again.headers["idempotent-replayed"] == "true"
    assert side.exchange(code, key="one", order_reference="order-2").slug == "reference-reused"
    assert side.exchange("0000-0000-0000-0001", key="one").slug == "code-mistyped"
    assert side.exchange("0000-0000-0000-0000", key="one").json["id"] == first.json["id"]  # no code is remembered
    assert side.settle(first.json["id"], 100, key="one").slug == "reference-reused"
    assert side.exchange(code, key="one", who="other").slug == "code-not-accepted"  # keys are each store's own


@case
def a_refusal_is_not_kept(side: Side) -> None:
    payment_id = side.payment()
    assert side.settle(payment_id, 9_000, key="one").slug == "amount-over-hold"
    assert side.settle(payment_id, 3_000, key="one").status == 201


@case
def an_answer_is_given_again_whatever_became_of_the_payment(side: Side) -> None:
    code = side.code()
    first = side.exchange(code, key="exchange", shopper=SAM).json
    side.verb("confirm", first["id"], order_reference="order-1", key="confirm")
    side.settle(first["id"], 3_000, key="settle")
    assert side.exchange(code, key="exchange", shopper=SAM).json["state"] == "held"
    assert side.settle(first["id"], 3_000, key="settle").json["remaining"] == gbp(0)
    side.verb("confirm", first["id"], order_reference="order-1", key="confirm")
    assert side.get(first["id"]).json["state"] == "settled"


@case
def the_same_shopper_finds_the_same_payment(side: Side) -> None:
    code = side.code()
    first = side.exchange(code, shopper=SAM)
    again = side.exchange(code, shopper=SAM, order_reference="order-2", amount=gbp(100))
    assert (again.status, again.json["id"], again.json["held"]) == (200, first.json["id"], gbp(5_000))
    assert side.exchange(code, shopper=KIM).slug == "code-not-accepted"
    assert side.exchange(code).slug == "code-not-accepted"
    assert side.exchange(code, who="other", shopper=SAM).slug == "code-not-accepted"


@case
def without_a_shopper_the_order_decides(side: Side) -> None:
    code = side.code()
    first = side.exchange(code)
    assert side.exchange(code).json["id"] == first.json["id"]
    assert side.exchange(code, shopper=SAM).status == 200
    assert side.exchange(code, order_reference="order-2").slug == "code-not-accepted"
    side.verb("void", first.json["id"])
    assert side.exchange(code, order_reference="order-2", shopper=KIM).status == 201


@case
def a_part_of_the_balance_is_held(side: Side) -> None:
    assert side.exchange(side.code(), amount=gbp(3_000)).json["held"] == gbp(3_000)
    assert side.exchange(side.code(), amount=gbp(9_000)).json["held"] == gbp(5_000)
    assert side.exchange(side.code(), amount={"amount_minor": 1, "currency": "EUR"}).slug == "currency-mismatch"


@case
def a_hold_may_be_shorter_and_not_longer(side: Side) -> None:
    side.exchange(side.code(), hold_ttl_s=600)
    side.exchange(side.code(), hold_ttl_s=DAY)


@case
def codes_that_nobody_knows_are_refused(side: Side) -> None:
    assert side.exchange("MA4K-V30W-8P9C-GEM6").slug == "code-not-accepted"
    assert side.exchange("MA4K-V30W-8P9C-GEM7").slug == "code-mistyped"
    assert side.exchange("x" * 100).slug == "code-mistyped"


@case
def five_wrong_codes_are_free_and_then_the_shopper_waits(side: Side) -> None:
    good = side.code()
    for _ in range(5):
        assert side.exchange("MA4K-V30W-8P9C-GEM6", shopper=SAM).slug == "code-not-accepted"
    answer = side.exchange(good, shopper=SAM)
    assert (answer.slug, answer.headers["retry-after"]) == ("try-later", "1")
    assert side.exchange(side.code(), shopper=KIM).status == 201
    side.advance(2)
    assert side.exchange("MA4K-V30W-8P9C-GEM6", shopper=SAM).slug == "code-not-accepted"
    assert side.exchange(good, shopper=SAM).headers["retry-after"] == "2"
    side.advance(3)
    assert side.exchange(good, shopper=SAM).status == 201


# ── code tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────


@case
def a_code_token_is_exchanged_once(side: Side) -> None:
    code = side.code()
    token = side.code_token(code, 3_000, order="order-1", shopper_key=SAM["key_hash"])
    asked = {"code_token": token, "order_reference": "order-1", "shopper": SAM}
    first = side.post("/v1/payments", asked, key="one")
    assert (first.status, first.json["held"]) == (201, gbp(3_000))
    assert side.post("/v1/payments", asked).slug == "code-not-accepted"
    assert side.post("/v1/payments", asked, key="one").json["id"] == first.json["id"]
    again = side.code_token(code, 2_000, order="order-1", shopper_key=SAM["key_hash"])
    found = side.post("/v1/payments", {**asked, "code_token": again})
    assert (found.status, found.json["held"]) == (200, gbp(3_000))


@case
def a_code_token_is_for_one_store_shopper_order_and_amount(side: Side) -> None:
    token = side.code_token(side.code(), 3_000, order="order-1")
    good = {"code_token": token, "order_reference": "order-1"}
    for changed in ({"shopper": SAM}, {"order_reference": "order-2"}, {"amount": gbp(2_000)}):
        assert side.post("/v1/payments", {**good, **changed}).slug == "code-not-accepted"
    assert side.post("/v1/payments", good, who="other").slug == "code-not-accepted"
    assert side.post("/v1/payments", {**good, "code_token": "ct_" + "x" * 43}).slug == "code-not-accepted"
    side.advance(59)
    assert side.post("/v1/payments", {**good, "amount": gbp(3_000)}).status == 201


@case
def a_code_token_lives_for_a_minute(side: Side) -> None:
    token = side.code_token(side.code(), 3_000, order="order-1")
    side.advance(61)
    assert side.post("/v1/payments", {"code_token": token, "order_reference": "order-1"}).slug == "code-not-accepted"
    assert side.code_token("MA4K-V30W-8P9C-GEM6", 1, order="order-1") == ""
    assert side.code_token("MA4K-V30W-8P9C-GEM7", 1, order="order-1") == ""


# ── confirm, extend, void ───────────────────────────────────────────────────────────────────────────────────────────


@case
def a_confirmed_payment_stands_for_its_order(side: Side) -> None:
    payment_id = side.payment()
    assert side.verb("extend", payment_id, hold_ttl_s=DAY).slug == "payment-unconfirmed"
    confirmed = side.verb("confirm", payment_id, order_reference="order-2", amount=gbp(3_000)).json
    assert (confirmed["confirmed"], confirmed["held"], confirmed["released"]) == (True, gbp(3_000), gbp(2_000))
    assert side.verb("confirm", payment_id, order_reference="order-3").slug == "order-superseded"
    assert side.settle(payment_id, 1, order_reference="order-3").slug == "order-superseded"
    assert side.verb("confirm", payment_id, order_reference="order-2", amount=gbp(4_000)).slug == "amount-over-hold"
    euros = {"amount_minor": 1, "currency": "EUR"}
    assert side.verb("confirm", payment_id, order_reference="order-2", amount=euros).slug == "currency-mismatch"
    assert side.verb("confirm", payment_id, order_reference="order-2", amount=gbp(2_000)).json["held"] == gbp(2_000)
    side.verb("extend", payment_id, hold_ttl_s=14 * DAY)
    side.verb("extend", payment_id, hold_ttl_s=DAY)
    side.verb("extend", payment_id, hold_ttl_s=60 * DAY)
    side.advance(29 * DAY)
    assert side.settle(payment_id, 2_000, order_reference="order-2").status == 201


@case
def a_voided_code_is_typed_again_by_its_shopper_alone(side: Side) -> None:
    code = side.code()
    first = side.exchange(code, shopper=SAM).json["id"]
    side.verb("confirm", first, order_reference="order-1")
    assert side.verb("void", first).json["state"] == "voided"
    assert side.verb("void", first).slug == "payment-closed"
    assert side.exchange(code, who="other", shopper=SAM).slug == "code-not-accepted"
    assert side.exchange(code, shopper=KIM).slug == "code-not-accepted"
    second = side.exchange(code, shopper=SAM, order_reference="order-2")
    assert second.status == 201 and second.json["id"] != first
    side.note(side.letters(first), side.card_state(first))


@case
def a_voided_code_dies_after_a_first_holds_time(side: Side) -> None:
    code = side.code()
    first = side.exchange(code, shopper=SAM).json["id"]
    side.verb("confirm", first, order_reference="order-1")
    side.verb("void", first)
    side.advance(31 * MINUTE)
    side.release_due()
    assert side.exchange(code, shopper=SAM).slug == "code-not-accepted"
    side.note(side.letters(first), side.card_state(first))
    assert side.exchange(side.claim(first), shopper=KIM).status == 201


@case
def a_void_after_a_part_was_settled(side: Side) -> None:
    payment_id = side.payment()
    side.settle(payment_id, 1_000, final=False)
    assert side.verb("void", payment_id).json["state"] == "settled"
    side.note(side.letters(payment_id), side.card_state(payment_id))


# ── settle ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@case
def the_rest_goes_to_the_holder_by_a_new_link(side: Side) -> None:
    code = side.code()
    payment_id = side.exchange(code, shopper=SAM).json["id"]
    answer = side.settle(payment_id, 3_000)
    assert (answer.status, answer.json["released"], answer.json["payment"]["state"]) == (201, gbp(2_000), "settled")
    assert side.settle(payment_id, 100).json["state"] == "settled"
    assert side.exchange(code, shopper=SAM).slug == "code-not-accepted"
    side.note(side.letters(payment_id), side.card_state(payment_id))
    assert side.exchange(side.claim(payment_id), who="other").json["balance"] == gbp(2_000)


@case
def a_whole_hold_is_settled(side: Side) -> None:
    payment_id = side.payment()
    assert side.settle(payment_id, 5_000, final=False).json["payment"]["state"] == "settled"
    side.note(side.letters(payment_id), side.card_state(payment_id))


@case
def an_order_is_settled_in_parts(side: Side) -> None:
    payment_id = side.payment()
    first = side.settle(payment_id, 1_000, final=False, order_reference="order-9").json
    assert (first["remaining"], first["payment"]["state"]) == (gbp(4_000), "held")
    assert side.settle(payment_id, 4_001, final=False).json["held_minor"] == 4_000
    side.settle(payment_id, 1_500, final=False)
    last = side.settle(payment_id, 500).json
    assert (last["released"], last["payment"]["settled"]) == (gbp(2_000), gbp(3_000))
    side.note(side.letters(payment_id), side.card_state(payment_id))


@case
def a_settle_in_the_wrong_currency(side: Side) -> None:
    payment_id = side.payment()
    euros = {"amount_minor": 1, "currency": "EUR"}
    assert side.verb("settlements", payment_id, amount=euros).slug == "currency-mismatch"


# ── expiry and late settles ─────────────────────────────────────────────────────────────────────────────────────────


@case
def a_hold_that_is_over_holds_nothing(side: Side) -> None:
    payment_id = side.payment()
    side.advance(31 * MINUTE)
    assert side.get(payment_id).json["state"] == "expired"
    for verb, body in (("confirm", {"order_reference": "order-1"}), ("void", {}), ("extend", {"hold_ttl_s": 60})):
        answer = side.verb(verb, payment_id, **body)
        assert (answer.status, answer.slug, answer.json["state"]) == (409, "payment-closed", "expired")
    side.release_due()
    side.note(side.letters(payment_id), side.card_state(payment_id))


@case
def a_part_that_was_settled_before_the_hold_was_over(side: Side) -> None:
    payment_id = side.payment()
    side.settle(payment_id, 1_000, final=False)
    side.advance(31 * MINUTE)
    assert side.get(payment_id).json["state"] == "settled"
    assert side.settle(payment_id, 4_500).slug == "amount-over-hold"
    assert side.settle(payment_id, 4_000).status == 201
    side.note(side.letters(payment_id), side.card_state(payment_id))


@case
def a_late_settle_takes_the_value_along(side: Side) -> None:
    payment_id = side.payment()
    side.verb("confirm", payment_id, order_reference="order-1", amount=gbp(4_000))
    side.advance(8 * DAY)
    side.release_due()
    assert side.settle(payment_id, 4_001).slug == "amount-over-hold"
    assert side.settle(payment_id, 1, order_reference="order-2").slug == "order-superseded"
    first = side.settle(payment_id, 1_000, final=False)
    assert (first.status, first.json["payment"]["state"], first.json["released"]) == (201, "settled", gbp(0))
    side.note(side.letters(payment_id), side.card_state(payment_id))
    assert side.settle(payment_id, 3_000).status == 201
    assert side.settle(payment_id, 1).slug == "payment-closed"
    side.note(side.letters(payment_id), side.card_state(payment_id))


@case
def a_late_settle_comes_too_late(side: Side) -> None:
    payment_id = side.payment()
    side.advance(31 * MINUTE + 3 * DAY)
    assert side.settle(payment_id, 1_000).slug == "payment-closed"


@case
def a_late_settle_finds_the_value_elsewhere(side: Side) -> None:
    payment_id = side.payment()
    side.advance(31 * MINUTE)
    side.release_due()
    elsewhere = side.exchange(side.claim(payment_id), who="other").json["id"]
    assert side.settle(payment_id, 1_000).slug == "payment-closed"
    side.verb("void", elsewhere, who="other")
    assert side.settle(payment_id, 1_000).slug == "payment-closed"
    side.advance(31 * MINUTE)
    assert side.settle(payment_id, 1_000).status == 201


# ── refund ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@case
def a_refund_goes_back_to_the_card(side: Side) -> None:
    payment_id = side.payment()
    assert side.verb("refunds", payment_id, amount=gbp(1)).slug == "amount-over-settled"
    side.settle(payment_id, 3_000)
    answer = side.verb("refunds", payment_id, amount=gbp(1_000), reason="One book came back", key="refund")
    assert (answer.status, answer.json["payment"]["refunded"]) == (201, gbp(1_000))
    again = side.verb("refunds", payment_id, amount=gbp(1_000), reason="One book came back", key="refund")
    assert again.json["id"] == answer.json["id"]
    assert side.verb("refunds", payment_id, amount=gbp(2_001)).slug == "amount-over-settled"
    euros = {"amount_minor": 1, "currency": "EUR"}
    assert side.verb("refunds", payment_id, amount=euros).slug == "currency-mismatch"
    side.note(side.letters(payment_id), side.card_state(payment_id))


@case
def a_refund_to_a_spent_card_makes_a_new_link(side: Side) -> None:
    payment_id = side.payment()
    side.settle(payment_id, 5_000)
    side.verb("refunds", payment_id, amount=gbp(5_000))
    side.note(side.letters(payment_id), side.card_state(payment_id))
    assert side.exchange(side.claim(payment_id)).json["held"] == gbp(5_000)


@case
def a_refund_while_the_rest_is_held(side: Side) -> None:
    payment_id = side.payment()
    side.settle(payment_id, 3_000, final=False)
    answer = side.verb("refunds", payment_id, amount=gbp(3_000)).json["payment"]
    assert (answer["held"], answer["balance"]) == (gbp(2_000), gbp(5_000))
    side.note(side.letters(payment_id), side.card_state(payment_id))


@case
def a_stores_refunds_are_limited(side: Side) -> None:
    side.limit_refunds(2_000)
    payment_id = side.payment()
    side.settle(payment_id, 5_000)
    side.verb("refunds", payment_id, amount=gbp(1_500))
    answer = side.verb("refunds", payment_id, amount=gbp(1_000))
    assert (answer.slug, answer.json["left_minor"]) == ("refund-limit-reached", 500)
    side.advance(DAY + 1)
    assert side.verb("refunds", payment_id, amount=gbp(1_000)).status == 201


# ── whose it is, who asks, and how ──────────────────────────────────────────────────────────────────────────────────


@case
def somebody_elses_payment_is_not_found(side: Side) -> None:
    payment_id = side.payment()
    assert side.get(payment_id, who="other").slug == "not-found"
    assert side.get("pay_01m84qf1bgfsdrt5wy3xxw2v4q").slug == "not-found"
    verbs: tuple[tuple[str, dict[str, Any]], ...] = (
        ("confirm", {"order_reference": "order-1"}),
        ("settlements", {"amount": gbp(1)}),
        ("void", {}),
        ("extend", {"hold_ttl_s": 60}),
        ("refunds", {"amount": gbp(1)}),
    )
    for verb, body in verbs:
        assert side.verb(verb, payment_id, who="other", **body).slug == "not-found"
        assert side.verb(verb, payment_id, who="only bill", **body).slug == "insufficient-scope"
    assert side.get(payment_id, who="only bill").status == 200
    assert side.exchange(side.code(), who="only bill").json["scope"] == "exchange"
    assert side.verb("refunds", payment_id, who="only exchange", amount=gbp(1)).json["scope"] == "refund"


@case
def access_tokens_have_scopes_and_an_end(side: Side) -> None:
    payment_id = side.payment()
    assert side.send("GET", f"/v1/payments/{payment_id}", scope="guard.read").slug == "insufficient-scope"
    assert (
        side.send("GET", f"/v1/payments/{payment_id}", authorization="Bearer nonsense").slug == "invalid-access-token"
    )
    assert side.send("GET", f"/v1/payments/{payment_id}", authorization="").slug == "invalid-access-token"
    token = side.grant(grant_type="client_credentials").json
    assert (token["expires_in"], token["token_type"]) == (300, "Bearer")
    side.advance(301)
    old = f"Bearer {token['access_token']}"
    assert side.send("GET", f"/v1/payments/{payment_id}", authorization=old).slug == "invalid-access-token"


@case
def the_token_endpoint_says_what_is_wrong(side: Side) -> None:
    for form in (
        {},
        {"grant_type": "password"},
        {"grant_type": "client_credentials", "scope": "issue"},
        {"grant_type": "client_credentials", "scope": "exchange refund"},
        {"grant_type": "client_credentials", "scope": ""},
        {"grant_type": "authorization_code"},
        {"grant_type": "authorization_code", "code": "x", "code_verifier": "v" * 43},
    ):
        answer = side.grant(**form)
        said = {name: answer.json.get(name) for name in ("error", "scope", "expires_in", "token_type")}
        side.note(form, answer.status, said)
    wrong = base64.b64encode(b"cli_01m84qf1bgfsdrt5wy3xxw2v4q:wrong").decode()
    headers = {"authorization": f"Basic {wrong}", "content-type": "application/x-www-form-urlencoded"}
    answer = side.http("POST", "/oauth/token", headers, b"grant_type=client_credentials")
    assert (answer.status, answer.slug) == (401, "invalid_client")
    side.note(answer.headers["www-authenticate"])


@case
def requests_must_have_their_shape(side: Side) -> None:
    for raw in (b"{", b"[]", b'{"code": "a", "code": "b"}', b'{"code": NaN}', b"\xff"):
        side.send("POST", "/v1/payments", raw, key="one")
    side.send("POST", "/v1/payments", b"{}", key="one", content_type="text/plain")
    side.send("POST", "/v1/payments", b'{"code":"' + b"x" * 70_000 + b'"}', key="one")
    good = {"code": side.code(), "order_reference": "order-1"}
    assert side.send("POST", "/v1/payments", json.dumps(good).encode()).slug == "idempotency-key-missing"
    assert side.post("/v1/payments", good, key="a b").slug == "idempotency-key-invalid"
    assert side.post("/v1/payments", good, key="x" * 256).slug == "idempotency-key-invalid"
    wrong: tuple[dict[str, Any], ...] = (
        {"order_reference": "order-1"},
        {"code": "x"},
        {"kode": "x", "order_reference": 1},
        {**good, "code_token": "ct_" + "x" * 43},
        {"code_token": "nonsense", "order_reference": "order-1"},
        {**good, "code": ""},
        {**good, "code": None},
        {**good, "order_reference": "x" * 201},
        {**good, "order_reference": "a\nb"},
        {**good, "amount": {"amount_minor": 0, "currency": "GBP"}},
        {**good, "amount": {"amount_minor": True, "currency": "gbp"}},
        {**good, "amount": {"amount_minor": 10**13, "currency": "XXX", "more": 1}},
        {**good, "amount": 3},
        {**good, "shopper": {"key_hash": "short"}},
        {**good, "shopper": {}},
        {**good, "shopper": {"key_hash": "sam-12345678", "address_prefix": "home", "name": "Sam"}},
        {**good, "hold_ttl_s": 0},
        {**good, "hold_ttl_s": 1.5},
        {**good, "hold_ttl_s": "60"},
    )
    for body in wrong:
        assert side.post("/v1/payments", body).slug == "invalid-request", body
    nothing = {"amount": None, "shopper": None, "hold_ttl_s": None}
    payment_id = side.post("/v1/payments", {**good, **nothing}).json["id"]
    for verb, body in (
        ("settlements", {"amount": gbp(1), "final": 1}),
        ("settlements", {"amount": gbp(1), "final": None}),
        ("settlements", {"amount": None}),
        ("settlements", {}),
        ("confirm", {}),
        ("void", {"why": "because"}),
        ("extend", {"hold_ttl_s": 400 * DAY}),
        ("refunds", {"amount": gbp(1), "reason": ""}),
    ):
        assert side.verb(verb, payment_id, **body).slug == "invalid-request", (verb, body)
    assert side.settle(payment_id, 1, order_reference=None).status == 201


@case
def there_is_nothing_at_other_addresses(side: Side) -> None:
    assert side.send("GET", "/v1/payments").slug == "method-not-allowed"
    assert side.send("GET", "/v1/nothing").status == 404
    assert side.send("GET", "/v1/payments/pay_1").status == 404


# ── hosted checkout ─────────────────────────────────────────────────────────────────────────────────────────────────


def form_of(verifier: str = "v" * 43, **changes: Any) -> dict[str, str]:
    """A good pushed request, with changes; None leaves a parameter out."""
    good = {
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "state": "the store's own",
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
        "authorization_details": json.dumps(details()),
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def push(side: Side, amount: str = "30.00", **more: Any) -> Pushed:
    verifier = hashlib.sha256(repr(more).encode()).hexdigest()
    asked = json.dumps(details(amount, **more))
    answer = side.form("/oauth/par", "store", **form_of(verifier, authorization_details=asked))
    assert answer.status == 201, answer.body
    return Pushed(answer.json["request_uri"], verifier, side.client("store")[0])


def came_back(side: Side, address: str) -> dict[str, str]:
    """What the shopper brings back to the store."""
    assert address.startswith(CALLBACK + "&")
    query = dict(parse_qsl(urlsplit(address).query))
    side.note(sorted(query), query["state"], query["iss"], query.get("error"))
    return query


def redeem(side: Side, pushed: Pushed, code: str, /, **changes: str) -> Heard:
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": pushed.verifier}
    answer = side.grant(**{**form, "redirect_uri": CALLBACK, **changes})
    told = ("error", "token_type", "expires_in", "scope", "authorization_details")
    side.note(answer.status, {name: answer.json.get(name) for name in told})
    return answer


@case
def a_holder_approves_and_the_store_settles(side: Side) -> None:
    pushed = push(side, shopper=SAM)
    code = came_back(side, side.approve(pushed, side.code()))["code"]
    token = redeem(side, pushed, code).json
    payment_id = token["authorization_details"][0]["payment_id"]
    bound = f"Bearer {token['access_token']}"
    settled = json.dumps({"amount": gbp(3_000)}).encode()
    other = side.payment()
    path = "/v1/payments/{}/settlements"
    assert side.send("POST", path.format(other), settled, key="a", authorization=bound).slug == "insufficient-scope"
    answer = side.send("POST", path.format(payment_id), settled, key="b", authorization=bound)
    assert (answer.status, answer.json["payment"]["order_reference"]) == (201, "123")
    exchange = json.dumps({"code": side.code(), "order_reference": "x"}).encode()
    assert side.send("POST", "/v1/payments", exchange, key="c", authorization=bound).slug == "insufficient-scope"


@case
def an_authorization_code_is_good_once(side: Side) -> None:
    pushed = push(side)
    code = came_back(side, side.approve(pushed, side.code()))["code"]
    for changes in ({"code_verifier": "w" * 43}, {"redirect_uri": "https://elsewhere.example/"}, {"code": "x" * 43}):
        assert redeem(side, pushed, code, **changes).slug == "invalid_grant"
    assert redeem(side, pushed, code, code_verifier="short").slug == "invalid_request"
    assert redeem(side, pushed, code).status == 200
    assert redeem(side, pushed, code).slug == "invalid_grant"


@case
def what_is_not_fetched_within_a_minute_is_free_again(side: Side) -> None:
    pushed, typed = push(side), side.code()
    code = came_back(side, side.approve(pushed, typed))["code"]
    side.advance(61)
    assert redeem(side, pushed, code).slug == "invalid_grant"
    side.release_due()
    assert side.exchange(typed, order_reference="another").status == 201


@case
def after_a_lost_answer_the_same_order_finds_the_same_payment(side: Side) -> None:
    typed = side.code()
    first = push(side, shopper=SAM)
    lost = redeem(side, first, came_back(side, side.approve(first, typed))["code"]).json
    again = push(side, shopper=SAM)
    found = redeem(side, again, came_back(side, side.approve(again, typed))["code"]).json
    assert found["authorization_details"][0]["payment_id"] == lost["authorization_details"][0]["payment_id"]


@case
def a_newer_approval_takes_the_place_of_one_that_was_not_fetched(side: Side) -> None:
    typed = side.code()
    first, second = push(side, "10.00"), push(side, "20.00")
    stale = came_back(side, side.approve(first, typed))["code"]
    fresh = came_back(side, side.approve(second, typed))["code"]
    assert redeem(side, first, stale).slug == "invalid_grant"
    assert redeem(side, second, fresh).status == 200


@case
def a_holder_says_no(side: Side) -> None:
    pushed = push(side)
    assert came_back(side, side.deny(pushed))["error"] == "access_denied"


@case
def a_pushed_request_must_have_its_shape(side: Side) -> None:
    for changes in (
        {"response_type": "token"},
        {"response_type": None},
        {"response_mode": "fragment"},
        {"redirect_uri": "https://elsewhere.example/"},
        {"redirect_uri": None},
        {"state": "x" * 513},
        {"scope": "issue"},
        {"code_challenge": None},
        {"code_challenge": "short"},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
        {"request_uri": "urn:x"},
        {"authorization_details": None},
        {"authorization_details": "{"},
        {"authorization_details": json.dumps(details("30"))},
        {"authorization_details": json.dumps(details("0.00"))},
        {"authorization_details": json.dumps(details(order=""))},
        {"authorization_details": json.dumps(details(currency="XXX"))},
        {"authorization_details": json.dumps(details(more=1))},
        {"authorization_details": json.dumps(details() * 2)},
        {"authorization_details": json.dumps(details(shopper={"key_hash": "short"}))},
    ):
        answer = side.form("/oauth/par", "store", **form_of(**changes))
        side.note(changes, answer.status, answer.json.get("error"))
        assert answer.status == 400, changes
    assert side.form("/oauth/par", "only bill", **form_of()).slug == "unauthorized_client"
    assert side.form("/oauth/par", "store", **form_of()).json["expires_in"] == 300


# ── bills ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def bill_of(side: Side, *lines: Any, reference: str = "bill-1", **more: Any) -> dict[str, Any]:
    return {"period": f"{side.now():%Y-%m}", "reference": reference, "lines": list(lines), **more}


def line_of(payment_id: str, amount_minor: int) -> dict[str, Any]:
    return {"payment_id": payment_id, "amount": gbp(amount_minor), "order_reference": "order-1"}


@case
def a_bill_is_matched_line_by_line(side: Side) -> None:
    settled, refunded, held, voided = (side.payment() for _ in range(4))
    side.settle(settled, 3_000)
    side.settle(refunded, 2_000)
    side.verb("refunds", refunded, amount=gbp(500))
    side.verb("void", voided)
    lines = [
        line_of(settled, 3_000),
        line_of(settled, 3_000),
        line_of(refunded, 2_000),
        line_of(held, 100),
        line_of(voided, 100),
        line_of("pay_01k9qn1d8p0000000000000000", 100),
        {"payment_id": 7},
    ]
    body = bill_of(side, *lines)
    sent = side.post("/v1/bills", body, scope="bill")
    assert (sent.status, sent.json["state"]) == (202, "received")
    assert side.post("/v1/bills", body).headers["idempotent-replayed"] == "true"
    assert side.post("/v1/bills", bill_of(side)).slug == "reference-reused"
    side.release_due()
    bill = side.send("GET", f"/v1/bills/{sent.json['id']}").json
    assert (bill["state"], bill["matched_lines"], bill["wrong_lines"]) == ("matched", 1, 1)
    assert side.send("GET", f"/v1/bills/{sent.json['id']}", who="other").slug == "not-found"


@case
def what_was_billed_is_not_billed_again_and_refunds_come_back_by_themselves(side: Side) -> None:
    payment_id, other = side.payment(), side.payment()
    side.settle(payment_id, 3_000)
    side.settle(other, 1_000)
    first = side.post("/v1/bills", bill_of(side, line_of(payment_id, 3_000), line_of(other, 900))).json
    side.release_due()
    assert side.send("GET", f"/v1/bills/{first['id']}").json["breaks"] == {"amount_under": 1}
    again = side.post("/v1/bills", bill_of(side, line_of(payment_id, 3_000), reference="again")).json
    side.release_due()
    assert side.send("GET", f"/v1/bills/{again['id']}").json["breaks"] == {"already_billed": 1}
    side.verb("refunds", payment_id, amount=gbp(400))
    next_ = side.post("/v1/bills", bill_of(side, line_of(other, 1_000), reference="next")).json
    side.release_due()
    bill = side.send("GET", f"/v1/bills/{next_['id']}").json
    assert (bill["matched"], bill["credits"]) == ([gbp(1_000)], [gbp(-400)])


@case
def bills_that_are_refused(side: Side) -> None:
    assert side.post("/v1/bills", bill_of(side), scope="settle").slug == "insufficient-scope"
    assert side.post("/v1/bills", bill_of(side, period="2026-13")).slug == "invalid-request"
    assert side.post("/v1/bills", bill_of(side, period="2099-01")).slug == "invalid-request"
    assert side.send("POST", "/v1/bills", b"{}").slug == "idempotency-key-missing"
    assert side.send("POST", "/v1/bills", b"<x/>", key="k", content_type="text/xml").slug == "unsupported-media-type"
