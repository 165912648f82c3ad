"""Every refusal of the service, in the order of the money's path. HTTP statuses stand in `app/web/problems.py`.

A refusal is a no that belongs to the domain. Its docstring is the title that callers see; `detail` says what happened
this time, `facts` carry what is safe to show and useful to a program. Everything else that is raised is a bug.
"""

from collections.abc import Mapping
from datetime import datetime


class Refusal(Exception):
    """The request was refused."""

    slug = "refused"

    def __init__(self, detail: str | None = None, **facts: object) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.facts: Mapping[str, object] = facts

    @property
    def title(self) -> str:
        return (type(self).__doc__ or "").strip().splitlines()[0]


# ── who is calling ──────────────────────────────────────────────────────────────────────────────────────────────────


class InvalidAccessToken(Refusal):
    """The access token is missing, expired or not one of ours."""

    slug = "invalid-access-token"


class InvalidDpopProof(InvalidAccessToken):
    """The DPoP proof is missing, or not one for this request."""

    slug = "invalid-dpop-proof"


class UseDpopNonce(InvalidAccessToken):
    """The DPoP proof needs a nonce of ours: make it again with the one in the header DPoP-Nonce."""

    slug = "use-dpop-nonce"


class InsufficientScope(Refusal):
    """The access token lacks the scope that this call needs."""

    slug = "insufficient-scope"


class TwoSecretsLive(Refusal):
    """The client has two secrets that work: retire the one that is not in use before you ask for another."""

    slug = "two-secrets-live"


class LastSecret(Refusal):
    """This is the only secret that works: ask for another before you retire it."""

    slug = "last-secret"


# ── the shape of a request ──────────────────────────────────────────────────────────────────────────────────────────


class MalformedJson(Refusal):
    """The body is not JSON."""

    slug = "malformed-json"


class IdempotencyKeyMissing(Refusal):
    """The header Idempotency-Key is missing."""

    slug = "idempotency-key-missing"


class IdempotencyKeyInvalid(Refusal):
    """The header Idempotency-Key must be 1 to 255 visible ASCII characters."""

    slug = "idempotency-key-invalid"


class ReferenceReused(Refusal):
    """This Idempotency-Key came before with another request."""

    slug = "reference-reused"


class InvalidRequest(Refusal):
    """The request is not valid."""

    slug = "invalid-request"

    def __init__(self, detail: str, *, pointer: str) -> None:
        """`pointer` is a JSON pointer (RFC 6901) to the field that is wrong."""
        super().__init__(detail, errors=[{"pointer": pointer, "detail": detail}])


class NotFound(Refusal):
    """There is no such thing, or it is not yours."""

    slug = "not-found"


# ── issue ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class CurrencyMismatch(Refusal):
    """The amount is in another currency than the card."""

    slug = "currency-mismatch"


class AmountOutsideProgramme(Refusal):
    """The amount is outside the limits of the programme."""

    slug = "amount-outside-programme"


class IssuingLimitReached(Refusal):
    """The daily limit for issuing is reached."""

    slug = "issuing-limit-reached"

    def __init__(self, limit: str, *, left: str, left_minor: int, left_cards: int, free_at: datetime | None) -> None:
        """`limit`: `client`, or `issuer` for all of its. `free_at`: when this card can be issued, None: never."""
        whose = "This client" if limit == "client" else "The issuer, by all of its clients,"
        cards = "1 card" if left_cards == 1 else f"{left_cards} cards"
        detail = f"{whose} can issue {left} and {cards} more now. The service's operators can raise the limit."
        more = {} if free_at is None else {"free_at": free_at}
        super().__init__(detail, limit=limit, left_minor=left_minor, left_cards=left_cards, **more)


# ── claim ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class LinkNotAccepted(Refusal):
    """This claim link is not valid."""

    slug = "link-not-accepted"


class LinkOpened(Refusal):
    """This claim link has been opened already."""

    slug = "link-opened"


class LinkSuperseded(Refusal):
    """A newer claim link has taken the place of this one."""

    slug = "link-superseded"


class LinkLapsed(Refusal):
    """This claim link has lapsed."""

    slug = "link-lapsed"


# ── reissue ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class CardHeld(Refusal):
    """A store holds this card."""

    slug = "card-held"

    def __init__(self, until: datetime) -> None:
        super().__init__(
            "A store holds this card for an order; its hold ends at the latest at the time in held_until.",
            held_until=until,
        )


class CardClosed(Refusal):
    """This card has nothing left to give: it is spent or lapsed."""

    slug = "card-closed"


# ── exchange ────────────────────────────────────────────────────────────────────────────────────────────────────────


class CodeMistyped(Refusal):
    """The code has a typing mistake: its check character does not fit."""

    slug = "code-mistyped"


class CodeNotAccepted(Refusal):
    """The code is not accepted."""

    slug = "code-not-accepted"


class CheckoutNotFound(Refusal):
    """There is no such payment request, or it was opened in another browser."""

    slug = "checkout-not-found"


class CheckoutOver(Refusal):
    """This payment request is over."""

    slug = "checkout-over"


# ── confirm, settle, void, extend, refund ───────────────────────────────────────────────────────────────────────────


class PaymentClosed(Refusal):
    """The payment is no longer held."""

    slug = "payment-closed"


class PaymentUnconfirmed(Refusal):
    """Only a confirmed payment can be extended."""

    slug = "payment-unconfirmed"


class OrderSuperseded(Refusal):
    """The payment stands for another order."""

    slug = "order-superseded"


class AmountOverHold(Refusal):
    """The amount is more than the payment still holds."""

    slug = "amount-over-hold"


class AmountOverSettled(Refusal):
    """The amount is more than was settled and not yet refunded."""

    slug = "amount-over-settled"


class RefundLimitReached(Refusal):
    """The store's daily limit for refunds by clients with a secret is reached."""

    slug = "refund-limit-reached"


class RefundNotCovered(Refusal):
    """The store is owed less than this refund, and its refund allowance does not cover the rest."""

    slug = "refund-not-covered"


# ── bills and breaks ────────────────────────────────────────────────────────────────────────────────────────────────


class BillUnreadable(Refusal):
    """The bill's file cannot be read."""

    slug = "bill-unreadable"


class BillClosed(Refusal):
    """The bill is not matched yet, or is closed already."""

    slug = "bill-closed"


class BreakClosed(Refusal):
    """The break is closed: reopen it first."""

    slug = "break-closed"


class BreakOpen(Refusal):
    """The break is open as it is."""

    slug = "break-open"


class BreakChanged(Refusal):
    """The break is not as it was when this was proposed."""

    slug = "break-changed"


class SecondPersonNeeded(Refusal):
    """Who proposed this cannot approve it."""

    slug = "second-person-needed"


# ── later, please ───────────────────────────────────────────────────────────────────────────────────────────────────


class TryLater(Refusal):
    """Too many tries; wait before the next."""

    slug = "try-later"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = max(1, retry_after_s)


class CaptchaNeeded(Refusal):
    """A captcha must be solved first."""

    slug = "captcha-needed"


class Busy(Refusal):
    """The service is busy: try again shortly, with the same Idempotency-Key."""

    slug = "busy"

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
