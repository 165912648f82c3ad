"""What tests inside Django stand on: tables made by `migrate`, empty for each test, and cards of the real service."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inside_settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.core import mail  # noqa: E402
from django.core.management import call_command  # noqa: E402 – the apps are loaded first
from django.db import connection  # noqa: E402
from django.test import override_settings  # noqa: E402

from scrip_sdk import Payment  # noqa: E402
from scrip_sdk.django import client, forget_client  # noqa: E402
from scrip_sdk.django import delivery as delivery_module  # noqa: E402
from scrip_sdk.shopper import Shopper  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def tables() -> None:
    call_command("migrate", verbosity=0)


@pytest.fixture(autouse=True)
def empty_tables() -> Iterator[None]:
    """Nothing is left of the test before; nothing is left away of a service that was down in it."""
    names = ("scrip_instruction", "scrip_payment", "django_shop_order", "django_session", "django_admin_log")
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"DELETE FROM {name}")
    mail.outbox = []
    forget_client()
    delivery_module._away_until.clear()
    yield
    if not connection.in_atomic_block:
        connection.close()


@pytest.fixture(scope="session")
def codes() -> "list[str]":
    """Codes of fresh cards, each of 50.00 GBP, of the service that the environment names."""
    found: list[str] = json.loads(os.environ["INSIDE_CODES"])
    return found


@pytest.fixture
def code(codes: "list[str]") -> str:
    return codes.pop()


@pytest.fixture
def held(codes: "list[str]") -> "Callable[..., Payment]":
    """Exchanges a fresh code."""

    def exchanged(order_reference: str = "order-1", *, code: "str | None" = None) -> Payment:
        who = Shopper("0" * 64)
        typed = code or codes.pop()
        key = f"exchange:{order_reference}:{len(codes)}:{os.urandom(4).hex()}"
        return client().exchange(typed, order_reference=order_reference, key=key, shopper=who)

    return exchanged


@pytest.fixture
def settings_with() -> "Callable[..., Any]":
    """Changes some of the settings of SCRIP, for a block."""
    return lambda **changes: override_settings(SCRIP={**settings.SCRIP, **changes})
