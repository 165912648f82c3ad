"""The ground that alarms are tested on: a database of their own, for they look at everybody's events at once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count

import pytest

from app import config
from app.db.embedded import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.guard.ground import NOON, watched_since
from tests.mail.post_office import PostOffice, opened
from tests.service import free_port

OPERATORS = ("ops@cards.example", "night@cards.example")
_places = count()


@pytest.fixture(scope="module")
def ground(database: config.Settings, server: EmbeddedPostgres, urls: dict[str, str]) -> Iterator[config.Settings]:
    with fresh_database(database, server, urls) as settings:
        yield settings


@pytest.fixture
def noon(ground: config.Settings) -> datetime:
    """A noon that no other test looks at; the watch has looked up to it, and found nothing."""
    at = NOON + timedelta(days=60 * next(_places))
    watched_since(at)
    return at


@pytest.fixture
def closed_office(ground: config.Settings) -> Iterator[PostOffice]:
    """Operators want mail, and their post office is not open yet."""
    office = PostOffice(free_port())
    smtp = config.Smtp("127.0.0.1", office.port, "none", "Scrip <cards@scrip.example>")
    before = config.settings()
    config.use(replace(before, smtp=smtp, alarms=replace(before.alarms, emails=OPERATORS[:1])))
    yield office
    config.use(before)


@pytest.fixture
def office(closed_office: PostOffice) -> Iterator[PostOffice]:
    with opened(closed_office) as office:
        yield office
