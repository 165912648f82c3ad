"""What was measured, as a table and a chart, and which limits it misses."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.billing import BillingFigures
from bench.measure import Figures

BAR = 40


@dataclass(frozen=True, slots=True)
class Limits:
    """What must hold at every size, and between the smallest and the largest."""

    exchange_of_bound: float
    exchange_beyond_ms: float
    settle_of_pgbench: float
    token_per_s: float
    check_of_call: float
    slower_when_large: float
    match_of_bare: float


#: What we mean to be, measured with nothing else on the machine.
STRICT = Limits(
    exchange_of_bound=0.8,
    exchange_beyond_ms=5,
    settle_of_pgbench=0.35,
    token_per_s=400,
    check_of_call=0.15,
    slower_when_large=1.3,
    match_of_bare=0.35,
)
#: What only a real loss of speed misses, on whatever machine with whatever beside it.
LOOSE = Limits(
    exchange_of_bound=0.4,
    exchange_beyond_ms=100,
    settle_of_pgbench=0.12,
    token_per_s=50,
    check_of_call=0.3,
    slower_when_large=3,
    match_of_bare=0.12,
)

ROWS = (
    ("Argon2 alone, a second", "argon2_per_s", "{:,.0f}"),
    ("issue, a second", "issue_per_s", "{:,.0f}"),
    ("claim, a second", "claim_per_s", "{:,.0f}"),
    ("exchange, a second", "exchange_per_s", "{:,.0f}"),
    ("  of what Argon2 allows", "exchange_of_bound", "{:.2f}"),
    ("  beyond its Argon2, p50 ms", "exchange_beyond_p50_ms", "{:.1f}"),
    ("  beyond its Argon2, p99 ms", "exchange_beyond_p99_ms", "{:.1f}"),
    ("settle, a second", "settle_per_s", "{:,.0f}"),
    ("  the same in pgbench", "pgbench_per_s", "{:,.0f}"),
    ("  of pgbench", "settle_of_pgbench", "{:.2f}"),
    ("refund, a second", "refund_per_s", "{:,.0f}"),
    ("access tokens, a second", "token_per_s", "{:,.0f}"),
    ("an API call's processor, ms", "call_cpu_ms", "{:.2f}"),
    ("  of which who is calling", "check_of_call", "{:.2f}"),
    ("a web worker's memory, MiB", "worker_mib", "{:.0f}"),
    ("filling in the cards, s", "fill_s", "{:.0f}"),
)
RATES = ("issue_per_s", "claim_per_s", "exchange_per_s", "settle_per_s", "refund_per_s", "token_per_s")


def shown(figures: Sequence[Figures]) -> str:
    """The table, a column for each size, and below it the rates as bars."""
    head = f"{'cards':<30}" + "".join(f"{each.cards:>14,}" for each in figures)
    rows = [
        f"{name:<30}" + "".join(f"{form.format(getattr(each, field)):>14}" for each in figures)
        for name, field, form in ROWS
    ]
    return "\n".join(["", head, "-" * len(head), *rows, "", *_bars(figures), ""])


def misses(figures: Sequence[Figures], limits: Limits) -> list[str]:
    """A sentence for each limit that is missed."""
    found = []
    for each in figures:
        at = f"at {each.cards:,} cards"
        if each.exchange_of_bound < limits.exchange_of_bound:
            found.append(f"exchange is {each.exchange_of_bound:.2f} of its bound {at}, not {limits.exchange_of_bound}")
        if each.exchange_beyond_p50_ms > limits.exchange_beyond_ms:
            found.append(f"an exchange takes {each.exchange_beyond_p50_ms:.1f} ms beyond its Argon2 {at}")
        if each.settle_of_pgbench < limits.settle_of_pgbench:
            found.append(f"settle is {each.settle_of_pgbench:.2f} of pgbench {at}, not {limits.settle_of_pgbench}")
        if each.token_per_s < limits.token_per_s:
            found.append(f"{each.token_per_s:.0f} access tokens a second {at}, not {limits.token_per_s:.0f}")
        if each.check_of_call > limits.check_of_call:
            found.append(f"to check who is calling takes {each.check_of_call:.2f} of an API call {at}")
    small, large = figures[0], figures[-1]
    for rate in RATES:
        if (slower := getattr(small, rate) / getattr(large, rate)) > limits.slower_when_large:
            found.append(f"{rate.removesuffix('_per_s')} is {slower:.2f} times slower at {large.cards:,} cards")
    return found


def billing_shown(figures: BillingFigures) -> str:
    """One line."""
    return (
        f"matching: {figures.lines:,} lines in {figures.match_s:.1f} s, {figures.lines_per_s:,.0f} a second,"
        f" {figures.of_bare:.2f} of their bare insert; {figures.grown_mib:.0f} MiB more memory\n"
    )


def billing_misses(figures: BillingFigures, limits: Limits) -> list[str]:
    """A sentence for each limit that is missed."""
    found = [f"{figures.wrong} lines became something else than was planned"] if figures.wrong else []
    if figures.of_bare < limits.match_of_bare:
        found.append(f"matching is {figures.of_bare:.2f} of a bare insert, not {limits.match_of_bare}")
    return found


def _bars(figures: Sequence[Figures]) -> list[str]:
    """Each rate beside its bound: Argon2 for what hashes, pgbench for the rest."""
    longest = max(each.pgbench_per_s for each in figures)
    bars = []
    for field in (
        "pgbench_per_s",
        "settle_per_s",
        "refund_per_s",
        "issue_per_s",
        "argon2_per_s",
        "exchange_per_s",
        "claim_per_s",
    ):
        for each in figures:
            rate = getattr(each, field)
            name = f"{field.removesuffix('_per_s')}, {each.cards:,}"
            bars.append(f"{name:<20} {'█' * max(1, round(BAR * rate / longest))} {rate:,.0f}")
    return bars
