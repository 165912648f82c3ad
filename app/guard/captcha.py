"""A captcha by work: a browser searches for a number, which costs it a second and us next to nothing to look at.

It is altcha's second protocol with PBKDF2. The number is drawn here, so that the search has an end, and the key that it
leads to is signed, so that a solution is looked at by two HMACs and no PBKDF2.
"""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from altcha import Payload, create_challenge, verify_solution
from sqlalchemy import Connection, delete, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from app import clock
from app.config import settings
from app.db.time import current_time
from app.db.transaction import transaction
from app.errors import CaptchaNeeded
from app.guard.captcha_models import SpentCaptcha
from app.secrecy import keyed_hash

Purpose = Literal["claim", "checkout", "widget"]

GOOD_FOR = timedelta(minutes=10)
#: The rounds of PBKDF2 for each number that is tried. Making a challenge takes us as many, so they are few; how many
#: numbers there are is the setting CAPTCHA_COST.
ALGORITHM, ROUNDS = "PBKDF2/SHA-256", 1_000
#: Twice what a solution has.
LONGEST_SOLUTION = 1_600

#: So long one is kept after its end: longer than any repeat can be under way, or a clock be set back.
KEPT_AFTER = timedelta(hours=1)
FORGET_BATCH = 1_000


def prove(solution: object, *, purpose: Purpose, session: str) -> None:
    """Lets pass who has solved a captcha. Raises as `spend_solution`, for want of one too."""
    if not isinstance(solution, str):
        raise _needed(purpose, session)
    spend_solution(solution, purpose=purpose, session=session)


def make_challenge(purpose: Purpose, session: str) -> dict[str, Any]:
    """A challenge as the browser's part of altcha takes it; good for ten minutes, for this purpose and session.

    `session` is what this page has and no other; it is neither stored nor shown. Nothing is written. Raises Busy.
    """
    signing_key, proving_key = _keys(purpose, session, settings().keys.hashing.newest)
    challenge = create_challenge(
        ALGORITHM,
        ROUNDS,
        counter=secrets.randbelow(settings().captcha_cost),
        data={"until": int((current_time() + GOOD_FOR).timestamp())},  # altcha's own end goes by this machine's clock
        hmac_secret=signing_key,
        hmac_key_secret=proving_key,
    )
    return challenge.to_dict()


def spend_solution(solution: str, *, purpose: Purpose, session: str) -> None:
    """Takes a solution, the once that it is good for.

    Raises CaptchaNeeded, with a fresh challenge, for one that is wrong, altered, over, made for another purpose or
    session, or spent before; Busy.
    """
    payload = _read_solution(solution)
    if payload is None or not _is_right(payload, purpose, session):
        raise _needed(purpose, session)
    with transaction() as db:
        is_good = _spend(db, payload)
    if not is_good:
        raise _needed(purpose, session)


def forget_spent_captchas() -> int:
    """Drops a batch of those that ended long ago, which nobody can repeat; returns how many. Raises Busy."""
    with transaction() as db:
        over = select(SpentCaptcha.signature).where(SpentCaptcha.expires_at < clock.now(db) - KEPT_AFTER)
        gone = delete(SpentCaptcha).where(SpentCaptcha.signature.in_(over.limit(FORGET_BATCH)))
        return db.execute(gone).rowcount


def _needed(purpose: Purpose, session: str) -> CaptchaNeeded:
    return CaptchaNeeded(
        "Solve the challenge and send the same request with its solution as captcha: once, within ten minutes.",
        challenge=make_challenge(purpose, session),
    )


def _read_solution(solution: str) -> Payload | None:
    """None for what has not even the shape of one."""
    if len(solution) > LONGEST_SOLUTION:
        return None
    try:
        return Payload.from_base64(solution)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _is_right(payload: Payload, purpose: Purpose, session: str) -> bool:
    """Whether a challenge of ours for this purpose and session was solved, under whichever version of our key."""
    for version in settings().keys.hashing.versions:
        signing_key, proving_key = _keys(purpose, session, version)
        if verify_solution(payload, signing_key, hmac_key_secret=proving_key).verified:
            return True
    return False


def _spend(db: Connection, payload: Payload) -> bool:
    """Whether the solved challenge is within its time, and this its first use.

    It is known by its signature, which everybody who solves it must send to the letter. The time is looked at again
    after the insert: it may have waited for a twin.
    """
    signed = payload.challenge.parameters.data or {}
    until = datetime.fromtimestamp(signed["until"], UTC)
    row = insert(SpentCaptcha).values(signature=bytes.fromhex(payload.challenge.signature or ""), expires_at=until)
    is_first = db.execute(row.on_conflict_do_nothing().returning(literal_column("1"))).first() is not None
    return is_first and clock.now(db) < until


def _keys(purpose: Purpose, session: str, version: int) -> tuple[bytes, bytes]:
    """The keys that sign a challenge, and the key that its number leads to: of this purpose and session alone."""
    ring = settings().keys.hashing
    signing, proving = f"captcha challenge {purpose}", f"captcha solution {purpose}"
    return keyed_hash(ring, signing, session, version=version), keyed_hash(ring, proving, session, version=version)
