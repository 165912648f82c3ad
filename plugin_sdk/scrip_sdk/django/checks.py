"""What `manage.py check` says about a store's settings, and with `--database` about its outbox."""

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.utils.log import AdminEmailHandler
from django.utils.module_loading import import_string

from scrip_sdk.django import client, reporting
from scrip_sdk.django.outbox import DjangoOutbox
from scrip_sdk.django.records import alias
from scrip_sdk.django.settings import scrip_settings
from scrip_sdk.django.times import now
from scrip_sdk.masking import MaskingFilter

#: Apps that keep or show what was posted, and what to do about it.
LEAKS = {
    "debug_toolbar": "Its panels show what was posted, codes too: do not install it where real shoppers are.",
    "silk": "It keeps what was posted in a table, codes too: exclude the checkout by SILKY_INTERCEPT_FUNC.",
    "request_logging": "It logs what was posted, codes too: take it out of the checkout.",
}
#: Where filters come from that neither keep nor change what they see.
ONLOOKERS = ("django.utils.log", "pretix.helpers.logs")
#: Longer than this no transaction should stay open for one call, in seconds.
LONG_S = 8.0


@checks.register(checks.Tags.security)
def check_settings(**_: Any) -> "list[checks.CheckMessage]":
    """Whether the settings can work, and keep codes from being shown."""
    found: list[checks.CheckMessage] = []
    try:
        url = scrip_settings().url
        if _is_in_clear(url):
            found.append(
                checks.Error(
                    "SCRIP['URL'] must begin with https: codes and the client's secret go there.", id="scrip.E002"
                )
            )
        elif url:
            client()  # which makes it, and calls nobody
    except (ImproperlyConfigured, ImportError) as error:
        return [checks.Error(str(error), id="scrip.E001")]
    if "pickle" in settings.SESSION_SERIALIZER.lower():
        found.append(
            checks.Warning(
                "Sessions are pickled: whoever can write one runs code in the store.",
                hint="Use django.contrib.sessions.serializers.JSONSerializer.",
                id="scrip.W003",
            )
        )
    return [*found, *_check_reports(), *_check_logging(), *_check_leaks()]


def _is_in_clear(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1")


@checks.register(checks.Tags.database)
def check_outbox(*, databases: "Iterable[str] | None" = None, **_: Any) -> "list[checks.CheckMessage]":
    """Whether the outbox is being delivered; asked with `manage.py check --database default`."""
    if alias() not in (databases or ()):
        return []
    try:
        late = now() - timedelta(seconds=scrip_settings().late_after_s)
        counts = DjangoOutbox().counts()
    except (DatabaseError, ImproperlyConfigured):
        return []  # not migrated yet, or check_settings says it
    found = []
    if counts.oldest_pending_at is not None and counts.oldest_pending_at < late:
        found.append(
            checks.Warning(
                f"{counts.pending} instructions to Scrip wait, one since {counts.oldest_pending_at:%d %B %H:%M}.",
                hint="Keep `manage.py scrip_deliver --every 30` running.",
                id="scrip.W008",
            )
        )
    if counts.dead:
        found.append(
            checks.Warning(
                f"{counts.dead} instructions to Scrip were given up.",
                hint="See the admin's list of instructions, state `given up`.",
                id="scrip.W009",
            )
        )
    return found


def _check_reports() -> "list[checks.CheckMessage]":
    """A reporter or filter of the store's own takes the place of those that hide codes, unless it is made of them."""
    reporters = {
        import_string(settings.DEFAULT_EXCEPTION_REPORTER),
        *(each.reporter_class for each in reporting.handlers() if isinstance(each, AdminEmailHandler)),
    }
    own = [each for each in reporters if not issubclass(each, reporting.ScripReporter)]
    own_filter = import_string(settings.DEFAULT_EXCEPTION_REPORTER_FILTER)
    if not issubclass(own_filter, reporting.ScripReporterFilter):
        own.append(own_filter)
    return [
        checks.Warning(
            f"{each.__module__}.{each.__qualname__} makes error reports, which may show codes.",
            hint="Let it inherit from ScripReporter, or ScripReporterFilter, of scrip_sdk.django.reporting.",
            id="scrip.W004",
        )
        for each in own
    ]


def _check_logging() -> "list[checks.CheckMessage]":
    """A filter that stands before ours has seen what is logged as it was; it is rarely meant to."""
    late = [each for each in reporting.handlers() if each.filters and not _masks_first(each)]
    if not late:
        return []
    names = ", ".join(sorted(each.get_name() or type(each).__name__ for each in late))
    return [
        checks.Info(
            f"Other filters come before the masking of codes at these handlers: {names}.",
            hint="Put scrip_sdk.masking.MaskingFilter first in their `filters` in LOGGING.",
            id="scrip.I005",
        )
    ]


def _masks_first(handler: logging.Handler) -> bool:
    """Filters that look at levels and settings alone may stand before it."""
    for each in handler.filters:
        if isinstance(each, MaskingFilter):
            return True
        if type(each).__module__ not in ONLOOKERS:
            return False
    return False


def _check_leaks() -> "list[checks.CheckMessage]":
    found = [
        checks.Warning(f"{name} is installed.", hint=hint, id="scrip.W006")
        for name, hint in LEAKS.items()
        if not settings.DEBUG and apps.is_installed(name)
    ]
    if settings.DATABASES.get(alias(), {}).get("ATOMIC_REQUESTS") and scrip_settings().total_s > LONG_S:
        found.append(
            checks.Warning(
                f"ATOMIC_REQUESTS keeps a transaction open while Scrip is asked, up to {scrip_settings().total_s} s.",
                hint=f"Leave SCRIP['TOTAL_S'] at {LONG_S} or less.",
                id="scrip.W007",
            )
        )
    return found
