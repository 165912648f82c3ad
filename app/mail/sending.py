"""Send the letters that are due: lease one, fill it, hand it over outside any transaction, write down how it went."""

from functools import partial
from urllib.parse import urlsplit

from app import clock
from app.config import settings
from app.db.transaction import transaction
from app.errors import Busy
from app.jobs.items import Broken, one_item, patiently
from app.jobs.worker import stopping
from app.mail import leasing
from app.mail.composing import AddressInvalid, compose
from app.mail.delivery import MailServer, MailServerAway, NotReached, Parcel, mail_server
from app.mail.filling import TooLate, fill_of
from app.mail.leasing import Lease
from app.mail.letter import DueLetter
from app.mail.rules import Outcome

#: Letters handed over before the worker looks around.
BATCH = 50
#: How long the database may be away before a letter is left to its lease.
PATIENCE_S = 60


def send_due_letters() -> int:
    """Sends letters that are due, at most BATCH of them; returns how many it took in hand.

    A letter stays queued until its outcome is written down: whatever happens here it is never lost, at worst sent
    twice. The session comes before the first lease, so that letters are neither counted nor given keys while the mail
    server is away. Raises Busy when it is, or the database; the letters wait.
    """
    if not leasing.is_any_due():
        return 0
    taken = 0
    try:
        with mail_server(settings().smtp, greet_as=urlsplit(settings().public_url).hostname or "localhost") as server:
            while taken < BATCH and not stopping() and (lease := leasing.lease_next()) is not None:
                taken += 1
                _send(lease, server)
    except MailServerAway as away:
        raise Busy(f"The mail server is away: {away}.") from None
    return taken


def _send(lease: Lease, server: MailServer) -> None:
    """One letter. Raises MailServerAway or Busy when there is no sense in going on with the others."""
    try:
        outcome = _outcome(lease, server)
    except (NotReached, Busy) as away:
        patiently(partial(leasing.put_back, lease.letter, f"untried {type(away).__name__}"), for_s=PATIENCE_S)
        raise
    except MailServerAway as away:  # perhaps for this letter's sake: its tries count, the others' do not
        patiently(partial(leasing.write_down, lease.letter, Outcome("later", str(away))), for_s=PATIENCE_S)
        raise
    patiently(partial(leasing.write_down, lease.letter, outcome), for_s=PATIENCE_S)


def _outcome(lease: Lease, server: MailServer) -> Outcome:
    labels = {"letter_id": lease.letter.id, "card_id": lease.letter.card_id}
    try:
        with one_item(passing=(AddressInvalid, TooLate), **labels):
            parcel = _prepared(lease.letter)
    except AddressInvalid:
        return Outcome("failed", "address not valid")
    except TooLate:
        return Outcome("failed", "its link lapsed first")
    except Broken as broken:
        return Outcome("later", f"bug {broken}")
    if isinstance(parcel, Outcome):
        return parcel
    return server.hand_over(parcel, is_still_ours=partial(leasing.is_still_ours, lease))


def _prepared(letter: DueLetter) -> Parcel | Outcome:
    """The letter as it will travel, or why it will not.

    It is filled in a transaction of its own, after that of the lease: a fill that fails, or kills the process, has
    counted as a try and has moved the letter behind the others.
    """
    with transaction() as db:
        now = clock.now(db)
        if not leasing.has_lease(db, letter):
            return Outcome("lost")
        filled = fill_of(letter.kind)(db, letter, now)
    if filled is None:
        return Outcome("dropped")
    return compose(letter, filled, mail_from=settings().smtp.sender, now=now)
