"""Each call as data: what is sent for it, and how its answer is read; pure, but for the keys that it draws."""

import json
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import urlencode

from scrip_sdk import errors
from scrip_sdk.bill import Bill, as_json
from scrip_sdk.budget import BILL_BUDGET, Budget
from scrip_sdk.code import Code
from scrip_sdk.errors import RequestRejected, ScripError, ServiceUnavailable
from scrip_sdk.keys import request_key
from scrip_sdk.money import Money
from scrip_sdk.payment import (
    NotUnderstood,
    Payment,
    Refund,
    SentBill,
    Settlement,
    read_payment,
    read_refund,
    read_sent_bill,
    read_settlement,
)
from scrip_sdk.shopper import Shopper

T = TypeVar("T")

#: No answer of the service is nearly as long.
LONGEST_ANSWER = 256 * 1024
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
PROBLEM = "application/problem+json"

_PAYMENT_ID = re.compile(r"pay_[0-9a-z]{26}")
_BILL_ID = re.compile(r"bill_[0-9a-z]{26}")
_KEY = re.compile(r"[!-~]{1,255}")
_REQUEST_ID = re.compile(r"req_[0-9a-z]{26}")
#: The shape of slugs and OAuth's errors; digits are not in it, so that hardly anything else fits.
_SLUG = re.compile(r"[a-z]{2,20}([-_][a-z]{2,20}){0,5}")
_STATES = frozenset({"held", "settled", "voided", "expired"})
_FIELDS = frozenset(
    {"/code", "/code_token", "/order_reference", "/shopper", "/shopper/key_hash", "/shopper/address_prefix"}
    | {"/amount", "/amount/amount_minor", "/amount/currency", "/hold_ttl_s", "/final", "/reason"}
    | {"/period", "/reference"}
)


@dataclass(frozen=True)
class Answer:
    """What came back, whoever sent it: header names in small letters, the whole body."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def retry_after_s(self) -> int | None:
        """`Retry-After` in seconds, or None; dates are not read, for clocks differ."""
        text = self.headers.get("retry-after", "")
        return int(text) if re.fullmatch("[0-9]{1,6}", text) else None

    @property
    def request_id(self) -> str | None:
        text = self.headers.get("x-request-id", "")
        return text if _REQUEST_ID.fullmatch(text) else None

    @property
    def content(self) -> dict[str, Any] | None:
        """The JSON object in the body, None where there is none."""
        read = self._json()
        return read if isinstance(read, dict) else None

    @property
    def is_cut(self) -> bool:
        """Whether it looks like one of the service's own that arrived in part: nobody said how long it would be."""
        said = self.headers.get("content-type", "").startswith(JSON)
        return said and self.status in (200, 201, 202) and self._json() is None

    @property
    def slug(self) -> str | None:
        """What a problem of the service's is called (RFC 9457); None for what is none, JSON of a gateway's too."""
        is_problem = self.headers.get("content-type", "").partition(";")[0].strip().lower() == PROBLEM
        return self._name("slug") if is_problem else None

    @property
    def oauth_error(self) -> str | None:
        """What one of OAuth's endpoints answers (RFC 6749, 5.2), or None; gateways say `error` too, and others."""
        error = self._name("error")
        return error if error in errors.BY_OAUTH_ERROR else None

    def _name(self, member: str) -> str | None:
        name = (self.content or {}).get(member)
        return name if isinstance(name, str) and _SLUG.fullmatch(name) else None

    def _json(self) -> object:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True)
class Call(Generic[T]):
    """One thing that is asked of the service.

    `key` is its Idempotency-Key. `shown`: what says who asks: an access token, the client's own credentials (as OAuth's
    endpoints want it), or nothing. `repeats`: it may be sent again when nothing is known of it; else only when it was
    certainly not done. `of_shopper`: a shopper's code stands in it, so that a 429 is told at once and not waited for.
    `budget`: in place of the client's own, where a call takes longer than those that shoppers wait for.
    `is_proven`: a client with a key proves it (DPoP), which binds whatever the answer gives to this very process.
    """

    method: str
    path: str
    read: Callable[[Mapping[str, Any]], T] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    content_type: str = JSON
    key: str | None = None
    shown: Literal["access token", "credentials", "nothing"] = "access token"
    repeats: bool = True
    of_shopper: bool = False
    is_proven: bool = True
    budget: Budget | None = None


def exchange(
    code: Code | str,
    *,
    order_reference: str,
    key: str,
    shopper: Shopper | None = None,
    amount: Money | None = None,
    hold_ttl_s: int | None = None,
) -> Call[Payment]:
    """A code becomes a payment. Raises CodeMistyped, RequestRejected."""
    try:
        read = code if isinstance(code, Code) else Code(code)
        call = _exchange(order_reference, key, shopper, amount, hold_ttl_s)
    finally:
        del code  # a report of an error may show the variables of this frame
    return _with_secret(call, "code", read.reveal())


