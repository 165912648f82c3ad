"""The fake as a store's tests use it: its codes, its switches, its records, with a socket and without."""

import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from anyio.from_thread import start_blocking_portal

from scrip_sdk import (
    AmountTooHigh,
    Budget,
    Client,
    CodeMistyped,
    CodeRefused,
    Money,
    NotAllowed,
    PaymentClosed,
    RequestRejected,
    ScripError,
    ServiceUnavailable,
    TryLater,
)
from scrip_sdk import testing as sdk_testing
from scrip_sdk.balance import Jwks, verify_balance_token
from scrip_sdk.bill import Bill, Line
from scrip_sdk.code import read_code
from scrip_sdk.errors import class_of
from scrip_sdk.shopper import Shopper
from scrip_sdk.testing import (
    BUSY_ONCE,
    DOWN,
    EMPTY,
    LOST_ANSWER,
    LOST_ONCE,
    MISTYPED,
    REFUSED,
    SLOW,
    TRY_LATER,
    VALID,
    VALID_EUR,
    VALID_SMALL,
    FakeScrip,
    code_for,
    codes,
)
from scrip_sdk.testing.plugin import has_code
from scrip_sdk.testing.refusals import REFUSALS, Refused
from tests.plugin_sdk.conftest import Awaited

FIFTY, THIRTY = Money(5_000, "GBP"), Money(3_000, "GBP")
SHORT = Budget(connect_s=0.3, read_s=0.3, total_s=1.3)
SAM = Shopper("sam-12345678")
ROOT = Path(__file__).parents[2]

#: A client of any kind, asked without await.
Ask = Callable[..., Any]


@pytest.fixture
def fake() -> Iterator[FakeScrip]:
    fake = FakeScrip(slow_s=0.1)
    yield fake
    fake.assert_sums_agree()


@pytest.fixture(params=["plugged in", "await", "socket"])
def ask(fake: FakeScrip, request: pytest.FixtureRequest) -> Iterator[Ask]:
    """Asks the fake by name of the verb: plugged into a client, into one with await, or over a socket."""
    with ExitStack() as stack:
        client: Any
        if request.param == "await":
            portal = stack.enter_context(start_blocking_portal())
            client = Awaited(fake.async_client(budget=SHORT), portal)
            stack.callback(client.aclose)
        elif request.param == "socket":
            url = stack.enter_context(fake.served())
            client = stack.enter_context(Client(url, fake.client_id, fake.client_secret, budget=SHORT))
        else:
            client = stack.enter_context(fake.client(budget=SHORT))
        client.service.draw = lambda: 0.0
        yield lambda verb, *args, **more: getattr(client, verb)(*args, **more)


def exchange(ask: Ask, code: str, key: str = "one", **more: Any) -> Any:
    return ask("exchange", code, order_reference="order-1", key=key, **more)


# ── codes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_is_paid(fake: FakeScrip, ask: Ask) -> None:
    payment = exchange(ask, VALID, shopper=SAM)
    assert (payment.held, payment.balance) == (FIFTY, FIFTY)
    ask("confirm", payment.id, order_reference="order-1", amount=THIRTY)
    assert ask("settle", payment.id, THIRTY).payment.state == "settled"
    fake.assert_sums_agree(settled=THIRTY)
    ask("refund", payment.id, Money(1_000, "GBP"), key="refund")
    fake.assert_sums_agree(settled=Money(2_000, "GBP"))
    assert [letter.kind for letter in fake.letters] == ["reissue", "refund"]
    assert exchange(ask, fake.claim(payment.id), "two").balance == THIRTY


