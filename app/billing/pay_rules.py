"""Pure decisions of paying: what is paid together, and what of it is covered when it is released."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.ids import IssuerId, StoreId

NOT_COVERED = "not covered by what is owed now"


@dataclass(frozen=True, slots=True)
class PayableSeen:
    """A payable that no live payout pays."""

    id: str
    store_id: StoreId
    issuer_id: IssuerId
    currency: str
    amount_minor: int

    @property
    def whose(self) -> tuple[StoreId, IssuerId, str]:
        return (self.store_id, self.issuer_id, self.currency)


@dataclass(frozen=True, slots=True)
class PayoutSeen:
    """A payout that was drafted."""

    id: str
    store_id: StoreId
    currency: str
    amount_minor: int


def choose_payables(payables: Iterable[PayableSeen]) -> list[list[PayableSeen]]:
    """Those of one store, issuer and currency together, where they come to more than nothing; in a fixed order.

    What comes to nothing or less is left: it is netted with the store's next.
    """
    groups: dict[tuple[StoreId, IssuerId, str], list[PayableSeen]] = {}
    for each in sorted(payables, key=lambda one: (*one.whose, one.id)):
        groups.setdefault(each.whose, []).append(each)
    return [group for group in groups.values() if sum(each.amount_minor for each in group) > 0]


def decide_release(
    payouts: Sequence[PayoutSeen],
    owed: Mapping[tuple[StoreId, str], int],
    allowances: Mapping[tuple[StoreId, str], int],
) -> list[str]:
    """The IDs of those that what is owed now, and the store's refund allowance, cover; one after the other.

    `owed` and `allowances` are in minor units, by store and currency.
    """
    covered, sent = [], dict.fromkeys(owed, 0)
    for each in payouts:
        whose = (each.store_id, each.currency)
        left = owed.get(whose, 0) + allowances.get(whose, 0) - sent.get(whose, 0)
        if each.amount_minor <= left:
            covered.append(each.id)
            sent[whose] = sent.get(whose, 0) + each.amount_minor
    return covered


def end_to_end_id(payout_id: str) -> str:
    """What the bank carries to the store (ISO 20022, EndToEndIdentification): 31 capitals and digits."""
    return f"SCRIP{payout_id.removeprefix('out_').upper()}"
