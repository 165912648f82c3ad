"""Sending letters through a real SMTP server, on a real database."""

import logging
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.db.transaction import transaction
from app.errors import Busy
from app.ids import LinkId
from app.mail.letter import letter_state
from app.mail.rules import MOST_TRIES
from app.mail.sending import send_due_letters
from tests.mail.conftest import Filler, events, later, letter, post
from tests.mail.post_office import PostOffice, opened
from tests.world import World, key_of, rows


def state_of(link_id: LinkId) -> str | None:
    with transaction() as db:
        return letter_state(db, link_id)


def test_a_due_letter_goes_out_once(world: World, office: PostOffice, filler: Filler) -> None:
    queued = post(world)
    assert state_of(queued.link_id) == "queued"
    assert send_due_letters() == 1
    assert send_due_letters() == 0
    [message] = office.letters
    assert office.recipients == ["sam@holder.example"]
    assert message["To"] == "Sam <sam@holder.example>"
    assert message["From"] == "Scrip <letters@scrip.example>"
    assert message["Message-ID"] == f"<{queued.id}.1@scrip.example>"
    sent = letter(queued.card_id)
    assert (sent.state, sent.tries, sent.last_error) == ("sent", 1, None)
    assert sent.sent_at is not None
    assert state_of(queued.link_id) == "sent"
    assert [event.kind for event in events(queued.card_id)] == ["letter_sent"]


def test_the_key_in_the_letter_opens_the_link(world: World, office: PostOffice, filler: Filler) -> None:
    queued = post(world)
    send_due_letters()
    body = office.letters[0].get_body(("plain",))
    assert body is not None
    [url] = [line for line in body.get_content().split() if "/claim/" in line]
    assert key_of(url)[0] == queued.link_id
    assert world.claim(url).balance.amount_minor == 5_000


def test_the_row_never_holds_address_or_key(world: World, office: PostOffice, filler: Filler) -> None:
    queued = post(world)
    send_due_letters()
    row = str(rows("SELECT letter::text FROM letter WHERE id = :id", id=queued.id))
    assert "holder.example" not in row
    assert key_of(filler.urls[0])[1] not in row


def test_a_letter_waits_for_its_time(world: World, office: PostOffice, filler: Filler) -> None:
    queued = post(world)
    with transaction() as db:
        db.exec_driver_sql("UPDATE letter SET due_at = due_at + interval '1 hour' WHERE id = $1", (queued.id,))
    assert send_due_letters() == 0
    with later(minutes=61):
        assert send_due_letters() == 1


def test_letters_of_one_batch_share_a_session(world: World, office: PostOffice, filler: Filler) -> None:
    for _ in range(3):
        post(world)
    assert send_due_letters() == 3
    assert len(office.letters) == 3
    assert len(office.sessions) == 1
    assert office.greetings == ["127.0.0.1"]


def test_a_session_that_the_server_ended_is_opened_again(world: World, office: PostOffice, filler: Filler) -> None:
    for _ in range(3):
        post(world)
    office.before_answer = lambda: office.mail_replies.append("421 4.7.0 enough for this session")
    assert send_due_letters() == 3
    assert len(office.letters) == 3
    assert len(office.sessions) == 3


def test_a_temporary_refusal_is_tried_again_with_another_key(world: World, office: PostOffice, filler: Filler) -> None:
    queued = post(world)
    office.rcpt_replies["sam@holder.example"] = ["451 4.7.1 <sam@holder.example> greylisted, come back"]
    assert send_due_letters() == 1
    put_off = letter(queued.card_id)
    assert (put_off.state, put_off.tries, put_off.last_error) == ("queued", 1, "RCPT 451 4.7.1")
    assert 7 < put_off.wait.total_seconds() < 12
    assert send_due_letters() == 0
    with later(seconds=13):
        assert send_due_letters() == 1
    assert office.letters[0]["Message-ID"] == f"<{queued.id}.2@scrip.example>"
    assert len(set(filler.urls)) == 2
    assert letter(queued.card_id).state == "sent"


@pytest.mark.parametrize("stage", ["RCPT", "DATA"])
def test_a_permanent_refusal_fails_the_letter_loudly_and_no_other(
    stage: str, world: World, office: PostOffice, filler: Filler
) -> None:
    refused, fine = post(world, filler, "nobody@holder.example"), post(world)
    reply = "550 5.1.1 <nobody@holder.example>: no such person"
    if stage == "RCPT":
        office.rcpt_replies["nobody@holder.example"] = [reply]
    else:
        office.data_replies = [reply]
    with capture_logs() as logs:
        assert send_due_letters() == 2
    assert letter(refused.card_id).state == "failed"
    assert letter(refused.card_id).last_error == f"{stage} 550 5.1.1"
    assert state_of(refused.link_id) == "failed"
    assert letter(fine.card_id).state == "sent"
    [error] = [entry for entry in logs if entry["log_level"] == "error"]
    assert (error["event"], error["letter_id"], error["card_id"]) == ("letter_failed", refused.id, refused.card_id)
    assert [event.kind for event in events(refused.card_id)] == ["letter_failed"]
    assert "holder.example" not in str(logs) + str(events(refused.card_id))


def test_a_server_that_hangs_up_after_a_refusal_has_refused_all_the_same(
    world: World, office: PostOffice, filler: Filler
) -> None:
    refused, fine = post(world, filler, "nobody@holder.example"), post(world)
    office.rcpt_replies["nobody@holder.example"] = ["550 5.1.1 no"]
    office.hang_up_after_refusal = True
    with suppress(Busy):  # it may hang up a moment later, in the middle of the other letter
        send_due_letters()
    with later(seconds=13):
        send_due_letters()
    assert letter(refused.card_id).state == "failed"
    assert letter(fine.card_id).state == "sent"


