"""The pytest plugin: fixtures for a store's tests, and the check that no code reaches a log.

def test_an_order_is_paid(scrip, scrip_client):
    payment = scrip_client.exchange(VALID, order_reference="1", key="1")
"""

import logging
import re
from collections.abc import Iterator

import pytest

from scrip_sdk.client import Client
from scrip_sdk.code import read_code
from scrip_sdk.testing.fake import FakeScrip

#: Text that may be a code, whatever stands around it: the check character says whether it is.
_LIKE_A_CODE = re.compile(r"(?<![0-9A-Za-z])(?=((?:[0-9A-Za-z][- ]?){15}[0-9A-Za-z])(?![0-9A-Za-z]))")
#: Letters alone are prose, but in fours.
_PROSE = re.compile(r"[^0-9]+")
_FOURS = re.compile(r"[A-Za-z]{4}([- ]?)(?:[A-Za-z]{4}\1){2}[A-Za-z]{4}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`scrip_no_codes_in_logs = true` in pytest's settings checks every test."""
    parser.addini("scrip_no_codes_in_logs", "fail every test that logs a gift card code", type="bool", default=False)


@pytest.fixture
def scrip() -> Iterator[FakeScrip]:
    """A fake service of this test's own; at the end all of its sums must agree.

    While the test runs, clients that the store makes for `scrip.url` talk to it without a socket.
    """
    fake = FakeScrip()
    with fake.plugged_in():
        yield fake
    fake.assert_sums_agree()


@pytest.fixture
def scrip_client(scrip: FakeScrip) -> Iterator[Client]:
    """A client of that service, with all scopes."""
    with scrip.client() as client:
        yield client


@pytest.fixture
def scrip_no_codes_in_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails the test when anything that looks like a code was logged, at any level, with its traceback."""
    with caplog.at_level(logging.DEBUG):
        yield
        records = [record for when in ("setup", "call") for record in caplog.get_records(when)]
    for record in records:
        if has_code(logging.Formatter("%(name)s %(message)s").format(record)):
            pytest.fail(f"a gift card code was logged by {record.name}, {record.filename}:{record.lineno}")


@pytest.fixture(autouse=True)
def _scrip_no_codes_anywhere(request: pytest.FixtureRequest) -> None:
    if request.config.getini("scrip_no_codes_in_logs"):
        request.getfixturevalue("scrip_no_codes_in_logs")


def has_code(text: str) -> bool:
    """Whether a gift card code stands in the text, as people write it."""
    return any(_is_code(found[1]) for found in _LIKE_A_CODE.finditer(text))


def _is_code(written: str) -> bool:
    is_prose = _PROSE.fullmatch(written) is not None and _FOURS.fullmatch(written) is None
    return not is_prose and read_code(written) is not None
