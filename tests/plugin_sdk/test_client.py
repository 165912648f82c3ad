"""One client for all threads and forks of a shop: renewal, connections, TLS, and what stays secret."""

import copy
import logging
import multiprocessing
import pickle
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from scrip_sdk import Client, Code, Money, NotAllowed, RequestRejected, ScripError, ServiceUnavailable
from scrip_sdk.aio import AsyncClient
from scrip_sdk.calls import PROBLEM, Call
from scrip_sdk.tokens import MARGIN_S
from tests.plugin_sdk.certificates import tls_pair
from tests.plugin_sdk.conftest import PATIENT, SECRET, AnyClient, MakeClient
from tests.plugin_sdk.hostile import PAYMENT_ID, REQUEST_ID, Hostile, answer, half, half_without_length, problem, silent

CODE = "S5FR-5EZY-B8FS-5CWB"
TYPED = {"order_reference": "order-1", "key": "exchange-1"}


def make_due(shop: AnyClient) -> None:
    """The access token at hand is to be renewed, and good for long yet."""
    shop.get(PAYMENT_ID)
    object.__setattr__(shop.service.access_token, "renewed_at", 0.0)


# ── many threads ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_threads_without_an_access_token_fetch_one(hostile: Hostile, make_client: MakeClient) -> None:
    shop = make_client(hostile.url, budget=PATIENT)

    def slow(*at: Any) -> bool:
        time.sleep(0.2)
        return hostile.token()(*at)

    hostile.tokens = [slow]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda _: shop.get(PAYMENT_ID).id, range(24)))
    assert found == [PAYMENT_ID] * 24
    assert len(hostile.fetched) == 1


def test_one_thread_renews_early_while_the_others_go_on(hostile: Hostile, make_client: MakeClient) -> None:
    shop = make_client(hostile.url, budget=PATIENT)
    make_due(shop)
    renewing, done = threading.Event(), threading.Event()

    def slow(*at: Any) -> bool:
        renewing.set()
        assert done.wait(5)
        return hostile.token()(*at)

    hostile.tokens = [slow]
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(8) as others:
        one = first.submit(shop.get, PAYMENT_ID)
        assert renewing.wait(5)
        list(others.map(lambda _: shop.get(PAYMENT_ID), range(16)))  # nobody waits for the one who renews
        assert not one.done()
        done.set()
        one.result()
    shop.get(PAYMENT_ID)
    sent = [each.headers["authorization"] for each in hostile.calls]
    assert len(hostile.fetched) == 2
    assert len(set(sent[:-2])) == 1 and sent[-2] == sent[-1] != sent[0]


@pytest.mark.parametrize("failure", [silent, answer(503, {}), answer(401, {"error": "invalid_client"}), half])
def test_an_early_renewal_that_fails_is_not_the_callers(hostile: Hostile, hasty: AnyClient, failure: Any) -> None:
    make_due(hasty)
    hostile.tokens = [failure] * 9
    hasty.get(PAYMENT_ID)
    hasty.get(PAYMENT_ID)  # and not tried again with each call
    assert len(hostile.fetched) == 2


def test_an_access_token_that_is_over_is_not_sent(hostile: Hostile, shop: AnyClient) -> None:
    shop.get(PAYMENT_ID)
    token = shop.service.access_token
    assert 300 - 30 < token.good_until - time.monotonic() <= 300 - MARGIN_S
    object.__setattr__(token, "good_until", time.monotonic())
    shop.get(PAYMENT_ID)
    assert len(hostile.fetched) == 2
    assert hostile.calls[0].headers["authorization"] != hostile.calls[1].headers["authorization"]


def test_threads_that_are_refused_at_once_renew_once(hostile: Hostile, make_client: MakeClient) -> None:
    shop = make_client(hostile.url, budget=PATIENT)
    shop.get(PAYMENT_ID)
    together = threading.Barrier(8)

    def refuse(*at: Any) -> bool:
        together.wait(5)
        return problem(401, "invalid-access-token")(*at)

    hostile.answers = [refuse] * 8
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: shop.get(PAYMENT_ID), range(8)))
    assert len(hostile.fetched) == 2


def test_a_task_that_is_cancelled_while_it_renews_leaves_the_lock(hostile: Hostile) -> None:
    async def cancel_and_ask_again() -> str:
        shop = AsyncClient(hostile.url, "cli_of_shop", SECRET, budget=PATIENT)
        hostile.tokens = [silent]
        with anyio.move_on_after(0.2) as scope:
            await shop.get(PAYMENT_ID)
        assert scope.cancelled_caught
        async with shop:
            return (await shop.get(PAYMENT_ID)).id

    with start_blocking_portal() as portal:  # a loop of its own: a browser's tests may have one in this thread
        assert portal.call(cancel_and_ask_again) == PAYMENT_ID