@pytest.mark.parametrize("stage", ["MAIL", "RCPT"])
def test_a_refusal_of_us_fails_no_letter(stage: str, world: World, office: PostOffice, filler: Filler) -> None:
    first, second = post(world), post(world)
    if stage == "MAIL":
        office.mail_replies = ["550 5.7.1 this sender may not"]
    else:
        office.rcpt_replies["sam@holder.example"] = ["530 5.7.0 log in first"]
    with pytest.raises(Busy):
        send_due_letters()
    assert [letter(of.card_id).state for of in (first, second)] == ["queued", "queued"]
    assert [letter(of.card_id).tries for of in (first, second)] == [1, 0]
    with later(seconds=13):
        assert send_due_letters() == 2


def test_while_the_server_is_down_no_letter_is_touched_and_then_all_go_out(
    world: World, closed_office: PostOffice, filler: Filler
) -> None:
    queued = [post(world) for _ in range(3)]
    for _ in range(3):
        with pytest.raises(Busy, match="mail server is away"):
            send_due_letters()
    assert [(letter(of.card_id).tries, letter(of.card_id).due_at) for of in queued] == [(0, of.due_at) for of in queued]
    assert filler.urls == []
    with opened(closed_office):
        assert send_due_letters() == 3
    assert len(closed_office.letters) == 3


def test_an_unwanted_letter_is_dropped(world: World, office: PostOffice, filler: Filler) -> None:
    queued = post(world)
    filler.unwanted.add(queued.card_id)
    assert send_due_letters() == 1
    assert (letter(queued.card_id).state, office.letters) == ("dropped", [])
    assert state_of(queued.link_id) is None


def test_a_fill_with_a_bug_is_put_off_keeps_no_key_and_stops_no_other(
    world: World, office: PostOffice, filler: Filler
) -> None:
    broken, fine = post(world), post(world)
    filler.broken.add(broken.card_id)
    with capture_logs() as logs:
        assert send_due_letters() == 2
    assert letter(fine.card_id).state == "sent"
    put_off = letter(broken.card_id)
    assert (put_off.state, put_off.tries, put_off.last_error) == ("queued", 1, "bug KeyError")
    assert rows("SELECT 1 FROM claim_key WHERE link_id = :id", id=broken.link_id) == []
    [bug] = [entry for entry in logs if entry["event"] == "item_broken"]
    assert bug["letter_id"] == broken.id
    assert "KeyError" in bug["error"][0]
    assert "holder.example" not in str(logs)


def test_a_letter_of_a_kind_that_nobody_fills_is_a_bug_and_not_lost(
    world: World, office: PostOffice, filler: Filler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.mail.filling._fills", {})
    queued = post(world)
    assert send_due_letters() == 1
    assert letter(queued.card_id).last_error == "bug LookupError"


def test_an_address_that_cannot_be_written_fails_the_letter(world: World, office: PostOffice, filler: Filler) -> None:
    queued = post(world, filler, "sam@holder.example\r\nRCPT TO:<eve@evil.example>")
    assert send_due_letters() == 1
    assert (letter(queued.card_id).state, letter(queued.card_id).last_error) == ("failed", "address not valid")


def test_the_last_try_gives_up_loudly(world: World, office: PostOffice, filler: Filler) -> None:
    queued = post(world)
    with transaction() as db:
        db.exec_driver_sql("UPDATE letter SET tries = $1 WHERE id = $2", (MOST_TRIES - 1, queued.id))
    office.data_replies = ["452 4.3.1 full"]
    send_due_letters()
    assert letter(queued.card_id).state == "failed"
    assert letter(queued.card_id).last_error == "given up after DATA 452 4.3.1"


def test_a_name_cannot_become_a_header(world: World, office: PostOffice, filler: Filler) -> None:
    queued = post(world)
    filler.names[queued.card_id] = "Sam\r\nBcc: eve@evil.example\r\n\r\nHello"
    send_due_letters()
    [message] = office.letters
    assert message["Bcc"] is None
    assert office.recipients == ["sam@holder.example"]
    assert message["To"].addresses[0].addr_spec == "sam@holder.example"


def test_an_address_beyond_ascii_travels_by_smtputf8(world: World, office: PostOffice, filler: Filler) -> None:
    post(world, filler, "zoë@bücher.example")
    post(world)
    assert send_due_letters() == 2
    assert office.recipients == ["zoë@xn--bcher-kva.example", "sam@holder.example"]


def test_nothing_that_is_logged_on_any_level_holds_address_key_or_name(
    world: World, office: PostOffice, filler: Filler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    office.rcpt_replies["sam@holder.example"] = ["450 4.2.1 sam@holder.example is busy"]
    with capture_logs() as logs:
        post(world)
        send_due_letters()
        with later(seconds=13):
            send_due_letters()
    ours = [record.getMessage() for record in caplog.records if record.name != "mail.log"]  # the post office's own
    spoken = str(logs) + str(ours)
    for secret in ("sam@holder.example", "Sam", *(key_of(url)[1] for url in filler.urls)):
        assert secret not in spoken


def test_the_event_names_letter_and_link_and_nothing_personal(world: World, office: PostOffice, filler: Filler) -> None:
    queued = post(world)
    send_due_letters()
    [event] = events(queued.card_id)
    facts: dict[str, Any] = {"letter_id": queued.id, "kind": "claim", "link_id": queued.link_id}
    assert event.facts == facts
