"""Our signing keys: made, published, signing, retiring; sealed in the database, remembered by each process."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from joserfc import jwt
from joserfc.jwk import ECKey
from sqlalchemy import Connection, Row, insert, select, update

from app import clock
from app.config import settings
from app.db.time import current_time
from app.db.together import together
from app.db.transaction import transaction
from app.events.event import event_of
from app.oauth.key_ring import (
    ALGORITHM,
    PUBLISHED_BEFORE,
    PURPOSES,
    REFRESH_EVERY_S,
    VERIFIES_AFTER,
    Purpose,
    Ring,
    RingKey,
    public_jwk,
)
from app.oauth.models import SigningKey
from app.oauth.remembered import Remembered
from app.secrecy import CannotUnseal, seal, unseal

#: An unknown `kid` makes a process read the keys again, but not more often than this: garbage is cheap to send.
REREAD_AT_MOST_EVERY_S = 5
#: The number of the advisory lock under which keys are made and moved.
KEYS_LOCK = 0x5C219


@dataclass(frozen=True, slots=True)
class Rotation:
    """A key took over: `kid` signs from `signs_from` on, the one before it until then."""

    purpose: Purpose
    kid: str
    signs_from: datetime

    def __str__(self) -> str:
        return f"{self.purpose}: key {self.kid} signs from {self.signs_from:%Y-%m-%d %H:%M:%S} UTC"


def sign(purpose: Purpose, claims: Mapping[str, object], *, typ: str) -> str:
    """A JWT over the claims by the one key whose turn it is, named in the header.

    May read the database: call it outside a transaction. Raises Busy.
    """
    key = _ring().signer(purpose, current_time())
    header = {"alg": ALGORITHM, "typ": typ, "kid": key.kid}
    return jwt.encode(header, dict(claims), key.pair, algorithms=[ALGORITHM])


def jwks() -> dict[str, list[dict[str, object]]]:
    """The JWK Set (RFC 7517, section 5) of every key that verifies now or will soon. Raises Busy."""
    return {"keys": [key.public_jwk() for key in _ring().published(current_time())]}


def public_key(kid: str, *, purpose: Purpose = "access") -> ECKey | None:
    """The key that verifies what `kid` signed; a key of another purpose does not. Raises Busy."""
    known = _ring().verifier(kid, purpose, current_time())
    return known or _ring(max_age_s=REREAD_AT_MOST_EVERY_S).verifier(kid, purpose, current_time())


def ensure_keys() -> None:
    """Makes what is missing: for each purpose one key that signs and one, already published, to follow. Raises Busy."""
    with transaction() as db:
        now = _lock_keys(db)
        _retire_due(db, now)
        states = db.execute(select(SigningKey.purpose, SigningKey.state)).all()
        for purpose in PURPOSES:
            if (purpose, "active") not in states:
                _make_key(db, purpose, now, signs_from=now)
            if (purpose, "next") not in states:
                _make_key(db, purpose, now)
    forget_keys()


def rotate_signing(purpose: Purpose | None = None, *, compromised: bool = False) -> list[Rotation]:
    """Lets the next key take over (of every purpose, unless one is named) and publishes another to follow it.

    A key that is not yet published for PUBLISHED_BEFORE starts to sign when it is; until then the one before it signs.
    The old key verifies for as long as what it signed lives.

    `compromised`: no key of the purpose is trusted any more, the one in waiting neither. Everything they signed is
    refused from now on (by other processes within REFRESH_EVERY_S), and a fresh key signs at once.
    Raises Busy.
    """
    with transaction() as db:
        now = _lock_keys(db)
        _retire_due(db, now)
        rotate = _replace if compromised else _promote
        rotations = [rotate(db, each, now) for each in PURPOSES if purpose in (None, each)]
        facts = {str(each.purpose): each.kid for each in rotations}
        if compromised:
            together(db, event_of("signing_keys_replaced", at=now, facts=facts))
        else:
            together(db, event_of("signing_keys_rotated", at=now, facts=facts))
    forget_keys()
    return rotations


# ── what a process remembers ────────────────────────────────────────────────────────────────────────────────────────


def forget_keys() -> None:
    """Makes this process read the keys again when it needs one."""
    _remembered.forget()


def _ring(*, max_age_s: float = REFRESH_EVERY_S) -> Ring:
    return _remembered.get(max_age_s=max_age_s)


# ── in the database ─────────────────────────────────────────────────────────────────────────────────────────────────


def _read_or_make_keys() -> Ring:
    keys = _read_keys()
    if {key.purpose for key in keys if key.signs_from is not None} != set(PURPOSES):
        ensure_keys()
        keys = _read_keys()
    return Ring(keys)


_remembered = Remembered(_read_or_make_keys)


def _read_keys() -> list[RingKey]:
    columns = (
        SigningKey.kid,
        SigningKey.purpose,
        SigningKey.private_sealed,
        SigningKey.activated_at,
        SigningKey.retires_at,
    )
    with transaction() as db:
        rows = db.execute(
            select(*columns).where(SigningKey.state != "retired").order_by(SigningKey.created_at, SigningKey.kid)
        ).all()
    return [_opened(row) for row in rows]


def _opened(row: Row[str, str, bytes | None, datetime | None, datetime | None]) -> RingKey:
    """The pair comes from the sealed half only: whoever can write to the table cannot plant a key of his own."""
    purpose = next(each for each in PURPOSES if each == row.purpose)
    private = unseal(settings().keys.sealing, row.private_sealed or b"", bound_to=_binding(row.kid, purpose))
    pair = ECKey.import_key(json.loads(private))
    if pair.thumbprint() != row.kid:
        raise CannotUnseal("the key is not the one that its name says")
    return RingKey(row.kid, purpose, pair, row.activated_at, row.retires_at)


def _binding(kid: str, purpose: Purpose) -> str:
    return f"signing_key {purpose} {kid}"


def _lock_keys(db: Connection) -> datetime:
    """One process at a time makes or moves keys. Returns the time, read after waiting."""
    db.exec_driver_sql(f"SELECT pg_advisory_xact_lock({KEYS_LOCK})")
    return clock.now(db)


def _make_key(db: Connection, purpose: Purpose, now: datetime, *, signs_from: datetime | None = None) -> str:
    pair = ECKey.generate_key("P-256")
    kid = pair.thumbprint()
    private = json.dumps(pair.as_dict(private=True)).encode()
    db.execute(
        insert(SigningKey).values(
            kid=kid,
            purpose=purpose,
            state="active" if signs_from else "next",
            public_jwk=public_jwk(pair, kid=kid),
            private_sealed=seal(settings().keys.sealing, private, bound_to=_binding(kid, purpose)),
            created_at=now,
            activated_at=signs_from,
        )
    )
    return kid


def _promote(db: Connection, purpose: Purpose, now: datetime) -> Rotation:
    coming = _find_next(db, purpose) or _make_key(db, purpose, now)
    created_at = db.scalars(select(SigningKey.created_at).where(SigningKey.kid == coming)).one()
    signs_from = max(now, created_at + PUBLISHED_BEFORE)
    db.execute(
        update(SigningKey)
        .where(SigningKey.purpose == purpose, SigningKey.state == "active")
        .values(state="retiring", retires_at=signs_from + VERIFIES_AFTER[purpose])
    )
    db.execute(update(SigningKey).where(SigningKey.kid == coming).values(state="active", activated_at=signs_from))
    _make_key(db, purpose, now)
    return Rotation(purpose, coming, signs_from)


def _find_next(db: Connection, purpose: Purpose) -> str | None:
    return db.scalars(
        select(SigningKey.kid).where(SigningKey.purpose == purpose, SigningKey.state == "next")
    ).one_or_none()


def _replace(db: Connection, purpose: Purpose, now: datetime) -> Rotation:
    db.execute(
        update(SigningKey)
        .where(SigningKey.purpose == purpose, SigningKey.state != "retired")
        .values(state="retired", private_sealed=None, retires_at=now, retired_at=now)
    )
    kid = _make_key(db, purpose, now, signs_from=now)
    _make_key(db, purpose, now)
    return Rotation(purpose, kid, now)


def _retire_due(db: Connection, now: datetime) -> None:
    """A key whose time is over verifies nothing already; here its private half is erased."""
    db.execute(
        update(SigningKey)
        .where(SigningKey.state == "retiring", SigningKey.retires_at <= now)
        .values(state="retired", private_sealed=None, retired_at=now)
    )
