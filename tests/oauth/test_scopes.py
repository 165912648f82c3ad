"""Which scopes are granted, and for how long."""

import pytest

from app.oauth.scopes import ALL_SCOPES, foreign_scopes, granted_scopes, ttl_s

HELD = ("exchange", "settle", "refund")


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (None, HELD),
        ("settle", ("settle",)),
        ("settle exchange", ("exchange", "settle")),
        ("settle settle", ("settle",)),
        ("exchange settle refund", HELD),
        ("bill", None),
        ("settle bill", None),
        ("issue", None),
        ("settle admin", None),
        ("SETTLE", None),
        ("settle  exchange", None),
        (" settle", None),
        ("settle\texchange", None),
        ("settle,exchange", None),
        ("sëttle", None),
        (" ", None),
    ],
)
def test_a_scope_that_is_not_held_refuses_the_whole_request(asked: str | None, granted: tuple[str, ...] | None) -> None:
    assert granted_scopes(asked, held=HELD) == granted


def test_an_access_token_lives_as_short_as_the_most_dangerous_scope_that_was_named() -> None:
    assert {scope: ttl_s([scope], named=True) for scope in ALL_SCOPES} == {
        "issue": 300,
        "exchange": 300,
        "settle": 300,
        "refund": 120,
        "bill": 300,
        "statement": 300,
        "guard.read": 300,
        "finance.read": 300,
        "finance.work": 300,
        "introspect": 300,
        "client.manage": 300,
    }
    assert ttl_s(["exchange", "settle", "refund"], named=True) == 120
    assert ttl_s(["exchange", "settle"], named=True) == 300
    assert ttl_s(["exchange", "settle", "refund"], named=False) == 300


def test_stores_and_issuers_have_only_the_scopes_in_common_that_concern_the_client_or_its_party() -> None:
    assert foreign_scopes(["guard.read", "introspect", "client.manage"], party_kind="store") == []
    assert foreign_scopes(["guard.read", "introspect", "client.manage"], party_kind="issuer") == []
    assert foreign_scopes(["issue", "settle"], party_kind="store") == ["issue"]
    assert foreign_scopes(["finance.read", "bill"], party_kind="store") == ["finance.read"]
    assert foreign_scopes(["finance.read", "guard.read", "bill"], party_kind="finance") == ["bill", "guard.read"]
    assert foreign_scopes(["issue", "settle"], party_kind="issuer") == ["settle"]
    assert foreign_scopes(["exchange", "settle", "refund", "bill"], party_kind="store") == []
