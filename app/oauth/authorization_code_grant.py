"""The authorization code grant at the token endpoint: a holder's approval becomes an access token for one payment."""

from typing import Any

from authlib.oauth2.rfc6749 import BaseGrant, InvalidGrantError, InvalidScopeError, TokenEndpointMixin

from app.oauth.access_token import make_access_token, read_claims
from app.oauth.authorization_code import find_grant, redeem_code
from app.oauth.authorization_details import answered_details
from app.oauth.scopes import granted_scopes, ttl_s
from app.oauth.sender import confirmation_for, token_type

CODE_GRANT_TYPE = "authorization_code"

#: Status, body and headers, as Authlib's server answers with them.
Answer = tuple[int, dict[str, Any], list[tuple[str, str]]]


class CodeGrant(BaseGrant, TokenEndpointMixin):  # type: ignore[misc]
    """In place of Authlib's own, which reads a code and deletes it later: two that come at once get a token each."""

    GRANT_TYPE = CODE_GRANT_TYPE

    def validate_token_request(self) -> None:
        """Who asks. Raises InvalidRequestError, ClientRefused, Busy."""
        self.request.client = self.authenticate_token_endpoint_client()

    def create_token_response(self) -> Answer:
        """An access token for the payment alone, with what was asked for and what came of it (RFC 9396, section 7).

        It is signed first: the code must not be burnt for an answer that cannot be given. Raises InvalidRequestError,
        InvalidGrantError, InvalidScopeError, InvalidDpopProof, Busy.
        """
        client, proof, parameters = self.request.client.client, self.request.client.proof, self.request.form
        grant = find_grant(parameters, client_id=client.client_id)
        scopes = granted_scopes(grant.scope, held=client.scopes)
        if scopes is None:
            raise InvalidScopeError("The client no longer holds all of the scopes that it asked for.")
        if grant.dpop_jkt not in (None, proof and proof.thumbprint):
            raise InvalidGrantError("The authorization code is bound to a key that the request does not prove to hold.")
        lifetime_s, confirmation = ttl_s(scopes, named=grant.scope is not None), confirmation_for(client, proof)
        access_token = make_access_token(
            client, scopes, lifetime_s=lifetime_s, confirmation=confirmation, payment_id=grant.payment_id
        )
        if not redeem_code(parameters["code"], grant, read_claims(access_token)):
            find_grant(parameters, client_id=client.client_id)  # somebody else had it: what he got is revoked
            raise InvalidGrantError("The authorization code was redeemed in this very moment.")
        body = {
            "access_token": access_token,
            "token_type": token_type(confirmation),
            "expires_in": lifetime_s,
            "scope": " ".join(scopes),
            "authorization_details": answered_details(grant.wanted, grant.payment_id, grant.approved),
        }
        return 200, body, self.TOKEN_RESPONSE_HEADER
