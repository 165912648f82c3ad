"""A card as the documents describe it, and what time alone makes of it. No rule of the service is used here."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
#: product.md and money-path.md: what lasts how long.
LINK_LIVES = 90 * DAY
SAME_BROWSER, PAGE, LINKS_APART = 10 * MINUTE, 15 * MINUTE, 10 * MINUTE
CODES_A_DAY, LINKS_A_DAY = 5, 3
RELEASED_LIVES, REVIVED_LIVES = 14 * DAY, 90 * DAY
LATE = 72 * HOUR


@dataclass(frozen=True)
class Terms:
    """A programme; `stores` is None for all stores of its mode."""

    least: int
    most: int
    lives: timedelta
    can_open_again: bool
    hold: timedelta
    confirmed: timedelta
    longest: timedelta
    stores: frozenset[str] | None = None


@dataclass
class Link:
    """A claim link; `keys` are those that open it, as far as anybody was given them."""

    reason: str
    letter: str | None
    made_at: datetime
    ends_at: datetime
    state: str = "waiting"
    id: str = ""
    keys: tuple[str, ...] = ()
    nonce: str | None = None
    opened_at: datetime | None = None


@dataclass
class Code:
    """A code that was shown."""

    made_at: datetime
    state: str = "live"
    id: str = ""
    text: str = ""
    store: str | None = None
    shopper: str | None = None
    order: str | None = None
    until: datetime | None = None


@dataclass
class Payment:
    """What a store got for a code. `late`: how much a late settle may still take; amounts in minor units."""

    store: str
    order: str
    balance: int
    hold: int
    held: int
    made_at: datetime
    until: datetime
    id: str = ""
    state: str = "held"
    confirmed: bool = False
    settled: int = 0
    released: int = 0
    refunded: int = 0
    late: int = 0
    expired_at: datetime | None = None

    def is_open(self, now: datetime) -> bool:
        return self.state == "held" and now < self.until

    def seen(self, now: datetime) -> dict[str, object]:
        """As its store may see it at `now`, whether or not anything was written down."""
        is_over = self.state == "held" and not self.is_open(now)
        held = 0 if is_over else self.held
        return {
            "state": ("settled" if self.settled else "expired") if is_over else self.state,
            "confirmed": self.confirmed,
            "order": self.order,
            "balance": self.balance,
            "held": held,
            "settled": self.settled,
            "released": self.hold - self.settled - held,
            "refunded": self.refunded,
            "until": self.until,
        }


@dataclass(eq=False)
class Card:
    """A card with all its links, codes and payments, oldest first. The key is the last link or the last code."""

    issuer: str
    terms: Terms
    issued: int
    balance: int
    made_at: datetime
    ends_at: datetime
    not_before: datetime | None = None
    id: str = ""
    state: str = "active"
    key: str | None = None
    links: list[Link] = field(default_factory=list)
    codes: list[Code] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    letters: list[str] = field(default_factory=list)
    settled: int = 0
    refunded: int = 0
    lapsed: int = 0

    def clone(self) -> "Card":
        """A card to try something on."""
        return replace(
            self,
            links=[copy(link) for link in self.links],
            codes=[copy(code) for code in self.codes],
            payments=[copy(payment) for payment in self.payments],
            letters=[*self.letters],
        )

    @property
    def link(self) -> Link | None:
        """The link that is the key."""
        return self.links[-1] if self.key == "link" else None

    @property
    def code(self) -> Code | None:
        """The code that is the key."""
        return self.codes[-1] if self.key == "code" else None

    @property
    def payment(self) -> Payment | None:
        """The payment that holds the card, or held it until its time was over and nobody has written that down."""
        return self.payments[-1] if self.payments and self.payments[-1].state == "held" else None

    def is_held(self, now: datetime) -> bool:
        return self.payment is not None and self.payment.is_open(now)

    def is_with_store(self) -> bool:
        """A code that a store has keeps its card alive, until what comes back from there has got more time."""
        return self.code is not None and self.code.state == "bound"

    def has_lapsed(self, now: datetime) -> bool:
        return self.state == "lapsed" or (self.state == "active" and self.ends_at <= now and not self.is_with_store())

    # ── what moves the key ──────────────────────────────────────────────────────────────────────────────────────────

    def kill_key(self) -> None:
        """Whatever the key is, it opens nothing any more."""
        if self.link and self.link.state == "waiting":
            self.link.state = "superseded"
        if self.code:
            self.code.state = "dead"
        self.key = None

    def make_link(self, reason: str, letter: str | None, now: datetime, *, delivered: datetime | None = None) -> None:
        """The next key is a waiting link, which ends with its card at the latest."""
        self.kill_key()
        self.links.append(Link(reason, letter, now, min(self.ends_at, (delivered or now) + LINK_LIVES)))
        self.key = "link"
        self.letters += [letter] if letter else []

    def make_code(self, now: datetime) -> None:
        """The next key is a live code."""
        self.kill_key()
        self.codes.append(Code(now))
        self.key = "code"

    def keep(self, until: datetime) -> None:
        """The card lives until then at least, and is active."""
        self.state, self.ends_at = "active", max(self.ends_at, until)

    # ── what time does ──────────────────────────────────────────────────────────────────────────────────────────────

    def write_down(self, now: datetime) -> None:
        """What is past its time at `now` is ended, as the sweeper does within seconds."""
        code, link, payment = self.code, self.link, self.payment
        if payment is not None:
            if not payment.is_open(now):
                payment.expired_at, payment.late = payment.until, payment.held
                self.release(payment, "expired")
                self._come_back("expiry", now)
        elif code is not None and code.state == "bound":
            if code.until is not None and code.until <= now:
                self._come_back("void", now)
        elif self.state == "active" and self.has_lapsed(now):
            self._lapse()
        elif link is not None and link.state == "waiting" and link.ends_at <= now:
            link.state = "lapsed"

    def release(self, payment: Payment, state: str) -> None:
        """The rest of the hold is free; a part that was settled stays settled."""
        payment.released, payment.held = payment.released + payment.held, 0
        payment.state = "settled" if payment.settled else state

    def _come_back(self, reason: str, now: datetime) -> None:
        self.keep(now + RELEASED_LIVES)
        self.make_link(reason, "hold_expired", now)

    def _lapse(self) -> None:
        if self.link:
            self.link.state = "lapsed"
        self.kill_key()
        self.lapsed += self.balance
        self.state, self.balance = "lapsed", 0

    def turning_points(self) -> Iterator[datetime]:
        """The moments at which an answer about this card may change."""
        yield self.ends_at
        for link in self.links[-4:]:
            yield from (link.ends_at, link.made_at + LINKS_APART, link.made_at + DAY)
            if link.opened_at:
                yield from (link.opened_at + SAME_BROWSER, link.opened_at + PAGE)
        for code in self.codes[-CODES_A_DAY:]:
            yield code.made_at + DAY
            if code.until:
                yield code.until
        for payment in self.payments[-3:]:
            yield from (payment.until, payment.made_at + self.terms.longest)
            if payment.expired_at:
                yield payment.expired_at + LATE
