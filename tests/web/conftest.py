"""What the tests of the API share."""

import pytest
from flask import Flask

from tests.api import Api, api_of
from tests.world import make_world


@pytest.fixture(scope="module")
def api(app: Flask) -> Api:
    """A world over HTTP, for a whole module: nothing that a test does to it may trouble the next."""
    return api_of(app.test_client(), make_world())
