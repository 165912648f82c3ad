"""The client against the service as it runs: every verb, both tiers, both kinds of client."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from app.billing.work import work_off
from app.config import Settings
from app.ids import StoreId
from app.oauth.clients import add_client, add_keyed_client
from app.oauth.scopes import PARTY_SCOPES
from app.secrecy import random_secret
from scrip_sdk import (
    AmountTooHigh,
    Budget,
    Client,
    Code,
    CodeRefused,
    Money,
    NotAllowed,
    PaymentClosed,
    RequestRejected,
    TryLater,
    shopper_of,
)
from scrip_sdk.balance import BalanceTokenRefused, Jwks, jwks_call, verify_balance_token
from scrip_sdk.bill import Bill, Line
from tests.cutting_proxy import CuttingProxy
from tests.plugin_sdk.conftest import AnyClient, MakeClient
from tests.service import served
from tests.world import World, make_world

ROOMY = Budget(10, 20, 30)  # the machine may be busy, and time is tried elsewhere
ORDER = "order-1"


def gbp(amount: str) -> Money:
    return Money.of(amount, "GBP")


@dataclass(frozen=True)
class Running:
    url: str
    world: World


@pytest.fixture(scope="module")
def running(database: Settings, keys_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("service") / "log"
    with served(database, keys_dir, log, wsgi="tests.faults.cheap_wsgi:app") as port:
        yield Running(f"http://127.0.0.1:{port}", make_world())


def keyed(store_id: StoreId, key: Any, scopes: Any) -> str:
    jwks = {"keys": [key.as_dict(private=False)]}
    return add_keyed_client(name="shop", mode="test", store_id=store_id, scopes=scopes, jwks=jwks)


@pytest.fixture(params=["secret", "ES256 PEM", "EdDSA JWK", "PS256 PEM"])
def shop(running: Running, make_client: MakeClient, request: pytest.FixtureRequest) -> AnyClient:
    """Bookshop's client: of the basic tier, or with a key of each kind."""
    scopes = PARTY_SCOPES["store"]
    if request.param == "secret":
        made = add_client(name="shop", mode="test", store_id=running.world.bookshop, scopes=scopes)
        return make_client(running.url, made.client_id, made.client_secret, budget=ROOMY)
    algorithm, form = request.param.split()
    make: dict[str, Callable[[], Any]] = {
        "ES256": lambda: ECKey.generate_key("P-256"),
        "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
        "PS256": lambda: RSAKey.generate_key(2048),
    }
    key = make[algorithm]()
    client_id = keyed(running.world.bookshop, key, scopes)
    private = key.as_pem(private=True) if form == "PEM" else key.as_dict(private=True)
    return make_client(running.url, client_id, None, private_key=private, budget=ROOMY)


def bookshop(running: Running, make_client: MakeClient, *, url: str | None = None, **more: Any) -> AnyClient:
    scopes = more.pop("held", PARTY_SCOPES["store"])
    made = add_client(name="shop", mode="test", store_id=running.world.bookshop, scopes=scopes)
    return make_client(url or running.url, made.client_id, made.client_secret, budget=ROOMY, **more)


def test_a_card_is_taken_from_code_to_refund(running: Running, shop: AnyClient) -> None:
    key = random_secret()
    code = Code(running.world.code(5_000).code)
    shopper = shopper_of(secrets.token_bytes(32), "session-1", "192.0.2.77")
    payment = shop.exchange(code, order_reference=ORDER, key=key, shopper=shopper, hold_ttl_s=600)
    assert (payment.state, payment.confirmed, payment.balance) == ("held", False, gbp("50"))
    assert shop.exchange(code, order_reference=ORDER, key=key, shopper=shopper, hold_ttl_s=600) == payment
    assert shop.get(payment.id) == payment

    confirmed = shop.confirm(payment.id, order_reference=ORDER, amount=gbp("40.00"))
    assert (confirmed.confirmed, confirmed.held) == (True, gbp("40"))
    assert confirmed.expires_at > payment.expires_at
    assert shop.extend(payment.id, 14 * 86_400, key=f"extend-{key}").expires_at > confirmed.expires_at

    part = shop.settle(payment.id, gbp("10"), order_reference=ORDER, final=False, key=f"part-{key}")
    assert (part.settled, part.remaining) == (gbp("10"), gbp("30"))
    assert shop.settle(payment.id, gbp("10"), order_reference=ORDER, final=False, key=f"part-{key}") == part
    with pytest.raises(AmountTooHigh) as over:
        shop.settle(payment.id, gbp("30.01"), order_reference=ORDER)
    assert over.value.left_minor == 3_000
    last = shop.settle(payment.id, gbp("20"), order_reference=ORDER)
    assert (last.settled, last.released, last.remaining) == (gbp("20"), gbp("10"), gbp("0"))
    assert shop.settle(payment.id, gbp("20"), order_reference=ORDER) == last
    assert (last.payment.state, last.payment.settled) == ("settled", gbp("30"))

    refund = shop.refund(payment.id, gbp("5"), key=f"refund-{key}", reason="One book came back")
    assert (refund.amount, refund.payment.refunded) == (gbp("5"), gbp("5"))
    with pytest.raises(AmountTooHigh):
        shop.refund(payment.id, gbp("25.01"), key=f"more-{key}")
    with pytest.raises(PaymentClosed) as closed:
        shop.void(payment.id)
    assert (closed.value.state, closed.value.status) == ("settled", 409)
    assert closed.value.request_id is not None


