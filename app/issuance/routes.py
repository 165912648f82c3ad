"""The issuer API."""

from typing import Any

from flask import Response

from app import errors
from app.ids import CardId, ProgrammeId
from app.issuance import schemas
from app.issuance.address import correct_address
from app.issuance.card import list_cards, read_card, read_card_events
from app.issuance.issue import issue_card
from app.issuance.programme import create_programme, list_programmes, read_programme
from app.oauth.bearer import caller, requires
from app.web.api import ApiBlueprint
from app.web.arguments import PageSchema
from app.web.idempotency import answer_once, reference_of
from app.web.paging import page_of

blueprint = ApiBlueprint("Issuer API", __name__, url_prefix="/v1", description="Programmes and cards")

_programme, _issued, _card = schemas.ProgrammeOut(), schemas.IssuedOut(), schemas.CardOut()


@blueprint.operation(
    "POST", "/programmes", requires("issue"), body=schemas.ProgrammeIn, answer=schemas.ProgrammeOut, status=201
)
def post_programme(body: dict[str, Any]) -> Response:
    """Create a programme"""
    who = caller()
    reference = reference_of(who.party_id, "create_programme")
    programme = create_programme(schemas.terms_of(body), issuer_id=who.issuer_id, mode=who.mode, reference=reference)
    return answer_once(programme, _programme.dump(programme), 201)


@blueprint.operation("GET", "/programmes", requires("issue"), query=PageSchema, answer=schemas.ProgrammePage)
def get_programmes(page: dict[str, Any]) -> dict[str, Any]:
    """List programmes"""
    return page_of(lambda **where: list_programmes(issuer_id=caller().issuer_id, **where), page)


@blueprint.operation("GET", "/programmes/<id(prg):programme_id>", requires("issue"), answer=schemas.ProgrammeOut)
def get_programme(programme_id: ProgrammeId) -> Any:
    """Read a programme"""
    return read_programme(programme_id, issuer_id=caller().issuer_id)


@blueprint.operation(
    "POST",
    "/cards",
    requires("issue"),
    body=schemas.CardIn,
    answer=schemas.IssuedOut,
    status=201,
    refuses=(errors.NotFound, errors.CurrencyMismatch, errors.AmountOutsideProgramme, errors.IssuingLimitReached),
)
def post_card(body: dict[str, Any]) -> Response:
    """Issue a card"""
    who = caller()
    card = issue_card(
        body["programme"],
        body["amount"],
        issuer_id=who.issuer_id,
        client_id=who.client_id,
        holder=schemas.holder_of(body),
        deliver=body["deliver"],
        reference=reference_of(who.party_id, "issue_card"),
        order_reference=body["order_reference"],
        not_before=body["not_before"],
        metadata=body["metadata"],
    )
    return answer_once(card, _issued.dump(card), 201)


@blueprint.operation("GET", "/cards", requires("issue"), query=schemas.CardQuery, answer=schemas.CardPage)
def get_cards(query: dict[str, Any]) -> dict[str, Any]:
    """List cards"""
    return page_of(lambda **where: list_cards(issuer_id=caller().issuer_id, **where), query)


@blueprint.operation("GET", "/cards/<id(card):card_id>", requires("issue"), answer=schemas.CardOut)
def get_card(card_id: CardId) -> Any:
    """Read a card"""
    return read_card(card_id, issuer_id=caller().issuer_id)


@blueprint.operation(
    "GET", "/cards/<id(card):card_id>/events", requires("issue"), query=PageSchema, answer=schemas.EventPage
)
def get_card_events(page: dict[str, Any], card_id: CardId) -> dict[str, Any]:
    """Read a card's history"""
    return page_of(lambda **where: read_card_events(card_id, issuer_id=caller().issuer_id, **where), page)


@blueprint.operation(
    "POST",
    "/cards/<id(card):card_id>/holder",
    requires("issue"),
    body=schemas.AddressIn,
    answer=schemas.CardOut,
    refuses=(errors.CardClosed, errors.LinkOpened),
)
def post_card_holder(body: dict[str, Any], card_id: CardId) -> Response:
    """Correct the holder's address

    Before the claim link is opened: kills it and mails a new one.
    """
    who = caller()
    reference = reference_of(who.party_id, "correct_address", card_id)
    card = correct_address(card_id, body["email"], issuer_id=who.issuer_id, reference=reference)
    return answer_once(card, _card.dump(card), 200)
