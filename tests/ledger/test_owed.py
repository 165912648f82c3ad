"""What stores are owed is the same with snapshots and without."""

from datetime import timedelta

import pytest

from app.ledger import owed
from app.redemption.refund import refund_payment
from tests.billing.matched import settled
from tests.world import World, gbp, make_world, reference, rows


def owed_to(world: World) -> int:
    return int(rows("SELECT owed_of(:id) AS minor", id=f"{world.bookshop}:owed:GBP")[0].minor)


def test_what_is_owed_is_the_same_with_a_snapshot_and_without(own_database: object) -> None:
    world = make_world()
    payment = settled(world)
    before = owed_to(world)
    assert owed.refresh_snapshots() == 0
    taken = rows("SELECT up_to < now() - interval '14 min' AS is_old, balance_minor FROM account_snapshot")
    assert [(row.is_old, row.balance_minor) for row in taken] == [(True, 0)] * len(taken)
    assert owed_to(world) == before == 2_000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owed, "SETTLED_AFTER", timedelta(0))
        owed.refresh_snapshots()
        refund_payment(payment, gbp(300), store_id=world.bookshop, reference=reference(world.bookshop))
        owed.refresh_snapshots()
    assert owed_to(world) == 1_700
    assert [row.balance_minor for row in rows("SELECT balance_minor FROM account_snapshot")] == [1_700]
