"""Who acts in this request or job, for the events and the logs."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Acting:
    """`actor`: a client's ID, `holder`, `shopper`, `worker` or `operator:<account>`; the request's ID where there is
    one. `origin`: marks of where a request to our own pages came from, which some events keep (events/event.py)."""

    actor: str
    request_id: str | None = None
    origin: Mapping[str, str] = field(default_factory=dict)


acting: ContextVar[Acting] = ContextVar("acting", default=Acting("service"))
