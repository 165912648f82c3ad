"""The journal: whole, balanced, in an order that never changes, and the same bytes once its month is closed."""

import csv
import hashlib
import io
from datetime import UTC, datetime, timedelta

from app import clock
from app.db.transaction import snapshot
from app.reports import as_csv, as_json, as_xlsx
from app.reports.asked import Asked, Month
from app.reports.catalogue import build_report
from tests.reports.books import asked_of, built, drawn_year, hand, named
from tests.world import World


def as_file(asked: Asked) -> bytes:
    file = io.BytesIO()
    with snapshot(within_s=60) as db:
        as_csv.write(build_report(db, "journal", asked), file)
    return file.getvalue()


def test_each_movement_is_a_debit_and_a_credit_with_its_dimensions(world: World) -> None:
    payment = world.payment(5_000).payment
    world.settle(payment.id, 3_000)
    card_id = world.card_of(payment.id).id
    rows = named(built("journal", asked_of(world, str(Month.of(clock.here())), as_of=clock.here())))
    told = [
        (row["kind"], row["account"], row["debit"], row["credit"], row["store_id"], row["payment_id"]) for row in rows
    ]
    assert told == [
        ("issue", "funding", 5_000, None, None, None),
        ("issue", "card", None, 5_000, None, None),
        ("settle", "card", 3_000, None, world.bookshop, payment.id),
        ("settle", "owed", None, 3_000, world.bookshop, payment.id),
    ]
    assert {(row["issuer_id"], row["programme_id"], row["card_id"]) for row in rows} == {
        (world.issuer_id, world.programme_id, card_id)
    }


def test_all_months_together_are_the_books_and_debits_are_credits(database: object) -> None:
    year = drawn_year(3, steps=12)
    moved = 0
    for number in range(1, 13):
        rows = named(built("journal", asked_of(year.world, f"2025-{number:02}")))
        assert sum(row["debit"] or 0 for row in rows) == sum(row["credit"] or 0 for row in rows)
        assert [(row["date"], row["transfer_id"]) for row in rows] == sorted(
            (row["date"], row["transfer_id"]) for row in rows
        )
        on_cards = [row for row in rows if row["account"] == "card"]
        moved += sum((row["credit"] or 0) - (row["debit"] or 0) for row in on_cards)
    assert moved == year.seen[-1][1]


def test_the_seal_is_the_hash_of_the_lines_before_it_in_every_format(world: World) -> None:
    world.issue(1_234)
    asked = asked_of(world, str(Month.of(clock.here())), as_of=clock.here() + timedelta(days=40))
    file = as_file(asked)
    *_, last = csv.reader(io.StringIO(file.decode(), newline=""))
    *lines, _ = file.splitlines(keepends=True)
    assert last == ["sha256", hashlib.sha256(b"".join(lines)).hexdigest()]
    assert file == as_file(asked)
    with snapshot(within_s=60) as db:
        for write in (as_json.write, as_xlsx.write):
            report = build_report(db, "journal", asked)
            write(report, io.BytesIO())
            assert report.seal is not None and report.seal.value == last[1]
            assert any(last[1] in note.text for note in report.notes)


def test_what_is_recorded_after_a_month_was_closed_posts_to_the_first_that_is_open(
    world: World, urls: dict[str, str]
) -> None:
    """And keeps its effective date; the closed month stays as it was, to the byte."""
    february, april = Month(2025, 2), Month(2025, 4)
    mine = asked_of(world, "2025-02")
    cards = {minor: world.issue(minor).id for minor in (100, 300, 500, 700)}
    with hand(urls) as db:

        def book(minor: int, at: datetime, recorded_at: datetime) -> None:
            query = "UPDATE transfer SET at = $1, recorded_at = $2 WHERE card_id = $3"
            db.exec_driver_sql(query, (at, recorded_at, cards[minor]))

        def closed() -> bytes:
            file = io.BytesIO()
            as_csv.write(build_report(db, "journal", mine), file)
            return file.getvalue()

        at = datetime(2025, 2, 27, 12, tzinfo=UTC)
        book(100, at, at)
        for month, closed_at in (
            ("2025-02", datetime(2025, 3, 5, tzinfo=UTC)),
            ("2025-03", datetime(2025, 4, 5, tzinfo=UTC)),
        ):
            query = (
                "INSERT INTO closed_month (mode, month, closed_by, closed_at) VALUES ('test', $1, 'operator:ann', $2)"
            )
            db.exec_driver_sql(query, (month, closed_at))
        before = closed()
        late = datetime(2025, 2, 28, 23, tzinfo=UTC)
        book(300, late, datetime(2025, 3, 4, tzinfo=UTC))
        assert closed() != before, "it was recorded a day before the month was closed"
        before = closed()
        book(500, late, datetime(2025, 3, 6, tzinfo=UTC))
        book(700, late, datetime(2025, 4, 6, tzinfo=UTC))
        assert closed() == before
        of_month = {
            str(month): named(build_report(db, "journal", asked_of(world, str(month))))[::2]
            for month in (february, february.later(1), april)
        }
        posted = {
            month: [(row["debit"], row["date"], row["effective"]) for row in rows] for month, rows in of_month.items()
        }
        assert posted == {
            "2025-02": [(100, at, at), (300, late, late)],
            "2025-03": [(500, february.end, late)],
            "2025-04": [(700, april.start, late)],
        }
        closings = [named(build_report(db, "statement", asked_of(world, month)))[0]["closing"] for month in posted]
        assert closings == [400, 900, 1_600]
        assert not build_report(db, "statement", asked_of(world, "2025-03")).is_wrong
        assert named(build_report(db, "liability", asked_of(world, as_of=february.end)))[0]["liability"] == 400
