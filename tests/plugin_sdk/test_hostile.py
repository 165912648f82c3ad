"""Whatever networks and strangers do: within the budget there is an answer, or an error that a shop can act on.

Each test is run with both kinds of client.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from scrip_sdk import (
    Budget,
    Client,
    NotAllowed,
    Payment,
    RequestRejected,
    ScripError,
    ServiceUnavailable,
    TryLater,
)
from tests.plugin_sdk.conftest import SHORT, AnyClient, MakeClient
from tests.plugin_sdk.hostile import (
    GOOD,
    PAYMENT_ID,
    REQUEST_ID,
    WHOLE,
    Behaviour,
    Hostile,
    answer,
    cut,
    drops,
    half,
    half_without_length,
    payment,
    problem,
    silent,
)

CODE = "S5FR-5EZY-B8FS-5CWB"
#: What a busy machine may add to a budget.
SLACK_S = 1.0
LATER = answer(503, {"slug": "busy"}, Retry_After="1")


@contextmanager
def full_port() -> Iterator[int]:
    """A port at which nobody accepts: the queue of those who wait is full, and who comes next hears nothing."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield full.getsockname()[1]


def exchange(shop: AnyClient) -> Payment:
    paid: Payment = shop.exchange(CODE, order_reference="order-1", key="exchange-1")
    return paid


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + SLACK_S


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_connection_that_does_not_come_about_ends_with_the_budget(make_client: MakeClient) -> None:
    with full_port() as port:
        shop = make_client(f"http://127.0.0.1:{port}", budget=SHORT)
        with within(SHORT.total_s), pytest.raises(ServiceUnavailable) as raised:
            exchange(shop)
        assert (raised.value.slug, raised.value.status) == ("no-connection", None)


def test_a_store_that_lets_strangers_say_addresses_says_which_are_asked(hostile: Hostile) -> None:
    """It is asked of the addresses that the name has, not of the name."""
    asked: list[str] = []

    def may_connect(address: str) -> bool:
        asked.append(address)
        return False

    with Client(
        f"http://localhost:{hostile.port}",
        "cli_x",
        "secret",
        budget=SHORT,
        may_connect=may_connect,
    ) as shop:
        with pytest.raises(ServiceUnavailable) as raised:
            shop.get(PAYMENT_ID)
    assert raised.value.slug == "address-not-allowed"
    assert "127.0.0.1" in asked


def test_a_resolver_that_does_not_answer_ends_with_the_budget(
    hostile: Hostile, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(5) and [])
    shop = make_client(f"http://localhost:{hostile.port}", budget=SHORT)
    with within(SHORT.total_s), pytest.raises(ServiceUnavailable) as raised:
        exchange(shop)
    over.set()
    assert raised.value.slug in ("no-connection", "no-answer")


def test_a_dead_address_leaves_time_for_the_next(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        full_port() as port,
        Client(f"http://localhost:{hostile.port}", "cli_x", "secret", budget=Budget(1, 3, 7)) as shop,
    ):
        places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", each)) for each in (port, hostile.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: places)
        assert exchange(shop).id == PAYMENT_ID


@pytest.mark.parametrize(
    "place,behaviour",
    [
        ("answers", silent),
        ("answers", drops(WHOLE, 0.05)),
        ("answers", drops(b"HTTP/1.1 100 Continue\r\n\r\n" * 99, 0.02)),
        ("tokens", drops(WHOLE, 0.05)),
    ],
    ids=["silent", "drops", "drops before the answer", "drops of a token"],
)
def test_no_byte_puts_off_the_end(hostile: Hostile, hasty: AnyClient, place: str, behaviour: Behaviour) -> None:
    setattr(hostile, place, [behaviour] * 9)
    with within(SHORT.total_s), pytest.raises(ServiceUnavailable) as raised:
        exchange(hasty)
    assert raised.value.slug == "no-answer"
    assert len(hostile.calls if place == "answers" else hostile.fetched) == 2  # 0.3 s each, and a wait of 0.25 s


def test_an_access_token_that_takes_long_leaves_less_for_the_call(hostile: Hostile, hasty: AnyClient) -> None:
    hostile.tokens = [silent, hostile.token()]
    hostile.answers = [silent] * 9
    with within(SHORT.total_s), pytest.raises(ServiceUnavailable):
        exchange(hasty)
    assert (len(hostile.fetched), len(hostile.calls)) == (2, 1)


