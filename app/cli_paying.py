"""Commands of finance: approving bills, paying what they come to, entries of issuers, and months."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli_parties import MODE, wired
from app.operators import operator

if TYPE_CHECKING:  # what needs the database is loaded by the commands that use it
    from app.billing.payouts import Payout
    from app.billing.runs import Run

AT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


@click.command("approve")
@click.argument("bill_id", metavar="BILL")
@wired
def approve_bill(bill_id: str) -> None:
    """Approve a matched bill whose breaks are all closed; prints what is payable for it."""
    from app.billing.approve import approve_bill

    for each in approve_bill(bill_id, operator=operator()):
        click.echo(f"{each.id}  {each.issuer_id}  {each.currency}  {each.amount_minor} minor units")


@click.command("payables")
@click.option("--mode", type=MODE, help="Of both without it.")
@click.option("--store", "store_id", help="Of one store only.")
@wired
def payables(mode: str | None, store_id: str | None) -> None:
    """List what approved bills come to and no payout pays: by store, issuer and currency."""
    from app.billing.payables import list_payables
    from app.ids import StoreId

    for each in list_payables(mode=mode, store_id=StoreId(store_id) if store_id else None):
        whose = f"{each.store_id}  {each.issuer_id}  {each.currency}"
        click.echo(f"{each.id}  {each.bill_id}  {whose}  {each.amount_minor} minor units  {each.approved_at:%F}")


@click.group()
def runs() -> None:
    """Payment runs: one operator drafts what is paid, another releases it."""


@runs.command("draft")
@click.option("--mode", type=MODE, required=True)
@wired
def draft_run(mode: str) -> None:
    """Draft a run of all that is payable now; prints it."""
    from app.billing.runs import draft_run

    _show(draft_run(mode=mode, operator=operator()))


@runs.command("show")
@click.argument("run_id", metavar="RUN")
@wired
def show_run(run_id: str) -> None:
    """Show a run and its payouts."""
    from app.billing.runs import find_run

    _show(find_run(run_id))


@runs.command("release")
@click.argument("run_id", metavar="RUN")
@wired
def release_run(run_id: str) -> None:
    """Send what another operator drafted; what is no longer covered by what is owed is left out."""
    from app.billing.runs import release_run

    _show(release_run(run_id, operator=operator()))


@runs.command("drop")
@click.argument("run_id", metavar="RUN")
@wired
def drop_run(run_id: str) -> None:
    """Give a draft up: what it would have paid is free for the next."""
    from app.billing.runs import drop_run

    _show(drop_run(run_id, operator=operator()))


@runs.command("export")
@click.argument("run_id", metavar="RUN")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="A new file.")
@wired
def export_run(run_id: str, out: Path) -> None:
    """Write the payouts of a released run to a CSV file, the same each time; prints its SHA-256."""
    from hashlib import sha256

    from app.billing.export import export_run
    from app.db.sealed_file import draft_of

    content = export_run(run_id)
    with draft_of(out) as file:
        file.write(content)
    click.echo(f"{out}  sha256 {sha256(content).hexdigest()}")


@click.group()
def payouts() -> None:
    """What was sent to stores, and what the bank says of it."""


@payouts.command("list")
@click.option("--mode", type=MODE, help="Of both without it.")
@click.option("--state", type=click.Choice(["drafted", "in_transit", "paid", "returned", "left_out", "dropped"]))
@wired
def list_payouts(mode: str | None, state: str | None) -> None:
    """List payouts, the oldest first."""
    from app.billing.payouts import list_payouts

    for each in list_payouts(mode=mode, state=state):
        click.echo(_line(each))


@payouts.command("paid")
@click.argument("payout_ids", metavar="PAYOUT...", nargs=-1, required=True)
@wired
def note_paid(payout_ids: tuple[str, ...]) -> None:
    """Say that these have arrived: all of them or none."""
    from app.billing.payouts import note_paid

    click.echo(f"{len(note_paid(payout_ids))} paid.")


@payouts.command("returned")
@click.argument("payout_ids", metavar="PAYOUT...", nargs=-1, required=True)
@click.option("--reason", required=True, help="What the bank says.")
@wired
def note_returned(payout_ids: tuple[str, ...], reason: str) -> None:
    """Say that the bank has sent these back: all of them or none. They are owed again."""
    from app.billing.payouts import note_returned

    click.echo(f"{len(note_returned(payout_ids, reason=reason))} returned; the next run pays them by other payouts.")


@click.command("fund")
@click.argument("issuer_id", metavar="ISSUER")
@click.argument("currency")
@click.argument("amount_minor", type=int)
@click.option("--reference", required=True, help="The bank's: the same again is the same money.")
@click.option("--effective", type=AT, help="When it came, UTC; now without it.")
@wired
def fund(issuer_id: str, currency: str, amount_minor: int, reference: str, effective: datetime | None) -> None:
    """Book an issuer's money that has come, in minor units."""
    from app.billing.entries import fund
    from app.ids import IssuerId
    from app.money import Money

    at = _utc(effective)
    amount = Money(amount_minor, currency)
    made = fund(IssuerId(issuer_id), amount, reference=reference, operator=operator(), effective_at=at)
    click.echo(f"{made.id}  {made.issuer_id}  {made.currency}  {made.amount_minor} minor units")


