"""A captcha in the field for codes: the frame solves it and asks again, and the shopper types nothing anew."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Page, Request, expect
from werkzeug.test import TestResponse

from app import config
from app.redemption.store import set_origins
from tests.api import assert_problem, money, nothing_changes
from tests.guard.captchas import captchas_asked, solved
from tests.pictures import photograph
from tests.service import served
from tests.widget.conftest import UNKNOWN, Shop, frame_of, post, type_in
from tests.world import World

OWN = "http://127.0.0.1:8000"
SHOP = "https://shop.example"


@pytest.fixture(scope="module")
def service(database: config.Settings, keys_dir: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service as it runs, with two workers and a cheap captcha."""
    log = tmp_path_factory.mktemp("captcha") / "gunicorn.log"
    with served(database, keys_dir, log, environ={"CAPTCHA_COST": "20"}) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def asked_code(code: str) -> Iterator[str]:
    """A code that was claimed before everybody was asked for a captcha."""
    with captchas_asked():
        yield code


def asked(code: str, **changes: Any) -> dict[str, Any]:
    return {"code": code, "order_reference": "order-1", "amount": money(3_000), "nonce": "n1", **changes}


def ask(client: FlaskClient, store_id: str, body: Any) -> TestResponse:
    headers = {"Origin": OWN, "Sec-Fetch-Site": "same-origin"}
    return client.post(f"/widget/{store_id}/code-tokens", json=body, headers=headers)


# ── over HTTP ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_solution_is_good_for_its_store_and_frame_alone_and_once(client: FlaskClient, world: World) -> None:
    code = world.code().code
    for store_id in (world.bookshop, world.toyshop):
        set_origins(store_id, [SHOP])
    with captchas_asked():
        with nothing_changes():
            problem = assert_problem(ask(client, world.bookshop, asked(code)), 403, "captcha-needed")
        solution = solved(problem["challenge"])
        for store_id, nonce in ((world.toyshop, "n1"), (world.bookshop, "n2"), (world.bookshop, "")):
            changed = asked(code, captcha=solution, nonce=nonce) if nonce else asked(code, captcha=solution)
            if not nonce:
                del changed["nonce"]
            assert_problem(ask(client, store_id, changed), 403, "captcha-needed")
        assert ask(client, world.bookshop, asked(code, captcha=solution)).status_code == 200
        assert_problem(ask(client, world.bookshop, asked(code, captcha=solution)), 403, "captcha-needed")


@pytest.mark.parametrize(
    "solution", ["", "x", "é", "A" * 9_000, "[" * 1_500], ids=lambda text: text[:1] + str(len(text))
)
def test_a_malformed_one_is_a_refusal(client: FlaskClient, world: World, solution: str) -> None:
    set_origins(world.bookshop, [SHOP])
    with captchas_asked():
        assert_problem(ask(client, world.bookshop, asked(UNKNOWN, captcha=solution)), 403, "captcha-needed")
        for other in (7, ["x"], {"x": 1}, True):
            answer = ask(client, world.bookshop, asked(UNKNOWN, captcha=other))
            assert_problem(answer, 422, "invalid-request", "/captcha")


def test_the_frames_files_may_run_in_it_and_ask_for_nothing(client: FlaskClient, world: World) -> None:
    page = client.get(f"/widget/{world.bookshop}").text
    found = re.findall(r'"(/static/guard/[^"]+)"', page)
    assert [name.partition("?")[0] for name in found] == [
        "/static/guard/captcha.js",
        "/static/guard/altcha/pbkdf2.js",
    ]
    for path in found:
        with client.get(path) as answer:
            assert (answer.status_code, answer.mimetype) == (200, "text/javascript")
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "immutable" in answer.headers["Cache-Control"]
            assert b"eval" not in answer.data


@pytest.mark.browser
def test_two_workers_spend_it_once(service: str, shop: Shop, asked_code: str) -> None:
    headers = {"Content-Type": "application/json", "Origin": service, "Sec-Fetch-Site": "same-origin"}

    def send(body: dict[str, Any]) -> tuple[int, Any]:
        return post(service, f"/widget/{shop.store_id}/code-tokens", json.dumps(body).encode(), headers)

    status, told = send(asked(asked_code))
    assert (status, told["slug"]) == (403, "captcha-needed")
    solution = solved(told["challenge"])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, [asked(asked_code, captcha=solution)] * 8))
    assert sorted(status for status, _ in answers) == [200, *[403] * 7]


# ── in the browser ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.browser
def test_the_code_is_typed_once_by_the_keyboard_alone_and_the_frame_says_what_is_going_on(
    page: Page, shop: Shop, asked_code: str, service: str
) -> None:
    sent: list[Request] = []
    blocked: list[str] = []
    page.on("request", lambda one: sent.append(one) if one.url.endswith("/code-tokens") else None)
    page.on("console", lambda said: blocked.append(said.text) if "Content Security" in said.text else None)
    page.goto(shop.origin)
    type_in(page, asked_code)
    inside = next(frame for frame in page.frames if "/widget/" in frame.url)
    inside.evaluate("""() => {
        window.statuses = [];
        const done = document.getElementById("done");
        new MutationObserver(() => statuses.push(done.textContent)).observe(done, { childList: true });
    }""")
    page.keyboard.press("Enter")
    expect(page.locator("output")).to_have_text(re.compile("^201 pay_"))
    assert inside.evaluate("statuses.filter(Boolean)") == ["Checking that you are not a robot…", "Code accepted."]
    assert len(sent) == 2
    first, second = (json.loads(one.post_data or "") for one in sent)
    assert second.pop("captcha") and second == first
    assert all(one.url.startswith(service) for one in sent)
    assert blocked == []


@pytest.mark.browser
def test_while_it_is_solved_the_frame_says_so_and_then_what_to_do_if_it_cannot_be(
    page: Page, shop: Shop, asked_code: str
) -> None:
    page.add_init_script("Worker.prototype.postMessage = function () { (window.idle ??= []).push(this) }")
    page.goto(shop.origin)
    type_in(page, asked_code)
    page.keyboard.press("Enter")
    expect(frame_of(page).get_by_role("status")).to_have_text("Checking that you are not a robot…")
    tree = frame_of(page).locator("body").aria_snapshot()
    assert "- status: Checking that you are not a robot…" in tree
    page.wait_for_timeout(100)
    photograph(page, "captcha", "widget-checking")
    inside = next(frame for frame in page.frames if "/widget/" in frame.url)
    inside.evaluate("() => idle.forEach((worker) => worker.onerror())")
    expect(frame_of(page).get_by_role("alert")).to_contain_text("could not show that it is no robot")
    expect(frame_of(page).get_by_role("textbox")).to_have_value(asked_code)
    expect(frame_of(page).get_by_role("textbox")).to_be_focused()
    assert page.evaluate("told.at(-1)[1].slug") == "captcha-needed"
    page.wait_for_timeout(100)
    photograph(page, "captcha", "widget-unsolved")
