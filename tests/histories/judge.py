"""Judges a whole history: a legal order for each card, or what stands in its way."""

from dataclasses import dataclass, field

from tests.histories.checker import LIMIT, Undecided, find_order
from tests.histories.record import History, Operation
from tests.histories.specification import Card, issued
from tests.histories.step import step

#: How much of what led to it is told of a card without a legal order.
TOLD = 8


@dataclass
class Judgement:
    """What was found: illegal or undecided cards, each with its story; how much was searched."""

    wrong: list[str] = field(default_factory=list)
    stuck: list[Operation] = field(default_factory=list)
    visited: int = 0


def judge(history: History, *, limit: int = LIMIT) -> Judgement:
    """Looks at each card alone. A history that cannot be decided within the limit is wrong too."""
    judged = Judgement()
    for name, operations in history.by_card().items():
        start = history.cards[name]
        try:
            verdict = find_order(operations, issued(start.balance, start.link), step, limit=limit)
        except Undecided as error:
            judged.wrong.append(f"{name} could not be decided: {error}")
            continue
        judged.visited += verdict.visited
        judged.stuck += verdict.stuck
        if not verdict.is_legal:
            judged.wrong.append(_story(name, len(operations), verdict.order, verdict.state, verdict.stuck))
    return judged


def _story(name: str, count: int, order: list[Operation], state: Card, stuck: list[Operation]) -> str:
    lines = [f"{name}: no legal order of its {count} operations. The longest beginning has {len(order)} and ends with"]
    lines += [f"    {one}" for one in order[-TOLD:]]
    lines += [f"  The card is then {state.balance} {state.key}"]
    lines += [f"    {payment}" for payment in state.payments]
    lines += ["  and none of these can come next, as it was answered:", *(f"    {one}" for one in stuck)]
    return "\n".join(lines)
