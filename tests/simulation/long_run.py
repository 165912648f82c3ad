"""The simulation for as long as asked, by `python -m tests.simulation`; pytest lends it the database."""

import time
from dataclasses import dataclass

import click
import pytest

from app import config
from app.db.embedded import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.simulation.rounds import explaining, walk_from
from tests.simulation.walk import Tally

#: Walks in one database: an audit reads all of it, so a database does not grow without end.
WALKS_A_DATABASE = 50
REPORT_EVERY_S = 10


@dataclass
class Wanted:
    """How long, and from which seed. A pytest plugin, whose fixture hands itself to the run."""

    steps: int
    seed: int

    @pytest.fixture
    def wanted(self) -> "Wanted":
        return self


def test_service_and_model_agree_for_as_long_as_asked(
    wanted: Wanted, database: config.Settings, server: EmbeddedPostgres, urls: dict[str, str]
) -> None:
    tally, clock = Tally(), Progress(wanted.steps)
    seed = wanted.seed
    while tally.steps < wanted.steps:
        with fresh_database(database, server, urls), explaining():
            for _ in range(WALKS_A_DATABASE):
                if tally.steps < wanted.steps:
                    walk_from(seed, tally)
                    seed += 1
                    clock.report(tally)
    clock.report(tally, is_last=True)


class Progress:
    """Says now and then how far it has come, and what was met."""

    def __init__(self, steps: int) -> None:
        self.steps, self.begun_at = steps, time.monotonic()
        self.reported_at = self.begun_at

    def report(self, tally: Tally, *, is_last: bool = False) -> None:
        now = time.monotonic()
        if is_last or now - self.reported_at >= REPORT_EVERY_S:
            self.reported_at = now
            rate = tally.steps / (now - self.begun_at)
            click.echo(f"{tally.steps:,} of {self.steps:,} steps, {rate:.0f} a second, {tally.audits:,} audits")
        if is_last:
            for (verb, outcome), count in sorted(tally.outcomes.items()):
                click.echo(f"  {verb:<12} {outcome:<24} {count:>9,}")
