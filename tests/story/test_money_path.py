"""The README's example, step by step over HTTP, with balances after each."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from app.billing.approve import approve_bill
from app.billing.payouts import note_paid
from app.billing.rules import period_of
from app.billing.runs import draft_run, release_run
from app.billing.work import work_off
from app.clock import here
from app.oauth.clients import add_client
from app.oauth.scopes import PARTY_SCOPES
from app.secrecy import random_secret
from tests.world import TERMS, World, key_of, rows


class Api:
    """One party's machine: it gets an access token and talks JSON."""

    def __init__(self, client: FlaskClient, *, kind: str, party_id: str) -> None:
        party: dict[str, Any] = {f"{kind}_id": party_id}
        made = add_client(name=kind, mode="test", scopes=PARTY_SCOPES[kind], **party)
        form = {"grant_type": "client_credentials"}
        answer = client.post("/oauth/token", data=form, auth=(made.client_id, made.client_secret))
        assert answer.status_code == 200, answer.text
        self.client = client
        self.headers = {"Authorization": f"Bearer {answer.get_json()['access_token']}"}

    def get(self, path: str) -> Any:
        return self.client.get(path, headers=self.headers)

    def post(self, path: str, body: Any, key: str | None = None) -> Any:
        return self.client.post(path, json=body, headers=self.headers | {"Idempotency-Key": key or random_secret()})


def money(amount_minor: int) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "currency": "GBP"}


@pytest.fixture
def acme(client: FlaskClient, world: World) -> Api:
    return Api(client, kind="issuer", party_id=world.issuer_id)


@pytest.fixture
def bookshop(client: FlaskClient, world: World) -> Api:
    return Api(client, kind="store", party_id=world.bookshop)


@pytest.fixture
def toyshop(client: FlaskClient, world: World) -> Api:
    return Api(client, kind="store", party_id=world.toyshop)


def test_the_money_path(client: FlaskClient, world: World, acme: Api, bookshop: Api, toyshop: Api) -> None:
    """Acme gives Sam 50.00 GBP; Bookshop takes 30.00, bills and gets them; 20.00 come back to Sam by a new link."""
    programme = acme.post("/v1/programmes", {k: v for k, v in TERMS.items() if k != "stores"} | {"stores": "all"})
    assert programme.status_code == 201, programme.text
    issued = acme.post(
        "/v1/cards",
        {
            "programme": programme.json["id"],
            "amount": money(5_000),
            "holder": {"email": "sam@holder.example", "name": "Sam"},
            "deliver": "link",
        },
    )
    assert issued.status_code == 201, issued.text
    card_path = f"/v1/cards/{issued.json['id']}"
    assert acme.get(card_path).json["balance"] == money(5_000)
    assert acme.get(card_path).json["reached_through"]["kind"] == "link"

    link_id, key = key_of(issued.json["claim_link"])
    claimed = client.post(f"/claim/{link_id}", json={"key": key, "nonce": random_secret()})
    assert claimed.status_code == 200, claimed.text
    code = claimed.get_json()["code"]
    assert acme.get(card_path).json["reached_through"]["kind"] == "code"

    exchanged = bookshop.post("/v1/payments", {"code": code, "order_reference": "123"})
    assert exchanged.status_code == 201, exchanged.text
    payment = exchanged.json
    assert payment["balance"] == payment["held"] == money(5_000)
    assert acme.get(card_path).json["reached_through"]["kind"] == "payment"
    refused = toyshop.post("/v1/payments", {"code": code, "order_reference": "9"})
    assert (refused.status_code, refused.json["slug"]) == (422, "code-not-accepted")

    settled = bookshop.post(f"/v1/payments/{payment['id']}/settlements", {"amount": money(3_000)})
    assert settled.status_code == 201, settled.text
    assert (settled.json["settled"], settled.json["released"]) == (money(3_000), money(2_000))

    card = acme.get(card_path).json
    assert card["balance"] == money(2_000)
    assert (card["reached_through"]["kind"], card["letter"]) == ("link", "queued")
    kinds = [event["kind"] for event in acme.get(f"{card_path}/events").json["items"]]
    assert kinds == ["card_issued", "code_shown", "code_exchanged", "payment_settled"]

    line = {"payment_id": payment["id"], "amount": money(3_000), "order_reference": "123"}
    sent = bookshop.post("/v1/bills", {"period": period_of(here()).name, "reference": "B-1", "lines": [line]})
    assert sent.status_code == 202, sent.text
    work_off(sent.json["id"])
    matched = bookshop.get(f"/v1/bills/{sent.json['id']}").json
    assert (matched["state"], matched["matched_lines"], matched["broken_lines"]) == ("matched", 1, 0)

    (payable,) = approve_bill(sent.json["id"], operator="operator:ann")
    assert (payable.issuer_id, payable.amount_minor) == (world.issuer_id, 3_000)
    run = draft_run(mode="test", operator="operator:ann")
    payout = next(
        one for one in release_run(run.id, operator="operator:bob").payouts if one.store_id == payable.store_id
    )
    assert books_of(payable.store_id) == {"owed": 0, "in_transit": 3_000, "paid": 0}
    note_paid([payout.id])
    assert books_of(payable.store_id) == {"owed": 0, "in_transit": 0, "paid": 3_000}
    (told,) = bookshop.get("/v1/remittances").json["items"]
    assert (told["id"], told["amount"]) == (payout.id, money(3_000))


def books_of(store_id: str) -> dict[str, int]:
    """What the store's accounts come to."""
    query = """
        SELECT kind, (
            coalesce((SELECT sum(amount_minor) FROM transfer WHERE credit_id = account.id), 0)
            - coalesce((SELECT sum(amount_minor) FROM transfer WHERE debit_id = account.id), 0)
        )::bigint AS minor FROM account WHERE owner_id = :id
    """
    return {row.kind: row.minor for row in rows(query, id=store_id)}
