"""What the tests of faults share: the service as it runs, with this process in its place beside it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from flask import Flask

from app import config
from tests.api import Api, api_of
from tests.service import served
from tests.world import make_world


@dataclass(frozen=True)
class Running:
    """Two gunicorn workers on a port, and a world that this process reaches in the same database."""

    port: int
    api: Api
    log: Path


Tell = Callable[[str], None]
Run = Callable[..., AbstractContextManager[Running]]


@pytest.fixture
def run(app: Flask, keys_dir: Path, tmp_path: Path) -> Run:
    """Starts the service over settings, perhaps a broken variant of it; this process has its origin, so its codes."""

    @contextmanager
    def running(settings: config.Settings, *, wsgi: str = "cheap_wsgi") -> Iterator[Running]:
        before, log = config.settings(), tmp_path / "gunicorn.log"
        with served(settings, keys_dir, log, wsgi=f"tests.faults.{wsgi}:app") as port:
            config.use(replace(settings, public_url=f"http://127.0.0.1:{port}"))
            try:
                yield Running(port, api_of(app.test_client(), make_world()), log)
            finally:
                config.use(before)
        assert '"bug"' not in log.read_text()

    return running


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Prints how far a long form is, past what pytest keeps back."""

    def told(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", end="", flush=True)  # noqa: T201 – progress is for whoever waits

    return told
