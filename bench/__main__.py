"""`./run bench`: how fast the money's path is on this machine, as ratios within one run against stated limits."""

import sys

import click

from bench.billing import measure_billing, one_bill
from bench.measure import Amounts, measure
from bench.report import LOOSE, STRICT, billing_misses, billing_shown, misses, shown

FULL = Amounts(issues=1_300, claims=1_200, exchanges=900, alone=200, settles=1_600, hash_s=3)
SHORT = Amounts(issues=70, claims=60, exchanges=45, alone=10, settles=96, hash_s=0.5)

#: Of one bill. The short one is just large enough to be matched as a large one.
LINES, LINES_SHORT = 1_000_000, 55_000


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--cards", multiple=True, default=("10_000", "1_000_000"), show_default=True, help="Sizes, again for each."
)
@click.option(
    "--short", is_flag=True, help="Fewer requests and loose limits: shows that nothing has become much slower."
)
def main(cards: tuple[str, ...], short: bool) -> None:
    """Start a server and the service for each size, measure every verb and matching, and print a table and a chart.

    Exits with 1 when a ratio misses its limit. Keep the machine quiet meanwhile: rates alone say little.
    """
    figures = [measure(int(size), SHORT if short else FULL, _say) for size in cards]
    click.echo(shown(figures))
    billing = measure_billing(one_bill(LINES_SHORT if short else LINES), _say)
    click.echo(billing_shown(billing))
    limits = LOOSE if short else STRICT
    missed = misses(figures, limits) + billing_misses(billing, limits)
    for miss in missed:
        click.echo(f"missed: {miss}")
    sys.exit(1 if missed else 0)


def _say(what: str) -> None:
    """Progress, apart from the result."""
    click.echo(f"{what} …", err=True)


if __name__ == "__main__":
    main()
