"""The card holder's pages over HTTP: who, shape, one verb, answer; as HTML for people and JSON for programs."""

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, g, jsonify, make_response, render_template, request, url_for
from werkzeug.exceptions import Forbidden, HTTPException, UnsupportedMediaType

from app import metrics
from app.config import settings
from app.errors import Busy, InvalidRequest, LinkNotAccepted, Refusal, TryLater
from app.guard import pages as guard
from app.guard.marks import prefix_mark
from app.guard.request_limits import count_stranger
from app.guard.tries import Visitor
from app.holder import opening, schemas, sessions
from app.holder.browser import browser_family
from app.holder.rules import wait_in_words
from app.holder.state import HolderView, read_sent_to, read_view
from app.ids import LinkId, is_id
from app.issuance.claim import Claimed
from app.web.address import client_address, origin_of_request
from app.web.arguments import read_json
from app.web.context import Acting, acting
from app.web.pages import asset_urls, finish_page, is_cross_site, is_same_origin, page_words
from app.web.problems import answer_refusal, status_of

View = Callable[..., Response]
Fields = Mapping[str, Any]

#: Larger than any pasted link, far smaller than what would cost us anything.
MAX_BODY_BYTES = 4096
STATIC = Path(__file__).parent / "static"
JSON, FORM, HTML = "application/json", "application/x-www-form-urlencoded", "text/html"

