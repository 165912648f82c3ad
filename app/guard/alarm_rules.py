"""What is unusual: the rules, their windows and thresholds, and what an alarm says; pure decisions over figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Literal

from app.config_guard import Alarms
from app.money import Money, minor_digits

GroupKind = Literal["store", "issuer", "card", "address", "overall"]
Measure = Literal["amount", "count"]

#: The one group of a rule that watches everybody.
OVERALL = "overall"
#: A party that was busy in fewer hours of the last days has no usual pattern yet,
LEAST_BUSY_HOURS = 24
#: so that this many times the floor counts for it, and no amount that came in fewer movements than these.
UNKNOWN_TIMES, UNKNOWN_LEAST = 10, 5
#: What a new issuer issues may be a thief's: it is less than one client's daily limit.
UNKNOWN_TIMES_ISSUED = 2
#: So many days make the usual pattern, up to the last midnight (UTC).
USUAL_DAYS = 28


@dataclass(frozen=True, slots=True)
class Usual:
    """What a party did in each hour in which it did anything: how many such hours, their mean, their spread."""

    busy_hours: int
    mean: float
    spread: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What one group did within a rule's window. `figure` is a count, or an amount in minor units of `currency`.

    `of`: how many tries, or movements, it was in all. `party_id`: who may see an alarm of it; None for operators alone.
    """

    mode: str
    group_id: str
    party_id: str | None
    figure: int
    of: int
    first_at: datetime
    last_at: datetime
    currency: str | None = None
    usual: Usual | None = None

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What makes it the same group, of one rule, in the next window."""
        return self.mode, self.group_id, self.currency


@dataclass(frozen=True, slots=True)
class Finding:
    """A figure that reached its threshold, and what is said of it."""

    seen: Seen
    threshold: int
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `setting` names its threshold, or its floor where it compares with what is usual (`measure`).

    It looks every `every_s` seconds at the `window_s` seconds before. `at_share`: a count must be this share of all
    tries too. The sentences take `{figure}`, `{of}`, `{threshold}`, `{group}`, `{window}`; advice `{group}` and
    `{currency}`. `advice` is for operators, `party_advice` for the party that may see the alarm.
    """

    name: str
    title: str
    group: GroupKind
    window_s: int
    every_s: int
    setting: str
    what: str
    advice: str
    party_advice: str = ""
    why: str = "{threshold} or more are unusual within {window}."
    measure: Measure | None = None
    at_share: bool = False
    unknown_times: int = UNKNOWN_TIMES

    @property
    def window(self) -> timedelta:
        return timedelta(seconds=self.window_s)

    @property
    def every(self) -> timedelta:
        return timedelta(seconds=self.every_s)


def floor_of(rule: Rule, currency: str | None, alarms: Alarms) -> int:
    """Below this figure the rule finds nothing, whatever is usual; in minor units for an amount."""
    floor = int(getattr(alarms.thresholds, rule.setting))
    if rule.measure == "amount" and currency is not None:
        return int(floor * alarms.rates.get(currency, 1) * 10 ** minor_digits(currency))
    return floor


def decide(rule: Rule, seen: Seen, alarms: Alarms) -> Finding | None:
    """What there is to say of this window; None where it is nothing unusual."""
    floor = floor_of(rule, seen.currency, alarms)
    if seen.figure < floor:
        return None
    if rule.at_share and seen.figure * 100 < alarms.thresholds.wrong_codes_share * seen.of:
        return None
    threshold, why = floor, _sentence(rule, rule.why, seen, floor)
    if rule.measure is not None:
        threshold, why = _against_usual(rule, seen, floor, alarms)
        if seen.figure < threshold or (rule.measure == "amount" and is_new(seen) and seen.of < UNKNOWN_LEAST):
            return None
    if rule.at_share:
        why = f"{why[:-1]}, if they are {alarms.thresholds.wrong_codes_share} % of all."
    return Finding(seen, threshold, _sentence(rule, rule.what, seen, threshold), why)


def is_new(seen: Seen) -> bool:
    """Whether the party has no usual pattern yet."""
    return seen.usual is None or seen.usual.busy_hours < LEAST_BUSY_HOURS


