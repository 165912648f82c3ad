"""Hosted checkout as a store uses it: at the fake, and at the service with a secret and with a key."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from anyio.from_thread import start_blocking_portal
from flask import Flask
from joserfc.jwk import ECKey

from app.config import settings
from app.ids import StoreId
from app.oauth.clients import add_client, add_keyed_client
from app.oauth.scopes import PARTY_SCOPES
from scrip_sdk import (
    Budget,
    Client,
    CodeRefused,
    Money,
    NotAllowed,
    PaymentClosed,
    RequestRejected,
    ScripError,
    ServiceUnavailable,
)
from scrip_sdk.checkout import (
    MOST_PENDING,
    SESSION_KEY,
    Approved,
    CheckoutDeclined,
    CheckoutUnknown,
    finish_checkout,
    finish_checkout_async,
    start_checkout,
    start_checkout_async,
)
from scrip_sdk.shopper import shopper_of
from scrip_sdk.testing import VALID, VALID_SMALL, FakeScrip
from scrip_sdk.widget import widget_csp, widget_tag
from tests.checkout.shop import Pushed, Shopper, csrf_of
from tests.holder.conftest import Served, served
from tests.world import World

__all__ = ["served"]

CALLBACK = "https://bookshop.example/paid?shop=1"
THIRTY = Money(3_000, "GBP")
SAM = shopper_of("a secret of the store", "session of Sam")


def query_of(address: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address).query))


@dataclass
class Shop:
    """A store at the fake, and the shopper's session, as a framework would keep it in a cookie."""

    fake: FakeScrip
    client: Client
    session: dict[str, Any] = field(default_factory=dict)

    def start(self, order: str = "123", amount: Money = THIRTY) -> str:
        options: Any = {"return_url": CALLBACK, "session": self.session, "shopper": SAM}
        url = start_checkout(self.client, order=order, amount=amount, **options)
        self.session = json.loads(json.dumps(self.session))
        return url

    def finish(self, address: str, **changes: str) -> Approved:
        return finish_checkout(self.client, {**query_of(address), **changes}, self.session)


@pytest.fixture
def shop() -> Iterator[Shop]:
    fake = FakeScrip(redirect_uris=[CALLBACK])
    with fake.client(budget=Budget(0.5, 0.5, 1.3)) as client:
        yield Shop(fake, client)
    fake.assert_sums_agree()


def test_a_shopper_approves_and_the_order_is_settled(shop: Shop) -> None:
    approved = shop.finish(shop.fake.approve(shop.start(), VALID))
    assert (approved.amount, approved.order) == (THIRTY, "123")
    assert shop.client.settle(approved.payment_id, approved.amount).payment.order_reference == "123"
    shop.fake.assert_sums_agree(settled=THIRTY)


def test_a_card_with_less_pays_what_it_has(shop: Shop) -> None:
    assert shop.finish(shop.fake.approve(shop.start(), VALID_SMALL)).amount == Money(500, "GBP")


def test_a_shopper_who_goes_back_has_declined(shop: Shop) -> None:
    with pytest.raises(CheckoutDeclined) as caught:
        shop.finish(shop.fake.deny(shop.start()))
    assert not isinstance(caught.value, CodeRefused)


@pytest.mark.parametrize("changes", [{"state": "another"}, {"state": ""}, {"state": "\udc80"}])
def test_a_state_of_another_session_is_unknown_and_spends_nothing(shop: Shop, changes: dict[str, str]) -> None:
    back = shop.fake.approve(shop.start(), VALID)
    with pytest.raises(CheckoutUnknown):
        shop.finish(back, **changes)
    assert shop.fake.called("token") == []
    assert shop.finish(back).order == "123"


def test_somebody_elses_session_gets_nothing(shop: Shop) -> None:
    back = shop.fake.approve(shop.start(), VALID)
    with pytest.raises(CheckoutUnknown):
        finish_checkout(shop.client, query_of(back), {})


@pytest.mark.parametrize("issuer", ["https://evil.example", "", "https://scrip.test/"])
def test_an_answer_of_another_issuer_is_refused(shop: Shop, issuer: str) -> None:
    back = shop.fake.approve(shop.start(), VALID)
    with pytest.raises(CheckoutUnknown):
        shop.finish(back, iss=issuer)
    assert shop.fake.called("token") == []


def test_a_checkout_comes_back_once(shop: Shop) -> None:
    back = shop.fake.approve(shop.start(), VALID)
    shop.finish(back)
    with pytest.raises(CheckoutUnknown):
        shop.finish(back)
    assert len(shop.fake.called("token")) == 1


def test_two_tabs_come_back_each_to_its_own_order(shop: Shop) -> None:
    first, second = shop.start("1", Money(1_000, "GBP")), shop.start("2", Money(2_000, "GBP"))
    assert shop.finish(shop.fake.approve(second, VALID)).order == "2"
    assert shop.finish(shop.fake.approve(first, VALID_SMALL)).order == "1"


