"""The plugin for pretix, in a pretix that runs before the real service, with a proxy between them that breaks things."""

from collections.abc import Iterator

import pytest

from app.db.embedded import EmbeddedPostgres
from scrip_sdk.testing.adapter import CASES, Case
from tests.plugin_sdk.stores.adapter_service import RealService
from tests.plugin_sdk.stores.pretix_shop import Order, Shop, running_pretix
from tests.plugin_sdk.stores.service import Service, assert_books_balance

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(service: Service, server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The pretix, for the whole module; each test has shoppers of its own."""
    with running_pretix(service, server, tmp_path_factory.mktemp("pretix")) as shop:
        yield shop


@pytest.fixture
def real(shop: Shop) -> Iterator[RealService]:
    """The service as the cases want it."""
    real = RealService(shop.store)
    real.clear()
    yield real
    real.clear()
    shop.codes.extend(real.codes)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_adapter(case: Case, shop: Shop, real: RealService) -> None:
    case(shop, real)
