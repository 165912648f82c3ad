"""What a rule sees: the events of its window counted by group, and what is usual for a party, both in SQL."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.config_guard import Alarms
from app.guard.alarm_rules import USUAL_DAYS, Finding, Rule, Seen, Usual, decide, floor_of

#: Windows and patterns of a large installation take longer than a request may; no request waits for them.
STATEMENT_TIMEOUT = "SET LOCAL statement_timeout = 60000"
#: Groups that one look can find: those with the highest figures.
MOST_GROUPS = 10_000
#: Parties and days whose pattern a process remembers.
MOST_REMEMBERED = 10_000

#: By verb the kind of event, and the fact that holds its amount.
MOVEMENTS = {
    "settled": ("payment_settled", "settled_minor"),
    "refunded": ("payment_refunded", "refunded_minor"),
    "issued": ("card_issued", "amount_minor"),
}


def look(db: Connection, rule: Rule, until: datetime, alarms: Alarms) -> list[Finding]:
    """What the rule finds in its window that ends at `until`. It reads events alone, and writes nothing."""
    db.exec_driver_sql(STATEMENT_TIMEOUT)
    found = (decide(rule, seen, alarms) for seen in _seen(db, rule, until, alarms))
    return [finding for finding in found if finding is not None]


def _seen(db: Connection, rule: Rule, until: datetime, alarms: Alarms) -> list[Seen]:
    since = until - rule.window
    if rule.measure is None:
        least = floor_of(rule, None, alarms)
        rows = db.exec_driver_sql(COUNTS[rule.name], (since, until, least, MOST_GROUPS))
        return [Seen(**row._mapping) for row in rows]
    is_amount = rule.measure == "amount"
    kind, fact = MOVEMENTS[rule.name.partition("_")[0]]
    rows = db.exec_driver_sql(MOVED, (since, until, kind, fact, is_amount))
    seen = [Seen(**row._mapping) for row in rows]
    large = [each for each in seen if each.figure >= floor_of(rule, each.currency, alarms)]
    return [replace(each, usual=usual_of(db, rule, each, until)) for each in large]


_remembered: dict[tuple[object, ...], Usual] = {}


def usual_of(db: Connection, rule: Rule, seen: Seen, until: datetime) -> Usual:
    """The party's pattern over the whole days before that of `until`.

    They are over, so the answer is always the same, and is asked for once a day by each process.
    """
    midnight = until.replace(hour=0, minute=0, second=0, microsecond=0)
    kind, fact = MOVEMENTS[rule.name.partition("_")[0]]
    key = (kind, rule.measure, seen.group_id, seen.currency, midnight)
    if key not in _remembered:
        if len(_remembered) >= MOST_REMEMBERED:
            _remembered.clear()
        since = midnight - timedelta(days=USUAL_DAYS)
        asked = (seen.group_id, kind, since, midnight, fact, rule.measure == "amount", seen.currency)
        row = db.exec_driver_sql(USUAL, asked).one()
        _remembered[key] = Usual(row.busy_hours, float(row.mean or 0), float(row.spread or 0))
    return _remembered[key]


def kinds_of(rule: Rule) -> tuple[str, ...]:
    """The kinds of events that the rule looks at."""
    return KINDS[rule.name] if rule.measure is None else (MOVEMENTS[rule.name.partition("_")[0]][0],)


def forget_usual() -> None:
    """For tests, which write history after the fact."""
    _remembered.clear()


# Of one group after the other. A code token that is over was no code that anybody tried.
_CODES = """
    SELECT facts ->> 'mode' AS mode, {group} AS group_id, {party} AS party_id,
        count(*) FILTER (WHERE kind = 'code_refused') AS figure, count(*) AS of,
        min(at) FILTER (WHERE kind = 'code_refused') AS first_at,
        max(at) FILTER (WHERE kind = 'code_refused') AS last_at
    FROM event
    WHERE kind IN ('code_refused', 'code_exchanged') AND at > $1 AND at <= $2 AND facts ->> 'mode' IS NOT NULL
        AND COALESCE(facts ->> 'reason', '') NOT LIKE 'token%'
    GROUP BY 1, 2, 3 HAVING count(*) FILTER (WHERE kind = 'code_refused') >= $3
    ORDER BY figure DESC LIMIT $4
