"""The service whose workers can be killed, and which releases abandoned approvals when it is asked to."""

from flask import Response

from app.checkout.release import release_abandoned
from tests.faults.killed_wsgi import app


@app.post("/planted/release")
def release() -> Response:
    """What the worker does each second."""
    return Response(str(release_abandoned()))