def exchange_token(
    code_token: str,
    *,
    order_reference: str,
    key: str,
    shopper: Shopper | None = None,
    amount: Money | None = None,
    hold_ttl_s: int | None = None,
) -> Call[Payment]:
    """The same with the code token that the field for codes gave (docs/widget.md). Raises RequestRejected."""
    try:
        if not isinstance(code_token, str):
            raise RequestRejected("invalid-request", detail="A code token is a text.", fields=("/code_token",))
        return _with_secret(_exchange(order_reference, key, shopper, amount, hold_ttl_s), "code_token", code_token)
    finally:
        del code_token  # as above


def get(payment_id: str) -> Call[Payment]:
    """Raises RequestRejected."""
    return Call("GET", _path(payment_id), _payment_of(payment_id))


def confirm(
    payment_id: str, *, order_reference: str, amount: Money | None = None, key: str | None = None
) -> Call[Payment]:
    """An order stands on the payment. Raises RequestRejected.

    Without `key` each call has another: the service answers an old one as things stood then, for 90 days, and would say
    `held` of a payment that was voided since. Nothing is lost by it, for confirming again for the same order does no
    more than the first time.
    """
    key = key or request_key("confirm", payment_id, order_reference, part=secrets.token_hex(8))
    body = {"order_reference": order_reference, "amount": _shown(amount)}
    return _post(_path(payment_id, "/confirm"), body, key, _payment_of(payment_id))


def settle(
    payment_id: str,
    amount: Money,
    *,
    order_reference: str | None = None,
    final: bool = True,
    key: str | None = None,
) -> Call[Settlement]:
    """Takes the amount for good. Raises RequestRejected: a part (`final=False`) without a key of its own, for two equal
    parts of one order are two, and one part that is sent twice is one; only the store knows which it is."""
    if key is None and not final:
        raise RequestRejected("idempotency-key-missing", detail="A settle that is not final needs a key of its own.")
    # An old answer stays true: only what was done is answered again, and a payment that is settled stays so.
    key = key or request_key("settle", payment_id, order_reference or "")
    body = {"amount": _shown(amount), "final": final, "order_reference": order_reference}
    return _post(_path(payment_id, "/settlements"), body, key, _with_payment(payment_id, read_settlement))


def void(payment_id: str, *, key: str | None = None) -> Call[Payment]:
    """Releases the whole hold. Raises RequestRejected."""
    # An old answer stays true here too: a voided payment is never held again, for its code typed anew opens another.
    key = key or request_key("void", payment_id, "")
    return _post(_path(payment_id, "/void"), {}, key, _payment_of(payment_id))


def extend(payment_id: str, hold_ttl_s: int, *, key: str) -> Call[Payment]:
    """Holds a confirmed payment for so long from now. Raises RequestRejected."""
    return _post(_path(payment_id, "/extend"), {"hold_ttl_s": hold_ttl_s}, key, _payment_of(payment_id))


def refund(payment_id: str, amount: Money, *, key: str, reason: str | None = None) -> Call[Refund]:
    """Gives settled money back to the card. Raises RequestRejected."""
    body = {"amount": _shown(amount), "reason": reason}
    return _post(_path(payment_id, "/refunds"), body, key, _with_payment(payment_id, read_refund))


def submit_bill(bill: Bill, *, reference: str) -> Call[SentBill]:
    """Sends a month's bill, but for what is pending. Raises RequestRejected.

    The reference is what makes it one bill, and its key comes from it: sent again it is the same, whatever broke.
    """
    key = request_key("bill", bill.period, reference)
    body = as_json(bill, reference, indent=None).encode("ascii")
    return Call("POST", "/v1/bills", read_sent_bill, body, key=key, budget=BILL_BUDGET)


def get_bill(bill_id: str) -> Call[SentBill]:
    """Raises RequestRejected."""
    if not _fits(_BILL_ID, bill_id):
        raise RequestRejected("not-found", detail="This is not the ID of a bill.")

    def read(answer: Mapping[str, Any]) -> SentBill:
        found = read_sent_bill(answer)
        if found.id != bill_id:
            raise NotUnderstood("id")
        return found

    return Call("GET", f"/v1/bills/{bill_id}", read)


def oauth(path: str, fields: Mapping[str, str], read: Callable[[Mapping[str, Any]], T], *, repeats: bool) -> Call[T]:
    """A form for one of OAuth's endpoints, with the client's own credentials."""
    body = urlencode(fields).encode("ascii")
    return Call("POST", path, read, body, content_type=FORM, shown="credentials", repeats=repeats)


# ── how an answer is read ───────────────────────────────────────────────────────────────────────────────────────────


def read_answer(call: Call[T], answer: Answer) -> T:
    """What was asked for. Raises ScripError of the class that fits.

    Nobody but the service answers with its JSON: a redirect, a page of HTML, or JSON of another shape come from whoever
    stands in between, and mean that the service was not reached. So no gateway's 404 is taken for the last word.
    """
    if 200 <= answer.status < 300 and answer.content is not None:
        with suppress(NotUnderstood):
            return call.read(answer.content)
    elif answer.status >= 400 and _slug_of(call, answer) is not None:
        raise error_of(call, answer)
    slug = "not-understood" if answer.status < 500 else "internal-error"
    raise unavailable(slug, answer)