def test_what_a_code_says_happens(fake: FakeScrip, ask: Ask) -> None:
    assert exchange(ask, VALID_SMALL, "small").held == Money(500, "GBP")
    assert exchange(ask, VALID_EUR, "euros").held == Money(5_000, "EUR")
    assert exchange(ask, code_for("7", "JPY"), "yen").held == Money(7, "JPY")
    assert exchange(ask, code_for("7.00", number=2), "other").held == Money(700, "GBP")
    assert exchange(ask, LOST_ONCE, "lost-once").held == FIFTY
    assert exchange(ask, BUSY_ONCE, "busy-once").held == FIFTY
    for code in (EMPTY, REFUSED, "MA4K-V30W-8P9C-GEM6"):
        with pytest.raises(CodeRefused):
            exchange(ask, code, "refused")
    with pytest.raises(TryLater) as caught:
        exchange(ask, TRY_LATER)
    assert caught.value.retry_after_s == 30
    asked = len(fake.calls)
    with pytest.raises(CodeMistyped):
        exchange(ask, MISTYPED)
    assert len(fake.calls) == asked
    by_key = {call.key: call.status for call in fake.called("exchange")}
    assert (by_key["lost-once"], by_key["busy-once"]) == (201, 201)


def test_a_slow_answer_comes(fake: FakeScrip, ask: Ask) -> None:
    began = time.monotonic()
    assert exchange(ask, SLOW).held == FIFTY
    assert time.monotonic() - began > fake.slow_s
    fake.slow_s = 0.4  # longer than the client waits
    with pytest.raises(ServiceUnavailable):
        exchange(ask, SLOW)


def test_a_lost_answer_leaves_one_payment(fake: FakeScrip, ask: Ask) -> None:
    with pytest.raises(ServiceUnavailable):
        exchange(ask, LOST_ANSWER)
    assert len(fake.payments) == 1
    assert {call.status for call in fake.called("exchange")} == {0}


def test_a_service_that_is_down_does_nothing(fake: FakeScrip, ask: Ask) -> None:
    with pytest.raises(ServiceUnavailable):
        exchange(ask, DOWN)
    fake.went_down()
    with pytest.raises(ServiceUnavailable):
        exchange(ask, VALID)
    assert fake.payments == []
    fake.came_back()
    assert exchange(ask, VALID).held == FIFTY


def test_the_table_of_codes_is_true() -> None:
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| `(\S+)` \|", codes.__doc__ or "", re.MULTILINE))
    assert told == {name: value for name, value in vars(codes).items() if name in told}
    assert set(told) == {name for name in sdk_testing.__all__ if name.isupper()}
    assert {name for name, code in told.items() if read_code(code) is None} == {"MISTYPED"}
    page = (ROOT / "docs" / "plugins-python.md").read_text()
    assert dict(re.findall(r"^\| `([A-Z_]+)` \| `(\S+)` \|", page, re.MULTILINE)) == told


def test_a_code_says_its_amount_and_nothing_else_is_one() -> None:
    assert codes.read_magic(str(read_code(code_for("335544.31")))) == codes.Magic("valid", Money(33_554_431, "GBP"))
    wrong: tuple[dict[str, Any], ...] = ({"amount": "335544.32"}, {"amount": "-1"}, {"kind": "x"}, {"number": -1})
    for each in wrong:
        with pytest.raises(ValueError):
            code_for(**{"amount": "1", **each})
    assert codes.read_magic("MA4KV30W8P9CGEM6") is None
    assert codes.read_magic(str(read_code(codes.with_check("TESTVZZZ0000000")))) is None  # no such currency


# ── switches ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_answers_are_lost_and_the_work_is_done_once(fake: FakeScrip, ask: Ask) -> None:
    payment = exchange(ask, VALID)
    fake.lose_answer(times=2, verb="settle")
    assert ask("settle", payment.id, THIRTY).settled == THIRTY
    assert [call.status for call in fake.called("settle")] == [0, 0, 201]
    assert fake.called("settle")[-1].replayed
    fake.assert_sums_agree(settled=THIRTY)


def test_every_slug_can_be_met(fake: FakeScrip) -> None:
    with fake.client(budget=Budget(0.2, 0.2, 0.2)) as client:
        payment = client.exchange(VALID, order_reference="1", key="1")
        for slug in REFUSALS:
            slug = Refused(slug).slug
            fake.refuse(slug, times=10, verb="get", state="voided", held_minor=7)
            with pytest.raises(ScripError) as caught:
                client.get(payment.id)
            assert (type(caught.value), caught.value.slug) == (class_of(slug, REFUSALS[slug][0]), slug)
            fake.forget_faults()
        with pytest.raises(KeyError):
            fake.refuse("no-such-slug")