def test_the_search_for_secrets_finds_what_is_there(shop: AnyClient, hostile: Hostile) -> None:
    hostile.answers = [answer(404, b"")]
    with pytest.raises(ServiceUnavailable) as raised:
        shop.ask(Call("GET", f"/v1/{CODE}", dict))
    assert CODE in told_by(raised.value)


# ── forks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_forked_worker_has_connections_and_locks_of_its_own(hostile: Hostile) -> None:
    """As in a shop whose server loads the application and then forks, while a thread of it is renewing."""
    with Client(hostile.url, "cli_of_shop", SECRET, budget=PATIENT) as shop:
        shop.get(PAYMENT_ID)
        before = hostile.calls[0].connection
        shop.service.access_token = None
        assert shop._opened().lock.acquire()
        child = multiprocessing.get_context("fork").Process(target=shop.get, args=[PAYMENT_ID])
        child.start()
        child.join(10)
        assert child.exitcode == 0
        shop._opened().lock.release()
        assert hostile.calls[-1].connection != before
        shop.get(PAYMENT_ID)
        assert hostile.calls[-1].connection == before


def test_a_closed_client_says_so(hostile: Hostile) -> None:
    with Client(hostile.url, "cli_of_shop", SECRET) as shop:
        shop.get(PAYMENT_ID)
    with pytest.raises(RuntimeError, match="closed"):
        shop.get(PAYMENT_ID)


# ── where it sends what it knows ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    [
        "http://cards.example",
        "http://127.0.0.1.cards.example",
        "http://localhost.cards.example:80",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "//cards.example",
        "cards.example",
        "ftp://cards.example",
        "https://",
        "https://user:pw@cards.example",
        "https://cards.example/api",
        "https://cards.example?x=1",
        "https://cards.example#x",
        "https://cards.example\r\nHost: x",
        "https://cärds.example",
        "https://cards.example:port",
        "",
    ],
)
def test_an_address_that_is_not_to_be_trusted_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"base_url|Port|port"):
        Client(url, "cli_of_shop", SECRET)


