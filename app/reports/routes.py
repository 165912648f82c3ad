"""The API of statements, for issuers."""

from typing import Any

from app.oauth.bearer import caller, requires
from app.reports import schemas
from app.reports.issuer_statement import list_billed_lines, read_issuer_statement
from app.web.api import ApiBlueprint
from app.web.paging import page_of

blueprint = ApiBlueprint("Statements", __name__, url_prefix="/v1", description="What an issuer's cards are worth")


@blueprint.operation(
    "GET",
    "/statements",
    requires("statement"),
    query=schemas.StatementQuery,
    answer=schemas.StatementOut,
)
def get_statement(query: dict[str, Any]) -> dict[str, Any]:
    """Read the statement of a month"""
    who = caller()
    found = read_issuer_statement(schemas.month_of(query), issuer_id=who.issuer_id, mode=who.mode)
    return schemas.statement_shown(found)


@blueprint.operation(
    "GET",
    "/statements/lines",
    requires("statement"),
    query=schemas.LineQuery,
    answer=schemas.BilledLinePage,
)
def get_statement_lines(query: dict[str, Any]) -> dict[str, Any]:
    """List what stores have billed of a month"""
    who, month = caller(), schemas.month_of(query)
    found = page_of(
        lambda after, limit: list_billed_lines(month, issuer_id=who.issuer_id, mode=who.mode, after=after, limit=limit),
        {"after": query["after"], "limit": query["limit"]},
    )
    return {**found, "items": [schemas.billed_line_shown(each) for each in found["items"]]}
