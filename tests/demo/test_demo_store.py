"""`./run demo --store`: the shop is there, the card buys a book in it, and Ctrl-C ends both."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.processes import wait_until
from tests.demo.test_demo import PATIENCE_S, Demo
from tests.plugin_sdk.stores.oscar_shop import Page, Shopper
from tests.plugin_sdk.stores.store_process import stores_python
from tests.plugin_sdk.stores.traces import Traces


@pytest.fixture
def demo(reachable: Path) -> Iterator[Demo]:
    stores_python()
    demo = Demo(reachable / "demo")
    yield demo
    if demo.process is not None and demo.process.poll() is None:
        demo.end(signal.SIGTERM)


@pytest.mark.slow
def test_the_card_buys_the_book_that_the_demo_names(demo: Demo) -> None:
    demo.start("--store", "--store-port", "0")
    shop = demo.shown["shop"]
    sam = shopper_of(shop["url"].rstrip("/"))
    shelf = sam.get("/catalogue/")
    assert shop["book"] in shelf.words
    sam.put_into_basket(shop["book"])
    sam.get("/checkout/")
    sam.post("/checkout/", {"username": sam.email, "options": "anonymous"})
    assert sam.apply(demo.claim()).all_pays() == ["£30.00"], sam.page.words
    sam.preview()
    assert sam.place().path == "/checkout/thank-you/"
    assert wait_until(lambda: len(demo.letters()) >= 3, 10), "the claim link, the shop's letter and the new link"
    assert {sam.email, "sam@example.com"} <= {letter["to"] for letter in demo.letters()}

    staff = shopper_of(sam.shop.url)
    staff.get("/dashboard/login/")
    staff.post("/dashboard/login/", {"username": shop["staff"], "password": shop["password"]})
    assert sam.email in staff.get("/dashboard/orders/100001/").words
    for process in demo.processes():
        command = Path(f"/proc/{process}/cmdline").read_text()
        assert demo.shown["stores"][0]["client_secret"] not in command and shop["password"] not in command

    assert demo.end(signal.SIGINT) == 0
    assert wait_until(lambda: not demo.processes(), PATIENCE_S), demo.processes()
    assert (demo.folder / "shop.json").stat().st_mode & 0o077 == 0


def shopper_of(url: str) -> Any:
    """A guest of this shop, who finds its books on the shelf."""
    shop: Any = SimpleNamespace(url=url, traces=Traces(), books={})
    guest = Shopper(shop)
    for link, title in links(guest.get("/catalogue/")):
        shop.books[title] = link
    return guest


def links(shelf: Page) -> list[tuple[int, str]]:
    """The books by their numbers, as the shelf links them."""
    found = re.findall(r'<a href="/catalogue/[^"]*_(\d+)/" title="([^"]*)"', shelf.body)
    return [(int(number), title) for number, title in found]
