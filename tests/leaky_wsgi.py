"""The service at DEBUG level with bugs planted in it, each of which has the request's secrets in its hands."""

import logging
import os

os.environ["LOG_LEVEL"] = "DEBUG"

from flask import request
from sqlalchemy import text

from app.db.transaction import transaction
from wsgi import app

#: The header that names the bug to run into.
PROVOKE = "X-Provoke"


@app.before_request
def provoke() -> None:
    """Fails with the whole request in a local variable, in the exception's text, in its cause's, or in a query's."""
    bug = request.headers.get(PROVOKE)
    if bug is None:
        return
    secrets = f"{request.get_data().decode()} {request.headers.get('Authorization')} {request.full_path}"
    if bug == "raise":
        try:
            raise KeyError(secrets.lower())
        except KeyError as error:
            raise RuntimeError(f"cannot work with {secrets}") from error
    if bug == "query":
        with transaction() as db:
            db.execute(text("SELECT CAST(:secrets AS integer)"), {"secrets": secrets})
    if bug == "log":
        logging.getLogger("some.package").debug("received %s", secrets)
        logging.getLogger("some.package").warning("received", extra={"body": secrets})
