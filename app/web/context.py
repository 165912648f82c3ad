"""Who acts in this request or job, for the events and the logs."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Acting:
    """`actor`: a client's ID, `holder`, `shopper`, `worker` or `operator:<account>`; the request's ID where there is
    one."""

    actor: str
    request_id: str | None = None


acting: ContextVar[Acting] = ContextVar("acting", default=Acting("service"))
