"""Send the messages about alarms that are due: by mail to operators, and to their webhook."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import partial
from urllib.parse import urlsplit

from sqlalchemy import Connection, func, select

from app import clock
from app.config import settings
from app.db.transaction import transaction
from app.errors import Busy
from app.guard import alarm_messages as messages
from app.guard.alarm_messages import MAIL, WEBHOOK, Lease
from app.guard.alarm_models import Alarm
from app.guard.alarm_words import MOST_TOLD, Told, payload_of, subject_of, text_of
from app.hooks.delivery import NotTaken, Receiver, post_message
from app.jobs.items import Broken, one_item, patiently
from app.jobs.worker import stopping
from app.mail.composing import Sender
from app.mail.delivery import MailServer, MailServerAway, NotReached, Parcel, mail_server
from app.mail.rules import Outcome

#: How long the database may be away before a message is left to its lease.
PATIENCE_S = 60

Counts = Mapping[str, int]


def send_alarm_mail() -> int:
    """Mails what is due to operators; returns how many messages it took in hand.

    The session comes before the first lease: while the mail server is away, all alarms gather in one message. Raises
    Busy when it is, or the database.
    """
    if not messages.is_any_due(MAIL):
        return 0
    taken = 0
    try:
        with mail_server(settings().smtp, greet_as=urlsplit(settings().public_url).hostname or "localhost") as server:
            while not stopping() and (lease := messages.lease_next(MAIL)) is not None:
                taken += 1
                _mail(lease, server)
    except MailServerAway as away:
        raise Busy(f"The mail server is away: {away}.") from None
    return taken


def send_alarm_hooks() -> int:
    """Posts what is due to the webhook; returns how many messages it took in hand. Raises Busy."""
    taken = 0
    while not stopping() and (lease := messages.lease_next(WEBHOOK)) is not None:
        taken += 1
        _write_down(lease, _guarded(lease, partial(_post, lease)))
    return taken


def _mail(lease: Lease, server: MailServer) -> None:
    """One message. Raises MailServerAway or Busy when there is no sense in going on with the others."""
    try:
        outcome = _guarded(lease, partial(_hand_over, lease, server))
    except (NotReached, Busy) as away:
        patiently(partial(messages.put_back, lease, f"untried {type(away).__name__}"), for_s=PATIENCE_S)
        raise
    except MailServerAway as away:
        _write_down(lease, Outcome("later", str(away)))
        raise
    _write_down(lease, outcome)


def _guarded(lease: Lease, send: "partial[Outcome]") -> Outcome:
    try:
        with one_item(passing=(MailServerAway,), message_id=lease.id):
            return send()
    except Broken as broken:
        return Outcome("later", f"bug {broken}")


def _write_down(lease: Lease, outcome: Outcome) -> None:
    patiently(partial(messages.write_down, lease, outcome), for_s=PATIENCE_S)


def _hand_over(lease: Lease, server: MailServer) -> Outcome:
    recipient = messages.recipient_of(lease.channel, settings().alarms)
    if recipient is None:
        return Outcome("failed", "ALARM_EMAIL no longer names it")
    with transaction() as db:
        alarms, counts = _told(db, lease.alarm_ids)
        now = clock.now(db)
    if not alarms:
        return Outcome("failed", "its alarms are forgotten")
    parcel = _parcel(lease, recipient, alarms, counts, now)
    return server.hand_over(parcel, is_still_ours=partial(messages.is_still_ours, lease))


def _post(lease: Lease) -> Outcome:
    url, secret = settings().alarms.webhook_url, settings().alarms.webhook_secret
    if url is None or secret is None:
        return Outcome("failed", "ALARM_WEBHOOK_URL is no longer set")
    with transaction() as db:
        alarms, counts = _told(db, lease.alarm_ids)
        now = clock.now(db)
    payload = payload_of(alarms, counts, lease.mode, now)
    try:
        post_message(Receiver(url, secret), payload, message_id=lease.id, at=now)
    except NotTaken as error:
        return Outcome("later", str(error))
    return Outcome("sent")


def _told(db: Connection, alarm_ids: Sequence[str]) -> tuple[list[Told], Counts]:
    """The worst of each rule first, as they stand now, and how many there are of each rule."""
    is_told = Alarm.id == func.any(list(alarm_ids))
    place = func.row_number().over(partition_by=Alarm.rule, order_by=[Alarm.peak.desc(), Alarm.id])
    columns = (getattr(Alarm, name) for name in Told.__dataclass_fields__)
    rows = db.execute(select(*columns).where(is_told).order_by(place, Alarm.rule).limit(MOST_TOLD))
    counted = db.execute(select(Alarm.rule, func.count().label("total")).where(is_told).group_by(Alarm.rule))
    return [Told(**row._mapping) for row in rows], {row.rule: row.total for row in counted}


def _parcel(lease: Lease, recipient: str, alarms: Sequence[Told], counts: Counts, now: datetime) -> Parcel:
    sender = Sender.of(settings().smtp.sender)
    message = EmailMessage(policy=SMTP)
    message["Date"] = format_datetime(now)
    message["From"] = Address(sender.name, addr_spec=sender.address)
    message["To"] = Address(addr_spec=recipient)
    message["Subject"] = subject_of(alarms, counts, lease.mode)
    message["Message-ID"] = f"<{lease.id}.{lease.tries}@{sender.address.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text_of(alarms, counts, lease.mode), cte="quoted-printable")
    return Parcel(sender.address, recipient, message.as_bytes())
