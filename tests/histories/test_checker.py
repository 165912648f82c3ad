"""Hand-made histories: legal ones are accepted, and each way to lose or make money is refused."""

import itertools
from pathlib import Path

import pytest

from tests.histories.judge import judge
from tests.histories.record import History, Issued, Operation, Value

HELD: dict[str, Value] = {
    "id": "p1",
    "state": "held",
    "confirmed": False,
    "order": "order-1",
    "balance": 5_000,
    "held": 5_000,
    "settled": 0,
    "released": 0,
    "refunded": 0,
}
TOOK_3: dict[str, Value] = {**HELD, "balance": 2_000, "held": 2_000, "settled": 3_000}
DONE: dict[str, Value] = {"replayed": False}
REPLAYED: dict[str, Value] = {"replayed": True}
#: What `settle` of 3,000 that is not the last part is answered.
SETTLED_3: dict[str, Value] = {**TOOK_3, "took": 3_000, "freed": 0, "left": 2_000}
PART: dict[str, Value] = {"amount": 3_000, "final": False, "order": None}
REFUNDED: dict[str, Value] = {**TOOK_3, "balance": 5_000, "refunded": 3_000, "amount": 3_000}


class Told:
    """One card's history, told one operation after the other; `times` makes them overlap instead."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._ticks = itertools.count(1)
        self._keys = itertools.count(1)

    def ask(
        self,
        verb: str,
        asked: dict[str, Value],
        answer: dict[str, Value] | None,
        *,
        key: str | None = None,
        times: tuple[int, int] | None = None,
    ) -> "Told":
        key = key or f"k{next(self._keys)}"
        invoked, returned = times or (next(self._ticks), next(self._ticks))
        until = None if answer is None else returned
        self.operations.append(Operation("card1", "client1", verb, asked, key, invoked, until, answer))
        return self

    def on_payment(
        self, verb: str, asked: dict[str, Value], answer: dict[str, Value] | None, **more: str | tuple[int, int]
    ) -> "Told":
        return self.ask(verb, {"payment": "p1", "store": "bookshop", **asked}, answer, **more)  # type: ignore[arg-type]

    def claimed(self) -> "Told":
        return self.ask("claim", {"link": "l1", "browser": "b1"}, {"code": "c1", "balance": 5_000})

    def exchanged(self) -> "Told":
        return self.claimed().ask("exchange", asking(), {**HELD, **DONE, "opened": True})

    def read(self, answer: dict[str, Value]) -> "Told":
        return self.on_payment("read_payment", {}, answer)

    @property
    def history(self) -> History:
        return History(0, {"card1": Issued(5_000, "l1")}, self.operations)

    @property
    def wrong(self) -> list[str]:
        return judge(self.history).wrong


def asking(store: str = "bookshop", shopper: str | None = None, order: str = "order-1") -> dict[str, Value]:
    return {"code": "c1", "store": store, "shopper": shopper, "order": order, "amount": None}


def reached(kind: str, name: str, state: str, *, balance: int = 5_000, store: str | None = None) -> dict[str, Value]:
    """How a card is shown."""
    key: dict[str, Value] = {"reached": kind, "reached_id": name, "reached_state": state, "store": store}
    return {"state": "active", "balance": balance, **key}


LEGAL = {
    "nothing": Told(),
    "the money's path": Told()
    .exchanged()
    .on_payment("settle", {**PART, "final": True}, {
        **TOOK_3, **DONE, "state": "settled", "held": 0, "released": 2_000, "took": 3_000, "freed": 2_000, "left": 0,
    })
    .ask("read_card", {}, reached("link", "l2", "waiting", balance=2_000))
    .ask("reissue", {}, {**reached("link", "l3", "waiting", balance=2_000), **DONE, "shown": True})
    .ask("claim", {"link": "l1", "browser": "b2"}, {"refused": "link-opened"})
    .ask("claim", {"link": "l2", "browser": "b2"}, {"refused": "link-superseded"})
    .ask("claim", {"link": "l3", "browser": "b2"}, {"code": "c2", "balance": 2_000}),
    "a settle of unknown outcome that was done": Told().exchanged().on_payment("settle", PART, None).read(TOOK_3),
    "a settle of unknown outcome that was not done": Told().exchanged().on_payment("settle", PART, None).read(HELD),
    "a settle of unknown outcome that was done later": Told()
    .exchanged()
    .on_payment("settle", PART, None)
    .read(HELD)
    .read(TOOK_3),
    "an unknown settle, then its repeat": Told()
    .exchanged()
    .on_payment("settle", PART, None, key="k")
    .on_payment("settle", PART, {**SETTLED_3, **REPLAYED}, key="k"),
    "two settles at once, either first": Told()
    .exchanged()
    .on_payment("settle", PART, {"refused": "amount-over-hold"}, times=(10, 30))
    .on_payment("settle", PART, {**SETTLED_3, **DONE}, times=(20, 40))
    .on_payment("read_payment", {}, TOOK_3, times=(50, 60)),
    "a lost exchange, then its payment is found": Told()
    .claimed()
    .ask("exchange", asking(), None)
    .ask("read_card", {}, reached("payment", "p1", "held", store="bookshop"))
    .ask("exchange", asking(), {**HELD, **DONE, "opened": False}),
    "a lost claim, then another code for the same browser": Told()
    .ask("claim", {"link": "l1", "browser": "b1"}, None)
    .ask("read_card", {}, reached("code", "d1", "live"))
    .ask("claim", {"link": "l1", "browser": "b1"}, {"code": "c1", "balance": 5_000})
    .ask("read_card", {}, reached("code", "d2", "live")),
}  # fmt: skip

ILLEGAL = {
    "a stale read": Told().exchanged().on_payment("settle", PART, {**SETTLED_3, **DONE}).read(TOOK_3).read(HELD),
    "an acknowledged settle is gone": Told().exchanged().on_payment("settle", PART, {**SETTLED_3, **DONE}).read(HELD),
    "an acknowledged settle is gone from the card": Told()
    .exchanged()
    .on_payment("settle", PART, {**SETTLED_3, **DONE})
    .ask("read_card", {}, reached("payment", "p1", "held", balance=5_000, store="bookshop")),
    "one of two settles is lost": Told()
    .exchanged()
    .on_payment("settle", PART, {**SETTLED_3, **DONE}, times=(10, 30))
    .on_payment("settle", PART, {**SETTLED_3, **DONE}, times=(20, 40)),
    "what was read before is undone": Told().exchanged().on_payment("settle", PART, None).read(TOOK_3).read(HELD),
    "refunded twice": Told()
    .exchanged()
    .on_payment("settle", PART, {**SETTLED_3, **DONE})
    .on_payment("refund", {"amount": 3_000}, {**REFUNDED, **DONE}, times=(10, 30))
    .on_payment("refund", {"amount": 3_000}, {**REFUNDED, **DONE}, times=(20, 40)),
    "two payments from one code": Told()
    .claimed()
    .ask("exchange", asking(), {**HELD, **DONE, "opened": True}, times=(10, 30))
    .ask("exchange", asking(), {**HELD, **DONE, "id": "p2", "opened": True}, times=(20, 40)),
    "two stores with one code": Told()
    .claimed()
    .ask("exchange", asking("bookshop"), {**HELD, **DONE, "opened": True}, times=(10, 30))
    .ask("exchange", asking("toyshop"), {**HELD, **DONE, "id": "p2", "opened": True}, times=(20, 40)),
    "another shopper gets the payment": Told()
    .claimed()
    .ask("exchange", asking(shopper="shopper-1"), {**HELD, **DONE, "opened": True})
    .ask("exchange", asking(shopper="shopper-2"), {**HELD, **DONE, "opened": False}),
    "two codes from one link": Told()
    .claimed()
    .ask("claim", {"link": "l1", "browser": "b2"}, {"code": "c2", "balance": 5_000}),
    "a dead code is exchanged": Told()
    .claimed()
    .ask("reissue", {}, {**reached("link", "l2", "waiting"), **DONE, "shown": True})
    .ask("exchange", asking(), {**HELD, **DONE, "opened": True}),
    "a good code is refused": Told().claimed().ask("exchange", asking(), {"refused": "code-not-accepted"}),
    "a settle is refused that fits": Told().exchanged().on_payment("settle", PART, {"refused": "amount-over-hold"}),
    "a repeat is done again": Told()
    .exchanged()
    .on_payment("settle", {**PART, "amount": 1_000}, None, key="k")
    .on_payment("settle", {**PART, "amount": 1_000}, {
        **HELD, **DONE, "balance": 3_000, "held": 3_000, "settled": 2_000, "took": 1_000, "freed": 0, "left": 3_000,
    }, key="k"),
    "a repeat is done under its key for another amount": Told()
    .exchanged()
    .on_payment("settle", PART, {**SETTLED_3, **DONE}, key="k")
    .on_payment("settle", {**PART, "amount": 1_000}, {
        **HELD, **DONE, "balance": 1_000, "held": 1_000, "settled": 4_000, "took": 1_000, "freed": 0, "left": 1_000,
    }, key="k"),
    "a repeat is answered otherwise": Told()
    .exchanged()
    .on_payment("settle", PART, {**SETTLED_3, **DONE}, key="k")
    .on_payment("settle", PART, {**SETTLED_3, **REPLAYED, "took": 2_000}, key="k"),
    "an unknown outcome happens twice": Told()
    .exchanged()
    .on_payment("settle", {**PART, "amount": 1_000}, None)
    .read({**HELD, "balance": 3_000, "held": 3_000, "settled": 2_000}),
    "an answer that nobody should get": Told().ask("read_card", {}, {"refused": "invalid-access-token"}),
}  # fmt: skip


@pytest.mark.parametrize("told", LEGAL.values(), ids=LEGAL.keys())
def test_a_legal_history_is_accepted(told: Told) -> None:
    assert told.wrong == []


@pytest.mark.parametrize("told", ILLEGAL.values(), ids=ILLEGAL.keys())
def test_an_illegal_history_is_refused(told: Told) -> None:
    assert len(told.wrong) == 1
    assert "no legal order" in told.wrong[0]


def test_what_cannot_be_decided_within_the_limit_is_wrong() -> None:
    """Many settles of unknown outcome, and at the end a sum that none of their subsets makes."""
    told = Told().exchanged()
    for amount in range(1, 10):
        told.on_payment("settle", {**PART, "amount": amount * 10}, None)
    told.read({**HELD, "balance": 4_995, "held": 4_995, "settled": 5})
    assert "could not be decided" in judge(told.history, limit=100).wrong[0]
    assert "no legal order" in judge(told.history).wrong[0]


def test_a_kept_history_is_judged_as_before(tmp_path: Path) -> None:
    for name, told in {**LEGAL, **ILLEGAL}.items():
        told.history.write(tmp_path / "kept")
        assert judge(History.read(tmp_path / "kept")).wrong == told.wrong, name
