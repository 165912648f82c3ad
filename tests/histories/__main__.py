"""Long runs: many histories with faults, each judged. Or one that was kept in a file is judged again."""

import random
import sys
import time
from collections import Counter
from pathlib import Path

import click

from tests.histories.ground import Outcome, own_ground, run_history
from tests.histories.judge import judge
from tests.histories.record import History

#: As many as a card takes until its clients have met in every way.
OPERATIONS_A_CARD = 50


@click.command(help=__doc__)
@click.option("--histories", default=50, show_default=True, help="How many.")
@click.option(
    "--operations", default=2_000, show_default=True, help="Of each history, repeats after faults not counted."
)
@click.option("--cards", type=int, help=f"Of each history; one for every {OPERATIONS_A_CARD} operations by default.")
@click.option("--clients", default=12, show_default=True, help="At once.")
@click.option("--seed", type=int, help="Draws what is asked and where faults strike; not who wins a race.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path(), help="Where wrong histories are kept; here.")
@click.option("--check", type=click.Path(exists=True, path_type=Path), help="A kept history to judge; nothing is run.")
def main(
    histories: int, operations: int, cards: int | None, clients: int, seed: int | None, folder: Path, check: Path | None
) -> None:
    if check is not None:
        sys.exit(_check(check))
    first = random.randrange(2**32) if seed is None else seed
    cards = cards or max(2, operations // OPERATIONS_A_CARD)
    click.echo(f"{histories} histories of {operations} operations on {cards} cards; --seed {first}")
    wrong = 0
    with own_ground() as ground:
        for number in range(histories):
            began = time.monotonic()
            outcome = run_history(ground, seed=first + number, operations=operations, cards=cards, clients=clients)
            click.echo(f"{number + 1}/{histories}: {_line(outcome)}; {time.monotonic() - began:.0f} s")
            wrong += bool(outcome.wrong)
            if outcome.wrong:
                _keep(outcome, folder)
    click.echo(f"{wrong} of {histories} histories are wrong." if wrong else "Every history has a legal order.")
    sys.exit(1 if wrong else 0)


def _line(outcome: Outcome) -> str:
    operations = outcome.history.operations
    count = Counter(
        "unknown" if one.answer is None else "refused" if "refused" in one.answer else "done" for one in operations
    )
    replayed = sum(one.answer is not None and one.answer.get("replayed") is True for one in operations)
    struck = ", ".join(f"{number} {what}" for what, number in sorted(outcome.struck.items()))
    return (
        f"{len(operations)} asked, {count['done']} done ({replayed} replayed), {count['refused']} refused, "
        f"{count['unknown']} unknown; {struck}; {outcome.judgement.visited} places searched; "
        f"{'WRONG' if outcome.wrong else 'legal'}"
    )


def _keep(outcome: Outcome, folder: Path) -> None:
    path = folder / f"history-{outcome.history.seed}.jsonl"
    outcome.history.write(path)
    click.echo("\n".join([*outcome.wrong[:20], f"kept in {path}"]))


def _check(path: Path) -> int:
    history = History.read(path)
    judgement = judge(history)
    click.echo("\n".join(judgement.wrong) or f"{len(history.operations)} operations have a legal order.")
    return 1 if judgement.wrong else 0


if __name__ == "__main__":
    main()
