"""Requests drawn by chance from the OpenAPI document: things that exist, and good credentials, are put into them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

from schemathesis import Case

from app.oauth.access_token import make_access_token
from app.secrecy import random_secret
from tests.api import Api
from tests.fuzz.targets import Targets

AnyCase = Case[Any]
#: Out of so many values of the right kind one stays as it was drawn.
ONE_IN = 8
#: What to put in place of a drawn value, which would hardly ever make sense together with others.
FOOD: dict[str, tuple[type, Callable[[Random], Any]]] = {
    "currency": (str, lambda chance: chance.choice(["GBP"] * 9 + ["EUR"])),
    "amount_minor": (int, lambda chance: chance.randint(1, 6_000)),
    "order_reference": (str, lambda chance: chance.choice(["order-1", "order-1", "order-2"])),
    "key_hash": (str, lambda chance: chance.choice(["shopper-1", "shopper-1", "shopper-2"])),
    "email": (str, lambda _: "sam@holder.example"),
    "card_min_minor": (int, lambda chance: chance.randint(1, 100)),
    "card_max_minor": (int, lambda chance: chance.randint(100, 10**6)),
    "hold_ttl_s": (int, lambda chance: chance.randint(60, 3_600)),
    "confirmed_ttl_s": (int, lambda chance: chance.randint(60, 86_400)),
    "proposal": (str, lambda chance: chance.choice(["reject", "pay_smaller", "write_off", "match_payment"])),
    "assignee": (str, lambda _: "Claire"),
    "reason": (str, lambda _: "as agreed"),
    "note": (str, lambda _: "Asked."),
    "hold_max_s": (int, lambda chance: chance.randint(86_400, 10**6)),
}
_VISIBLE = re.compile("[!-~]{1,255}")
#: Fields that name what must exist.
NAMES = {
    "code": "code",
    "code_token": "code_token",
    "programme": "programme_id",
    "payment_id": "payment_id",
    "proposal_id": "proposal_id",
    "issuer_id": "issuer_id",
}


#: Parameters that name a month, which must have begun.
MONTHS = frozenset(("month", "period"))


def fill(case: AnyCase, chance: Random, targets: Targets) -> None:
    """Puts what exists and what makes sense into most places where something of its kind was drawn."""
    for name in list(case.path_parameters):
        if chance.randrange(ONE_IN):
            case.path_parameters[name] = targets.pick(name, chance)
    for name in MONTHS.intersection(case.query):
        if chance.randrange(ONE_IN):
            case.query[name] = f"{datetime.now(UTC):%Y-%m}"
    case.body = _fed(case.body, chance, targets)
    key = case.headers.get("Idempotency-Key")
    if isinstance(key, str) and _VISIBLE.fullmatch(key) and chance.randrange(ONE_IN):
        case.headers["Idempotency-Key"] = random_secret()


def _fed(value: Any, chance: Random, targets: Targets) -> Any:
    """The value with its fields of the right kind replaced; those of a wrong kind stay as they were drawn."""
    if isinstance(value, list):
        return [_fed(inner, chance, targets) for inner in value]
    if isinstance(value, dict):
        return {name: _fed_field(name, inner, chance, targets) for name, inner in value.items()}
    return value


def _fed_field(name: str, value: Any, chance: Random, targets: Targets) -> Any:
    if name in NAMES and isinstance(value, str) and chance.randrange(ONE_IN):
        return targets.pick(NAMES[name], chance)
    if name in FOOD and type(value) is FOOD[name][0] and chance.randrange(ONE_IN):
        return FOOD[name][1](chance)
    return _fed(value, chance, targets)


def credentials(case: AnyCase, chance: Random, api: Api) -> dict[str, str]:
    """Mostly an access token with exactly the scope that is needed, or another, or none."""
    access_token = _access_token(case, chance, api)
    return {} if access_token is None else {"Authorization": f"Bearer {access_token}"}


def _access_token(case: AnyCase, chance: Random, api: Api) -> str | None:
    wanted = [scope for one in case.operation.definition.raw["security"] for scope in one["oauth"]]
    right, wrong = (api.acme, api.bookshop) if wanted[0] in ("issue", "statement") else (api.bookshop, api.acme)
    if wanted[0].startswith("finance"):
        right = api.finance
    match chance.randrange(60):
        case 0:
            return None
        case 1:
            return "eyJhbGciOiJub25lIn0.e30."
        case 2:
            return wrong.access_token
        case _:
            return make_access_token(right.known, [chance.choice(wanted)])
