"""Authorization codes (RFC 6749, section 4.1): drawn when a holder approves, good once, within a minute, with PKCE."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError
from sqlalchemy import select, update

from app import clock
from app.db.together import together
from app.db.transaction import transaction
from app.events.event import event_of
from app.ids import CardId, PaymentId
from app.money import Money
from app.oauth.authorization_details import GiftcardPayment
from app.oauth.authorization_request import wanted_of
from app.oauth.models import AuthorizationRequest as RequestRow
from app.oauth.refused import revoke_token
from app.secrecy import fingerprint, same, to_text

#: RFC 7636, section 4.1.
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(frozen=True, slots=True)
class Grant:
    """What an authorization code stands for, before anybody has redeemed it."""

    request_id: str
    scope: str | None
    wanted: GiftcardPayment
    card_id: CardId
    payment_id: PaymentId
    approved: Money
    dpop_jkt: str | None


def find_grant(parameters: Mapping[str, str], *, client_id: str) -> Grant:
    """What this client may have for this authorization code; reading it burns nothing.

    Presented by another client, or with a wrong verifier or `redirect_uri`, a code stays good for the one that it was
    made for: it is the holder's approval, and whoever has stolen or injected a code should not be able to undo that.
    Nothing is won by trying again, for a verifier is as unguessable as the code, and both are over within a minute.

    A code that was redeemed before is refused, and the access token of the first redemption revoked (section 4.1.2).
    Raises InvalidRequestError, InvalidGrantError, Busy.
    """
    code, verifier = parameters.get("code"), parameters.get("code_verifier", "")
    if code is None or not _VERIFIER.fullmatch(verifier):
        raise InvalidRequestError("The parameters code and code_verifier are needed: PKCE is required.")
    challenge = to_text(hashlib.sha256(verifier.encode()).digest())
    with transaction() as db:
        mine = (RequestRow.code_hash == fingerprint(code), RequestRow.client_id == client_id)
        row = db.execute(select(*_COLUMNS).where(*mine)).first()
        if (
            row is None
            or not same(row.code_challenge.encode(), challenge.encode())
            or parameters.get("redirect_uri") != row.redirect_uri
        ):
            raise InvalidGrantError(_NOT_GOOD)
        now = clock.now(db)
        if row.state == "redeemed":
            # Two have the code: who of them is the store, nobody can say.
            revoke_token(db, row.token_jti, client_id=client_id, expires_at=row.token_expires_at, at=now)
        is_good = row.state == "approved" and now < row.code_expires_at
    if not is_good:
        raise InvalidGrantError(_NOT_GOOD)
    approved = Money(row.approved_minor, row.currency)
    return Grant(row.id, row.scope, wanted_of(row), row.card_id, row.payment_id, approved, row.dpop_jkt)


def redeem_code(code: str, grant: Grant, token: Mapping[str, Any]) -> bool:
    """Burns the code for the access token with these claims; of all that come at once True for one alone.

    The row decides, and the release of the hold asks the same row: either the code is redeemed or the hold is
    released, never both. Raises Busy.
    """
    with transaction() as db:
        now = clock.now(db)
        good = (
            RequestRow.id == grant.request_id,
            RequestRow.code_hash == fingerprint(code),
            RequestRow.state == "approved",
            RequestRow.code_expires_at > now,
        )
        expires_at = datetime.fromtimestamp(token["exp"], UTC)
        burnt = {"state": "redeemed", "ended_at": now, "token_jti": token["jti"], "token_expires_at": expires_at}
        if db.execute(update(RequestRow).where(*good).values(burnt).returning(RequestRow.id)).first() is None:
            return False
        facts = {"request_id": grant.request_id, "jti": token["jti"], "approved_minor": grant.approved.amount_minor}
        together(
            db,
            event_of("authorization_redeemed", at=now, card_id=grant.card_id, payment_id=grant.payment_id, facts=facts),
        )
        return True


_COLUMNS = (
    RequestRow.id,
    RequestRow.state,
    RequestRow.scope,
    RequestRow.redirect_uri,
    RequestRow.code_challenge,
    RequestRow.dpop_jkt,
    RequestRow.code_expires_at,
    RequestRow.amount_minor,
    RequestRow.currency,
    RequestRow.order_reference,
    RequestRow.shopper_key,
    RequestRow.card_id,
    RequestRow.payment_id,
    RequestRow.approved_minor,
    RequestRow.token_jti,
    RequestRow.token_expires_at,
)
#: One answer for every reason.
_NOT_GOOD = "The authorization code is not good, or not with this redirect_uri and code_verifier."
