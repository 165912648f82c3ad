"""The same request twice: the first answer is kept, and given again."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, bindparam, delete, func, literal_column, select, tuple_, update
from sqlalchemy.dialects.postgresql import BYTEA, JSONB, insert
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.dml import ReturningInsert, Update

from app import clock, secrecy
from app.db.base import At, Base, Id, Words
from app.db.together import Write, write
from app.db.transaction import transaction
from app.errors import Busy, ReferenceReused

T = TypeVar("T")
KEPT_FOR = timedelta(days=90)
FORGET_BATCH = 1_000


class RequestRow(Base):
    """A request that was carried out, by the party that made it and the reference that the party gave it."""

    __tablename__ = "request"

    party_id: Mapped[Id] = mapped_column(primary_key=True)
    reference: Mapped[Id] = mapped_column(primary_key=True)
    operation: Mapped[Words]
    target_id: Mapped[Id]
    content_hmac: Mapped[bytes] = mapped_column(BYTEA)
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[At]


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """Who asks for what under which key.

    `content_hmacs`: keyed hashes of the content without its secrets, under each version of the key, the newest first.
    `party_id` is the issuer or store, not its OAuth client: clients are replaced while requests are retried.
    """

    party_id: str
    key: str
    operation: str
    target_id: str
    content_hmacs: tuple[bytes, ...]

    @property
    def claim(self) -> dict[str, object]:
        """The parameters of CLAIM_REQUEST, also where it is part of a larger statement."""
        return {
            "claim_party_id": self.party_id,
            "claim_key": self.key,
            "claim_operation": self.operation,
            "claim_target_id": self.target_id,
            "claim_content_hmac": self.content_hmacs[0],
        }


#: The first write of a verb. A twin waits here for the other; RETURNING gives a row to the first one only. Its
#: parameters are a reference's `claim`.
CLAIM_REQUEST: ReturningInsert[str] = (
    insert(RequestRow)
    .values(
        party_id=bindparam("claim_party_id"),
        reference=bindparam("claim_key"),
        operation=bindparam("claim_operation"),
        target_id=bindparam("claim_target_id"),
        content_hmac=bindparam("claim_content_hmac"),
        created_at=func.clock_timestamp(),
    )
    .on_conflict_do_nothing()
    .returning(literal_column("1").label("claimed"))
)


def done_before(db: Connection, reference: Reference, kind: type[T]) -> T | None:
    """Claims the request in a statement of its own, for verbs that are not hot; else as `answer_again`."""
    return answer_again(db, reference, kind, claimed=db.execute(CLAIM_REQUEST, reference.claim).first() is not None)


def keep_answer(reference: Reference, answer: object) -> Write:
    """Keeps a verb's answer, a frozen dataclass of identifiers, amounts, times and booleans, for its repeat."""
    if not dataclasses.is_dataclass(answer) or isinstance(answer, type):
        raise TypeError("an answer is a dataclass")
    return _keep(reference.party_id, reference.key, answer=_dumped(answer))


@write
def _keep(party_id: str, key: str, answer: Mapping[str, object]) -> Update:
    return update(RequestRow).where(RequestRow.party_id == party_id, RequestRow.reference == key).values(answer=answer)


def answer_again(db: Connection, reference: Reference, kind: type[T], *, claimed: bool) -> T | None:
    """None to the one that claimed the request; to its repeat the kept answer, as `find_answer`.

    Raises ReferenceReused, and Busy when the answer was forgotten in this very moment.
    """
    if claimed:
        return None
    found = find_answer(db, reference, kind)
    if found is None:
        raise Busy
    return found


def find_answer(db: Connection, reference: Reference, kind: type[T]) -> T | None:
    """The kept answer to this request as a `kind` with `replayed` set, or None when it is new.

    Raises ReferenceReused when the same key came with another operation, target or content.
    """
    row = db.execute(_KEPT, {"asking_party": reference.party_id, "wanted_key": reference.key}).first()
    if row is None:
        return None
    is_the_same = any(secrecy.same(row.content_hmac, known) for known in reference.content_hmacs)
    if (row.operation, row.target_id) != (reference.operation, reference.target_id) or not is_the_same:
        raise ReferenceReused()
    if row.answer is None:
        raise RuntimeError("a request was committed without its answer")
    return typing.cast(T, _loaded(kind, {**row.answer, "replayed": True}))


_KEPT = select(RequestRow.operation, RequestRow.target_id, RequestRow.content_hmac, RequestRow.answer).where(
    RequestRow.party_id == bindparam("asking_party"), RequestRow.reference == bindparam("wanted_key")
)


def forget_old_requests() -> int:
    """Drops a batch of requests that nobody repeats any more; returns how many."""
    with transaction() as db:
        old = select(RequestRow.party_id, RequestRow.reference).where(RequestRow.created_at < clock.now(db) - KEPT_FOR)
        key = tuple_(RequestRow.party_id, RequestRow.reference)
        return db.execute(delete(RequestRow).where(key.in_(old.limit(FORGET_BATCH)))).rowcount


def _dumped(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = (field for field in dataclasses.fields(value) if not field.metadata.get("secret"))
        return {field.name: _dumped(getattr(value, field.name)) for field in kept}
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def _loaded(kind: Any, value: Any) -> Any:
    if isinstance(kind, types.UnionType):
        kind = next(option for option in kind.__args__ if option is not types.NoneType)
    if value is None:
        return None
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        content: Mapping[str, Any] = value
        return kind(**{name: _loaded(hints[name], item) for name, item in content.items()})  # type: ignore[operator]
    if kind is datetime:
        return datetime.fromisoformat(value)
    return value