@click.group()
def adjust() -> None:
    """Move an issuer's money between its funding and its other accounts: two operators."""


@adjust.command("propose")
@click.argument("issuer_id", metavar="ISSUER")
@click.argument("account", type=click.Choice(["bank", "goodwill", "fraud_loss", "chargeback"]))
@click.argument("currency")
@click.option("--into-funding", "into_minor", type=click.IntRange(1), help="So much enters the funding, minor units.")
@click.option("--out-of-funding", "out_minor", type=click.IntRange(1), help="So much leaves it.")
@click.option("--reason", required=True, help="For whoever approves, and for later.")
@click.option("--effective", type=AT, help="When it counts, UTC; now without it.")
@wired
def propose_adjustment(
    issuer_id: str,
    account: str,
    currency: str,
    into_minor: int | None,
    out_minor: int | None,
    reason: str,
    effective: datetime | None,
) -> None:
    """Propose an adjustment; prints its ID for another operator."""
    from app.billing.entries import propose_adjustment
    from app.ids import IssuerId
    from app.money import Money

    if (into_minor is None) == (out_minor is None):
        raise click.UsageError("Name one of --into-funding and --out-of-funding.")
    amount = Money(into_minor or -(out_minor or 0), currency)
    asked = {"account": account, "reason": reason, "operator": operator()}
    click.echo(propose_adjustment(IssuerId(issuer_id), amount, effective_at=_utc(effective), **asked).id)


@adjust.command("approve")
@click.argument("entry_id", metavar="ENTRY")
@wired
def approve_adjustment(entry_id: str) -> None:
    """Book what another operator proposed."""
    from app.billing.entries import approve_adjustment

    click.echo(f"{approve_adjustment(entry_id, operator=operator()).id} is booked.")


@adjust.command("reject")
@click.argument("entry_id", metavar="ENTRY")
@wired
def reject_adjustment(entry_id: str) -> None:
    """End a proposal, somebody else's or your own."""
    from app.billing.entries import reject_adjustment

    click.echo(f"{reject_adjustment(entry_id, operator=operator()).id} is not booked.")


@adjust.command("list")
@click.option("--all", "is_all", is_flag=True, help="Those too that were decided, and what was funded.")
@wired
def list_adjustments(is_all: bool) -> None:
    """List the adjustments that wait for another operator."""
    from app.billing.entries import list_entries

    for each in list_entries(state=None if is_all else "proposed"):
        amount = f"{each.issuer_id}  {each.account}  {each.currency}  {each.amount_minor} minor units"
        why = each.reason or each.reference
        click.echo(f"{each.id}  {each.state}  {amount}  {each.effective_at:%F}  {each.proposed_by}  {why}")


@click.group()
def months() -> None:
    """Months of the books."""


@months.command("close")
@click.argument("month", metavar="YYYY-MM")
@click.option("--mode", type=MODE, required=True)
@wired
def close_month(month: str, mode: str) -> None:
    """Close a month that is over: what is recorded later posts to the first month that is open by then."""
    from app.billing.months import close_month

    closed = close_month(month, mode=mode, operator=operator())
    click.echo(f"{closed.month} is closed for {closed.mode} money.")


@months.command("list")
@click.option("--mode", type=MODE, help="Of both without it.")
@wired
def list_months(mode: str | None) -> None:
    """List the months that are closed."""
    from app.billing.months import list_closed_months

    for each in list_closed_months(mode=mode):
        click.echo(f"{each.mode}  {each.month}  {each.closed_at:%F %T}  {each.closed_by}")


def _utc(at: datetime | None) -> datetime | None:
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def _show(run: "Run") -> None:
    released = f"  released by {run.released_by}" if run.released_by else ""
    click.echo(f"{run.id}  {run.mode}  {run.state}  drafted by {run.drafted_by}{released}")
    for each in run.payouts:
        click.echo(_line(each))
    totals: dict[str, int] = {}
    for each in run.payouts:
        if each.state not in ("left_out", "dropped"):
            totals[each.currency] = totals.get(each.currency, 0) + each.amount_minor
    for currency, total_minor in sorted(totals.items()):
        click.echo(f"in all  {total_minor} minor units of {currency}")


def _line(each: "Payout") -> str:
    why = each.left_out_because or each.returned_because or ""
    whose = f"{each.store_id}  {each.issuer_id}  {each.currency}  {each.amount_minor} minor units"
    return f"{each.id}  {each.state}  {whose}  {each.end_to_end_id}  {why}".rstrip()
