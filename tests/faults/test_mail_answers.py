"""What a mail server may answer, seen from the issuer and the holder: later, never, and an answer that was lost."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
from flask import Flask

from app import clock, config
from app.errors import Busy, LinkNotAccepted, LinkOpened
from app.mail.rules import FIRST_WAIT_S
from app.mail.sending import send_due_letters
from tests.api import Api, api_of
from tests.at_once import at_once, split
from tests.faults.post import link_in, post_office, states_of_letters
from tests.mail.post_office import PostOffice, opened
from tests.web.bodies import card_body
from tests.world import World, gbp, make_world, rows

WRONG, RIGHT = "sam@wrong.example", "sam@right.example"


@pytest.fixture
def office(own_database: config.Settings) -> Iterator[PostOffice]:
    with opened(post_office()) as office:
        yield office


@pytest.fixture
def world(office: PostOffice) -> World:
    return make_world()


@pytest.fixture
def api(app: Flask, world: World) -> Api:
    return api_of(app.test_client(), world)


def test_a_server_that_says_later_is_asked_less_and_less_often_until_it_takes_the_letter(
    office: PostOffice, world: World
) -> None:
    """Each wait is about twice the one before; the letter that arrives at last opens the link."""
    card = world.issue(deliver="email")
    office.data_replies = ["452 4.2.2 full"] * 6
    ahead = timedelta(0)
    for tries in range(6):
        with clock.ahead(ahead):
            assert send_due_letters() == 1
            assert send_due_letters() == 0, "it came back at once"
            assert world.card(card.id).letter == "queued"
            [row] = rows("SELECT due_at - clock_timestamp() AS wait, last_error FROM letter")
        wait = row.wait - ahead
        doubled = timedelta(seconds=FIRST_WAIT_S * 2**tries)
        assert 0.7 * doubled < wait < 1.3 * doubled
        assert row.last_error == "DATA 452 4.2.2"
        ahead += wait + timedelta(seconds=1)
    with clock.ahead(ahead):
        assert send_due_letters() == 1
    assert (world.card(card.id).letter, len(office.letters)) == ("sent", 1)
    assert world.claim(link_in(office.letters[0])).card_id == card.id


@pytest.mark.parametrize("remedy", ["holder", "reissue"])
def test_the_issuer_sees_that_an_address_takes_no_letters_and_helps_the_holder(
    remedy: str, office: PostOffice, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """The address was wrong and is corrected; or it was right, and the card is issued again when its box is mended."""
    body = card_body(api.world.programme_id, holder={"email": WRONG, "name": "Sam"})
    card_id = api.acme.post("/v1/cards", body).get_json()["id"]
    office.rcpt_replies[WRONG] = ["550 5.1.1 no such person"]
    send_due_letters()
    [told] = [str(record.msg) for record in caplog.records if record.levelname == "ERROR"]
    assert "letter_failed" in told
    assert card_id in told
    assert "RCPT 550 5.1.1" in told
    assert api.acme.get(f"/v1/cards/{card_id}").get_json()["letter"] == "failed"
    with clock.ahead(timedelta(days=2)):
        assert send_due_letters() == 0, "given up, and yet tried again"

    asked = {"holder": {"email": RIGHT}, "reissue": {"deliver": "email"}}[remedy]
    assert api.acme.post(f"/v1/cards/{card_id}/{remedy}", asked).status_code == 200
    assert api.acme.get(f"/v1/cards/{card_id}").get_json()["letter"] == "queued"
    send_due_letters()
    assert api.acme.get(f"/v1/cards/{card_id}").get_json()["letter"] == "sent"
    assert office.recipients == [{"holder": RIGHT, "reissue": WRONG}[remedy]]
    assert api.world.claim(link_in(office.letters[0])).card_id == card_id


def delivered_twice(office: PostOffice, world: World) -> list[str | None]:
    """A letter that the server took, whose answer never came: the links of both."""
    world.issue(deliver="email")
    office.lost_answers = 1
    with pytest.raises(Busy):
        send_due_letters()
    assert states_of_letters() == [("queued", 1)]
    with clock.ahead(timedelta(seconds=FIRST_WAIT_S * 1.3)):
        assert send_due_letters() == 1
    assert len(office.letters) == 2
    return [link_in(message) for message in office.letters]


@pytest.mark.parametrize("used", [0, 1], ids=["the first", "the second"])
def test_of_two_letters_for_one_offer_either_opens_it_and_kills_the_other(
    used: int, office: PostOffice, world: World
) -> None:
    links = delivered_twice(office, world)
    assert world.claim(links[used]).balance == gbp(5_000)
    with pytest.raises(LinkNotAccepted):
        world.claim(links[1 - used])
    assert rows("SELECT count(*) AS many FROM code WHERE state = 'live'")[0].many == 1


def test_two_letters_opened_at_once_show_one_code(office: PostOffice, world: World) -> None:
    links = delivered_twice(office, world)
    codes, refusals = split(at_once([partial(world.claim, link) for link in links * 4]))
    assert len(codes) == 1
    assert all(isinstance(refusal, LinkNotAccepted | LinkOpened) for refusal in refusals)
    assert rows("SELECT count(*) AS many FROM code WHERE state = 'live'")[0].many == 1