"""
_STORE_CODES = _CODES.format(group="facts ->> 'store_id'", party="facts ->> 'store_id'")
_OVERALL_CODES = _CODES.format(group="'overall'::text", party="NULL::text")

# Whose a card is, and of which mode, its first event says.
_CODE_ELSEWHERE = """
    SELECT issued.facts ->> 'mode' AS mode, issued.card_id AS group_id, issued.facts ->> 'issuer_id' AS party_id,
        count(*) AS figure, count(*) AS of, min(tried.at) AS first_at, max(tried.at) AS last_at
    FROM event tried JOIN event issued ON issued.card_id = tried.facts ->> 'card_id' AND issued.kind = 'card_issued'
    WHERE tried.kind = 'code_refused' AND tried.at > $1 AND tried.at <= $2
        AND tried.facts ->> 'reason' = 'bound_elsewhere' AND issued.facts ->> 'mode' IS NOT NULL
    GROUP BY issued.card_id, issued.facts HAVING count(*) >= $3
    ORDER BY figure DESC LIMIT $4
"""

_OPENINGS = """
    SELECT issued.facts ->> 'mode' AS mode, opened.facts ->> 'address' AS group_id, NULL AS party_id,
        count(DISTINCT opened.card_id) AS figure, count(*) AS of, min(opened.at) AS first_at, max(opened.at) AS last_at
    FROM event opened JOIN event issued ON issued.card_id = opened.card_id AND issued.kind = 'card_issued'
    WHERE opened.kind = 'code_shown' AND opened.at > $1 AND opened.at <= $2
        AND opened.facts ->> 'address' IS NOT NULL AND issued.facts ->> 'mode' IS NOT NULL
    GROUP BY opened.facts ->> 'address', issued.facts ->> 'mode' HAVING count(DISTINCT opened.card_id) >= $3
    ORDER BY figure DESC LIMIT $4
"""

# What we ourselves do when a pepper is retired is nobody's wish.
_NEW_LINKS = """
    SELECT issued.facts ->> 'mode' AS mode, issued.card_id AS group_id, issued.facts ->> 'issuer_id' AS party_id,
        made.figure, made.figure AS of, made.first_at, made.last_at
    FROM (
        SELECT card_id, count(*) AS figure, min(at) AS first_at, max(at) AS last_at FROM event
        WHERE kind IN ('link_reissued', 'address_corrected') AND at > $1 AND at <= $2
            AND facts ->> 'reason' IS DISTINCT FROM 'pepper'
        GROUP BY card_id HAVING count(*) >= $3 ORDER BY figure DESC LIMIT $4
    ) AS made JOIN event issued ON issued.card_id = made.card_id AND issued.kind = 'card_issued'
    WHERE issued.facts ->> 'mode' IS NOT NULL
"""

# Written once an hour for each limit; once a day for each currency. A balance that is missing is told to operators.
_OF_ISSUER = """
    SELECT facts ->> 'mode' AS mode, facts ->> 'issuer_id' AS group_id, {party} AS party_id,
        count(*) AS figure, count(*) AS of, min(at) AS first_at, max(at) AS last_at
    FROM event WHERE kind = '{kind}' AND at > $1 AND at <= $2
    GROUP BY facts ->> 'mode', facts ->> 'issuer_id' HAVING count(*) >= $3
    ORDER BY figure DESC LIMIT $4
