"""What the SDK's tests stand on: both kinds of client, each asked in the same words."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from scrip_sdk import Budget, Client
from scrip_sdk.aio import AsyncClient
from tests.plugin_sdk.hostile import Hostile

#: For what is to succeed, however busy the machine is.
PATIENT = Budget(connect_s=3, read_s=3, total_s=7)
#: Short, so that a test is; whatever is late is later than this by far.
SHORT = Budget(connect_s=0.3, read_s=0.3, total_s=0.9)
SECRET = "the-secret-of-this-client"

#: A client of either kind, asked without await.
AnyClient = Any
MakeClient = Callable[..., AnyClient]


class Awaited:
    """An AsyncClient as it looks from threads: each of its methods runs on the portal's loop."""

    def __init__(self, client: AsyncClient, portal: BlockingPortal) -> None:
        self._client, self._portal = client, portal
        self.service = client.service

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **named: self._portal.call(partial(getattr(self._client, name), *args, **named))


@contextmanager
def opened(kind: str) -> Iterator[MakeClient]:
    """Makes clients of this kind, which are closed at the end."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal()) if kind == "async" else None

        def make(url: str, client_id: str = "cli_of_shop", secret: str | None = SECRET, **more: Any) -> AnyClient:
            more.setdefault("budget", PATIENT)
            client: AnyClient
            if portal is None:
                client = stack.enter_context(Client(url, client_id, secret, **more))
            else:
                client = Awaited(AsyncClient(url, client_id, secret, **more), portal)
                stack.callback(client.aclose)
            client.service.draw = lambda: 0.0  # the shortest of all waits: 0.25 s, 0.5 s, …
            return client

        yield make


@pytest.fixture(params=["threads", "async"])
def make_client(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    with opened(request.param) as make:
        yield make


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with Hostile().running() as server:
        yield server


@pytest.fixture
def shop(hostile: Hostile, make_client: MakeClient) -> AnyClient:
    """A store's client of the hostile server."""
    return make_client(hostile.url)


@pytest.fixture
def hasty(hostile: Hostile, make_client: MakeClient) -> AnyClient:
    """The same with a short budget."""
    return make_client(hostile.url, budget=SHORT)
