"""Every refusal has its HTTP face, and what is no refusal tells nothing."""

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from sqlalchemy import Engine, NullPool, create_engine, text
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import HTTPException, ServiceUnavailable, TooManyRequests, Unauthorized
from werkzeug.test import TestResponse

from app import config, errors
from app.db.engine import engine
from app.db.transaction import transaction
from app.factory import create_app
from app.issuance.code_hash import hashing
from app.web import arguments, problems
from tests.api import Api, api_of, assert_problem, money, nothing_changes
from tests.web.bodies import card_body, exchange_body
from tests.world import World


def refusals(kind: type[errors.Refusal] = errors.Refusal) -> Iterator[type[errors.Refusal]]:
    for child in kind.__subclasses__():
        yield child
        yield from refusals(child)


#: Those that stand in errors.py; rooms and the web refine some of them without a slug of their own.
NAMED = [kind for kind in refusals() if kind.__module__ == errors.__name__]


def test_every_refusal_has_a_status_of_its_own_and_there_is_no_other() -> None:
    assert set(problems.STATUS) == set(NAMED)
    assert all(400 <= status < 500 or status == 503 for status in problems.STATUS.values())


def test_slugs_are_unique_and_say_what_the_class_says() -> None:
    slugs = [kind.slug for kind in NAMED]
    assert len(set(slugs)) == len(slugs)
    for kind in NAMED:
        spelt = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__).lstrip("-")
        assert kind.slug == spelt


def test_a_refinement_keeps_the_slug_and_the_status_of_what_it_refines() -> None:
    for kind in refusals():
        if kind not in NAMED:
            assert any(kind.slug == parent.slug for parent in NAMED if issubclass(kind, parent)), kind


def test_every_refusal_says_in_one_sentence_what_was_refused() -> None:
    for kind in NAMED:
        title = inspect.getdoc(kind) or ""
        assert title.endswith(".") and "\n" not in title, kind


def test_refusals_stand_in_the_order_of_the_statuses_table() -> None:
    """Both files are read side by side."""
    assert list(problems.STATUS.values()) == sorted(problems.STATUS.values())


def test_slugs_of_http_itself_are_not_those_of_a_refusal_that_means_something_else() -> None:
    by_slug = {kind.slug: problems.STATUS[kind] for kind in NAMED}
    for status, slug in problems.HTTP_SLUGS.items():
        assert by_slug.get(slug, status) == status


# ── each is answered as a problem ───────────────────────────────────────────────────────────────────────────────────

SAMPLES: list[Callable[[], Exception]] = [
    *(kind for kind in NAMED if not inspect.signature(kind.__init__).parameters.keys() & {"pointer", "until"}
      and kind not in (errors.IssuingLimitReached, errors.TryLater)),
    lambda: errors.InvalidRequest("Not this.", pointer="/that"),
    lambda: errors.IssuingLimitReached("client", left="1.00 GBP", left_minor=100, left_cards=1, free_at=None),
    lambda: errors.CardHeld(datetime(2026, 11, 23, tzinfo=UTC)),
    lambda: errors.TryLater("Wait.", retry_after_s=7),
    lambda: arguments.InvalidShape([{"pointer": "/a", "detail": "No."}, {"pointer": "/b", "detail": "No."}]),
]  # fmt: skip


#: What the route is to raise.
WANTED: list[Exception] = []


@pytest.fixture(scope="module")
def raising(database: config.Settings) -> FlaskClient:
    """The service with a route that raises what it is told to."""
    app = create_app(database)

    @app.route("/raise", methods=["GET", "POST"])
    def fail() -> str:
        raise WANTED.pop()

    return app.test_client()


def answer_to(client: FlaskClient, error: Exception) -> TestResponse:
    WANTED[:] = [error]
    return client.get("/raise")


@pytest.mark.parametrize("make", SAMPLES, ids=lambda make: getattr(make, "__name__", "made"))
def test_a_refusal_is_answered_with_its_status_slug_and_facts(
    raising: FlaskClient, make: Callable[[], errors.Refusal]
) -> None:
    refusal = make()
    problem = assert_problem(answer_to(raising, refusal), problems.status_of(refusal), refusal.slug)
    assert (problem["title"], problem["detail"]) == (refusal.title, refusal.detail)
    assert set(refusal.facts) <= set(problem)
    json.dumps(problem)


@pytest.mark.parametrize(("error", "seconds"), [(errors.TryLater("Wait.", retry_after_s=7), "7"), (errors.Busy(), "1")])
def test_429_and_503_say_when_to_come_back(raising: FlaskClient, error: Exception, seconds: str) -> None:
    assert answer_to(raising, error).headers["Retry-After"] == seconds


def test_a_wait_is_never_shorter_than_a_second() -> None:
    assert errors.TryLater("Wait.", retry_after_s=-5).retry_after_s == 1


