"""OAuth clients: their parties, scopes and secrets."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError

from app import clock
from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound
from app.ids import new_id
from app.oauth.client_secrets import rotate_secret
from app.oauth.clients import (
    Client,
    NewClient,
    add_client,
    authenticate_client,
    disable_client,
    list_clients,
)
from app.oauth.models import Client as ClientRow
from app.oauth.models import ClientSecret
from app.oauth.scopes import PARTY_SCOPES
from app.redemption.store import add_store
from tests.oauth.conftest import STORE_SCOPES, Party


def listed(client_id: str) -> Client:
    return next(each for each in list_clients() if each.client_id == client_id)


def is_accepted(credentials: NewClient) -> bool:
    return authenticate_client(credentials.client_id, credentials.client_secret) is not None


def test_a_client_acts_for_one_store_in_its_mode(bookshop: Party) -> None:
    found = authenticate_client(bookshop.client.client_id, bookshop.client.client_secret)
    assert found is not None
    assert (found.party_kind, found.party_id, found.mode) == ("store", bookshop.id, "test")
    assert found.scopes == STORE_SCOPES


def test_a_client_acts_for_one_issuer_in_its_mode(acme: Party) -> None:
    found = authenticate_client(acme.client.client_id, acme.client.client_secret)
    assert found is not None
    assert (found.party_kind, found.party_id, found.scopes) == ("issuer", acme.id, ("issue",))


def test_a_secret_has_256_random_bits_behind_a_prefix_that_scanners_can_know(bookshop: Party) -> None:
    assert re.fullmatch(r"scrip_test_[A-Za-z0-9_-]{43}", bookshop.client.client_secret)
    assert re.fullmatch(r"cli_[0-9a-z]{26}", bookshop.client.client_id)


def test_only_the_sha_256_of_a_secret_is_kept(bookshop: Party) -> None:
    with transaction() as db:
        row = db.execute(
            select(ClientSecret.__table__).where(ClientSecret.client_id == bookshop.client.client_id)
        ).one()
    assert row.secret_hash == hashlib.sha256(bookshop.client.client_secret.encode()).digest()
    assert bookshop.client.client_secret not in str(row)


def test_the_repr_of_credentials_shows_no_secret(bookshop: Party) -> None:
    assert bookshop.client.client_secret not in repr(bookshop.client)


@pytest.mark.parametrize("scopes", [["issue"], ["settle", "issue"], ["settle", "admin"], []])
def test_a_stores_client_gets_no_other_scopes(bookshop: Party, scopes: list[str]) -> None:
    with pytest.raises(InvalidRequest):
        add_client(name="x", mode="test", store_id=bookshop.id, scopes=scopes)


def test_an_issuers_client_gets_no_store_scope(acme: Party) -> None:
    with pytest.raises(InvalidRequest, match="settle"):
        add_client(name="x", mode="test", issuer_id=acme.id, scopes=["issue", "settle"])


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "two\nlines"])
def test_a_client_needs_a_name_that_can_be_shown(bookshop: Party, name: str) -> None:
    with pytest.raises(InvalidRequest):
        add_client(name=name, mode="test", store_id=bookshop.id, scopes=["settle"])


def test_a_client_belongs_to_exactly_one_party(bookshop: Party, acme: Party) -> None:
    with pytest.raises(ValueError, match="one issuer or one store, or to finance"):
        add_client(name="x", mode="test", scopes=["settle"])
    with pytest.raises(ValueError, match="one issuer or one store, or to finance"):
        add_client(name="x", mode="test", store_id=bookshop.id, issuer_id=acme.id, scopes=["settle"])
    with pytest.raises(ValueError, match="one issuer or one store, or to finance"):
        add_client(name="x", mode="test", store_id=bookshop.id, finance=True, scopes=["finance.read"])


def test_a_client_of_finance_acts_for_one_mode(database: object) -> None:
    for mode in ("live", "test"):
        made = add_client(name="finance", mode=mode, finance=True, scopes=PARTY_SCOPES["finance"])
        found = authenticate_client(made.client_id, made.client_secret)
        assert found is not None
        assert (found.party_kind, found.party_id, found.mode) == ("finance", f"finance_{mode}", mode)
        assert listed(made.client_id).party_id == f"finance_{mode}"
    for foreign in ("bill", "issue", "guard.read"):
        with pytest.raises(InvalidRequest, match=foreign):
            add_client(name="x", mode="test", finance=True, scopes=["finance.read", foreign])
    with pytest.raises(InvalidRequest, match=r"finance\.work"):
        add_client(name="x", mode="test", store_id=add_store("Shop", mode="test").id, scopes=["finance.work"])
    with pytest.raises(InvalidRequest):
        add_client(name="x", mode="both", finance=True, scopes=["finance.read"])


def test_test_and_live_never_mix(bookshop: Party) -> None:
    """The composite foreign key refuses a live client of a test store; there is nothing to forget in Python."""
    with pytest.raises(NotFound):
        add_client(name="x", mode="live", store_id=bookshop.id, scopes=["settle"])
    with pytest.raises(NotFound):
        add_client(name="x", mode="test", store_id=new_id("str"), scopes=["settle"])
    with pytest.raises(InvalidRequest):
        add_client(name="x", mode="Test", store_id=bookshop.id, scopes=["settle"])


@pytest.mark.parametrize(
    ("constraint", "wrong"),
    [
        ("client_of_one_party", {"store_id": None}),
        ("client_of_one_party", {"finance": True}),
        ("client_scopes_of_party", {"scopes": ["issue"]}),
        ("client_scopes_of_party", {"scopes": ["finance.read"]}),
        ("client_scopes_of_party", {"scopes": ["guard.read"], "finance": True, "store_id": None}),
        ("client_scopes_of_party", {"scopes": []}),
        ("client_mode_known", {"mode": "both"}),
        ("client_store_id_mode_fkey", {"mode": "live"}),
        ("client_name_filled", {"name": ""}),
    ],
)
def test_the_database_refuses_what_the_code_might_let_through(
    bookshop: Party, constraint: str, wrong: dict[str, object]
) -> None:
    good = {"id": new_id("cli"), "name": "x", "mode": "test", "store_id": bookshop.id, "scopes": ["settle"]}
    with pytest.raises(IntegrityError, match=constraint), transaction() as db:
        db.execute(insert(ClientRow).values(**{**good, **wrong}, created_at=clock.now(db)))


def test_a_rotated_secret_works_beside_the_one_before(bookshop: Party) -> None:
    second = rotate_secret(bookshop.client.client_id)
    assert second.client_secret != bookshop.client.client_secret
    assert is_accepted(second)
    assert is_accepted(bookshop.client)


def test_of_three_secrets_the_oldest_is_retired(bookshop: Party) -> None:
    secrets = [bookshop.client, *(rotate_secret(bookshop.client.client_id) for _ in range(4))]
    assert [is_accepted(each) for each in secrets] == [False, False, False, True, True]


def test_rotations_at_once_leave_two_live_secrets(bookshop: Party) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = list(pool.map(rotate_secret, [bookshop.client.client_id] * 8))
    assert sum(is_accepted(each) for each in [bookshop.client, *secrets]) == 2


def test_the_database_refuses_a_third_live_secret(bookshop: Party) -> None:
    rotate_secret(bookshop.client.client_id)
    for slot in (1, 2, 3):
        with pytest.raises(IntegrityError, match=r"client_secret_(two_live|slot_known)"), transaction() as db:
            db.execute(
                insert(ClientSecret).values(
                    id=new_id("sec"),
                    client_id=bookshop.client.client_id,
                    slot=slot,
                    secret_hash=hashlib.sha256(bytes([slot])).digest(),
                    created_at=clock.now(db),
                )
            )


def test_a_disabled_client_gets_in_with_none_of_its_secrets(bookshop: Party) -> None:
    second = rotate_secret(bookshop.client.client_id)
    disable_client(bookshop.client.client_id)
    assert not is_accepted(bookshop.client)
    assert not is_accepted(second)
    with pytest.raises(NotFound):
        rotate_secret(bookshop.client.client_id)


def test_disabling_again_keeps_the_first_time(bookshop: Party) -> None:
    disable_client(bookshop.client.client_id)
    before = listed(bookshop.client.client_id).disabled_at
    disable_client(bookshop.client.client_id)
    assert before is not None
    assert listed(bookshop.client.client_id).disabled_at == before


@pytest.mark.parametrize("unknown", ["cli_01hzzzzzzzzzzzzzzzzzzzzzzz", "nonsense", "", "cli_\0"])
def test_an_unknown_client_can_be_neither_rotated_nor_disabled(database: object, unknown: str) -> None:
    with pytest.raises(NotFound):
        rotate_secret(unknown)
    with pytest.raises(NotFound):
        disable_client(unknown)


def test_another_clients_secret_is_not_accepted(bookshop: Party, acme: Party) -> None:
    assert authenticate_client(bookshop.client.client_id, acme.client.client_secret) is None


def test_unknown_client_and_wrong_secret_cost_the_same_work(bookshop: Party, statements: list[str]) -> None:
    """The same statements with as many parameters; nothing slow that only one of the two does."""

    def cost(client_id: str, client_secret: str) -> list[str]:
        statements.clear()
        assert authenticate_client(client_id, client_secret) is None
        return list(statements)

    retired = bookshop.client.client_secret
    for _ in range(2):
        rotate_secret(bookshop.client.client_id)
    wrong = cost(bookshop.client.client_id, "scrip_test_" + "x" * 43)
    assert len(wrong) == 1
    assert wrong == cost(new_id("cli"), "scrip_test_" + "x" * 43)
    assert wrong == cost(bookshop.client.client_id, retired)
    disable_client(bookshop.client.client_id)
    assert wrong == cost(bookshop.client.client_id, retired)


def test_the_last_use_is_noted_but_not_more_than_once_a_minute(bookshop: Party, statements: list[str]) -> None:
    assert listed(bookshop.client.client_id).last_used_at is None
    assert is_accepted(bookshop.client)
    first = listed(bookshop.client.client_id).last_used_at
    assert first is not None
    statements.clear()
    for _ in range(5):
        assert is_accepted(bookshop.client)
    assert not [each for each in statements if each.startswith("UPDATE")]
    with clock.ahead(timedelta(seconds=61)):
        assert is_accepted(bookshop.client)
    later = listed(bookshop.client.client_id).last_used_at
    assert later is not None
    assert later - first > timedelta(seconds=60)


def test_many_uses_at_once_neither_wait_for_each_other_nor_fail(bookshop: Party) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(is_accepted, [bookshop.client] * 40))


def test_the_list_shows_what_an_operator_needs_and_no_secret(bookshop: Party, acme: Party) -> None:
    store, issuer = listed(bookshop.client.client_id), listed(acme.client.client_id)
    assert (store.name, store.party_kind, store.party_id, store.disabled_at) == ("checkout", "store", bookshop.id, None)
    assert (issuer.name, issuer.party_kind, issuer.party_id) == ("shop", "issuer", acme.id)
    assert bookshop.client.client_secret not in repr(store)


def test_a_secret_is_used_up_by_its_own_client_only(bookshop: Party) -> None:
    """The hash is unique over all clients: one secret can never open two."""
    with pytest.raises(IntegrityError, match="client_secret_secret_hash_key"), transaction() as db:
        db.execute(
            insert(ClientSecret).values(
                id=new_id("sec"),
                client_id=bookshop.client.client_id,
                slot=2,
                secret_hash=hashlib.sha256(bookshop.client.client_secret.encode()).digest(),
                created_at=clock.now(db),
            )
        )
    with transaction() as db:
        live = select(func.count()).where(
            ClientSecret.client_id == bookshop.client.client_id, ClientSecret.retired_at.is_(None)
        )
        assert db.scalar(live) == 1
