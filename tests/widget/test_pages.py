"""The widget over HTTP: who may frame it, who may ask for a code token, and what nobody is told."""

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.ids import new_id
from app.issuance.code import draw_code, show_code
from app.redemption.store import set_origins
from tests.api import assert_problem, money, nothing_changes, store_machine
from tests.web.bodies import exchange_body
from tests.world import World, rows

OWN = "http://127.0.0.1:8000"
SHOP = "https://shop.example"


@pytest.fixture
def store_id(world: World) -> str:
    """Bookshop, two of whose pages may show the field."""
    set_origins(world.bookshop, [SHOP, "https://m.shop.example:8443"])
    return world.bookshop


def asked(code: Any, **changes: Any) -> dict[str, Any]:
    return {"code": code, "order_reference": "order-1", "amount": money(3_000), **changes}


def ask(client: FlaskClient, store_id: str, body: Any, **headers: str) -> TestResponse:
    """As the frame's script does, but for these headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {"Origin": OWN, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json", **named}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(f"/widget/{store_id}/code-tokens", data=data, headers=given)


def policy(answer: TestResponse) -> dict[str, str]:
    """The directives of an answer's Content-Security-Policy."""
    return dict(one.strip().partition(" ")[::2] for one in answer.headers["Content-Security-Policy"].split(";"))


# ── the loader ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_loader_is_the_same_for_everybody_and_kept_for_five_minutes(client: FlaskClient) -> None:
    with client.get("/widget/v1.js") as answer:
        assert (answer.status_code, answer.mimetype) == (200, "text/javascript")
        assert answer.headers["Cache-Control"] == "public, max-age=300"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert "Set-Cookie" not in answer.headers
        assert OWN.encode() not in answer.data, "it finds out where it came from by itself"
        mark = answer.headers["ETag"]
    with client.get("/widget/v1.js", headers={"If-None-Match": mark}) as answer:
        assert answer.status_code == 304


# ── the frame ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_pages_of_the_stores_origins_may_show_the_frame(client: FlaskClient, store_id: str) -> None:
    answer = client.get(f"/widget/{store_id}")
    assert policy(answer)["frame-ancestors"] == f"{SHOP} https://m.shop.example:8443"
    assert "X-Frame-Options" not in answer.headers
    set_origins(store_id, [])
    assert policy(client.get(f"/widget/{store_id}"))["frame-ancestors"] == "'none'"


#: Of two answers: names, and how many requests are left.
NEVER_ALIKE = ("X-Request-Id", "RateLimit")


def test_an_unknown_store_looks_like_one_without_origins(client: FlaskClient, world: World) -> None:
    answers = [client.get(f"/widget/{store}") for store in (world.toyshop, new_id("str"))]
    seen = {
        (answer.status_code, answer.data, tuple(pair for pair in answer.headers if pair[0] not in NEVER_ALIKE))
        for answer in answers
    }
    assert len(seen) == 1


def test_the_frame_may_load_and_reach_nothing_but_our_own(client: FlaskClient, store_id: str) -> None:
    answer = client.get(f"/widget/{store_id}", headers={"Cookie": "scrip_card=x"})
    found = policy(answer)
    assert found.pop("frame-ancestors")
    assert found == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'none'",
        "base-uri": "'none'",
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "payment=()" in answer.headers["Permissions-Policy"]
    assert "Set-Cookie" not in answer.headers
    assert (
        re.findall(
            r"<script(?![^>]+src=)|<style|\sstyle=|\son[a-z]+=|javascript:|https?://(?!shop|m\.shop)", answer.text
        )
        == []
    )


def test_the_frame_is_told_the_stores_origins_and_nothing_else_of_it(client: FlaskClient, store_id: str) -> None:
    answer = client.get(f"/widget/{store_id}")
    assert "Bookshop" not in answer.text and store_id not in answer.text
    assert "https://m.shop.example:8443" in answer.text


