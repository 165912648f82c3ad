"""`./run fuzz`: requests drawn from the OpenAPI document, as many as are asked for."""

import argparse
import os
import secrets
import sys

import pytest

ABOUT = """Sends requests that are drawn from the OpenAPI document to the service, half of them made not to fit, with
good access tokens and with cards, codes and payments that exist. Fails when an answer is a bug, or has a status, a
type, a field or a slug that the document does not name. Each fault is told with its request as curl: fill in an access
token and IDs of your own, as ./run demo prints them. The same seed draws the same requests."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run fuzz", description=ABOUT)
    parser.add_argument("--cases", type=int, default=20_000, help="how many at least (default 20_000)")
    parser.add_argument("--seed", type=int, help="repeats an earlier run (default: by chance, and told)")
    asked = parser.parse_args()
    seed = secrets.randbelow(10**6) if asked.seed is None else asked.seed
    os.environ.update(FUZZ_CASES=str(asked.cases), FUZZ_SEED=str(seed))
    sys.stdout.write(f"./run fuzz --cases {asked.cases} --seed {seed}\n")
    test = "tests/fuzz/test_openapi.py::test_every_answer_keeps_the_document"
    # What the service logs would fill the memory of so long a run.
    return pytest.main([test, "-q", "-s", "-p", "no:logging", "--show-capture=no"])


if __name__ == "__main__":
    sys.exit(main())
