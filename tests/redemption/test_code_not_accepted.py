"""Refuse without telling: every code that is not acceptable gets one and the same answer; only the events know why."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from argon2.low_level import hash_secret_raw
from flask import Flask
from sqlalchemy import Connection, Engine, event
from werkzeug.test import TestResponse

from app import clock
from app.errors import CodeNotAccepted
from app.ids import StoreId
from app.issuance.code import ALPHABET, draw_code, has_check, show_code
from app.redemption.code_token import make_code_token
from app.redemption.exchange import exchange_code
from app.redemption.rules import Asker
from tests.api import Api, Machine, api_of, assert_problem, money, nothing_changes, store_machine
from tests.world import TERMS, World, forgive_all, gbp, make_world, reference, rows, visitor

SHOPPER = {"key_hash": "0123456789abcdef"}


@dataclass(frozen=True)
class Case:
    """A code that `asker` may not have, the true reason, and how far ahead the clock is."""

    code: str
    asker: Machine
    reason: str
    order_reference: str = "order-1"
    shopper: dict[str, str] | None = None
    ahead: timedelta | None = None


@pytest.fixture(scope="module")
def api(app: Flask) -> Api:
    return api_of(app.test_client(), make_world())


def ask(case: Case) -> TestResponse:
    body: dict[str, Any] = {"code": case.code, "order_reference": case.order_reference, "shopper": case.shopper}
    moved: AbstractContextManager[object] = clock.ahead(case.ahead) if case.ahead else nullcontext()
    with moved:
        return case.asker.post("/v1/payments", body)


def exchanged(api: Api, **more: Any) -> tuple[str, str]:
    """A code that Bookshop has exchanged, and its payment."""
    code = api.world.code().code
    answer = api.bookshop.post("/v1/payments", {"code": code, "order_reference": "order-1", **more})
    assert answer.status_code == 201, answer.text
    return code, answer.get_json()["id"]


# ── the cases ───────────────────────────────────────────────────────────────────────────────────────────────────────


def unknown(api: Api) -> Case:
    return Case(show_code(draw_code()), api.bookshop, "unknown")


def dead_by_settle(api: Api) -> Case:
    code, payment_id = exchanged(api)
    assert api.bookshop.post(f"/v1/payments/{payment_id}/settlements", {"amount": money(3_000)}).status_code == 201
    return Case(code, api.bookshop, "unknown")


def dead_by_the_issuers_reissue(api: Api) -> Case:
    card = api.world.issue()
    code = api.world.claim(card.claim_link).code
    assert api.acme.post(f"/v1/cards/{card.id}/reissue", {}).status_code == 200
    return Case(code, api.bookshop, "unknown")


def bound_elsewhere(api: Api) -> Case:
    return Case(exchanged(api)[0], api.toyshop, "bound_elsewhere")


def bound_elsewhere_and_void(api: Api) -> Case:
    code, payment_id = exchanged(api)
    assert api.bookshop.post(f"/v1/payments/{payment_id}/void", {}).status_code == 200
    return Case(code, api.toyshop, "bound_elsewhere")


def another_shoppers(api: Api) -> Case:
    code, _ = exchanged(api, shopper=SHOPPER)
    return Case(code, api.bookshop, "other_shopper", shopper={"key_hash": "fedcba9876543210"})


def nobodys_shopper(api: Api) -> Case:
    return Case(exchanged(api, shopper=SHOPPER)[0], api.bookshop, "other_shopper")


def another_order_where_no_shopper_was_named(api: Api) -> Case:
    return Case(exchanged(api)[0], api.bookshop, "other_shopper", order_reference="order-2")


def void_and_another_shopper(api: Api) -> Case:
    code, payment_id = exchanged(api, shopper=SHOPPER)
    assert api.bookshop.post(f"/v1/payments/{payment_id}/void", {}).status_code == 200
    return Case(code, api.bookshop, "other_shopper", shopper={"key_hash": "fedcba9876543210"})


def void_and_its_time_is_over(api: Api) -> Case:
    code, payment_id = exchanged(api)
    assert api.bookshop.post(f"/v1/payments/{payment_id}/void", {}).status_code == 200
    return Case(code, api.bookshop, "binding_over", ahead=timedelta(hours=1))


def held_and_its_time_is_over(api: Api) -> Case:
    return Case(exchanged(api)[0], api.bookshop, "binding_over", ahead=timedelta(hours=1))


def lapsed(api: Api) -> Case:
    return Case(api.world.code().code, api.bookshop, "lapsed", ahead=timedelta(days=366))


def of_another_mode(api: Api) -> Case:
    live = make_world(mode="live")
    return Case(api.world.code().code, store_machine(api.bookshop.client, live.bookshop, mode="live"), "other_mode")


def of_a_programme_that_does_not_list_the_store(api: Api) -> Case:
    terms = {**TERMS, "stores": [api.world.toyshop]}
    made = api.acme.post("/v1/programmes", terms)
    assert made.status_code == 201, made.text
    listed = World(api.world.issuer_id, made.get_json()["id"], api.world.bookshop, api.world.toyshop)
    return Case(listed.code().code, api.bookshop, "other_programme")


CASES: list[Callable[[Api], Case]] = [
    unknown,
    dead_by_settle,
    dead_by_the_issuers_reissue,
    bound_elsewhere,
    bound_elsewhere_and_void,
    another_shoppers,
    nobodys_shopper,
    another_order_where_no_shopper_was_named,
    void_and_another_shopper,
    void_and_its_time_is_over,
    held_and_its_time_is_over,
    lapsed,
    of_another_mode,
    of_a_programme_that_does_not_list_the_store,
]


# ── the tests ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_of_them_get_the_same_bytes_the_same_status_and_the_same_headers(api: Api) -> None:
    """But for the request's ID, which is the instance."""
    answers = [ask(make(api)) for make in CASES]
    seen = {(answer.status_code, plain_body(answer), plain_headers(answer)) for answer in answers}
    assert len(seen) == 1, seen
    assert_problem(answers[0], 422, "code-not-accepted")