def test_what_werkzeug_says_in_headers_is_kept(raising: FlaskClient) -> None:
    assert answer_to(raising, TooManyRequests(retry_after=30)).headers["Retry-After"] == "30"
    assert answer_to(raising, ServiceUnavailable(retry_after=9)).headers["Retry-After"] == "9"
    challenge = WWWAuthenticate("basic", {"realm": "scrip"})
    assert answer_to(raising, Unauthorized(www_authenticate=challenge)).headers["WWW-Authenticate"] == str(challenge)
    assert raising.delete("/raise").headers["Allow"]


@pytest.mark.parametrize(
    "status", [400, 404, 405, 406, 408, 409, 410, 412, 413, 414, 415, 416, 417, 418, 422, 428, 431]
)
def test_every_refusal_of_http_itself_is_a_problem(raising: FlaskClient, status: int) -> None:
    with pytest.raises(HTTPException) as raised:
        abort(status)
    answer = answer_to(raising, raised.value)
    assert_problem(answer, status, problems.HTTP_SLUGS.get(status, "http-error"))


def test_a_bug_tells_nothing_of_itself(raising: FlaskClient) -> None:
    problem = assert_problem(answer_to(raising, ValueError("7KQ4-ZX9M of sam@holder.example")), 500, "internal-error")
    told = json.dumps(problem)
    assert not any(word in told for word in ("ValueError", "7KQ4", "sam@", "Traceback", ".py"))
    assert set(problem) == {"type", "title", "status", "detail", "slug", "instance"}


# ── busy ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def api(app: Flask, world: World) -> Api:
    return api_of(app.test_client(), world)


@pytest.fixture
def small_pool(database: config.Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Two connections, and little patience."""
    monkeypatch.setattr("app.db.engine.POOL_WAIT_S", 0.2)
    config.use(replace(database, database_pool_size=2))
    yield engine()
    engine().dispose()
    config.use(database)


def test_an_empty_pool_is_503_and_the_same_request_succeeds_later(api: Api, small_pool: Engine) -> None:
    body = card_body(api.world.programme_id)
    with small_pool.connect(), small_pool.connect():
        for _ in range(2):
            answer = api.acme.post("/v1/cards", body, key="patience")
            assert_problem(answer, 503, "busy")
            assert int(answer.headers["Retry-After"]) >= 1
    answer = api.acme.post("/v1/cards", body, key="patience")
    assert (answer.status_code, answer.headers.get("Idempotent-Replayed")) == (201, None)


def test_a_lock_that_is_not_to_be_had_is_503_and_changes_nothing(api: Api) -> None:
    payment = api.world.payment().payment
    path, body = f"/v1/payments/{payment.id}/settlements", {"amount": money(3_000)}
    locking = "SELECT 1 FROM card JOIN payment ON payment.card_id = card.id WHERE payment.id = :id FOR UPDATE OF card"
    with engine().connect() as elsewhere:
        elsewhere.execute(text(locking), {"id": payment.id})
        with nothing_changes():
            answer = api.bookshop.post(path, body, key="settle-" + payment.id)
        assert_problem(answer, 503, "busy")
        assert int(answer.headers["Retry-After"]) >= 1
        elsewhere.rollback()
    answer = api.bookshop.post(path, body, key="settle-" + payment.id)
    assert (answer.status_code, answer.headers.get("Idempotent-Replayed")) == (201, None)


def test_a_statement_that_takes_too_long_is_busy(database: config.Settings) -> None:
    with pytest.raises(errors.Busy), transaction() as db:
        db.execute(text("SET LOCAL statement_timeout = 50"))
        db.execute(text("SELECT pg_sleep(5)"))


def test_a_connection_that_breaks_is_busy_and_the_next_one_is_good(
    database: config.Settings, urls: dict[str, str]
) -> None:
    with pytest.raises(errors.Busy), transaction() as db:
        mine = db.scalar(text("SELECT pg_backend_pid()"))
        admin = create_engine(urls["admin"], poolclass=NullPool)
        with admin.connect() as operator:
            operator.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": mine})
        db.execute(text("SELECT 1"))
    with transaction() as db:
        assert db.scalar(text("SELECT 1")) == 1


def test_too_many_codes_at_once_are_busy(api: Api, database: config.Settings) -> None:
    """A short queue waits for Argon2; whoever finds it full is told at once, before any work."""
    cost = replace(database.argon2, concurrency=1, queue=0)
    code = api.world.code().code
    config.use(replace(database, argon2=cost))
    try:
        with hashing(), nothing_changes():
            answer = api.bookshop.post("/v1/payments", exchange_body(code), key="code-" + code)
            assert_problem(answer, 503, "busy")
        assert api.bookshop.post("/v1/payments", exchange_body(code), key="code-" + code).status_code == 201
    finally:
        config.use(database)
