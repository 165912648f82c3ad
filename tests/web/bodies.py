"""Good bodies for every POST under /v1, to be spoilt field by field."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Flask

from app.billing.breaks import Break
from app.billing.work_break import approve_break, propose
from tests.api import Api, money
from tests.billing.broken import breaks_of, broken_bill, settled

Body = dict[str, Any]
#: Path and body by operation.
Bodies = dict[str, tuple[str, Body]]


def good_bodies(api: Api) -> Bodies:
    """For each operation a path that exists and a body with every field; to be refused for what a test spoils."""
    world = api.world
    card_id = world.issue().id
    payment_id = world.payment().payment.id
    of_payment = f"/v1/payments/{payment_id}"
    closed, waiting = broken_line(api)
    of_break = f"/v1/breaks/{waiting.id}"
    return {
        "create_programme": ("/v1/programmes", programme_body(stores=[world.bookshop])),
        "issue_card": ("/v1/cards", card_body(world.programme_id)),
        "reissue_card": (f"/v1/cards/{card_id}/reissue", {"deliver": "link"}),
        "correct_address": (f"/v1/cards/{card_id}/holder", {"email": "sam@right.example"}),
        "exchange_code": ("/v1/payments", exchange_body(world.code().code)),
        "confirm_payment": (f"{of_payment}/confirm", {"order_reference": "order-1", "amount": money(4_000)}),
        "settle_payment": (
            f"{of_payment}/settlements",
            {"amount": money(3_000), "final": True, "order_reference": "order-1"},
        ),
        "void_payment": (f"{of_payment}/void", {}),
        "extend_payment": (f"{of_payment}/extend", {"hold_ttl_s": 3_600}),
        "refund_payment": (f"{of_payment}/refunds", {"amount": money(100), "reason": "goods came back"}),
        "assign_break": (f"{of_break}/assign", {"assignee": "Claire"}),
        "propose": (
            f"{of_break}/propose",
            {"proposal": "match_payment", "reason": "mistyped", "payment_id": settled(world)},
        ),
        "approve_break": (f"{of_break}/approve", {"proposal_id": waiting.proposal_id}),
        "decline_break": (f"{of_break}/decline", {"proposal_id": waiting.proposal_id, "reason": "ask first"}),
        "reopen_break": (f"/v1/breaks/{closed.id}/reopen", {"reason": "the store wrote"}),
        "add_note": (f"{of_break}/notes", {"note": "Asked.\nThey answer tomorrow."}),
    }


def broken_line(api: Api) -> tuple[Break, Break]:
    """Two breaks of one bill of Bookshop's: one that is closed, and one that something was proposed for."""
    bill_id = broken_bill(api.world, (settled(api.world), 3_500), (settled(api.world), 3_600))
    closed, waiting = (
        propose(found.id, "reject", reason="too much", by="operator:anna") for found in breaks_of(bill_id)
    )
    return approve_break(closed.id, closed.proposal_id or "", by="operator:ben"), waiting


def programme_body(**changes: Any) -> Body:
    return {
        "name": "Gift card",
        "currency": "GBP",
        "card_min_minor": 100,
        "card_max_minor": 50_000,
        "valid_days": 365,
        "link_policy": "single_use",
        "hold_ttl_s": 1_800,
        "confirmed_ttl_s": 604_800,
        "hold_max_s": 2_592_000,
        "stores": "all",
        **changes,
    }


def card_body(programme_id: str, **changes: Any) -> Body:
    return {
        "programme": programme_id,
        "amount": money(5_000),
        "holder": {"email": "sam@holder.example", "name": "Sam", "locale": "en-GB"},
        "order_reference": "order-1",
        "deliver": "email",
        "message": "Happy birthday!\nYours",
        "metadata": {"campaign": "spring"},
        **changes,
    }


def exchange_body(code: str, **changes: Any) -> Body:
    return {
        "code": code,
        "order_reference": "order-1",
        "shopper": {"key_hash": "0123456789abcdef", "address_prefix": "192.0.2.0/24"},
        "amount": money(4_000),
        "hold_ttl_s": 600,
        **changes,
    }


def leaves(body: Mapping[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every field of a body at any depth, by its place, with its good value."""
    for name, value in body.items():
        yield (*before, name), value
        if isinstance(value, dict):
            yield from leaves(value, (*before, name))


def with_field(body: Body, place: tuple[str, ...], value: object) -> Body:
    """The body with another value at this place."""
    changed = copy.deepcopy(body)
    parent = changed
    for name in place[:-1]:
        parent = parent[name]
    parent[place[-1]] = value
    return changed


def pointer(place: tuple[str, ...]) -> str:
    return "".join(f"/{name}" for name in place)


def posts(app: Flask) -> set[str]:
    """The rules of every POST under /v1."""
    return {
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/v1/") and "POST" in (rule.methods or ())
    }
