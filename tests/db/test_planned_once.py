"""What stores wait for is written as SQL once by each process, and planned once by each connection, not each time.

Either takes longer than to carry it out.
"""

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine.interfaces import CacheStats

from app.config import Settings
from app.db.engine import engine
from app.db.transaction import transaction
from app.redemption.refund import refund_payment
from tests.world import World, gbp, make_world, reference

#: psycopg prepares a statement when it comes for the sixth time; PostgreSQL plans that five times for its values, and
#: from then on once for all, unless it expects to lose by it.
ROUNDS = 14
ANEW = "SELECT statement FROM pg_prepared_statements WHERE custom_plans > 5 AND statement LIKE '%JOIN%'"


def sell(world: World) -> None:
    payment = world.payment().payment
    world.settle(payment.id, 2_000)
    refund_payment(payment.id, gbp(1_000), store_id=world.bookshop, reference=reference(world.bookshop))


def test_no_statement_of_the_moneys_path_is_written_anew(own_database: Settings) -> None:
    """SQLAlchemy keeps what it has compiled, but for statements that have no key, of which it says nothing."""
    world, anew = make_world(), list[str]()
    sell(world)

    @event.listens_for(engine(), "after_cursor_execute")
    def note(_db: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        if context.compiled is not None and context.cache_hit is not CacheStats.CACHE_HIT:
            anew.append(statement)

    try:
        sell(world)
    finally:
        event.remove(engine(), "after_cursor_execute", note)
    assert anew == []


def test_no_join_of_the_moneys_path_is_planned_anew(own_database: Settings) -> None:
    world = make_world()
    for _ in range(ROUNDS):
        sell(world)
    with transaction() as db:
        assert db.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar_one() > 10
        assert db.exec_driver_sql(ANEW).scalars().all() == []
