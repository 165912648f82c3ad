"""Our signing keys in the database and in a process: made, published, signing, retiring."""

import dataclasses
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from sqlalchemy import NullPool, create_engine, func, insert, make_url, select, update

from app import clock, config
from app.config import settings
from app.db.embedded import EmbeddedPostgres
from app.db.engine import engine
from app.db.transaction import transaction
from app.oauth import keys
from app.oauth.key_ring import PUBLISHED_BEFORE, PURPOSES, VERIFIES_AFTER, Purpose, public_jwk
from app.oauth.models import SigningKey
from app.secrecy import CannotUnseal, seal
from tests.oauth.conftest import segments

#: More than this machine may take over a test.
A_WHILE = timedelta(minutes=2)


@pytest.fixture(scope="module", autouse=True)
def keys_database(database: config.Settings, server: EmbeddedPostgres) -> Iterator[None]:
    """These tests throw keys away that other tests' servers sign with, so they do it in a database of their own."""
    admin = create_engine(server.admin_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE scrip_keys TEMPLATE scrip_template")
    url = make_url(database.database_url).set(database="scrip_keys").render_as_string(hide_password=False)
    config.use(dataclasses.replace(database, database_url=url, database_pool_size=10))
    yield
    engine().dispose()
    config.use(database)


@pytest.fixture(autouse=True)
def fresh_keys() -> None:
    """Each test starts with keys that no test before it has moved."""
    keys.rotate_signing(compromised=True)


def kids(state: str, purpose: Purpose = "access") -> list[str]:
    with transaction() as db:
        found = select(SigningKey.kid).where(SigningKey.state == state, SigningKey.purpose == purpose)
        return list(db.scalars(found))


def signer(purpose: Purpose = "access") -> str:
    kid: str = segments(keys.sign(purpose, {}, typ="at+jwt"))[0]["kid"]
    return kid


def published() -> set[object]:
    return {key["kid"] for key in keys.jwks()["keys"]}


def retire_everything() -> None:
    with transaction() as db:
        now = clock.now(db)
        db.execute(
            update(SigningKey)
            .where(SigningKey.state != "retired")
            .values(state="retired", private_sealed=None, retires_at=now, retired_at=now)
        )
    keys.forget_keys()


def test_each_purpose_has_a_key_that_signs_and_one_that_follows_it() -> None:
    retire_everything()
    keys.ensure_keys()
    for purpose in PURPOSES:
        assert (len(kids("active", purpose)), len(kids("next", purpose))) == (1, 1)
        assert [signer(purpose)] == kids("active", purpose)
    assert published() == {kid for purpose in PURPOSES for state in ("active", "next") for kid in kids(state, purpose)}


def test_keys_that_exist_are_left_alone() -> None:
    before = published()
    keys.ensure_keys()
    assert published() == before


def test_a_process_that_finds_no_keys_makes_them() -> None:
    retire_everything()
    assert [signer()] == kids("active")


def test_processes_that_start_at_once_make_one_pair_of_keys() -> None:
    retire_everything()
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(keys.ensure_keys) for _ in range(8)]:
            done.result()
    assert (len(kids("active")), len(kids("next"))) == (1, 1)


def test_one_named_key_signs_and_not_a_random_one() -> None:
    """Authlib and joserfc, given a key set, pick one by chance."""
    assert {signer() for _ in range(40)} == set(kids("active"))
    chance = KeySet([ECKey.generate_key("P-256") for _ in range(4)])
    picked = {segments(jwt.encode({"alg": "ES256"}, {}, chance))[0]["kid"] for _ in range(40)}
    assert len(picked) > 1, "joserfc became predictable: this test may go"


def test_what_we_sign_is_verified_by_what_we_publish() -> None:
    text = keys.sign("balance", {"balance_minor": 3000}, typ="scrip-balance+jwt")
    found = jwt.decode(text, KeySet.import_key_set(keys.jwks()), algorithms=["ES256"])  # type: ignore[arg-type]
    assert (found.header["typ"], found.claims) == ("scrip-balance+jwt", {"balance_minor": 3000})


