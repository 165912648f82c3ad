"""The client for shops that run on asyncio or trio; it takes the same steps as Client. Needs the extra `async`."""

import ssl
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import anyio
import httpx2

from scrip_sdk import calls
from scrip_sdk.bill import Bill
from scrip_sdk.budget import Budget, Deadline
from scrip_sdk.calls import LONGEST_ANSWER, Answer, Call
from scrip_sdk.client import service_of
from scrip_sdk.code import Code
from scrip_sdk.money import Money
from scrip_sdk.payment import Payment, Refund, SentBill, Settlement
from scrip_sdk.shopper import Shopper
from scrip_sdk.steps import Lost, Renew, Send, Wait, take_steps
from scrip_sdk.wire import is_untrusted

T = TypeVar("T")


class AsyncClient:
    """Client, with await. It belongs to one event loop; arguments, methods and errors are those of Client."""

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
        # The transport alone: what is around it in httpx2 follows redirects, keeps cookies, and logs each request.
        self._transport = httpx2.AsyncHTTPTransport(
            verify=ssl_context or ssl.create_default_context(),
            trust_env=False,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=connections),
        )
        self._lock = anyio.Lock()

    async def exchange(
        self,
        code: Code | str,
        *,
        order_reference: str,
        key: str,
        shopper: Shopper | None = None,
        amount: Money | None = None,
        hold_ttl_s: int | None = None,
    ) -> Payment:
        try:
            call = calls.exchange(
                code, order_reference=order_reference, key=key, shopper=shopper, amount=amount, hold_ttl_s=hold_ttl_s
            )
        finally:
            del code  # a report of an error may show the variables of this frame
        return await self.ask(call)

    async def exchange_token(
        self,
        code_token: str,
        *,
        order_reference: str,
        key: str,
        shopper: Shopper | None = None,
        amount: Money | None = None,
        hold_ttl_s: int | None = None,
    ) -> Payment:
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
        return await self.ask(call)

    async def get(self, payment_id: str) -> Payment:
        return await self.ask(calls.get(payment_id))

    async def confirm(
        self, payment_id: str, *, order_reference: str, amount: Money | None = None, key: str | None = None
    ) -> Payment:
        return await self.ask(calls.confirm(payment_id, order_reference=order_reference, amount=amount, key=key))

    async def settle(
        self,
        payment_id: str,
        amount: Money,
        *,
        order_reference: str | None = None,
        final: bool = True,
        key: str | None = None,
    ) -> Settlement:
        return await self.ask(calls.settle(payment_id, amount, order_reference=order_reference, final=final, key=key))

    async def void(self, payment_id: str, *, key: str | None = None) -> Payment:
        return await self.ask(calls.void(payment_id, key=key))

    async def extend(self, payment_id: str, hold_ttl_s: int, *, key: str) -> Payment:
        return await self.ask(calls.extend(payment_id, hold_ttl_s, key=key))

    async def refund(self, payment_id: str, amount: Money, *, key: str, reason: str | None = None) -> Refund:
        return await self.ask(calls.refund(payment_id, amount, key=key, reason=reason))

    async def submit_bill(self, bill: Bill, *, reference: str) -> SentBill:
        return await self.ask(calls.submit_bill(bill, reference=reference))

    async def get_bill(self, bill_id: str) -> SentBill:
        return await self.ask(calls.get_bill(bill_id))

    async def ask(self, call: Call[T], deadline: Deadline | None = None) -> T:
        """Any call, within the budget, and before `deadline` where several calls share one. Raises ScripError."""
        total_s = (call.budget or self.service.budget).total_s
        deadline = Deadline.after(total_s) if deadline is None else deadline.sooner(total_s)
        steps = take_steps(self.service, call, deadline)
        reply: object = None
        try:
            while True:
                step = steps.send(reply)
                reply = None
                if isinstance(step, Send):
                    reply = await self._send(step)
                elif isinstance(step, Renew):
                    reply = await self._renewing(step.within_s)
                elif isinstance(step, Wait):
                    await anyio.sleep(step.seconds)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            steps.close()

    async def aclose(self) -> None:
        """Closes the connections; the client is of no use afterwards."""
        await self._transport.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.service!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a client is never pickled: it has the store's credentials")

    async def _renewing(self, within_s: float) -> anyio.Lock | None:
        """The lock, held; None where somebody else holds it for longer."""
        if within_s <= 0:
            try:
                self._lock.acquire_nowait()
            except anyio.WouldBlock:
                return None
            return self._lock
        with anyio.move_on_after(within_s):
            await self._lock.acquire()
            return self._lock
        return None

    async def _send(self, send: Send) -> Answer | Lost:
        """Sends it once. No error of the libraries below leaves here, for theirs name headers and bodies."""
        within = send.timeouts
        limits = {"connect": within.connect_s, "read": within.read_s, "write": within.read_s, "pool": within.total_s}

        async def notice(event: str, _: object) -> None:
            if event.endswith("send_request_headers.started"):  # the connection stands, and the answer's time begins
                scope.deadline = min(scope.deadline, anyio.current_time() + within.read_s)

        request = httpx2.Request(
            send.method,
            self.service.origin + send.path,
            headers=send.headers,
            content=send.body or None,
            extensions={"timeout": limits, "trace": notice},
        )
        try:
            with anyio.move_on_after(within.total_s) as scope:  # names, many addresses and drops included
                response = await self._transport.handle_async_request(request)
                try:
                    return await _read(response)
                finally:
                    await response.aclose()
        except httpx2.ConnectError as error:
            return Lost("not-trusted" if is_untrusted(error) else "no-connection")
        except httpx2.ConnectTimeout:
            return Lost("no-connection")
        except (httpx2.TransportError, httpx2.StreamError, OSError):
            return Lost("no-answer")
        return Lost("no-answer")


async def _read(response: httpx2.Response) -> Answer | Lost:
    """The whole answer, unless it is longer than any of the service's."""
    pieces, length = [], 0
    async for piece in response.aiter_raw():
        length += len(piece)
        pieces.append(piece)
        if length > LONGEST_ANSWER:
            return Lost("not-understood")
    return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, b"".join(pieces))
