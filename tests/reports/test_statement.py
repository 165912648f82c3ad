"""The statement is what the books, the balances and the documents say, or it tells by how much it is not."""

from datetime import timedelta

import pytest

from app import clock
from app.reports.asked import Month
from app.reports.catalogue import build_report
from app.reports.statement import read_statement
from tests.reports.books import YEAR, Year, asked_of, balance_of, built, drawn_year, hand, named
from tests.world import World, make_world, reference

MONTHS = [str(Month(2025, 1).later(by)) for by in range(12)]


@pytest.fixture(scope="module", params=[1, 2])
def year(request: pytest.FixtureRequest, database: object) -> Year:
    return drawn_year(request.param)


def test_every_month_begins_where_the_last_one_ended_and_agrees(year: Year) -> None:
    """And its end is what the cards were worth at that moment, as it was seen then."""
    before = 0
    for month in MONTHS:
        report = built("statement", asked_of(year.world, month))
        assert not report.is_wrong, report.notes
        seen = [worth for at, worth in year.seen if at <= Month.read(month).end]
        for row in named(report):
            came = row["opening"] + row["funded"] + row["refunds"] + row["adjustments"]
            assert row["closing"] == came - row["settled"] - row["lapsed"] == row["balances"]
            assert (row["difference"], row["adjustments"]) == (0, 0)
            assert row["opening"] == before
            before = row["closing"]
        assert before == (seen[-1] if seen else 0), month
    assert before == balance_of(year.world)


def test_the_year_came_to_all_kinds_of_movements(year: Year) -> None:
    rows = [row for month in MONTHS for row in named(built("statement", asked_of(year.world, month)))]
    for kind in ("funded", "refunds", "settled", "lapsed"):
        assert sum(row[kind] for row in rows) > 0, kind


def test_as_of_any_moment_the_liability_is_what_the_cards_were_worth_then(year: Year) -> None:
    for at, worth in year.seen:
        found = named(built("liability", asked_of(year.world, as_of=at)))
        assert sum(row["liability"] for row in found) == worth, at
        aged = named(built("ageing", asked_of(year.world, as_of=at)))
        assert sum(row["by_issue"] for row in aged) == sum(row["by_activity"] for row in aged) == worth
    assert named(built("liability", asked_of(year.world, as_of=YEAR))) == []


def test_the_line_of_the_chart_ends_in_the_table(year: Year) -> None:
    report = built("liability", asked_of(year.world, as_of=year.seen[-1][0]))
    [chart] = report.charts
    assert sum(series.values[-1] or 0 for series in chart.series) == balance_of(year.world)
    by_month = dict(zip(chart.labels, chart.series[0].values, strict=True))
    for month in MONTHS[:-1]:
        [row] = named(built("statement", asked_of(year.world, month))) or [{"closing": 0}]
        assert by_month.get(month, 0) == row["closing"]


def test_what_is_of_a_month_is_decided_to_the_microsecond(world: World, urls: dict[str, str]) -> None:
    """A movement in the first moment is the month's, as one in the last; one at the first of the next is not."""
    march = Month(2025, 3)
    placed = {100: march.start - clock.TICK, 300: march.start, 500: march.end - clock.TICK, 700: march.end}
    cards = {minor: world.issue(minor).id for minor in placed}
    with hand(urls) as db:
        for minor, at in placed.items():
            db.exec_driver_sql("UPDATE transfer SET at = $1 WHERE card_id = $2", (at, cards[minor]))
        [row] = named(build_report(db, "statement", asked_of(world, "2025-03")))
        assert (row["opening"], row["funded"], row["closing"]) == (100, 800, 900)
        for as_of, worth in ((march.start, 100), (march.end, 900), (march.end + clock.TICK, 1_600)):
            [row] = named(build_report(db, "liability", asked_of(world, as_of=as_of)))
            assert row["liability"] == worth
        volume = named(build_report(db, "volume", asked_of(world, "2025-03")))
        assert [(row["month"], row["issued"]) for row in volume] == [("2025-02", 100), ("2025-03", 800)]
        dates = [row["date"] for row in named(build_report(db, "journal", asked_of(world, "2025-03")))]
        assert dates == [march.start] * 2 + [march.end - clock.TICK] * 2


PLANTED = {
    "the cards' balances": "UPDATE account SET balance_minor = balance_minor + 7 WHERE id = $1",
    "the payments' settlements": (
        "UPDATE payment SET settled_minor = settled_minor + 7, hold_minor = hold_minor + 7 "
        "WHERE card_id = split_part($1, ':', 1)"
    ),
    "the cards' amounts as issued": "UPDATE card SET issued_minor = issued_minor + 7 WHERE account_id = $1",
    "the payments' refunds": (
        "UPDATE payment SET refunded_minor = refunded_minor + 7 WHERE card_id = split_part($1, ':', 1)"
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_difference_is_told_to_the_minor_unit(world: World, urls: dict[str, str], what: str) -> None:
    payment = world.payment(5_000).payment
    world.settle(payment.id, 3_000)
    account = f"{world.card_of(payment.id).id}:card:GBP"
    asked = asked_of(world, str(Month.of(clock.here())), as_of=clock.here())
    with hand(urls) as db:
        db.exec_driver_sql(PLANTED[what], (account,))
        report = build_report(db, "statement", asked)
        [note] = [note.text for note in report.notes if note.wrong]
    assert what in note and note.endswith("0.07 GBP more."), note
    assert world.programme_id in note
    assert not built("statement", asked).is_wrong


def test_a_transfer_too_many_is_told_against_both(world: World, urls: dict[str, str]) -> None:
    card = world.issue(5_000)
    asked = asked_of(world, str(Month.of(clock.here())), as_of=clock.here())
    with hand(urls) as db:
        db.exec_driver_sql(
            "INSERT INTO transfer "
            "(id, kind, debit_id, credit_id, amount_minor, currency, mode, card_id, payment_id, at) "
            "VALUES ('tra_x', 'settle', $1, 'str_x:owed:GBP', 11, 'GBP', 'test', $2, 'pay_x', now())",
            (f"{card.id}:card:GBP", card.id),
        )
        lines, notes = read_statement(db, asked)
    [line] = lines
    assert (line.settled_minor, line.difference_minor) == (11, 11)
    assert [note.text.rpartition(": ")[2] for note in notes] == ["0.11 GBP more.", "0.11 GBP less."]


def test_nobody_elses_money_nor_that_of_the_other_mode_is_in_it(world: World) -> None:
    other, live = make_world(), make_world(mode="live")
    now = clock.here()
    for each, minor in ((world, 1_000), (other, 2_000), (live, 4_000)):
        each.issue(minor, reference=reference(each.issuer_id))
    asked = asked_of(world, str(Month.of(now)), as_of=now + timedelta(minutes=1))
    for name in ("statement", "liability", "ageing", "volume", "journal", "breakage"):
        rows = named(built(name, asked))
        assert {row["issuer_id"] for row in rows} == {world.issuer_id}, name
        of_mode = named(
            built(name, asked_of(world, str(Month.of(now)), as_of=asked.as_of, mode="live", issuer_id=None))
        )
        assert world.issuer_id not in {row["issuer_id"] for row in of_mode}
        assert live.issuer_id in {row["issuer_id"] for row in of_mode}
    assert named(built("statement", asked))[0]["closing"] == 1_000
