"""A request and its answer as the fake service sees them, with no socket between."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scrip_sdk.testing.ledger import new_id
from scrip_sdk.testing.refusals import Refused

PROBLEM = "application/problem+json"


class Unreachable(Exception):
    """No connection: nothing was done."""


class AnswerLost(Exception):
    """The connection broke before an answer came: whatever was asked is done."""


@dataclass(frozen=True)
class Asked:
    """A request; `headers` by their names in small letters, `path` and `query` as in its address."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str:
        """A header's value, or an empty text."""
        return self.headers.get(name, "")


@dataclass
class Answer:
    """An answer, which comes after `delay_s` seconds."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    delay_s: float = 0.0

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


def as_json(status: int, body: Any, *, content_type: str = "application/json", **headers: str) -> Answer:
    """An answer in JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Type": content_type, **named}, json.dumps(body, ensure_ascii=False).encode())


def as_problem(refused: Refused, *, scheme: str = "Bearer", had_token: bool = True) -> Answer:
    """A refusal as a problem (RFC 9457), with the headers that belong to its status."""
    request_id = new_id("req")
    body = {
        "type": f"urn:scrip:problem:{refused.slug}",
        "title": refused.title,
        "status": refused.status,
        "detail": refused.detail,
        "slug": refused.slug,
        "instance": request_id,
        **refused.facts,
    }
    answer = as_json(refused.status, body, content_type=PROBLEM, X_Request_Id=request_id)
    if refused.retry_after_s is not None:
        answer.headers["Retry-After"] = str(refused.retry_after_s)
    if refused.status == 401:
        answer.headers["WWW-Authenticate"] = f'{scheme} error="{_error_of(refused)}"' if had_token else "Bearer"
        if refused.slug == "use-dpop-nonce":
            answer.headers["DPoP-Nonce"] = new_id("nonce")
    if refused.slug == "insufficient-scope":
        wanted = f', scope="{refused.facts["scope"]}"' if "scope" in refused.facts else ""
        answer.headers["WWW-Authenticate"] = f'{scheme} error="insufficient_scope"{wanted}'
    return answer


def as_oauth_error(refused: Refused) -> Answer:
    """The same at an endpoint of OAuth's, which has a word of its own for a server that cannot answer now."""
    error = "temporarily_unavailable" if refused.retry_after_s is not None else refused.slug.replace("-", "_")
    answer = as_json(refused.status, {"error": error, "error_description": refused.detail})
    if refused.retry_after_s is not None:
        answer.headers["Retry-After"] = str(refused.retry_after_s)
    return answer


def _error_of(refused: Refused) -> str:
    return "invalid_token" if refused.slug == "invalid-access-token" else refused.slug.replace("-", "_")
