"""For every POST under /v1 a request that will be carried out, on objects that were made for it alone."""

from collections.abc import Callable
from typing import Any

from app.money import Money
from app.redemption.code_token import make_code_token
from app.redemption.rules import Asker
from tests.api import Api, money
from tests.billing.broken import settled
from tests.web.bodies import broken_line, card_body, exchange_body, programme_body
from tests.world import visitor

#: A path, a body, and the status that it will get.
Request = tuple[str, dict[str, Any], int]


def create_programme(api: Api) -> Request:
    return "/v1/programmes", programme_body(), 201


def issue_card(api: Api) -> Request:
    return "/v1/cards", card_body(api.world.programme_id), 201


def issue_card_with_link(api: Api) -> Request:
    return "/v1/cards", card_body(api.world.programme_id, deliver="link"), 201


def reissue_card(api: Api) -> Request:
    return f"/v1/cards/{api.world.issue().id}/reissue", {"deliver": "link"}, 200


def correct_address(api: Api) -> Request:
    return f"/v1/cards/{api.world.issue().id}/holder", {"email": "sam@right.example"}, 200


def exchange_code(api: Api) -> Request:
    return "/v1/payments", exchange_body(api.world.code().code), 201


def exchange_code_token(api: Api) -> Request:
    """Of a code that a shopper typed into our field."""
    body = exchange_body("")
    asker = Asker(api.world.bookshop, "test", body["shopper"]["key_hash"], body["order_reference"])
    amount = Money(body["amount"]["amount_minor"], body["amount"]["currency"])
    body["code_token"] = make_code_token(api.world.code().code, asker=asker, amount=amount, who=visitor())
    del body["code"]
    return "/v1/payments", body, 201


def confirm_payment(api: Api) -> Request:
    return f"{_payment(api)}/confirm", {"order_reference": "order-1", "amount": money(4_000)}, 200


def settle_payment(api: Api) -> Request:
    return f"{_payment(api)}/settlements", {"amount": money(3_000)}, 201


def settle_a_part(api: Api) -> Request:
    return f"{_payment(api)}/settlements", {"amount": money(1_000), "final": False}, 201


def void_payment(api: Api) -> Request:
    return f"{_payment(api)}/void", {}, 200


def extend_payment(api: Api) -> Request:
    path = _payment(api, confirm={"order_reference": "order-1"})
    return f"{path}/extend", {"hold_ttl_s": 20 * 86_400}, 200


def refund_payment(api: Api) -> Request:
    path = _payment(api, settlements={"amount": money(3_000)})
    return f"{path}/refunds", {"amount": money(1_000), "reason": "goods came back"}, 201


def assign_break(api: Api) -> Request:
    return f"{_break(api)}/assign", {"assignee": "Claire"}, 200


def propose(api: Api) -> Request:
    body = {"proposal": "match_payment", "reason": "mistyped", "payment_id": settled(api.world)}
    return f"{_break(api)}/propose", body, 200


def approve_break(api: Api) -> Request:
    _, waiting = broken_line(api)
    return f"/v1/breaks/{waiting.id}/approve", {"proposal_id": waiting.proposal_id}, 200


def decline_break(api: Api) -> Request:
    _, waiting = broken_line(api)
    return f"/v1/breaks/{waiting.id}/decline", {"proposal_id": waiting.proposal_id, "reason": "ask first"}, 200


def reopen_break(api: Api) -> Request:
    closed, _ = broken_line(api)
    return f"/v1/breaks/{closed.id}/reopen", {"reason": "the store wrote"}, 200


def add_note(api: Api) -> Request:
    return f"{_break(api)}/notes", {"note": "Asked."}, 201


def _break(api: Api) -> str:
    """The path of a break of Bookshop's that something is proposed for."""
    _, waiting = broken_line(api)
    return f"/v1/breaks/{waiting.id}"


def _payment(api: Api, **then: dict[str, Any]) -> str:
    """The path of an open payment of Bookshop's, after these further requests on it."""
    path = f"/v1/payments/{api.world.payment().payment.id}"
    for verb, body in then.items():
        answer = api.bookshop.post(f"{path}/{verb}", body)
        assert answer.status_code in (200, 201), answer.text
    return path


FRESH: tuple[Callable[[Api], Request], ...] = (
    create_programme,
    issue_card,
    issue_card_with_link,
    reissue_card,
    correct_address,
    exchange_code,
    exchange_code_token,
    confirm_payment,
    settle_payment,
    settle_a_part,
    void_payment,
    extend_payment,
    refund_payment,
    assign_break,
    propose,
    approve_break,
    decline_break,
    reopen_break,
    add_note,
)
