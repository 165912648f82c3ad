"""`./run abuse`: people who guess, at a service of their own on this machine, and whether anybody else notices."""

import sys
from collections.abc import Sequence

import click

from bench.abuse import guess, hostile_shopper, limits, timing
from bench.abuse.ground import ground
from bench.abuse.verdict import Measured, show


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Abuse a service of our own, on loopback alone, and exit with 1 when something that must hold does not."""


@main.command("guess")
@click.option("--guesses", default="100_000", show_default=True, help="In all.")
@click.option("--prefixes", default=1_000, show_default=True, help="Networks that they come from.")
@click.option("--stores", default=20, show_default=True, help="Stores that they go through.")
@click.option("--seconds", default=600.0, show_default=True, help="The attack's, unless --per-s says more.")
@click.option("--per-s", type=float, help="Guesses a second; what makes all of them in --seconds, when not given.")
@click.option("--honest-per-s", default=1.0, show_default=True, help="Honest shopping trips that begin in a second.")
@click.option("--idle", default=60.0, show_default=True, help="Seconds of honest people alone, before.")
@click.option("--after", default=75.0, show_default=True, help="And after the attack.")
@click.option("--cheap", is_flag=True, help="Argon2 costs next to nothing, for a try of the script itself.")
def guess_codes(
    guesses: str,
    prefixes: int,
    stores: int,
    seconds: float,
    per_s: float | None,
    honest_per_s: float,
    idle: float,
    after: float,
    cheap: bool,
) -> None:
    """Guess codes from many networks, in every way there is, while honest people shop."""
    with ground(stores=stores, cheap=cheap) as made:
        found = guess.measure(
            made,
            guesses=int(guesses),
            networks=prefixes,
            per_s=per_s or int(guesses) / seconds,
            honest_per_s=honest_per_s,
            times=guess.Times(idle, seconds * 2, after),
            say=_say,
        )
    _end("Guessing", found)


@main.command("hostile-shopper")
@click.option("--seconds", default=60.0, show_default=True, help="Without him, and with him again.")
@click.option("--per-s", type=float, help="His guesses a second; as fast as he is answered, when not given.")
@click.option("--honest-per-s", default=1.0, show_default=True, help="Honest shopping trips that begin in a second.")
@click.option("--cheap", is_flag=True, help="Argon2 costs next to nothing, for a try of the script itself.")
def be_hostile(seconds: float, per_s: float | None, honest_per_s: float, cheap: bool) -> None:
    """Let one shopper of an honest store guess as fast as he can, beside the store's other shoppers."""
    with ground(stores=1, cheap=cheap) as made:
        found = hostile_shopper.measure(made, honest_per_s=honest_per_s, seconds=seconds, per_s=per_s, say=_say)
    _end("A hostile shopper", found)


@main.command("limits")
@click.option(
    "--cheap", is_flag=True, help="Argon2 costs next to nothing: quicker, and more are looked at in a moment."
)
def hold_limits(cheap: bool) -> None:
    """Try to pass each limit: by two workers at once, by headers, networks, letters and spellings."""
    with ground(stores=1, cheap=cheap, worker=False, trusted="") as made:
        found = limits.measure_untrusting(made)
    with ground(stores=1, cheap=cheap, worker=False) as made:
        found += limits.measure(made)
    _end("Limits", found)


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