# ── repeats ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "first",
    [cut, half, half_without_length, answer(500, {}), answer(502, b"<html>", content_type="text/html")],
    ids=["cut", "half", "half without length", "500", "502"],
)
def test_what_was_lost_is_sent_again_under_the_same_key(hostile: Hostile, shop: AnyClient, first: Behaviour) -> None:
    hostile.answers = [first]
    assert exchange(shop).id == PAYMENT_ID
    one, other = hostile.calls
    assert (one.headers["idempotency-key"], one.body) == (other.headers["idempotency-key"], other.body)
    assert one.headers["idempotency-key"] == "exchange-1"
    assert other.at - one.at >= 0.25


def test_who_is_told_when_to_come_again_does_not_come_sooner(hostile: Hostile, shop: AnyClient) -> None:
    hostile.answers = [LATER]
    assert exchange(shop).id == PAYMENT_ID
    one, other = hostile.calls
    assert other.at - one.at >= 1


def test_a_wait_that_is_too_long_is_the_callers(hostile: Hostile, shop: AnyClient) -> None:
    hostile.answers = [problem(503, "busy", Retry_After="30")]
    with within(0.1), pytest.raises(ServiceUnavailable) as raised:
        exchange(shop)
    error = raised.value
    assert (error.slug, error.status, error.request_id, error.retry_after_s) == ("busy", 503, REQUEST_ID, 30)
    assert error.worth_repeating


def test_a_shopper_who_must_wait_is_told_at_once(hostile: Hostile, shop: AnyClient) -> None:
    hostile.answers = [problem(429, "try-later", Retry_After="1")]
    with within(0.1), pytest.raises(TryLater) as raised:
        exchange(shop)
    assert raised.value.retry_after_s == 1
    assert len(hostile.calls) == 1


def test_a_store_that_must_wait_does_so_where_there_is_time(hostile: Hostile, shop: AnyClient) -> None:
    hostile.answers = [problem(429, "try-later", Retry_After="1"), GOOD, problem(429, "try-later", Retry_After="9")]
    assert shop.void(PAYMENT_ID).id == PAYMENT_ID
    with pytest.raises(TryLater) as raised:
        shop.void(PAYMENT_ID)
    assert raised.value.retry_after_s == 9


# ── access tokens ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_access_token_serves_many_calls(hostile: Hostile, shop: AnyClient) -> None:
    for _ in range(3):
        exchange(shop)
    assert len(hostile.fetched) == 1
    assert len({each.connection for each in hostile.seen}) == 1


def test_a_refused_access_token_is_renewed_once(hostile: Hostile, shop: AnyClient) -> None:
    exchange(shop)
    hostile.answers = [problem(401, "invalid-access-token")]
    exchange(shop)
    assert len(hostile.fetched) == 2
    old, refused, renewed = (each.headers["authorization"] for each in hostile.calls)
    assert old == refused != renewed


def test_a_store_that_is_refused_always_stops(hostile: Hostile, shop: AnyClient) -> None:
    hostile.answers = [problem(401, "invalid-access-token")] * 9
    with within(0.1), pytest.raises(NotAllowed):
        exchange(shop)
    assert (len(hostile.fetched), len(hostile.calls)) == (2, 2)


@pytest.mark.parametrize(
    "told,kind",
    [
        (answer(401, {"error": "invalid_client"}), NotAllowed),
        (answer(400, {"error": "invalid_scope"}), NotAllowed),
        (answer(400, {"error": "unsupported_grant_type"}), RequestRejected),
        (answer(429, {"error": "temporarily_unavailable"}, Retry_After="60"), ServiceUnavailable),
        (answer(503, {"error": "temporarily_unavailable"}, Retry_After="60"), ServiceUnavailable),
        (answer(404, {"error": "not_found"}), ServiceUnavailable),
        (answer(400, {"error": "bad_request"}), ServiceUnavailable),
        (answer(200, b"<html>Welcome to our WLAN", content_type="text/html"), ServiceUnavailable),
        (answer(200, {"access_token": "x" * 20, "token_type": "DPoP", "expires_in": 300}), ServiceUnavailable),
        (answer(200, {"access_token": "x\r\nX: y" * 9, "token_type": "Bearer", "expires_in": 300}), ServiceUnavailable),
        (answer(200, {"access_token": "x" * 20, "token_type": "Bearer", "expires_in": "300"}), ServiceUnavailable),
    ],
)
def test_without_an_access_token_no_code_is_sent(
    hostile: Hostile, shop: AnyClient, told: Behaviour, kind: type[ScripError]
) -> None:
    hostile.tokens = [told] * 9
    with within(0.1), pytest.raises(kind) as raised:
        exchange(shop)
    assert type(raised.value) is kind
    assert not hostile.calls


