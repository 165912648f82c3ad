"""How a store tests itself with the fake service: `pytest test_flask_shop.py`, and no server anywhere."""

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import create_engine

from scrip_sdk import Money
from scrip_sdk.outbox.sql import SqlOutbox
from scrip_sdk.testing import DOWN, LOST_ONCE, MISTYPED, REFUSED, TRY_LATER, VALID, VALID_SMALL, FakeScrip

os.environ |= {"SCRIP_URL": "https://scrip.test", "SCRIP_CLIENT_ID": "x", "SCRIP_CLIENT_SECRET": "x"}
os.environ |= {"SHOP_SECRET": "a secret of the tests", "SHOP_DATABASE": "sqlite://"}

import flask_shop

pytestmark = pytest.mark.usefixtures("scrip_no_codes_in_logs")
THIRTY = Money.of("30.00", "GBP")


@pytest.fixture
def shop(scrip: FakeScrip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """A shopper's browser at the shop, which has a database of its own and talks to this test's fake."""
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    flask_shop.tables.create_all(engine)
    monkeypatch.setattr(flask_shop, "engine", engine)
    monkeypatch.setattr(flask_shop, "outbox", SqlOutbox(engine, flask_shop.outbox.table))
    with scrip.client() as client:
        monkeypatch.setattr(flask_shop, "client", client)
        yield flask_shop.app.test_client()
        wait_for_delivery()
    engine.dispose()


def wait_for_delivery() -> None:
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(10)


def type_code(shop: FlaskClient, code: str) -> str:
    nonce = re.search(r'name=nonce value="([^"]+)"', shop.get("/").text)
    assert nonce is not None
    return shop.post("/card", data={"nonce": nonce[1], "code": code}, follow_redirects=True).text


def test_an_order_is_paid(shop: FlaskClient, scrip: FakeScrip) -> None:
    assert "Gift card: 30.00 GBP" in type_code(shop, VALID)
    assert "Thank you" in shop.post("/order", follow_redirects=True).text
    wait_for_delivery()
    scrip.assert_sums_agree(settled=THIRTY)
    assert [letter.left for letter in scrip.letters] == [Money.of("20.00", "GBP")]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (MISTYPED, "typing mistake"),
        (REFUSED, "is not accepted"),
        (TRY_LATER, "Please wait 30 seconds"),
        (DOWN, "cannot be taken just now"),
        (VALID_SMALL, "By bank transfer: 25.00 GBP"),
        (LOST_ONCE, "Gift card: 30.00 GBP"),
    ],
)
def test_the_shopper_is_told(shop: FlaskClient, code: str, said: str) -> None:
    assert said in type_code(shop, code)


def test_a_lost_answer_settles_once(shop: FlaskClient, scrip: FakeScrip) -> None:
    type_code(shop, VALID)
    scrip.lose_answer(times=2, verb="settle")
    shop.post("/order")
    wait_for_delivery()
    scrip.assert_sums_agree(settled=THIRTY)
    assert len(scrip.called("settle")) == 3


def test_no_order_stands_on_a_card_that_is_not_confirmed(shop: FlaskClient, scrip: FakeScrip) -> None:
    type_code(shop, VALID)
    scrip.refuse("order-superseded", verb="confirm")
    assert "could not be used" in shop.post("/order", follow_redirects=True).text
    assert scrip.called("settle") == []


def test_a_hold_that_is_over_is_typed_again(shop: FlaskClient, scrip: FakeScrip) -> None:
    type_code(shop, VALID)
    scrip.advance(31 * 60)
    assert "could not be used" in shop.post("/order", follow_redirects=True).text
    assert "name=code" in shop.get("/").text