def test_a_months_bill_is_sent_matched_and_sent_again(running: Running, shop: AnyClient) -> None:
    """A large one goes out in pieces; its key and content are the same each time."""
    payment = shop.exchange(running.world.code(5_000).code, order_reference=ORDER, key=random_secret())
    shop.settle(payment.id, gbp("30"), order_reference=ORDER)
    lines = [Line(payment.id, ORDER, gbp("30")), *(Line(f"pay_{number}", ORDER, gbp("1")) for number in range(2_000))]
    bill, reference = Bill(f"{datetime.now(UTC):%Y-%m}", tuple(lines), (), 0), random_secret()
    sent = shop.submit_bill(bill, reference=reference)
    assert (sent.state, sent.reference) == ("received", reference)
    assert shop.submit_bill(bill, reference=reference) == sent
    work_off(sent.id)
    done = shop.get_bill(sent.id)
    assert (done.state, done.lines, done.matched_lines, done.broken_lines) == ("matched", 2_001, 1, 2_000)
    with pytest.raises(RequestRejected) as refused:
        shop.submit_bill(replace(bill, lines=()), reference=reference)
    assert refused.value.slug == "reference-reused"


def test_a_void_gives_everything_back(running: Running, shop: AnyClient) -> None:
    payment = shop.exchange(running.world.code(5_000).code, order_reference=ORDER, key=random_secret())
    voided = shop.void(payment.id)
    assert (voided.state, voided.held, voided.balance_token) == ("voided", gbp("0"), None)
    assert shop.void(payment.id) == voided


def test_a_confirm_after_a_void_is_not_answered_as_before(running: Running, make_client: MakeClient) -> None:
    """The bank declined, the hold was given back, and the shopper tries again on a page that is old."""
    shop = bookshop(running, make_client)
    code = running.world.code(5_000).code
    shopper = shopper_of(secrets.token_bytes(32), "session-1")
    payment = shop.exchange(code, order_reference=ORDER, key=random_secret(), shopper=shopper)
    confirmed = shop.confirm(payment.id, order_reference=ORDER, amount=gbp("30"))
    assert shop.confirm(payment.id, order_reference=ORDER, amount=gbp("30")) == confirmed
    assert shop.void(payment.id).state == "voided"
    with pytest.raises(PaymentClosed) as closed:
        shop.confirm(payment.id, order_reference=ORDER, amount=gbp("30"))
    assert closed.value.state == "voided"
    again = shop.exchange(code, order_reference=ORDER, key=random_secret(), shopper=shopper)
    assert again.id != payment.id  # so that the void's key is free for it
    assert shop.void(again.id).held == gbp("0")


def test_codes_of_nobody_are_refused_and_then_told_to_wait(running: Running, make_client: MakeClient) -> None:
    shop = bookshop(running, make_client)
    shopper = shopper_of(secrets.token_bytes(32), "guesser")
    for number in range(5):
        with pytest.raises(CodeRefused):
            shop.exchange("S5FR-5EZY-B8FS-5CWB", order_reference=ORDER, key=f"guess-{number}", shopper=shopper)
    with pytest.raises(TryLater) as raised:
        for number in range(5):
            shop.exchange("S5FR-5EZY-B8FS-5CWB", order_reference=ORDER, key=f"guess-{number}", shopper=shopper)
    assert raised.value.retry_after_s >= 1


def test_what_is_not_the_stores_is_refused(running: Running, make_client: MakeClient) -> None:
    shop = bookshop(running, make_client, held=("exchange", "settle"))
    payment = shop.exchange(running.world.code().code, order_reference=ORDER, key=random_secret())
    with pytest.raises(NotAllowed) as scope:
        shop.refund(payment.id, gbp("1"), key="refund-1")
    assert scope.value.slug == "insufficient-scope"
    with pytest.raises(NotAllowed) as client:
        make_client(running.url, "cli_" + "0" * 26, "wrong-secret", budget=ROOMY).get(payment.id)
    assert client.value.slug == "invalid_client"
    with pytest.raises(NotAllowed) as wrong:
        bookshop(running, make_client, scopes=["issue"]).get(payment.id)
    assert wrong.value.slug == "invalid_scope"
    with pytest.raises(RequestRejected) as unknown:
        shop.get("pay_" + "0" * 26)
    assert unknown.value.slug == "not-found"
    shop.confirm(payment.id, order_reference=ORDER)
    with pytest.raises(PaymentClosed) as other:
        shop.confirm(payment.id, order_reference="order-2")
    assert (other.value.slug, other.value.state) == ("order-superseded", None)