# ── others who answer ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "told",
    [
        answer(200, b"<html>Welcome to our WLAN", content_type="text/html"),
        answer(200, [payment()]),
        answer(200, {}),
        answer(200, payment(id="pay_" + "0" * 26)),
        answer(200, payment(held={"amount_minor": 1.5, "currency": "GBP"})),
        answer(200, payment(held={"amount_minor": True, "currency": "GBP"})),
        answer(200, payment(held={"amount_minor": 15, "currency": "ABC"})),
        answer(200, payment(expires_at="2026-11-23T18:02:37")),
        answer(200, payment(confirmed="no")),
        answer(204, b""),
        answer(200, b" " * 300_000 + json.dumps(payment()).encode()),
        answer(403, b"<html>Forbidden by firewall", content_type="text/html"),
        answer(404, b"Not found", content_type="text/plain"),
        answer(400, {"message": "an API gateway"}),
        answer(404, {"error": "not_found"}),
        answer(404, {"error": "not-found", "slug": "not-found"}),
        answer(400, {"error": "invalid_request"}),
        answer(410, {"error": "gone"}, content_type="application/problem+json"),
        answer(404, {"slug": "Not Found 404"}, content_type="application/problem+json"),
        answer(403, {"error": "access_denied"}),
        answer(302, b"", Location="https://portal.example/"),
        answer(307, b"", Location="https://portal.example/"),
    ],
)
def test_an_answer_of_somebody_else_means_that_the_service_was_not_reached(
    hostile: Hostile, shop: AnyClient, told: Behaviour
) -> None:
    hostile.answers = [told] * 9
    with within(0.2), pytest.raises(ServiceUnavailable) as raised:
        shop.get(PAYMENT_ID)
    assert raised.value.slug == "not-understood"
    assert raised.value.worth_repeating
    assert len(hostile.calls) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(hostile: Hostile, shop: AnyClient, status: int) -> None:
    with Hostile().running() as thief:
        hostile.answers = [answer(status, b"", Location=f"{thief.url}/v1/payments")]
        with pytest.raises(ServiceUnavailable):
            exchange(shop)
        hostile.tokens = [answer(status, b"", Location=f"{thief.url}/oauth/token")] * 2
        shop.service.access_token = None
        with pytest.raises(ServiceUnavailable):
            exchange(shop)
        assert thief.seen == []


def test_proxies_of_the_environment_are_not_used(
    hostile: Hostile, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hostile().running() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        exchange(make_client(hostile.url))
        assert proxy.seen == []


def test_no_cookie_comes_back(hostile: Hostile, shop: AnyClient) -> None:
    hostile.answers = [answer(201, payment(), Set_Cookie="who=you; Path=/")]
    exchange(shop)
    exchange(shop)
    assert all("cookie" not in each.headers for each in hostile.seen)


def test_an_answer_in_pieces_is_read_whole(hostile: Hostile, shop: AnyClient) -> None:
    raw = json.dumps(payment()).encode()
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(raw[at : at + 50]), raw[at : at + 50]) for at in range(0, len(raw), 50))
    whole = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces

    def chunked(connection: socket.socket, _seen: object) -> bool:
        connection.sendall(whole + b"0\r\n\r\n")
        return True

    def cut_short(connection: socket.socket, _seen: object) -> bool:
        connection.sendall(whole)
        return False

    hostile.answers = [chunked, cut_short, chunked]
    assert exchange(shop) == exchange(shop)
    assert len(hostile.calls) == 3
