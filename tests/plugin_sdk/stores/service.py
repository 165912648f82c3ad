"""The real service that stores are driven against: two workers behind the fault proxy, a store, and its cards."""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from sqlalchemy import text

from app import config
from app.db.transaction import transaction
from app.ledger.audit import audit
from app.oauth.clients import NewClient, add_client, replace_redirect_uris
from app.oauth.scopes import PARTY_SCOPES
from app.redemption.store import set_origins
from tests.plugin_sdk.stores.fault_proxy import FaultProxy
from tests.service import served
from tests.world import World, key_of, make_world

CODE = re.compile(r"[0-9A-Z]{4}(?:-[0-9A-Z]{4}){3}")


@dataclass(frozen=True)
class Service:
    """The running service. `url` is the proxy's, and its public one; `port` the service's own, past the proxy."""

    proxy: FaultProxy
    port: int
    log: Path

    @property
    def url(self) -> str:
        return self.proxy.url

    def new_store(self) -> "Store":
        """A world of its own: an issuer with a programme, and a store with a client."""
        world = make_world()
        made = add_client(name="shop", mode="test", store_id=world.bookshop, scopes=PARTY_SCOPES["store"])
        return Store(self, world, made, audited())

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Posts JSON past the proxy, as a holder's browser does."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        asked = Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), headers)
        with urlopen(asked, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


@dataclass(frozen=True)
class Card:
    """A card whose holder has opened the link: `code` is what a shopper types."""

    id: str
    code: str


@dataclass(frozen=True)
class Sums:
    """What a payment came to, in minor units."""

    settled_minor: int
    refunded_minor: int


@dataclass(frozen=True)
class Store:
    """A store of the service's, as the service knows it."""

    service: Service
    world: World
    credentials: NewClient
    #: What the audit found before: other tests of this process, which move the clock or break rows, share the database.
    found_before: frozenset[tuple[str, str]]

    @property
    def environment(self) -> dict[str, str]:
        """What the plugin reads: where the service is, and who the store is."""
        return {
            "SCRIP_URL": self.service.url,
            "SCRIP_CLIENT_ID": self.credentials.client_id,
            "SCRIP_CLIENT_SECRET": self.credentials.client_secret,
            "SCRIP_STORE_ID": self.world.bookshop,
        }

    def card(self, amount_minor: int = 5_000, **changes: Any) -> Card:
        """Issues a card; its holder opens the link over HTTP and reads the code."""
        issued = self.world.issue(amount_minor, **changes)
        assert issued.claim_link is not None
        link_id, key = key_of(issued.claim_link)
        shown = self.service.ask(f"/claim/{link_id}", {"key": key, "nonce": secrets.token_urlsafe(32)})
        assert CODE.fullmatch(shown["code"])
        return Card(issued.id, shown["code"])

    def sends_shoppers_back_to(self, *redirect_uris: str) -> None:
        """Where the hosted checkout may lead to."""
        replace_redirect_uris(self.credentials.client_id, redirect_uris)

    def shows_the_field_on(self, *origins: str) -> None:
        """On whose pages the field for codes may stand."""
        set_origins(self.world.bookshop, origins)

    def balance_minor(self, card: Card) -> int:
        """What is left on the card, held or not."""
        return self.world.card(card.id).balance.amount_minor  # type: ignore[arg-type]

    def payments(self) -> dict[str, Any]:
        """Every payment of the store, by ID, as the service's table has it."""
        query = (
            "SELECT id, state, order_reference, confirmed_at, held_minor, settled_minor, released_minor,"
            " refunded_minor, card_id, expires_at FROM payment WHERE store_id = :store ORDER BY id"
        )
        with transaction() as db:
            return {row.id: row for row in db.execute(text(query), {"store": self.world.bookshop})}

    def settlements(self, payment_id: str) -> list[int]:
        """The amounts of a payment's settlements, in order."""
        query = "SELECT amount_minor FROM settlement WHERE payment_id = :payment ORDER BY id"
        with transaction() as db:
            return list(db.scalars(text(query), {"payment": payment_id}))

    def sums(self) -> dict[str, Sums]:
        """What each payment that took money came to."""
        return {
            payment_id: Sums(row.settled_minor, row.refunded_minor)
            for payment_id, row in self.payments().items()
            if row.settled_minor
        }

    def owed_minor(self) -> int:
        """What the books say is owed to the store."""
        query = (
            "SELECT coalesce(sum(CASE WHEN credit_id = account.id THEN amount_minor ELSE -amount_minor END), 0)"
            " FROM account JOIN transfer ON account.id IN (debit_id, credit_id)"
            " WHERE account.kind = 'owed' AND owner_id = :store"
        )
        with transaction() as db:
            return int(db.scalar(text(query), {"store": self.world.bookshop}) or 0)


@contextmanager
def run_service(settings: config.Settings, keys_dir: Path, folder: Path) -> Iterator[Service]:
    """The service behind a proxy, by whose address the world knows it, on the database of this process."""
    log = folder / "service.log"
    with FaultProxy().running() as proxy:
        with served(
            settings, keys_dir, log, wsgi="tests.faults.cheap_wsgi:app", environ={"PUBLIC_URL": proxy.url}
        ) as port:
            proxy.server_port = port
            yield Service(proxy, port, log)


def assert_books_balance(store: Store) -> None:
    """The books are what the payments say, and the audit finds nothing that was not there before."""
    sums = store.sums().values()
    assert store.owed_minor() == sum(one.settled_minor - one.refunded_minor for one in sums)
    assert audited() == store.found_before


def audited() -> frozenset[tuple[str, str]]:
    """What the audit finds, by check and row."""
    with transaction() as db:
        return frozenset((check.name, one.subject) for check, _, findings in audit(db) for one in findings)
