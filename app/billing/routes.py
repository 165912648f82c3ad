"""The API of bills, for the store that sends them."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from flask import Response, jsonify, request, send_file
from werkzeug.exceptions import UnsupportedMediaType

from app import errors
from app.billing import schemas
from app.billing.bill import file_of, find_bill, list_bills, list_lines, list_wrong_lines, sums_of
from app.billing.files import CSV, JSON
from app.billing.receive import receive_bill
from app.billing.reject import reject_bill
from app.oauth.bearer import caller, requires
from app.web.api import FILE, ApiBlueprint, FileBody
from app.web.arguments import body_file
from app.web.idempotency import answer_once, key_given
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
    """Read a bill's file as it arrived"""
    find_bill(bill_id, store_id=caller().store_id)
    file = tempfile.TemporaryFile()  # noqa: SIM115 – the server closes it; so who reads slowly keeps no memory
    for part in file_of(bill_id):
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
    key_given()
    who = caller()
    return jsonify(_bill.dump(reject_bill(bill_id, store_id=who.store_id, by=who.client_id)))


def _moneys(sums: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"amount_minor": sums[currency], "currency": currency} for currency in sorted(sums)]