def test_time_moves_on(fake: FakeScrip) -> None:
    with fake.client() as client:
        payment = client.exchange(VALID, order_reference="1", key="1")
        fake.advance(31 * 60)
        with pytest.raises(PaymentClosed) as caught:
            client.confirm(payment.id, order_reference="1")
        assert caught.value.state == "expired"
        assert fake.payment(payment.id).state == "expired"
        assert len(fake.called("token")) == 2  # the client found its access token expired


def test_access_tokens_can_be_revoked(fake: FakeScrip) -> None:
    with fake.client() as client:
        payment = client.exchange(VALID, order_reference="1", key="1")
        fake.revoke_access_tokens()
        assert client.get(payment.id) == payment
        narrow = fake.add_client(scopes=["exchange"])
    with fake.plugged_in(), Client(fake.url, narrow.client_id, narrow.client_secret) as client:
        with pytest.raises(NotAllowed):
            client.void(payment.id)
    with fake.plugged_in(), Client(fake.url, narrow.client_id, "wrong") as client:
        with pytest.raises(NotAllowed):
            client.get(payment.id)


def test_other_stores_and_refund_limits(fake: FakeScrip) -> None:
    other = fake.add_store()
    fake.limit_refunds(Money(1_000, "GBP"))
    with fake.client() as client, fake.plugged_in():
        payment = client.exchange(VALID, order_reference="1", key="1")
        with Client(fake.url, other.client_id, other.client_secret) as stranger:
            with pytest.raises(RequestRejected):
                stranger.get(payment.id)
            with pytest.raises(CodeRefused):
                stranger.exchange(VALID, order_reference="1", key="1")
        client.settle(payment.id, THIRTY)
        with pytest.raises(AmountTooHigh) as caught:
            client.refund(payment.id, THIRTY, key="refund")
        assert caught.value.left_minor == 1_000


