"""`./run simulate`: the simulation for as long as asked."""

import argparse
import secrets
import sys
from pathlib import Path

import click
import pytest

from tests.simulation.long_run import Wanted


def main() -> int:
    """Reads what is wanted, and runs it. The same seed takes the same steps."""
    parser = argparse.ArgumentParser(
        prog="./run simulate",
        description="Random walks over all verbs: the service and a model of it take every step together, and must "
        "agree. A difference is shortened, printed with its seed, and ends the run.",
    )
    parser.add_argument(
        "--steps", type=int, default=10_000, help="how many at least, such as 1_000_000 (default 10_000)"
    )
    parser.add_argument(
        "--seed", type=int, help="begin with this walk (default: anywhere); the next walk has the next number"
    )
    asked = parser.parse_args()
    seed = secrets.randbelow(10**12) if asked.seed is None else asked.seed
    click.echo(f"./run simulate --steps {asked.steps:_} --seed {seed}")
    where = Path(__file__).with_name("long_run.py")
    return pytest.main(["-q", "-s", "--tb=short", "-p", "no:cacheprovider", str(where)], [Wanted(asked.steps, seed)])


if __name__ == "__main__":
    sys.exit(main())
