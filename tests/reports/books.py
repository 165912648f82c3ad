"""Books to report on: a year of drawn movements by the verbs themselves, at times that are set; a hand that spoils."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from psycopg import RawCursor, RawServerCursor
from sqlalchemy import Connection, NullPool, create_engine

from app import clock
from app.db.transaction import snapshot
from app.ids import PaymentId
from app.redemption.expire import expire_due
from app.redemption.refund import refund_payment
from app.reports.asked import Asked, Month
from app.reports.catalogue import build_report
from app.reports.report import Report
from tests.world import World, gbp, make_world, reference, rows

#: The drawn year.
YEAR = datetime(2025, 1, 1, tzinfo=UTC)


def asked_of(world: World, month: str = "2025-03", *, as_of: datetime | None = None, **more: Any) -> Asked:
    """A question about the world's issuer."""
    found = Month.read(month)
    mode = more.pop("mode", "test")
    return Asked(mode, as_of or found.end, found, **{"issuer_id": world.issuer_id, **more})


def built(name: str, asked: Asked) -> Report:
    """The report with its rows read."""
    with snapshot(within_s=60) as db:
        report = build_report(db, name, asked)
        return replace(report, rows=list(report.rows))


def named(report: Report) -> list[dict[str, Any]]:
    """The rows by their columns' names."""
    names = [column.name for column in report.columns]
    return [dict(zip(names, row, strict=True)) for row in report.rows]


def balance_of(world: World) -> int:
    """What the world's cards are worth now, by their own balances."""
    query = "SELECT sum(a.balance_minor) FROM card c JOIN account a ON a.id = c.account_id WHERE issuer_id = :id"
    return int(rows(query, id=world.issuer_id)[0][0] or 0)


@dataclass
class Year:
    """A world in which things happen; after each of them what its cards were worth from then on."""

    world: World
    seen: list[tuple[datetime, int]] = field(default_factory=list)
    payments: list[tuple[PaymentId, int]] = field(default_factory=list)

    def happen(self, at: datetime, what: str, minor: int) -> None:
        """One movement, exactly at this moment, and what the cards are worth after it."""
        with clock.set_to(at):
            match what:
                case "refund" if self.payments:
                    payment_id, left = self.payments.pop(0)
                    paid = min(minor, left)
                    again = reference(self.world.bookshop)
                    refund_payment(payment_id, gbp(paid), store_id=self.world.bookshop, reference=again)
                case "settle":
                    payment = self.world.payment(minor).payment
                    part = max(1, minor * 2 // 3)
                    self.world.settle(payment.id, part)
                    self.payments.append((payment.id, part))
                case "lapse":
                    while expire_due():
                        pass
                case _:
                    self.world.issue(minor)
        self.seen.append((at + timedelta(seconds=1), balance_of(self.world)))


def drawn_year(seed: int, steps: int = 24) -> Year:
    """Movements at drawn times of 2025, some of them in the very first and last moments of months, in order."""
    chance = Random(seed)
    edges = [Month(2025, number).start - timedelta(seconds=1) * chance.randint(0, 1) for number in range(2, 13)]
    others = [YEAR + timedelta(minutes=chance.randint(1, 500_000)) for _ in range(steps)]
    times = sorted({*chance.sample(edges, 6), *others})
    year = Year(make_world(valid_days=60))
    for at in times:
        what = chance.choice(["issue", "settle", "settle", "refund", "lapse"])
        year.happen(at, what, chance.randint(100, 20_000))
    return year


@contextmanager
def hand(urls: dict[str, str]) -> Iterator[Connection]:
    """A superuser's, whom no guard stops; what it does is reported on by the same connection, and then undone."""
    options = {"options": "-c session_replication_role=replica -c timezone=UTC", "cursor_factory": RawCursor}
    made = create_engine(urls["admin"], paramstyle="numeric_dollar", connect_args=options, poolclass=NullPool)
    with made.connect() as db:
        db.connection.driver_connection.server_cursor_factory = RawServerCursor  # type: ignore[union-attr]
        db.exec_driver_sql("ALTER TABLE transfer DISABLE TRIGGER transfer_append_only")
        db.exec_driver_sql("ALTER TABLE transfer DISABLE TRIGGER transfer_moves_balances")
        yield db
        db.rollback()
