"""Where shoppers may be sent back to: what an operator may register, and for whom."""

import re
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from app.db.transaction import transaction
from app.errors import InvalidRequest, NotFound
from app.ids import new_id
from app.oauth.clients import add_client, disable_client, replace_redirect_uris
from app.oauth.models import Client as ClientRow
from app.oauth.redirect_uris import check_redirect_uris, origin_of
from app.redemption.store import add_store
from tests.oauth.conftest import Party
from tests.world import rows

GOOD = "https://bookshop.example/paid"


def refused(*uris: str, mode: str = "live", party_kind: str = "store") -> str:
    with pytest.raises(InvalidRequest) as refusal:
        check_redirect_uris(uris, mode=mode, party_kind=party_kind)
    errors: Any = refusal.value.facts["errors"]
    return str(errors[0]["pointer"])


@pytest.mark.parametrize(
    "uri",
    [
        GOOD,
        "https://bookshop.example/",
        "https://bookshop.example:8443/a/b.c/~d?shop=1&lang=en",
        "https://xn--bcher-kva.example/zur%C3%BCck",
        "https://127.0.0.1/paid",
        "https://[2001:db8::1]:444/paid",
    ],
)
def test_a_whole_https_address_is_taken(uri: str) -> None:
    check_redirect_uris([uri], mode="live", party_kind="store")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "x",
        "/paid",
        "//bookshop.example/paid",
        "https:/bookshop.example/paid",
        "https://bookshop.example",
        "https://bookshop.example?x=1",
        "HTTPS://bookshop.example/paid",
        "https://Bookshop.example/paid",
        "http://bookshop.example/paid",
        "ftp://bookshop.example/paid",
        "javascript:alert(1)//",
        "data:text/html,x",
        "com.bookshop.app:/paid",
        "https:///paid",
        "https://sam@bookshop.example/paid",
        "https://sam:pw@bookshop.example/paid",
        "https://bookshop.example\\@evil.example/paid",
        "https://bookshop.example/paid#top",
        "https://bookshop.example/paid#",
        "https://bookshop.example/paid?",
        "https://*.bookshop.example/paid",
        "https://bookshop.example/../paid",
        "https://bookshop.example/a/./paid",
        "https://bookshop.example/a/..",
        "https://bookshop.example/a/%2E%2e/paid",
        "https://bookshop.example/pa id",
        "https://bookshop.example/paid\n",
        "https://bookshop.example/paid\0",
        'https://bookshop.example/"><script>',
        "https://bücher.example/paid",
        "https://bookshop.example/zurück",
        "https://bookshop.example:0/paid",
        "https://bookshop.example:99999/paid",
        "https://bookshop.example:x/paid",
        "https://bookshop.example:/paid",
        "https://[::1/paid",
        "https://[x]/paid",
        "https://bookshop.example/paid?code=1",
        "https://bookshop.example/paid?a=1&state=2",
        "https://bookshop.example/paid?a=1&%69ss=2",
        "https://bookshop.example/paid?error",
        "https://bookshop.example/" + "x" * 500,
    ],
)
def test_anything_else_is_refused(uri: str) -> None:
    for mode in ("live", "test"):
        assert refused(GOOD, uri, mode=mode) == "/redirect_uris/1"


@pytest.mark.parametrize("host", ["127.0.0.1:8081", "localhost", "[::1]:9000", "127.1.2.3"])
def test_http_is_for_this_machine_and_clients_in_mode_test(host: str) -> None:
    check_redirect_uris([f"http://{host}/paid"], mode="test", party_kind="store")
    assert refused(f"http://{host}/paid") == "/redirect_uris/0"


@pytest.mark.parametrize(
    "host", ["127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "10.0.0.1", "2130706433"]
)
def test_what_only_looks_like_this_machine_is_refused(host: str) -> None:
    assert refused(f"http://{host}/paid", mode="test") == "/redirect_uris/0"


def test_ten_are_enough_and_none_stands_twice() -> None:
    ten = [f"{GOOD}/{n}" for n in range(10)]
    check_redirect_uris(ten, mode="live", party_kind="store")
    assert refused(*ten, GOOD) == "/redirect_uris"
    assert refused(GOOD, GOOD) == "/redirect_uris/1"


def test_an_issuers_client_sends_nobody_back(acme: Party) -> None:
    assert refused(GOOD, party_kind="issuer") == "/redirect_uris"
    with pytest.raises(InvalidRequest):
        replace_redirect_uris(acme.client.client_id, [GOOD])
    replace_redirect_uris(acme.client.client_id, [])


def test_they_are_replaced_all_at_once_and_that_is_noted(bookshop: Party) -> None:
    for uris in ([GOOD, "http://127.0.0.1:8081/paid"], [GOOD], []):
        replace_redirect_uris(bookshop.client.client_id, uris)
        [row] = rows("SELECT redirect_uris FROM client WHERE id = :id", id=bookshop.client.client_id)
        assert row.redirect_uris == uris
    events = rows(
        "SELECT facts FROM event WHERE kind = 'client_redirect_uris_replaced' AND facts ->> 'client_id' = :id",
        id=bookshop.client.client_id,
    )
    assert len(events) == 3


def test_a_new_client_may_come_with_them(database: object) -> None:
    store = add_store("Bookshop", mode="live")
    mine = {"name": "x", "mode": "live", "store_id": store.id, "scopes": ["exchange"]}
    made = add_client(**mine, redirect_uris=[GOOD])  # type: ignore[arg-type]
    assert rows("SELECT redirect_uris FROM client WHERE id = :id", id=made.client_id)[0].redirect_uris == [GOOD]
    with pytest.raises(InvalidRequest):
        add_client(**mine, redirect_uris=["http://127.0.0.1/paid"])  # type: ignore[arg-type]


def test_an_unknown_or_disabled_client_gets_none(bookshop: Party) -> None:
    disable_client(bookshop.client.client_id)
    for client_id in (bookshop.client.client_id, new_id("cli"), "x"):
        with pytest.raises(NotFound):
            replace_redirect_uris(client_id, [GOOD])


def test_the_database_itself_gives_none_to_an_issuers_client(acme: Party, bookshop: Party) -> None:
    for client_id, uris in ((acme.client.client_id, [GOOD]), (bookshop.client.client_id, [GOOD] * 11)):
        with pytest.raises(IntegrityError, match="client_redirect_uris_of_store"), transaction() as db:
            db.execute(update(ClientRow).where(ClientRow.id == client_id).values(redirect_uris=uris))


def test_the_origin_is_what_stands_before_the_path() -> None:
    assert origin_of("https://bookshop.example:8443/paid?to=https://x/y") == "https://bookshop.example:8443"
    assert re.fullmatch(r"http://\[::1\]:9000", origin_of("http://[::1]:9000/paid"))
