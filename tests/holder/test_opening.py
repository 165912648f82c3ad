"""A claim link opened over HTTP: every answer, for programs and for people without JavaScript."""

import re
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from app import clock
from app.db.transaction import transaction
from app.ids import new_id
from app.redemption.reissue import reissue_card
from app.secrecy import random_secret
from tests.holder.asking import FIREFOX, issue, json_of, open_link
from tests.world import World, key_of, make_world, reference, rows

NONCE = "n" * 43


def test_a_program_is_shown_the_code_once(client: FlaskClient, world: World) -> None:
    answer = open_link(client, issue(world))
    assert answer.status_code == 200
    shown = json_of(answer)
    assert set(shown) == {"code", "balance", "expires_at", "card_id"}
    assert re.fullmatch(r"[0-9A-Z]{4}(-[0-9A-Z]{4}){3}", shown["code"])
    assert shown["balance"] == {"amount_minor": 5_000, "currency": "GBP"}
    assert shown["expires_at"].endswith("+00:00")
    actors = rows("SELECT actor FROM event WHERE card_id = :id AND kind = 'code_shown'", id=shown["card_id"])
    assert [row.actor for row in actors] == ["holder"]
    assert world.exchange(shown["code"]).payment.balance.amount_minor == 5_000


def test_the_same_nonce_gets_another_code_and_the_first_is_dead(client: FlaskClient, world: World) -> None:
    link = issue(world)
    first, second = (json_of(open_link(client, link, nonce=NONCE))["code"] for _ in range(2))
    assert first != second
    assert rows("SELECT count(*) FROM code WHERE link_id = :id AND state = 'live'", id=link[0])[0][0] == 1
    assert world.exchange(second).payment.held.amount_minor == 5_000


def test_an_opened_link_says_when_by_which_browser_and_shows_the_card(client: FlaskClient, world: World) -> None:
    link = issue(world)
    code = json_of(open_link(client, link))["code"]
    payment = world.exchange(code).payment
    world.settle(payment.id, 1_250, final=False)
    answer = open_link(client, link)
    assert answer.status_code == 410
    assert answer.mimetype == "application/problem+json"
    problem = json_of(answer)
    assert (problem["slug"], problem["opened_by"]) == ("link-opened", "Firefox")
    assert problem["opened_at"].endswith("+00:00")
    card = problem["card"]
    assert card["balance"] == {"amount_minor": 3_750, "currency": "GBP"}
    assert card["standing"] == "held"
    assert [(hold["store"], hold["amount"]["amount_minor"]) for hold in card["holds"]] == [("Bookshop", 3_750)]
    assert [(row["kind"], row["store"], row["amount"]["amount_minor"]) for row in card["history"]] == [
        ("settled", "Bookshop", 1_250)
    ]
    assert card["offers"] == {"fresh_code": False, "new_link": False}


def test_a_hold_past_its_time_is_told_as_over_before_any_job_ran(client: FlaskClient, world: World) -> None:
    link = issue(world)
    world.exchange(json_of(open_link(client, link))["code"])
    with clock.ahead(timedelta(minutes=31)):
        card = json_of(open_link(client, link))["card"]
    assert (card["standing"], card["holds"]) == ("link_due", [])
    assert card["offers"] == {"fresh_code": False, "new_link": True}


def test_an_older_link_tells_nothing_of_the_card(client: FlaskClient, world: World) -> None:
    link = issue(world)
    payment = world.exchange(json_of(open_link(client, link))["code"]).payment
    world.settle(payment.id, 3_000, final=True)
    problem = json_of(open_link(client, link))
    assert problem["slug"] == "link-opened"
    assert "card" not in problem
    assert problem["superseded_at"].endswith("+00:00")


def test_a_superseded_link(client: FlaskClient, world: World) -> None:
    link = issue(world)
    client.post(f"/claim/{link[0]}/resend", json={"key": link[1]})
    answer = open_link(client, link)
    assert answer.status_code == 410
    problem = json_of(answer)
    assert problem["slug"] == "link-superseded"
    assert problem["superseded_at"].endswith("+00:00")
    assert "card" not in problem


def test_a_lapsed_link_shows_that_its_card_is_still_good(client: FlaskClient, world: World) -> None:
    link = issue(world)
    with clock.ahead(timedelta(days=91)):
        answer = open_link(client, link)
    assert answer.status_code == 410
    problem = json_of(answer)
    assert problem["slug"] == "link-lapsed"
    assert problem["lapsed_at"].endswith("+00:00")
    assert problem["card"]["balance"]["amount_minor"] == 5_000
    assert problem["card"]["offers"] == {"fresh_code": False, "new_link": True}


