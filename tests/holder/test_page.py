"""The page behind a claim link reveals nothing, changes nothing, and runs nothing that is not ours."""

import re

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.ids import new_id
from tests.holder.asking import issue, open_link
from tests.world import World, rows

COUNTED = ("claim_link", "claim_key", "code", "event", "letter", "payment", "transfer")


def everything() -> list[tuple[object, ...]]:
    """What any opening, or asking for a link, would change."""
    counts = [rows(f"SELECT count(*) FROM {table}")[0][0] for table in COUNTED]
    states = rows("SELECT state, count(*) FROM claim_link GROUP BY state ORDER BY state")
    return [tuple(counts), *(tuple(row) for row in states)]


def without_nonce(page: TestResponse) -> str:
    return re.sub(r'name="signed_nonce" value="[^"]+"', "", page.text)


def test_the_page_is_the_same_for_every_link_known_or_not(client: FlaskClient, world: World) -> None:
    waiting, opened = issue(world), issue(world)
    open_link(client, opened)
    pages = [client.get(f"/claim/{link_id}") for link_id in (waiting[0], opened[0], new_id("link"))]
    assert {page.status_code for page in pages} == {200}
    assert len({without_nonce(page) for page in pages}) == 1
    assert not any(link_id in pages[0].text for link_id in (waiting[0], "Acme", "50.00"))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_looking_changes_nothing(client: FlaskClient, world: World, method: str) -> None:
    link = issue(world)
    before = everything()
    for path in (link[0], f"{link[0]}?key={link[1]}", f"{link[0]}/card", f"{link[0]}/code", f"{link[0]}/resend"):
        client.open(f"/claim/{path}", method=method)
    assert client.open(f"/claim/{link[0]}", method=method).status_code == 200
    assert everything() == before
    assert open_link(client, link).status_code == 200


@pytest.mark.parametrize(
    "link_id",
    ["link_1", "x", "card_" + "0" * 26, "LINK_" + "0" * 26, "link_" + "0" * 27, "link_" + "z" * 26, "%00"],
)
def test_a_malformed_id_is_a_404_page(client: FlaskClient, link_id: str) -> None:
    answer = client.get(f"/claim/{link_id}")
    assert answer.status_code == 404
    assert answer.mimetype == "text/html"
    assert "not a whole link" in answer.text


def test_headers_of_every_page_and_answer(client: FlaskClient, world: World) -> None:
    link = issue(world)
    answers = [
        client.get(f"/claim/{link[0]}"),
        client.get("/claim/nothing"),
        open_link(client, link),
        open_link(client, link),
        open_link(client, (link[0], "x")),
        client.post(f"/claim/{link[0]}", data={"key": link[1]}),
        client.get(f"/claim/{link[0]}/card", headers={"Accept": "text/html"}),
        client.post(f"/claim/{link[0]}/code", json={}),
    ]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "clipboard-write=(self)" in answer.headers["Permissions-Policy"]
        assert answer.headers["X-Request-Id"]


def test_pages_hold_no_inline_script_or_style_and_nothing_from_elsewhere(client: FlaskClient, world: World) -> None:
    link = issue(world)
    for page in (
        client.get(f"/claim/{link[0]}"),
        client.post(f"/claim/{link[0]}", json={"key": link[1], "nonce": "n" * 43}, headers={"Accept": "text/html"}),
    ):
        assert re.findall(r"<script(?![^>]+src=)", page.text) == []
        assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", page.text) == []
        assert re.findall(r"""(?:src|href|action)=["'](?:https?:)?//""", page.text) == []


def test_files_of_the_pages_are_ours_and_may_be_kept(client: FlaskClient) -> None:
    page = client.get(f"/claim/{new_id('link')}")
    urls = re.findall(r'(?:href|src)="(/static/holder/[^"]+)"', page.text)
    assert len(urls) == 4
    for url in urls:
        with client.get(url) as answer:
            assert answer.status_code == 200
            assert "max-age=" in answer.headers["Cache-Control"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get("/static/holder/../pages.py").status_code == 404
