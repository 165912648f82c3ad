"""One card, one key: every way to the next key kills the one before."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app import clock, config
from app.config import settings
from app.db.transaction import transaction
from app.errors import Busy, CardClosed, CodeNotAccepted, LinkNotAccepted, LinkOpened, LinkSuperseded, TryLater
from app.ids import LinkId
from app.issuance import claim
from app.issuance.address import correct_address
from app.issuance.claim import Claimed, FreshCode, claim_link
from app.issuance.links import draw_claim_key
from app.issuance.models import ClaimLink
from app.redemption.expire import expire_due
from app.redemption.pepper import retire_old_epochs, start_epoch
from app.redemption.reissue import fresh_code, reissue_card, resend_link
from app.redemption.void import void_payment
from app.secrecy import random_secret
from tests.world import World, key_of, make_world, reference, rows


def link_of(claim_url: str | None) -> tuple[LinkId, str]:
    assert claim_url is not None
    return key_of(claim_url)


def is_dead(world: World, claimed: Claimed) -> bool:
    with pytest.raises(CodeNotAccepted):
        world.exchange(claimed.code)
    return True


def test_the_browser_that_lost_the_answer_gets_a_fresh_code_and_the_old_one_is_dead(world: World) -> None:
    card = world.issue()
    nonce = random_secret()
    first, second = world.claim(card.claim_link, nonce), world.claim(card.claim_link, nonce)
    assert first.code != second.code
    assert is_dead(world, first)
    assert world.exchange(second.code).opened


def test_another_browser_finds_the_link_opened(world: World) -> None:
    card = world.issue()
    world.claim(card.claim_link)
    with pytest.raises(LinkOpened) as refused:
        world.claim(card.claim_link)
    assert refused.value.facts["opened_by"] == "Firefox"


def test_an_unknown_link_and_a_wrong_key_are_one_refusal(world: World) -> None:
    link_id, key = link_of(world.issue().claim_link)
    unknown = LinkId(link_id[:-4] + "0000")
    for link, tried in ((link_id, random_secret()), (unknown, key)):
        with pytest.raises(LinkNotAccepted) as refused:
            claim_link(link, key=tried, nonce=random_secret(), opened_by="Firefox")
        assert (refused.value.detail, refused.value.facts) == (LinkNotAccepted().detail, {})
        with pytest.raises(LinkNotAccepted):
            resend_link(link, key=tried)


def test_a_link_that_may_be_opened_again_shows_a_fresh_code_each_time(database: object) -> None:
    world = make_world(link_policy="fresh_code_each_open")
    card = world.issue()
    claimed = [world.claim(card.claim_link) for _ in range(5)]
    assert len({each.code for each in claimed}) == 5
    assert all(is_dead(world, each) for each in claimed[:-1])
    with pytest.raises(TryLater):
        world.claim(card.claim_link)
    assert world.exchange(claimed[-1].code).opened


def test_a_new_link_kills_the_unused_code_and_the_link_before(world: World) -> None:
    card = world.issue()
    claimed = world.claim(card.claim_link)
    link_id, key = link_of(card.claim_link)
    resend_link(link_id, key=key)
    assert is_dead(world, claimed)
    with pytest.raises(LinkOpened):
        world.claim(card.claim_link)


def asked_links(card_id: str) -> list[str]:
    query = "SELECT state FROM claim_link WHERE card_id = :id AND reason = 'asked' ORDER BY created_at"
    return [row.state for row in rows(query, id=card_id)]


def test_asked_again_by_the_same_link_a_lost_answer_makes_no_second_letter(world: World) -> None:
    card = world.issue()
    world.claim(card.claim_link)
    link_id, key = link_of(card.claim_link)
    for _ in range(3):
        resend_link(link_id, key=key)
    assert asked_links(card.id) == ["waiting"]


def test_a_lost_letter_can_be_asked_for_again_by_the_link_before_it(world: World) -> None:
    card = world.issue()
    world.claim(card.claim_link)
    link_id, key = link_of(card.claim_link)
    for minutes in (0, 11, 22):
        with clock.ahead(timedelta(minutes=minutes)):
            resend_link(link_id, key=key)
    assert asked_links(card.id) == ["superseded", "superseded", "waiting"]
    with clock.ahead(timedelta(minutes=33)), pytest.raises(TryLater):
        resend_link(link_id, key=key)


def test_a_link_whose_follower_was_opened_or_made_by_the_issuer_asks_for_nothing(world: World) -> None:
    card = world.issue()
    mine: dict[str, Any] = {"issuer_id": world.issuer_id, "deliver": "link"}
    again = reissue_card(card.id, reference=reference(world.issuer_id), **mine)
    old_id, old_key = link_of(card.claim_link)
    with pytest.raises(LinkSuperseded):
        resend_link(old_id, key=old_key)
    link_id, key = link_of(again.claim_link)
    resend_link(link_id, key=key)
    with transaction() as db:
        (asked,) = db.execute(select(ClaimLink.id).where(ClaimLink.card_id == card.id, ClaimLink.state == "waiting"))
        claim_url = draw_claim_key(db, asked.id, clock.now(db))
    world.claim(claim_url)
    with clock.ahead(timedelta(minutes=11)), pytest.raises(LinkSuperseded):
        resend_link(link_id, key=key)


def test_a_fresh_code_from_the_page_kills_the_one_before(world: World) -> None:
    card = world.issue()
    first = world.claim(card.claim_link)
    link_id, _ = link_of(card.claim_link)
    second = fresh_code(link_id)
    assert is_dead(world, first)
    payment = world.exchange(second.code).payment
    void_payment(payment.id, store_id=world.bookshop, reference=reference(world.bookshop))
    third = fresh_code(link_id)
    assert is_dead(world, second)
    assert world.exchange(third.code, store=world.toyshop).opened


def test_a_card_draws_five_codes_a_day_at_most_from_its_page(world: World) -> None:
    card = world.issue()
    world.claim(card.claim_link)
    link_id, _ = link_of(card.claim_link)
    for _ in range(4):
        fresh_code(link_id)
    with pytest.raises(TryLater):
        fresh_code(link_id)


def test_the_issuers_reissue_kills_the_waiting_link_and_gives_another(world: World) -> None:
    card = world.issue()
    mine: dict[str, Any] = {"issuer_id": world.issuer_id, "deliver": "link"}
    again = reissue_card(card.id, reference=reference(world.issuer_id), **mine)
    with pytest.raises(LinkSuperseded):
        world.claim(card.claim_link)
    assert world.claim(again.claim_link).balance == card.balance


def test_a_closed_card_gets_no_link(world: World) -> None:
    payment = world.payment().payment
    world.settle(payment.id, 5_000)
    with pytest.raises(CardClosed):
        reissue_card(
            world.card_of(payment.id).id,
            issuer_id=world.issuer_id,
            deliver="email",
            reference=reference(world.issuer_id),
        )


def test_an_address_is_corrected_until_the_link_is_opened(world: World) -> None:
    card = world.issue()
    mine: dict[str, Any] = {"issuer_id": world.issuer_id}
    corrected = correct_address(card.id, "pat@holder.example", reference=reference(world.issuer_id), **mine)
    assert (corrected.holder_email, corrected.letter) == ("p…@h…", "queued")
    with pytest.raises(LinkSuperseded):
        world.claim(card.claim_link)
    again = reissue_card(card.id, deliver="link", reference=reference(world.issuer_id), **mine)
    world.claim(again.claim_link)
    with pytest.raises(LinkOpened):
        correct_address(card.id, "sam@holder.example", reference=reference(world.issuer_id), **mine)


def test_codes_of_two_pepper_epochs_live_side_by_side_and_an_old_epoch_can_be_retired(own_database: object) -> None:
    world = make_world()
    old, held = world.code(), world.code()
    payment = world.exchange(held.code).payment
    assert start_epoch() > 1
    new = world.code()
    with pytest.raises(ValueError, match="two pepper epochs"):
        start_epoch()
    assert world.exchange(old.code).opened
    unused = world.code()
    assert retire_old_epochs() == 0, "both old codes are held; a promise to the store"
    assert world.exchange(new.code).opened
    assert world.exchange(unused.code).opened
    assert world.settle(payment.id, 5_000).settled.amount_minor == 5_000
    assert expire_due() == 0


def test_retiring_an_epoch_kills_its_unused_codes_and_mails_new_links(own_database: object) -> None:
    world = make_world()
    old = world.code()
    assert retire_old_epochs() == 1
    assert is_dead(world, old)
    card = world.card(old.card_id)
    assert card.reached_through is not None
    assert (card.reached_through.kind, card.letter) == ("link", "queued")
    assert rows("SELECT hash FROM code WHERE card_id = :id", id=card.id)[0].hash is None
    assert settings().keys.pepper_file.read_text().count(":") == 1


def test_a_code_of_an_epoch_that_ended_while_it_was_drawn_is_never_shown(
    own_database: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    card = world.issue()

    draw = claim.draw_fresh_code

    def draw_and_be_overtaken() -> FreshCode:
        fresh = draw()
        retire_old_epochs()
        return fresh

    monkeypatch.setattr(claim, "draw_fresh_code", draw_and_be_overtaken)
    with pytest.raises(Busy):
        world.claim(card.claim_link)
    monkeypatch.undo()
    assert world.exchange(world.claim(card.claim_link).code).opened


def test_no_session_draws_a_code_for_a_link_that_nobody_opened(world: World) -> None:
    link_id, _ = link_of(world.issue().claim_link)
    with pytest.raises(LinkOpened):
        fresh_code(link_id)


def test_a_changed_cost_counts_for_the_next_epoch_and_leaves_older_codes_good(own_database: config.Settings) -> None:
    world = make_world()
    old = world.code()
    config.use(replace(own_database, argon2=config.Argon2Cost(memory_kib=128, time_cost=2)))
    assert world.exchange(old.code).opened
    start_epoch()
    assert world.exchange(world.code().code).opened
    assert world.exchange(old.code).payment.state == "held"
    retire_old_epochs()
