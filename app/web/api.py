"""The JSON API: its blueprints, its OpenAPI document, and the page that shows it."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Flask, Response, render_template, url_for
from flask_smorest import Api as SmorestApi
from flask_smorest import Blueprint
from marshmallow import INCLUDE, Schema, fields

from app import errors
from app.config import settings
from app.web.arguments import StrictParser
from app.web.converters import IdConverter, document_id
from app.web.idempotency import HEADER
from app.web.problems import HTTP_SLUGS, MEDIA_TYPE, STATUS
from app.web.requests import MAX_BODY_BYTES

VERSION = "1"

View = TypeVar("View", bound=Callable[..., Any])
#: What says who may call: it sets `required_scopes` on the view that it returns.
Guard = Callable[[Callable[..., Any]], Any]


@dataclass(frozen=True, slots=True)
class FileBody:
    """A body that is a file: how large it may be, and its shape for each media type that it may have."""

    most_bytes: int
    shapes: Mapping[str, type[Schema] | dict[str, Any]]


#: An answer that is a file.
FILE: dict[str, Any] = {"type": "string", "format": "binary"}


class ProblemSchema(Schema):
    """Problem details (RFC 9457). Further members are facts of the problem, such as `errors` or `held_until`."""

    type = fields.String(metadata={"example": "urn:scrip:problem:amount-over-hold"})
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    slug = fields.String(metadata={"example": "amount-over-hold"})
    instance = fields.String(metadata={"description": "The request's ID"})
    errors = fields.List(fields.Dict(), metadata={"description": "For shapes: a JSON pointer and a sentence each"})

    class Meta:
        unknown = INCLUDE


class _Converter(OpenAPIConverter):
    """Says of a shape that one of some fields must be given (arguments.Strict), which marshmallow cannot say."""

    def schema2jsonschema(self, schema: Any) -> dict[str, Any]:
        found: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        if names := getattr(schema, "exactly_one", ()):
            found["oneOf"] = [{"required": [name]} for name in names]
        return found


class _Shapes(MarshmallowPlugin):
    Converter = _Converter


class Api(SmorestApi):  # type: ignore[misc]
    """The OpenAPI document from the code. Errors are problems (web/problems.py), so it handles none itself."""

    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        """Nothing here: the app's own handlers answer."""

    def _register_responses(self) -> None:
        """What an operation does not name. The base class would make it plain JSON."""
        content = {MEDIA_TYPE: {"schema": self.ERROR_SCHEMA}}
        meaning = "Any other problem (RFC 9457)"
        self.spec.components.response("DEFAULT_ERROR", {"description": meaning, "content": content}, lazy=True)


class ApiBlueprint(Blueprint):  # type: ignore[misc]
    """A part of the API, with strict arguments and problems as its errors."""

    ARGUMENTS_PARSER = StrictParser()

    def operation(
        self,
        method: str,
        rule: str,
        guard: Guard,
        *,
        answer: type[Schema] | dict[str, Any],
        status: int = 200,
        body: type[Schema] | None = None,
        file: FileBody | None = None,
        query: type[Schema] | None = None,
        also: Mapping[int, str] | None = None,
        refuses: Collection[type[errors.Refusal]] = (),
        tag: str | None = None,
    ) -> Callable[[View], View]:
        """One operation: its guard comes first, then its shape; the OpenAPI document says all of it.

        `answer`: FILE where it is one. `file`: a body that is one, in place of `body`: the view reads it by
        `arguments.body_file`, and the factory allows the path its size. `also`: other good statuses with the same
        answer, and what they mean. `refuses`: the refusals that the verb names, but for those that go with a guard, a
        shape or an identifier in the path, which are added here. `tag`: the part of the API that the operation is shown
        in, where that is not its blueprint's.
        """
        shaped = (*WITH_BODY, *HTTP_WITH_BODY) if method == "POST" else (errors.InvalidRequest,) if query else ()
        named = (errors.NotFound,) if "<id(" in rule else ()
        refused = _document_refusals((*GUARDED, *named, *shaped, *refuses), file)

        def decorate(view: View) -> View:
            kind = "application/octet-stream" if answer is FILE else None
            made = self.response(status, answer, content_type=kind)(view)
            for other, meaning in (also or {}).items():
                made = self.alt_response(other, schema=answer, description=meaning)(made)
            if body is not None:
                made = self.arguments(body())(made)
            if query is not None:
                made = self.arguments(query(), location="query")(made)
            made = guard(made)
            keyed: dict[str, Any] = dict(KEYED) if method == "POST" else {}
            if file is not None:
                content = {kind: {"schema": shape} for kind, shape in file.shapes.items()}
                keyed["requestBody"] = {"required": True, "content": content}
            secured = [{"oauth": [scope]} for scope in made.required_scopes]
            made = self.doc(operationId=view.__name__, security=secured, responses=refused, **keyed)(made)
            return cast(View, self.route(rule, methods=[method], tags=[tag] if tag else None)(made))

        return decorate