def test_its_files_may_be_kept_for_ever_by_the_mark_of_their_content(client: FlaskClient, store_id: str) -> None:
    files = re.findall(r'(?:href|src)="(/static/widget/[^"]+)"', client.get(f"/widget/{store_id}").text)
    assert len(files) == 3
    for url in files:
        with client.get(url.replace("&amp;", "&")) as answer:
            assert answer.status_code == 200
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    "store", ["str_1", "x", "STR_" + "0" * 26, "card_" + "0" * 26, "%00", "str_" + "z" * 26, "..%2f"]
)
def test_what_cannot_be_a_store_is_not_found(client: FlaskClient, store: str) -> None:
    assert_problem(client.get(f"/widget/{store}"), 404, "not-found")


# ── code tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_is_all_that_the_answer_holds(client: FlaskClient, store_id: str, world: World) -> None:
    answer = ask(client, store_id, asked(world.code().code, shopper_key="0123456789abcdef"))
    assert answer.status_code == 200, answer.text
    told = answer.get_json()
    assert told.keys() == {"code_token", "expires_in"} and told["expires_in"] == 60
    assert answer.headers["Cache-Control"] == "no-store"
    assert not {"Set-Cookie", "Access-Control-Allow-Origin"} & set(answer.headers.keys())
    paid = store_machine(client, store_id).post(
        "/v1/payments",
        {
            "code_token": told["code_token"],
            "order_reference": "order-1",
            "shopper": {"key_hash": "0123456789abcdef"},
        },
    )
    assert (paid.status_code, paid.get_json()["held"]) == (201, money(3_000))
    made = rows("SELECT actor FROM event WHERE kind = 'code_token_made' ORDER BY id DESC LIMIT 1")
    assert made[0].actor == "shopper"


def test_every_code_that_is_not_acceptable_gets_the_same_answer(
    client: FlaskClient, store_id: str, world: World
) -> None:
    held = world.code().code
    world.exchange(held, store=world.toyshop)
    spent = world.code().code
    world.settle(world.exchange(spent).payment.id, 5_000)
    answers = [ask(client, store_id, asked(code)) for code in (show_code(draw_code()), held, spent)]
    assert len({answer.data.replace(answer.headers["X-Request-Id"].encode(), b"") for answer in answers}) == 1
    assert_problem(answers[0], 422, "code-not-accepted")


def test_an_amount_in_another_currency_does_not_learn_the_cards(
    client: FlaskClient, store_id: str, world: World
) -> None:
    answer = ask(client, store_id, asked(world.code().code, amount=money(3_000, "EUR")))
    assert_problem(answer, 422, "currency-mismatch")
    assert "GBP" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://shop.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:8001"},
        {"Origin": "https://127.0.0.1:8000"},
        {"Origin": "http://127.0.0.1:8000.evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": ""},
    ],
)
def test_nobody_but_the_frame_may_ask(
    client: FlaskClient, store_id: str, world: World, headers: dict[str, str]
) -> None:
    """Not even the store's own page, which would have to have the code for it."""
    code = world.code().code
    with nothing_changes():
        answer = ask(client, store_id, asked(code), **headers)
    assert answer.status_code == 403
    assert answer.mimetype == "application/problem+json"


def test_without_an_origin_nobody_may_ask_and_without_fetch_metadata_an_old_browser_may(
    client: FlaskClient, store_id: str, world: World
) -> None:
    body = asked(world.code().code)
    assert client.post(f"/widget/{store_id}/code-tokens", json=body).status_code == 403
    assert client.post(f"/widget/{store_id}/code-tokens", json=body, headers={"Origin": OWN}).status_code == 200


def test_a_store_without_origins_and_an_unknown_one_have_no_field_and_no_try(client: FlaskClient, world: World) -> None:
    code = world.code().code
    with nothing_changes():
        answers = [ask(client, store, asked(code)) for store in (world.toyshop, new_id("str"))]
    for answer in answers:
        assert_problem(answer, 404, "not-found")
    assert len({answer.data.replace(answer.headers["X-Request-Id"].encode(), b"") for answer in answers}) == 1


def test_a_mistyped_code_is_no_try(client: FlaskClient, store_id: str) -> None:
    with nothing_changes():
        assert_problem(ask(client, store_id, asked("7KQ4-ZX9M-2FHN-C0NA")), 422, "code-mistyped")