blueprint = Blueprint(
    "holder", __name__, template_folder="templates", static_folder="static", static_url_path="/static/holder"
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
    link_id = (request.view_args or {}).get("link_id")
    return _refusal_page(refusal, link_id) if link_id and _wants_page() else answer_refusal(refusal)


@blueprint.after_request
def finish(answer: Response) -> Response:
    """The headers of these pages. Only their own files may be kept."""
    return finish_page(answer, files="holder.static")


def in_kind(view: View) -> View:
    """Refuses people with a page, and programs with a problem; nobody learns more for the shape of a link's ID."""

    @wraps(view)
    def answered(link_id: LinkId) -> Response:
        try:
            if request.method == "POST" and is_cross_site():
                raise Forbidden("This came from another site's page.")
            if not is_id(link_id, "link"):
                raise LinkNotAccepted()
            return view(link_id)
        except Refusal as refusal:
            if _wants_page():
                return _refusal_page(refusal, link_id)
            refusal.facts = schemas.dump_facts(refusal.facts)
            raise
        except HTTPException as error:
            if _wants_page():
                return _refused(link_id, error.code or 500, f"http-{error.code}")
            raise

    return answered


# ── the pages ───────────────────────────────────────────────────────────────────────────────────────────────────────


@blueprint.get("/claim/<link_id>")
def show_page(link_id: LinkId) -> Response:
    """The same page for every link, known or not: it reads nothing and changes nothing."""
    if not is_id(link_id, "link"):
        return _page("missing.html", status=404)
    return _page("claim.html", signed_nonce=sessions.sign_nonce())


@blueprint.post("/claim/<link_id>")
@in_kind
def open_link(link_id: LinkId) -> Response:
    """Opens the link and shows the code, this once. The key is the authority."""
    fields = _read_fields("key", "nonce", "signed_nonce", "captcha")
    key, nonce = _read_key(fields), _read_nonce(fields)
    opened_by = browser_family(request.headers.get("User-Agent"))
    who = guard.visitor(fields.get("captcha"), purpose="claim", session=f"{link_id} {nonce}")
    with metrics.counted_try("claim"):
        claimed = opening.open_link(link_id, key=key, nonce=nonce, opened_by=opened_by, who=who)
    session = sessions.sign_session(link_id)
    answer = _claimed(claimed, link_id, session)
    _set_session(answer, session)
    return answer


@blueprint.post("/claim/<link_id>/resend")
@in_kind
def ask_for_link(link_id: LinkId) -> Response:
    """A new link goes to the same address. The link's key is the authority, or the session of the claimed page."""
    fields = _read_fields("key", "csrf")
    if "key" in fields or ("csrf" not in fields and _session_of(link_id) is None):
        key = _read_key(fields)
        with metrics.counted_try("claim"):
            opening.ask_for_link(link_id, key=key, who=Visitor(client_address()))
    else:
        _check_session_form(link_id, fields)
        opening.ask_for_link_in_session(link_id)
    answer = _link_sent(link_id)
    answer.delete_cookie(sessions.COOKIE, path=sessions.COOKIE_PATH)
    return answer


@blueprint.post("/claim/<link_id>/code")
@in_kind
def ask_for_code(link_id: LinkId) -> Response:
    """A fresh code in place of the one before, from the claimed page's session."""
    session = _check_session_form(link_id, _read_fields("csrf"))
    return _claimed(opening.ask_for_code(link_id), link_id, session)


@blueprint.get("/claim/<link_id>/card")
@in_kind
def show_card(link_id: LinkId) -> Response:
    """The card's state, from the claimed page's session."""
    session = _session_of(link_id)
    if session is None:
        raise sessions.SessionOver()
    view, csrf = read_view(link_id), sessions.form_key(session)
    if _wants_page():
        return _page("card.html", link_id=link_id, view=view, csrf=csrf)
    return jsonify({**schemas.dump_view(view), "csrf": csrf})


# ── who ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _session_of(link_id: LinkId) -> str | None:
    """The session's cookie while it lives and belongs to this link."""
    cookie = request.cookies.get(sessions.COOKIE, "")
    return cookie if sessions.link_of_session(cookie) == link_id else None


def _check_session_form(link_id: LinkId, fields: Fields) -> str:
    """The session of a form that one of our own pages sent. Raises SessionOver, Forbidden."""
    session = _session_of(link_id)
    if session is None:
        raise sessions.SessionOver()
    if not is_same_origin() or not sessions.is_form_key(session, fields.get("csrf")):
        raise Forbidden("This did not come from the card's own page.")
    return session


def _set_session(answer: Response, session: str) -> None:
    answer.set_cookie(
        sessions.COOKIE,
        session,
        max_age=sessions.LIFETIME_S,
        path=sessions.COOKIE_PATH,
        secure=not settings().loopback,
        httponly=True,
        samesite="Strict",
    )


# ── shape ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _read_fields(*known: str) -> Fields:
    """What came in, as JSON or as a form. Raises UnsupportedMediaType, MalformedJson, InvalidRequest."""
    if request.mimetype == FORM:
        fields = request.form.to_dict()
    elif request.mimetype == JSON:
        fields = read_json(request.get_data())
    else:
        raise UnsupportedMediaType(f"Send {JSON} or {FORM}.")
    if not isinstance(fields, dict):
        raise InvalidRequest("The body must be an object.", pointer="")
    schemas.check_fields(fields, *known)
    return fields


def _read_key(fields: Fields) -> str:
    """Kept for this request's page alone, whose form may offer to go on with it."""
    g.claim_key = schemas.read_key(fields.get("key"))
    return str(g.claim_key)


def _read_nonce(fields: Fields) -> str:
    """The browser's own nonce, or the signed one of a form without script. Raises InvalidRequest."""
    if "signed_nonce" in fields:
        return schemas.read_nonce(sessions.nonce_of_form(fields["signed_nonce"]))
    return schemas.read_nonce(fields.get("nonce"))


def _wants_page() -> bool:
    """A form gets a page; anybody else gets JSON, unless HTML is asked for by name."""
    if request.mimetype == FORM:
        return True
    return request.accept_mimetypes.best_match([JSON, HTML]) == HTML


# ── answer ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _claimed(claimed: Claimed, link_id: LinkId, session: str) -> Response:
    if not _wants_page():
        return jsonify(schemas.dump_claimed(claimed))
    view, csrf = read_view(link_id), sessions.form_key(session)
    return _page("claimed.html", link_id=link_id, claimed=claimed, view=view, csrf=csrf)


def _link_sent(link_id: LinkId) -> Response:
    if _wants_page():
        return _page("link_sent.html", status=202, sent_to=read_sent_to(link_id))
    answer = jsonify({"sent_to": read_sent_to(link_id)})
    answer.status_code = 202
    return answer


def _refusal_page(refusal: Refusal, link_id: LinkId) -> Response:
    """The refusal in words for people. Who came with the link's key may go on with it from here."""
    view, session = refusal.facts.get("card"), _session_of(link_id)
    answer = _refused(
        link_id,
        status_of(refusal),
        "session-over" if isinstance(refusal, sessions.SessionOver) else refusal.slug,
        refusal=refusal,
        facts=refusal.facts,
        wait=wait_in_words(retry_after_s) if (retry_after_s := getattr(refusal, "retry_after_s", 0)) else None,
        view=view if isinstance(view, HolderView) else None,
        key=g.get("claim_key"),
        csrf=sessions.form_key(session) if session else None,
    )
    if isinstance(refusal, TryLater | Busy):
        answer.headers["Retry-After"] = str(refusal.retry_after_s)
    return answer


def _refused(link_id: LinkId, status: int, slug: str, **words: Any) -> Response:
    """The form to paste a link stands there too, where the link's ID can be one."""
    metrics.count_refusal(slug)
    paste_to = url_for("holder.open_link", link_id=link_id) if is_id(link_id, "link") else None
    nonce = sessions.sign_nonce()
    return _page(
        "refused.html", status=status, slug=slug, link_id=link_id, paste_to=paste_to, signed_nonce=nonce, **words
    )


def _page(template: str, *, status: int = 200, **words: Any) -> Response:
    answer = make_response(render_template(f"holder/{template}", **words), status)
    answer.vary.add("Accept")
    return answer


#: The URL of a file of these pages; the checkout page wears the same clothes.
asset_url = asset_urls("holder.static", Path(__file__).parent / "static")
blueprint.context_processor(lambda: {**page_words(), "asset": asset_url, "guard_asset": guard.asset_url})
