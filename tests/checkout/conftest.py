"""Bookshop with its hosted checkout, and somebody who shops there."""

from collections.abc import Iterator

import pytest
from flask import Flask

from app.oauth.clients import add_client, replace_redirect_uris
from app.oauth.scopes import PARTY_SCOPES
from tests.checkout.shop import Shop, Shopper, bookshop_of
from tests.checkout.store_server import StoreServer, open_store
from tests.holder.conftest import Served, new_context, page, served
from tests.world import World

__all__ = ["new_context", "page", "served"]  # the holder's browsers and the running service serve here too


@pytest.fixture
def shop(app: Flask, world: World) -> Shop:
    return bookshop_of(app, world)


@pytest.fixture
def shopper(app: Flask) -> Shopper:
    return Shopper(app.test_client())


@pytest.fixture
def store(served: Served, world: World) -> Iterator[StoreServer]:
    """Bookshop on a port of its own, whose shoppers come back there."""
    made = add_client(name="checkout", mode="test", store_id=world.bookshop, scopes=PARTY_SCOPES["store"])
    with open_store(StoreServer(served.url, made)) as store:
        replace_redirect_uris(made.client_id, [store.callback])
        yield store