NO_JSON = (b"", b"{", b"\xff\xfe", b'{"code": NaN}', b'{"code":"x","code":"y"}', b"[" * 30_000)
WRONG: tuple[Any, ...] = (
    None,
    [],
    "x",
    7,
    {},
    asked(""),
    asked("x" * 101),
    asked("\ud800" * 16),
    asked("\N{FULLWIDTH DIGIT ONE}" * 16),
    asked(7),
    asked("x", order_reference=""),
    asked("x", order_reference="x" * 201),
    asked("x", order_reference="a\nb"),
    asked("x", order_reference="\ud800"),
    asked("x", amount=money(0)),
    asked("x", amount=money(10**13)),
    asked("x", amount=money(1, "XXX")),
    asked("x", amount=30),
    asked("x", shopper_key="short"),
    asked("x", shopper_key="\ud800" * 8),
    asked("x", extra=1),
)
HOSTILE = [*((body, 400) for body in NO_JSON), *((body, 422) for body in WRONG), (b"x" * 70_000, 413)]


@pytest.mark.parametrize(("body", "status"), HOSTILE)
def test_hostile_bodies_are_refused_and_change_nothing(
    client: FlaskClient, store_id: str, body: Any, status: int
) -> None:
    with nothing_changes():
        answer = ask(client, store_id, body)
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"


def test_only_json_and_only_by_post(client: FlaskClient, store_id: str, world: World) -> None:
    body = asked(world.code().code)
    with nothing_changes():
        for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
            assert ask(client, store_id, body, Content_Type=kind).status_code == 415
        for method in ("GET", "PUT", "DELETE"):
            assert client.open(f"/widget/{store_id}/code-tokens", method=method).status_code == 405


# ── POST /v1/payments ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_payment_takes_a_code_or_a_code_token_and_never_both_or_none(client: FlaskClient, world: World) -> None:
    bookshop = store_machine(client, world.bookshop)
    code_token = "ct_" + "x" * 43
    with nothing_changes():
        both = bookshop.post("/v1/payments", exchange_body(world_free_code(), code_token=code_token))
        assert_problem(both, 422, "invalid-request", "/code_token")
        none = exchange_body("")
        del none["code"]
        assert_problem(bookshop.post("/v1/payments", none), 422, "invalid-request", "/code")
        for wrong in ("ct_x", "x" * 46, code_token + "x", "ct_" + "\ud800" * 43, 7, None, ""):
            answer = bookshop.post("/v1/payments", {"code_token": wrong, "order_reference": "order-1"})
            assert_problem(answer, 422, "invalid-request", "/code_token")


def world_free_code() -> str:
    """A code that nobody has."""
    return show_code(draw_code())


def test_a_refused_token_is_answered_to_the_byte_as_a_refused_code(
    client: FlaskClient, store_id: str, world: World
) -> None:
    bookshop = store_machine(client, store_id)
    code_token = ask(client, store_id, asked(world.code().code)).get_json()["code_token"]
    answers = [
        bookshop.post("/v1/payments", {"code": world_free_code(), "order_reference": "order-1"}),
        bookshop.post("/v1/payments", {"code_token": "ct_" + "x" * 43, "order_reference": "order-1"}),
        bookshop.post("/v1/payments", {"code_token": code_token, "order_reference": "order-2"}),
        store_machine(client, world.toyshop).post(
            "/v1/payments", {"code_token": code_token, "order_reference": "order-1"}
        ),
    ]
    assert len({answer.data.replace(answer.headers["X-Request-Id"].encode(), b"") for answer in answers}) == 1
    assert_problem(answers[0], 422, "code-not-accepted")


def test_the_same_request_with_a_fresh_token_for_the_same_code_is_the_same_request(
    client: FlaskClient, store_id: str, world: World
) -> None:
    """As with codes: what makes two requests the same leaves every secret out."""
    bookshop, code = store_machine(client, store_id), world.code().code
    answers = []
    for _ in range(2):
        code_token = ask(client, store_id, asked(code)).get_json()["code_token"]
        body = {"code_token": code_token, "order_reference": "order-1"}
        answers.append(bookshop.post("/v1/payments", body, key="pay-order-1"))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert answers[0].get_json()["id"] == answers[1].get_json()["id"]
