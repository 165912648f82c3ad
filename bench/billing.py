"""How fast bills are matched: a large one, as a share of how fast its rows are merely written, or a whole year."""

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from psycopg import Connection

from app import config
from app.billing.files import CSV
from app.billing.match import match_bill
from app.billing.read import read_bill
from app.billing.receive import receive_bill
from app.db.embedded import temporary_postgres
from app.factory import wire
from app.key_files import make_key_files
from bench.server import connected, migrated
from bench.year import Year, bills_of, differences, fill_year, matched_sums, planted
from tests.service import real_keys

#: A disk that is waited for, as in production, and memory for a million cards.
SERVER = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "fsync": "on"}
#: The same rows into a table with the same indexes, and nothing else.
BARE = """
CREATE TABLE bare (LIKE billed INCLUDING INDEXES INCLUDING CONSTRAINTS);
INSERT INTO bare SELECT movement_id, bill_id, line_no, payment_id, card_id, store_id, issuer_id, programme_id, currency,
    amount_minor FROM billed
"""


#: A store's file, as it would write it.
AS_CSV = """
COPY (
    SELECT payment_id, order_reference, (amount_minor / 100.0)::numeric(20, 2) AS amount, currency FROM bill_line
    ORDER BY line_no
) TO STDOUT (FORMAT csv, HEADER)
"""
OUTCOMES = """
SELECT coalesce(k.kind, 'matched'), count(*)
FROM bill_line AS l LEFT JOIN bill_break AS k ON (k.bill_id, k.line_no) = (l.bill_id, l.line_no)
WHERE l.bill_id = %s GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class BillingFigures:
    """What was measured of bills with so many lines in all. `grown_mib`: by how much this process grew meanwhile."""

    lines: int
    match_s: float
    bare_s: float
    grown_mib: float
    wrong: int

    @property
    def lines_per_s(self) -> float:
        return self.lines / self.match_s

    @property
    def of_bare(self) -> float:
        """Matching as a share of the bare insert of what it takes up."""
        return self.bare_s / self.match_s


@dataclass(frozen=True, slots=True)
class UploadFigures:
    """What was measured of a bill that came as a CSV file of so many lines, until it was matched."""

    lines: int
    receive_s: float
    read_s: float
    match_s: float
    grown_mib: float
    wrong: int

    @property
    def all_s(self) -> float:
        return self.receive_s + self.read_s + self.match_s


def measure_billing(year: Year, say: Callable[[str], None]) -> BillingFigures:
    """Fills in a year and matches all of its bills, one after the other."""
    with _filled(year, say) as db:
        bills, lines = bills_of(db), sum(planted(db).values())
        say(f"matching {lines:,} lines of {len(bills)} bills")
        before, began = _grown_mib(), time.monotonic()
        for bill_id in bills:
            match_bill(bill_id)
        match_s, grown_mib = time.monotonic() - began, _grown_mib() - before
        say("looking at each line")
        db.execute("VACUUM (ANALYZE) billed, bill_line, bill_break")
        planned, came = matched_sums(db)
        wrong = len(differences(db)) + (planned != came)
        db.execute("SET synchronous_commit = on")
        began = time.monotonic()
        db.execute(BARE)
        return BillingFigures(lines, match_s, time.monotonic() - began, grown_mib, wrong)


def measure_upload(year: Year, say: Callable[[str], None]) -> UploadFigures:
    """Fills in a month, and sends the lines of its one bill again as a CSV file, which is read and matched."""
    with _filled(year, say) as db, tempfile.TemporaryFile() as file:
        with db.cursor().copy(AS_CSV) as rows:
            for part in rows:
                file.write(part)
        store_id, period = db.execute("SELECT store_id, period FROM bill").fetchone() or ("", "")
        planned = planted(db)
        say(f"{sum(planned.values()):,} lines from a file of {file.tell():,} bytes")
        before, began = _grown_mib(), time.monotonic()
        bill = receive_bill(
            file, store_id=store_id, kind=CSV, source="file", by="bench", period=period, reference="as CSV"
        ).bill
        received = time.monotonic()
        read_bill(bill.id)
        read = time.monotonic()
        match_bill(bill.id)
        matched, grown_mib = time.monotonic(), _grown_mib() - before
        kinds = dict(db.execute(OUTCOMES, (bill.id,)).fetchall())
        wrong = sum(abs(kinds.get(kind, 0) - planned.get(kind, 0)) for kind in {*kinds, *planned})
        took = (received - began, read - received, matched - read)
        return UploadFigures(sum(planned.values()), *took, grown_mib=grown_mib, wrong=wrong)


@contextmanager
def _filled(year: Year, say: Callable[[str], None]) -> Iterator[Connection[Any]]:
    """A server of its own with the year in it, and this process wired to it; yields a session of its administrator."""
    with temporary_postgres(settings=SERVER) as server, tempfile.TemporaryDirectory() as folder:
        urls = migrated(server)
        say(f"filling in {year.cards * year.each:,} payments, {year.months} months of {year.stores} stores")
        fill_year(urls["admin"], year)
        keys_dir = Path(folder) / "keys"
        keys_dir.mkdir(mode=0o700)
        make_key_files(keys_dir, config.Argon2Cost())
        keys = config.read_keys(real_keys(keys_dir))
        mail = config.Smtp("127.0.0.1", 25, "none", "cards@scrip.example")
        wire(config.Settings(database_url=urls["service"], public_url="http://127.0.0.1:8000", keys=keys, smtp=mail))
        with connected(urls["admin"]) as db:
            yield db


def one_bill(lines: int) -> Year:
    """A single bill of about so many lines."""
    return Year(cards=lines // 5, stores=1, months=1, each=5)


def _grown_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--year", is_flag=True, help="Twelve months of 40 stores, 200,000 cards and a million payments.")
@click.option("--csv", is_flag=True, help="The one bill comes as a file: from receiving it to the finished result.")
@click.option("--lines", default=1_000_000, show_default=True, help="How many lines the one bill has.")
def main(year: bool, csv: bool, lines: int) -> None:
    """Match one large bill, or a year of them, and check each line; exit 1 on any difference."""
    figures: BillingFigures | UploadFigures
    if csv:
        figures = measure_upload(one_bill(lines), _say)
        click.echo(f"{figures}, {figures.all_s:.0f} s in all")
    else:
        figures = measure_billing(Year(cards=200_000, stores=40) if year else one_bill(lines), _say)
        click.echo(f"{figures}, {figures.lines_per_s:,.0f} lines a second, {figures.of_bare:.2f} of their bare insert")
    sys.exit(1 if figures.wrong else 0)


def _say(what: str) -> None:
    """Progress, apart from the result."""
    click.echo(f"{what} …", err=True)


if __name__ == "__main__":
    main()
