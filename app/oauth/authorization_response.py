"""The answer of the authorization endpoint: the shopper goes back to the store, with `code` or `error`, and `iss`."""

from urllib.parse import urlencode

from app.config import settings

PATH = "/oauth/authorize"
ACCESS_DENIED = "access_denied"


def answer_uri(redirect_uri: str, *, state: str | None, code: str | None = None, error: str | None = None) -> str:
    """The registered address with the answer in its query (RFC 6749, section 4.1.2; `iss` by RFC 9207)."""
    answer = {"code": code, "error": error, "state": state, "iss": settings().public_url}
    joined = "&" if "?" in redirect_uri else "?"
    return redirect_uri + joined + urlencode({name: value for name, value in answer.items() if value is not None})