def make_api(app: Flask) -> Api:
    """Prepares `/openapi.json` and `/docs`, both served by us; blueprints are registered on what it returns."""
    app.config.update(
        API_TITLE="Scrip",
        API_VERSION=VERSION,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
        API_SPEC_OPTIONS={"info": {"description": _ABOUT}, "servers": [{"url": settings().public_url}]},
        JSON_SORT_KEYS=False,
    )
    api = Api(app, spec_kwargs={"marshmallow_plugin": _Shapes()})
    api.register_converter(IdConverter, document_id)
    flow = {"tokenUrl": "/oauth/token", "scopes": _SCOPES}
    scheme = {"type": "oauth2", "flows": {"clientCredentials": flow}}
    api.spec.components.security_scheme("oauth", scheme)
    app.add_url_rule("/docs", "docs", _show_docs)
    return api


#: Documentation of the header that every POST needs.
KEYED = {
    "parameters": [
        {
            "in": "header",
            "name": HEADER,
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]{1,255}$"},
            "description": "Your own name for this request. Sent again with it, the request is done once.",
        }
    ]
}


#: Any operation that asks for an access token may refuse so,
GUARDED = (
    errors.InvalidAccessToken,
    errors.InvalidDpopProof,
    errors.UseDpopNonce,
    errors.InsufficientScope,
    errors.TryLater,
    errors.Busy,
)
#: and any POST so, besides,
WITH_BODY = (
    errors.MalformedJson,
    errors.IdempotencyKeyMissing,
    errors.IdempotencyKeyInvalid,
    errors.InvalidRequest,
    errors.ReferenceReused,
)
#: by these statuses of HTTP itself too.
HTTP_WITH_BODY = (400, 413, 415)
_HTTP_MEANINGS = {
    400: "The body did not arrive whole.",
    413: f"The body has more than {MAX_BODY_BYTES} bytes.",
    415: "The body is not application/json.",
}


def _document_refusals(refusals: Iterable[type[errors.Refusal] | int], file: FileBody | None = None) -> dict[str, Any]:
    """By status a problem, whose description names each slug that it may have."""
    meanings = dict(_HTTP_MEANINGS)
    if file is not None:
        meanings[413] = f"The body has more than {file.most_bytes} bytes."
        meanings[415] = f"The body is neither {' nor '.join(file.shapes)}."
    lines: dict[int, list[str]] = {}
    for one in dict.fromkeys(refusals):
        if isinstance(one, int):
            lines.setdefault(one, []).append(f"`{HTTP_SLUGS[one]}`: {meanings[one]}")
        else:
            title = (one.__doc__ or "").splitlines()[0]
            lines.setdefault(STATUS[one], []).append(f"`{one.slug}`: {title}")
    content = {MEDIA_TYPE: {"schema": ProblemSchema}}
    return {str(status): {"description": "\n\n".join(lines[status]), "content": content} for status in sorted(lines)}


def _show_docs() -> Response:
    page = Response(render_template("docs.html", spec_url=url_for("api-docs.openapi_json")))
    page.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
        "worker-src blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    return page


_SCOPES = {
    "exchange": "Exchange codes for payments",
    "settle": "Confirm, settle, void and extend payments",
    "refund": "Refund settled payments",
    "bill": "Send bills, and read what became of them",
    "issue": "Issue cards and run programmes",
    "statement": "Read one's own statements, and what stores have billed of one's own cards",
    "guard.read": "Read the alarms that concern one's own party",
    "finance.read": "Read the bills of all stores of one's mode, and their breaks",
    "finance.work": "Work breaks off",
    "introspect": "Ask whether an access token of one's own party is good",
    "client.manage": "Change one's own client's secrets and keys",
}

_ABOUT = f"""
Gift cards that third-party stores take. Money is a whole number of ISO 4217 minor units. Times are RFC 3339 in UTC.
Lists are `items` and `next`, paged by `limit` and `after`. Unknown fields are refused. Every POST needs an
`{HEADER}`; the same request under the same key is done once and answered the same. Errors are `{MEDIA_TYPE}`.
"""
