"""How long `scrip audit` takes on a million transfers: `python -m bench.audit`, check by check."""

import time

import click
from sqlalchemy import NullPool, create_engine

from app.db.embedded import temporary_postgres
from app.ledger.audit import audit_in_sessions
from bench.population import Population, populate
from bench.server import migrated

BOUND_S = 20.0


@click.command()
@click.option(
    "--cards", default=220_000, show_default=True, help="With up to six payments each, some 4.7 transfers a card."
)
@click.option("--seed", default=1, show_default=True, help="Draws the same cards again.")
def main(cards: int, seed: int) -> None:
    """Fills a server of its own, audits it as the reader, and exits 1 on a difference or when it takes too long."""
    with temporary_postgres(settings={}) as server:
        urls = migrated(server)
        click.echo(f"filling in {cards:,} cards, which takes minutes …")
        filled = populate(urls["admin"], cards=cards, seed=seed, payments=6)
        wrong, took_s = _audit(urls["reader"], filled)
    click.echo(f"{took_s:6.2f} s in all, {wrong} differences; the bound is {BOUND_S:.0f} s for a million transfers")
    raise SystemExit(wrong > 0 or took_s > BOUND_S * max(1.0, filled.transfers / 1_000_000))


def _audit(reader_url: str, filled: Population) -> tuple[int, float]:
    """How many differences there are, and the seconds that all checks take; prints each one's."""
    click.echo(f"{filled.transfers:,} transfers, {filled.payments:,} payments, filled in within {filled.took_s:.0f} s")
    wrong, began = 0, time.monotonic()
    before = began
    for check, count, _ in audit_in_sessions(create_engine(reader_url, poolclass=NullPool)):
        now = time.monotonic()
        click.echo(f"{now - before:6.2f} s  {'ok  ' if not count else 'FAIL'} {check.name}")
        wrong, before = wrong + count, now
    return wrong, time.monotonic() - began


if __name__ == "__main__":
    main()
