"""Whose wrong tries are counted: each key's name, of which only a keyed hash is ever stored."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from app.config import settings
from app.ids import StoreId
from app.secrecy import keyed_hash
from app.web.networks import Address, Network, prefixes_of, read_address

#: Wrong tries that cost no time: of a person, and of a network that many share.
FREE, FREE_SHARED = 5, 20
HASH_BYTES = 16


class Kind(Enum):
    """How a key's tries are judged (backoff.py)."""

    PERSON = "person"
    STORE = "store"
    ANYBODY = "anybody"


@dataclass(frozen=True, slots=True)
class Key:
    """One count. `name` tells it from all others; `free` is for persons."""

    kind: Kind
    name: str
    free: int = FREE

    @property
    def hash(self) -> bytes:
        """What the name is stored as."""
        return keyed_hash(settings().keys.hashing, "guard", f"{self.kind.value} {self.name}")[:HASH_BYTES]


#: All stores and pages together.
ANYBODY = Key(Kind.ANYBODY, "")


def store_key(store_id: StoreId) -> Key:
    """The store as a whole."""
    return Key(Kind.STORE, store_id)


def shopper_keys(store_id: StoreId, shopper_key: str, network: str | None) -> tuple[Key, ...]:
    """One shopper of one store, and where the store tells it, the network that shoppers of its come from."""
    shopper = Key(Kind.PERSON, f"shopper {store_id} {shopper_key}")
    if network is None:
        return (shopper,)
    return shopper, Key(Kind.PERSON, f"network {store_id} {_canonical(network)}", FREE_SHARED)


def browser_keys(address: Address | None, what: Literal["code", "link"]) -> tuple[Key, ...]:
    """Who brings a code or a link's key to a page of ours, by the networks of the address; all those without an address
    are one."""
    if address is None:
        return (Key(Kind.PERSON, f"{what} none"),)
    return tuple(Key(Kind.PERSON, f"{what} {network}", _free_of(network)) for network in prefixes_of(address))


def _free_of(network: Network) -> int:
    """A v6 /48 holds many subscribers, each of whom has a count of his own."""
    return FREE_SHARED if network.prefixlen == 48 else FREE


def _canonical(network: str) -> str:
    """As one spelling, and no narrower than we count ourselves: else a store's shopper could hop within it."""
    address = read_address(network.partition("/")[0])
    return network if address is None else str(prefixes_of(address)[0])
