"""Two workers, as in production, let no more through than one would, whatever a stranger writes into headers."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest

from app import config
from app.config import settings
from app.ids import new_id
from app.oauth.access_token import make_access_token
from tests.api import store_machine
from tests.service import FAR_LIMITS, served
from tests.world import World

CLAIM, PAYMENT = f"/claim/{new_id('link')}", f"/v1/payments/{new_id('pay')}"
ADDRESS, CLIENT = 30, 40

Headers = Sequence[tuple[str, str]]
SPOOFED: list[Headers] = [
    [("X-Forwarded-For", "192.0.2.{}")],
    [("x-FORWARDED-for", "192.0.2.{}"), ("X-Forwarded-For", "198.51.100.{}")],
    [("X_Forwarded_For", "192.0.2.{}")],
    [("Forwarded", "for=192.0.2.{}"), ("X-Real-IP", "192.0.2.{}")],
    [("True-Client-IP", "192.0.2.{}"), ("CF-Connecting-IP", "2001:db8:{}::1")],
    [],
]


@pytest.fixture
def port(database: config.Settings, keys_dir: Path, tmp_path: Path) -> Iterator[int]:
    limits = replace(FAR_LIMITS, per_address=f"{ADDRESS}/hour", per_client=f"{CLIENT}/hour")
    before = settings()
    with served(replace(database, limits=limits), keys_dir, tmp_path / "log") as port:
        config.use(replace(before, public_url=f"http://127.0.0.1:{port}"))
        yield port
        config.use(before)


def asked(port: int, path: str, headers: Sequence[Headers]) -> list[int]:
    """The statuses of as many requests as there are headers, sent by eight clients at once."""

    def ask(number: int) -> int:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        connection.putrequest("GET", path)
        for name, value in headers[number]:
            connection.putheader(name, value.format(number))
        connection.endheaders()
        status = connection.getresponse().status
        connection.close()
        return status

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, range(len(headers))))


def test_two_workers_let_through_what_one_would(port: int, world: World) -> None:
    found = asked(port, CLAIM, [SPOOFED[n % len(SPOOFED)] for n in range(2 * ADDRESS)])
    assert (found.count(200), found.count(429)) == (ADDRESS, ADDRESS)
    for store in (world.bookshop, world.toyshop):
        known = store_machine(None, store).known  # type: ignore[arg-type]
        token = make_access_token(known, known.scopes)
        found = asked(port, PAYMENT, [[("Authorization", f"Bearer {token}")]] * (CLIENT + 20))
        assert (found.count(404), found.count(429)) == (CLIENT, 20)
