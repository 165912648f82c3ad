"""Every refusal of the service has a class that a shop can act on, and none has words of anybody else's."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from authlib.oauth2.rfc6749 import errors as oauth

from app import errors as service
from app.web.problems import HTTP_SLUGS
from scrip_sdk import errors
from scrip_sdk.errors import (
    AmountTooHigh,
    CodeMistyped,
    CodeRefused,
    NotAllowed,
    PaymentClosed,
    RequestRejected,
    ScripError,
    ServiceUnavailable,
    TryLater,
)

ROOT = Path(__file__).parents[2]
REFUSALS = {
    each.slug
    for each in vars(service).values()
    if inspect.isclass(each) and issubclass(each, service.Refusal) and each is not service.Refusal
}


def test_every_slug_of_the_service_has_its_class_and_there_is_no_other() -> None:
    assert set(errors.BY_SLUG) == REFUSALS
    assert set(errors.BY_HTTP_SLUG) == {*HTTP_SLUGS.values(), "internal-error"}


def test_every_error_of_oauth_that_the_service_words_has_its_class() -> None:
    """Those of the browser's part of the grant, and of grants that the service does not have, never reach a store."""
    code = "".join(path.read_text() for path in (ROOT / "app" / "oauth").glob("*.py"))
    raised = set(re.findall(r'error(?: =|=)\s*"([a-z_]+)"', code))
    named = {name: each.error for name, each in vars(oauth).items() if inspect.isclass(each) and hasattr(each, "error")}
    raised |= {error for name, error in named.items() if error and re.search(rf"\b{name}\b", code)}
    assert {"invalid_client", "temporarily_unavailable", "invalid_scope", "invalid_grant"} <= raised
    assert raised <= set(errors.BY_OAUTH_ERROR)


@pytest.mark.parametrize(
    "slug,status,kind",
    [
        ("code-not-accepted", 422, CodeRefused),
        ("code-mistyped", 422, CodeMistyped),
        ("try-later", 429, TryLater),
        ("busy", 503, ServiceUnavailable),
        ("internal-error", 500, ServiceUnavailable),
        ("amount-over-hold", 422, AmountTooHigh),
        ("payment-closed", 409, PaymentClosed),
        ("insufficient-scope", 403, NotAllowed),
        ("invalid_client", 401, NotAllowed),
        ("reference-reused", 422, RequestRejected),
        ("never-heard-of", 401, NotAllowed),
        ("never-heard-of", 403, NotAllowed),
        ("never-heard-of", 408, ServiceUnavailable),
        ("never-heard-of", 409, RequestRejected),
        ("never-heard-of", 429, TryLater),
        ("never-heard-of", 500, ServiceUnavailable),
        ("never-heard-of", 599, ServiceUnavailable),
        (None, 422, RequestRejected),
        (None, 503, ServiceUnavailable),
        (None, 302, ServiceUnavailable),
    ],
)
def test_an_error_is_found_by_its_slug_or_else_by_its_status(slug: str, status: int, kind: type[ScripError]) -> None:
    assert errors.class_of(slug, status) is kind


def classes() -> list[type[ScripError]]:
    return [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, ScripError)]


@pytest.mark.parametrize("kind", classes())
def test_an_error_says_what_it_is_without_being_told(kind: type[ScripError]) -> None:
    error = kind()
    assert str(error) == f"{kind.sentence} ({kind.usual_slug})"
    assert (error.slug, error.status, error.request_id) == (kind.usual_slug, None, None)
    told = kind("some-slug", 418, "req_1", "A sentence.")
    assert str(told) == "A sentence. (some-slug, 418, req_1)"


def test_only_what_may_succeed_unchanged_is_worth_repeating() -> None:
    worth = {each for each in classes() if each.worth_repeating}
    assert worth == {TryLater, ServiceUnavailable, NotAllowed}


def test_each_error_has_what_a_shop_acts_on() -> None:
    facts: list[tuple[ScripError, str, Any]] = [
        (TryLater(retry_after_s=8), "retry_after_s", 8),
        (TryLater(), "retry_after_s", 1),
        (ServiceUnavailable(), "retry_after_s", None),
        (AmountTooHigh(left_minor=5), "left_minor", 5),
        (PaymentClosed(state="voided"), "state", "voided"),
        (RequestRejected(fields=("/code",)), "fields", ("/code",)),
    ]
    for error, name, value in facts:
        assert getattr(error, name) == value
    assert CodeRefused.message.endswith(".")
    assert str(RequestRejected(fields=("/code",))).endswith("at /code")


def test_the_readme_lists_every_class() -> None:
    told = re.findall(r"^\| `(\w+)` \|", (ROOT / "plugin_sdk" / "README.md").read_text(), re.MULTILINE)
    assert told == [each.__name__ for each in classes() if each is not ScripError]
