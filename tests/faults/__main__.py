"""`./run faults`: the tests of faults in their long form, with what they have done so far."""

import argparse
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def main() -> int:
    """Sets what the tests read, and runs them."""
    wanted = read_arguments()
    os.environ["SCRIP_FAULTS_LONG"] = "1"
    for name in ("kills", "cuts", "seed"):
        os.environ[f"SCRIP_FAULTS_{name.upper()}"] = str(getattr(wanted, name))
    places = [str(HERE / f"test_{part}.py") for part in wanted.parts] or [str(HERE)]
    return int(pytest.main([*places, "-q", "-x", "--show-capture=no", "--durations=0"]))


def read_arguments() -> argparse.Namespace:
    parts = sorted(path.stem.removeprefix("test_") for path in HERE.glob("test_*.py"))
    parser = argparse.ArgumentParser(prog="./run faults", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"all of them, unless named: {', '.join(parts)}")
    parser.add_argument("--kills", type=int, default=20, help="how often PostgreSQL is killed under load (20)")
    parser.add_argument("--cuts", type=int, default=1_000, help="how many answers of each verb are lost (1_000)")
    parser.add_argument("--seed", type=int, default=0, help="repeats a run that printed it; 0 draws one")
    wanted = parser.parse_args()
    if unknown := set(wanted.parts) - set(parts):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
