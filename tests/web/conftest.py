"""What the tests of the API share."""

from collections.abc import Iterator

import pytest
from flask import Flask

from app.config import Settings
from app.db.embedded import EmbeddedPostgres
from tests.api import Api, api_of
from tests.conftest import fresh_database
from tests.world import make_world


@pytest.fixture(scope="module")
def api(app: Flask, database: Settings, server: EmbeddedPostgres, urls: dict[str, str]) -> Iterator[Api]:
    """A world over HTTP, for a whole module: nothing that a test does to it may trouble the next.

    In a database of its own, for much that is done here is compared with all that the database holds.
    """
    with fresh_database(database, server, urls):
        yield api_of(app.test_client(), make_world())
