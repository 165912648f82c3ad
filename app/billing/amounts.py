"""Decimal amounts as people and programs write them, with a point or a comma, and never a guess which."""

import re
from collections.abc import Iterable

from app.billing.lines import Unreadable

#: Either may be the decimal mark; the other one may then stand between thousands.
MARKS = (".", ",")
_MINUS = str.maketrans({"\u2212": "-"})
_PLAIN = re.compile(r"[+-]?[0-9]{1,14}")
#: With nothing else to go by it could be either: a thousand and some, or one and thousandths.
_LONE_GROUP = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}")
_SHAPES = {
    mark: re.compile(
        rf"(?P<sign>[+-]?)(?P<whole>[0-9]{{1,14}}|[1-9][0-9]{{0,2}}(?P<between>[{other} \u00a0\u202f'\u2019])[0-9]{{3}}"
        rf"(?:(?P=between)[0-9]{{3}}){{0,3}})(?:{re.escape(mark)}(?P<rest>[0-9]{{1,4}}))?"
    )
    for mark, other in ((".", ","), (",", "."))
}


def read_amount(text: str, digits: int, mark: str) -> int | None:
    """Minor units of an amount whose decimal mark is this one, None for any other spelling.

    It may have fewer decimals than the currency, as spreadsheets leave off zeros, and never more.
    """
    usual, _, decimals = text.partition(mark)
    if len(decimals) == digits and usual.isdecimal() and decimals.isdecimal() and text.isascii() and len(usual) <= 14:
        return int(usual + decimals)  # nearly always, and a million times
    found = _SHAPES[mark].fullmatch(text.translate(_MINUS))
    if found is None:
        return None
    rest = found["rest"] or ""
    if len(rest) > digits:
        return None
    whole = found["whole"]
    if found["between"]:
        whole = whole.replace(found["between"], "")
    minor = int(whole + rest.ljust(digits, "0"))
    return -minor if found["sign"] == "-" else minor


def vote_of(text: str, digits: int, minor: int | None) -> str | None:
    """The decimal mark that this amount is written with, None where it does not say.

    `minor`: the same amount in minor units, where the line says that too: then it decides.
    """
    readings = {mark: read_amount(text, digits, mark) for mark in MARKS}
    if fits := [mark for mark in MARKS if minor is not None and readings[mark] == minor]:
        return fits[0] if len(fits) == 1 else None
    if is_lone_group(text):
        return None
    able = [mark for mark in MARKS if readings[mark] is not None]
    return able[0] if len(able) == 1 else None


def is_undecided(text: str) -> bool:
    """Whether an amount cannot be read as long as nobody knows the decimal mark."""
    return _PLAIN.fullmatch(text.translate(_MINUS)) is None


def is_lone_group(text: str) -> bool:
    """Whether it has one mark, and three digits behind it: thousands, or thousandths of a dinar."""
    return _LONE_GROUP.fullmatch(text.translate(_MINUS)) is not None


def find_mark(amounts: Iterable[tuple[int, str, int, int | None]]) -> tuple[str | None, int]:
    """The decimal mark of the file, by (line number, text, digits, minor units or None) of its first lines.

    And the most digits of a currency whose line said so. None and -1 where nothing decides. Raises Unreadable with the
    number of the first line that contradicts those before.
    """
    mark, most_digits = None, -1
    for line_no, text, digits, minor in amounts:
        vote = vote_of(text, digits, minor)
        if vote is None:
            continue
        if mark is not None and vote != mark:
            raise Unreadable("Some amounts are written with a decimal point, some with a comma.", line_no)
        mark, most_digits = vote, max(most_digits, digits)
    return mark, most_digits
