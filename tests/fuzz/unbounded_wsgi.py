"""The service without its bounds on bodies: a planted fault."""

from app.web import arguments, requests, whole_requests

for module in (arguments, requests):
    module.__dict__["MAX_BODY_BYTES"] = 2**30
whole_requests.__dict__["_announced_length"] = lambda _req: 0  # whatever is announced, a thread reads it

from wsgi import app  # noqa: E402

__all__ = ["app"]