@pytest.mark.parametrize(
    "url,origin",
    [
        ("https://cards.example", "https://cards.example"),
        ("https://Cards.Example:8443/", "https://cards.example:8443"),
        ("https://cards.example:443", "https://cards.example"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:80", "http://localhost"),
        ("http://127.8.0.1", "http://127.8.0.1"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
    ],
)
def test_an_address_is_kept_as_an_origin(url: str, origin: str) -> None:
    assert Client(url, "cli_of_shop", SECRET).service.origin == origin


@pytest.mark.parametrize("given", [{}, {"client_secret": "s", "private_key": "k"}])
def test_there_is_exactly_one_credential(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="private_key"):
        Client("https://cards.example", "cli_of_shop", **given)


def test_a_certificate_that_nobody_vouches_for_gets_nothing(make_client: MakeClient, tmp_path: Path) -> None:
    server_side, client_side = tls_pair(tmp_path)
    with Hostile(tls=server_side).running() as stranger:
        with pytest.raises(ServiceUnavailable) as raised:
            make_client(stranger.url).exchange(CODE, **TYPED)
        assert raised.value.slug == "not-trusted"
        assert (stranger.seen, stranger.connections) == ([], 1)  # nor is it asked again
        stranger.answers = [half_without_length, half]
        assert make_client(stranger.url, ssl_context=client_side).exchange(CODE, **TYPED).id == PAYMENT_ID
        asked = len(stranger.seen)
        with pytest.raises(ServiceUnavailable) as raised:  # the certificate is good, and for another name
            make_client(stranger.url.replace("127.0.0.1", "localhost"), ssl_context=client_side).get(PAYMENT_ID)
        assert (raised.value.slug, len(stranger.seen)) == ("not-trusted", asked)


def test_no_payment_id_leads_to_another_address(hostile: Hostile, shop: AnyClient) -> None:
    for wrong in ("", "pay_1", f"{PAYMENT_ID}/void", f"{PAYMENT_ID}\n", "../oauth/token", None, 7):
        with pytest.raises(RequestRejected) as raised:
            shop.get(wrong)
        assert raised.value.slug == "not-found"
    assert hostile.seen == []


# ── what stays secret ───────────────────────────────────────────────────────────────────────────────────────────────


def told_by(error: BaseException) -> str:
    """All that a report of an error may show: text, arguments, and the variables of each frame of the SDK's."""
    whole = [repr(error), str(error), repr(error.args), repr(vars(error))]
    frames = traceback.TracebackException.from_exception(error, capture_locals=True, compact=False)
    seen: list[traceback.TracebackException | None] = [frames, frames.__cause__, frames.__context__]
    for each in (each for each in seen if each is not None):
        for frame in each.stack:
            if any(part in frame.filename for part in ("scrip_sdk/", "urllib3", "httpx2", "/json/")):
                whole += [f"{name}={value}" for name, value in (frame.locals or {}).items()]
    return "\n".join(whole)


@pytest.mark.parametrize(
    "told",
    [
        problem(422, "code-not-accepted"),
        problem(422, "invalid-request", {"errors": [{"pointer": f"/{CODE}", "detail": CODE}, {"pointer": "/code"}]}),
        problem(422, CODE.lower()),
        answer(500, CODE.encode()),
        answer(404, CODE.encode(), content_type="text/html"),
        answer(200, {"id": CODE}),
        answer(409, {"slug": "payment-closed", "state": CODE}, content_type=PROBLEM, X_Request_Id=CODE),
        problem(401, "invalid-access-token"),
        silent,
        half,
    ],
)
def test_no_error_shows_a_code_a_secret_or_a_token(hostile: Hostile, hasty: AnyClient, told: Any) -> None:
    hostile.answers = [told] * 9
    with pytest.raises(ScripError) as raised:
        hasty.exchange(Code(CODE), **TYPED)
    shown = told_by(raised.value).lower()
    for secret in (CODE, CODE.replace("-", ""), SECRET, "token-number-", "Basic ", "Bearer ey"):
        assert secret.lower() not in shown, secret


def test_a_code_that_was_mistyped_is_in_no_frame_of_ours() -> None:
    typed = CODE.replace("S5FR", "S5FQ")
    with pytest.raises(ScripError) as raised:
        Code(typed)
    assert typed not in told_by(raised.value)


#: What may be wrong with the other arguments of an exchange.
WRONG: list[dict[str, Any]] = [
    {"key": "a key"},
    {"key": None},
    {"amount": 5},
    {"amount": Money(5, "GBP"), "hold_ttl_s": object()},
    {"order_reference": object()},
    {"shopper": "session-1"},
]


@pytest.mark.parametrize("wrong", [{}, *WRONG], ids=lambda wrong: "-".join(wrong) or "mistyped")
def test_a_wrong_argument_leaves_no_code_in_a_frame_of_ours(shop: AnyClient, wrong: dict[str, Any]) -> None:
    """Error trackers show the variables of each frame."""
    code = CODE if wrong else CODE.replace("S5FR", "S5FQ")
    token = "ct_" + "x" * 43
    tries: list[tuple[Any, Any]] = [(shop.exchange, code), (shop.exchange, code.encode())]
    if wrong:
        tries += [(shop.exchange, Code(code)), (shop.exchange_token, token), (shop.exchange_token, token.encode())]
    for exchange, secret in tries:
        with pytest.raises((ScripError, TypeError, AttributeError)) as raised:
            exchange(secret, **{**TYPED, **wrong})
        shown = told_by(raised.value)
        assert "order_reference=" in shown
        for hidden in (code, code.replace("-", ""), token):
            assert hidden not in shown, hidden


def test_nothing_is_logged_but_addresses(hostile: Hostile, shop: AnyClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    hostile.answers = [half, problem(503, "busy"), answer(302, b"", Location=f"{hostile.url}/elsewhere")]
    with pytest.raises(ServiceUnavailable):
        shop.exchange(CODE, **TYPED)
    for secret in (CODE.replace("-", ""), SECRET, "token-number"):
        assert secret not in caplog.text.replace("-", "") + caplog.text


def test_a_client_shows_no_secret_and_is_not_pickled(hostile: Hostile, shop: AnyClient) -> None:
    client: AnyClient = getattr(shop, "_client", shop)
    shop.get(PAYMENT_ID)
    for each in (repr(client), repr(client.service), repr(vars(client)), repr(client.service.access_token)):
        assert SECRET not in each and "token-number" not in each
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(client)


def test_an_error_survives_a_job_queue() -> None:
    error = ServiceUnavailable("busy", 503, REQUEST_ID, retry_after_s=8)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(again), vars(again), str(again)) == (type(error), vars(error), str(error))
    assert NotAllowed().worth_repeating
