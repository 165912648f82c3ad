"""What operators run: from an empty server to a client that can sign in, and the rotations after it."""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from joserfc.jwk import ECKey
from sqlalchemy import NullPool, create_engine, make_url

from app import config
from app.cli import scrip
from app.db.embedded import EmbeddedPostgres
from app.db.engine import engine
from app.db.migrate import is_current
from app.db.transaction import transaction
from app.errors import InvalidRequest
from app.oauth.clients import authenticate_client
from app.oauth.keys import ensure_keys, forget_keys, jwks
from app.operators import operator
from app.web import logs
from tests.service import ROOT, free_port, real_keys

Run = Callable[..., Result]


@pytest.fixture
def environment(
    database: config.Settings, server: EmbeddedPostgres, urls: dict[str, str], keys_dir: Path
) -> Iterator[dict[str, str]]:
    """An operator's environment for a database that does not exist yet."""
    name = f"scrip_{secrets.token_hex(4)}"
    of_role = {role: str(make_url(url).set(database=name).render_as_string(False)) for role, url in urls.items()}
    yield {
        "DATABASE_ADMIN_URL": server.admin_url,
        "DATABASE_MIGRATE_URL": of_role["migrator"],
        "DATABASE_READER_URL": of_role["reader"],
        "DATABASE_URL": of_role["service"],
        "KEYS_DIR": str(real_keys(keys_dir)),
        "PUBLIC_URL": "https://cards.example",
        "TRUSTED_PROXIES": "127.0.0.1",
        "SMTP_HOST": "mail.example",
        "MAIL_FROM": "cards@cards.example",
    }
    engine().dispose()
    config.use(database)
    logs.configure(database.log_level)  # the commands' standard error is closed by now
    forget_keys()
    admin = create_engine(server.admin_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as db:
        db.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Runs a command in this process, on the real database."""

    def invoke(*arguments: str, status: int = 0) -> Result:
        result = CliRunner().invoke(scrip, arguments, env=environment)
        assert result.exit_code == status, (result.output, result.exception)
        return result

    return invoke


@pytest.fixture
def migrated(run: Run) -> None:
    run("migrate", "--bootstrap")
    forget_keys()


def test_an_empty_server_is_made_ready_and_again_is_no_harm(run: Run, environment: dict[str, str]) -> None:
    for _ in range(2):
        assert "up to date" in run("migrate", "--bootstrap").output
    assert is_current(environment["DATABASE_URL"])
    assert "The books balance." in run("audit").output


@pytest.mark.usefixtures("migrated")
def test_parties_are_added_and_listed(run: Run) -> None:
    issuer_id = run("issuer", "add", "Acme", "--mode", "live").output.strip()
    store_id = run("store", "add", "Bookshop", "--mode", "test").output.strip()
    assert run("issuer", "list").output == f"{issuer_id}  live  Acme\n"
    assert run("store", "list").output == f"{store_id}  test  Bookshop\n"
    named = run("store", "origins", store_id, "https://Shop.example/", "https://b.example").output
    assert named == "https://shop.example\nhttps://b.example\n"
    assert run("store", "origins", store_id).output == "No page may show the field.\n"


@pytest.mark.usefixtures("migrated")
def test_a_client_is_added_rotated_and_disabled(run: Run) -> None:
    store_id = run("store", "add", "Bookshop", "--mode", "test").output.strip()
    added = run("client", "add", "Plugin", "--store", store_id, "--mode", "test").output
    client_id, secret = re.findall(r"^client_\w+ +(\S+)$", added, re.MULTILINE)
    assert authenticate_client(client_id, secret) is not None
    listed = run("client", "list").output
    assert client_id in listed
    assert secret not in listed
    another = run("client", "rotate", client_id).output.split()[-1]
    assert authenticate_client(client_id, another) is not None
    assert authenticate_client(client_id, secret) is not None, "the one before lives until the next rotation"
    run("client", "disable", client_id)
    assert authenticate_client(client_id, another) is None


@pytest.mark.usefixtures("migrated")
def test_a_stores_client_is_told_where_its_shoppers_go_back_to(run: Run) -> None:
    store_id = run("store", "add", "Bookshop", "--mode", "test").output.strip()
    asked = ("client", "add", "Plugin", "--store", store_id, "--mode", "test")
    good, other = "https://bookshop.example/paid", "http://127.0.0.1:8081/paid"
    added = run(*asked, "--redirect-uri", good, "--redirect-uri", other).output
    client_id = re.findall(r"^client_id +(\S+)$", added, re.MULTILINE)[0]
    assert redirect_uris_of(client_id) == [good, other]
    for uris in ([other], []):
        assert run("client", "redirect-uris", client_id, *uris).output == f"{len(uris)} redirect URIs.\n"
        assert redirect_uris_of(client_id) == uris
    assert "https" in str(run("client", "redirect-uris", client_id, "http://bookshop.example/", status=1).exception)
    assert "https" in str(run(*asked, "--redirect-uri", "bookshop.example", status=1).exception)


def redirect_uris_of(client_id: str) -> list[str]:
    with transaction() as db:
        query = "SELECT unnest(redirect_uris) FROM client WHERE id = $1"
        return list(db.exec_driver_sql(query, (client_id,)).scalars())


@pytest.mark.usefixtures("migrated")
def test_a_client_that_signs_is_added_with_its_keys_and_gets_others(run: Run, tmp_path: Path) -> None:
    issuer_id = run("issuer", "add", "Acme", "--mode", "test").output.strip()
    pair, other = (ECKey.generate_key("P-256") for _ in range(2))
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [pair.as_dict(private=False)]}))
    asked = ("client", "add", "Backend", "--issuer", issuer_id, "--mode", "test", "--jwks", str(jwks))
    [client_id] = re.findall(r"^client_id +(\S+)$", run(*asked).output, re.MULTILINE)
    assert "private_key_jwt" in run("client", "list").output
    jwks.write_text(json.dumps({"keys": [other.as_dict(private=False)]}))
    assert run("client", "rotate", client_id, "--jwks", str(jwks)).output == f"kid  {other.thumbprint()}\n"
    assert "authenticates by private_key_jwt" in str(run("client", "rotate", client_id, status=1).exception)
    jwks.write_text(json.dumps({"keys": [other.as_dict(private=True)]}))
    assert "private key" in str(run(*asked, status=1).exception)
    jwks.write_text("keys")
    assert "not JSON" in run(*asked, status=2).output


@pytest.mark.usefixtures("migrated")
def test_a_client_of_finance_holds_a_key_and_acts_for_one_mode(run: Run, tmp_path: Path) -> None:
    """All stores' bills behind a secret that somebody may read on its way: only where an operator insists."""
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [ECKey.generate_key("P-256").as_dict(private=False)]}))
    asked = ("client", "add", "Finance", "--finance", "--mode", "live")
    for more in ((), ("--scope", "finance.read"), ("--scope", "finance.work", "--tier", "fapi")):
        assert "should hold a key" in run(*asked, *more, status=2).output
    run(*asked, "--jwks", str(jwks))
    run(*asked, "--tier", "basic", "--scope", "finance.read")
    found = re.findall(r"(finance_\w+)  enabled  (\w+)  \S+  (\S.*?)  Finance", run("client", "list").output)
    assert found == [
        ("finance_live", "fapi", "finance.read finance.work"),
        ("finance_live", "basic", "finance.read"),
    ]
    store_id = run("store", "add", "Bookshop", "--mode", "live").output.strip()
    assert "or to finance" in str(run(*asked, "--store", store_id, "--jwks", str(jwks), status=1).exception)
    back = "https://finance.example/"
    assert "sends shoppers back" in str(run(*asked, "--jwks", str(jwks), "--redirect-uri", back, status=1).exception)


