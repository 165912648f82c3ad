"""What stores wait for is planned once by each connection, not at each request: to plan a join takes longer than it."""

from app.config import Settings
from app.db.transaction import transaction
from app.redemption.refund import refund_payment
from tests.world import gbp, make_world, reference

#: psycopg prepares a statement when it comes for the sixth time; PostgreSQL plans that five times for its values, and
#: from then on once for all, unless it expects to lose by it.
ROUNDS = 14
ANEW = "SELECT statement FROM pg_prepared_statements WHERE custom_plans > 5 AND statement LIKE '%JOIN%'"


def test_no_join_of_the_moneys_path_is_planned_anew(own_database: Settings) -> None:
    world = make_world()
    for _ in range(ROUNDS):
        payment = world.payment().payment
        world.settle(payment.id, 2_000)
        refund_payment(payment.id, gbp(1_000), store_id=world.bookshop, reference=reference(world.bookshop))
    with transaction() as db:
        assert db.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar_one() > 10
        assert db.exec_driver_sql(ANEW).scalars().all() == []