def test_a_lapsed_card_has_nothing_left(client: FlaskClient, world: World) -> None:
    link = issue(world)
    with clock.ahead(timedelta(days=366)):
        card = json_of(open_link(client, link))["card"]
    assert (card["state"], card["balance"]["amount_minor"]) == ("lapsed", 0)
    assert card["offers"] == {"fresh_code": False, "new_link": False}


def test_unknown_link_wrong_key_and_what_cannot_be_a_key_are_one_answer(client: FlaskClient, world: World) -> None:
    link_id, key = issue(world)
    tries = [
        (new_id("link"), key),
        (link_id, random_secret()),
        (link_id, "short"),
        (link_id, key + "x"),
        (link_id, "A" * 600),
        (link_id, "é" * 43),
        (link_id, "\x00" * 43),
        ("link_not_one", key),
    ]
    answers = [open_link(client, link) for link in tries]
    assert {answer.status_code for answer in answers} == {404}
    bodies = [{**json_of(answer), "instance": None} for answer in answers]
    assert bodies[0]["slug"] == "link-not-accepted"
    assert all(body == bodies[0] for body in bodies)
    assert open_link(client, (link_id, key)).status_code == 200


def test_the_answer_says_times_as_the_issuers_api_does(client: FlaskClient, world: World) -> None:
    card = world.issue()
    assert card.claim_link is not None
    shown = json_of(open_link(client, key_of(card.claim_link)))
    assert shown["expires_at"] == card.expires_at.isoformat()


def test_a_busy_service_says_when_to_try_again(client: FlaskClient, world: World) -> None:
    link_id, key = issue(world)
    form = {**form_of(client, link_id), "key": key}
    with transaction() as db:
        db.execute(
            text("SELECT 1 FROM card JOIN claim_link l ON l.card_id = card.id WHERE l.id = :id FOR UPDATE"),
            {"id": link_id},
        )
        page = client.post(f"/claim/{link_id}", data=form)
    assert (page.status_code, page.mimetype) == (503, "text/html")
    assert int(page.headers["Retry-After"]) >= 1
    assert client.post(f"/claim/{link_id}", data=form).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"nonce": NONCE}, 422, "/key"),
        ({"key": 7, "nonce": NONCE}, 422, "/key"),
        ({"key": None, "nonce": NONCE}, 422, "/key"),
        ({"key": "k" * 43}, 422, "/nonce"),
        ({"key": "k" * 43, "nonce": "short"}, 422, "/nonce"),
        ({"key": "k" * 43, "nonce": ["n"]}, 422, "/nonce"),
        ({"key": "k" * 43, "nonce": NONCE + "="}, 422, "/nonce"),
        ({"key": "k" * 43, "signed_nonce": NONCE}, 422, "/nonce"),
        ({"key": "k" * 43, "nonce": NONCE, "more": 1}, 422, "/more"),
        ([], 422, ""),
        ("text", 422, ""),
        (7, 422, ""),
    ],
)
def test_a_body_of_the_wrong_shape_names_the_field(
    client: FlaskClient, world: World, body: object, status: int, pointer: str
) -> None:
    answer = client.post(f"/claim/{issue(world)[0]}", json=body)
    assert answer.status_code == status
    assert json_of(answer)["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("raw", "content_type", "status", "slug"),
    [
        (b"{", "application/json", 400, "malformed-json"),
        (b"\xff", "application/json", 400, "malformed-json"),
        (b"[" * 4000, "application/json", 400, "malformed-json"),
        (b'{"key": "a", "key": "b"}', "application/json", 400, "malformed-json"),
        (b"", "application/json", 400, "malformed-json"),
        (b"key=a", "text/plain", 415, "unsupported-media-type"),
        (b"--x", "multipart/form-data; boundary=x", 415, "unsupported-media-type"),
        (b'{"key": "' + b"a" * 5000 + b'"}', "application/json", 413, "too-large"),
    ],
)
def test_a_body_that_cannot_be_read(
    client: FlaskClient, world: World, raw: bytes, content_type: str, status: int, slug: str
) -> None:
    link = issue(world)
    answer = client.post(f"/claim/{link[0]}", data=raw, content_type=content_type)
    assert (answer.status_code, json_of(answer)["slug"]) == (status, slug)


def test_a_link_of_the_other_policy_opens_again_but_not_while_held(client: FlaskClient, database: object) -> None:
    world = make_world(link_policy="fresh_code_each_open")
    link = issue(world)
    codes = [json_of(open_link(client, link))["code"] for _ in range(2)]
    assert codes[0] != codes[1]
    world.exchange(codes[1])
    answer = open_link(client, link)
    assert answer.status_code == 409
    problem = json_of(answer)
    assert problem["slug"] == "card-held"
    assert problem["held_until"].endswith("+00:00")
    assert problem["card"]["holds"][0]["store"] == "Bookshop"


