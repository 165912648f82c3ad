"""What ties a form to the browser that opened its request: a cookie for each request, and a key in the form."""

from hashlib import sha256

from itsdangerous import Signer

from app.checkout.approval import Browser
from app.checkout.rules import PAGE_FOR
from app.config import settings
from app.oauth.authorization_request import URI_TTL

#: As long as the request itself may live.
COOKIE_S = int((URI_TTL + PAGE_FOR).total_seconds())


def cookie_name(request_uri: str) -> str:
    """One for each request, so that two tabs do not disturb each other. On https no other host can plant it."""
    mark = sha256(request_uri.encode()).hexdigest()[:16]
    return f"scrip_pay_{mark}" if settings().loopback else f"__Host-scrip_pay_{mark}"


def form_key(browser: Browser) -> str:
    """What a form of this request in this browser must carry back, so that no other site can send it (against CSRF)."""
    return _signer().get_signature(_bound_to(browser)).decode()


def is_form_key(browser: Browser, presented: object) -> bool:
    """Whether a form belongs to this request and this browser."""
    return isinstance(presented, str) and _signer().verify_signature(_bound_to(browser), presented)


def _bound_to(browser: Browser) -> str:
    return f"{browser.request_uri} {browser.client_id} {browser.secret}"


def _signer() -> Signer:
    """Oldest key first: itsdangerous signs by the last and accepts all."""
    versions = settings().keys.session.versions
    keys = [versions[version] for version in sorted(versions)]
    return Signer(keys, salt="checkout-form", key_derivation="hmac", digest_method=sha256)
