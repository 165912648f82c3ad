"""A header by which a request says before which of its database calls the worker is killed."""

import os
import re
import signal
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, Response, request
from sqlalchemy import Connection, Engine, event

from app.db.transaction import transaction
from app.oauth import keys, refused

#: `count` kills nobody: the answer says in the same header which calls were made. `3` kills before the fourth call,
#: `3 sent` when it has just been sent, and one more than there are when all is done and nothing answered.
HEADER = "X-Kill-At"

_WRITES = re.compile(r"\b(INSERT INTO|UPDATE \w+ SET|DELETE FROM)\b")


@dataclass
class Fuse:
    """The database calls of one request so far, and the place at which it dies."""

    place: str
    calls: list[str] = field(default_factory=list)

    def burn(self, call: str) -> bool:
        """Notes a call about to be made; True when it is to be the last thing that is sent."""
        here = str(len(self.calls))
        if self.place == here:
            die()
        self.calls.append(call)
        return self.place == f"{here} sent"


def die() -> None:
    """No handler, no `finally`, no goodbye to the database."""
    os.kill(os.getpid(), signal.SIGKILL)


armed: ContextVar[Fuse | None] = ContextVar("armed", default=None)


def lay(app: Flask) -> None:
    """From here on the service obeys the header."""
    refused.POLL_S = 3_600  # not in the midst of a request whose calls are counted
    app.before_request(_arm)
    app.after_request(_before_answer)
    event.listen(Engine, "before_cursor_execute", _before_statement)
    event.listen(Engine, "commit", _before_commit)


def _arm() -> None:
    """A fresh worker first does what it does once, so that each request makes the same calls."""
    armed.set(None)
    if (place := request.headers.get(HEADER)) is not None:
        keys.jwks()
        refused.is_refused(client_id="", jti="")
        with transaction() as db:
            db.exec_driver_sql("SELECT 1")
        armed.set(Fuse(place))


def _before_answer(answer: Response) -> Response:
    if (fuse := armed.get()) is not None:
        fuse.burn("answer")
        armed.set(None)
        answer.headers[HEADER] = ",".join(fuse.calls)
    return answer


def _before_statement(db: Connection, _cursor: Any, statement: str, *_: Any) -> None:
    """How often somebody asks is counted now and then only, in a transaction that means nothing to any other."""
    if "request_limit" in statement:
        db.info["only_counts"] = True
    elif (fuse := armed.get()) is not None:
        fuse.burn(_kind_of(statement))


def _kind_of(statement: str) -> str:
    """Whose wrong tries are counted has no effect on money."""
    if "guard_count" in statement:
        return "guard"
    return "write" if _WRITES.search(statement) else "read"


def _before_commit(db: Connection) -> None:
    if not db.info.pop("only_counts", False) and (fuse := armed.get()) is not None and fuse.burn("commit"):
        server = db.connection.driver_connection.pgconn  # type: ignore[union-attr]
        server.send_query(b"COMMIT")
        server.flush()
        die()
