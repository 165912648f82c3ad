"""Who has to wait at a page of ours is told so in words, loses nothing, and is not waited for."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.issuance.code import draw_code, show_code
from app.redemption.store import set_origins
from app.secrecy import random_secret
from tests.api import assert_problem, money, nothing_changes
from tests.checkout.shop import Shopper, bookshop_of
from tests.guard.captchas import solved
from tests.holder.asking import issue
from tests.world import World, key_of

OWN = "http://127.0.0.1:8000"


def wrong_keys(client: FlaskClient, world: World, times: int) -> tuple[str, str]:
    """Somebody at this address tries keys; returns a link and its right key."""
    link_id, key = key_of(world.issue().claim_link or "")
    for _ in range(times):
        answer = client.post(f"/claim/{link_id}", json={"key": random_secret(), "nonce": random_secret()})
        assert_problem(answer, 404, "link-not-accepted")
    return link_id, key


def open_by_form(client: FlaskClient, link_id: str, key: str, **more: Any) -> TestResponse:
    page = client.get(f"/claim/{link_id}").text
    nonce = page.partition('name="signed_nonce" value="')[2].partition('"')[0]
    return client.post(f"/claim/{link_id}", data={"key": key, "signed_nonce": nonce, **more})


def solve_and_try(client: FlaskClient, link_id: str, key: str, status: int) -> TestResponse:
    """A key, with the captcha that is asked by now."""
    asked = {"key": key, "nonce": random_secret()}
    problem = assert_problem(client.post(f"/claim/{link_id}", json=asked), 403, "captcha-needed")
    answer = client.post(f"/claim/{link_id}", json={**asked, "captcha": solved(problem["challenge"])})
    assert answer.status_code == status, answer.text
    return answer


def wrong_codes(client: FlaskClient, store_id: str, times: int) -> TestResponse:
    """Somebody at this address types codes into a store's field, and solves what is asked; the last answer."""
    set_origins(store_id, ["https://shop.example"])
    headers = {"Origin": OWN, "Sec-Fetch-Site": "same-origin"}
    for number in range(times):
        body = {"code": show_code(draw_code()), "order_reference": "1", "amount": money(100), "nonce": f"n{number}"}
        answer = client.post(f"/widget/{store_id}/code-tokens", json=body, headers=headers)
        if answer.status_code == 403:
            body["captcha"] = solved(answer.get_json()["challenge"])
            answer = client.post(f"/widget/{store_id}/code-tokens", json=body, headers=headers)
    return answer


def test_a_claim_page_says_how_long_and_keeps_what_was_pasted(client: FlaskClient, world: World) -> None:
    link_id, key = wrong_keys(client, world, 3)
    for _ in range(2):
        solve_and_try(client, link_id, random_secret(), 404)
    wrong = random_secret()
    asked = open_by_form(client, link_id, wrong)
    assert (asked.status_code, f'value="{wrong}"' in asked.text) == (403, True)
    told = assert_problem(solve_and_try(client, link_id, wrong, 429), 429, "try-later")
    assert "challenge" not in told
    solve_and_try(client, link_id, key, 200)  # the right one never waits


def test_who_has_to_wait_at_a_page_is_told_in_words(client: FlaskClient, world: World) -> None:
    link_id, _ = issue(world)
    for _ in range(5):
        client.post(f"/claim/{link_id}/resend", data={"key": random_secret()})
    wrong = random_secret()
    page = client.post(f"/claim/{link_id}/resend", data={"key": wrong})
    assert (page.status_code, page.headers["Retry-After"]) == (429, "1")
    assert "Please wait a second and try again" in page.text
    assert f'value="{wrong}"' in page.text


def test_the_checkout_says_how_long_keeps_the_code_and_counts_no_try(
    app: Flask, client: FlaskClient, world: World
) -> None:
    shop, shopper = bookshop_of(app, world), Shopper(app.test_client())
    wrong_codes(client, world.toyshop, 5)
    pushed, typed = shop.push(), show_code(draw_code())
    shopper.open(pushed)
    with nothing_changes():
        answer = shopper.decide(pushed, "code", code=typed)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert "wait a second" in answer.text and f'value="{typed}"' in answer.text
    assert "did not count" in answer.text and "more tries" not in answer.text


def test_the_field_is_told_so_too(client: FlaskClient, world: World) -> None:
    answer = wrong_codes(client, world.bookshop, 6)
    assert_problem(answer, 429, "try-later")
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize("times", [1, 2])
def test_a_slip_or_two_are_asked_for_nothing(client: FlaskClient, world: World, times: int) -> None:
    link_id, key = wrong_keys(client, world, times)
    assert client.post(f"/claim/{link_id}", json={"key": key, "nonce": random_secret()}).status_code == 200


def test_who_asks_for_a_new_link_with_wrong_keys_waits_as_well(client: FlaskClient, world: World) -> None:
    link_id, _ = issue(world)
    for _ in range(5):
        answer = client.post(f"/claim/{link_id}/resend", json={"key": random_secret()})
        assert_problem(answer, 404, "link-not-accepted")
    assert_problem(client.post(f"/claim/{link_id}/resend", json={"key": random_secret()}), 429, "try-later")
