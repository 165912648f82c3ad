"""What it costs to know who is calling: a share of an API call, and access tokens a second."""

import base64
import time
from collections.abc import Sequence
from pathlib import Path

from flask import Flask

from app.oauth.bearer import requires
from app.oauth.clients import NewClient
from bench.load import Load, drive

#: The scope of what is called here.
SCOPE = "bill"


def token_requests(made: NewClient, many: int) -> list[bytes]:
    """Requests for an access token by HTTP Basic, as a plain plugin sends them."""
    form = b"grant_type=client_credentials"
    basic = base64.b64encode(f"{made.client_id}:{made.client_secret}".encode()).decode()
    head = ["POST /oauth/token HTTP/1.1", "Host: bench", f"Authorization: Basic {basic}"]
    head += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}", "", ""]
    return ["\r\n".join(head).encode() + form] * many


def reads(paths: Sequence[str], access_token: str) -> list[bytes]:
    """GET requests with this access token."""
    return [
        f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {access_token}\r\n\r\n".encode() for path in paths
    ]


def call_cpu_ms(port: int, requests: Sequence[bytes], workers: Sequence[Path]) -> float:
    """Milliseconds of the web workers' processor for one of these requests."""
    before = sum(map(_cpu_s, workers))
    load: Load = drive(port, requests, clients=8)
    return (sum(map(_cpu_s, workers)) - before) * 1000 / len(load.bodies)


def check_cpu_ms(access_token: str, *, many: int = 2_000) -> float:
    """Milliseconds of processor for all that stands between a request with this access token and its view."""
    flask = Flask("bench")
    view = requires(SCOPE)(lambda: None)
    with flask.test_request_context(headers={"Authorization": f"Bearer {access_token}"}):
        view()  # reads the keys
        began_s = time.process_time()
        for _ in range(many):
            view()
        return (time.process_time() - began_s) * 1000 / many


def _cpu_s(process: Path) -> float:
    """Seconds of processor that it has used, in steps of 10 ms."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
