"""The database's time for what is decided outside transactions: access tokens, signing keys, sessions."""

from datetime import datetime

from app import clock
from app.db.transaction import transaction

#: So often a process compares its clock with the database's.
COMPARED_EVERY_S = 30


def current_time() -> datetime:
    """The time by the database's clock, which is asked only now and then. Raises Busy."""
    if not clock.was_compared_within(COMPARED_EVERY_S):
        with transaction() as db:
            clock.now(db)
    return clock.here()