def _against_usual(rule: Rule, seen: Seen, floor: int, alarms: Alarms) -> tuple[int, str]:
    """The threshold for this party by its own history, and why it is that."""
    if seen.usual is None or is_new(seen):
        threshold = floor * rule.unknown_times
        told = f"It was busy in fewer than {LEAST_BUSY_HOURS} hours of {USUAL_DAYS} days, so what is usual is not known"
        return threshold, f"{told}: {_shown(rule, threshold, seen)} or more is taken for unusual."
    usual, wanted = seen.usual, alarms.thresholds
    threshold = max(floor, ceil(wanted.times_usual * usual.mean), ceil(usual.mean + wanted.spreads * usual.spread))
    mean, spread = (_shown(rule, round(each), seen) for each in (usual.mean, usual.spread))
    told = f"In its busy hours of the last {USUAL_DAYS} days it is {mean} on average, with a spread of {spread}"
    return threshold, f"{told}: {_shown(rule, threshold, seen)} or more is unusual."


def advice_of(rule: Rule, group_id: str, currency: str | None, *, for_party: bool) -> str:
    """What to do, in one sentence: for operators, or for the party."""
    template = rule.party_advice if for_party else rule.advice
    return template.format(group=group_id, currency=currency or "CURRENCY")


def _sentence(rule: Rule, template: str, seen: Seen, threshold: int) -> str:
    return template.format(
        figure=_shown(rule, seen.figure, seen),
        of=f"{seen.of:,}",
        threshold=_shown(rule, threshold, seen),
        group=seen.group_id,
        window=in_words(rule.window_s),
    )


def _shown(rule: Rule, figure: int, seen: Seen) -> str:
    if rule.measure == "amount" and seen.currency is not None:
        return str(Money(figure, seen.currency))
    return f"{figure:,}"


def in_words(seconds: int) -> str:
    """`30 seconds`, `10 minutes`, `an hour`, `a day`."""
    known = {3_600: "an hour", 86_400: "a day"}
    return known.get(seconds) or (f"{seconds // 60} minutes" if seconds % 60 == 0 else f"{seconds} seconds")


_KEEP_STORE = "Change the credentials of your checkout, if anybody else may have them, and look at who is typing codes."
_LOOK_AT_STORE = (
    "Ask the store {group}; if it knows nothing, end its clients by `scrip client disable` "
    "(`scrip client list` names them)"
)


def _movements(verb: str, title: str, group: GroupKind, amounts: str, counts: str, **more: Any) -> list[Rule]:
    """Two rules over one kind of movement, of its amounts and of its number, against what is usual for the party."""
    sentences: dict[Measure, str] = {"amount": amounts, "count": counts}
    return [
        Rule(
            f"{verb}_{measure}",
            f"{title} above usual",
            group=group,
            window_s=3_600,
            every_s=60,
            setting=f"{verb}_{measure}",
            measure=measure,
            what=what,
            **more,
        )
        for measure, what in sentences.items()
    ]


