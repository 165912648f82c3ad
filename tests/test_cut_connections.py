"""A request repeated after a cut connection has one effect and the same answer, on the service as it runs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import config
from app.secrecy import random_secret
from tests.api import JSON, Api, api_of, digests
from tests.cutting_proxy import Cut, CuttingProxy
from tests.service import real_keys, served
from tests.web.fresh import FRESH, Request, exchange_code, issue_card
from tests.web.test_idempotency import without_secrets
from tests.world import make_world

CUTS: list[Cut] = ["request", "half request", "answer", "half answer"]


@pytest.fixture
def proxy(own_database: config.Settings, keys_dir: Path, tmp_path: Path) -> Iterator[CuttingProxy]:
    """In front of two gunicorn workers; this process has their origin and keys, so that its codes are theirs."""
    log = tmp_path / "gunicorn.log"
    with served(own_database, keys_dir, log) as port, CuttingProxy(port).running() as proxy:
        origin = f"http://127.0.0.1:{port}"
        config.use(replace(own_database, public_url=origin, keys=config.read_keys(real_keys(keys_dir))))
        yield proxy
        assert "bug" not in log.read_text()


@dataclass(frozen=True)
class Answer:
    status: int
    replayed: bool
    body: Any
    headers: Mapping[str, str]


@pytest.mark.slow
def test_one_effect_and_one_answer_however_the_connection_was_cut(app: Flask, proxy: CuttingProxy) -> None:
    """For every POST: one that never arrived, one that arrived by half, answers that were lost and that broke off."""
    api = api_of(app.test_client(), make_world())
    Attempt(proxy, api, exchange_code(api), cuts=[])  # a store's first payment opens its account in the books
    Attempt(proxy, api, issue_card(api), cuts=[])  # and the first card of a client, what it has used of its limit
    for make in FRESH:
        alone = Attempt(proxy, api, make(api), cuts=[])
        assert (alone.answer.status, alone.answer.replayed) == (alone.wanted_status, False), make
        for cut in CUTS:
            tried = Attempt(proxy, api, make(api), cuts=[cut])
            assert tried.answer.status == tried.wanted_status, (make, cut, tried.answer)
            assert tried.answer.replayed == (cut in ("answer", "half answer")), (make, cut)
            assert tried.grown == alone.grown, (make, cut)
            assert shape(tried.answer.body) == shape(alone.answer.body), (make, cut)
        check_many_cuts(proxy, api, make(api), alone)


def check_many_cuts(proxy: CuttingProxy, api: Api, request: Request, alone: "Attempt") -> None:
    """Many cuts in a row have one effect, and every later answer is the first."""
    key = random_secret()
    tried = Attempt(proxy, api, request, cuts=["answer", *CUTS, "half answer"], key=key)
    assert (tried.answer.replayed, tried.grown) == (True, alone.grown)
    again = Attempt(proxy, api, request, cuts=[], key=key)
    assert (again.grown, without_secrets(again.answer.body)) == ({}, without_secrets(tried.answer.body))


class Attempt:
    """One request, sent again under the same key until it is answered; its answer, and what it added to each table."""

    def __init__(
        self, proxy: CuttingProxy, api: Api, request: Request, *, cuts: list[Cut], key: str | None = None
    ) -> None:
        path, body, self.wanted_status = request
        headers = {**JSON, **api.machine(path).authorization, "Idempotency-Key": key or random_secret()}
        proxy.cuts = list(cuts)
        before = digests()
        self.answer = next(answer for _ in range(len(cuts) + 1) if (answer := ask(proxy.port, path, body, headers)))
        assert proxy.cuts == []
        after = digests()
        self.grown = {
            table: count - before[table][0] for table, (count, _) in after.items() if after[table] != before[table]
        }


def ask(port: int, path: str, body: object, headers: dict[str, str]) -> Answer | None:
    """The answer, or None when the connection was cut."""
    connection = HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        connection.request("POST", path, json.dumps(body), {**headers, "Connection": "close"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
    except (HTTPException, ConnectionError):
        return None
    finally:
        connection.close()
    return Answer(answer.status, answer.headers["Idempotent-Replayed"] == "true", told, dict(answer.headers))


def shape(body: Any) -> Any:
    """The names and types of an answer, and its amounts; IDs and times are each request's own."""
    if isinstance(body, dict):
        return {name: shape(value) for name, value in body.items() if name != "claim_link"}
    return body if isinstance(body, int) else type(body).__name__
