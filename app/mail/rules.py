"""What a mail server's answer means for a letter, when to try again, and when to give up."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

FIRST_WAIT_S = 10
LONGEST_WAIT_S = 3600
#: With these waits the last try comes about three days after the first.
MOST_TRIES = 80

#: A killed worker's letter goes to the next one after this. No send lasts longer: see SLOW_S and delivery.COMMAND_S.
LEASE = timedelta(seconds=120)
#: A letter that took longer than this to reach the point of no return asks for a new lease first.
SLOW_S = 25

#: Refusals that speak of us, our login or the session (RFC 5321, section 4.2; RFC 4954), not of the recipient.
SESSION_CODES = frozenset({421, 500, 502, 503, 504, 530, 534, 535, 538})

ENHANCED = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}(?!\d)")

Verdict = Literal["accepted", "later", "never", "session"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a try ended. `reason` is short and repeats nothing of what the server said but its numbers."""

    state: Literal["sent", "later", "failed", "dropped", "lost"]
    reason: str = ""


def judge(code: int) -> Verdict:
    """What a reply to RCPT or DATA means: about this letter (`later`, `never`), or about the whole session."""
    if 200 <= code < 300:
        return "accepted"
    if code in SESSION_CODES:
        return "session"
    return "never" if 500 <= code < 600 else "later"


def numbers_of(stage: str, code: int, words: bytes) -> str:
    """`RCPT 550 5.1.1`: the reply without its words, which often repeat the address."""
    enhanced = ENHANCED.match(words)
    return f"{stage} {code}{' ' + enhanced[0].decode() if enhanced else ''}"


def wait_before_next(tries: int, draw: float) -> timedelta:
    """The wait after the try with this number: doubled each time, give or take a fifth by `draw` from [0, 1)."""
    doubled_s = FIRST_WAIT_S * 2 ** min(tries - 1, 20)
    return timedelta(seconds=min(doubled_s, LONGEST_WAIT_S) * (0.8 + 0.4 * draw))


def is_last(tries: int) -> bool:
    """Whether the try with this number was the last."""
    return tries >= MOST_TRIES
