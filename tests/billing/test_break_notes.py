"""What people say about breaks and add to them: kept as it was, and only ever added."""

import hashlib
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.billing.break_notes import MOST_BYTES, add_note, attach_file, read_attachment
from app.billing.breaks import Break, read_break
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound
from app.ids import new_id
from tests.billing.broken import break_of, broken_bill, close_bill, settled
from tests.world import World

ANNA = "operator:anna"


@pytest.fixture
def found(world: World) -> Break:
    return break_of(broken_bill(world, (settled(world), 3_700)))


def test_notes_and_files_are_kept_in_order_with_who_and_when(found: Break) -> None:
    add_note(found.id, "First.\nWith a second line.", by=ANNA)
    content = bytes(range(256)) * 20
    made = attach_file(found.id, content, name="letter.pdf", media_type="application/pdf", by="cli_x")
    close_bill(found.bill_id, "rejected")
    add_note(found.id, "After all was over.", by="cli_x")
    _, notes, files = read_break(found.id)
    assert [(each.note, each.noted_by) for each in notes] == [
        ("First.\nWith a second line.", ANNA),
        ("After all was over.", "cli_x"),
    ]
    assert files == [made]
    assert (made.size, made.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert read_attachment(made.id) == ("letter.pdf", content)


def test_the_largest_file_is_taken_and_one_byte_more_is_not(found: Break) -> None:
    given: dict[str, Any] = {"name": "x", "media_type": "text/plain", "by": ANNA}
    made = attach_file(found.id, bytes(MOST_BYTES), **given)
    assert len(read_attachment(made.id)[1]) == MOST_BYTES
    for wrong in (bytes(MOST_BYTES + 1), b""):
        with pytest.raises(InvalidRequest):
            attach_file(found.id, wrong, **given)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"name": name} for name in ("", " ", "../x", "a\\b", 'a"b', "a\nb", "a\0", "x" * 201)),
        *({"media_type": kind} for kind in ("", "pdf", "text/html\r\nX: y", "TEXT/HTML", "a/b/c", "text/html; x=y")),
    ],
)
def test_a_files_name_and_type_are_plain(found: Break, wrong: dict[str, str]) -> None:
    given: dict[str, Any] = {"name": "x.pdf", "media_type": "application/pdf", "by": ANNA, **wrong}
    with pytest.raises(InvalidRequest):
        attach_file(found.id, b"x", **given)


@pytest.mark.parametrize("note", ["", "  \n ", "a\0b", "a\x1b[31mb", "x" * 2_001])
def test_a_note_is_plain_text(found: Break, note: str) -> None:
    with pytest.raises(InvalidRequest):
        add_note(found.id, note, by=ANNA)


def test_what_is_of_the_other_mode_is_not_found(found: Break) -> None:
    given: dict[str, Any] = {"name": "x", "media_type": "text/plain", "by": ANNA}
    made = attach_file(found.id, b"x", **given)
    for attachment_id, mode in ((made.id, "live"), (new_id("att"), "test")):
        with pytest.raises(NotFound):
            read_attachment(attachment_id, mode=mode)
    with pytest.raises(NotFound):
        add_note(found.id, "x", by=ANNA, mode="live")
    with pytest.raises(NotFound):
        attach_file(new_id("brk"), b"x", **given)


@pytest.mark.parametrize("role", ["service", "admin"])
@pytest.mark.parametrize("table", ["bill_break_note", "bill_break_attachment"])
def test_nobody_changes_or_takes_away_what_was_added(urls: dict[str, str], found: Break, role: str, table: str) -> None:
    """The superuser neither, by a plain statement."""
    add_note(found.id, "x", by=ANNA)
    attach_file(found.id, b"x", name="x", media_type="text/plain", by=ANNA)
    engine = create_engine(urls[role])
    for statement in (f"UPDATE {table} SET id = 'x'", f"DELETE FROM {table}", f"TRUNCATE {table}"):
        with engine.connect() as db, pytest.raises(DBAPIError, match=r"append-only|permission denied"):
            db.execute(text(statement))
    engine.dispose()


def test_the_database_knows_a_file_by_its_hash(found: Break) -> None:
    forged = (
        "INSERT INTO bill_break_attachment"
        " (id, break_id, name, media_type, size, content_sha256, content, attached_by, at)"
        " VALUES ('att_x', :id, 'x', 'text/plain', 1, sha256('y'), 'x', 'x', now())"
    )
    with pytest.raises(IntegrityError, match="bill_break_attachment_sha256"), transaction() as db:
        db.execute(text(forged), {"id": found.id})
