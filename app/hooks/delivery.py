"""Handing a message to a webhook, signed as Standard Webhooks says: one POST, in bounded time, that follows nobody."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from standardwebhooks import Webhook
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError

CONNECT_S, ANSWER_S = 5, 15


class NotTaken(Exception):
    """The message was not taken, or nobody knows. Says a status or an error's name, never the receiver's words."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where messages go, and the key that they are signed with."""

    url: str = field(repr=False)
    secret: bytes = field(repr=False)


def post_message(receiver: Receiver, payload: Mapping[str, object], *, message_id: str, at: datetime) -> None:
    """Posts `payload` as JSON. A receiver knows a message that came twice by `message_id`. Raises NotTaken.

    Any status of 200 to 299 takes it; a redirect is followed nowhere, for the signature was made for one receiver.
    """
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Scrip",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(receiver.secret).sign(message_id, at, body),
    }
    with PoolManager(retries=False, timeout=Timeout(connect=CONNECT_S, read=ANSWER_S)) as pool:
        try:
            answer = pool.request(
                "POST", receiver.url, body=body.encode(), headers=headers, redirect=False, preload_content=False
            )
            status = answer.status
            answer.close()  # whatever it says, however slowly, is not read
        except (HTTPError, OSError) as error:
            raise NotTaken(f"post {type(error).__name__}") from None
    if not 200 <= status < 300:
        raise NotTaken(f"status {status}")
