"""The real service behind its fault proxy, as the cases that every adapter must pass want it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from scrip_sdk.testing.adapter import Sums, Verb
from scrip_sdk.testing.codes import draw_code, grouped
from tests.plugin_sdk.stores.fault_proxy import FaultProxy
from tests.plugin_sdk.stores.service import Store

PATHS: dict[Verb, str] = {
    "exchange": "/v1/payments",
    "confirm": "/v1/payments/*/confirm",
    "settle": "/v1/payments/*/settlements",
    "void": "/v1/payments/*/void",
    "refund": "/v1/payments/*/refunds",
}


@dataclass(frozen=True)
class RealService:
    """`scrip_sdk.testing.adapter.Service` for one store; `codes` are all that it has given out, by their card's ID."""

    store: Store
    codes: dict[str, str] = field(default_factory=dict, repr=False)

    def issue(self, amount_minor: int) -> str:
        made = self.store.card(amount_minor)
        self.codes[made.code] = made.id
        return made.code

    def draw(self) -> str:
        return grouped(draw_code())

    def taken_minor(self, code: str) -> int:
        return sum(
            row.settled_minor - row.refunded_minor
            for row in self.store.payments().values()
            if row.card_id == self.codes[code]
        )

    def held_minor(self, code: str) -> int:
        return sum(
            row.held_minor
            for row in self.store.payments().values()
            if (row.card_id, row.state) == (self.codes[code], "held")
        )

    def sums(self) -> Sums:
        return {payment: (one.settled_minor, one.refunded_minor) for payment, one in self.store.sums().items()}

    def lose(self, verb: Verb, times: int = 1) -> None:
        self._proxy.lose("POST", PATHS[verb], times=times)

    def drop(self, verb: Verb, times: int = 1) -> None:
        self._proxy.drop("POST", PATHS[verb], times=times)

    def repeat(self, verb: Verb, times: int = 1) -> None:
        self._proxy.twice("POST", PATHS[verb], times=times)

    def slow(self, verb: Verb, seconds: float) -> None:
        self._proxy.slow("POST", PATHS[verb], seconds=seconds)

    def refuse(self, verb: Verb, times: int = 1) -> None:
        self._proxy.refuse("POST", PATHS[verb], times=times)

    @contextmanager
    def away(self) -> Iterator[None]:
        with self._proxy.away():
            yield

    def clear(self) -> None:
        self._proxy.clear()

    @property
    def _proxy(self) -> FaultProxy:
        return self.store.service.proxy