def error_of(call: Call[Any], answer: Answer) -> ScripError:
    """The refusal that the answer tells; of what it says, only what has the shape that it must have."""
    content, slug = answer.content or {}, _slug_of(call, answer)
    kind = errors.class_of(slug, answer.status)
    if call.of_shopper and slug is not None:
        kind = errors.OF_A_CARD.get(slug, kind)
    more: dict[str, Any] = {}
    if issubclass(kind, errors.TryLater):
        more["retry_after_s"] = answer.retry_after_s or 1
    elif issubclass(kind, ServiceUnavailable):
        more["retry_after_s"] = answer.retry_after_s
    elif issubclass(kind, errors.AmountTooHigh):
        left = content.get("held_minor", content.get("left_minor"))
        more["left_minor"] = left if type(left) is int else None
    elif issubclass(kind, errors.PaymentClosed):
        state = content.get("state")
        more["state"] = state if isinstance(state, str) and state in _STATES else None
    elif issubclass(kind, RequestRejected):
        more["fields"] = _wrong_fields(content.get("errors"))
    return kind(slug, answer.status, answer.request_id, **more)


def _slug_of(call: Call[Any], answer: Answer) -> str | None:
    """What the service calls its refusal, None where it is not the service that answers."""
    return answer.slug or (answer.oauth_error if call.content_type == FORM else None)


def unavailable(slug: str, answer: Answer | None = None) -> ServiceUnavailable:
    """The service was not reached, or not in time."""
    if answer is None:
        return ServiceUnavailable(slug)
    return ServiceUnavailable(slug, answer.status, answer.request_id, retry_after_s=answer.retry_after_s)


def _wrong_fields(said: object) -> tuple[str, ...]:
    pointers = [each.get("pointer") for each in said if isinstance(each, dict)] if isinstance(said, list) else []
    return tuple(sorted({each for each in pointers if isinstance(each, str) and each in _FIELDS}))


# ── the parts of a request ──────────────────────────────────────────────────────────────────────────────────────────


def _exchange(
    order_reference: str,
    key: str,
    shopper: Shopper | None,
    amount: Money | None,
    hold_ttl_s: int | None,
) -> Call[Payment]:
    """All but the secret, which comes last: what is wrong with the rest is found in frames that do not know it."""
    named = None
    if shopper is not None:
        named = {"key_hash": shopper.key_hash, "address_prefix": shopper.address_prefix}
        named = {name: value for name, value in named.items() if value is not None}
    body = {"order_reference": order_reference, "shopper": named, "amount": _shown(amount), "hold_ttl_s": hold_ttl_s}
    return _post("/v1/payments", body, key, read_payment, of_shopper=True)


def _with_secret(call: Call[Payment], name: str, secret: str) -> Call[Payment]:
    return replace(call, body=json.dumps({name: secret, **json.loads(call.body)}).encode("ascii"))


def _post(
    path: str, body: Mapping[str, Any], key: str, read: Callable[[Mapping[str, Any]], T], *, of_shopper: bool = False
) -> Call[T]:
    if not _fits(_KEY, key):
        raise RequestRejected("idempotency-key-invalid", detail="A key has 1 to 255 visible ASCII characters.")
    given = {name: value for name, value in body.items() if value is not None}
    return Call("POST", path, read, json.dumps(given).encode("ascii"), key=key, of_shopper=of_shopper)


def _path(payment_id: str, verb: str = "") -> str:
    """Raises RequestRejected for what is no payment's ID, and might lead elsewhere."""
    if not _fits(_PAYMENT_ID, payment_id):
        raise RequestRejected("not-found", detail="This is not the ID of a payment.")
    return f"/v1/payments/{payment_id}{verb}"


def _fits(shape: re.Pattern[str], given: object) -> bool:
    """Whether it is a text of this shape, whatever types the caller's code promises."""
    return isinstance(given, str) and shape.fullmatch(given) is not None


def _shown(amount: Money | None) -> dict[str, Any] | None:
    return None if amount is None else {"amount_minor": amount.amount_minor, "currency": amount.currency}


def _payment_of(payment_id: str) -> Callable[[Mapping[str, Any]], Payment]:
    """Reads the payment, which must be the one that was asked for."""

    def read(answer: Mapping[str, Any]) -> Payment:
        payment = read_payment(answer)
        if payment.id != payment_id:
            raise NotUnderstood("id")
        return payment

    return read


def _with_payment(payment_id: str, read: Callable[[Mapping[str, Any]], T]) -> Callable[[Mapping[str, Any]], T]:
    """Reads a settlement or refund, whose payment must be the one that was asked for."""

    def read_both(answer: Mapping[str, Any]) -> T:
        result = read(answer)
        if answer["payment"].get("id") != payment_id:
            raise NotUnderstood("id")
        return result

    return read_both
