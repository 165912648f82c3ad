"""The store API, and the issuer's reissue, which must look at holds."""

from typing import Any

from flask import Response

from app import errors, metrics
from app.guard.request_limits import give_back_client
from app.ids import CardId, PaymentId
from app.issuance.schemas import IssuedOut, ReissueIn
from app.oauth.bearer import caller, requires
from app.redemption import schemas
from app.redemption.confirm import confirm_payment
from app.redemption.exchange import exchange_code, exchange_code_token
from app.redemption.extend import extend_payment
from app.redemption.payment import read_payment
from app.redemption.refund import refund_payment
from app.redemption.reissue import reissue_card
from app.redemption.rules import Asker
from app.redemption.settle import settle_payment
from app.redemption.void import void_payment
from app.web.api import ApiBlueprint
from app.web.idempotency import answer_once, reference_of

blueprint = ApiBlueprint("Store API", __name__, url_prefix="/v1", description="Payments by card")

_payment, _settlement, _refund = schemas.PaymentOut(), schemas.SettlementOut(), schemas.RefundOut()
_issued = IssuedOut()


@blueprint.operation(
    "POST",
    "/payments",
    requires("exchange"),
    body=schemas.ExchangeIn,
    answer=schemas.PaymentOut,
    status=201,
    also={200: "The payment was open already"},
    refuses=(errors.CodeMistyped, errors.CodeNotAccepted, errors.CurrencyMismatch, errors.TryLater),
)
def post_payment(body: dict[str, Any]) -> Response:
    """Exchange a code for a payment

    Or in place of the code a code token, by which the store never sees it.
    """
    who = caller()
    shopper = body["shopper"] or {}
    terms: dict[str, Any] = {
        "asker": Asker(
            who.store_id, who.mode, shopper.get("key_hash"), body["order_reference"], shopper.get("address_prefix")
        ),
        "reference": reference_of(who.party_id, "exchange_code"),
        "amount": body["amount"],
        "hold_ttl_s": body["hold_ttl_s"],
    }
    if "code_token" in body:
        exchanged = exchange_code_token(body["code_token"], **terms)
    else:
        try:
            with metrics.counted_try("api"):
                exchanged = exchange_code(body["code"], **terms)
        except errors.TryLater:
            give_back_client(who.client_id)
            raise
    return answer_once(exchanged, _payment.dump(exchanged.payment), 201 if exchanged.opened else 200)


@blueprint.operation(
    "GET", "/payments/<id(pay):payment_id>", requires("exchange", "settle", "refund", "bill"), answer=schemas.PaymentOut
)
def get_payment(payment_id: PaymentId) -> Any:
    """Read a payment"""
    return read_payment(payment_id, store_id=caller().store_id)


@blueprint.operation(
    "POST",
    "/payments/<id(pay):payment_id>/confirm",
    requires("settle"),
    body=schemas.ConfirmIn,
    answer=schemas.PaymentOut,
    refuses=(errors.PaymentClosed, errors.OrderSuperseded, errors.CurrencyMismatch, errors.AmountOverHold),
)
def post_confirm(body: dict[str, Any], payment_id: PaymentId) -> Response:
    """Confirm a payment for an order

    An order stands on it: the hold lasts longer, and the order reference is fixed.
    """
    store_id = caller().store_id
    reference = reference_of(store_id, "confirm_payment", payment_id)
    payment = confirm_payment(payment_id, store_id=store_id, reference=reference, **body)
    return answer_once(payment, _payment.dump(payment), 200)


@blueprint.operation(
    "POST",
    "/payments/<id(pay):payment_id>/settlements",
    requires("settle"),
    body=schemas.SettleIn,
    answer=schemas.SettlementOut,
    status=201,
    refuses=(errors.PaymentClosed, errors.OrderSuperseded, errors.CurrencyMismatch, errors.AmountOverHold),
)
def post_settlement(body: dict[str, Any], payment_id: PaymentId) -> Response:
    """Settle a payment

    Takes the amount for good. A final settle releases the rest, which goes back to the holder by a new link.
    """
    store_id = caller().store_id
    reference = reference_of(store_id, "settle_payment", payment_id)
    settlement = settle_payment(payment_id, store_id=store_id, reference=reference, **body)
    return answer_once(settlement, _settlement.dump(settlement), 201)


@blueprint.operation(
    "POST",
    "/payments/<id(pay):payment_id>/void",
    requires("settle"),
    body=schemas.VoidIn,
    answer=schemas.PaymentOut,
    refuses=(errors.PaymentClosed,),
)
def post_void(body: dict[str, Any], payment_id: PaymentId) -> Response:
    """Void a payment"""
    store_id = caller().store_id
    reference = reference_of(store_id, "void_payment", payment_id)
    payment = void_payment(payment_id, store_id=store_id, reference=reference)
    return answer_once(payment, _payment.dump(payment), 200)


@blueprint.operation(
    "POST",
    "/payments/<id(pay):payment_id>/extend",
    requires("settle"),
    body=schemas.ExtendIn,
    answer=schemas.PaymentOut,
    refuses=(errors.PaymentClosed, errors.PaymentUnconfirmed),
)
def post_extend(body: dict[str, Any], payment_id: PaymentId) -> Response:
    """Extend a confirmed payment"""
    store_id = caller().store_id
    reference = reference_of(store_id, "extend_payment", payment_id)
    payment = extend_payment(payment_id, store_id=store_id, reference=reference, **body)
    return answer_once(payment, _payment.dump(payment), 200)


@blueprint.operation(
    "POST",
    "/payments/<id(pay):payment_id>/refunds",
    requires("refund"),
    body=schemas.RefundIn,
    answer=schemas.RefundOut,
    status=201,
    refuses=(errors.CurrencyMismatch, errors.AmountOverSettled, errors.RefundLimitReached, errors.RefundNotCovered),
)
def post_refund(body: dict[str, Any], payment_id: PaymentId) -> Response:
    """Refund a settled payment"""
    who = caller()
    reference = reference_of(who.store_id, "refund_payment", payment_id)
    refund = refund_payment(
        payment_id, store_id=who.store_id, reference=reference, is_limited=who.tier == "basic", **body
    )
    return answer_once(refund, _refund.dump(refund), 201)


@blueprint.operation(
    "POST",
    "/cards/<id(card):card_id>/reissue",
    requires("issue"),
    body=ReissueIn,
    answer=IssuedOut,
    refuses=(errors.CardHeld, errors.CardClosed),
    tag="Issuer API",
)
def post_card_reissue(body: dict[str, Any], card_id: CardId) -> Response:
    """Reissue a card

    Kills the unused link or code and sends a new link. Refused while a store holds the card.
    """
    issuer_id = caller().issuer_id
    reference = reference_of(issuer_id, "reissue_card", card_id)
    card = reissue_card(card_id, issuer_id=issuer_id, deliver=body["deliver"], reference=reference)
    return answer_once(card, _issued.dump(card), 200)
