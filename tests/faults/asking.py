"""Asking a service on loopback: one connection for each request, as a client without a pool does."""

import json
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection
from typing import Any

from app.secrecy import random_secret


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `body` is read where it is JSON."""

    status: int
    headers: Message
    body: Any


def ask(
    port: int,
    method: str,
    path: str,
    body: object = None,
    *,
    access_token: str = "",
    timeout_s: float = 30,
    **more: str,
) -> Answer:
    """One request with a JSON body; further headers by name. Raises OSError and HTTPException when none answers."""
    headers = {"Content-Type": "application/json", "Connection": "close", "Idempotency-Key": random_secret()}
    if access_token:
        headers["Authorization"] = f"Bearer {access_token}"
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        raw = answer.read()
    finally:
        connection.close()
    is_json = "json" in (answer.headers["Content-Type"] or "")
    return Answer(answer.status, answer.headers, json.loads(raw) if is_json else raw)
