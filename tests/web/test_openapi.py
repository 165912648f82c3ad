"""The OpenAPI document says what the code does, and the page that shows it opens by itself."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from playwright.sync_api import Browser, ConsoleMessage, Request
from werkzeug.serving import WSGIRequestHandler, make_server

from app import config
from app.factory import create_app
from app.ids import new_id
from app.oauth.scopes import ALL_SCOPES
from tests.api import Api
from tests.web.bodies import good_bodies
from tests.web.fresh import FRESH

#: For people to look at.
PICTURES = Path(__file__).parents[2] / "artefacts"
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def spec(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get("/openapi.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    found: dict[str, Any] = answer.get_json()
    return found


def operations(spec: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """By path and method."""
    return {
        (path, method): operation
        for path, item in spec["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


# ── the document ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_openapi_3_1_with_all_that_is_required(spec: dict[str, Any]) -> None:
    """OpenAPI 3.1.0, sections 4.8.1 (document), 4.8.10 (operation), 4.8.12 (parameter), 4.8.17 (response)."""
    assert re.fullmatch(r"3\.1\.\d+", spec["openapi"])
    assert spec["info"]["title"] and spec["info"]["version"]
    assert [urlsplit(server["url"]).path for server in spec["servers"]] == [""]
    for operation in operations(spec).values():
        assert operation["responses"]
        for parameter in operation.get("parameters", []):
            assert {"in", "name", "schema"} <= set(parameter)
    assert set(spec) <= {"openapi", "info", "servers", "paths", "components", "tags", "security", "externalDocs"}


def test_every_reference_leads_somewhere(spec: dict[str, Any]) -> None:
    references = list(found_references(spec))
    assert len(references) > 50
    for reference in references:
        place: Any = spec
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]


def found_references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from found_references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from found_references(inner)


def test_every_schema_is_json_schema_and_its_patterns_are_ecma_262(spec: dict[str, Any]) -> None:
    known = {"array", "boolean", "integer", "null", "number", "object", "string"}
    for schema in schemas_in(spec):
        types = schema.get("type", [])
        assert set([types] if isinstance(types, str) else types) <= known, schema
        assert "nullable" not in schema, "OpenAPI 3.0 only"
        if "pattern" in schema:
            assert schema["pattern"].startswith("^") and schema["pattern"].endswith("$"), schema
            assert not re.search(r"\\[AZz]|\(\?[^:=!<]", schema["pattern"]), schema
        if "$ref" in schema or "anyOf" in schema:
            assert "type" not in schema, schema


def schemas_in(part: Any) -> Iterator[dict[str, Any]]:
    """Whatever has a type, a pattern or a choice in it."""
    if isinstance(part, dict):
        says_what_it_is = isinstance(part.get("type"), str | list) or isinstance(part.get("$ref"), str)
        if (says_what_it_is or "anyOf" in part) and "flows" not in part:
            yield part
        for inner in part.values():
            yield from schemas_in(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from schemas_in(inner)


def test_every_route_under_v1_is_in_it_and_no_other(app: Flask, spec: dict[str, Any]) -> None:
    routes = {
        (re.sub(r"<id\(\w+\):(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/v1")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert set(operations(spec)) == routes


def test_every_operation_names_the_scopes_that_the_code_asks_for(app: Flask, spec: dict[str, Any]) -> None:
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/v1"):
            continue
        path = re.sub(r"<id\(\w+\):(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            wanted: Any = app.view_functions[rule.endpoint]
            found = operations(spec)[path, method.lower()]["security"]
            by_method = getattr(wanted, "view_class", None)
            view = getattr(by_method, method.lower()) if by_method else wanted
            assert found == [{"oauth": [scope]} for scope in view.required_scopes], (path, method)
    flow = spec["components"]["securitySchemes"]["oauth"]["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == "/oauth/token"
    assert set(flow["scopes"]) == set(ALL_SCOPES)


def test_every_post_documents_its_idempotency_key_and_no_get_does(spec: dict[str, Any]) -> None:
    for (path, method), operation in operations(spec).items():
        keys = [one for one in operation.get("parameters", []) if one["name"] == "Idempotency-Key"]
        assert len(keys) == int(method == "post"), (path, method)
        assert all(key["required"] and key["in"] == "header" for key in keys)


def test_every_operation_has_an_id_a_summary_and_a_problem_as_its_default_error(spec: dict[str, Any]) -> None:
    found = operations(spec)
    assert len({operation["operationId"] for operation in found.values()}) == len(found)
    for operation in found.values():
        assert operation["summary"]
        for name in ("default", "422"):
            if name in operation["responses"]:
                response = resolved(spec, operation["responses"][name])
                assert response["content"] == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }
        assert "default" in operation["responses"]


def resolved(spec: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        found: Any = spec
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def test_each_operation_stands_in_the_part_of_whoever_may_call_it(spec: dict[str, Any]) -> None:
    for operation in operations(spec).values():
        parts = {
            "issue": "Issuer API",
            "bill": "Bills",
            "guard.read": "Alarms",
            "statement": "Statements",
        } | dict.fromkeys(("finance.read", "finance.work"), "Finance")
        [scope, *_] = [scope for each in operation["security"] for scope in each["oauth"]]
        [part] = operation["tags"]
        assert part == parts.get(scope, "Store API") or (scope, part) == ("bill", "Remittances"), operation["summary"]


def test_identifiers_in_paths_are_documented_by_their_pattern(spec: dict[str, Any]) -> None:
    seen = 0
    for path, item in spec["paths"].items():
        for parameter in item.get("parameters", []):
            prefix = PREFIXES[parameter["name"]]
            assert re.fullmatch(parameter["schema"]["pattern"], new_id(prefix)), path
            assert not re.fullmatch(parameter["schema"]["pattern"], new_id("x")), path
            seen += 1
    assert seen == len(re.findall(r"\{", " ".join(spec["paths"])))


def test_no_request_or_answer_has_a_field_that_the_document_does_not_know(spec: dict[str, Any], api: Api) -> None:
    """And none that it promises is missing: by every POST, as it is sent here and as it is answered."""
    for make in FRESH:
        path, body, status = make(api)
        operation = operations(spec)[
            re.sub(r"/(bill|brk|card|out|pay)_\w{26}", lambda kind: ID_NAMES[kind[1]], path), "post"
        ]
        assert_fits(spec, operation["requestBody"]["content"]["application/json"]["schema"], body, path)
        answer = api.machine(path).post(path, body)
        assert answer.status_code == status
        content = operation["responses"][str(status)]["content"]["application/json"]["schema"]
        assert_fits(spec, content, answer.get_json(), path)
    for path, body in good_bodies(api).values():
        operation = operations(spec)[
            re.sub(r"/(bill|brk|card|out|pay)_\w{26}", lambda kind: ID_NAMES[kind[1]], path), "post"
        ]
        assert_fits(spec, operation["requestBody"]["content"]["application/json"]["schema"], body, path)


PREFIXES = {
    "payout_id": "out",
    "alarm_id": "alarm",
    "attachment_id": "att",
    "bill_id": "bill",
    "break_id": "brk",
    "card_id": "card",
    "payment_id": "pay",
    "programme_id": "prg",
}
ID_NAMES = {prefix: f"/{{{name}}}" for name, prefix in PREFIXES.items()}


def documented(path: str) -> str:
    """The path as the document has it."""
    return re.sub(r"/(bill|brk|card|out|pay)_\w{26}", lambda kind: ID_NAMES[kind[1]], path)


def assert_fits(spec: dict[str, Any], schema: dict[str, Any], value: Any, where: str) -> None:
    """What this document uses of JSON Schema: types, names, bounds, patterns, choices."""
    schema = resolved(spec, schema)
    if "anyOf" in schema or "oneOf" in schema:
        assert any(fits(spec, choice, value) for choice in schema.get("anyOf") or schema["oneOf"]), (where, value)
        return
    assert "const" not in schema or schema["const"] == value, where
    assert "enum" not in schema or value in schema["enum"], (where, value)
    types = schema.get("type", [])
    kinds = [types] if isinstance(types, str) else types
    assert not kinds or any(is_type(value, kind) for kind in kinds), (where, kinds, value)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        assert set(schema.get("required", [])) <= set(value), (where, value)
        closed = schema.get("additionalProperties") is False or ("properties" in schema and "Out" in where)
        assert not closed or set(value) <= set(known), (where, set(value) - set(known))
        for name, inner in value.items():
            if name in known:
                assert_fits(spec, known[name], inner, f"{where}/{name}")
    elif isinstance(value, list):
        for inner in value:
            assert_fits(spec, schema.get("items", {}), inner, where)
    elif isinstance(value, str):
        assert schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**6), where
        assert "pattern" not in schema or re.fullmatch(schema["pattern"], value), (where, value)
    elif isinstance(value, int) and not isinstance(value, bool):
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value), (where, value)


def fits(spec: dict[str, Any], schema: dict[str, Any], value: Any) -> bool:
    try:
        assert_fits(spec, schema, value, "")
    except AssertionError:
        return False
    return True


def is_type(value: Any, kind: str) -> bool:
    python: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return type(value) is int if kind == "integer" else isinstance(value, python[kind])


# ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Quiet(WSGIRequestHandler):
    """A server that keeps no log of its own."""

    def log(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def url(database: config.Settings) -> Iterator[str]:
    """The service on a loopback port, for a browser."""
    server = make_server("127.0.0.1", 0, create_app(database), threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.browser
def test_the_page_shows_every_operation_without_a_word_to_any_other_host(
    url: str, browser: Browser, spec: dict[str, Any]
) -> None:
    said: list[str] = []
    asked: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            said.append(f"{message.text} {message.location}")

    def see(request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            asked.append(request.url)

    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.on("console", hear)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", see)
    page.goto(f"{url}/docs")
    exchange = page.get_by_role("heading", name="Exchange a code for a payment")
    exchange.wait_for()
    shown = page.inner_text("body")
    picture = page.screenshot(path=PICTURES / "docs.png")
    exchange.scroll_into_view_if_needed()
    page.mouse.wheel(0, 700)
    page.wait_for_timeout(300)
    page.screenshot(path=PICTURES / "docs-exchange.png")
    page.close()
    assert said == []
    assert {urlsplit(one).netloc for one in asked} == {urlsplit(url).netloc}
    for operation in operations(spec).values():
        assert operation["summary"] in shown
    assert len(picture) > 20_000


def test_a_problem_may_carry_facts_of_its_own(spec: dict[str, Any]) -> None:
    """Real ones do, such as `held_until`: a client that validates must not refuse them."""
    assert spec["components"]["schemas"]["Problem"].get("additionalProperties") is not False