@pytest.mark.usefixtures("migrated")
def test_what_an_operator_changes_is_an_event_with_a_name(run: Run) -> None:
    issuer_id = run("issuer", "add", "Acme", "--mode", "test").output.strip()
    store_id = run("store", "add", "Bookshop", "--mode", "test").output.strip()
    added = run("client", "add", "Plugin", "--store", store_id, "--mode", "test").output
    client_id = re.findall(r"^client_id +(\S+)$", added, re.MULTILINE)[0]
    run("client", "rotate", client_id)
    for _ in range(2):  # the second changes nothing
        run("client", "disable", client_id)
    ensure_keys()
    run("keys", "rotate-signing")
    run("keys", "rotate-signing", "--compromised")
    run("keys", "rotate-pepper")
    run("keys", "rotate-pepper", "--retire")
    with transaction() as db:
        found = db.exec_driver_sql("SELECT kind, actor, facts FROM event ORDER BY at, id").all()
    assert [event.kind for event in found] == [
        "issuer_added",
        "store_added",
        "client_added",
        "client_rotated",
        "client_disabled",
        "signing_keys_rotated",
        "signing_keys_replaced",
        "pepper_epoch_started",
        "pepper_epochs_retired",
    ]
    assert (found[0].facts, found[1].facts) == ({"issuer_id": issuer_id}, {"store_id": store_id})
    assert {event.facts.get("client_id") for event in found[2:5]} == {client_id}