def plain_body(answer: TestResponse) -> bytes:
    return bytes(answer.data).replace(answer.headers["X-Request-Id"].encode(), b"INSTANCE")


def plain_headers(answer: TestResponse) -> tuple[tuple[str, str], ...]:
    """In their order, with their values."""
    return tuple((name, value) for name, value in answer.headers.items() if name not in ("X-Request-Id", "RateLimit"))


@pytest.mark.parametrize("make", CASES)
def test_the_event_has_the_true_reason_and_nothing_else_changes(
    api: Api, make: Callable[[Api], Case], argon2: list[object]
) -> None:
    case = make(api)
    before = tries()
    argon2.clear()
    with nothing_changes(but=("event", "guard_count")):
        answer = assert_problem(ask(case), 422, "code-not-accepted")
    new = [event for event in tries() if event.id not in {old.id for old in before}]
    assert [event.facts["reason"] for event in new] == [case.reason]
    assert (new[0].request_id, new[0].actor) == (answer["instance"], case.asker.known.client_id)
    assert len(argon2) == 1  # one epoch is live: one Argon2, whatever the reason


@pytest.mark.parametrize("way", ["exchange", "code token"])
def test_each_of_them_has_the_database_do_the_same(api: Api, way: str) -> None:
    """Statement for statement, so that how long a refusal takes does not tell why."""
    cases = [make(api) for make in CASES]
    seen = {case.reason: statements(case, way) for case in cases}
    assert {tuple(each) for each in seen.values()} == {tuple(seen["unknown"])}, seen
    assert len(seen) > 6


def statements(case: Case, way: str) -> list[str]:
    """What the verb asks the database when it refuses this code."""
    known, asked = case.asker.known, list[str]()
    store_id, shopper_key = StoreId(known.party_id), (case.shopper or {}).get("key_hash")
    asker = Asker(store_id, known.mode, shopper_key, case.order_reference)

    def note(_db: Connection, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    forgive_all()
    event.listen(Engine, "before_cursor_execute", note)
    try:
        with clock.ahead(case.ahead or timedelta()), pytest.raises(CodeNotAccepted):
            if way == "exchange":
                exchange_code(case.code, asker=asker, reference=reference(store_id))
            else:
                make_code_token(case.code, asker=asker, amount=gbp(100), who=visitor())
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return asked


@pytest.fixture
def argon2(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """One entry for each Argon2 from here on."""
    done: list[object] = []

    def counted(*args: Any, **more: Any) -> Any:
        done.append(None)
        return hash_secret_raw(*args, **more)

    monkeypatch.setattr("app.issuance.code_hash.hash_secret_raw", counted)
    yield done


def tries() -> list[Any]:
    return rows("SELECT id, actor, request_id, facts FROM event WHERE kind = 'code_refused' ORDER BY id")


def mistyped() -> list[str]:
    """Every wrong character in one place, every swap of neighbours, and what is no code at all."""
    code = draw_code()
    wrong = {code[:7] + character + code[8:] for character in ALPHABET} - {code}
    swapped = {code[:n] + code[n + 1] + code[n] + code[n + 2 :] for n in range(15)} - {code}
    return [*wrong, *swapped, code[:15], code + "0", "0", "-", "U" * 16, "\N{FULLWIDTH DIGIT ONE}" * 16, code * 5]


def test_a_mistyped_code_is_no_try_and_costs_no_argon2(api: Api, argon2: list[object]) -> None:
    with nothing_changes():
        for code in mistyped():
            answer = api.bookshop.post("/v1/payments", {"code": code, "order_reference": "order-1"})
            assert_problem(answer, 422, "code-mistyped")
    assert argon2 == []


def test_the_check_character_is_what_tells_a_mistyped_code_from_an_unknown_one() -> None:
    assert not any(has_check(code) for code in mistyped() if len(code) == 16 and set(code) <= set(ALPHABET))


def test_a_refused_code_can_still_be_exchanged_by_whom_it_belongs_to(api: Api) -> None:
    """A stranger's tries take nothing away."""
    code, payment_id = exchanged(api, shopper=SHOPPER)
    for asker, shopper in ((api.toyshop, SHOPPER), (api.bookshop, None)):
        refused = asker.post("/v1/payments", {"code": code, "order_reference": "x", "shopper": shopper})
        assert_problem(refused, 422, "code-not-accepted")
    again = api.bookshop.post("/v1/payments", {"code": code, "order_reference": "order-1", "shopper": SHOPPER})
    assert (again.status_code, again.get_json()["id"]) == (200, payment_id)


def test_the_verb_itself_tells_no_more_than_the_route(api: Api) -> None:
    seen = set()
    for code in (draw_code(), exchanged(api)[0]):
        with pytest.raises(CodeNotAccepted) as refused:
            asker = Asker(api.world.toyshop, "test", None, "order-1")
            exchange_code(code, asker=asker, reference=reference(api.world.toyshop))
        seen.add((type(refused.value), refused.value.detail, tuple(refused.value.facts)))
    assert seen == {(CodeNotAccepted, "The code is not accepted.", ())}