def test_a_session_stays_small(shop: Shop) -> None:
    first = shop.start("0" * 200)
    for number in range(MOST_PENDING):
        shop.start(str(number) * 200)
    assert len(shop.session[SESSION_KEY]) == MOST_PENDING
    assert len(json.dumps(shop.session)) < 3_000  # a cookie has 4 KB
    with pytest.raises(CheckoutUnknown):
        shop.finish(shop.fake.approve(first, VALID))


@pytest.mark.parametrize("kept", [None, "text", [1], [["a"]], [["s", "v", "o", "x", "GBP", "u", 1]], [None]])
def test_whatever_else_stands_in_the_session_is_left_alone(shop: Shop, kept: object) -> None:
    shop.session[SESSION_KEY] = kept
    assert shop.finish(shop.fake.approve(shop.start(), VALID)).order == "123"


def test_a_checkout_that_is_too_old_is_forgotten(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    back = shop.fake.approve(shop.start(), VALID)
    begun_at = shop.session[SESSION_KEY][0][-1]
    monkeypatch.setattr("scrip_sdk.checkout.time.time", lambda: begun_at + 3 * 3_600)
    with pytest.raises(CheckoutUnknown):
        shop.finish(back)


def test_after_a_minute_the_card_is_free_again(shop: Shop) -> None:
    back = shop.fake.approve(shop.start(), VALID)
    shop.fake.advance(61)
    with pytest.raises(PaymentClosed):
        shop.finish(back)
    assert shop.client.exchange(VALID, order_reference="1", key="1", shopper=SAM).held == Money(5_000, "GBP")


def test_a_lost_answer_is_not_asked_for_again_and_the_same_order_finds_the_payment(shop: Shop) -> None:
    back = shop.fake.approve(shop.start(), VALID)
    shop.fake.lose_answer(verb="token")
    with pytest.raises(ServiceUnavailable):
        shop.finish(back)
    assert len(shop.fake.called("token")) == 1
    approved = shop.finish(shop.fake.approve(shop.start(), VALID))
    assert [payment.id for payment in shop.fake.payments] == [approved.payment_id]


def test_what_was_certainly_not_done_is_asked_for_again(shop: Shop) -> None:
    back = shop.fake.approve(shop.start(), VALID)
    shop.fake.refuse("busy", verb="token")
    assert shop.finish(back).amount == THIRTY
    assert [call.status for call in shop.fake.called("token")] == [503, 200]


def test_while_the_service_is_down_no_checkout_begins(shop: Shop) -> None:
    shop.fake.went_down()
    with pytest.raises(ServiceUnavailable):
        shop.start()
    assert SESSION_KEY not in shop.session


def test_what_the_service_would_refuse(shop: Shop) -> None:
    with pytest.raises(RequestRejected):
        shop.start(amount=Money(0, "GBP"))
    with pytest.raises(RequestRejected):
        start_checkout(shop.client, order="1", amount=THIRTY, return_url="https://x.example/", session={})
    narrow = shop.fake.add_client(scopes=["bill"], redirect_uris=[CALLBACK])
    with shop.fake.plugged_in(), Client(shop.fake.url, narrow.client_id, narrow.client_secret) as client:
        with pytest.raises(NotAllowed):
            start_checkout(client, order="1", amount=THIRTY, return_url=CALLBACK, session={})


@pytest.mark.parametrize(
    "spoilt",
    [
        {"approved_amount": {"amount": "99.00", "currency": "GBP"}},
        {"approved_amount": {"amount": "1.00", "currency": "EUR"}},
        {"approved_amount": 1},
        {"order": "another"},
        {"payment_id": "pay_1/../2"},
        {"payment_id": None},
    ],
)
def test_an_approval_of_something_else_is_not_taken(
    shop: Shop, spoilt: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    authorization = shop.fake._service.authorization
    redeem = authorization.redeem

    def spoil(*args: Any) -> dict[str, Any]:
        answer = redeem(*args)
        answer["authorization_details"][0].update(spoilt)
        return answer

    back = shop.fake.approve(shop.start(), VALID)
    monkeypatch.setattr(authorization, "redeem", spoil)
    with pytest.raises(ServiceUnavailable) as caught:
        shop.finish(back)
    assert caught.value.slug == "not-understood"


def test_with_await_it_is_the_same() -> None:
    fake, session = FakeScrip(redirect_uris=[CALLBACK]), dict[str, Any]()

    async def check_out() -> Approved:
        async with fake.async_client() as client:
            options: Any = {"return_url": CALLBACK, "session": session}
            url = await start_checkout_async(client, order="1", amount=THIRTY, **options)
            return await finish_checkout_async(client, query_of(fake.approve(url, VALID)), session)

    with start_blocking_portal() as portal:  # a loop of its own: a browser's tests may have one in this thread
        assert portal.call(check_out).amount == THIRTY


# ── at the service ──────────────────────────────────────────────────────────────────────────────────────────────────


def clients_of(store_id: StoreId, kind: str, url: str) -> tuple[Client, Client]:
    """Two processes of one store, as far as a client is concerned; no proof of one can be made by the other."""
    wanted: Any = {"name": "shop", "mode": "test", "store_id": store_id, "scopes": PARTY_SCOPES["store"]}
    wanted["redirect_uris"] = [CALLBACK]
    if kind == "secret":
        made = add_client(**wanted)
        return tuple(Client(url, made.client_id, made.client_secret) for _ in range(2))  # type: ignore[return-value]
    key = ECKey.generate_key("P-256")
    public = {**key.as_dict(private=False), "kid": "one", "use": "sig", "alg": "ES256"}
    client_id = add_keyed_client(**wanted, jwks={"keys": [public]})
    private = {**key.as_dict(private=True), "kid": "one"}
    return tuple(Client(url, client_id, private_key=private) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["secret", "key"])
def test_at_the_service_a_shopper_pays_and_comes_back_to_another_process(
    kind: str, served: Served, app: Flask, world: World
) -> None:
    there, back_here = clients_of(world.bookshop, kind, served.url)
    session: dict[str, Any] = {}
    options: Any = {"return_url": CALLBACK, "session": session, "shopper": SAM}
    with there, back_here:
        url = start_checkout(there, order="123", amount=THIRTY, **options)
        assert url.startswith(f"{served.url}/oauth/authorize?")
        approved = finish_checkout(back_here, came_back(app, url, world.code().code), session)
        assert approved.amount == THIRTY
        back_here.confirm(approved.payment_id, order_reference="123")
        assert back_here.settle(approved.payment_id, THIRTY, order_reference="123").payment.state == "settled"
        url = start_checkout(there, order="124", amount=THIRTY, **options)
        with pytest.raises(CheckoutDeclined):
            finish_checkout(there, came_back(app, url, None), session)
        url = start_checkout(there, order="125", amount=THIRTY, **options)
        back = came_back(app, url, world.code().code)
        kept = json.loads(json.dumps(session))
        assert finish_checkout(back_here, back, session).order == "125"
        with pytest.raises(PaymentClosed):  # the service has its own say about what comes twice
            finish_checkout(there, back, kept)


def came_back(app: Flask, url: str, code: str | None) -> dict[str, str]:
    """The query with which a shopper comes back who typed this code, or pressed Back."""
    query = query_of(url)
    pushed, shopper = Pushed(query["request_uri"], "", query["client_id"]), Shopper(app.test_client())
    page = shopper.open(pushed)
    fields = {"action": "cancel"} if code is None else {"action": "code", "code": code}
    answer = shopper.post(pushed, origin=settings().public_url, csrf=csrf_of(page), **fields)
    assert answer.status_code == 303, answer.text
    return query_of(answer.headers["Location"])


# ── the field for codes ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_tag_is_html_and_nothing_in_it_gets_out() -> None:
    tag = widget_tag("https://cards.example/", "str_1", '"><script>alert(1)</script>', THIRTY, SAM, nonce="'\"")
    assert (
        tag.__html__()
        == tag
        == (
            '<script src="https://cards.example/widget/v1.js" nonce="&#x27;&quot;"></script>'
            '<scrip-code store="str_1" order="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;" '
            f'amount="3000" currency="GBP" shopper="{SAM.key_hash}"></scrip-code>'
        )
    )
    assert "shopper" not in widget_tag("https://cards.example", "str_1", "1", THIRTY)
    assert widget_csp("https://cards.example") == {
        "script-src": "https://cards.example",
        "frame-src": "https://cards.example",
    }
    for address in ("http://cards.example", "https://cards.example/path", "javascript:alert(1)"):
        with pytest.raises(ValueError):
            widget_tag(address, "str_1", "1", THIRTY)


def test_a_code_token_is_exchanged(shop: Shop) -> None:
    token = shop.fake.code_token(VALID, order_reference="1", amount=THIRTY, shopper_key=SAM.key_hash)
    payment = shop.client.exchange_token(token, order_reference="1", key="1", shopper=SAM)
    assert payment.held == THIRTY
    with pytest.raises(CodeRefused):
        shop.client.exchange_token(token, order_reference="1", key="2", shopper=SAM)
    other = shop.fake.code_token(VALID_SMALL, order_reference="1", amount=THIRTY)
    with pytest.raises(ScripError) as caught:
        shop.client.exchange_token(other, order_reference="2", key="3")
    assert token not in repr(caught.value) and other not in repr(caught.value)
