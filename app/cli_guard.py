"""Commands about the guard: what may be issued in a day, what was unusual, and who looks after it."""

from datetime import UTC, datetime
from typing import Any

import click

from app.cli_parties import wired
from app.operators import operator

#: Alarms that one call lists.
MOST_LISTED = 200


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


class Time(click.ParamType[datetime]):
    """A time as ISO 8601 has it; UTC where it does not say otherwise."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail("write it as 2026-11-28 or 2026-11-28T14:30", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


@click.group(invoke_without_command=True)
@click.option("--all", "also_ended", is_flag=True, help="Those that have ended too.")
@click.option("--since", type=Time(), help="Only those that began after this time.")
@click.pass_context
def alarms(context: click.Context, also_ended: bool, since: datetime | None) -> None:
    """What is unusual now: lists the alarms that are open, newest first."""
    if context.invoked_subcommand is None:
        wired(_list)(also_ended=also_ended, since=since)


def _list(*, also_ended: bool, since: datetime | None) -> None:
    from app.guard.alarm_words import title_of
    from app.guard.alarms import count_unsent, list_alarms

    found = list_alarms(since=since, also_ended=also_ended, limit=MOST_LISTED)
    for each in found:
        taken = f", acknowledged by {each.acknowledged_by}" if each.acknowledged_by else ""
        over = f" to {each.ended_at:%Y-%m-%d %H:%M:%S}" if each.ended_at else ""
        click.echo(f"{each.id}  {each.mode}  {each.state}{taken}  {each.first_at:%Y-%m-%d %H:%M:%S}{over} UTC")
        click.echo(f"  {title_of(each.rule)}. {each.what}\n  {each.why}\n  {each.advice}")
    if len(found) == MOST_LISTED:
        click.echo(f"And perhaps more: these are the newest {MOST_LISTED}.")
    if not found:
        click.echo("No alarm." if also_ended else "No alarm is open.")
    if unsent := count_unsent():
        click.echo(f"{unsent} messages about alarms have not arrived: the worker's log says why.", err=True)


@alarms.command("acknowledge")
@click.argument("alarm_ids", nargs=-1, required=True, metavar="ID...")
@wired
def acknowledge(alarm_ids: tuple[str, ...]) -> None:
    """Say that you look after these alarms."""
    from app.guard.alarms import acknowledge_alarms

    click.echo(f"{acknowledge_alarms(alarm_ids)} acknowledged.")


@alarms.command("replay")
@click.option("--since", type=Time(), required=True, help="From when on.")
@click.option("--until", type=Time(), help="Up to when; now, without it.")
@click.option("--rule", "names", multiple=True, help="Only this rule; again for each.")
@wired
def replay_alarms(since: datetime, until: datetime | None, names: tuple[str, ...]) -> None:
    """Print what the rules would have found in the past, with the thresholds of now; nothing is written or sent."""
    from app.db.time import current_time
    from app.guard.alarm_replay import replay
    from app.guard.alarm_rules import BY_NAME

    unknown = sorted(set(names) - set(BY_NAME))
    if unknown:
        raise click.BadParameter(f"there is no rule {unknown[0]}; there are {', '.join(BY_NAME)}", param_hint="--rule")
    rules = [BY_NAME[name] for name in names or BY_NAME]
    count = 0
    for each in replay(rules, since=since, until=until or current_time(), say=lambda word: click.echo(word, err=True)):
        episode = each.step.episode
        count += each.step.turn == "opened"
        group = f"{episode.group_id} {episode.currency or ''}".strip()
        click.echo(f"{each.at:%Y-%m-%d %H:%M:%S}  {each.step.turn:<6}  {each.rule.name}  {episode.mode}  {group}")
        if each.step.turn in ("opened", "worse"):
            click.echo(f"  {episode.what}\n  {episode.why}")
    click.echo(f"{count} alarms.")
