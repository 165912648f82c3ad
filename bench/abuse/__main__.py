"""`./run abuse`: people who guess, at a service of their own on this machine, and whether anybody else notices."""

import sys
from collections.abc import Sequence

import click

from bench.abuse import timing
from bench.abuse.ground import ground
from bench.abuse.verdict import Measured, show


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Abuse a service of our own, on loopback alone, and exit with 1 when something that must hold does not."""


@main.command("timing")
@click.option("--samples", default="5_000", show_default=True, help="Refusals of each kind.")
@click.option("--cards", default="10_000", show_default=True, help="Cards of others in the tables.")
@click.option("--cheap", is_flag=True, help="Argon2 costs next to nothing: less noise over what else differs.")
def time_refusals(samples: str, cards: str, cheap: bool) -> None:
    """Measure how long the service takes to refuse codes of six kinds, and how well a threshold tells them apart."""
    with ground(stores=2, cheap=cheap, worker=False, cards=int(cards)) as made:
        _end("Times of refusals", timing.measure(made, samples=int(samples), say=_say))


def _say(what: str) -> None:
    """Progress, apart from the result."""
    click.echo(f"{what} …", err=True)


def _end(title: str, found: Sequence[Measured]) -> None:
    sys.exit(0 if show(title, found) else 1)


if __name__ == "__main__":
    main()