@pytest.mark.usefixtures("migrated")
def test_a_higher_issuing_limit_waits_for_somebody_else(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer_id = run("issuer", "add", "Acme", "--mode", "test").output.strip()
    asked = ("limits", "request", issuer_id, "--currency", "GBP", "--reason", "Christmas")
    assert "--cards" in run(*asked, status=2).output
    assert run(*asked, "--money-minor", "4000000").output == "It holds from now on.\n"
    request_id = run(*asked, "--money-minor", "9000000", "--cards", "90").output.strip()
    listed = run("limits", "list").output
    assert f"{issuer_id}  GBP  0/4000000 minor units  0/5000 cards  own\n" in listed
    assert f"{request_id}  {issuer_id}  GBP  minor units 4000000 -> 9000000  cards 5000 -> 90  {operator()}" in listed
    assert "another operator" in str(run("limits", "approve", request_id, status=1).exception)
    monkeypatch.setattr("app.operators.login_uid", lambda: 4_000_000_001)
    assert "9000000 minor units of GBP, 90 cards a day" in run("limits", "approve", request_id).output
    assert request_id not in run("limits", "list").output
    mine = run(*asked, "--cards", "91").output.strip()
    assert "stays as it is" in run("limits", "reject", mine).output


@pytest.mark.usefixtures("migrated")
@pytest.mark.parametrize("party", ["issuer", "store"])
@pytest.mark.parametrize("name", ["", " ", "Book\nshop", "Book\x00shop"])
def test_a_name_that_people_could_not_read_is_refused(run: Run, party: str, name: str) -> None:
    result = run(party, "add", name, "--mode", "test", status=1)
    assert isinstance(result.exception, InvalidRequest)


@pytest.mark.usefixtures("migrated")
def test_signing_keys_rotate_and_stay_published(run: Run) -> None:
    run("issuer", "list")
    ensure_keys()
    before = {str(key["kid"]) for key in jwks()["keys"]}
    assert run("keys", "rotate-signing").output.count("\n") == 2
    forget_keys()
    assert before < {str(key["kid"]) for key in jwks()["keys"]}


@pytest.mark.usefixtures("migrated")
def test_a_pepper_epoch_begins_and_an_old_one_is_retired(run: Run, environment: dict[str, str]) -> None:
    assert "begins" in run("keys", "rotate-pepper").output
    assert "0 codes retired" in run("keys", "rotate-pepper", "--retire").output
    lines = (Path(environment["KEYS_DIR"]) / "pepper.keys").read_text().split()
    assert len(lines) == 1


def test_key_files_are_made_once(run: Run, environment: dict[str, str], tmp_path: Path) -> None:
    environment["KEYS_DIR"] = str(tmp_path / "keys")
    assert run("keys", "init").output.count("made ") == 5
    assert run("keys", "init").output == ""


def test_help_says_what_each_command_does(run: Run) -> None:
    shown = run("--help").output
    for name in (
        "audit",
        "backup",
        "client",
        "demo",
        "issuer",
        "keys",
        "limits",
        "migrate",
        "restore",
        "store",
        "worker",
    ):
        assert re.search(rf"^  {name} +\S", shown, re.MULTILINE), name


@pytest.mark.parametrize("command", [("audit",), ("issuer", "list")])
def test_a_database_that_is_away_is_said_in_one_line(environment: dict[str, str], command: tuple[str, ...]) -> None:
    """Nobody at a terminal is helped by the API's word for it, which speaks of Idempotency-Keys."""
    away = {"DATABASE_URL": f"postgresql+psycopg://scrip_service:pw@127.0.0.1:{free_port()}/scrip"}
    del environment["DATABASE_READER_URL"]
    ended = subprocess.run(
        [sys.executable, "-m", "app.cli", *command],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment, **away},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert re.fullmatch(r"scrip: the database cannot be (reached|used): .*(refused|failed).*\n", ended.stderr), (
        ended.stderr
    )
