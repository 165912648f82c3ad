"""Origins of stores' pages are exact, spelt as browsers spell them, and never more than a header can bear."""

import pytest

from app.errors import InvalidRequest, NotFound
from app.ids import new_id
from app.redemption.origin import read_origins
from app.redemption.store import add_store, find_store, set_origins
from tests.api import nothing_changes
from tests.world import rows


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("https://shop.example", "https://shop.example"),
        ("https://shop.example/", "https://shop.example"),
        (" HTTPS://Shop.Example ", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("https://shop.example:8443", "https://shop.example:8443"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://localhost", "https://localhost"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
    ],
)
def test_an_origin_is_kept_as_a_browser_sends_it(given: str, read: str) -> None:
    assert read_origins([given], mode="test") == [read]


@pytest.mark.parametrize(
    "given",
    [
        "", "null", "*", "shop.example", "//shop.example", "https://", "https:///x", "https://shop.example/shop",
        "https://shop.example?x", "https://shop.example#x", "https://user@shop.example", "https://user:pw@shop.example",
        "https://@shop.example", "https://*.shop.example", "https://shop.example.", "https://-shop.example",
        "https://shop..example", "https://shop_1.example", "https://bücher.example", "https://shop.example:",
        "https://shop.example:0", "https://shop.example:65536", "https://shop.example:x", "https://[::1]",
        "https://192.0.2.1", "https://2130706433", "https://127.1", "https://shop.0x7f", "ftp://shop.example",
        "javascript:alert(1)", "data:text/html,x", "https://shop.example; script-src *", "https://shop.example *",
        "https://shop.example, https://b.example", "https://shop.example\nX: y", "https://shop.example\\@evil.example",
        "http://shop.example", "http://localhost.evil.example", "http://192.168.0.1",
        "https://" + "a" * 64 + ".example", "https://" + ".".join(["a" * 50] * 6), "https://shop.example'",
        'https://shop.example"', "https://shop%2eexample",
    ],
)  # fmt: skip
def test_whatever_is_no_exact_https_origin_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest):
        read_origins([given], mode="test")


def test_without_tls_this_machine_alone_and_in_mode_test_alone() -> None:
    with pytest.raises(InvalidRequest, match="not https"):
        read_origins(["http://localhost:3000"], mode="live")


def test_ten_are_as_many_as_there_can_be_and_each_counts_once() -> None:
    ten = [f"https://shop-{number}.example" for number in range(10)]
    assert read_origins([*ten, *ten], mode="live") == ten
    with pytest.raises(InvalidRequest, match="10 origins"):
        read_origins([*ten, "https://one-more.example"], mode="live")


def test_a_stores_origins_are_replaced_as_a_whole_and_an_event_says_so(database: object) -> None:
    store = add_store("Bookshop", mode="test")
    assert find_store(store.id) == store
    set_origins(store.id, ["https://a.example", "https://b.example"])
    assert set_origins(store.id, ["https://b.example"]) == ["https://b.example"]
    found = find_store(store.id)
    assert found is not None and found.origins == ("https://b.example",)
    assert set_origins(store.id, []) == []
    events = rows(
        "SELECT facts FROM event WHERE kind = 'store_origins_set' AND facts->>'store_id' = :id ORDER BY at", id=store.id
    )
    assert [len(event.facts["origins"]) for event in events] == [2, 1, 0]


def test_a_refused_list_changes_nothing_and_an_unknown_store_has_none(database: object) -> None:
    store = add_store("Bookshop", mode="test")
    with nothing_changes(), pytest.raises(InvalidRequest):
        set_origins(store.id, ["https://a.example", "http://a.example"])
    with nothing_changes(), pytest.raises(NotFound):
        set_origins(new_id("str"), ["https://a.example"])
    assert find_store(new_id("str")) is None
