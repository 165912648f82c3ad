"""How long reports take over a million transfers: `python -m bench.reports`, of which the liability has a limit."""

import io
import tempfile
import time
from pathlib import Path

import click

from app import clock, config
from app.db.embedded import temporary_postgres
from app.db.transaction import snapshot
from app.key_files import make_key_files
from app.reports import as_pdf
from app.reports.asked import Asked, Month
from app.reports.catalogue import build_report
from bench.population import populate
from bench.server import migrated
from tests.service import real_keys

#: For a million transfers, as of a past moment, with its history by month, drawn as a PDF.
BOUND_S = 2.0
TIMED = ("liability", "statement", "ageing", "breakage", "volume", "funding", "safeguarding")
ROUNDS = 3


@click.command()
@click.option(
    "--cards", default=220_000, show_default=True, help="With up to six payments each, some 4.7 transfers a card."
)
@click.option("--seed", default=1, show_default=True, help="Draws the same cards again.")
def main(cards: int, seed: int) -> None:
    """Fills a server of its own, times each report, and exits 1 when the liability takes too long."""
    with temporary_postgres(settings={"shared_buffers": "512MB"}) as server, tempfile.TemporaryDirectory() as folder:
        urls = migrated(server)
        click.echo(f"filling in {cards:,} cards, which takes minutes …")
        filled = populate(urls["admin"], cards=cards, seed=seed, payments=6)
        _use(urls["service"], Path(folder))
        took = {name: min(_seconds(name) for _ in range(ROUNDS)) for name in TIMED}
    click.echo(f"{filled.transfers:,} transfers, {filled.payments:,} payments; the best of {ROUNDS} rounds")
    for name, seconds in took.items():
        click.echo(f"{seconds:6.2f} s  {name}")
    bound_s = BOUND_S * max(1.0, filled.transfers / 1_000_000)
    click.echo(f"liability: {took['liability'] / bound_s:.2f} of its limit of {bound_s:.2f} s")
    raise SystemExit(took["liability"] > bound_s)


def _use(database_url: str, folder: Path) -> None:
    keys_dir = folder / "keys"
    keys_dir.mkdir(mode=0o700)
    make_key_files(keys_dir, config.Argon2Cost())
    smtp = config.Smtp("127.0.0.1", 25, "none", "cards@scrip.example")
    keys = config.read_keys(real_keys(keys_dir))
    config.use(config.Settings(database_url=database_url, public_url="http://127.0.0.1:8000", keys=keys, smtp=smtp))


def _seconds(name: str) -> float:
    """From the question to the bytes, as of a moment ago."""
    began = time.perf_counter()
    with snapshot(within_s=600, memory="256MB") as db:
        now = clock.now(db)
        as_pdf.write(build_report(db, name, Asked("live", now, Month.of(now))), io.BytesIO())
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
