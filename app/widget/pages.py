"""The widget over HTTP: the loader for stores' pages, the frame with the field, and the code token that it asks for."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, jsonify, render_template, request
from iso4217 import Currency
from werkzeug.exceptions import Forbidden

from app import metrics
from app.config import settings
from app.errors import NotFound, TryLater
from app.guard import pages as guard
from app.guard.marks import prefix_mark
from app.guard.request_limits import count_stranger
from app.ids import StoreId
from app.redemption.code_token import make_code_token
from app.redemption.rules import CODE_TOKEN_TTL, Asker
from app.redemption.store import find_store
from app.web.address import origin_of_request
from app.web.arguments import StrictParser
from app.web.context import Acting, acting
from app.web.pages import asset_urls, is_origin, keep_file
from app.web.problems import answer_refusal
from app.widget.schemas import CodeTokenIn

STATIC = Path(__file__).parent / "static"
#: So long browsers keep the loader: a mended one is everywhere soon after.
LOADER_KEPT_S = 300
PARSER = StrictParser()
asset_url = asset_urls("widget.static", STATIC)

blueprint = Blueprint(
    "widget", __name__, template_folder="templates", static_folder="static", static_url_path="/static/widget"
)

#: Of the frame, whose ancestors are each store's own: X-Frame-Options, which knows no list, would contradict.
FRAME_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors {ancestors}"
)
LATER_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors *"
#: A page that isolates itself (COEP) may show it too.
FRAME_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), clipboard-read=(), clipboard-write=(), display-capture=(), geolocation=(), "
    "microphone=(), payment=(), usb=()",
}


@blueprint.before_request
def begin() -> None:
    """A shopper acts, of whom we know nothing."""
    acting.set(Acting("shopper", acting.get().request_id, origin_of_request(prefix_mark)))
    if request.endpoint != "widget.show_loader":  # a file too
        count_stranger()


@blueprint.errorhandler(TryLater)
def answer_limited(refusal: TryLater) -> Response:
    """Who asks too often is refused before any view; the frame shows a sentence, which any page may have around it."""
    answer = answer_refusal(refusal)
    if request.endpoint == "widget.show_frame":
        answer.set_data(render_template("widget/later.html"))
        answer.mimetype = "text/html"
        answer.headers["Content-Security-Policy"] = LATER_POLICY
        answer.headers.update(FRAME_HEADERS)
    return answer


@blueprint.after_request
def finish(answer: Response) -> Response:
    """The frame's files may be kept."""
    if request.endpoint == "widget.static":
        keep_file(answer)
        answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return answer


@blueprint.get("/widget/v1.js")
def show_loader() -> Response:
    """The script for stores' pages. It is the same for all of them, and knows no secret."""
    answer = blueprint.send_static_file("v1.js")
    answer.headers["Cache-Control"] = f"public, max-age={LOADER_KEPT_S}"
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return answer


@blueprint.get("/widget/<id(str):store_id>")
def show_frame(store_id: StoreId) -> Response:
    """The frame with the field. A page may show it whose origin the store has named, and no other."""
    store = find_store(store_id)
    origins = store.origins if store else ()
    page = render_template("widget/frame.html", origins=json.dumps(list(origins)), digits=_unusual_digits())
    answer = Response(page)
    answer.headers["Content-Security-Policy"] = FRAME_POLICY.format(ancestors=" ".join(origins) or "'none'")
    answer.headers.update(FRAME_HEADERS)
    return answer


@blueprint.post("/widget/<id(str):store_id>/code-tokens")
def post_code_token(store_id: StoreId) -> Response:
    """A code token for the code in the field. Only the frame's own script may ask."""
    _check_from_frame()
    body = PARSER.parse(CodeTokenIn())
    store = find_store(store_id)
    if store is None or not store.origins:
        raise NotFound("This store has no field for codes.")
    who = guard.visitor(body["captcha"], purpose="widget", session=f"{store.id} {body['nonce']}")
    asker = Asker(store.id, store.mode, body["shopper_key"], body["order_reference"])
    with metrics.counted_try("widget"):
        code_token = make_code_token(body["code"], asker=asker, amount=body["amount"], who=who)
    return jsonify(code_token=code_token, expires_in=int(CODE_TOKEN_TTL.total_seconds()))


def _check_from_frame() -> None:
    """A page of any other origin cannot set these headers. Raises Forbidden."""
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    if site != "same-origin" or not is_origin(request.headers.get("Origin"), settings().public_url):
        raise Forbidden("Only our own field asks for a code token.")


@cache
def _unusual_digits() -> str:
    """By currency how many decimals it has, where these are not two."""
    found = {each.code: each.exponent for each in Currency}
    return json.dumps({code: digits for code, digits in found.items() if digits not in (None, 2)})


@blueprint.context_processor
def page_words() -> dict[str, Any]:
    """How the frame names its files."""
    return {"asset": asset_url, "guard_asset": guard.asset_url}
