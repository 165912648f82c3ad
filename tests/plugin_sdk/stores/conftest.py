"""What the drives of real stores share: the service behind its fault proxy, and databases for the stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app import config
from app.db.embedded import EmbeddedPostgres
from tests.plugin_sdk.stores.fault_proxy import FaultProxy
from tests.plugin_sdk.stores.service import Service, Store, run_service
from tests.plugin_sdk.stores.store_process import Database, store_database


@pytest.fixture(scope="session")
def service(database: config.Settings, keys_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service as it runs, once for all stores; each has a world of its own."""
    with run_service(database, keys_dir, tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def faults(service: Service) -> Iterator[FaultProxy]:
    """The proxy before the service, without rules and with an empty record; the next test finds it so too."""
    service.proxy.clear()
    yield service.proxy
    service.proxy.clear()


@pytest.fixture
def store(service: Service) -> Store:
    """A store that nobody else has, as the service knows it."""
    return service.new_store()


@pytest.fixture
def own_store_database(server: EmbeddedPostgres) -> Iterator[Database]:
    """An empty database for a store's program."""
    with store_database(server) as made:
        yield made
