"""The service with keys that are read again each second, so that a rotation is over within a test."""

from app.oauth import key_ring

key_ring.__dict__["REFRESH_EVERY_S"] = 1

from wsgi import app  # noqa: E402

__all__ = ["app"]
