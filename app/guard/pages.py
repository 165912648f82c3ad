"""Captcha for the pages of the rooms above: the files by which a browser solves one, and the question for a request."""

from pathlib import Path

from flask import Blueprint, Response

from app.guard import captcha
from app.guard.captcha import Purpose
from app.guard.tries import Visitor
from app.web.address import client_address
from app.web.pages import asset_urls, keep_file
from app.web.requests import NO_PAGE

#: Of altcha 3.2.2 (npm) there is the worker for PBKDF2, as released; captcha.js around it is ours.
STATIC = Path(__file__).parent / "static"
blueprint = Blueprint("guard", __name__, static_folder="static", static_url_path="/static/guard")
asset_url = asset_urls("guard.static", STATIC)

#: A worker has a policy of its own: it computes, and asks for nothing. A page that isolates itself (COEP), as the frame
#: of the field for codes does, starts only workers that say the same of themselves.
HEADERS = {
    "Content-Security-Policy": NO_PAGE,
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@blueprint.after_request
def finish(answer: Response) -> Response:
    """There is nothing here but files."""
    answer.headers.update(HEADERS)
    keep_file(answer)
    return answer


def visitor(solution: object, *, purpose: Purpose, session: str) -> Visitor:
    """Who sent this request. A captcha's solution that came along is looked at and spent only once it is asked."""
    return Visitor(client_address(), prove=lambda: captcha.prove(solution, purpose=purpose, session=session))
