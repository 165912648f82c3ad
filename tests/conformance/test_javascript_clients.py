"""The OAuth clients that JavaScript programs use work with the service, over TLS, in every way that it offers."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from flask import Flask

from app import config
from app.config import Settings
from app.oauth.clients import NewClient, add_certified_client, add_client, add_keyed_client
from app.oauth.keys import forget_keys
from app.oauth.scopes import PARTY_SCOPES
from tests.conformance.tls_proxy import HEADER, make_authority, tls_proxy
from tests.oauth.test_client_assertion import PAIRS
from tests.service import free_port, real_keys, served
from tests.world import World, make_world

FOLDER = Path(__file__).parent
SCOPES = (*PARTY_SCOPES["store"], "introspect")
LEAST_NODE = 20
#: As in shopper.mjs: nobody needs to be there.
REDIRECT_URI = "https://shop.example/back"
#: More than any suite has shoppers.
CODES = 24

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node() -> str:
    """Node.js with the two clients installed. Without them the tests are skipped, but never in CI."""
    found = shutil.which("node")
    if found is None or int(_run(found, "-p", "process.versions.node").split(".")[0]) < LEAST_NODE:
        _miss(f"Node.js {LEAST_NODE} is not installed")
    lock, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        npm = shutil.which("npm") or _miss("npm is not installed")
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=FOLDER, capture_output=True, text=True
        )
        if done.returncode:
            _miss(f"npm cannot install the clients: {done.stderr}")
    return str(found)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _miss(why: str) -> Any:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def told(
    app: Flask, database: Settings, keys_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """What the clients must know: the service runs with two workers behind a proxy that ends TLS."""
    folder = tmp_path_factory.mktemp("conformance")
    authority, secure = make_authority(folder), free_port()
    origin = f"https://localhost:{secure}"
    config.use(replace(database, public_url=origin, keys=config.read_keys(real_keys(keys_dir))))
    forget_keys()
    settings = {
        "PUBLIC_URL": origin,
        "TRUSTED_PROXIES": "127.0.0.0/8",
        "CLIENT_CERTIFICATE_HEADER": HEADER.decode(),
    }
    try:
        with (
            served(database, keys_dir, folder / "gunicorn.log", environ=settings) as port,
            tls_proxy(secure, port, authority),
        ):
            world = make_world()
            store: dict[str, Any] = {"mode": "test", "store_id": world.bookshop}
            back: dict[str, Any] = {"redirect_uris": [REDIRECT_URI]}
            certificate, key = authority.issue("pay", x509.DNSName("pay.bookshop.example"))
            subject = ("san_dns", "pay.bookshop.example")
            certified = add_certified_client(name="erp", scopes=SCOPES, tls_subject=subject, **store)
            yield {
                "issuer": origin,
                "ca": str(authority.path),
                "basic": _shown(add_client(name="plugin", scopes=SCOPES, **back, **store)),
                "issuing": _shown(add_client(name="erp", mode="test", issuer_id=world.issuer_id, scopes=["issue"])),
                "keyed": {algorithm: _keyed(algorithm, store) for algorithm in ("ES256", "PS256", "EdDSA")},
                "certified": {"client_id": certified, "certificate": str(certificate), "key": str(key)},
                "other": _shown(add_client(name="other", scopes=SCOPES, **back, **store)),
                "payment": world.payment().payment.id,
                "codes": [world.code(5_000).code for _ in range(CODES)],
                "dead_code": _dead_code(world),
            }
        log = (folder / "gunicorn.log").read_text()
        assert '"bug"' not in log
        assert "Traceback" not in log
    finally:
        config.use(database)
        forget_keys()


def _dead_code(world: World) -> str:
    """A code that was good once."""
    code = world.code(1_000).code
    payment = world.exchange(code).payment
    world.settle(payment.id, 1_000)
    return code


def _shown(made: NewClient) -> dict[str, str]:
    return {"client_id": made.client_id, "client_secret": made.client_secret}


def _keyed(algorithm: str, store: dict[str, Any]) -> dict[str, Any]:
    pair = PAIRS[algorithm]
    jwks = {"keys": [pair.as_dict(private=False)]}
    client_id = add_keyed_client(name="erp", scopes=SCOPES, jwks=jwks, redirect_uris=[REDIRECT_URI], **store)
    return {"client_id": client_id, "jwk": pair.as_dict(private=True), "kid": pair.thumbprint()}


@pytest.mark.parametrize("suite", sorted(path.name for path in FOLDER.glob("*.test.mjs")))
def test_the_client_works(node: str, told: dict[str, Any], suite: str) -> None:
    """Each file is a suite of Node's own test runner."""
    environ = {
        "PATH": os.environ["PATH"],
        "NODE_EXTRA_CA_CERTS": told["ca"],
        "SCRIP": json.dumps(told),
    }
    done = subprocess.run(
        [node, "--test", "--test-reporter=spec", suite],
        cwd=FOLDER,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
