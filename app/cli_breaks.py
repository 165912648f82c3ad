"""Commands about breaks: lines of bills that did not match, and what becomes of them."""

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.billing.break_rules import PROPOSALS
from app.cli_parties import MODE, wired
from app.money import Money
from app.operators import operator

if TYPE_CHECKING:
    from app.billing.breaks import Break

#: Breaks that one call lists.
MOST_LISTED = 200
BREAK = click.argument("break_id", metavar="BREAK")
REASON = click.option("--reason", required=True, help="For whoever looks at it later.")
TIME = "%Y-%m-%d %H:%M"


@click.group()
def breaks() -> None:
    """Lines of bills that did not match, and what becomes of them."""


@breaks.command("list")
@click.option("--mode", type=MODE, help="Only of this mode.")
@click.option(
    "--state", help="Only in this state: open, assigned, proposed, resolved, written_off, rejected, reopened."
)
@click.option("--kind", help="Only of this kind, such as amount_over.")
@click.option("--store", "store_id", help="Only of this store.")
@click.option("--bill", "bill_id", help="Only of this bill.")
@click.option("--assignee", help="Only those that this one looks after.")
@click.option(
    "--older-than", "older_than_days", type=click.IntRange(min=0), help="Only those at least so many days old."
)
@click.option("--all", "also_closed", is_flag=True, help="Those that are closed too.")
@click.option("--after", help="Only those after this one.")
@wired
def list_breaks(also_closed: bool, **asked: Any) -> None:
    """List breaks that are not closed, oldest first: age, what the line asks for, and what was expected."""
    from app.billing import breaks

    closed = None if also_closed or asked["state"] else False
    found = breaks.list_breaks(**asked, closed=closed, limit=MOST_LISTED)
    rows = [("BREAK", "AGE", "STATE", "KIND", "STORE", "LINE", "ASKS FOR", "EXPECTED", "LOOKED AFTER BY")]
    rows += [
        (
            each.id,
            f"{each.age_days} d",
            each.state,
            each.kind,
            each.store_name,
            f"{each.bill_reference}:{each.line_no}",
            str(Money(each.amount_minor, each.currency)),
            _amount(each, each.expected_minor),
            each.assignee or "-",
        )
        for each in found
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows if found else []:
        cells = (_plain(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
    if len(found) == MOST_LISTED:
        click.echo(f"And perhaps more: go on with --after {found[-1].id}.")
    if not found:
        click.echo("No such break." if also_closed or asked["state"] else "No break is open.")


@breaks.command("show")
@BREAK
@wired
def show_break(break_id: str) -> None:
    """Show a break with what is proposed, what it comes to, its notes and its attachments."""
    from app.billing.breaks import read_break

    found, notes, attachments = read_break(break_id)
    for line in _described(found):
        click.echo(line)
    for note in notes:
        click.echo(f"\n{note.at:{TIME}}  {note.noted_by}")
        click.echo("\n".join(f"  {line}" for line in note.note.splitlines()))
    for each in attachments:
        click.echo(
            f"\n{each.at:{TIME}}  {each.attached_by}\n  {each.id}  {each.name}  {each.media_type}  {each.size} bytes"
        )


@breaks.command("assign")
@click.argument("break_ids", nargs=-1, required=True, metavar="BREAK...")
@click.option("--to", "assignee", help="Who looks after them; you yourself without this.")
@wired
def assign_breaks(break_ids: tuple[str, ...], assignee: str | None) -> None:
    """Say who looks after breaks."""
    from app.billing.work_break import assign_break

    for break_id in break_ids:
        found = assign_break(break_id, assignee=assignee or operator(), by=operator())
        click.echo(f"{found.id}: {found.assignee} looks after it.")


@breaks.command("propose")
@BREAK
@click.argument("proposal", type=click.Choice(PROPOSALS))
@REASON
@click.option("--payment", "payment_id", help="The payment that the line means, for match_payment.")
@click.option(
    "--issuer", "issuer_id", help="Whose goodwill a write-off is, where the line has no payment of the store."
)
@wired
def propose(break_id: str, proposal: str, **asked: Any) -> None:
    """Propose what becomes of a break; prints the proposal's ID, and what it comes to."""
    from app.billing import work_break

    found = work_break.propose(break_id, proposal, by=operator(), **asked)
    click.echo(f"{found.proposal_id}\n{_comes_to(found)}")


@breaks.command("approve")
@BREAK
@click.option("--proposal", "proposal_id", help="The proposal that you have looked at; without it, it is shown first.")
@wired
def approve_break(break_id: str, proposal_id: str | None) -> None:
    """Do what is proposed. A write-off or another payment needs somebody else than who proposed it."""
    from app.billing import work_break
    from app.billing.breaks import read_break

    if proposal_id is None:
        found, _, _ = read_break(break_id)
        for line in _described(found):
            click.echo(line)
        proposal_id = found.proposal_id or ""
        if proposal_id:
            click.confirm("Approve this?", abort=True)
    done = work_break.approve_break(break_id, proposal_id, by=operator())
    click.echo(f"{done.id}: {done.state}, {_amount(done, done.paid_minor or 0)} are paid.")


@breaks.command("decline")
@BREAK
@click.option("--proposal", "proposal_id", required=True, help="The proposal that you have looked at.")
@REASON
@wired
def decline_break(break_id: str, proposal_id: str, reason: str) -> None:
    """Take a proposal away, somebody else's or your own."""
    from app.billing import work_break

    done = work_break.decline_break(break_id, proposal_id, reason=reason, by=operator())
    click.echo(f"{done.id}: {done.state}.")


@breaks.command("reopen")
@BREAK
@REASON
@wired
def reopen_break(break_id: str, reason: str) -> None:
    """Open a closed break again, while its bill is not approved."""
    from app.billing import work_break

    click.echo(f"{work_break.reopen_break(break_id, reason=reason, by=operator()).id}: reopened.")


@breaks.command("note")
@BREAK
@click.argument("note", metavar="TEXT")
@wired
def add_note(break_id: str, note: str) -> None:
    """Say something about a break; it is kept as it is."""
    from app.billing import break_notes

    click.echo(break_notes.add_note(break_id, note, by=operator()).id)


@breaks.command("attach")
@BREAK
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--media-type", help="As it is to be remembered; by the file's name without this.")
@wired
def attach_file(break_id: str, file: Path, media_type: str | None) -> None:
    """Add a file of up to 5 MiB to a break; it is kept as it is."""
    from app.billing import break_notes

    kind = media_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    with file.open("rb") as content:
        read = content.read(break_notes.MOST_BYTES + 1)
    made = break_notes.attach_file(break_id, read, name=file.name, media_type=kind, by=operator())
    click.echo(f"{made.id}  {made.size} bytes  SHA-256 {made.sha256}")


@breaks.command("attachment")
@click.argument("attachment_id", metavar="ATTACHMENT")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new file to write it to.")
@wired
def save_attachment(attachment_id: str, out: Path) -> None:
    """Save what was added to a break to a new file. It may be anything: look at it as at a stranger's mail."""
    from app.billing.break_notes import read_attachment
    from app.db.sealed_file import draft_of

    name, content = read_attachment(attachment_id)
    with draft_of(out) as file:
        file.write(content)
    click.echo(f"{name}: {len(content)} bytes.")


def _described(found: "Break") -> list[str]:
    """A break in lines."""
    expected = "" if found.expected_minor is None else f", expected {_amount(found, found.expected_minor)}"
    told = [
        f"{found.id}  {found.mode}  {found.kind}  {found.state}  {found.age_days} days old",
        f"  bill {found.bill_reference} ({found.bill_id}, {found.period}, {found.bill_state}) of {found.store_name}",
        f"  line {found.line_no}: {found.payment_id} asks for {_amount(found, found.amount_minor)}{expected}",
    ]
    if found.other_bill_id:
        told.append(f"  taken up already by {found.other_bill_id}")
    if found.assignee:
        told.append(f"  looked after by {found.assignee}")
    if found.proposal:
        told.append(f"  {found.proposal_id or 'by itself'}: {found.proposed_by} proposed {_comes_to(found)}")
    if found.reason:
        told.append(f"  because: {found.reason}")
    if found.closed_at:
        paid = _amount(found, found.paid_minor or 0)
        told.append(f"  {found.state} by {found.approved_by} on {found.closed_at:{TIME}} UTC: {paid} are paid")
    return [_plain(line) for line in told]


def _comes_to(found: "Break") -> str:
    named = found.proposed_payment_id or found.proposed_issuer_id
    what = f"{found.proposal} of {named}" if named else str(found.proposal)
    if found.would_pay_minor is None:
        return what
    takes_up, pays = _amount(found, found.would_claim_minor), _amount(found, found.would_pay_minor)
    return f"{what}: takes up {takes_up}, pays {pays}"


def _amount(found: "Break", amount_minor: int | None) -> str:
    return "-" if amount_minor is None else str(Money(amount_minor, found.currency))


def _plain(text: str) -> str:
    """What a store wrote may hold what would move a terminal's cursor."""
    return "".join(each if each.isprintable() else "?" for each in text)