def test_threads_with_a_key_make_good_proofs_each(running: Running, make_client: MakeClient) -> None:
    key = ECKey.generate_key("P-256")
    client_id = keyed(running.world.bookshop, key, PARTY_SCOPES["store"])
    shop = make_client(running.url, client_id, None, private_key=key.as_pem(private=True), budget=ROOMY)
    payment = shop.exchange(running.world.code().code, order_reference=ORDER, key=random_secret())
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: shop.get(payment.id), range(24))) == [payment] * 24


# ── lost answers ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lost_answer_does_not_burn_the_code_nor_settle_twice(running: Running) -> None:
    """Real work is done behind each cut; the wire sends `Connection: close`, as the proxy wants it."""
    with CuttingProxy(int(running.url.rpartition(":")[2])).running() as proxy:
        made = add_client(name="shop", mode="test", store_id=running.world.bookshop, scopes=PARTY_SCOPES["store"])
        with Client(f"http://127.0.0.1:{proxy.port}", made.client_id, made.client_secret, budget=ROOMY) as shop:
            closing(shop)
            proxy.cuts = ["answer", "pass", "answer", "half answer", "pass"]
            payment = shop.exchange(running.world.code(5_000).code, order_reference=ORDER, key=random_secret())
            assert payment.balance == gbp("50")
            assert proxy.cuts == []
            proxy.cuts = ["answer", "half request"]
            settled = shop.settle(payment.id, gbp("30"), order_reference=ORDER)
            assert proxy.cuts == []
            assert (settled.payment.settled, settled.payment.balance) == (gbp("30"), gbp("20"))


def closing(shop: Any) -> None:
    """Each request asks for the connection's end."""
    original = shop.service.headers_and_body

    def with_close(*args: Any) -> Any:
        headers, body = original(*args)
        return headers | {"Connection": "close"}, body

    shop.service.headers_and_body = with_close
    shop.service.draw = lambda: 0.0


# ── balance tokens ──────────────────────────────────────────────────────────────────────────────────────────────────


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_balance_token_is_verified_offline(running: Running) -> None:
    made = add_client(name="shop", mode="test", store_id=running.world.bookshop, scopes=PARTY_SCOPES["store"])
    with Client(running.url, made.client_id, made.client_secret, budget=ROOMY) as shop:
        payment = shop.exchange(running.world.code(5_000).code, order_reference=ORDER, key=random_secret())
        clock = Clock()
        jwks, store = Jwks(shop, clock=clock), running.world.bookshop
        token = payment.balance_token
        assert token is not None
        found = verify_balance_token(token, jwks, store, payment_id=payment.id)
        assert (found.balance, found.payment_id) == (gbp("50"), payment.id)
        assert abs((found.expires_at - payment.expires_at).total_seconds()) <= 1
        plain = shop.ask(jwks_call())
        assert verify_balance_token(token, plain, store, issuer=running.url) == found

        header, claims, signature = token.split(".")
        flipped = f"{header}.{claims}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
        unsigned = f"eyJhbGciOiJub25lIiwidHlwIjoic2NyaXAtYmFsYW5jZStqd3QifQ.{claims}."
        access = shop.service.access_token.text if shop.service.access_token else ""
        for bad in (flipped, unsigned, access, "", "ключ", "a.b.c", "." * 9):
            with pytest.raises(BalanceTokenRefused):
                verify_balance_token(bad, jwks, store)
        for other in ({"store_id": running.world.toyshop}, {"payment_id": "pay_" + "0" * 26}):
            with pytest.raises(BalanceTokenRefused):
                verify_balance_token(token, jwks, **{"store_id": store, **other})
        with pytest.raises(BalanceTokenRefused):
            verify_balance_token(token, plain, store, issuer="https://else.example")
        with pytest.raises(ValueError, match="issuer"):
            verify_balance_token(token, plain, store)


def test_the_keys_are_fetched_seldom_and_used_on_while_the_service_is_away(running: Running) -> None:
    asked: list[float] = []
    clock = Clock()

    class Counted(Client):
        def ask(self, call: Any, deadline: Any = None) -> Any:
            asked.append(clock.now)
            return super().ask(call, deadline)

    with Counted(running.url, "cli_x", "no secret is needed", budget=ROOMY) as shop:
        jwks = Jwks(shop, clock=clock)
        kid = shop.ask(jwks_call())["keys"][0]["kid"]
        asked.clear()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: jwks.keys(kid), range(16)))
        clock.now = 29
        jwks.keys("unknown")
        assert asked == [0.0]
        clock.now = 31
        jwks.keys("unknown")
        clock.now = 32
        jwks.keys("unknown")
        jwks.keys(kid)
        assert asked == [0.0, 31]
    clock.now = 999
    away = Counted("http://127.0.0.1:1", "cli_x", "s", budget=Budget(0.2, 0.2, 0.2))
    jwks._client = away
    assert jwks.keys(kid) is jwks.keys(kid)
    assert asked == [0.0, 31, 999]
