"""Where a request came from: what strangers write into headers changes nothing."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from flask import Flask

from app import config
from app.config import settings
from app.web.address import client_address, client_country
from app.web.networks import prefixes_of


@pytest.fixture
def behind_proxies(app: Flask) -> Iterator[Flask]:
    """Proxies of 10.0.0.0/8 and fd00::/8 are trusted, and say the country in X-Country."""
    before = settings()
    proxies = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    config.use(replace(before, trusted_proxies=proxies, country_header="X-Country"))
    yield app
    config.use(before)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),  # a stranger's invention
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),  # what stands before it may be invented
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),  # the same in two lines
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),  # two proxies
        ("10.0.0.1", ["10.0.0.3,10.0.0.2"], "10.0.0.3"),  # from inside
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["2001:db8::5"], "2001:db8::5"),  # a socket for both families
        ("fd00::1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("fe80::1%eth0", ["198.51.100.1"], "fe80::1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),  # some proxies add the port
        ("10.0.0.1", ["[2001:db8::5]:4711"], "2001:db8::5"),
        ("10.0.0.1", ["[2001:db8::5]"], "2001:db8::5"),
        ("", ["198.51.100.1"], None),  # a socket in the file system
    ],
)
def test_the_word_of_a_trusted_proxy_counts_and_no_other(
    behind_proxies: Flask, peer: str, forwarded: list[str], client: str | None
) -> None:
    headers = [("X-Forwarded-For", line) for line in forwarded]
    with behind_proxies.test_request_context(headers=headers, environ_base={"REMOTE_ADDR": peer}):
        assert client_address() == (client and ip_address(client))


def test_a_socket_is_believed_where_it_is_named_and_nobody_else_for_it(behind_proxies: Flask) -> None:
    config.use(replace(settings(), trusts_socket=True))
    forwarded = {"X-Forwarded-For": "203.0.113.9, 198.51.100.1"}
    for peer, client in (("", "198.51.100.1"), ("192.0.2.7", "192.0.2.7")):
        with behind_proxies.test_request_context(headers=forwarded, environ_base={"REMOTE_ADDR": peer}):
            assert client_address() == ip_address(client)


@pytest.mark.parametrize(
    ("peer", "said", "country"),
    [
        ("10.0.0.1", "de", "DE"),
        ("192.0.2.7", "DE", None),
        ("10.0.0.1", "Germany", None),
        ("10.0.0.1", "ÄÖ", None),
        ("10.0.0.1", "", None),
    ],
)
def test_the_country_is_a_trusted_proxys_word(behind_proxies: Flask, peer: str, said: str, country: str | None) -> None:
    with behind_proxies.test_request_context(headers={"X-Country": said}, environ_base={"REMOTE_ADDR": peer}):
        assert client_country() == country


def test_an_address_is_known_by_its_networks() -> None:
    assert [str(network) for network in prefixes_of(ip_address("198.51.100.77"))] == ["198.51.100.0/24"]
    found = prefixes_of(ip_address("2001:db8:1:2:3:4:5:6"))
    assert [str(network) for network in found] == ["2001:db8:1:2::/64", "2001:db8:1::/48"]
