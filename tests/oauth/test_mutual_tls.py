"""`tls_client_auth` and certificate-bound access tokens: by the word of a proxy that is trusted, and of nobody else."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import config
from app.config import settings
from app.errors import InvalidRequest
from app.oauth.certificate import SUBJECTS, thumbprint
from app.oauth.clients import add_certified_client, disable_client
from tests.api import assert_problem
from tests.oauth.certificates import HEADER, NAME, certificate, escaped_pem, rfc9440
from tests.oauth.conftest import Party, basic, segments
from tests.oauth.proofs import Prover
from tests.oauth.test_client_assertion import form_of, machine_of
from tests.oauth.test_token_endpoint import check_refused

DNS = x509.DNSName("pay.bookshop.example")
SHOWN = {
    "subject_dn": "CN=erp,O=Bookshop",
    "san_dns": "pay.bookshop.example",
    "san_uri": "spiffe://bookshop.example/pay",
    "san_ip": "192.0.2.7",
    "san_email": "pay@bookshop.example",
}
NAMES = (
    DNS,
    x509.UniformResourceIdentifier("spiffe://bookshop.example/pay"),
    x509.IPAddress(ip_address("192.0.2.7")),
    x509.RFC822Name("pay@bookshop.example"),
)


@pytest.fixture(autouse=True)
def behind_a_proxy(database: config.Settings) -> Iterator[None]:
    """The test's client comes from 127.0.0.1."""
    config.use(replace(settings(), trusted_proxies=(ip_network("127.0.0.0/8"),), client_certificate_header=HEADER))
    yield
    config.use(database)


def certified(store_id: str, subject: tuple[str, str] = ("san_dns", "pay.bookshop.example")) -> str:
    scopes = ["exchange", "settle"]
    return add_certified_client(name="erp", mode="test", store_id=store_id, scopes=scopes, tls_subject=subject)


def ask(web: FlaskClient, client_id: str, headers: Mapping[str, str]) -> TestResponse:
    form = {"grant_type": "client_credentials", "client_id": client_id}
    return web.post("/oauth/token", data=form, headers=dict(headers))


# ── who it is ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("subject", SHOWN.items(), ids=SHOWN)
@pytest.mark.parametrize("write", [rfc9440, escaped_pem])
def test_a_client_is_known_by_its_certificate(
    client: FlaskClient, bookshop: Party, subject: tuple[str, str], write: object
) -> None:
    assert callable(write)
    client_id, shown = certified(bookshop.id, subject), certificate(*NAMES)
    answer = ask(client, client_id, write(shown))
    assert answer.status_code == 200, answer.data
    assert answer.get_json()["token_type"] == "Bearer"
    assert segments(answer.get_json()["access_token"])[1]["cnf"] == {"x5t#S256": thumbprint(shown)}


@pytest.mark.parametrize("subject", SHOWN.items(), ids=SHOWN)
def test_another_name_is_another_client(client: FlaskClient, bookshop: Party, subject: tuple[str, str]) -> None:
    client_id = certified(bookshop.id, subject)
    other_name = x509.Name([*NAME, x509.NameAttribute(NameOID.COUNTRY_NAME, "GB")])
    for shown in (
        certificate(x509.DNSName("evil.example"), subject=other_name),
        certificate(x509.DNSName("pay.bookshop.example.evil.example"), subject=other_name),
        certificate(x509.DNSName("*.bookshop.example"), subject=other_name),
        certificate(x509.RFC822Name("pay.bookshop.example"), subject=other_name),
        certificate(subject=x509.Name(list(reversed(list(NAME))))),
    ):
        check_refused(ask(client, client_id, rfc9440(shown)), 401, "invalid_client")


def test_one_alternative_name_of_another_kind_is_not_enough(client: FlaskClient, bookshop: Party) -> None:
    client_id = certified(bookshop.id, ("san_uri", "pay.bookshop.example"))
    check_refused(ask(client, client_id, rfc9440(certificate(DNS))), 401, "invalid_client")


@pytest.mark.parametrize("begins", [timedelta(days=1), timedelta(days=-31)])
def test_a_certificate_that_is_not_in_its_time_is_none(client: FlaskClient, bookshop: Party, begins: timedelta) -> None:
    client_id = certified(bookshop.id)
    check_refused(ask(client, client_id, rfc9440(certificate(DNS, begins=begins))), 401, "invalid_client")


def test_a_header_is_worth_nothing_from_anybody_but_the_proxy(client: FlaskClient, bookshop: Party) -> None:
    client_id, shown = certified(bookshop.id), rfc9440(certificate(DNS))
    assert ask(client, client_id, shown).status_code == 200
    for address in ("203.0.113.9", "::1", "", "not an address"):
        form = {"grant_type": "client_credentials", "client_id": client_id}
        base = {"REMOTE_ADDR": address}
        forged = shown | {"X-Forwarded-For": "127.0.0.1"}
        answer = client.post("/oauth/token", data=form, headers=forged, environ_overrides=base)
        check_refused(answer, 401, "invalid_client")


def test_without_the_setting_no_header_is_read(client: FlaskClient, bookshop: Party) -> None:
    client_id, shown = certified(bookshop.id), rfc9440(certificate(DNS))
    config.use(replace(settings(), client_certificate_header=None))
    check_refused(ask(client, client_id, shown), 401, "invalid_client")


@pytest.mark.parametrize(
    "text",
    ["", ":", "::", ":AAAA:", ":é:", "%", "-----BEGIN", "%2D%2D%2D", "x" * 8_001, ":" + "A" * 7_000 + ":", "null"],
)
def test_what_is_no_certificate_is_none(client: FlaskClient, bookshop: Party, text: str) -> None:
    check_refused(ask(client, certified(bookshop.id), {HEADER: text}), 401, "invalid_client")


