"""The API of bills, for the store that sends them."""

from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from itertools import chain
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from flask import Response, request, send_file
from werkzeug.exceptions import UnsupportedMediaType

from app import errors
from app.billing import schemas
from app.billing.bill import file_of, find_bill, list_bills, list_lines, list_wrong_lines, sums_of
from app.billing.files import CSV, JSON
from app.billing.receive import receive_bill
from app.billing.reject import reject_bill
from app.billing.remittance import advice_csv, list_remittances, read_advice
from app.billing.unbilled import list_unbilled
from app.oauth.bearer import caller, requires
from app.web.api import FILE, ApiBlueprint, FileBody
from app.web.arguments import PageSchema, body_file
from app.web.idempotency import answer_once, key_given, reference_of
from app.web.paging import page_of

#: A million lines of CSV have some 70 MB, of JSON some 130.
MOST_BYTES = 128 * 1024 * 1024

blueprint = ApiBlueprint("Bills", __name__, url_prefix="/v1", description="What stores are owed, line by line")

_bill = schemas.BillOut()


@blueprint.operation(
    "POST",
    "/bills",
    requires("bill"),
    file=FileBody(MOST_BYTES, {JSON: schemas.BillIn, CSV: {"type": "string"}}),
    query=schemas.BillTerms,
    answer=schemas.BillOut,
    status=202,
    refuses=(errors.BillUnreadable,),
)
def post_bill(query: dict[str, Any]) -> Response:
    """Send a bill

    It is one bill for its store and reference, however often it comes; then it is read and matched.
    """
    who = caller()
    key_given()
    if request.mimetype not in (JSON, CSV):
        raise UnsupportedMediaType(f"Send {JSON} or {CSV}.")
    if request.mimetype == JSON:
        query["currency"] = None
    with body_file(most_bytes=MOST_BYTES) as file:
        received = receive_bill(
            file, store_id=who.store_id, kind=request.mimetype, source="api", by=who.client_id, **query
        )
    return answer_once(received, _bill.dump(received.bill), 202)


@blueprint.operation("GET", "/bills", requires("bill"), query=schemas.BillQuery, answer=schemas.BillPage)
def get_bills(query: dict[str, Any]) -> dict[str, Any]:
    """List bills"""
    return page_of(lambda **where: list_bills(store_id=caller().store_id, **where), query)


@blueprint.operation(
    "GET", "/bills/unbilled", requires("bill"), query=schemas.UnbilledQuery, answer=schemas.UnbilledPage
)
def get_unbilled(query: dict[str, Any]) -> dict[str, Any]:
    """List what no bill has taken up

    Payments of which something was settled or refunded before the period's end that is in no bill yet.
    """
    return page_of(lambda **where: list_unbilled(store_id=caller().store_id, **where), query)


@blueprint.operation("GET", "/bills/<id(bill):bill_id>", requires("bill"), answer=schemas.BillSummed)
def get_bill(bill_id: str) -> Any:
    """Read a bill"""
    bill, sums = find_bill(bill_id, store_id=caller().store_id), sums_of(bill_id)
    named = {name: _moneys(getattr(sums, name)) for name in ("billed", "matched", "credits")}
    return {**asdict(bill), **named, "breaks": sums.breaks}


@blueprint.operation(
    "GET",
    "/bills/<id(bill):bill_id>/lines",
    requires("bill"),
    query=schemas.OutcomeQuery,
    answer=schemas.BillLinePage,
)
def get_bill_lines(query: dict[str, Any], bill_id: str) -> dict[str, Any]:
    """List a bill's lines, and what became of each"""
    return page_of(lambda **where: list_lines(bill_id, store_id=caller().store_id, **where), query)


@blueprint.operation(
    "GET",
    "/bills/<id(bill):bill_id>/wrong-lines",
    requires("bill"),
    query=schemas.LinesQuery,
    answer=schemas.WrongLinePage,
)
def get_bill_wrong_lines(query: dict[str, Any], bill_id: str) -> dict[str, Any]:
    """List the lines of a bill that could not be read"""
    return page_of(lambda **where: list_wrong_lines(bill_id, store_id=caller().store_id, **where), query)


@blueprint.operation("GET", "/bills/<id(bill):bill_id>/file", requires("bill"), answer=FILE)
def get_bill_file(bill_id: str) -> Response:
    """Read a bill's file as it arrived

    A large one lies in a file meanwhile, so that whoever reads slowly keeps no memory.
    """
    find_bill(bill_id, store_id=caller().store_id)
    parts = file_of(bill_id)
    file: BinaryIO = BytesIO(next(parts, b""))
    if (second := next(parts, None)) is not None:
        first, file = file.read(), TemporaryFile()  # noqa: SIM115 – the server closes it
        for part in chain((first, second), parts):
            file.write(part)
        file.seek(0)
    return send_file(file, mimetype="application/octet-stream", as_attachment=True, download_name=bill_id)


@blueprint.operation(
    "POST",
    "/bills/<id(bill):bill_id>/reject",
    requires("bill"),
    body=schemas.RejectIn,
    answer=schemas.BillOut,
    refuses=(errors.BillClosed,),
)
def post_bill_reject(body: dict[str, Any], bill_id: str) -> Response:
    """Withdraw a bill

    It must be matched, and not approved yet. What it took up another bill may take up.
    """
    who = caller()
    reference = reference_of(who.party_id, "reject_bill", bill_id)
    rejected = reject_bill(bill_id, store_id=who.store_id, by=who.client_id, reference=reference)
    return answer_once(rejected, _bill.dump(rejected.bill), 200)


@blueprint.operation(
    "GET", "/remittances", requires("bill"), query=PageSchema, answer=schemas.RemittancePage, tag="Remittances"
)
def get_remittances(query: dict[str, Any]) -> dict[str, Any]:
    """List what was sent to the store's bank"""
    return page_of(lambda **where: list_remittances(store_id=caller().store_id, **where), query)


@blueprint.operation(
    "GET", "/remittances/<id(out):payout_id>", requires("bill"), answer=schemas.AdviceOut, tag="Remittances"
)
def get_remittance(payout_id: str) -> Any:
    """Read a remittance advice"""
    return schemas.advised(read_advice(payout_id, store_id=caller().store_id))


@blueprint.operation("GET", "/remittances/<id(out):payout_id>/file", requires("bill"), answer=FILE, tag="Remittances")
def get_remittance_file(payout_id: str) -> Response:
    """Read a remittance advice as CSV"""
    file = BytesIO(advice_csv(read_advice(payout_id, store_id=caller().store_id)))
    return send_file(file, mimetype="text/csv", as_attachment=True, download_name=f"{payout_id}.csv")


def _moneys(sums: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"amount_minor": sums[currency], "currency": currency} for currency in sorted(sums)]
