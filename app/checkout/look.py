"""Look: the page is opened, once by one browser, and shown to it as often as it likes."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from app import clock
from app.checkout.approval import Browser, cover_of, lock_request_of, standing_of
from app.checkout.rules import PAGE_FOR, TRIES, Standing
from app.db.together import together
from app.db.transaction import transaction
from app.errors import CardClosed, CardHeld, CheckoutNotFound, CurrencyMismatch
from app.money import Money
from app.oauth.authorization_request import AuthorizationRequest, change_request, find_request
from app.redemption.models import Store
from app.redemption.rules import Unaccepted
from app.secrecy import fingerprint, random_secret


@dataclass(frozen=True, slots=True)
class CheckoutView:
    """A payment request for its shopper. `offered`: what the proven card can give, where that is asked about.

    `secret`: what the browser that has just opened it must come with from now on.
    """

    request: AuthorizationRequest
    standing: Standing
    store: str
    tries_left: int
    offered: Money | None
    secret: str | None = field(default=None, repr=False)

    @property
    def missing(self) -> Money | None:
        """What is left to be paid in another way."""
        if self.offered is None:
            return None
        wanted = self.request.wanted.amount
        return Money(wanted.amount_minor - self.offered.amount_minor, wanted.currency)


def open_checkout(browser: Browser) -> CheckoutView:
    """The page for the browser that comes first, which has half an hour from now on, and for nobody else.

    Raises CheckoutNotFound as `lock_request_of`, and for a request whose time was over before anybody came; Busy.
    """
    with transaction() as db:
        request = find_request(db, browser.request_uri)
        now = clock.now(db)
        if request is None or request.standing != "pushed":
            return _view(db, *lock_request_of(db, browser))
        is_late = standing_of(request, now) is Standing.EXPIRED
        if is_late or request.client_id != browser.client_id or not request.is_trusted:
            raise CheckoutNotFound()
        secret = random_secret()
        opened = {"state": "opened", "opened_at": now, "expires_at": now + PAGE_FOR}
        together(db, change_request(request.id, browser_hash=fingerprint(secret), **opened))
        return CheckoutView(request, Standing.ASKING, _store_name(db, request), TRIES, None, secret)


def read_checkout(browser: Browser) -> CheckoutView:
    """The page again for the browser that opened it. Raises CheckoutNotFound, Busy."""
    with transaction() as db:
        return _view(db, *lock_request_of(db, browser))


def _view(db: Connection, request: AuthorizationRequest, now: datetime) -> CheckoutView:
    standing, offered = standing_of(request, now), None
    if standing is Standing.CHOOSING and request.card_code_id is not None:
        try:
            offered = cover_of(db, request, request.card_code_id).amount
        except (Unaccepted, CurrencyMismatch, CardClosed, CardHeld):  # meanwhile: another card may do
            standing = Standing.ASKING
    return CheckoutView(request, standing, _store_name(db, request), TRIES - request.tries, offered)


def _store_name(db: Connection, request: AuthorizationRequest) -> str:
    return db.scalars(select(Store.name).where(Store.id == request.store_id)).one()
