"""No code, key, address or e-mail is in an alarm, a message or a payload, though all of them were there to be had."""

from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_network

from flask import Flask

from app import clock, config
from app.config_guard import AlarmThresholds
from app.db.transaction import transaction
from app.guard.alarm_rules import RULES
from app.guard.alarm_sending import send_alarm_hooks, send_alarm_mail
from app.guard.alarm_watch import watch
from app.issuance.code import draw_code, show_code
from app.issuance.holder_data import HolderData
from app.redemption.refund import refund_payment
from app.redemption.store import set_origins
from app.secrecy import random_secret
from tests.api import money
from tests.guard.conftest import OPERATORS
from tests.guard.ground import alarms, happened, watched_since
from tests.guard.receiver import SECRET, Receiver, receiving
from tests.mail.post_office import PostOffice
from tests.secrets_search import found_in, found_in_tables
from tests.world import gbp, key_of, make_world, reference, rows

ADDRESS, EMAIL = "203.0.113.77", "sam.planted@holder.example"
OWN = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}


def test_what_operators_and_parties_are_told_holds_no_secret_and_nobody(
    app: Flask, noon: datetime, office: PostOffice
) -> None:
    everything = AlarmThresholds(**dict.fromkeys(AlarmThresholds.__dataclass_fields__, 1))
    before = config.settings()
    with receiving(Receiver()) as hook:
        told = replace(before.alarms, thresholds=everything, webhook_url=hook.url, webhook_secret=SECRET)
        proxies = (ip_network("127.0.0.0/8"),)
        config.use(replace(before, alarms=told, trusted_proxies=proxies, country_header="X-Country"))
        with transaction() as db:
            watched_since(clock.now(db) - timedelta(minutes=1))
        planted = walk(app)
        with clock.ahead(timedelta(minutes=2)):
            while watch():
                pass
            assert send_alarm_mail() + send_alarm_hooks() == 2
        [(headers, body)] = hook.taken
    counted = {alarm.rule for alarm in alarms()}
    by_count = {rule.name for rule in RULES if rule.measure is None}
    of_issuers = {"issuing_limited", "funds_short", "funds_low", "funds_unknown"}
    assert counted == by_count - of_issuers, "movements of new parties want ten"
    letters = b"".join(letter.as_bytes() + str(letter.get_content()).encode() for letter in office.letters)
    for content in (letters.replace(OPERATORS[0].encode(), b""), body, str(headers).encode()):
        assert len(content) > 200
        assert found_in(content, planted, also_hashed=True) == set()
    with transaction() as db:
        where = {table for table, *_ in found_in_tables(db, planted, also_hashed=True)}
    assert where == set()


def walk(app: Flask) -> dict[str, str]:
    """A card is issued, opened, used abroad and refunded, a code is tried elsewhere; returns what must not be told."""
    world = make_world()
    set_origins(world.bookshop, ["https://shop.example"])
    card = world.issue(holder=HolderData(EMAIL, "Sam Planted"))
    assert card.claim_link is not None
    link_id, key = key_of(card.claim_link)
    client = app.test_client()
    at = {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": ADDRESS}
    opening = {"key": key, "nonce": random_secret()}
    opened = client.post(f"/claim/{link_id}", json=opening, environ_base={**at, "HTTP_X_COUNTRY": "GB"})
    code, wrong = opened.get_json()["code"], show_code(draw_code())
    for typed, status in ((wrong, 422), (code, 200)):
        asked = {"code": typed, "order_reference": "order-1", "amount": money(3_000)}
        at |= {"HTTP_X_COUNTRY": "BR"}
        answer = client.post(f"/widget/{world.bookshop}/code-tokens", json=asked, headers=OWN, environ_base=at)
        assert answer.status_code == status, answer.text
    payment = world.exchange(code).payment
    world.settle(payment.id, 3_000)
    refund_payment(payment.id, gbp(1_000), store_id=world.bookshop, reference=reference(world.bookshop))
    with transaction() as db:
        now = clock.now(db)
    store = {"store_id": world.toyshop, "mode": "test"}
    happened("code_refused", [now], **store, reason="bound_elsewhere", card_id=card.id)
    happened("link_reissued", [now], of_card=card.id, reason="asked")
    assert rows("SELECT 1 FROM event WHERE card_id = :id AND facts ->> 'address' IS NOT NULL", id=card.id)
    return {
        "code": code,
        "wrong code": wrong,
        "key": key,
        "address": ADDRESS,
        "network": "203.0.113",
        "e-mail": EMAIL,
        "name": "Sam Planted",
    }
