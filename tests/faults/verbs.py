"""For every verb a request that will be carried out, on objects made for it alone; and the rest of its card's life."""

from typing import Any

from sqlalchemy import text

from app import clock
from app.db.transaction import transaction
from app.issuance.letters import fill_letter
from app.mail.letter import DueLetter
from app.secrecy import random_secret
from tests.api import Api, money
from tests.web import fresh
from tests.web.bodies import card_body, exchange_body, programme_body
from tests.web.fresh import Request
from tests.world import key_of, rows


def create_programme(api: Api) -> Request:
    """Of a name that no other has."""
    return "/v1/programmes", programme_body(name=random_secret()), 201


def claim_link(api: Api) -> Request:
    link_id, key = key_of(api.world.issue().claim_link or "")
    return f"/claim/{link_id}", {"key": key, "nonce": random_secret()}, 200


def claim_again(api: Api) -> Request:
    """The same browser, whose first answer was lost."""
    request = claim_link(api)
    answer = api.acme.client.post(request[0], json=request[1])
    assert answer.status_code == 200, answer.text
    return request


def resend_link(api: Api) -> Request:
    link_id, key = key_of(api.world.issue().claim_link or "")
    return f"/claim/{link_id}/resend", {"key": key}, 202


def exchange_again(api: Api) -> Request:
    """The same shopper in the same store, under another key."""
    body = exchange_body(api.world.code().code)
    answer = api.bookshop.post("/v1/payments", body)
    assert answer.status_code == 201, answer.text
    return "/v1/payments", body, 200


def settle_late(api: Api) -> Request:
    """A minute after the hold was over."""
    payment = api.world.payment().payment
    with transaction() as db:
        past = """
            WITH now AS (SELECT clock_timestamp() - interval '1 minute' AS past),
            bound AS (
                UPDATE code SET bound_until = past FROM now WHERE id = (SELECT code_id FROM payment WHERE id = :id)
            )
            UPDATE payment SET expires_at = past FROM now WHERE id = :id
        """
        db.execute(text(past), {"id": payment.id})
    return f"/v1/payments/{payment.id}/settlements", {"amount": money(3_000)}, 201


def void_the_rest(api: Api) -> Request:
    payment = api.world.payment().payment
    api.world.settle(payment.id, 1_000, final=False)
    return f"/v1/payments/{payment.id}/void", {}, 200


def refund_a_spent_card(api: Api) -> Request:
    payment = api.world.payment().payment
    api.world.settle(payment.id, 5_000)
    return f"/v1/payments/{payment.id}/refunds", {"amount": money(1_000)}, 201


VERBS = (
    create_programme,
    fresh.issue_card,
    fresh.reissue_card,
    fresh.correct_address,
    claim_link,
    resend_link,
    fresh.exchange_code,
    fresh.exchange_code_token,
    fresh.confirm_payment,
    fresh.extend_payment,
    fresh.settle_payment,
    fresh.settle_a_part,
    settle_late,
    fresh.void_payment,
    fresh.refund_payment,
)
#: The same verbs on other ways.
MORE_VERBS = (fresh.issue_card_with_link, claim_again, exchange_again, void_the_rest, refund_a_spent_card)


# ── what a request has done ─────────────────────────────────────────────────────────────────────────────────────────

#: What belongs to a card, and how it looks without names and times of its own.
OF_A_CARD = {
    "card": ("id", "state"),
    "claim_link": ("card_id", "state"),
    "code": ("card_id", "state"),
    "payment": ("card_id", "state, held_minor, settled_minor, released_minor, refunded_minor"),
    "settlement": ("card_id", "amount_minor"),
    "refund": ("card_id", "amount_minor"),
    "transfer": ("card_id", "kind, amount_minor"),
    "event": ("card_id", "kind"),
    "letter": ("card_id", "kind"),
}
#: By table, what there is.
Effects = dict[str, list[tuple[Any, ...]]]


def effects_of(path: str, answer: dict[str, Any], key: str) -> Effects:
    """The request's record, and all rows of its card; of a programme those that bear its name."""
    kept = rows("SELECT answer IS NOT NULL FROM request WHERE reference = :key", key=key)
    effects = {"request": [tuple(row) for row in kept]}
    if path == "/v1/programmes":
        made = rows("SELECT currency FROM programme WHERE name = :name", name=answer["name"])
        return {**effects, "programme": [tuple(row) for row in made]}
    card_id = card_of(path, answer)
    for table, (by, columns) in OF_A_CARD.items():
        found = rows(f"SELECT {columns} FROM {table} WHERE {by} = :id", id=card_id)
        effects[table] = sorted(tuple(row) for row in found)
    return effects


def card_of(path: str, answer: dict[str, Any]) -> str:
    """The card that a request is about."""
    by = {"pay": "SELECT card_id FROM payment WHERE id = :id", "link": "SELECT card_id FROM claim_link WHERE id = :id"}
    named = next((part for part in path.split("/") if "_" in part), None) or answer["id"]
    query = by.get(named.partition("_")[0])
    return str(rows(query, id=named)[0].card_id) if query else str(named)


# ── the rest of a card's life ───────────────────────────────────────────────────────────────────────────────────────


def use_up(api: Api, path: str, answer: dict[str, Any]) -> None:
    """All that is on the request's card can be had, by the code in the answer where there is one: nobody is stranded.

    A programme is used for a card.
    """
    if path == "/v1/programmes":
        path, answer = "/v1/cards", api.acme.post("/v1/cards", card_body(answer["id"])).get_json()
    card_id = card_of(path, answer)
    card = f"/v1/cards/{card_id}"
    before = api.acme.get(card).get_json()
    payment = held_payment(card_id) or _exchange(api, answer.get("code") or _open(api, card_id))
    held = api.bookshop.get(f"/v1/payments/{payment}").get_json()["held"]
    taken = api.bookshop.post(f"/v1/payments/{payment}/settlements", {"amount": held})
    assert taken.status_code == 201, taken.text
    after = api.acme.get(card).get_json()
    assert after["balance"]["amount_minor"] == before["balance"]["amount_minor"] - held["amount_minor"]
    if after["balance"]["amount_minor"]:
        use_up(api, card, {})
    else:
        assert after["state"] == "spent"


def held_payment(card_id: str) -> str | None:
    found = rows("SELECT payment_id FROM card_key WHERE card_id = :id", id=card_id)
    return found[0].payment_id if found else None


def _open(api: Api, card_id: str) -> str:
    """A code, by the letter that waits to be sent, or by a link that the issuer asks for."""
    url = _link_in_letter(card_id)
    if url is None:
        asked = api.acme.post(f"/v1/cards/{card_id}/reissue", {"deliver": "link"})
        assert asked.status_code == 200, asked.text
        url = asked.get_json()["claim_link"]
    return api.world.claim(url).code


def _link_in_letter(card_id: str) -> str | None:
    """What the worker would send now."""
    columns = ", ".join(DueLetter.__dataclass_fields__)
    query = f"SELECT {columns} FROM letter WHERE card_id = :id AND state = 'queued' AND link_id IS NOT NULL ORDER BY id"
    for row in reversed(rows(query, id=card_id)):
        with transaction() as db:
            filled = fill_letter(db, DueLetter(**row._mapping), clock.now(db))
        if filled is not None and filled.context["claim_url"]:
            return str(filled.context["claim_url"])
    return None


def _exchange(api: Api, code: str) -> str:
    body = exchange_body(code)
    del body["amount"]
    answer = api.bookshop.post("/v1/payments", body)
    assert answer.status_code in (200, 201), answer.text
    return str(answer.get_json()["id"])
