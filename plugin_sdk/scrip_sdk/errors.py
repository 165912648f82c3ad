"""What can go wrong, as a shop can act on it: one class for every refusal of the service, and for its absence.

Nothing that the service, or whoever answers in its place, has written goes into an error's text but its slug and its
request ID, and these only where they have their shape: no error can show a code, a secret, a token or a body.
"""

from typing import Any, ClassVar


class ScripError(Exception):
    """The call did not do what was asked.

    `slug`: what happened, to program by (docs/problems.md). `status`: HTTP's, None when there was no answer.
    `request_id`: by which the service's operators find it in their logs. `detail`: a sentence for the store's people.
    `payment_id`: of which of an order's cards it is said, and `given_back`: those that were given back for it, where
    `scrip_sdk.django.payments.confirm` raises it.
    """

    #: What `slug` and `detail` are when nobody says otherwise.
    usual_slug: ClassVar[str] = "refused"
    sentence: ClassVar[str] = "The call did not do what was asked."
    #: Whether the very same request, with the same Idempotency-Key, may succeed later.
    worth_repeating: ClassVar[bool] = False
    payment_id: str | None = None
    given_back: tuple[str, ...] = ()

    def __init__(
        self,
        slug: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        detail: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(slug, status, request_id, detail)
        self.slug = slug or self.usual_slug
        self.status = status
        self.request_id = request_id
        self.detail = detail or self.sentence
        self.__dict__.update(more)

    def __str__(self) -> str:
        facts = [self.slug, *(str(each) for each in (self.status, self.request_id) if each is not None)]
        return f"{self.detail} ({', '.join(facts)})"


class CodeMistyped(ScripError):
    """The code has a typing mistake; found without asking the service. Let the shopper look again."""

    usual_slug = "code-mistyped"
    sentence = "The code has a typing mistake."


class CodeRefused(ScripError):
    """The card cannot be used here; why is told to nobody. `message` is for the shopper."""

    usual_slug = "code-not-accepted"
    sentence = "The code is not accepted."
    message: ClassVar[str] = "This gift card code is not accepted. Please check it, or pay in another way."


class TryLater(ScripError):
    """Too many tries, or too many requests: nothing was done. Wait for `retry_after_s` seconds before the next."""

    usual_slug = "try-later"
    sentence = "Too many tries; wait before the next."
    worth_repeating = True
    retry_after_s: int = 1


class ServiceUnavailable(ScripError):
    """No answer, or none that can be understood; whether anything was done is not known. Sell by other means.

    Ask again with the same Idempotency-Key and you learn it. `retry_after_s`: what the service asked for, or None.
    """

    usual_slug = "no-answer"
    sentence = "The gift card service cannot be reached now."
    worth_repeating = True
    retry_after_s: int | None = None


class AmountTooHigh(ScripError):
    """More than the payment holds, or than was settled, or than may be refunded today.

    `left_minor`: how much would do, in minor units, or None.
    """

    usual_slug = "amount-over-hold"
    sentence = "The amount is higher than the payment allows."
    left_minor: int | None = None


class PaymentClosed(ScripError):
    """The payment is not there for this order any more. `state`: how it ended (None: it stands for another order)."""

    usual_slug = "payment-closed"
    sentence = "The payment is no longer held for this order."
    state: str | None = None


class NotAllowed(ScripError):
    """The store's credentials or scopes are not good for this. It is repeated, for once they are mended it succeeds."""

    usual_slug = "invalid-access-token"
    sentence = "The gift card service does not accept this store's credentials, or not for this call."
    worth_repeating = True


class RequestRejected(ScripError):
    """The request itself is wrong, and stays so: a bug of the caller's. `fields`: those that are wrong, where known."""

    usual_slug = "invalid-request"
    sentence = "The gift card service rejects the request as wrong."
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{super().__str__()}{' at ' if self.fields else ''}{' '.join(self.fields)}"


#: Every slug of the service. A test compares the list with `app/errors.py` and `app/web/problems.py`.
BY_SLUG: dict[str, type[ScripError]] = {
    "invalid-access-token": NotAllowed,
    "invalid-dpop-proof": NotAllowed,
    "use-dpop-nonce": NotAllowed,
    "insufficient-scope": NotAllowed,
    "two-secrets-live": RequestRejected,
    "last-secret": RequestRejected,
    "malformed-json": RequestRejected,
    "idempotency-key-missing": RequestRejected,
    "idempotency-key-invalid": RequestRejected,
    "reference-reused": RequestRejected,
    "invalid-request": RequestRejected,
    "not-found": RequestRejected,
    "currency-mismatch": RequestRejected,  # but of a shopper's card at the exchange: see OF_A_CARD
    "amount-outside-programme": RequestRejected,
    "issuing-limit-reached": RequestRejected,
    "link-not-accepted": RequestRejected,
    "link-opened": RequestRejected,
    "link-superseded": RequestRejected,
    "link-lapsed": RequestRejected,
    "card-held": RequestRejected,
    "card-closed": RequestRejected,
    "code-mistyped": CodeMistyped,
    "code-not-accepted": CodeRefused,
    "checkout-not-found": PaymentClosed,
    "checkout-over": PaymentClosed,
    "payment-closed": PaymentClosed,
    "payment-unconfirmed": RequestRejected,
    "order-superseded": PaymentClosed,
    "amount-over-hold": AmountTooHigh,
    "amount-over-settled": AmountTooHigh,
    "refund-limit-reached": AmountTooHigh,
    "refund-not-covered": AmountTooHigh,
    "bill-unreadable": RequestRejected,
    "bill-closed": RequestRejected,
    "break-closed": RequestRejected,
    "break-open": RequestRejected,
    "break-changed": RequestRejected,
    "second-person-needed": RequestRejected,
    "try-later": TryLater,
    "captcha-needed": NotAllowed,
    "busy": ServiceUnavailable,
}

#: Those of HTTP itself.
BY_HTTP_SLUG: dict[str, type[ScripError]] = {
    "bad-request": RequestRejected,
    "not-found": RequestRejected,
    "method-not-allowed": RequestRejected,
    "not-acceptable": RequestRejected,
    "request-timeout": ServiceUnavailable,
    "too-large": RequestRejected,
    "unsupported-media-type": RequestRejected,
    "internal-error": ServiceUnavailable,
}

#: What OAuth's endpoints answer (RFC 6749, 5.2; RFC 9126; RFC 9396; RFC 9449; RFC 7009), for a store's own calls.
BY_OAUTH_ERROR: dict[str, type[ScripError]] = {
    "invalid_client": NotAllowed,
    "unauthorized_client": NotAllowed,
    "invalid_scope": NotAllowed,
    "invalid_dpop_proof": NotAllowed,
    "use_dpop_nonce": NotAllowed,
    "access_denied": CodeRefused,
    "invalid_grant": PaymentClosed,
    "invalid_request": RequestRejected,
    "invalid_authorization_details": RequestRejected,
    "unsupported_grant_type": RequestRejected,
    "unsupported_response_type": RequestRejected,
    "unsupported_token_type": RequestRejected,
    "temporarily_unavailable": ServiceUnavailable,
    "server_error": ServiceUnavailable,
}

#: At the exchange these are about a shopper's card, not about the store's request.
OF_A_CARD: dict[str, type[ScripError]] = {"currency-mismatch": CodeRefused}

_BY_STATUS: dict[int, type[ScripError]] = {
    401: NotAllowed,
    403: NotAllowed,
    408: ServiceUnavailable,
    425: ServiceUnavailable,
    429: TryLater,
}
_KNOWN = {**BY_HTTP_SLUG, **BY_SLUG, **BY_OAUTH_ERROR}


def class_of(slug: str | None, status: int) -> type[ScripError]:
    """The error of a refusal: by its slug, or for one that is not known yet by its status."""
    if slug in _KNOWN:
        return _KNOWN[slug]
    if not 400 <= status < 500:
        return ServiceUnavailable
    return _BY_STATUS.get(status, RequestRejected)