RULES: tuple[Rule, ...] = (
    Rule(
        "wrong_codes_store",
        "Wrong codes at a store",
        group="store",
        window_s=30,
        every_s=10,
        setting="wrong_codes_store",
        at_share=True,
        what="{figure} of {of} codes tried at the store {group} within {window} were wrong.",
        advice="The guard slows them down by itself, also where they come by our own pages for its orders; ask the "
        "store {group} who is typing, and only if its own machine is the source, end that client by "
        "`scrip client disable`.",
        party_advice=_KEEP_STORE,
    ),
    Rule(
        "wrong_codes_overall",
        "Wrong codes overall",
        group="overall",
        window_s=30,
        every_s=10,
        setting="wrong_codes_overall",
        at_share=True,
        what="{figure} of {of} codes tried at all stores within {window} were wrong.",
        advice="The guard slows them down by itself; look by `scrip alarms` at which stores it happens, and let your "
        "proxy turn the sources away.",
    ),
    Rule(
        "code_elsewhere",
        "A code shown at one store and tried at another",
        group="card",
        window_s=3_600,
        every_s=60,
        setting="elsewhere",
        what="The code of the card {group}, which one store has, was tried {figure} times at others within {window}.",
        why="A holder may try a card twice; {threshold} or more tries within {window} look like a thief's.",
        advice="Nothing was lost, for the code is worth nothing there; if it happens to many cards of one store, ask "
        "that store who sees codes, and end its clients by `scrip client disable`.",
        party_advice="Nothing was lost; reissue the card when the store lets go of it, if its holder did not try it.",
    ),
    Rule(
        "openings_address",
        "Many openings from one address",
        group="address",
        window_s=600,
        every_s=60,
        setting="openings",
        what="Links of {figure} cards were opened from one network (mark {group}) within {window}.",
        why="{threshold} or more are unusual for one network within {window}, unless many holders work in one place.",
        advice="Unless an issuer has just sent cards to people in one place, ask the issuers of these to reissue what "
        "is left of them, and if letters were read on their way, change the mail server's credentials.",
    ),
    Rule(
        "new_links_card",
        "Many new links for one card",
        group="card",
        window_s=86_400,
        every_s=60,
        setting="new_links",
        what="The card {group} got {figure} new links within {window}.",
        why="Its holder may ask for three a day; {threshold} or more are unusual within {window}.",
        advice="Ask the card's issuer whether this was its own doing; if it was not, end that issuer's client by "
        "`scrip client disable`.",
        party_advice="Ask the holder; if somebody reads their letters, correct the card's address.",
    ),
    Rule(
        "other_country",
        "Links opened in one country and codes used in another",
        group="store",
        window_s=3_600,
        every_s=60,
        setting="countries",
        at_share=True,
        what="{figure} of {of} cards used at the store {group} within {window} had been opened in another country.",
        why="{threshold} or more are unusual within {window}.",
        advice=f"{_LOOK_AT_STORE}, and ask the issuers of these cards to reissue what is left of them.",
        party_advice="Hold back what was ordered with these cards until you know who ordered it.",
    ),
    *_movements(
        "settled",
        "Settlements",
        "store",
        "The store {group} settled {figure} in {of} settlements within {window}.",
        "The store {group} made {figure} settlements within {window}.",
        advice=f"{_LOOK_AT_STORE}, and pay nothing out to it before you know.",
        party_advice=_KEEP_STORE,
    ),
    *_movements(
        "refunded",
        "Refunds",
        "store",
        "The store {group} refunded {figure} in {of} refunds within {window}.",
        "The store {group} made {figure} refunds within {window}.",
        advice="Limit what a stolen secret may refund by `scrip store limit-refunds {group} {currency} 0`, and ask the "
        "store; if it knows nothing, end its clients by `scrip client disable`.",
        party_advice=_KEEP_STORE,
    ),
    *_movements(
        "issued",
        "Cards issued",
        "issuer",
        "The issuer {group} issued {figure} in {of} cards within {window}.",
        "The issuer {group} issued {figure} cards within {window}.",
        advice="Ask the issuer {group}; if it knows nothing, end its clients by `scrip client disable` "
        "(`scrip client list` names them).",
        party_advice="If you did not issue them, have the operator disable your client at once, and change its "
        "credentials.",
        unknown_times=UNKNOWN_TIMES_ISSUED,
    ),
    Rule(
        "issuing_limited",
        "An issuing limit was reached",
        group="issuer",
        window_s=3_600,
        every_s=60,
        setting="issuing_limited",
        what="The issuer {group} reached {figure} of its issuing limits within {window}.",
        why="A limit is more than is issued in a day; who reaches it may be a thief.",
        advice="Ask the issuer {group}; if it knows nothing, end its clients by `scrip client disable`, and if it "
        "does, raise the limit by `scrip limits request`.",
        party_advice="If you did not issue so much, have the operator disable your client at once, and change its "
        "credentials.",
    ),
    Rule(
        "funds_short",
        "Too little money is on an issuer's account",
        group="issuer",
        window_s=86_400,
        every_s=60,
        setting="funds_short",
        what="The bank's balance for the issuer {group} was below what must be there, in {figure} currencies or days.",
        why="What cards are worth and what stores are owed must be there at the end of each day.",
        advice="Look at `scrip report safeguarding --issuer {group}`, and pay nothing out for this issuer before the "
        "difference is known.",
        party_advice="Send the money that is missing, or ask the operator what your statement does not explain.",
    ),
    Rule(
        "funds_low",
        "An issuer's account is low",
        group="issuer",
        window_s=86_400,
        every_s=60,
        setting="funds_low",
        what="The bank's balance for the issuer {group} was below its least, in {figure} currencies or days.",
        why="Below the least that was agreed people are told while there is time.",
        advice="Ask the issuer {group} to send money; `scrip funds warn` changes from which balance on this is said.",
        party_advice="Send money, so that your cards can be paid.",
    ),
    Rule(
        "funds_unknown",
        "Nobody knows what is on an issuer's account",
        group="issuer",
        window_s=86_400,
        every_s=60,
        setting="funds_unknown",
        what="For the issuer {group} there is no bank balance, or an old one, in {figure} currencies.",
        why="Where nobody looks what is missing is not noticed.",
        advice="Enter the bank's balance by `scrip funds enter`, or import the bank's file by `scrip funds import`.",
        party_advice="The service's operators see to it.",
    ),
)

BY_NAME: Mapping[str, Rule] = {rule.name: rule for rule in RULES}
