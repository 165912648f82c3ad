"""The service on a real loopback port, and real browsers in front of it."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request

from app import config
from tests.world import World

SMALL_PHONE: Any = {"width": 320, "height": 568}
PHONE: Any = {"width": 390, "height": 844}
DESKTOP: Any = {"width": 1280, "height": 800}


class Quiet(WSGIRequestHandler):
    """A server that keeps no log of its own."""

    def log(self, *args: object) -> None:
        """Says nothing."""


@dataclass
class Served:
    """A running service; `heard` is every request as the server got it, with its headers and body."""

    url: str
    heard: list[str] = field(default_factory=list)

    def claim_url(self, claim_link: str | None) -> str:
        """A claim link at this server's address."""
        assert claim_link is not None
        return self.url + claim_link[claim_link.index("/claim/") :]


@pytest.fixture
def served(app: Flask, database: config.Settings) -> Iterator[Served]:
    """The whole service over HTTP on a free port, with several threads; its public URL is where it is."""

    def heard(environ: dict[str, Any], start: Any) -> Any:
        request = Request(environ)
        running.heard.append(f"{request.method} {request.full_path}\n{request.headers}")
        return app(environ, start)

    server = make_server("127.0.0.1", 0, heard, threaded=True, request_handler=Quiet)
    running = Served(f"http://127.0.0.1:{server.server_port}")
    config.use(replace(database, public_url=running.url))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield running
    server.shutdown()
    thread.join()
    server.server_close()
    config.use(database)


@pytest.fixture
def link(served: Served, world: World) -> str:
    """A fresh claim link for 50.00 GBP."""
    return served.claim_url(world.issue().claim_link)


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Makes browsers that share nothing with each other."""
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        options = {"viewport": PHONE, "locale": "en-GB", "timezone_id": "Europe/London", **options}
        contexts.append(browser.new_context(**options))
        contexts[-1].set_default_timeout(10_000)
        return contexts[-1]

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_context: Callable[..., BrowserContext]) -> Page:
    """A fresh phone."""
    return new_context().new_page()
