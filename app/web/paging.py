"""Lists: `{items, next}`, where `next` is the identifier to ask for the rest after."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def page_of(listed: Callable[..., Sequence[Any]], query: Mapping[str, Any]) -> dict[str, Any]:
    """One page; asks for one more than it shows, to know whether there is a rest."""
    limit = query["limit"]
    found = listed(**{**query, "limit": limit + 1})
    items = list(found[:limit])
    return {"items": items, "next": items[-1].id if len(found) > limit else None}
