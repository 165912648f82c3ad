"""Where a request to our own pages came from is kept as marks that only alarms read, and by the API not at all."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import config
from app.guard.marks import prefix_mark
from app.issuance.code import draw_code, show_code
from app.redemption.store import set_origins
from app.secrecy import random_secret
from tests.api import Api, api_of, money
from tests.checkout.shop import Shopper, bookshop_of
from tests.web.bodies import exchange_body
from tests.world import World, key_of, rows

ADDRESS = "203.0.113.77"
OWN = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def from_brazil(app: Flask, database: config.Settings) -> Iterator[FlaskClient]:
    """A browser in Brazil, behind a proxy that is trusted to say so."""
    config.use(replace(database, trusted_proxies=(ip_network("10.0.0.0/8"),), country_header="X-Country"))
    client = app.test_client()
    client.environ_base |= {"REMOTE_ADDR": "10.1.2.3", "HTTP_X_FORWARDED_FOR": ADDRESS, "HTTP_X_COUNTRY": "BR"}
    yield client
    config.use(database)


def facts_of(kind: str, **where: str) -> list[dict[str, Any]]:
    """The facts of the events of one kind that have these."""
    query = (
        "SELECT facts FROM event WHERE kind = :kind AND facts ->> :name = :value OR kind = :kind AND card_id = :value"
    )
    [(name, value)] = where.items()
    return [row.facts for row in rows(query, kind=kind, name=name, value=value)]


def opened(client: FlaskClient, claim_link: str | None) -> str:
    """The code of a claim link that this browser opens."""
    assert claim_link is not None
    link_id, key = key_of(claim_link)
    answer = client.post(f"/claim/{link_id}", json={"key": key, "nonce": random_secret()})
    assert answer.status_code == 200, answer.text
    return str(answer.get_json()["code"])


def asked_of_the_field(client: FlaskClient, store_id: str, code: str) -> int:
    body = {"code": code, "order_reference": "order-1", "amount": money(3_000)}
    return client.post(f"/widget/{store_id}/code-tokens", json=body, headers=OWN).status_code


def test_an_opening_keeps_the_mark_of_its_network_and_its_country(from_brazil: FlaskClient, world: World) -> None:
    card = world.issue()
    opened(from_brazil, card.claim_link)
    [facts] = facts_of("code_shown", card_id=card.id)
    assert (facts["address"], facts["country"]) == (prefix_mark(ip_network("203.0.113.0/24")), "BR")
    assert len(facts["address"]) == 16
    assert "203.0.113" not in str(rows("SELECT facts::text FROM event WHERE card_id = :id", id=card.id))


def test_codes_used_and_refused_at_our_field_and_our_checkout_keep_the_country_alone(
    app: Flask, from_brazil: FlaskClient, world: World
) -> None:
    set_origins(world.bookshop, ["https://shop.example"])
    card = world.issue()
    assert asked_of_the_field(from_brazil, world.bookshop, opened(from_brazil, card.claim_link)) == 200
    assert asked_of_the_field(from_brazil, world.bookshop, show_code(draw_code())) == 422
    paid = world.issue()
    shop = bookshop_of(app, world)
    Shopper(from_brazil).pay(shop.push(), opened(from_brazil, paid.claim_link))
    for kind in ("code_token_made", "code_refused", "code_exchanged"):
        [facts] = facts_of(kind, store_id=world.bookshop)
        assert (facts["country"], "address" in facts) == ("BR", False), kind


@pytest.fixture
def api(client: FlaskClient, world: World) -> Api:
    return api_of(client, world)


def test_a_stores_server_has_no_country_and_no_issuer_is_shown_a_mark(
    from_brazil: FlaskClient, api: Api, world: World
) -> None:
    card = world.issue()
    code = opened(from_brazil, card.claim_link)
    headers = {**api.bookshop.authorization, "Idempotency-Key": "exchange"}
    assert from_brazil.post("/v1/payments", json=exchange_body(code), headers=headers).status_code == 201
    [facts] = facts_of("code_exchanged", store_id=world.bookshop)
    assert "country" not in facts
    history = api.acme.get(f"/v1/cards/{card.id}/events").get_json()["items"]
    assert [event["kind"] for event in history] == ["card_issued", "code_shown", "code_exchanged"]
    assert not any({"address", "country"} & set(event["facts"]) for event in history)


def test_two_networks_have_two_marks_and_another_key_another(database: config.Settings) -> None:
    marks = {prefix_mark(ip_network(network)) for network in ("203.0.113.0/24", "203.0.114.0/24", "2001:db8::/48")}
    assert len(marks) == 3
