"""Every no that a store can hear from the service: slug, status and title, as the service's documentation has them."""

from __future__ import annotations

from collections.abc import Mapping

#: By slug the status and the title (docs/problems.md). A test keeps it equal to the service's.
REFUSALS: Mapping[str, tuple[int, str]] = {
    "invalid-access-token": (401, "The access token is missing, expired or not one of ours."),
    "invalid-dpop-proof": (401, "The DPoP proof is missing, or not one for this request."),
    "use-dpop-nonce": (
        401,
        "The DPoP proof needs a nonce of ours: make it again with the one in the header DPoP-Nonce.",
    ),
    "insufficient-scope": (403, "The access token lacks the scope that this call needs."),
    "malformed-json": (400, "The body is not JSON."),
    "idempotency-key-missing": (400, "The header Idempotency-Key is missing."),
    "idempotency-key-invalid": (400, "The header Idempotency-Key must be 1 to 255 visible ASCII characters."),
    "reference-reused": (422, "This Idempotency-Key came before with another request."),
    "invalid-request": (422, "The request is not valid."),
    "not-found": (404, "There is no such thing, or it is not yours."),
    "currency-mismatch": (422, "The amount is in another currency than the card."),
    "code-mistyped": (422, "The code has a typing mistake: its check character does not fit."),
    "code-not-accepted": (422, "The code is not accepted."),
    "payment-closed": (409, "The payment is no longer held."),
    "payment-unconfirmed": (409, "Only a confirmed payment can be extended."),
    "order-superseded": (409, "The payment stands for another order."),
    "amount-over-hold": (422, "The amount is more than the payment still holds."),
    "amount-over-settled": (422, "The amount is more than was settled and not yet refunded."),
    "refund-limit-reached": (422, "The store's daily limit for refunds by clients with a secret is reached."),
    "refund-not-covered": (
        422,
        "The store is owed less than this refund, and its refund allowance does not cover the rest.",
    ),
    "try-later": (429, "Too many tries; wait before the next."),
    "busy": (503, "The service is busy: try again shortly, with the same Idempotency-Key."),
    # What follows comes from HTTP itself; the first one's slug is not-found too.
    "nothing-here": (404, "Not Found"),
    "bad-request": (400, "Bad Request"),
    "method-not-allowed": (405, "Method Not Allowed"),
    "too-large": (413, "Request Entity Too Large"),
    "unsupported-media-type": (415, "Unsupported Media Type"),
    "internal-error": (500, "Something is wrong on our side"),
}


NOTHING_HERE = (
    "The requested URL was not found on the server. If you entered the URL manually please check your spelling and try "
    "again."
)


class Refused(Exception):
    """A no of the service: a problem (RFC 9457) once it is an answer. `facts` are its further members."""

    def __init__(
        self, slug: str, detail: str | None = None, *, retry_after_s: int | None = None, **facts: object
    ) -> None:
        self.slug = "not-found" if slug == "nothing-here" else slug
        self.status, self.title = REFUSALS[slug]
        self.detail = detail or self.title
        self.retry_after_s = retry_after_s
        self.facts = facts
        super().__init__(slug)
