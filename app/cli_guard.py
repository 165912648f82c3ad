"""Commands about limits: what may be issued in a day, and who lets somebody issue more."""

import click

from app.cli_parties import wired
from app.operators import operator


@click.group()
def limits() -> None:
    """What clients and issuers may issue in a day."""


@limits.command("list")
@wired
def list_limits() -> None:
    """List what was used of which limit, and the requests for higher ones that wait."""
    from app.config import settings
    from app.issuance.limit_requests import find_limits

    found, waiting = find_limits()
    for is_issuer, kind in ((False, "a client"), (True, "an issuer")):
        minor, cards = settings().issuing.of(is_issuer=is_issuer)
        click.echo(f"by default, {kind}: {minor} minor units and {cards} cards a day, in each currency")
    for each in found:
        of_minor, of_cards = f"{each.used_minor:.0f}/{each.limit_minor}", f"{each.used_cards:.0f}/{each.limit_cards}"
        by = "own" if each.is_own else "default"
        click.echo(f"{each.subject_id}  {each.currency}  {of_minor} minor units  {of_cards} cards  {by}")
    for asked in waiting:
        click.echo(
            f"{asked.id}  {asked.subject_id}  {asked.currency}  minor units {asked.seen_minor} -> {asked.limit_minor}"
            f"  cards {asked.seen_cards} -> {asked.limit_cards}  {asked.requested_by}  {asked.requested_at:%F %T}"
            f"  {asked.reason}"
        )


@limits.command("request")
@click.argument("subject_id", metavar="SUBJECT")
@click.option("--currency", required=True)
@click.option("--money-minor", type=int, help="In minor units a day; as it is without this.")
@click.option("--cards", type=int, help="In cards a day; as it is without this.")
@click.option("--reason", required=True, help="For whoever approves, and for later.")
@wired
def request_limit(subject_id: str, currency: str, money_minor: int | None, cards: int | None, reason: str) -> None:
    """Ask for another limit of a client or an issuer: a lower one holds at once, a higher one when it is approved."""
    from app.issuance.limit_requests import request_limit

    if money_minor is None and cards is None:
        raise click.UsageError("Name --money-minor, --cards, or both.")
    wanted = {"limit_minor": money_minor, "limit_cards": cards}
    asked = request_limit(subject_id, currency, **wanted, reason=reason, operator=operator())
    click.echo("It holds from now on." if asked is None else asked.id)


@limits.command("approve")
@click.argument("request_id", metavar="REQUEST")
@wired
def approve_limit(request_id: str) -> None:
    """Let the limit hold that another operator asked for within the last seven days."""
    from app.issuance.limit_requests import approve_limit

    asked = approve_limit(request_id, operator=operator())
    click.echo(
        f"{asked.subject_id}: {asked.limit_minor} minor units of {asked.currency}, {asked.limit_cards} cards a day."
    )


@limits.command("reject")
@click.argument("request_id", metavar="REQUEST")
@wired
def reject_limit(request_id: str) -> None:
    """End a request, somebody else's or your own."""
    from app.issuance.limit_requests import reject_limit

    click.echo(f"{reject_limit(request_id, operator=operator()).subject_id}: its limit stays as it is.")
