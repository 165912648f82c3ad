"""What bodies, headers and methods that are wrong before any field is looked at get."""

import io
import json

import pytest
from flask import Flask

from app.web.requests import MAX_BODY_BYTES
from tests.api import Api, assert_problem, nothing_changes
from tests.web.bodies import Bodies, good_bodies

MALFORMED = {
    "nothing": b"",
    "spaces": b"   ",
    "half an object": b'{"amount": {',
    "text after the object": b"{} {}",
    "single quotes": b"{'a': 1}",
    "a comma too many": b'{"a": 1,}',
    "a comment": b'{"a": 1} // x',
    "NaN": b'{"hold_ttl_s": NaN}',
    "Infinity": b'{"hold_ttl_s": Infinity}',
    "-Infinity": b'{"hold_ttl_s": -Infinity}',
    "a name twice": b'{"email": "sam@holder.example", "email": "eve@thief.example"}',
    "a name twice inside": b'{"amount": {"amount_minor": 1, "amount_minor": 2, "currency": "GBP"}}',
    "a name twice by escapes": b'{"email": "sam@holder.example", "em\\u0061il": "eve@thief.example"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "bad UTF-8": b'{"reason": "\xff"}',
    "an overlong NUL": b'{"reason": "\xc0\x80"}',
    "a surrogate in UTF-8": b'{"reason": "\xed\xa0\x80"}',
    "a raw NUL in a text": b'{"reason": "a\0b"}',
    "a NUL after the object": b"{}\0",
    "arrays 30,000 deep": b'{"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "objects 9,000 deep": b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
    "30,000 open brackets": b"[" * 30_000,
    "a number with a leading zero": b'{"hold_ttl_s": 0600}',
    "hexadecimal": b'{"hold_ttl_s": 0x258}',
}


@pytest.fixture(scope="module")
def bodies(api: Api) -> Bodies:
    return good_bodies(api)


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_json_is_400_everywhere(api: Api, bodies: Bodies, raw: bytes) -> None:
    with nothing_changes():
        for path, _ in bodies.values():
            assert_problem(api.machine(path).post_raw(path, raw), 400, "malformed-json")


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"3e3", b"3000.0", b"9" * 5_000, b"-" + b"9" * 5_000])
def test_a_number_that_is_json_but_no_amount_is_an_error_of_its_field(api: Api, bodies: Bodies, number: bytes) -> None:
    path, body = bodies["issue_card"]
    raw = json.dumps(body).encode().replace(b": 5000", b": " + number)
    with nothing_changes():
        assert_problem(api.acme.post_raw(path, raw), 422, "invalid-request", "/amount/amount_minor")


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "text/json", "application/jsonx", "json"]
)
def test_another_content_type_is_415(api: Api, bodies: Bodies, content_type: str) -> None:
    with nothing_changes():
        for path, body in bodies.values():
            answer = api.machine(path).post(path, body, Content_Type=content_type)
            assert_problem(answer, 415, "unsupported-media-type")


def test_a_body_that_is_too_large_is_413_and_one_that_just_fits_is_read(api: Api, bodies: Bodies) -> None:
    path, body = bodies["void_payment"]
    fits = b" " * (MAX_BODY_BYTES - 3) + b"[1]"
    with nothing_changes():
        assert_problem(api.machine(path).post_raw(path, fits), 422, "invalid-request", "")
        for size in (MAX_BODY_BYTES + 1, 4 * MAX_BODY_BYTES):
            for path, body in bodies.values():
                raw = json.dumps(body).encode().ljust(size)
                assert_problem(api.machine(path).post_raw(path, raw), 413, "too-large")


def test_a_chunked_body_without_a_length_is_bounded_too(api: Api, bodies: Bodies) -> None:
    """werkzeug would cut it at the bound, and a good object at its beginning would be carried out."""
    with nothing_changes():
        for path, body in bodies.values():
            raw = json.dumps(body).encode().ljust(MAX_BODY_BYTES) + b'{"and": "more"}'
            machine = api.machine(path)
            answer = machine.client.post(
                path,
                input_stream=io.BytesIO(raw),
                content_type="application/json",
                headers={**machine.authorization, "Idempotency-Key": "chunked"},
                environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
            )
            assert_problem(answer, 413, "too-large")


def test_a_missing_idempotency_key_is_400(api: Api, bodies: Bodies) -> None:
    with nothing_changes():
        for path, body in bodies.values():
            machine = api.machine(path)
            answer = machine.client.post(path, json=body, headers=machine.authorization)
            assert_problem(answer, 400, "idempotency-key-missing")


BAD_KEYS = ["x" * 256, "x" * 4_000, "a b", "\t", "caf\xe9", "a\x7fb", "a\x01b", "\xa0", "a\xadb"]


@pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
def test_an_idempotency_key_that_is_too_long_or_cannot_be_seen_is_400(api: Api, bodies: Bodies, key: str) -> None:
    with nothing_changes():
        for path, body in bodies.values():
            assert_problem(api.machine(path).post(path, body, key=key), 400, "idempotency-key-invalid")
            answer = api.machine(path).post(path, body, key="x", Idempotency_Key="")
            assert_problem(answer, 400, "idempotency-key-invalid")


def test_the_longest_idempotency_key_is_taken(api: Api) -> None:
    key = "".join(chr(33 + place % 94) for place in range(255))
    answer = api.acme.post("/v1/cards", good_bodies(api)["issue_card"][1], key=key)
    assert answer.status_code == 201, answer.text


def test_a_wrong_method_is_405_and_says_which_would_do(app: Flask, api: Api, bodies: Bodies) -> None:
    allowed: dict[str, set[str]] = {}
    for path in [*(path for path, _ in bodies.values()), "/healthz", "/openapi.json", "/docs"]:
        methods = app.url_map.bind("").allowed_methods(path)
        allowed[path] = set(methods)
    with nothing_changes():
        for path, methods in allowed.items():
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} - methods:
                answer = api.acme.client.open(path, method=method, headers=api.machine(path).authorization)
                assert_problem(answer, 405, "method-not-allowed")
                assert {name.strip() for name in answer.headers["Allow"].split(",")} == methods


NOWHERE = [
    "/nope", "/v1", "/v1/", "/v1/cards/", "/v1/cards/x", "/v1/cards/card_%00", "/v1/cards/%00", "/v1%00/cards",
    "/v1/cards/card_01k9qn1d8p0000000000000000%0a", "/v1/cards/card_01k9qn1d8p000000000000000l",
    "/v1/cards/CARD_01k9qn1d8p0000000000000000", "/v1/cards/pay_01k9qn1d8p0000000000000000",
    "/v1/cards/%ff%fe", "/v1/cards/..%2f..", "/v1/cards/card_" + "0" * 5_000, "/v1/payments/card_%u0000",
    "/v1/programmes/prg_\U0001d7d9" + "1k9qn1d8p0000000000000000"[:25], "//v1//cards", "/v1/../healthz%00",
]  # fmt: skip


@pytest.mark.parametrize("path", NOWHERE, ids=lambda path: ascii(path)[:50])
def test_a_path_that_leads_nowhere_is_404(api: Api, path: str) -> None:
    with nothing_changes():
        assert_problem(api.acme.get(path), 404, "not-found")
        assert_problem(api.acme.post(path, {}), 404, "not-found")


def test_options_and_head_change_nothing(api: Api, bodies: Bodies) -> None:
    with nothing_changes():
        for path, _ in bodies.values():
            for method in ("OPTIONS", "HEAD"):
                answer = api.acme.client.open(path, method=method, headers=api.machine(path).authorization)
                assert answer.status_code in (200, 401, 404, 405)