def test_two_certificates_are_none(client: FlaskClient, bookshop: Party) -> None:
    """A proxy that adds its header to the client's own, in place of writing over it, lets nobody in."""
    good = rfc9440(certificate(DNS))[HEADER]
    form = {"grant_type": "client_credentials", "client_id": certified(bookshop.id)}
    answer = client.post("/oauth/token", data=form, headers=[(HEADER, good), (HEADER, good)])
    check_refused(answer, 401, "invalid_client")


def test_a_certificate_with_names_that_nobody_can_read_is_another_clients(client: FlaskClient, bookshop: Party) -> None:
    """An ediPartyName, which the library does not know."""
    odd = x509.UnrecognizedExtension(x509.OID_SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("3007a5058103616263"))
    check_refused(ask(client, certified(bookshop.id), rfc9440(certificate(extra=odd))), 401, "invalid_client")


@pytest.mark.parametrize("other", ["client_secret", "client_assertion_type"])
def test_another_methods_parameter_beside_a_certificate_is_two_methods(
    client: FlaskClient, bookshop: Party, other: str
) -> None:
    form = {"grant_type": "client_credentials", "client_id": certified(bookshop.id), other: "x"}
    answer = client.post("/oauth/token", data=form, headers=rfc9440(certificate(DNS)))
    check_refused(answer, 400, "invalid_request")


def test_a_proxy_may_speak_to_a_socket_of_both_families(client: FlaskClient, bookshop: Party) -> None:
    form = {"grant_type": "client_credentials", "client_id": certified(bookshop.id)}
    mapped = {"REMOTE_ADDR": "::ffff:127.0.0.1"}
    headers = rfc9440(certificate(DNS))
    assert client.post("/oauth/token", data=form, headers=headers, environ_overrides=mapped).status_code == 200


def test_a_certificate_opens_no_client_that_has_another_method(client: FlaskClient, bookshop: Party) -> None:
    for client_id in (bookshop.client.client_id, machine_of(bookshop.id, "ES256").id, "cli_x", "\0"):
        answer = ask(client, client_id, rfc9440(certificate(DNS)))
        assert answer.status_code in (400, 401)
        assert "access_token" not in answer.get_json()


def test_a_client_with_certificates_has_no_secret(client: FlaskClient, bookshop: Party) -> None:
    headers = rfc9440(certificate(DNS)) | {"Authorization": basic(certified(bookshop.id), "scrip_test_" + "x" * 43)}
    answer = client.post("/oauth/token", data={"grant_type": "client_credentials"}, headers=headers)
    check_refused(answer, 401, "invalid_client")


def test_a_disabled_client_gets_nothing(client: FlaskClient, bookshop: Party) -> None:
    client_id = certified(bookshop.id)
    disable_client(client_id)
    check_refused(ask(client, client_id, rfc9440(certificate(DNS))), 401, "invalid_client")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("", "x"),
        ("cn", "erp"),
        ("san_dns", ""),
        ("san_dns", "x" * 256),
        ("san_dns", "a\nb"),
        ("san_ip", "192.0.2.256"),
        ("subject_dn", "no name"),
    ],
)
def test_a_subject_that_cannot_be_is_refused(bookshop: Party, kind: str, value: str) -> None:
    with pytest.raises(InvalidRequest):
        certified(bookshop.id, (kind, value))
    assert set(SHOWN) == set(SUBJECTS)


# ── what is bound to it ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bound_token_needs_its_certificate(client: FlaskClient, bookshop: Party) -> None:
    shown = certificate(DNS)
    access_token = ask(client, certified(bookshop.id), rfc9440(shown)).get_json()["access_token"]
    path = "/v1/payments/pay_01hzzzzzzzzzzzzzzzzzzzzzzz"
    bearer = {"Authorization": f"Bearer {access_token}"}
    assert client.get(path, headers=bearer | escaped_pem(shown)).status_code == 404
    assert_problem(client.get(path, headers=bearer), 401, "invalid-access-token")
    assert_problem(client.get(path, headers=bearer | rfc9440(certificate(DNS))), 401, "invalid-access-token")
    away = {"REMOTE_ADDR": "203.0.113.9"}
    answer = client.get(path, headers=bearer | rfc9440(shown), environ_overrides=away)
    assert_problem(answer, 401, "invalid-access-token")
    assert_problem(Prover().call(client, path, access_token), 401, "invalid-access-token")


def test_a_client_that_signs_may_be_bound_to_a_certificate_and_one_with_a_certificate_to_a_proof(
    client: FlaskClient, bookshop: Party
) -> None:
    shown = certificate()
    signed = client.post("/oauth/token", data=form_of(machine_of(bookshop.id, "ES256").sign()), headers=rfc9440(shown))
    assert set(segments(signed.get_json()["access_token"])[1]["cnf"]) == {"x5t#S256"}
    headers = rfc9440(certificate(DNS)) | {"DPoP": Prover().prove("POST", "/oauth/token")}
    proven = ask(client, certified(bookshop.id), headers).get_json()
    assert (proven["token_type"], set(segments(proven["access_token"])[1]["cnf"])) == ("DPoP", {"jkt"})


def test_the_metadata_says_so(client: FlaskClient) -> None:
    found = client.get("/.well-known/oauth-authorization-server").get_json()
    assert found["tls_client_certificate_bound_access_tokens"] is True
    assert "tls_client_auth" in found["token_endpoint_auth_methods_supported"]
