"""The service with commits that are answered before anybody has written them down."""

from app.db import engine

engine.SESSION_OPTIONS = engine.SESSION_OPTIONS.replace("synchronous_commit=on", "synchronous_commit=off")

from tests.faults.cheap_wsgi import app  # noqa: E402 – after the options

__all__ = ["app"]
