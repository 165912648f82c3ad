"""The checkout page, which is the authorization endpoint (RFC 6749, section 3.1): who, shape, one verb, answer."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, g, make_response, render_template, request, url_for
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException

from app import metrics
from app.checkout.approval import Approval, Browser
from app.checkout.approve import approve_checkout
from app.checkout.cancel import cancel_checkout
from app.checkout.form import COOKIE_S, cookie_name, form_key, is_form_key
from app.checkout.look import CheckoutView, open_checkout, read_checkout
from app.checkout.try_code import try_code
from app.config import settings
from app.errors import (
    Busy,
    CaptchaNeeded,
    CardClosed,
    CardHeld,
    CheckoutNotFound,
    CheckoutOver,
    CodeMistyped,
    CodeNotAccepted,
    CurrencyMismatch,
    Refusal,
    TryLater,
)
from app.guard import pages as guard
from app.guard.marks import prefix_mark
from app.guard.request_limits import count_stranger
from app.holder.pages import asset_url
from app.holder.rules import wait_in_words
from app.oauth.authorization_response import ACCESS_DENIED, PATH, answer_uri
from app.oauth.redirect_uris import origin_of
from app.web.address import origin_of_request
from app.web.context import Acting, acting
from app.web.pages import asset_urls, finish_page, is_cross_site, is_same_origin, page_words
from app.web.problems import status_of

View = Callable[[], Response]

#: Far more than a code and two keys need.
MAX_BODY_BYTES = 4096
#: As much as the page's field takes.
LONGEST_TYPED = 64
#: Refusals that the page itself tells, beside the form that can be sent again.
TOLD = (CodeMistyped, CurrencyMismatch, CardClosed, CardHeld, TryLater, CaptchaNeeded, Busy)

blueprint = Blueprint(
    "checkout", __name__, template_folder="templates", static_folder="static", static_url_path="/static/checkout"
)
own_asset_url = asset_urls("checkout.static", Path(__file__).parent / "static")
blueprint.context_processor(
    lambda: {**page_words(), "asset": asset_url, "own_asset": own_asset_url, "guard_asset": guard.asset_url}
)


@blueprint.before_request
def begin() -> None:
    """A holder acts, and sends little."""
    acting.set(Acting("holder", acting.get().request_id, origin_of_request(prefix_mark)))
    request.max_content_length = MAX_BODY_BYTES


blueprint.before_request(count_stranger)


@blueprint.errorhandler(TryLater)
def answer_limited(refusal: TryLater) -> Response:
    """Who asks too often is refused before any view."""
    metrics.count_refusal(refusal.slug)
    answer = _page("later", status=status_of(refusal))
    answer.headers["Retry-After"] = str(refusal.retry_after_s)
    return answer


@blueprint.after_request
def finish(answer: Response) -> Response:
    """The headers of these pages. Chromium asks `form-action` also where the answer to a form leads on to."""
    return finish_page(answer, files="checkout.static", forms_lead_to=g.get("leads_to", ""))


def for_people(view: View) -> View:
    """Every refusal is a page: nobody but a browser has business here."""

    @wraps(view)
    def answered() -> Response:
        try:
            return view()
        except CheckoutNotFound as refusal:
            metrics.count_refusal(refusal.slug)
            return _page("unknown", status=status_of(refusal))
        except (CheckoutOver, CodeNotAccepted) as refusal:
            metrics.count_refusal(refusal.slug)
            return _see_other(_own_address())  # the page itself says how things stand
        except TOLD as refusal:
            metrics.count_refusal(refusal.slug)
            return _told(refusal)
        except HTTPException as error:
            metrics.count_refusal(f"http-{error.code}")
            return _page("broken", status=error.code or 500)

    return answered


@blueprint.get(PATH)
@for_people
def show_checkout() -> Response:
    """Opens the request for the browser that comes first, and shows it. Parameters beside the two are not looked at:
    what counts was pushed (RFC 9101, section 6.3). Who fetches it without looking at it opens nothing."""
    if request.method == "HEAD":
        return Response()
    if "prefetch" in request.headers.get("Sec-Purpose", ""):
        return Response(status=503)
    view = open_checkout(_browser())
    answer = _view_page(view)
    if view.secret is not None:
        _set_cookie(answer, view.secret)
    return answer


@blueprint.post(PATH)
@for_people
def answer_checkout() -> Response:
    """What the holder decided: a code, yes to less, or no. All of them lead back to the store, or to the page again."""
    browser, form = _checked_browser(), request.form
    match form.get("action"):
        case "code":
            session = f"{browser.request_uri} {browser.secret}"
            who = guard.visitor(form.get("captcha"), purpose="checkout", session=session)
            with metrics.counted_try("checkout"):
                approval = try_code(form.get("code", ""), browser=browser, who=who)
            return _go_on(approval)
        case "approve":
            return _go_on(approve_checkout(browser, agreed=form.get("agreed", "")))
        case "cancel":
            cancelled = cancel_checkout(browser)
            return _see_other(answer_uri(cancelled.redirect_uri, state=cancelled.state, error=ACCESS_DENIED))
        case _:
            raise BadRequest("There is nothing else to decide here.")


# ── who ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _browser() -> Browser:
    """Whose request it is stands in the address, who looks at it in a cookie. Raises CheckoutNotFound."""
    named = {name: request.args.getlist(name) for name in ("request_uri", "client_id")}
    if any(len(values) != 1 for values in named.values()):
        raise CheckoutNotFound()
    request_uri = named["request_uri"][0]
    return Browser(request_uri, named["client_id"][0], request.cookies.get(cookie_name(request_uri)))


def _checked_browser() -> Browser:
    """The sender of a form that our own page gave to this browser. Raises CheckoutNotFound, Forbidden."""
    browser = _browser()
    if is_cross_site():
        raise Forbidden("This came from another site's page.")
    if browser.secret is None:
        raise CheckoutNotFound()
    if not is_same_origin() or not is_form_key(browser, request.form.get("csrf")):
        raise Forbidden("This did not come from the checkout page.")
    return browser


def _set_cookie(answer: Response, secret: str) -> None:
    """Lax, for the shopper comes from another site; a name with `__Host-` wants the whole host as its path."""
    is_local = settings().loopback
    answer.set_cookie(
        cookie_name(_browser().request_uri),
        secret,
        max_age=COOKIE_S,
        path=PATH if is_local else "/",
        secure=not is_local,
        httponly=True,
        samesite="Lax",
    )


# ── answer ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _go_on(approval: Approval | None) -> Response:
    if approval is None:
        return _see_other(_own_address())
    asked = approval.request
    return _see_other(answer_uri(asked.redirect_uri, state=asked.state, code=approval.code))


def _see_other(address: str) -> Response:
    """303, so that the browser asks with GET, and a reload sends no form again."""
    return Response(status=303, headers={"Location": address})


def _own_address() -> str:
    browser = _browser()
    return url_for("checkout.show_checkout", client_id=browser.client_id, request_uri=browser.request_uri)


def _told(refusal: Refusal) -> Response:
    """The refusal beside the form, or alone where there is none to show: the first look at a request was refused, or
    the database is away. What may be right stays in the form, to be sent again, by its script after a captcha; whoever
    comes with a solution that is not good any more is not asked to wait for another, but to press the button."""
    words: dict[str, Any] = {"refusal": refusal}
    if isinstance(refusal, CaptchaNeeded | TryLater | Busy):
        words["typed"] = request.form.get("code", "")[:LONGEST_TYPED]
    if isinstance(refusal, CaptchaNeeded):
        words |= {"challenge": refusal.facts["challenge"], "is_again": bool(request.form.get("captcha"))}
    if isinstance(refusal, TryLater):
        words["wait"] = wait_in_words(refusal.retry_after_s)
    try:
        answer = _view_page(read_checkout(_browser()), status=status_of(refusal), **words)
    except (Busy, CheckoutNotFound):
        answer = _page("busy", status=status_of(refusal))
    if isinstance(refusal, TryLater | Busy):
        answer.headers["Retry-After"] = str(refusal.retry_after_s)
    return answer


def _view_page(view: CheckoutView, **more: Any) -> Response:
    asked, browser = view.request, _browser()
    if view.secret is not None:
        browser = Browser(browser.request_uri, browser.client_id, view.secret)
    g.leads_to = f"https: {origin_of(asked.redirect_uri)}"  # and wherever the store sends its shopper on to from there
    return _page(
        view.standing.value if view.standing.value in _WITH_FORM else "over",
        view=view,
        wanted=asked.wanted,
        csrf=form_key(browser),
        address=_own_address(),
        back=answer_uri(asked.redirect_uri, state=asked.state, error=ACCESS_DENIED),
        **more,
    )


def _page(template: str, *, status: int = 200, **words: Any) -> Response:
    return make_response(render_template(f"checkout/{template}.html", **words), status)


_WITH_FORM = frozenset({"asking", "choosing", "approved"})
