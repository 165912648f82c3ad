"""Settings, checks, commands, and who the shopper is."""

import io
import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import RequestFactory, override_settings
from joserfc.jwk import ECKey
from outbox_contract import settle, void

from scrip_sdk import Money, Payment
from scrip_sdk.django import client, forget_client, payments
from scrip_sdk.django.models import ScripPayment
from scrip_sdk.django.outbox import DjangoOutbox
from scrip_sdk.django.settings import scrip_settings
from scrip_sdk.django.shoppers import address_of_request, shopper_of_request
from scrip_sdk.django.times import now

GOOD = {"URL": "https://cards.example", "CLIENT_ID": "cli_1", "CLIENT_SECRET": "very-secret"}


@pytest.fixture
def silent_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SCRIP_"):
            monkeypatch.delenv(name)


def ids(found: "list[Any]") -> "list[str]":
    return [each.id for each in found if str(each.id).startswith("scrip.")]


@pytest.mark.usefixtures("silent_environment")
def test_settings_that_cannot_work_are_refused_with_what_is_missing(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    wrong: list[tuple[object, str]] = [
        ({}, "URL"),
        (None, "URL"),
        ("https://cards.example", "dictionary"),
        ({**GOOD, "CLIENT_ID": ""}, "CLIENT_ID"),
        ({**GOOD, "CLIENT_SECRET": ""}, "PRIVATE_KEY_FILE"),
        ({**GOOD, "PRIVATE_KEY_FILE": __file__}, "one of"),
        ({**GOOD, "CLIENT_SECRET": None, "CLIENT_SECRET_FILE": "/nowhere"}, "No such file"),
        ({**GOOD, "CLIENT_SECRET": None, "CLIENT_SECRET_FILE": str(empty)}, "empty"),
        ({**GOOD, "TIMEOUT": 3}, "'TIMEOUT'"),
        ({**GOOD, "TOTAL_S": "8"}, "TOTAL_S"),
        ({**GOOD, "SHOPPER_SECRET": "short"}, "SHOPPER_SECRET"),
    ]
    for said, word in wrong:
        with override_settings(SCRIP=said):
            with pytest.raises(ImproperlyConfigured, match=word) as refused:
                scrip_settings()
            assert "very-secret" not in str(refused.value)
            assert ids(run_checks()) == ["scrip.E001"]


@pytest.mark.usefixtures("silent_environment")
def test_settings_come_from_django_first_then_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from-a-file\n")
    for name, value in (("URL", "https://other.example"), ("CLIENT_ID", "cli_2"), ("CLIENT_SECRET", "from-outside")):
        monkeypatch.setenv(f"SCRIP_{name}", value)
    with override_settings(SCRIP={"URL": "https://cards.example", "CONNECT_S": 1}):
        said = scrip_settings()
        assert (said.url, said.client_id, said.client_secret) == ("https://cards.example", "cli_2", "from-outside")
        assert (said.connect_s, said.total_s) == (1, 8) and "from-outside" not in repr(said)
        assert client().service.budget.connect_s == 1 and client() is client()
    with override_settings(SCRIP={"CLIENT_SECRET_FILE": str(secret)}):
        assert scrip_settings().client_secret == "from-a-file"


@pytest.mark.usefixtures("silent_environment")
@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"SCRIP": GOOD}, []),
        ({"SCRIP": {**GOOD, "URL": "http://cards.example"}}, ["scrip.E002"]),
        ({"SCRIP": {**GOOD, "URL": "http://cards.example"}, "DEBUG": True}, ["scrip.E002"]),
        ({"SCRIP": {**GOOD, "URL": "https://cards.example/api"}}, ["scrip.E001"]),
        ({"SCRIP": {**GOOD, "READ_S": 0}}, ["scrip.E001"]),
        ({"SCRIP": {**GOOD, "URL": "http://127.0.0.1:8000"}}, []),
        ({"SCRIP": GOOD, "SESSION_SERIALIZER": "shop.PickleSerializer"}, ["scrip.W003"]),
        (
            {"SCRIP": GOOD, "DEFAULT_EXCEPTION_REPORTER": "django.views.debug.ExceptionReporter"},
            ["scrip.W004"],
        ),
        (
            {
                "SCRIP": GOOD,
                "DEFAULT_EXCEPTION_REPORTER_FILTER": "django.views.debug.SafeExceptionReporterFilter",
            },
            ["scrip.W004"],
        ),
    ],
)
def test_checks_speak_of_what_would_leak_or_lose(changes: "dict[str, Any]", found: "list[str]") -> None:
    with override_settings(**changes):
        assert ids(run_checks()) == found


@pytest.mark.usefixtures("silent_environment")
def test_a_private_key_that_cannot_sign_is_found_before_a_code_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, made = tmp_path / "key", ECKey.generate_key("P-256")
    with override_settings(SCRIP={**GOOD, "CLIENT_SECRET": None, "PRIVATE_KEY_FILE": str(file)}):
        for content, found in (
            (made.as_pem(private=True), []),
            (json.dumps(made.as_dict(private=True)).encode(), []),
            (made.as_pem(private=False), ["scrip.E001"]),
            (b"no key", ["scrip.E001"]),
            (b'{"kty": "EC"}', ["scrip.E001"]),
            (b"\xff\xfe", ["scrip.E001"]),
        ):
            file.write_bytes(content)
            forget_client()
            assert ids(run_checks()) == found, content
        file.write_bytes(made.as_pem(private=True))
        forget_client()
        monkeypatch.setitem(sys.modules, "scrip_sdk.signing", None)  # as without the extra `keys`
        assert ids(run_checks()) == ["scrip.E001"]