def test_many_threads_with_one_code_open_one_payment(fake: FakeScrip) -> None:
    found: list[Any] = []
    with fake.client() as client:

        def exchange_it(key: str) -> None:
            found.append(client.exchange(VALID, order_reference="1", key=key, shopper=SAM).id)

        threads = [threading.Thread(target=exchange_it, args=[str(number)]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (len(found), len(set(found)), len(fake.payments)) == (8, 1, 1)


# ── records ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["held_minor", "settled_minor", "released_minor", "refunded_minor", "hold_minor"])
def test_a_sum_that_differs_is_named(name: str) -> None:
    fake = FakeScrip()
    with fake.client() as client:
        payment = client.exchange(VALID, order_reference="1", key="1")
        client.settle(payment.id, THIRTY, final=False, key="part")
    fake.assert_sums_agree(settled=THIRTY)
    found = fake.payment(payment.id)
    setattr(found, name, getattr(found, name) + 1)
    with pytest.raises(AssertionError, match=payment.id if name != "card" else ""):
        fake.assert_sums_agree()


def test_what_a_store_is_owed_is_compared() -> None:
    with pytest.raises(AssertionError, match=r"owed 0.00 GBP, not 30.00 GBP"):
        FakeScrip().assert_sums_agree(settled=THIRTY)


def test_no_record_shows_a_code_or_a_secret(fake: FakeScrip) -> None:
    with fake.client() as client:
        payment = client.exchange(VALID, order_reference="1", key="1")
        client.settle(payment.id, THIRTY)
    secrets = [VALID.replace("-", ""), VALID, fake.client_secret]
    records = (fake.payments, fake.letters, fake.calls, fake.card(payment.id), fake, fake._service.parties.clients)
    everything = "".join(repr(each) for each in records)
    assert not [secret for secret in secrets if secret in everything]


def test_balance_tokens_verify_offline(fake: FakeScrip) -> None:
    with fake.served() as url, Client(url, fake.client_id, fake.client_secret) as client:
        payment = client.exchange(VALID, order_reference="1", key="1")
        assert payment.balance_token is not None
        found = verify_balance_token(payment.balance_token, Jwks(client), fake.store_id, payment_id=payment.id)
        assert found.balance == FIFTY


def test_other_languages_reach_it(fake: FakeScrip) -> None:
    with fake.served() as url:
        assert json.load(urlopen(f"{url}/.well-known/oauth-authorization-server"))["issuer"] == url == fake.url
        assert json.load(urlopen(f"{url}/healthz"))


def test_it_runs_as_a_program_of_its_own() -> None:
    command = [sys.executable, "-m", "scrip_sdk.testing", "--redirect-uri", "http://localhost/paid"]
    env = {"PYTHONPATH": str(ROOT / "plugin_sdk")}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        with Client(told["url"], told["client_id"], told["client_secret"]) as client:
            assert client.exchange(told["codes"]["VALID"], order_reference="1", key="1").held == FIFTY
        process.terminate()


# ── the plugin ──────────────────────────────────────────────────────────────────────────────────────────────────────

STORE_TESTS = """
import logging
import pytest
from scrip_sdk import Client, Money
from scrip_sdk.testing import VALID

def test_an_order_is_paid(scrip, scrip_client):
    payment = scrip_client.exchange(VALID, order_reference="1", key="1")
    scrip_client.settle(payment.id, Money.of("30.00", "GBP"))
    scrip.assert_sums_agree(settled=Money.of("30.00", "GBP"))

def test_a_store_makes_its_own_client(scrip):
    with Client(scrip.url, scrip.client_id, scrip.client_secret) as client:
        assert client.exchange(VALID, order_reference="1", key="1")

def test_that_logs_a_code():
    logging.getLogger("store").debug("the shopper typed %s", VALID)

def test_that_logs_it_in_a_traceback():
    try:
        raise ValueError(VALID.replace("-", "").lower())
    except ValueError:
        logging.getLogger("store").exception("oops")

def test_that_logs_no_code():
    logging.getLogger("store").warning("pay_01m84qf1bgfsdrt5wy3xxw2v4q 2026-11-23 17:32:37 TEST-TEST-TEST-TEST")
"""


def test_the_plugin_gives_fixtures_and_finds_codes_in_logs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "plugins-python.md").read_text()
    told = re.search(r"^```python\n(from scrip_sdk import Money\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert told is not None
    (tmp_path / "test_store.py").write_text(STORE_TESTS)
    (tmp_path / "test_told.py").write_text(told[1])
    (tmp_path / "pytest.ini").write_text("[pytest]\nscrip_no_codes_in_logs = true\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "scrip_sdk.testing.plugin", "--tb=line"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "plugin_sdk"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert "2 errors" in run.stdout and "6 passed" in run.stdout, run.stdout
    assert run.stdout.count("a gift card code was logged by store, test_store.py") >= 2
    assert re.findall(r"^ERROR \S+::(\w+)", run.stdout, re.MULTILINE) == [
        "test_that_logs_a_code",
        "test_that_logs_it_in_a_traceback",
    ]


def test_a_code_is_found_as_people_write_it() -> None:
    for text in (VALID, VALID.replace("-", ""), VALID.replace("-", " ").lower(), f"code={VALID}&x", f'"{VALID}"'):
        assert has_code(text), text
    for text in (MISTYPED, "x" + VALID, VALID + "0", "", "pay_01m84qf1bgfsdrt5wy3xxw2v4q"):
        assert not has_code(text), text


def test_nothing_is_logged_by_the_fake_itself(fake: FakeScrip, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), fake.served() as url:
        with Client(url, fake.client_id, fake.client_secret) as client:
            client.exchange(VALID, order_reference="1", key="1")
    assert not has_code(caplog.text)


def test_a_months_bill_is_taken_and_matched(fake: FakeScrip) -> None:
    with fake.client() as client:
        payment = client.exchange(VALID, order_reference="order-1", key="one")
        client.settle(payment.id, THIRTY, order_reference="order-1")
        bill = Bill(f"{fake.now():%Y-%m}", (Line(payment.id, "order-1", THIRTY),), (), 0)
        sent = client.submit_bill(bill, reference="bill-1")
        assert client.get_bill(sent.id).matched_lines == 1
        assert client.submit_bill(bill, reference="bill-1").id == sent.id
    assert [call.verb for call in fake.calls].count("bill") == 2
