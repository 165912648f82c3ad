"""A code is shown by no form, no error page, no mail and no log, whatever goes wrong while it is there."""

import logging
from typing import Any

import pytest
from django.conf import settings
from django.core import mail
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import path
from django.views import debug
from django.views.decorators.csrf import csrf_exempt
from django_shop.views import CardForm

from scrip_sdk import Code
from scrip_sdk.django.forms import CodeField

CODE, MISTYPED = "S5FR-5EZY-B8FS-5CWB", "S5FR-5EZY-B8FS-5CWC"
WAYS = (CODE, CODE.lower(), CODE.replace("-", ""), CODE.replace("-", " "), CODE.replace("-", "").lower())


class BrokenForm(CardForm):
    """Another shop's own name for the field."""

    giftcard = CodeField(required=False)


@csrf_exempt
def broken(request: HttpRequest) -> HttpResponse:
    """Fails with the code in its variables, its request and its message."""
    typed = request.POST.get("scrip_code", "")
    form = BrokenForm(request.POST, prefix=request.POST.get("prefix"))
    form.is_valid()
    whole = {"typed": [typed], "post": request.POST, "form": form}
    if request.POST.get("silent"):
        raise RuntimeError("no card")
    raise RuntimeError(f"no card for {typed.lower()}", whole["typed"])


urlpatterns = [path("broken", broken)]


def post(**fields: str) -> str:
    """The page that the error makes."""
    browser = Client(raise_request_exception=False)
    answer = browser.post(f"/broken?seen={fields.get('scrip_code', '')}", fields)
    assert answer.status_code == 500
    return str(answer.content.decode())


@override_settings(ROOT_URLCONF="inside_reports", DEBUG=True)
@pytest.mark.parametrize("way", WAYS)
def test_a_debug_page_shows_no_code(way: str) -> None:
    page = post(scrip_code=way, nonce="n")
    assert "RuntimeError" in page and "nonce" in page
    assert not any(each in page for each in WAYS)


@override_settings(ROOT_URLCONF="inside_reports", DEBUG=True)
def test_a_debug_page_hides_what_is_posted_in_a_code_field_even_when_it_is_mistyped() -> None:
    """By the field's name: the default one, a form's own, and one with a prefix."""
    for name in ("giftcard", "cards-giftcard"):
        page = post(prefix="cards" if "-" in name else "", **{name: MISTYPED})
        assert page.count(MISTYPED) == 0, page[max(page.find(MISTYPED) - 500, 0) :][:1000]


@override_settings(ROOT_URLCONF="inside_reports", DEBUG=False)
@pytest.mark.parametrize("html", [True, False])
def test_an_error_mail_shows_no_code(html: bool) -> None:
    """With the code in the exception the traceback is left out as a whole; in variables and fields it is masked."""
    handlers: list[Any] = [*logging.getLogger("django").handlers]
    handler = next(each for each in handlers if type(each).__name__ == "AdminEmailHandler")
    handler.include_html = html
    for silent in ("", "yes"):
        post(scrip_code=CODE.lower(), nonce="n", silent=silent)
    said = []
    for letter in mail.outbox:
        said.append("\n".join([letter.subject, letter.body, *(str(part) for part, _ in letter.alternatives)]))
        assert "/broken" in said[-1] and not any(each in said[-1] for each in WAYS)
    assert len(said) == 2 and "RuntimeError" in said[1] and (not html or "nonce" in said[1])


def test_logs_are_masked_whoever_writes_them(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("shop").error("typed %s", CODE, extra={"form": {"scrip_code": CODE}})
    try:
        raise ValueError(CODE)
    except ValueError:
        logging.getLogger("shop").exception("failed")
    assert "typed" in caplog.text and CODE not in caplog.text
    assert CODE not in repr([vars(record) for record in caplog.records])


def test_a_form_that_is_shown_again_does_not_show_the_code() -> None:
    for typed in (CODE, MISTYPED):
        form = CardForm({"scrip_code": typed, "nonce": ""})
        assert not form.is_valid()
        page = str(form)
        assert typed not in page and 'autocomplete="off"' in page and 'maxlength="64"' in page


def test_a_form_cleans_to_a_code_and_finds_mistakes_without_asking() -> None:
    form = CardForm({"scrip_code": f"  {CODE.lower()} ", "nonce": "n"})
    assert form.is_valid(), form.errors
    assert form.cleaned_data["scrip_code"] == Code(CODE)
    for typed in (MISTYPED, "hello", "S" * 4_000, "Ⅷ" * 16, "\ud800" * 16, "'; DROP TABLE"):
        wrong = CardForm({"scrip_code": typed, "nonce": "n"})
        assert not wrong.is_valid() and list(wrong.errors) == ["scrip_code"]
        assert typed not in str(wrong.errors)
    empty = CardForm({"scrip_code": "  ", "nonce": "n"})
    assert empty.errors["scrip_code"] == ["Please type the code of your gift card."]
    assert CodeField(required=False).clean("") is None


def test_the_settings_page_shows_no_secret() -> None:
    with override_settings(SCRIP={"URL": "https://x", "CLIENT_ID": "cli_1", "CLIENT_SECRET": "very-secret"}):
        shown: Any = debug.get_exception_reporter_filter(RequestFactory().get("/")).get_safe_settings()
    assert shown["SCRIP"]["CLIENT_ID"] == "cli_1" and "very-secret" not in repr(shown)
    assert settings.DEFAULT_EXCEPTION_REPORTER == "scrip_sdk.django.reporting.ScripReporter"
