"""The fake service in place of a client's connections: same requests, same answers, same waits, and no socket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from scrip_sdk.calls import Answer
from scrip_sdk.steps import Lost, Send
from scrip_sdk.testing.wire import AnswerLost, Asked, Unreachable

if TYPE_CHECKING:
    from scrip_sdk.testing.fake import FakeScrip


class PluggedIn:
    """What a client sends through."""

    def __init__(self, fake: FakeScrip) -> None:
        self._fake = fake

    def send(self, request: Send) -> Answer | Lost:
        """Sends it once; an answer that takes longer than the client waits is none."""
        came, delay_s = self._ask(request)
        time.sleep(delay_s)
        return came

    async def send_async(self, request: Send) -> Answer | Lost:
        """The same while others go on."""
        import anyio  # the extra `async`

        came, delay_s = self._ask(request)
        await anyio.sleep(delay_s)
        return came

    def close(self) -> None:
        """There is nothing to close."""

    def _ask(self, request: Send) -> tuple[Answer | Lost, float]:
        path, _, query = request.path.partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            answer = self._fake.handle(Asked(request.method, path, query, headers, request.body))
        except Unreachable:
            return Lost("no-connection"), 0.0
        except AnswerLost:
            return Lost("no-answer"), 0.0
        if answer.delay_s > request.timeouts.read_s:
            return Lost("no-answer"), request.timeouts.read_s
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status, headers, answer.body), answer.delay_s
