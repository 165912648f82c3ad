"""Idempotency-Key: the party's own name for a request, and what makes two requests the same."""

import json
import re
from typing import Any, Protocol

from flask import Response, jsonify, request

from app.config import settings
from app.db.request import Reference
from app.errors import IdempotencyKeyInvalid, IdempotencyKeyMissing
from app.secrecy import keyed_hashes
from app.web.arguments import body_json

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
#: Two requests that differ only in these are the same: a secret leaves no trace, not even a keyed one.
SECRET_FIELDS = frozenset({"code", "code_token", "key", "nonce"})

_VISIBLE = re.compile(r"[!-~]{1,255}")


class Replayable(Protocol):
    """An answer that knows whether it was given before."""

    @property
    def replayed(self) -> bool: ...


def reference_of(party_id: str, operation: str, target_id: str = "") -> Reference:
    """What this POST is called by its party. Raises IdempotencyKeyMissing, IdempotencyKeyInvalid."""
    return Reference(party_id, key_given(), operation, target_id, _content_hmacs(body_json()))


def key_given() -> str:
    """The key, where something else makes two requests the same.

    Raises IdempotencyKeyMissing, IdempotencyKeyInvalid.
    """
    key = request.headers.get(HEADER)
    if key is None:
        raise IdempotencyKeyMissing()
    if not _VISIBLE.fullmatch(key):
        raise IdempotencyKeyInvalid()
    return key


def answer_once(result: Replayable, body: Any, status: int) -> Response:
    """The answer, marked when it was given before."""
    answer: Response = jsonify(body)
    answer.status_code = status
    if result.replayed:
        answer.headers[REPLAYED] = "true"
    return answer


def _content_hmacs(body: Any) -> tuple[bytes, ...]:
    content = {name: value for name, value in body.items() if name not in SECRET_FIELDS}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return tuple(keyed_hashes(settings().keys.hashing, "request", canonical))
