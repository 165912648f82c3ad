"""Django's own error reports, on debug pages and in mails, without codes: in posted fields, variables and texts."""

import logging
from collections.abc import Iterator
from typing import Any

from django.conf import global_settings, settings
from django.utils.html import escape
from django.utils.log import AdminEmailHandler
from django.views import debug

from scrip_sdk.django.settings import scrip_settings
from scrip_sdk.masking import MASK, mask_text

FILTER = "scrip_sdk.django.reporting.ScripReporterFilter"
REPORTER = "scrip_sdk.django.reporting.ScripReporter"

#: What is shorter is hidden where it was posted, but not looked for elsewhere: it would be found everywhere.
SHORTEST_TYPED = 6

#: Posted fields that hold a code, in whatever state of typing: a mistyped code is a code but for one letter.
_hidden_fields = {"scrip_code", "scrip_code_token"}


def hide_field(name: str) -> None:
    """From now on what is posted under this name is shown in no report."""
    _hidden_fields.add(name)


class ScripReporterFilter(debug.SafeExceptionReporterFilter):
    """Hides what is posted in fields for codes, in DEBUG too; everything else as Django has it."""

    def get_post_parameters(self, request: Any) -> Any:
        """The posted fields, as the report lists them."""
        return self._without_codes(super().get_post_parameters(request))

    def get_cleansed_multivaluedict(self, request: Any, multivaluedict: Any) -> Any:
        """The same where they stand among a frame's variables."""
        return self._without_codes(super().get_cleansed_multivaluedict(request, multivaluedict))

    def get_traceback_frame_variables(self, request: Any, tb_frame: Any) -> Any:
        """Texts are masked before a report cuts them short: half a code would not be known as one."""
        found = super().get_traceback_frame_variables(request, tb_frame)
        return [(name, mask_text(value) if isinstance(value, str) else value) for name, value in found]

    def _without_codes(self, posted: Any) -> Any:
        if names := _hidden().intersection(posted):
            posted = posted.copy()
            for name in names:
                posted[name] = self.cleansed_substitute
        return posted


class ScripReporter(debug.ExceptionReporter):
    """Masks codes in whatever else a report shows: messages, variables, addresses, headers."""

    def get_traceback_html(self) -> str:
        """The page."""
        return self._mask(super().get_traceback_html())

    def get_traceback_text(self) -> str:
        """The text."""
        return self._mask(super().get_traceback_text())

    def _mask(self, report: str) -> str:
        """Codes by their shape; and what was posted as one by what it says, for a mistyped one has no shape."""
        for typed in self._typed():
            for written in {typed, escape(typed), repr(typed)[1:-1], escape(repr(typed)[1:-1])}:
                report = report.replace(written, MASK)
        return mask_text(report)

    def _typed(self) -> "Iterator[str]":
        posted: Any = getattr(self.request, "POST", {})
        for name in _hidden().intersection(posted):
            yield from (typed for typed in posted.getlist(name) if len(typed) >= SHORTEST_TYPED)


def install() -> None:
    """Puts both in the place of Django's, unless the store has its own: then a check asks for these as bases."""
    if settings.DEFAULT_EXCEPTION_REPORTER_FILTER == global_settings.DEFAULT_EXCEPTION_REPORTER_FILTER:
        settings.DEFAULT_EXCEPTION_REPORTER_FILTER = FILTER
        debug.get_default_exception_reporter_filter.cache_clear()
    if settings.DEFAULT_EXCEPTION_REPORTER == global_settings.DEFAULT_EXCEPTION_REPORTER:
        settings.DEFAULT_EXCEPTION_REPORTER = REPORTER
    # Handlers that send mails were made before the apps were loaded, and have read the setting then.
    for handler in handlers():
        if isinstance(handler, AdminEmailHandler) and handler.reporter_class is debug.ExceptionReporter:
            handler.reporter_class = ScripReporter


def handlers() -> "set[logging.Handler]":
    """Every handler of every logger that there is."""
    known = (logging.root, *logging.root.manager.loggerDict.values())
    return {handler for each in known if isinstance(each, logging.Logger) for handler in each.handlers}


def _hidden() -> "set[str]":
    return _hidden_fields | _named_by_the_store()


def _named_by_the_store() -> "set[str]":
    try:
        return set(scrip_settings().code_fields)
    except Exception:  # noqa: BLE001 – settings that are wrong may be what the report is about
        return set()
