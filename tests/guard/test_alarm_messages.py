"""Messages about alarms: an attack sends one, none is lost or sent twice, and no stranger's words are in them."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from app import clock, config
from app.db.transaction import transaction
from app.errors import Busy
from app.guard import alarm_sending
from app.guard.alarm_episodes import AGAIN_WITHIN
from app.guard.alarm_messages import APART, GIVEN_UP_AFTER
from app.guard.alarm_sending import send_alarm_hooks, send_alarm_mail
from app.guard.alarm_watch import MESSAGES_KEPT, forget_alarms
from app.guard.alarm_words import MOST_TOLD
from app.ids import new_id
from tests.guard.conftest import OPERATORS
from tests.guard.ground import alarms, happened, issued, messages, seconds, watch_until, watched_since, wrong_codes
from tests.guard.receiver import SECRET, Receiver, receiving
from tests.mail.post_office import PostOffice, opened


@pytest.fixture
def closed_hook(ground: config.Settings) -> Iterator[Receiver]:
    """Operators want a webhook, and nobody listens there yet."""
    receiver, before = Receiver(), config.settings()
    with receiving(receiver):
        pass  # it has a port now
    asked = replace(before.alarms, webhook_url=receiver.url, webhook_secret=SECRET)
    config.use(replace(before, alarms=asked))
    yield receiver
    config.use(before)


@pytest.fixture
def hook(closed_hook: Receiver) -> Iterator[Receiver]:
    with receiving(closed_hook) as receiver:
        yield receiver


@pytest.fixture
def noon(noon: datetime) -> datetime:
    """Of the rules those that are met here."""
    watched_since(noon, only=["wrong_codes_store", "code_elsewhere"])
    return noon


def send(at: datetime) -> int:
    """What the worker would send at this time, by either way; a set clock has gone on a little with each reading."""
    with clock.set_to(at + seconds(0.1)):
        return send_alarm_mail() + send_alarm_hooks()


def attack(at: datetime, count: int = 20, **more: Any) -> datetime:
    """Wrong codes at a store of its own; the time by which the watch has seen them."""
    wrong_codes(count, at, store_id=new_id("str"), every_s=0.001, **more)
    watch_until(at + seconds(20))
    return at + seconds(20)


def text_of(message: Any) -> str:
    return str(message.get_content()).replace("\r\n", "\n")


def test_a_thousand_wrong_codes_send_one_message_by_each_way(
    noon: datetime, office: PostOffice, hook: Receiver
) -> None:
    wrong_codes(1_000, noon + seconds(1), store_id=new_id("str"), every_s=0.05)
    for step in range(1, 14):
        watch_until(noon + seconds(10 * step))
        send(noon + seconds(10 * step))
    assert len(office.letters) == len(hook.taken) == 1
    assert office.recipients == [OPERATORS[0]]
    assert send(noon + seconds(130) + APART) == 0
    assert [message.alarm_ids for message in messages("mail:0")] == [[each.id for each in alarms()]]


def test_a_thousand_cards_are_one_message_that_tells_the_worst_and_counts_the_others(
    noon: datetime, office: PostOffice, hook: Receiver
) -> None:
    issuer_id = new_id("iss")
    for place in range(40):
        card_id = issued(noon - timedelta(days=1), issuer_id=issuer_id)
        tried = {"store_id": new_id("str"), "mode": "test", "reason": "bound_elsewhere", "card_id": card_id}
        happened("code_refused", [noon + seconds(1)] * (3 + place % 7), **tried)
    watch_until(noon + seconds(62))
    assert send(noon + seconds(63)) == 2
    [letter] = office.letters
    assert letter["Subject"] == f"[Scrip test] {len(alarms())} alarms"
    assert "A code shown at one store and tried at another: 40\n" in text_of(letter)
    assert text_of(letter).count("which one store has") == MOST_TOLD - (len(alarms()) - 40)
    data = json.loads(hook.taken[0][1])["data"]
    assert (data["count"], data["by_rule"]["code_elsewhere"], len(data["alarms"])) == (len(alarms()), 40, MOST_TOLD)


def test_a_letter_says_what_happened_why_it_is_unusual_and_what_to_do(noon: datetime, office: PostOffice) -> None:
    at = attack(noon)
    send(at)
    [letter], [alarm] = office.letters, alarms()
    assert letter["Subject"] == f"[Scrip test] Wrong codes at a store ({alarm.group_id})"
    assert (letter["To"], letter["From"]) == (OPERATORS[0], "Scrip <cards@scrip.example>")
    assert letter["Auto-Submitted"] == "auto-generated"
    body = text_of(letter)
    for said in (alarm.what, alarm.why, "`scrip client disable`", alarm.id, "no real money"):
        assert said in body
    assert alarm.what == f"20 of 20 codes tried at the store {alarm.group_id} within 30 seconds were wrong."


def test_what_comes_meanwhile_waits_for_five_minutes_and_live_alarms_do_not_wait_for_test_ones(
    noon: datetime, office: PostOffice
) -> None:
    first = attack(noon)
    assert send(first) == 1
    assert send(attack(noon + seconds(30))) == 0
    assert send(attack(noon + seconds(60), mode="live")) == 1
    assert send(attack(noon + seconds(90))) == 0
    assert send(first + APART - seconds(1)) == 0
    assert send(first + APART + seconds(1)) == 1
    assert [len(message.alarm_ids) for message in messages()] == [1, 2, 1]
    assert [letter["Subject"].split("]")[0] for letter in office.letters] == [
        "[Scrip test",
        "[Scrip live",
        "[Scrip test",
    ]


def test_an_alarm_that_goes_on_is_told_again_when_it_is_ten_times_worse(noon: datetime, office: PostOffice) -> None:
    store_id = new_id("str")
    for minutes, count in ((0, 11), (1, 109), (2, 111), (3, 900)):
        wrong_codes(count, noon + timedelta(minutes=minutes), store_id=store_id, every_s=0.001)
        watch_until(noon + timedelta(minutes=minutes, seconds=20))
    [alarm] = alarms()
    assert (alarm.peak, alarm.told) == (900, 111)
    assert [message.alarm_ids for message in messages()] == [[alarm.id] * 2]
    send(noon + timedelta(minutes=4))
    assert text_of(office.letters[0]).count("900 of 900") == 1
    assert timedelta(minutes=1) < AGAIN_WITHIN


def test_while_the_mail_server_is_away_alarms_gather_and_then_go_in_one_letter(
    noon: datetime, closed_office: PostOffice
) -> None:
    for minutes in range(3):
        at = attack(noon + timedelta(minutes=minutes))
        with pytest.raises(Busy, match="mail server is away"):
            send(at)
    [message] = messages()
    assert (message.state, message.tries, len(message.alarm_ids)) == ("waiting", 0, 3)
    with opened(closed_office):
        assert send(noon + timedelta(minutes=3)) == 1
        assert send(noon + timedelta(minutes=13)) == 0
    assert len(closed_office.letters) == 1
    assert all(each.id in text_of(closed_office.letters[0]) for each in alarms())


def test_a_session_that_breaks_puts_the_letter_off_and_a_refused_recipient_keeps_nobody_else_waiting(
    noon: datetime, office: PostOffice
) -> None:
    config.use(replace(config.settings(), alarms=replace(config.settings().alarms, emails=OPERATORS)))
    office.rcpt_replies[OPERATORS[0]] = ["550 5.1.1 <ops@cards.example> who?"]
    office.mail_replies = ["451 4.3.0 later"]
    at = attack(noon)
    with pytest.raises(Busy):
        send(at)
    assert send(at + seconds(15)) == 2
    by_channel = {message.channel: message for message in messages()}
    assert (by_channel["mail:0"].state, by_channel["mail:0"].last_error) == ("failed", "RCPT 550 5.1.1")
    assert by_channel["mail:1"].state == "sent"
    assert office.recipients == [OPERATORS[1]]


def test_a_letter_to_an_address_that_is_no_longer_named_is_given_up(noon: datetime, office: PostOffice) -> None:
    at = attack(noon)
    config.use(replace(config.settings(), alarms=replace(config.settings().alarms, emails=())))
    assert send(at) == 1
    assert (office.letters, messages()[0].state) == ([], "failed")


def test_the_webhook_is_signed_as_its_library_verifies(noon: datetime, hook: Receiver) -> None:
    attack(noon)
    with transaction() as db:  # a verifier takes only what is of these minutes
        db.exec_driver_sql("UPDATE alarm_message SET due_at = clock_timestamp()")
    assert send_alarm_hooks() == 1
    [(headers, body)], [alarm] = hook.taken, alarms()
    assert hook.paths == ["/hooks/alarms?for=scrip"]
    [shown] = Webhook(SECRET).verify(body, headers)["data"]["alarms"]
    assert shown["id"] == alarm.id
    assert shown["group"] == {"kind": "store", "id": alarm.group_id}
    assert (shown["figure"], shown["threshold"], shown["state"]) == (20, 10, "open")
    for spoilt in (body.replace(b"20", b"21"), body + b" "):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(spoilt, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(bytes(32)).verify(body, headers)


@pytest.mark.parametrize("status", [302, 307, 400, 410, 500, 503])
def test_a_webhook_that_is_not_taken_is_tried_again_under_the_same_name_and_follows_nobody(
    noon: datetime, hook: Receiver, status: int
) -> None:
    at = attack(noon)
    hook.statuses = [status]
    assert send(at) == 1
    [message] = messages()
    assert (message.state, message.tries, message.last_error) == ("sending", 1, f"status {status}")
    assert send(at + seconds(7)) == 0
    assert send(at + seconds(13)) == 1
    assert {headers["webhook-id"] for headers, _ in hook.taken} == {message.id}
    assert set(hook.paths) == {"/hooks/alarms?for=scrip"}
    assert [each.state for each in messages()] == ["sent"]


def test_a_webhook_that_is_away_keeps_later_alarms_in_one_message_and_is_given_up_after_a_day(
    noon: datetime, closed_hook: Receiver
) -> None:
    at = attack(noon)
    assert send(at) == 1
    attack(noon + timedelta(minutes=1))
    attack(noon + timedelta(minutes=2))
    assert [message.last_error for message in messages()] == ["post NewConnectionError", None]
    assert send(at + GIVEN_UP_AFTER) == 2
    assert [message.state for message in messages()] == ["failed", "sending"]
    with receiving(closed_hook):
        assert send(at + GIVEN_UP_AFTER + seconds(13)) == 1
    assert json.loads(closed_hook.taken[0][1])["data"]["count"] == 2


def test_two_senders_at_once_send_one(noon: datetime, office: PostOffice, hook: Receiver) -> None:
    attack(noon)
    at_once = threading.Barrier(4)

    def work() -> None:
        at_once.wait()
        send_alarm_mail()
        send_alarm_hooks()

    with clock.ahead(noon + seconds(30) - now()):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (len(office.letters), len(hook.taken)) == (1, 1)


def test_a_killed_senders_message_goes_out_when_its_lease_is_over(
    noon: datetime, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = attack(noon)

    def killed(*_: Any, **__: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(alarm_sending, "post_message", killed)
    with pytest.raises(SystemExit):
        send(at)
    monkeypatch.undo()
    assert send(at + seconds(100)) == 0
    assert send(at + seconds(130)) == 1
    assert len(hook.taken) == 1


def test_a_bug_while_composing_is_put_off_and_stops_nothing(
    noon: datetime, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = attack(noon)
    monkeypatch.setattr(alarm_sending, "payload_of", lambda: None)
    assert send(at) == 1
    assert (messages()[0].state, messages()[0].last_error) == ("sending", "bug TypeError")


def test_nobody_who_wants_no_messages_gets_a_queue_of_them(noon: datetime) -> None:
    attack(noon)
    assert len(alarms()) == 1
    assert messages() == []


def test_old_messages_are_forgotten(noon: datetime, hook: Receiver) -> None:
    at = attack(noon)
    send(at)
    attack(noon + timedelta(minutes=1))
    with clock.set_to(at + MESSAGES_KEPT + timedelta(hours=1)):
        assert forget_alarms() == 1
    assert [message.state for message in messages()] == ["waiting"]


def now() -> datetime:
    with transaction() as db:
        return clock.now(db)
