"""Bookshop with its hosted checkout, and somebody who shops there."""

import pytest
from flask import Flask

from tests.checkout.shop import Shop, Shopper, bookshop_of
from tests.world import World


@pytest.fixture
def shop(app: Flask, world: World) -> Shop:
    return bookshop_of(app, world)


@pytest.fixture
def shopper(app: Flask) -> Shopper:
    return Shopper(app.test_client())
