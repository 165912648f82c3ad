"""Several writes in one statement, which is built once: round trips and building are what a transaction costs most."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from typing import ParamSpec

from sqlalchemy import Connection, bindparam, insert, literal_column, select
from sqlalchemy.sql.dml import Delete, Insert, Update

from app.db.base import AnySelect, Base

P = ParamSpec("P")
Statement = Insert | Update | Delete


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a write's statement is made, and the names of what it is given."""

    make: Callable[..., Statement]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """One write for `together`: its recipe, and the values that it is given."""

    recipe: Recipe
    given: Mapping[str, object]


def write(make: Callable[P, Statement]) -> Callable[P, Write]:
    """Turns a function that returns a statement into one that returns a `Write`.

    The function itself is called with bind parameters in place of its arguments, once for each statement that it is a
    part of. So its body places every argument in the statement as it is: it cannot read one, or decide by it. Columns
    that differ from call to call are taken as `**changes`.
    """
    parameters = inspect.signature(make).parameters.values()
    places = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}

    @wraps(make)
    def written(*args: P.args, **kwargs: P.kwargs) -> Write:
        given = {**defaults, **dict(zip(places, args, strict=False)), **kwargs}
        return Write(Recipe(make, tuple(given)), given)

    return written


def row_of(table: type[Base], **always: object) -> Callable[..., Write]:
    """The function that returns the insert of one row, whose columns it is given; `always` are the same in each."""

    @write
    def insert_row(**columns: object) -> Insert:
        return insert(table).values(**always, **columns)

    return insert_row


def together(db: Connection, *writes: Write | Sequence[Write | None] | None) -> None:
    """Executes the writes as CTEs of a single statement, skipping None and opening sequences.

    All of them see the state before the statement, their order is not fixed, and no row may be written by two of them
    (PostgreSQL manual, section 7.8.4). Foreign keys are checked at the end, so a row may point at one made beside it.
    """
    found = list(_flat(writes))
    given = {_name(place, name): value for place, each in enumerate(found) for name, value in each.given.items()}
    db.execute(_composed(tuple(each.recipe for each in found)), given)


def many(db: Connection, writes: Sequence[Write]) -> None:
    """Executes one kind of write many times, with what each is given, in one batch."""
    if not writes:
        return
    recipe = writes[0].recipe
    statement = recipe.make(**{name: bindparam(_name(0, name)) for name in recipe.names})
    db.execute(statement, [{_name(0, name): value for name, value in each.given.items()} for each in writes])


def _flat(writes: Iterable[Write | Sequence[Write | None] | None]) -> Iterator[Write]:
    for each in writes:
        if isinstance(each, Sequence):
            yield from _flat(each)
        elif each is not None:
            yield each


@cache
def _composed(recipes: tuple[Recipe, ...]) -> AnySelect:
    """As many as there are ways through the verbs."""
    statement: AnySelect = select(literal_column("1"))
    for place, recipe in enumerate(recipes):
        made = recipe.make(**{name: bindparam(_name(place, name)) for name in recipe.names})
        statement = statement.add_cte(made.returning(literal_column("1")).cte(f"write_{place}"))
    unplaced = {_name(place, name) for place, recipe in enumerate(recipes) for name in recipe.names}
    if unplaced := unplaced.difference(statement.compile().params):
        raise TypeError(f"a write does not place what it is given: {sorted(unplaced)}")
    return statement


def _name(place: int, name: str) -> str:
    """No column's name, which SQLAlchemy keeps for itself."""
    return f"{name}_of_{place}"
