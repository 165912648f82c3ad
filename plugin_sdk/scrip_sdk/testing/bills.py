"""The fake service's API of bills: one bill for a reference, matched at once when it is first read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from scrip_sdk.testing.books import Books
from scrip_sdk.testing.ledger import FakePayment, new_id
from scrip_sdk.testing.parties import Parties
from scrip_sdk.testing.refusals import NOTHING_HERE, Refused
from scrip_sdk.testing.shapes import MAX_MINOR
from scrip_sdk.testing.wire import Answer, Asked, as_json

_BILL = re.compile(r"/v1/bills/(bill_[0-7][0-9a-z]{25})")
_VISIBLE = re.compile(r"[!-~]{1,255}")
_MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")

Sums = dict[str, int]


@dataclass(eq=False)
class FakeBill:
    """A bill as it stands. `matched_at` is None until somebody reads it."""

    id: str
    store_id: str
    reference: str
    period: str
    digest: str
    lines: list[Any] = field(repr=False)
    received_at: datetime
    as_of: datetime
    matched_at: datetime | None = None
    good: int = 0
    matched_lines: int = 0
    billed: Sums = field(default_factory=dict)
    matched: Sums = field(default_factory=dict)
    credits: Sums = field(default_factory=dict)
    breaks: dict[str, int] = field(default_factory=dict)


class BillsApi:
    """`POST /v1/bills` (JSON) and `GET /v1/bills/{id}`. What was settled and refunded when it is sent counts."""

    def __init__(self, books: Books, parties: Parties) -> None:
        self.books, self.parties = books, parties
        self._bills: dict[str, FakeBill] = {}
        #: What of each payment bills have taken up: settled, and refunded.
        self._taken: dict[str, tuple[int, int]] = {}

    def answer(self, asked: Asked) -> Answer:
        """Raises Refused."""
        token = self.parties.authorise(asked.header("authorization"), self.books.now(), ("bill",), "")
        store_id = token.client.store_id
        if (asked.method, asked.path) == ("POST", "/v1/bills"):
            bill, is_new = self._receive(asked, store_id)
            return as_json(202, _shown(bill), **({} if is_new else {"Idempotent_Replayed": "true"}))
        found = _BILL.fullmatch(asked.path) if asked.method == "GET" else None
        if found is None:
            raise Refused("nothing-here", NOTHING_HERE)
        known = self._bills.get(found[1])
        if known is None or known.store_id != store_id:
            raise Refused("not-found", "There is no such bill.")
        if known.matched_at is None:
            self._match(known)
        sums = {name: _moneys(getattr(known, name)) for name in ("billed", "matched", "credits")}
        return as_json(200, {**_shown(known), **sums, "breaks": known.breaks})

    def _receive(self, asked: Asked, store_id: str) -> tuple[FakeBill, bool]:
        key = asked.headers.get("idempotency-key")
        if key is None:
            raise Refused("idempotency-key-missing")
        if not _VISIBLE.fullmatch(key):
            raise Refused("idempotency-key-invalid")
        if asked.header("content-type").partition(";")[0].strip().lower() != "application/json":
            raise Refused("unsupported-media-type", "Send application/json or text/csv.")
        body, now = _read(asked.body), self.books.now()
        month = f"{now.astimezone(timezone.utc):%Y-%m}"
        if not isinstance(body["period"], str) or not _MONTH.fullmatch(body["period"]) or body["period"] > month:
            raise _wrong("/period", "A period is a month such as 2026-11, and has begun.")
        if not isinstance(body["reference"], str) or not 1 <= len(body["reference"]) <= 100:
            raise _wrong("/reference", "A reference has 1 to 100 characters.")
        digest = hashlib.sha256(asked.body).hexdigest()
        for bill in self._bills.values():
            if (bill.store_id, bill.reference) == (store_id, body["reference"]):
                if bill.digest != digest:
                    detail = "A bill of this reference came before with another period or other content."
                    raise Refused("reference-reused", detail)
                return bill, False
        as_of = min(now, _end_of(body["period"]))
        bill = FakeBill(new_id("bill"), store_id, body["reference"], body["period"], digest, body["lines"], now, as_of)
        self._bills[bill.id] = bill
        return bill, True

    def _match(self, bill: FakeBill) -> None:
        seen: set[str] = set()
        bill.matched_at = self.books.now()
        for line in bill.lines:
            if not _is_line(line):
                continue
            bill.good += 1
            minor, currency = line["amount"]["amount_minor"], line["amount"]["currency"]
            _add(bill.billed, currency, minor)
            payment = self.books.payments.get(line["payment_id"])
            outcome = self._outcome(bill, payment, minor, currency, seen)
            if outcome != "matched" or payment is None:
                _add(bill.breaks, outcome, 1)
                continue
            bill.matched_lines += 1
            _add(bill.matched, currency, minor)
            self._taken[payment.id] = (payment.settled_minor, payment.refunded_minor)
        self._take_credits(bill)

    def _outcome(self, bill: FakeBill, payment: FakePayment | None, minor: int, currency: str, seen: set[str]) -> str:
        """`matched`, or the kind of break, in the order in which the service decides it."""
        if payment is None:
            return "unknown_payment"
        if payment.store_id != bill.store_id:
            return "not_this_store"
        if payment.card.currency != currency:
            return "currency_mismatch"
        if payment.id in seen:
            return "duplicate_line"
        seen.add(payment.id)
        settled, refunded = self._left(payment)
        if not payment.settled_minor:
            return "voided" if payment.state == "voided" else "not_settled"
        if not settled and not refunded:
            return "already_billed"
        if minor == settled - refunded:
            return "matched"
        if refunded and minor == settled:
            return "refunded_after"
        return "amount_over" if minor > settled - refunded else "amount_under"

    def _take_credits(self, bill: FakeBill) -> None:
        """Refunds of what was billed before come back by themselves."""
        for payment in self.books.payments.values():
            settled, refunded = self._left(payment)
            if payment.id in self._taken and payment.store_id == bill.store_id and refunded:
                _add(bill.credits, payment.card.currency, -refunded)
                self._taken[payment.id] = (payment.settled_minor - settled, payment.refunded_minor)

    def _left(self, payment: FakePayment) -> tuple[int, int]:
        settled, refunded = self._taken.get(payment.id, (0, 0))
        return payment.settled_minor - settled, payment.refunded_minor - refunded


def _read(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError:
        raise Refused("bill-unreadable", "It is not JSON in UTF-8.") from None
    if not isinstance(body, dict) or not body.keys() <= {"period", "reference", "lines"}:
        raise Refused("bill-unreadable", "It is no bill.")
    if not isinstance(body.get("lines"), list):
        raise Refused("bill-unreadable", "It has no lines.")
    for name in ("period", "reference"):
        if name not in body:
            raise _wrong(f"/{name}", "Missing data for required field.")
    return body


def _wrong(pointer: str, detail: str) -> Refused:
    return Refused("invalid-request", detail, errors=[{"pointer": pointer, "detail": detail}])


def _is_line(line: Any) -> bool:
    if not isinstance(line, dict) or not isinstance(line.get("payment_id"), str):
        return False
    amount = line.get("amount")
    if not isinstance(amount, dict):
        return False
    minor = amount.get("amount_minor")
    return type(minor) is int and 0 < abs(minor) <= MAX_MINOR and isinstance(amount.get("currency"), str)


def _end_of(month: str) -> datetime:
    year, number = int(month[:4]), int(month[5:])
    return datetime(year + number // 12, number % 12 + 1, 1, tzinfo=timezone.utc)


def _add(sums: Sums, name: str, amount: int) -> None:
    sums[name] = sums.get(name, 0) + amount


def _moneys(sums: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"amount_minor": sums[currency], "currency": currency} for currency in sorted(sums)]


def _shown(bill: FakeBill) -> dict[str, Any]:
    at = None if bill.matched_at is None else bill.matched_at.isoformat()
    is_matched = at is not None
    return {
        "id": bill.id,
        "mode": "test",
        "reference": bill.reference,
        "period": bill.period,
        "as_of": bill.as_of.isoformat(),
        "state": "matched" if is_matched else "received",
        "unreadable_because": None,
        "received_at": bill.received_at.isoformat(),
        "read_at": at,
        "matched_at": at,
        "closed_at": None,
        "lines": bill.good if is_matched else None,
        "wrong_lines": len(bill.lines) - bill.good if is_matched else None,
        "matched_lines": bill.matched_lines if is_matched else None,
        "broken_lines": bill.good - bill.matched_lines if is_matched else None,
    }
