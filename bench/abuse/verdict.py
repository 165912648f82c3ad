"""What was measured beside what must hold, as a table; and whether all of it does."""

from collections.abc import Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure. `limit` says in words what must hold, or that nothing must."""

    name: str
    figure: str
    limit: str = "–"
    holds: bool = True


def show(title: str, found: Sequence[Measured]) -> bool:
    """Prints the table; returns whether everything holds."""
    widths = [max(len(getattr(each, name)) for each in found) for name in ("name", "figure", "limit")]
    click.echo(f"\n{title}")
    for each in found:
        cells = [each.name.ljust(widths[0]), each.figure.rjust(widths[1]), each.limit.ljust(widths[2])]
        click.echo(f"  {'  '.join(cells)}  {'' if each.holds else 'MISSED'}".rstrip())
    return all(each.holds for each in found)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not pass; 0 for none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0
