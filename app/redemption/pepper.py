"""Pepper epochs: a new one for fresh codes, and the end of an old one."""

import time
from pathlib import Path

from sqlalchemy import select, text

from app import clock
from app.config import read_key_lines, settings
from app.db.together import together
from app.db.transaction import transaction
from app.errors import Busy
from app.events.event import event_of
from app.issuance.models import CardKey, Code
from app.key_files import draw_epoch, write_key_lines
from app.redemption.reissue import retire_code

#: Longer than any statement of the service may take.
LONGEST_WAIT_S = 30


def start_epoch() -> int:
    """Begins an epoch, and drops those that no code lives in; returns its number.

    Raises ValueError while two are in use: each exchange would pay for three Argon2.
    """
    path = settings().keys.pepper_file
    kept = _in_use(path)
    if len(kept) > 1:
        raise ValueError("two pepper epochs are in use; wait until the older has drained, or give --retire")
    newest = max(read_key_lines(path)) + 1
    write_key_lines(path, {**kept, newest: draw_epoch(settings().argon2)})
    with transaction() as db:  # the epochs live in a file: the event can only follow
        together(db, event_of("pepper_epoch_started", at=clock.now(db), facts={"epoch": newest}))
    return newest


def retire_old_epochs() -> int:
    """Kills every unheld code of all epochs but the newest, and drops those epochs; returns how many codes died.

    A held code stays with its payment; only the exchange's repeat no longer finds it. Interrupted, run it again.
    Raises Busy when a transaction does not end: then too, run it again.
    """
    path = settings().keys.pepper_file
    if len(read_key_lines(path)) == 1:
        start_epoch()
    epochs = read_key_lines(path)
    newest = max(epochs)
    _wait_for_claims_under_way()
    with transaction() as db:
        query = select(CardKey.card_id).join(Code, Code.id == CardKey.code_id).where(Code.pepper_epoch != newest)
        card_ids = list(db.scalars(query))
    retired = sum(retire_code(card_id, newest) for card_id in card_ids)
    write_key_lines(path, {newest: epochs[newest]})
    with transaction() as db:
        together(db, event_of("pepper_epochs_retired", at=clock.now(db), facts={"epoch": newest}))
    return retired


def _wait_for_claims_under_way() -> None:
    """Until every transaction that may have looked for the newest epoch before it began has ended.

    A claim looks once it has its locks, so it has a transaction ID by then and stands in every snapshot until its end.
    """
    with transaction() as db:
        mark = db.scalar(text("SELECT pg_current_xact_id()::text::bigint"))
    for _ in range(LONGEST_WAIT_S * 10):
        with transaction() as db:
            if db.scalar(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")) > mark:
                return
        time.sleep(0.1)
    raise Busy


def _in_use(path: Path) -> dict[int, bytes]:
    """The newest epoch, and every older one that a code still lives in."""
    epochs = read_key_lines(path)
    with transaction() as db:
        living = set(db.scalars(select(Code.pepper_epoch).where(Code.state != "dead").distinct()))
    return {epoch: secret for epoch, secret in epochs.items() if epoch in living or epoch == max(epochs)}
