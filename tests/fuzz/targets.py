"""What exists, to be named in requests that are drawn by chance, so that most of them get past "not found"."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from app.billing.break_notes import attach_file
from app.billing.work_break import approve_break, propose
from app.ids import new_id
from app.redemption.code_token import make_code_token
from app.redemption.rules import Asker
from tests.api import Api, money
from tests.billing.broken import break_of, broken_bill, settled
from tests.guard.ground import make_alarm
from tests.world import gbp, make_world, rows, visitor

#: A thing is named so often, by requests of all kinds, until a fresh one takes its turn.
USES = 4
KEPT = 6


@dataclass
class Targets:
    """Cards, payments and codes in whatever state earlier requests have left them, and fresh ones now and then."""

    api: Api
    _kept: dict[str, list[str]] = field(default_factory=dict)
    _uses: dict[str, int] = field(default_factory=dict)
    _last: dict[str, str] = field(default_factory=dict)

    def pick(self, name: str, chance: Random) -> str:
        """One thing of this kind: mostly ours, sometimes a stranger's or nobody's."""
        if not chance.randrange(16):
            return _strange(name)
        if name == "proposal_id":
            return self._proposal()
        uses = self._uses[name] = self._uses.get(name, -1) + 1
        kept = self._kept.setdefault(name, [])
        if uses % USES == 0 or not kept:  # another thread may still be making the first
            kept.append(MAKERS[name](self.api, chance))
            del kept[:-KEPT]
        self._last[name] = chance.choice(kept)
        return self._last[name]

    def _proposal(self) -> str:
        """That of the break that was named last, where one stands."""
        found = rows("SELECT proposal_id FROM bill_break WHERE id = :id", id=self._last.get("break_id", ""))
        return (found and found[0].proposal_id) or new_id("prop")


def _strange(name: str) -> str:
    """Another issuer's programme, or what does not exist."""
    if name == "programme_id":
        return make_world().programme_id
    strange = {
        "alarm_id": new_id("alarm"),
        "attachment_id": new_id("att"),
        "bill_id": new_id("bill"),
        "break_id": new_id("brk"),
        "proposal_id": new_id("prop"),
        "issuer_id": new_id("iss"),
        "card_id": new_id("card"),
        "payment_id": new_id("pay"),
        "code_token": "ct_" + "x" * 43,
    }
    return strange.get(name) or "7KQ4-ZX9M-2FHN-C0NY"


def _payment(api: Api, chance: Random) -> str:
    """A payment of Bookshop's: held, confirmed, settled in part or for good."""
    payment_id = api.world.payment(order_reference="order-1", shopper=new_id("pay")).payment.id
    verb, body = chance.choice(
        [
            (None, None),
            ("confirm", {"order_reference": "order-1"}),
            ("settlements", {"amount": money(3_000), "final": False}),
            ("settlements", {"amount": money(3_000)}),
        ]
    )
    if verb is not None:
        assert api.bookshop.post(f"/v1/payments/{payment_id}/{verb}", body).status_code in (200, 201)
    return payment_id


def _code_token(api: Api, chance: Random) -> str:
    """For the order, shopper and amount that a request may well be about."""
    asker = Asker(api.world.bookshop, "test", chance.choice(["shopper-1", None]), "order-1")
    return make_code_token(api.world.code().code, asker=asker, amount=gbp(chance.randint(1, 6_000)), who=visitor())


def _break(api: Api, chance: Random) -> str:
    """A line of Bookshop's that asks for too much: open, proposed, or closed."""
    bill_id = broken_bill(api.world, (settled(api.world), chance.randint(3_001, 9_000)))
    found, to = break_of(bill_id), chance.randrange(3)
    if to:
        found = propose(found.id, "reject", reason="too much", by="operator:anna")
    if to > 1:
        approve_break(found.id, found.proposal_id or "", by="operator:ben")
    return found.id


def _attachment(api: Api, chance: Random) -> str:
    return attach_file(_break(api, chance), b"x", name="x", media_type="text/plain", by="operator:anna").id


MAKERS: dict[str, Callable[[Api, Random], str]] = {
    "programme_id": lambda api, _: api.world.programme_id,
    "card_id": lambda api, _: api.world.issue().id,
    "payment_id": _payment,
    "code": lambda api, _: api.world.code().code,
    "code_token": _code_token,
    "attachment_id": _attachment,
    "bill_id": lambda api, _: broken_bill(api.world, (settled(api.world), 3_000)),
    "break_id": _break,
    "issuer_id": lambda api, _: api.world.issuer_id,
    "alarm_id": lambda api, _: make_alarm("wrong_codes_store", new_id("str"), api.world.bookshop),
}
