"""The cases that every adapter must pass: a good shop passes all, and no kind of bad one does."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from scrip_sdk import Money
from scrip_sdk.outbox import utc_now
from scrip_sdk.outbox.sqlite import SqliteOutbox
from scrip_sdk.split import split
from scrip_sdk.testing import FakeScrip
from scrip_sdk.testing.adapter import CASES, Case, FakeService, Told
from tests.plugin_sdk.till import Sale, Till


def run(case: Case, folder: Path, *, till: type[Till] = Till, sale: type[Sale] = Sale) -> None:
    """Runs a case against such a shop, which nobody has bought at yet."""
    fake = FakeScrip()
    with fake.client() as client:
        client.service.draw = lambda: 0.0  # the shortest of all waits
        case(till(client, SqliteOutbox(folder / f"{case.__name__}.outbox"), sale), FakeService(fake))
    fake.assert_sums_agree()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_good_shop_passes(case: Case, tmp_path: Path) -> None:
    run(case, tmp_path)


# ── bad shops ───────────────────────────────────────────────────────────────────────────────────────────────────────


class SettlesOnce(Sale):
    """Tells the service while the shopper waits, and never again."""

    def place(self, *, with_rest: bool = False) -> bool:
        stood, stands = self.stands, super().place(with_rest=with_rest)
        for one in self.till.outbox.list(state="pending"):
            if not stood:
                self.till.outbox.done(one, at=utc_now())
        return stands


class TakesAll(Sale):
    """Settles all that its cards hold, whatever the order costs."""

    def place(self, *, with_rest: bool = False) -> bool:
        self.price = max(self.price, sum(self.held.values(), Money(0, "GBP")))
        return super().place(with_rest=with_rest)


class SellsUncovered(Sale):
    """Lets an order stand on whatever was given."""

    def place(self, *, with_rest: bool = False) -> bool:
        return super().place(with_rest=True)


class ForgetsCards(Sale):
    """Lets go of nothing when an order is called off."""

    def call_off(self) -> None:
        self.held.clear()


class SaysTaken(Sale):
    """Tells its shoppers what they like to hear."""

    def give(self, code: str) -> Told:
        super().give(code)
        return "taken"


class ChargesFirst(Sale):
    """Charges the bank card before the gift cards are confirmed, and again when the button is pressed again."""

    def place(self, *, with_rest: bool = False) -> bool:
        charged = self.rest + split(self.price, list(self.held.values())).remainder if with_rest else self.rest
        stands = super().place(with_rest=with_rest)
        self.rest = charged
        return stands


class RefundsTwice(Sale):
    """Takes a slow page's second press for another refund."""

    def refund(self, amount_minor: int) -> bool:
        return super().refund(amount_minor) and super().refund(amount_minor)


class RefundsAnything(Sale):
    """Says yes to every refund."""

    def refund(self, amount_minor: int) -> bool:
        return super().refund(amount_minor) or True


class BillsAll(Till):
    """Bills what it has sold, and leaves what came back to the service's memory."""

    def billed(self) -> Mapping[str, int]:
        return {payment: settled for payment, (settled, _) in self.sums().items()}


BAD: dict[type[Sale | Till], str] = {
    SettlesOnce: "a_settlement_that_never_arrived_is_made_up_for",
    TakesAll: "of_a_second_card_only_what_is_needed_is_taken",
    SellsUncovered: "an_order_that_is_not_covered_does_not_stand",
    ForgetsCards: "an_order_that_is_called_off_gives_its_card_back",
    SaysTaken: "a_wrong_code_takes_nothing_and_the_right_one_pays_after_it",
    ChargesFirst: "a_service_that_goes_away_before_the_last_press_takes_nothing_twice",
    RefundsTwice: "a_refund_reaches_the_card_once_and_never_more_than_it_paid",
    RefundsAnything: "a_refund_reaches_the_card_once_and_never_more_than_it_paid",
    BillsAll: "both_sides_say_the_same_sums_and_so_does_the_months_bill",
}


@pytest.mark.parametrize(("bad", "case"), BAD.items(), ids=lambda each: getattr(each, "__name__", None))
def test_a_bad_shop_does_not(bad: type[Sale | Till], case: str, tmp_path: Path) -> None:
    shop = {"till": bad} if issubclass(bad, Till) else {"sale": bad}
    with pytest.raises(AssertionError):
        run(CASES[case], tmp_path, **shop)