def test_a_link_of_the_other_policy_opens_five_times_a_day(client: FlaskClient, database: object) -> None:
    link = issue(make_world(link_policy="fresh_code_each_open"))
    statuses = [open_link(client, link).status_code for _ in range(6)]
    assert statuses == [200] * 5 + [429]
    answer = open_link(client, link)
    assert json_of(answer)["slug"] == "try-later"
    assert int(answer.headers["Retry-After"]) > 0


# ── without JavaScript ──────────────────────────────────────────────────────────────────────────────────────────────


def form_of(client: FlaskClient, link_id: str) -> dict[str, str]:
    """The hidden fields of the page's form."""
    page = client.get(f"/claim/{link_id}").text
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)"', page))


def test_a_form_with_the_key_is_shown_the_code_as_a_page(client: FlaskClient, world: World) -> None:
    link_id, key = issue(world)
    answer = client.post(f"/claim/{link_id}", data={**form_of(client, link_id), "key": key})
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    assert "£50.00" in answer.text
    assert key not in answer.text


@pytest.mark.parametrize("broken", ["{}", "  {}\n", "{0:.40}\r\n {1}"])
def test_a_form_takes_the_whole_link_even_broken_into_lines(client: FlaskClient, world: World, broken: str) -> None:
    link_id, key = issue(world)
    whole = f"https://cards.example/claim/{link_id}#{key}"
    pasted = broken.format(whole, whole[40:]) if "1" in broken else broken.format(whole)
    answer = client.post(f"/claim/{link_id}", data={**form_of(client, link_id), "key": pasted})
    assert answer.status_code == 200


def test_a_form_sent_again_gets_another_code(client: FlaskClient, world: World) -> None:
    """The nonce is the form's, so that a reload after a lost answer does not strand the card."""
    link_id, key = issue(world)
    form = {**form_of(client, link_id), "key": key}
    assert [client.post(f"/claim/{link_id}", data=form).status_code for _ in range(2)] == [200, 200]


def test_a_form_with_a_nonce_that_is_not_ours_is_refused(client: FlaskClient, world: World) -> None:
    link_id, key = issue(world)
    answer = client.post(f"/claim/{link_id}", data={"signed_nonce": NONCE, "key": key})
    assert (answer.status_code, answer.mimetype) == (422, "text/html")
    assert open_link(client, (link_id, key)).status_code == 200


def test_an_opened_link_offers_a_form_for_a_new_one(client: FlaskClient, world: World) -> None:
    link_id, key = issue(world)
    open_link(client, (link_id, key))
    stranger = client.application.test_client()
    page = stranger.post(f"/claim/{link_id}", data={**form_of(client, link_id), "key": key})
    assert page.status_code == 410
    assert re.search(r'Opened <time datetime="[^"]+Z" data-show="moment">[^<]+ UTC</time>, Firefox', page.text)
    assert "Send me a new link" in page.text
    assert "Show a fresh code" not in page.text
    sent = stranger.post(f"/claim/{link_id}/resend", data={"key": key})
    assert sent.status_code == 202
    assert "s…@h…" in sent.text


@pytest.mark.parametrize(
    ("key", "status", "words"), [(None, 422, "try again"), ("x", 404, "does not work"), ("x" * 5000, 413, "too long")]
)
def test_a_form_that_is_wrong_gets_a_friendly_page(
    client: FlaskClient, world: World, key: str | None, status: int, words: str
) -> None:
    link_id, _ = issue(world)
    form = form_of(client, link_id) | ({"key": key} if key else {})
    answer = client.post(f"/claim/{link_id}", data=form)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert words in answer.text


def test_a_wrong_key_in_a_form_gets_a_page_with_the_form_again(client: FlaskClient, world: World) -> None:
    link_id, _ = issue(world)
    answer = client.post(f"/claim/{link_id}", data={**form_of(client, link_id), "key": random_secret()})
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert f'action="/claim/{link_id}"' in answer.text


def test_a_request_for_a_link_with_neither_key_nor_session_names_the_field(client: FlaskClient, world: World) -> None:
    answer = client.post(f"/claim/{issue(world)[0]}/resend", json={})
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, "/key")


def test_a_link_that_a_late_settle_took_along_speaks_of_no_newer_one(client: FlaskClient, world: World) -> None:
    """Nothing is left for another: nobody shall look for a letter that was never written."""
    payment = world.payment().payment
    card_id = world.card_of(payment.id).id
    with clock.ahead(timedelta(hours=1)):
        mine = reference(world.issuer_id)
        claim_link = reissue_card(card_id, issuer_id=world.issuer_id, deliver="link", reference=mine).claim_link
        assert claim_link is not None
        world.settle(payment.id, 5_000)
        answer = open_link(client, key_of(claim_link), headers={"User-Agent": FIREFOX, "Accept": "text/html"})
    assert answer.status_code == 410
    assert "This link no longer works" in answer.text
    assert "newer link" not in answer.text
    assert "latest letter" not in answer.text
