"""The client that stores use: one object for all threads of a process, and for those that it forks."""

import os
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from scrip_sdk import calls
from scrip_sdk.bill import Bill
from scrip_sdk.budget import Budget, Deadline
from scrip_sdk.calls import Call
from scrip_sdk.code import Code
from scrip_sdk.money import Money
from scrip_sdk.payment import Payment, Refund, SentBill, Settlement
from scrip_sdk.service import Service
from scrip_sdk.shopper import Shopper
from scrip_sdk.steps import Renew, Send, take_steps
from scrip_sdk.wire import Wire

T = TypeVar("T")


class Client:
    """Asks the service on a store's behalf. Thread-safe; a context manager; good in forked processes.

    `base_url`: the service's origin, https but on this machine; nothing is ever sent anywhere else. `client_secret`, or
    `private_key` (PEM or JWK; extra `keys`). `scopes`: to ask for fewer than the client holds. `issuer`: where the
    service goes by another origin than `base_url`. `ssl_context`: for a certificate authority of one's own.
    `connections`: how many are kept open; more threads than that are served too. `may_connect`: asked of each IP
    address before it is connected to, for software in which strangers say `base_url`; where none is allowed, calls
    raise ServiceUnavailable (`address-not-allowed`).

    Each method raises ScripError of one of its classes, within the budget's time. Raises ValueError: see Service.
    """

    def __init__(
        self,
        base_url: str,
        client_id: str,
        client_secret: str | None = None,
        *,
        private_key: str | bytes | dict[str, Any] | None = None,
        budget: Budget | None = None,
        scopes: tuple[str, ...] | list[str] | None = None,
        issuer: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        connections: int = 32,
        may_connect: Callable[[str], bool] | None = None,
    ) -> None:
        self.service = service_of(
            base_url,
            client_id,
            client_secret,
            private_key=private_key,
            budget=budget,
            scopes=scopes,
            issuer=issuer,
        )
        self._ssl_context, self._connections, self._may_connect = ssl_context, connections, may_connect
        self._by_process: dict[int, _Open] = {}
        self._closed = False

    def exchange(
        self,
        code: Code | str,
        *,
        order_reference: str,
        key: str,
        shopper: Shopper | None = None,
        amount: Money | None = None,
        hold_ttl_s: int | None = None,
    ) -> Payment:
        """A code becomes a payment of this store's; forget the code, keep the payment's ID.

        `amount`: the most that is held. `shopper`: who types it, for the store alone (shopper_of). `hold_ttl_s`: a
        shorter hold, in seconds. Raises CodeMistyped (no call was made), CodeRefused, TryLater at once.
        """
        try:
            call = calls.exchange(
                code, order_reference=order_reference, key=key, shopper=shopper, amount=amount, hold_ttl_s=hold_ttl_s
            )
        finally:
            del code  # a report of an error may show the variables of this frame
        return self.ask(call)

    def exchange_token(
        self,
        code_token: str,
        *,
        order_reference: str,
        key: str,
        shopper: Shopper | None = None,
        amount: Money | None = None,
        hold_ttl_s: int | None = None,
    ) -> Payment:
        """The same with the code token of the field for codes, within 60 seconds. Raises CodeRefused, TryLater."""
        try:
            call = calls.exchange_token(
                code_token,
                order_reference=order_reference,
                key=key,
                shopper=shopper,
                amount=amount,
                hold_ttl_s=hold_ttl_s,
            )
        finally:
            del code_token  # as in `exchange`
        return self.ask(call)

    def get(self, payment_id: str) -> Payment:
        """The payment as it is now. Raises RequestRejected (`not-found`)."""
        return self.ask(calls.get(payment_id))

    def confirm(
        self, payment_id: str, *, order_reference: str, amount: Money | None = None, key: str | None = None
    ) -> Payment:
        """The order stands on the payment, whose hold lasts for days from now on; `amount` holds less.

        Without `key` each call draws its own, so that the answer is how things stand now. It may be asked again for the
        same order. Raises PaymentClosed, AmountTooHigh.
        """
        return self.ask(calls.confirm(payment_id, order_reference=order_reference, amount=amount, key=key))

    def settle(
        self,
        payment_id: str,
        amount: Money,
        *,
        order_reference: str | None = None,
        final: bool = True,
        key: str | None = None,
    ) -> Settlement:
        """Takes the amount for good; a final one releases the rest.

        Without `key` it is made of the payment and the order; a part (`final=False`) must have one of its own. Raises
        PaymentClosed, AmountTooHigh, RequestRejected.
        """
        return self.ask(calls.settle(payment_id, amount, order_reference=order_reference, final=final, key=key))

    def void(self, payment_id: str, *, key: str | None = None) -> Payment:
        """Releases the whole hold. Raises PaymentClosed."""
        return self.ask(calls.void(payment_id, key=key))

    def extend(self, payment_id: str, hold_ttl_s: int, *, key: str) -> Payment:
        """Holds a confirmed payment for so many seconds from now. Raises PaymentClosed."""
        return self.ask(calls.extend(payment_id, hold_ttl_s, key=key))

    def refund(self, payment_id: str, amount: Money, *, key: str, reason: str | None = None) -> Refund:
        """Gives settled money back to the card. Raises AmountTooHigh."""
        return self.ask(calls.refund(payment_id, amount, key=key, reason=reason))

    def submit_bill(self, bill: Bill, *, reference: str) -> SentBill:
        """Sends a month's bill (scrip_sdk.bill.make_bill), under the store's own name for it.

        Its key comes from the reference: sent again it is the same bill. What is pending is not sent. It may take as
        long as BILL_BUDGET says, for it may have many megabytes. Raises RequestRejected: `reference-reused` where
        another bill has the reference, `invalid-request` for a month that has not begun.
        """
        return self.ask(calls.submit_bill(bill, reference=reference))

    def get_bill(self, bill_id: str) -> SentBill:
        """How far the service is with a bill. Raises RequestRejected (`not-found`)."""
        return self.ask(calls.get_bill(bill_id))

    def ask(self, call: Call[T], deadline: Deadline | None = None) -> T:
        """Any call, within the budget, and before `deadline` where several calls share one. Raises ScripError."""
        total_s = (call.budget or self.service.budget).total_s
        deadline = Deadline.after(total_s) if deadline is None else deadline.sooner(total_s)
        opened = self._opened()
        steps = take_steps(self.service, call, deadline)
        reply: object = None
        try:
            while True:
                step = steps.send(reply)
                if isinstance(step, Send):
                    reply = opened.wire.send(step)
                elif isinstance(step, Renew):
                    reply = opened.lock if opened.lock.acquire(timeout=step.within_s) else None
                else:
                    time.sleep(step.seconds)
                    reply = None
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            steps.close()

    def close(self) -> None:
        """Closes this process's connections; the client is of no use afterwards."""
        self._closed = True
        if opened := self._by_process.pop(os.getpid(), None):
            opened.wire.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.service!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a client is never pickled: it has the store's credentials")

    def _opened(self) -> "_Open":
        """This process's own connections and lock: those of its parent are never touched, for the parent uses them on,
        and a lock that another thread held when the process was forked is never released."""
        if self._closed:
            raise RuntimeError("the client is closed")
        opened = self._by_process.get(os.getpid())
        if opened is None:
            wire = Wire(
                self.service.origin,
                ssl_context=self._ssl_context,
                connections=self._connections,
                may_connect=self._may_connect,
            )
            opened = self._by_process.setdefault(os.getpid(), _Open(wire))  # of two threads' one wins
        return opened


class _Open:
    """What one process has open."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.lock = threading.Lock()


def service_of(
    base_url: str,
    client_id: str,
    client_secret: str | None,
    *,
    private_key: str | bytes | dict[str, Any] | None,
    budget: Budget | None,
    scopes: tuple[str, ...] | list[str] | None,
    issuer: str | None,
) -> Service:
    """The service by a client's arguments; a private key needs the extra `keys`. Raises ValueError, ImportError."""
    signer = None
    if private_key is not None:
        from scrip_sdk.signing import Signer  # a store with a secret has not installed what this needs

        signer = Signer(private_key)
    return Service(
        base_url,
        client_id,
        client_secret,
        signer=signer,
        budget=budget,
        scopes=None if scopes is None else tuple(scopes),
        issuer=issuer,
    )
