"""What exists, to be named in requests that are drawn by chance, so that most of them get past "not found"."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from app.ids import new_id
from tests.api import Api, money
from tests.world import make_world

#: A thing is named so often, by requests of all kinds, until a fresh one takes its turn.
USES = 4
KEPT = 6


@dataclass
class Targets:
    """Cards, payments and codes in whatever state earlier requests have left them, and fresh ones now and then."""

    api: Api
    _kept: dict[str, list[str]] = field(default_factory=dict)
    _uses: dict[str, int] = field(default_factory=dict)

    def pick(self, name: str, chance: Random) -> str:
        """One thing of this kind: mostly ours, sometimes a stranger's or nobody's."""
        if not chance.randrange(16):
            return _strange(name)
        uses = self._uses[name] = self._uses.get(name, -1) + 1
        kept = self._kept.setdefault(name, [])
        if uses % USES == 0:
            kept.append(MAKERS[name](self.api, chance))
            del kept[:-KEPT]
        return chance.choice(kept)


def _strange(name: str) -> str:
    """Another issuer's programme, or what does not exist."""
    if name == "programme_id":
        return make_world().programme_id
    return {"card_id": new_id("card"), "payment_id": new_id("pay")}.get(name) or "7KQ4-ZX9M-2FHN-C0NY"


def _payment(api: Api, chance: Random) -> str:
    """A payment of Bookshop's: held, confirmed, settled in part or for good."""
    payment_id = api.world.payment(order_reference="order-1").payment.id
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


MAKERS: dict[str, Callable[[Api, Random], str]] = {
    "programme_id": lambda api, _: api.world.programme_id,
    "card_id": lambda api, _: api.world.issue().id,
    "payment_id": _payment,
    "code": lambda api, _: api.world.code().code,
}
