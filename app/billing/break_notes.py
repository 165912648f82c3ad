"""What people say about a break and add to it. Nothing of it is ever changed, or shown as anything but a file."""

import hashlib
import re
from typing import Any

from sqlalchemy import insert, select

from app import clock
from app.billing.break_models import BreakAttachment, BreakNote
from app.billing.breaks import Attachment, Break, Note, find_break
from app.db.request import Reference, done_before, keep_answer
from app.db.together import row_of, together
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound
from app.events.event import event_of
from app.ids import new_id

LONGEST_NOTE, LONGEST_FILE_NAME = 2_000, 200
MOST_BYTES = 5 * 1024 * 1024
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,48}/[a-z0-9][a-z0-9.+-]{0,48}")


def add_note(break_id: str, note: str, *, by: str, mode: str | None = None, reference: Reference | None = None) -> Note:
    """Adds what somebody says to a break, open or closed; it may have several lines.

    Raises NotFound, InvalidRequest, ReferenceReused, Busy.
    """
    if not note.strip() or not note.replace("\n", "").isprintable() or len(note) > LONGEST_NOTE:
        raise InvalidRequest(f"A note has 1 to {LONGEST_NOTE} characters.", pointer="/note")
    with transaction() as db:
        if reference is not None and (again := done_before(db, reference, Note)):
            return again
        found, now = find_break(db, break_id, mode=mode), clock.now(db)
        made = Note(new_id("note"), break_id, note, by, now)
        together(
            db,
            _note(id=made.id, break_id=break_id, note=note, noted_by=by, at=now),
            event_of("break_noted", at=now, facts={**_facts(found), "note_id": made.id, "noted_by": by}),
            keep_answer(reference, made) if reference else None,
        )
        return made


_note = row_of(BreakNote)


def attach_file(
    break_id: str, content: bytes, *, name: str, media_type: str, by: str, mode: str | None = None
) -> Attachment:
    """Adds a file of 1 to MOST_BYTES bytes to a break, open or closed; of whatever type, for nobody looks into it here.

    Raises NotFound, InvalidRequest, Busy.
    """
    if not 0 < len(content) <= MOST_BYTES:
        raise InvalidRequest(f"A file has 1 to {MOST_BYTES} bytes.", pointer="/content")
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_FILE_NAME or set(name) & set('/\\"'):
        raise InvalidRequest(f"A file's name has 1 to {LONGEST_FILE_NAME} characters, and no folder.", pointer="/name")
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidRequest("A media type is such as application/pdf.", pointer="/media_type")
    digest = hashlib.sha256(content)
    with transaction() as db:
        found, now = find_break(db, break_id, mode=mode), clock.now(db)
        made = Attachment(new_id("att"), break_id, name, media_type, len(content), digest.hexdigest(), by, now)
        row: dict[str, Any] = {
            "id": made.id,
            "break_id": break_id,
            "name": name,
            "media_type": media_type,
            "size": made.size,
            "content_sha256": digest.digest(),
            "content": content,
            "attached_by": by,
            "at": now,
        }
        db.execute(insert(BreakAttachment).values(row))
        told = {"attachment_id": made.id, "size": made.size, "sha256": made.sha256, "attached_by": by}
        together(db, event_of("break_attached", at=now, facts={**_facts(found), **told}))
        return made


def read_attachment(attachment_id: str, *, mode: str | None = None) -> tuple[str, bytes]:
    """A file's name and content. It may be anything: never show it, hand it out to be saved. Raises NotFound, Busy."""
    columns = (BreakAttachment.break_id, BreakAttachment.name, BreakAttachment.content)
    with transaction() as db:
        row = db.execute(select(*columns).where(BreakAttachment.id == attachment_id)).first()
        if row is None:
            raise NotFound("There is no such attachment.")
        find_break(db, row.break_id, mode=mode)
    return row.name, row.content


def _facts(found: Break) -> dict[str, object]:
    return {"break_id": found.id, "bill_id": found.bill_id, "store_id": found.store_id, "mode": found.mode}
