"""What the endpoints share at which a client authenticates: the form in the body, and errors as RFC 6749 words them."""

from collections.abc import Callable, Collection
from urllib.parse import parse_qsl

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError
from flask import Response, jsonify, request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from app import metrics
from app.errors import Busy, InvalidDpopProof, TryLater, UseDpopNonce
from app.web.problems import status_of

FORM = "application/x-www-form-urlencoded"
MAX_BODY_BYTES = 8192
MAX_PARAMETERS = 32
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def answered(make: Callable[[], Response]) -> Response:
    """What `make` returns, or the error that it raises (RFC 6749, section 5.2)."""
    try:
        return make()
    except OAuth2Error as error:
        status, body, headers = error()
        metrics.count_refusal(error.error)
        answer = jsonify(dict(body))
        answer.status_code = status
        answer.headers.update(headers)
    except (InvalidDpopProof, UseDpopNonce) as error:  # RFC 9449, sections 5 and 8
        metrics.count_refusal(error.slug)
        answer = jsonify(error=error.slug.replace("-", "_"), error_description=error.detail)
        answer.status_code = 400
        answer.headers.update(NO_STORE)
    except (Busy, TryLater) as error:
        answer = answer_later(error)
    return answer


def answer_later(refusal: Busy | TryLater) -> Response:
    """RFC 6749 has a word for a server that cannot answer now, and none for a client that asks too often."""
    metrics.count_refusal(refusal.slug)
    answer = jsonify(error="temporarily_unavailable", error_description=refusal.detail)
    answer.status_code = status_of(refusal)
    answer.headers.update({**NO_STORE, "Retry-After": str(refusal.retry_after_s)})
    return answer


def read_form(required: str, *, json_in: Collection[str] = ()) -> dict[str, str]:
    """The body's parameters; an empty one counts as omitted (RFC 6749, section 3.2).

    In those named by `json_in` any character may stand: whoever reads the JSON judges what is in it.

    Raises InvalidRequestError: anything in the query string (it would stand in access logs), another content type, a
    body that is too long or no text, a parameter given twice, or none of the `required` name.
    """
    if request.query_string:
        raise InvalidRequestError("Parameters belong into the body, never into the URL.")
    if request.mimetype != FORM:
        raise InvalidRequestError(f"The body must be {FORM}.")
    pairs = _pairs(_body())
    if len({name for name, _ in pairs}) != len(pairs):
        raise InvalidRequestError("A parameter is given twice.")
    if not all(name.isprintable() and (name in json_in or value.isprintable()) for name, value in pairs):
        raise InvalidRequestError("A parameter has characters that do not belong there.")
    parameters = {name: value for name, value in pairs if value}
    if required not in parameters:
        raise InvalidRequestError(f"The parameter {required} is missing.")
    return parameters


def _body() -> bytes:
    """One byte more than is allowed is asked for: of a chunked body, werkzeug silently leaves off what is too much."""
    request.max_content_length = MAX_BODY_BYTES + 1
    try:
        body = request.get_data(cache=False)
    except (RequestEntityTooLarge, ClientDisconnected) as error:
        raise InvalidRequestError("The body is too long, or did not arrive whole.") from error
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequestError("The body is too long.")
    return body


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError as error:
        raise InvalidRequestError("The body is not a form in UTF-8, or has too many parameters.") from error
