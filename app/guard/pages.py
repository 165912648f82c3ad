"""Captcha for the pages of the rooms above: the files by which a browser solves one, and the question for a request."""

from pathlib import Path

from flask import Blueprint, Response, request

from app.guard import captcha
from app.guard.captcha import Purpose
from app.guard.tries import Visitor
from app.web.address import client_address
from app.web.pages import asset_urls

#: Of altcha 3.2.2 (npm) there is the worker for PBKDF2, as released; captcha.js around it is ours.
STATIC = Path(__file__).parent / "static"
blueprint = Blueprint("guard", __name__, static_folder="static", static_url_path="/static/guard")
asset_url = asset_urls("guard.static", STATIC)

#: A worker has a policy of its own: it computes, and asks for nothing. A page that isolates itself (COEP), as the frame
#: of the field for codes does, starts only workers that say the same of themselves.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@blueprint.after_request
def finish(answer: Response) -> Response:
    """The files may be kept: for ever, where their URL marks their content."""
    answer.headers.update(HEADERS)
    if answer.status_code in (200, 206, 304):
        kept = "public, max-age=31536000, immutable" if "v" in request.args else "public, max-age=86400"
        answer.headers["Cache-Control"] = kept
    return answer


def visitor(solution: object, *, purpose: Purpose, session: str) -> Visitor:
    """Who sent this request. A captcha's solution that came along is looked at and spent only once it is asked."""
    return Visitor(client_address(), prove=lambda: captcha.prove(solution, purpose=purpose, session=session))
