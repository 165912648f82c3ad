"""What the tests of the API share."""

import pytest
from flask.testing import FlaskClient

from tests.api import Api, api_of
from tests.world import World


@pytest.fixture
def api(client: FlaskClient, world: World) -> Api:
    """A world with access tokens."""
    return api_of(client, world)
