"""Hundreds of requests drawn by chance, the same each run: never a 5xx, and only what is carried out is written."""

import copy
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.api import Api, Machine, assert_problem, nothing_changes
from tests.web.bodies import Bodies, good_bodies, leaves, with_field
from tests.world import rows

#: No shrinking across requests that change the world, no database of examples, no clock: the same requests each run.
SWEEP = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
#: Lone surrogates and every control character among them.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
NASTY: list[Any] = [
    *("", "\0", "\ud800", "0" * 300, "GBP", "all", "email", "true", "1", "9" * 25, "card_" + "0" * 26),
    *(0, 1, -1, 60, 10**12, 10**12 + 1, 2**31, 2**63, -(2**63), 10**30, 10**4_000, 1.5, 1e300, True, False, None),
    *([], {}, [[]], [None], {"": None}, {"amount_minor": 1}, {"amount_minor": 1, "currency": "GBP"}),
    *("2026-11-24T10:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-W48-2", "24:00"),
]
ANY_JSON = st.recursive(
    st.sampled_from(NASTY) | ANY_TEXT | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def bodies(api: Api) -> Bodies:
    return good_bodies(api)


@given(data=st.data())
@settings(SWEEP, max_examples=300)
def test_no_body_is_too_odd(api: Api, bodies: Bodies, data: st.DataObject) -> None:
    path, body = data.draw(st.sampled_from(list(bodies.values())))
    raw = data.draw(spoilt(body))
    before = written()
    answer = api.machine(path).post_raw(path, raw, key=data.draw(st.sampled_from(["one", "two", "three"])))
    assert answer.status_code < 500, (path, raw)
    is_new = answer.status_code < 400 and "Idempotent-Replayed" not in answer.headers
    if answer.status_code >= 400:
        assert_problem(answer, answer.status_code, answer.get_json(force=True)["slug"])
    requests, events = written()
    assert (requests - before[0]) == int(is_new), (path, raw)
    assert is_new or answer.get_json(force=True).get("slug") == "code-not-accepted" or events == before[1]


def written() -> tuple[int, int]:
    """How many requests and events are kept."""
    found = rows("SELECT (SELECT count(*) FROM request) AS requests, (SELECT count(*) FROM event) AS events")[0]
    return found.requests, found.events


def spoilt(body: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """The body with some fields replaced, added or left out; any JSON; or its text with some bytes changed."""
    places = [place for place, _ in leaves(body)]
    replaced = st.lists(st.tuples(st.sampled_from(places), ANY_JSON), min_size=1, max_size=3) if places else st.just([])
    changed = st.builds(lambda changes: dump(replace_all(body, changes)), replaced)
    added = st.builds(lambda name, value: dump({**body, name: value}), ANY_TEXT, ANY_JSON)
    left_out = st.builds(
        lambda names: dump({n: v for n, v in body.items() if n not in names}),
        st.sets(st.sampled_from(sorted(body) or [""])),
    )
    anything = st.builds(dump, ANY_JSON)
    text = dump(body)
    cut = st.builds(
        lambda at, what: text[:at] + what + text[at + 1 :], st.integers(0, len(text)), st.binary(max_size=3)
    )
    return st.one_of(changed, changed, changed, added, left_out, anything, cut)


def replace_all(body: dict[str, Any], changes: list[tuple[tuple[str, ...], object]]) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    for place, value in changes:
        try:
            changed = with_field(changed, place, value)
        except (TypeError, KeyError, IndexError):  # an earlier change took its parent away
            continue
    return changed


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


@given(
    pairs=st.lists(
        st.tuples(st.sampled_from(["limit", "after", "state", "order_reference", "x"]), ANY_TEXT), max_size=3
    )
)
@settings(SWEEP, max_examples=60)
def test_no_query_is_too_odd(api: Api, bodies: Bodies, pairs: list[tuple[str, str]]) -> None:
    query = urlencode(pairs, errors="surrogatepass")
    for path in ("/v1/cards", "/v1/programmes", bodies["reissue_card"][0].replace("/reissue", "/events")):
        answer = api.acme.client.get(f"{path}?{query}", headers=api.acme.authorization)
        assert answer.status_code in (200, 422), (path, query)


@given(path=st.lists(ANY_TEXT, max_size=4), method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS"]))
@settings(SWEEP, max_examples=60)
def test_no_path_is_too_odd(api: Api, path: list[str], method: str) -> None:
    quoted = "/".join(urlencode({"": part}, errors="surrogatepass")[1:] for part in path)
    for prefix in ("/v1/cards/", "/v1/payments/", "/v1/", "/claim/", "/static/web/", "/x"):
        answer = api.acme.client.open(prefix + quoted, method=method, headers=api.acme.authorization)
        assert answer.status_code < 500, (method, prefix, quoted)


HEADERS = [
    *("Authorization", "Idempotency-Key", "Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding"),
    *("Accept", "Host", "X-Request-Id", "X-Forwarded-For", "Cookie", "Origin", "If-None-Match", "Range"),
]


@given(
    name=st.sampled_from(HEADERS),
    value=st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=60),
)
@settings(SWEEP, max_examples=120)
def test_no_header_is_too_odd(app: Flask, api: Api, bodies: Bodies, name: str, value: str) -> None:
    path, body = bodies["confirm_payment"]
    headers = {
        **api.bookshop.authorization,
        "Idempotency-Key": "header",
        "Content-Type": "application/json",
        name: value,
    }
    answer = app.test_client().post(path, data=dump(body), headers=headers)
    assert answer.status_code < 500, (name, value)
    if answer.status_code >= 400:
        assert answer.content_type == "application/problem+json"


def test_access_tokens_that_are_altered_anywhere_open_nothing(api: Api, bodies: Bodies) -> None:
    """Every place of a good one, changed to another character of its alphabet."""
    path, body = bodies["confirm_payment"]
    good = api.bookshop.access_token
    places = [*range(0, len(good), 7), *range(len(good) - 90, len(good) - 1, 5)]
    with nothing_changes():
        for place in places:
            other = "A" if good[place] != "A" else "B"
            altered = good[:place] + other + good[place + 1 :]
            answer = api.bookshop.client.post(path, json=body, headers={"Authorization": f"Bearer {altered}"})
            assert_problem(answer, 401, "invalid-access-token")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_no_machine_reaches_a_route_of_the_other_kind_of_party(api: Api, bodies: Bodies) -> None:
    with nothing_changes():
        for path, body in bodies.values():
            wrong: Machine = api.acme if api.machine(path) is api.bookshop else api.bookshop
            answer = wrong.post(path, body)
            assert_problem(answer, 403, "insufficient-scope")
            assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
