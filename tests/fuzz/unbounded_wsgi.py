"""The service without its bound on bodies: a planted fault."""

from app.web import arguments, requests

for module in (arguments, requests):
    module.__dict__["MAX_BODY_BYTES"] = 2**30

from wsgi import app  # noqa: E402

__all__ = ["app"]