def test_a_key_id_is_the_thumbprint_of_its_key() -> None:
    for key in keys.jwks()["keys"]:
        assert ECKey.import_key({name: str(key[name]) for name in ("kty", "crv", "x", "y")}).thumbprint() == key["kid"]


def test_a_key_is_published_for_long_enough_before_it_signs() -> None:
    """Rotating at once is no mistake: the next key takes over when every cache of our JWKS can know it."""
    (old,), (coming,) = kids("active"), kids("next")
    assert coming in published()
    rotation = next(each for each in keys.rotate_signing("access") if each.purpose == "access")
    assert rotation.kid == coming
    assert signer() == old
    with clock.ahead(PUBLISHED_BEFORE - A_WHILE):
        assert signer() == old
    with clock.ahead(PUBLISHED_BEFORE + A_WHILE):
        assert signer() == coming


def test_a_key_that_was_published_long_ago_signs_at_once() -> None:
    (coming,) = kids("next")
    with clock.ahead(PUBLISHED_BEFORE + A_WHILE):
        keys.rotate_signing()
        assert signer() == coming


def test_a_rotation_says_what_an_operator_wants_to_know() -> None:
    (coming,) = kids("next")
    (told,) = map(str, keys.rotate_signing("access"))
    assert told.startswith(f"access: key {coming} signs from 20")


def test_rotating_one_purpose_leaves_the_other_alone() -> None:
    before = kids("active", "balance"), kids("next", "balance")
    keys.rotate_signing("access")
    assert (kids("active", "balance"), kids("next", "balance")) == before


def test_rotating_publishes_another_key_to_follow() -> None:
    (old,), (coming,) = kids("active"), kids("next")
    keys.rotate_signing()
    (after,) = kids("next")
    assert {old, coming, after} <= published()
    assert kids("active") == [coming]
    assert old in kids("retiring")


def test_rotating_twice_at_once_skips_no_key() -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(keys.rotate_signing, "access") for _ in range(4)]:
            done.result()
    assert (len(kids("active")), len(kids("next")), len(kids("retiring"))) == (1, 1, 4)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_an_old_key_verifies_until_what_it_signed_is_over_and_is_then_erased(purpose: Purpose) -> None:
    (old,) = kids("active", purpose)
    keys.rotate_signing(purpose)
    end = PUBLISHED_BEFORE + VERIFIES_AFTER[purpose]
    with clock.ahead(end - A_WHILE):
        assert keys.public_key(old, purpose=purpose) is not None
        assert old in published()
    with clock.ahead(end + A_WHILE):
        assert keys.public_key(old, purpose=purpose) is None
        assert old not in published()
        keys.ensure_keys()
    with transaction() as db:
        row = db.execute(select(SigningKey.state, SigningKey.private_sealed).where(SigningKey.kid == old)).one()
    assert tuple(row) == ("retired", None)


def test_a_compromised_key_ends_at_once_and_so_does_the_one_in_waiting() -> None:
    (old,), (coming,) = kids("active"), kids("next")
    keys.rotate_signing("access", compromised=True)
    assert keys.public_key(old) is None
    assert published().isdisjoint({old, coming})
    assert [signer()] == kids("active")
    with transaction() as db:
        left = select(func.count()).where(SigningKey.kid.in_([old, coming]), SigningKey.private_sealed.is_not(None))
        assert db.scalar(left) == 0


def test_a_key_of_one_purpose_verifies_nothing_of_the_other() -> None:
    (access,), (balance,) = kids("active", "access"), kids("active", "balance")
    assert keys.public_key(access) is not None
    assert keys.public_key(balance) is None
    assert keys.public_key(balance, purpose="balance") is not None


def test_an_unknown_key_id_is_looked_up_but_garbage_costs_no_query_each(statements: list[str]) -> None:
    keys.public_key("unknown")
    before = len(statements)
    for place in range(200):
        assert keys.public_key(f"garbage-{place}") is None
    assert len(statements) == before