def test_checks_speak_of_an_outbox_that_nobody_delivers() -> None:
    asked: dict[str, Any] = {"databases": ["default"]}
    old = now() - timedelta(hours=2)
    DjangoOutbox().add(void(1))
    assert ids(run_checks(**asked)) == ["scrip.W008"] and ids(run_checks()) == []
    [claimed] = DjangoOutbox().claim(old + timedelta(days=999), limit=1, lease_s=1)
    DjangoOutbox().dead(claimed, at=now(), error="payment-closed")
    assert ids(run_checks(**asked)) == ["scrip.W009"]


def test_the_models_are_what_the_migrations_make() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_the_command_delivers_and_gives_back(
    held: "Callable[..., Payment]", settings_with: "Callable[..., Any]"
) -> None:
    said = io.StringIO()
    paid = held()
    with settings_with(ABANDONED_AFTER_S=0, DELIVER_ON_COMMIT=False):
        payments.record(paid, order_reference="order-1")
        payments.confirm("order-1", {paid.id: Money(3_000, "GBP")})
        call_command("scrip_deliver", "--once", stdout=said)
    assert "1 done" in said.getvalue() and "1 without an order" in said.getvalue()
    assert client().get(paid.id).state == "voided" and ScripPayment.objects.get().state == "voided"


def test_the_months_bill_says_what_was_taken_and_given_back(held: "Callable[..., Payment]") -> None:
    for number in (1, 2):
        order, paid = f"order-{number}", held(f"order-{number}")
        payments.record(paid, order_reference=order)
        payments.confirm(order, {paid.id: Money(3_000, "GBP")})
        with transaction.atomic():
            payments.place(order, {paid.id: Money(3_000, "GBP")})
    payments.refund(paid.id, Money(1_000, "GBP"), part="return-1")
    DjangoOutbox().add(settle(3))
    said, aside = io.StringIO(), io.StringIO()
    call_command("scrip_bill", "--month", f"{now():%Y-%m}", "--format", "json", stdout=said, stderr=aside)
    lines = json.loads(said.getvalue())["lines"]
    assert {line["order_reference"]: line["amount"]["amount_minor"] for line in lines} == {
        "order-1": 3_000,
        "order-2": 2_000,
    }
    assert "2 payments, 50.00 GBP" in aside.getvalue() and "1 payments pending" in aside.getvalue()
    said.truncate(0)
    call_command("scrip_bill", "--month", f"{now():%Y-%m}", stdout=said, stderr=aside)
    assert "30.00,GBP,3000,settled" in said.getvalue()
    with pytest.raises(CommandError):
        call_command("scrip_bill", "--month", "2026-13")


# ── the shopper ─────────────────────────────────────────────────────────────────────────────────────────────────────


def request_of(session: "SessionStore | None" = None, user: object = None, **meta: str) -> Any:
    made: Any = RequestFactory().get("/", **meta)
    made.session, made.user = session if session is not None else SessionStore(), user or AnonymousUser()
    return made


def test_a_shopper_is_the_same_in_one_session_and_another_in_another() -> None:
    session = SessionStore()
    first = shopper_of_request(request_of(session))
    session.cycle_key()  # as a login does
    assert shopper_of_request(request_of(session, User(pk=7))) == first
    assert shopper_of_request(request_of()) != first


def test_a_customer_is_the_same_in_every_session() -> None:
    first, second = (shopper_of_request(request_of(user=User(pk=7))) for _ in range(2))
    assert first == second != shopper_of_request(request_of(user=User(pk=8)))
    assert first.key_hash != "7" and len(first.key_hash) == 64


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, None, "10.0.0.1"),
        (0, "203.0.113.9", "10.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (1, None, "10.0.0.1"),
        (2, "203.0.113.9", "203.0.113.9"),
    ],
)
def test_only_ones_own_proxies_say_where_a_request_came_from(
    proxies: int, forwarded: "str | None", address: str, settings_with: "Callable[..., Any]"
) -> None:
    meta = {"REMOTE_ADDR": "10.0.0.1", **({"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {})}
    with settings_with(TRUSTED_PROXIES=proxies):
        assert address_of_request(request_of(**meta)) == address


def test_who_typed_a_code_cannot_be_left_unsaid() -> None:
    verbs: list[Any] = [payments.apply_code, payments.apply_code_token]
    for verb in verbs:
        with pytest.raises(TypeError, match="shopper"):
            verb("0000-0000-0000-0000", order_reference="order-1", key="key-1")


def test_an_address_is_told_as_a_network(settings_with: "Callable[..., Any]") -> None:
    assert shopper_of_request(request_of(REMOTE_ADDR="203.0.113.9")).address_prefix == "203.0.113.0/24"
    for odd in ("", "unix:", "evil"):
        assert shopper_of_request(request_of(REMOTE_ADDR=odd)).address_prefix is None
