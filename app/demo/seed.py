"""What a new data folder needs before the service can start: roles, schema, keys, parties and their clients."""

import os
import sys
from pathlib import Path
from typing import Any

from app import config
from app.db.migrate import bootstrap, is_current, upgrade
from app.demo.folder import DataFolder
from app.issuance.issuer import add_issuer, list_issuers
from app.key_files import make_key_files
from app.oauth.clients import NewClient, add_client
from app.oauth.keys import ensure_keys
from app.oauth.scopes import PARTY_SCOPES
from app.redemption.store import add_store, list_stores

MODE = "test"
ISSUER, STORES = "Acme", ("Bookshop", "Toyshop")


def main(path: str) -> None:
    """Does what is missing; run again it changes nothing. The settings are in the environment, as in production."""
    folder = DataFolder(Path(path))
    prepare_database()
    make_key_files(Path(os.environ["KEYS_DIR"]), config.read_argon2(os.environ))
    config.use(config.Settings.from_env(os.environ))
    ensure_keys()
    kept = folder.read("demo.json")
    if "issuer" not in kept:
        folder.write("demo.json", kept | seed())


def prepare_database() -> None:
    """Roles, database and schema. Passwords come from the URLs."""
    migrate_url = os.environ["DATABASE_MIGRATE_URL"]
    bootstrap(
        os.environ["DATABASE_ADMIN_URL"],
        migrate_url=migrate_url,
        service_url=os.environ["DATABASE_URL"],
        reader_url=os.environ["DATABASE_READER_URL"],
    )
    if not is_current(migrate_url):
        upgrade(migrate_url)


def seed() -> dict[str, Any]:
    """Adds issuer and stores, unless an interrupted start did, and a client for each; returns the credentials."""
    issuers = {issuer.name: issuer for issuer in list_issuers() if issuer.mode == MODE}
    stores = {store.name: store for store in list_stores() if store.mode == MODE}
    issuer = issuers.get(ISSUER) or add_issuer(ISSUER, mode=MODE)
    chosen = [stores.get(name) or add_store(name, mode=MODE) for name in STORES]
    client = add_client(name=f"{ISSUER} demo", issuer_id=issuer.id, mode=MODE, scopes=PARTY_SCOPES["issuer"])
    return {
        "issuer": _shown(client),
        "stores": [
            {"name": store.name}
            | _shown(add_client(name=f"{store.name} demo", store_id=store.id, mode=MODE, scopes=PARTY_SCOPES["store"]))
            for store in chosen
        ],
    }


def _shown(client: NewClient) -> dict[str, str]:
    return {"client_id": client.client_id, "client_secret": client.client_secret}


if __name__ == "__main__":
    main(*sys.argv[1:])
