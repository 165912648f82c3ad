"""A process killed between any two database calls of an approval, a redemption or a release: nothing is half done."""

from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from flask import Flask
from sqlalchemy import text

from app import config
from app.db.transaction import transaction
from tests.checkout.shop import CALLBACK, Pushed, Shop, Shopper, bookshop_of, csrf_of
from tests.faults.conftest import Run, Running, Tell
from tests.faults.fuse import HEADER
from tests.faults.test_kill_worker import TRIES, Place, places_in
from tests.world import World, assert_audit_is_clean, forgive_all, rows

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Told:
    """What came back."""

    status: int
    headers: dict[str, str]

    @property
    def code(self) -> str:
        """The authorization code with which the shopper was sent back."""
        return parse_qs(urlsplit(self.headers["Location"]).query)["code"][0]


@dataclass(frozen=True)
class Asked:
    """One form of a store's or a shopper's, which can be sent again."""

    port: int
    path: str
    form: dict[str, str]
    headers: dict[str, str]
    pushed: Pushed | None = None

    def send(self, place: str | None = None) -> Told | None:
        """None when the worker died over it; again while the service is busy with the dead one's transaction."""
        for _ in range(TRIES):
            told = self._send({HEADER: place} if place else {})
            if told is None or told.status != 503:
                return told
        return told

    def _send(self, more: dict[str, str]) -> Told | None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=15)
        headers = {**self.headers, "Content-Type": FORM, "Connection": "close", **more}
        try:
            connection.request("POST", self.path, urlencode(self.form), headers)
            answer = connection.getresponse()
            answer.read()
            return Told(answer.status, dict(answer.headers))
        except (HTTPException, ConnectionError):
            return None
        finally:
            connection.close()


@dataclass(frozen=True)
class Ground:
    """Bookshop and its shoppers, in front of a running service."""

    app: Flask
    service: Running
    shop: Shop

    @property
    def world(self) -> World:
        return self.service.api.world

    def typed(self, balance_minor: int = 5_000) -> Asked:
        """The code of a fresh card, typed into a page that is open."""
        forgive_all()  # a try that nobody is left to give back counts as wrong
        pushed, shopper = self.shop.push(), Shopper(self.app.test_client())
        fields = {"action": "code", "csrf": csrf_of(shopper.open(pushed))}
        [cookie] = (shopper.web._cookies or {}).values()
        headers = {"Cookie": f"{cookie.key}={cookie.value}", "Origin": config.settings().public_url}
        path = f"/oauth/authorize?{urlencode(pushed.query)}"
        code = self.world.code(balance_minor).code
        return Asked(self.service.port, path, {**fields, "code": code}, headers, pushed)

    def chosen(self) -> Asked:
        """The yes to all that a smaller card has."""
        typed = self.typed(2_000)
        told = typed.send()
        assert told is not None and told.status == 303
        form = {**typed.form, "action": "approve", "agreed": "20.00"}
        return Asked(typed.port, typed.path, form, typed.headers, typed.pushed)

    def redeemed(self) -> Asked:
        """The store's request for a token, after an approval."""
        typed = self.typed()
        told, pushed = typed.send(), typed.pushed
        assert told is not None and pushed is not None
        form = {"grant_type": "authorization_code", "code": told.code, "redirect_uri": CALLBACK}
        form["code_verifier"] = pushed.verifier
        return Asked(self.service.port, "/oauth/token", form, self.shop.authorization, pushed)

    def released(self) -> Asked:
        """The release of one approval whose minute is over, and of no other."""
        release = Asked(self.service.port, "/planted/release", {}, {})
        self._let_the_minute_pass()
        assert release.send() is not None
        assert self.typed().send() is not None
        self._let_the_minute_pass()
        return release

    def _let_the_minute_pass(self) -> None:
        with transaction() as db:
            db.execute(text("UPDATE authorization_request SET code_expires_at = now() WHERE state = 'approved'"))

    def standing(self) -> tuple[str, str, int]:
        """Of the newest request and its payment, and how many payments its card has had."""
        newest = """
            SELECT r.state, p.state AS payment, (SELECT count(*) FROM payment WHERE card_id = r.card_id)
            FROM authorization_request r LEFT JOIN payment p ON p.id = r.payment_id ORDER BY r.created_at DESC LIMIT 1
        """
        row = rows(newest)[0]
        return row.state, row.payment, row.count


def check_approval(ground: Ground, asked: Asked, place: Place) -> None:
    told = asked.send()
    assert told is not None and told.status == 303
    assert ground.standing() == ("approved", "held", 1)
    assert asked.pushed is not None
    assert ground.shop.redeem(told.code, asked.pushed).status_code == 200


def check_redemption(ground: Ground, asked: Asked, place: Place) -> None:
    """Whose answer was lost gets none again, and has the payment all the same."""
    told = asked.send()
    assert told is not None and told.status == (400 if place.has_effect else 200)
    assert ground.standing() == ("redeemed", "held", 1)


def check_release(ground: Ground, asked: Asked, place: Place) -> None:
    assert ground.standing() == (("released", "voided", 1) if place.has_effect else ("approved", "held", 1))
    assert asked.send() is not None
    assert ground.standing() == ("released", "voided", 1)


Make = Callable[[Ground], Asked]
Check = Callable[[Ground, Asked, Place], None]
KILLED: dict[str, tuple[Make, Check]] = {
    "a code that has enough": (Ground.typed, check_approval),
    "a yes to less": (Ground.chosen, check_approval),
    "redeem": (Ground.redeemed, check_redemption),
    "release": (Ground.released, check_release),
}


@pytest.mark.slow
def test_killed_at_any_database_call(own_database: config.Settings, app: Flask, run: Run, tell: Tell) -> None:
    with run(own_database, wsgi="releasing_wsgi") as service:
        ground = Ground(app, service, bookshop_of(app, service.api.world))
        for name, (make, check) in KILLED.items():
            alone: Any = make(ground).send("count")
            places = list(places_in(alone.headers[HEADER].split(",")))
            for place in places:
                asked = make(ground)
                assert asked.send(place.name) is None, (name, place)
                check(ground, asked, place)
            tell(f"{name}: killed at {len(places)} places")
            assert len(places) >= 5, name
        assert_audit_is_clean()