def test_a_key_that_another_process_made_is_found_before_the_next_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a key was replaced for being compromised, nobody waits half a minute for the new one to be believed."""
    keys.jwks()
    remembered = keys._remembered._memory
    keys.rotate_signing("access", compromised=True)
    keys._remembered._memory = remembered
    (new,) = kids("active")
    assert keys.public_key(new) is None
    monkeypatch.setattr(keys, "REREAD_AT_MOST_EVERY_S", 0)
    assert keys.public_key(new) is not None


def test_the_keys_are_read_again_every_half_a_minute(monkeypatch: pytest.MonkeyPatch, statements: list[str]) -> None:
    keys.jwks()
    before = len(statements)
    started = time.monotonic()
    monkeypatch.setattr("app.oauth.remembered.monotonic", lambda: started + 25)
    keys.jwks()
    assert len(statements) == before
    monkeypatch.setattr("app.oauth.remembered.monotonic", lambda: started + 31)
    keys.jwks()
    assert len(statements) > before


def test_private_halves_are_in_no_column_in_clear() -> None:
    sealing = settings().keys.sealing
    with transaction() as db:
        rows = db.execute(select(SigningKey.kid, SigningKey.public_jwk, SigningKey.private_sealed)).all()
    pairs = {key.kid: key.pair for key in keys._read_keys()}
    for row in rows:
        assert set(row.public_jwk) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        if row.private_sealed is not None:
            private = pairs[row.kid].as_dict(private=True)
            assert str(private["d"]).encode() not in row.private_sealed
            assert row.private_sealed[0] == sealing.newest


def test_a_key_planted_in_the_table_is_not_believed() -> None:
    """Whoever can write to the table, but has not our sealing key, cannot make access tokens."""
    pair = ECKey.generate_key("P-256")
    kid = pair.thumbprint()
    (active,) = kids("active")
    with transaction() as db:
        db.execute(
            update(SigningKey)
            .where(SigningKey.kid == active)
            .values(state="retiring", retires_at=clock.now(db) + timedelta(days=1))
        )
        db.execute(
            insert(SigningKey).values(
                kid=kid,
                purpose="access",
                state="active",
                public_jwk=public_jwk(pair, kid=kid),
                private_sealed=select(SigningKey.private_sealed).where(SigningKey.kid == active).scalar_subquery(),
                created_at=clock.now(db),
                activated_at=clock.now(db),
            )
        )
    keys.forget_keys()
    try:
        with pytest.raises(CannotUnseal):
            keys.public_key(kid)
    finally:
        retire_everything()


def test_a_key_moved_to_another_purpose_is_not_believed(server: EmbeddedPostgres) -> None:
    """What signs balances, on many more machines one day, must not come to sign access tokens."""
    admin = create_engine(make_url(server.admin_url).set(database="scrip_keys"), poolclass=NullPool)
    (waiting,) = kids("next", "balance")
    with admin.begin() as db:
        db.execute(
            update(SigningKey)
            .where(SigningKey.kid == waiting)
            .values(purpose="access", state="retiring", activated_at=clock.now(db), retires_at=clock.now(db) + A_WHILE)
        )
    keys.forget_keys()
    try:
        with pytest.raises(CannotUnseal):
            keys.public_key(waiting)
    finally:
        retire_everything()


def test_a_key_under_anothers_name_is_not_believed() -> None:
    (waiting,) = kids("next")
    other = ECKey.generate_key("P-256")
    private = json.dumps(other.as_dict(private=True)).encode()
    sealed = seal(settings().keys.sealing, private, bound_to=keys._binding(waiting, "access"))
    with transaction() as db:
        db.execute(update(SigningKey).where(SigningKey.kid == waiting).values(private_sealed=sealed))
    keys.forget_keys()
    try:
        with pytest.raises(CannotUnseal):
            keys.jwks()
    finally:
        retire_everything()