"""

# The country of the newest code that the card had shown by then.
_OTHER_COUNTRY = """
    SELECT issued.facts ->> 'mode' AS mode, used.facts ->> 'store_id' AS group_id,
        used.facts ->> 'store_id' AS party_id,
        count(DISTINCT used.card_id) FILTER (WHERE opened.country <> used.facts ->> 'country') AS figure,
        count(DISTINCT used.card_id) AS of, min(used.at) AS first_at, max(used.at) AS last_at
    FROM event used
    JOIN event issued ON issued.card_id = used.card_id AND issued.kind = 'card_issued'
    CROSS JOIN LATERAL (
        SELECT shown.facts ->> 'country' AS country FROM event shown
        WHERE shown.card_id = used.card_id AND shown.kind = 'code_shown' AND shown.at <= used.at
        ORDER BY shown.at DESC LIMIT 1
    ) AS opened
    WHERE used.kind IN ('code_token_made', 'code_exchanged') AND used.at > $1 AND used.at <= $2
        AND used.facts ->> 'country' IS NOT NULL AND opened.country IS NOT NULL AND issued.facts ->> 'mode' IS NOT NULL
    GROUP BY used.facts ->> 'store_id', issued.facts ->> 'mode'
    HAVING count(DISTINCT used.card_id) FILTER (WHERE opened.country <> used.facts ->> 'country') >= $3
    ORDER BY figure DESC LIMIT $4
"""

#: The kinds of events by which what a rule finds changes; those of MOVEMENTS for the others.
KINDS: Mapping[str, tuple[str, ...]] = {
    "wrong_codes_store": ("code_refused", "code_exchanged"),
    "wrong_codes_overall": ("code_refused", "code_exchanged"),
    "code_elsewhere": ("code_refused",),
    "openings_address": ("code_shown",),
    "new_links_card": ("link_reissued", "address_corrected"),
    "other_country": ("code_token_made", "code_exchanged"),
    "issuing_limited": ("issuing_limited",),
    "funds_short": ("funds_short",),
    "funds_low": ("funds_low",),
    "funds_unknown": ("funds_unknown",),
}

#: The rules that count: since, until, the least figure, the most groups.
COUNTS: Mapping[str, str] = {
    "wrong_codes_store": _STORE_CODES,
    "wrong_codes_overall": _OVERALL_CODES,
    "code_elsewhere": _CODE_ELSEWHERE,
    "openings_address": _OPENINGS,
    "new_links_card": _NEW_LINKS,
    "other_country": _OTHER_COUNTRY,
    "issuing_limited": _OF_ISSUER.format(kind="issuing_limited", party="facts ->> 'issuer_id'"),
    "funds_short": _OF_ISSUER.format(kind="funds_short", party="facts ->> 'issuer_id'"),
    "funds_low": _OF_ISSUER.format(kind="funds_low", party="facts ->> 'issuer_id'"),
    "funds_unknown": _OF_ISSUER.format(kind="funds_unknown", party="NULL"),
}

MOVED = """
    SELECT facts ->> 'mode' AS mode, COALESCE(facts ->> 'issuer_id', facts ->> 'store_id') AS group_id,
        COALESCE(facts ->> 'issuer_id', facts ->> 'store_id') AS party_id,
        CASE WHEN $5::boolean THEN facts ->> 'currency' END AS currency,
        (CASE WHEN $5::boolean THEN sum((facts ->> $4::text)::bigint) ELSE count(*) END)::bigint AS figure,
        count(*) AS of, min(at) AS first_at, max(at) AS last_at
    FROM event WHERE kind = $3 AND at > $1 AND at <= $2 AND facts ->> 'mode' IS NOT NULL
    GROUP BY 1, 2, 4
"""

# A party has one mode, so its history needs none. The list of kinds lets the planner take the index of money.
USUAL = """
    SELECT count(*) AS busy_hours, avg(figure) AS mean, stddev_pop(figure) AS spread FROM (
        SELECT CASE WHEN $6::boolean THEN sum((facts ->> $5::text)::bigint) ELSE count(*) END AS figure
        FROM event
        WHERE COALESCE(facts ->> 'issuer_id', facts ->> 'store_id') = $1 AND kind = $2 AND at >= $3 AND at < $4
            AND kind IN ('card_issued', 'payment_settled', 'payment_refunded')
            AND (NOT $6::boolean OR facts ->> 'currency' = $7::text)
        GROUP BY date_trunc('hour', at)
    ) AS hours
"""
