"""The service as it runs, but that the field for codes asks everybody for a captcha."""

from flask import request

from app.guard import suspicion
from wsgi import app


@app.before_request
def ask() -> None:
    """A test opens a card's link first, and is not asked there."""
    suspicion.is_asked_of_all = request.path.startswith("/widget/")


__all__ = ["app"]
