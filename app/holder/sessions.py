"""The short session of a page that has shown a code, and the nonce of a page without JavaScript: signed, not stored."""

from hashlib import sha256

from itsdangerous import BadSignature, Signer, TimestampSigner, URLSafeSerializer, URLSafeTimedSerializer

from app.config import settings
from app.db.time import current_time
from app.errors import LinkNotAccepted
from app.holder.rules import is_secret
from app.ids import LinkId
from app.issuance.rules import PAGE_SESSION
from app.secrecy import random_secret


class SessionOver(LinkNotAccepted):
    """The session of this page is over; open the link again, with its key."""


COOKIE = "scrip_card"
COOKIE_PATH = "/claim"
LIFETIME_S = int(PAGE_SESSION.total_seconds())


class _Stamper(TimestampSigner):
    """Stamps and judges by the database's clock: the machine that signed may not be the one that is asked."""

    def get_timestamp(self) -> int:
        return int(current_time().timestamp())


def sign_session(link_id: LinkId) -> str:
    """The cookie's value for a link that has just shown a code. It says the link's ID, no more."""
    return _sessions().dumps(link_id)


def link_of_session(cookie: str | None) -> str | None:
    """The link of a session that lives; None for anything else."""
    try:
        link_id = _sessions().loads(cookie or "", max_age=LIFETIME_S)
    except BadSignature:  # and its kind: altered, expired, another key
        return None
    return link_id if isinstance(link_id, str) else None


def form_key(cookie: str) -> str:
    """What a form of this session must carry back, so that no other site can send it (against CSRF)."""
    return _form_signer().get_signature(cookie).decode()


def is_form_key(cookie: str, presented: object) -> bool:
    """Whether a form belongs to this session."""
    return isinstance(presented, str) and _form_signer().verify_signature(cookie, presented)


def sign_nonce() -> str:
    """A nonce for a browser without JavaScript, in a form that shows it is ours."""
    return _nonces().dumps(random_secret())


def nonce_of_form(signed: object) -> str | None:
    """The nonce that `sign_nonce` made; None for anything else."""
    try:
        nonce = _nonces().loads(signed if isinstance(signed, str) else "")
    except BadSignature:
        return None
    return nonce if isinstance(nonce, str) and is_secret(nonce) else None


def _keys() -> list[bytes]:
    """Oldest first: itsdangerous signs by the last and accepts all."""
    versions = settings().keys.session.versions
    return [versions[version] for version in sorted(versions)]


def _signing() -> dict[str, object]:
    return {"key_derivation": "hmac", "digest_method": sha256}


def _sessions() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(_keys(), salt="holder-session", signer=_Stamper, signer_kwargs=_signing())


def _nonces() -> URLSafeSerializer:
    return URLSafeSerializer(_keys(), salt="holder-nonce", signer_kwargs=_signing())


def _form_signer() -> Signer:
    return Signer(_keys(), salt="holder-form", key_derivation="hmac", digest_method=sha256)
