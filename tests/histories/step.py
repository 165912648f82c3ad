"""One operation on the model of a card: done once under its key, and answered as it was told or not legal at all."""

from dataclasses import replace

from tests.histories.record import Operation, Value
from tests.histories.specification import KEYED, VERBS, Answer, Asked, Card, Done, Name, NeverToldError, refused


def step(card: Card, operation: Operation) -> Card | None:
    """The card after the operation; None where it would not be answered so. An unknown outcome had its effect."""
    try:
        after, answer = _carried_out(card, operation)
    except NeverToldError:
        return None
    return after if operation.answer is None else _as_told(after, answer, operation.answer)


def _carried_out(card: Card, operation: Operation) -> tuple[Card, Answer]:
    """Once under its key; again, it changes nothing and is answered as it was. Refusals are not kept."""
    decide, asked = VERBS[operation.verb], operation.asked
    if operation.verb not in KEYED:
        return decide(card, asked)
    request = (asked.get("store"), operation.key or "")
    content = (operation.verb, frozenset((name, value) for name, value in asked.items() if name != "code"))
    before = next((one for one in card.done if one.request == request), None)
    if before is not None:
        return card, _again(dict(before.answer)) if before.content == content else refused("reference-reused")
    after, answer = decide(card, asked)
    if "refused" in answer:
        return after, answer
    answer = {**answer, "replayed": False}
    if operation.key is not None:
        after = replace(after, done=after.done | {Done(request, content, tuple(answer.items()))})
    return after, answer


def _again(answer: dict[str, Value | Name]) -> Answer:
    """A secret is not shown again."""
    return {**answer, "replayed": True, **({"shown": False} if "shown" in answer else {})}


def _as_told(card: Card, expected: Answer, told: Asked) -> Card | None:
    """The card, with the names that this answer tells; None where it tells something else than it must."""
    if expected.keys() != told.keys():
        return None
    names = list(card.names)
    for field, value in expected.items():
        if not isinstance(value, Name):
            if value != told[field]:
                return None
            continue
        name = told[field]
        if not isinstance(name, str) or names[value.place] not in (None, name):
            return None
        if names[value.place] is None and name in names:
            return None
        names[value.place] = name
    return replace(card, names=tuple(names))
