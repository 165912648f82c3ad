"""A small FastAPI shop that sells one book and takes gift cards by the field for codes: it never sees a code.

    export SCRIP_URL=… SCRIP_CLIENT_ID=… SCRIP_CLIENT_SECRET=… SCRIP_STORE_ID=… SHOP_SECRET=$(openssl rand -hex 32)
    python fastapi_shop.py make-tables
    uvicorn fastapi_shop:app            # and every minute: python fastapi_shop.py deliver

The operator of the service names this shop's origin first: scrip store origins str_… https://shop.example
"""

import os
import secrets
import sys
from typing import Any

from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, insert
from sqlalchemy.exc import IntegrityError
from starlette.concurrency import run_in_threadpool
from starlette.middleware.sessions import SessionMiddleware

from scrip_sdk import Client, CodeRefused, Money, PaymentClosed, ScripError, TryLater
from scrip_sdk.aio import AsyncClient
from scrip_sdk.keys import exchange_key, new_nonce
from scrip_sdk.masking import install_masking
from scrip_sdk.order import OrderNotConfirmed, confirm_order, void_unless_placed
from scrip_sdk.outbox import settle_later, utc_now
from scrip_sdk.outbox.deliver import deliver
from scrip_sdk.outbox.sql import SqlOutbox, outbox_table
from scrip_sdk.shopper import Shopper, shopper_of
from scrip_sdk.split import split
from scrip_sdk.widget import widget_csp, widget_tag

BOOK = Money.of("30.00", "GBP")
SECRET, SCRIP, STORE = os.environ["SHOP_SECRET"], os.environ["SCRIP_URL"], os.environ["SCRIP_STORE_ID"]

install_masking()  # no secret reaches a log, whoever logs it
app = FastAPI(openapi_url=None)
app.add_middleware(SessionMiddleware, secret_key=SECRET, same_site="lax")

credentials = (SCRIP, os.environ["SCRIP_CLIENT_ID"], os.environ["SCRIP_CLIENT_SECRET"])
#: One for what waits for the network alone, one for what runs in a thread, with a transaction around it.
client, client_of_threads = AsyncClient(*credentials), Client(*credentials)
engine = create_engine(os.environ.get("SHOP_DATABASE", "sqlite:///shop.db?timeout=30"))
tables = MetaData()
orders = Table(
    "shop_order",
    tables,
    Column("reference", String(40), primary_key=True),
    Column("card_minor", Integer, nullable=False),
    Column("other_minor", Integer, nullable=False),
    Column("payment_id", String(64)),
)
outbox = SqlOutbox(engine, outbox_table(tables))


@app.get("/")
async def show_basket(request: Request) -> HTMLResponse:
    """The basket with the field for codes; what the page allows is its own script, and the service's frame."""
    order, shopper, card = begin_basket(request)
    paid, nonce = split_of(card), secrets.token_urlsafe(16)
    shown = f"<p>Gift card: {paid.amounts[0]}</p>" if card else ""
    field = shown or widget_tag(SCRIP, STORE, order, BOOK, shopper, nonce=nonce)
    page = PAGE.format(
        field=field, rest=paid.remainder, total=BOOK, form=new_nonce(), nonce=nonce, hidden="hidden" if card else ""
    )
    scrip = widget_csp(SCRIP)
    allowed = f"script-src 'nonce-{nonce}' {scrip['script-src']}; frame-src {scrip['frame-src']}; connect-src 'self'"
    return HTMLResponse(page, headers={"Content-Security-Policy": f"default-src 'none'; {allowed}"})


@app.post("/card")
async def add_card(request: Request) -> JSONResponse:
    """The page's code token becomes a payment. Order and shopper are named here, whatever the page says."""
    order, shopper, _ = begin_basket(request)
    try:
        sent = await request.json()
        key = exchange_key(str(sent["form"]), order_reference=order, shopper=shopper, amount=BOOK)
        payment = await client.exchange_token(
            str(sent["code_token"]), order_reference=order, key=key, shopper=shopper, amount=BOOK
        )
        request.session["card"] = {"payment_id": payment.id, "held_minor": payment.held.amount_minor}
    except CodeRefused as refused:
        return JSONResponse({"said": refused.message}, 422)
    except TryLater as wait:
        return JSONResponse({"said": f"Please wait {wait.retry_after_s} seconds before the next try."}, 429)
    except (ValueError, KeyError, TypeError):
        return JSONResponse({"said": "Please load the page again."}, 400)
    except ScripError:
        return JSONResponse({"said": "Gift cards cannot be taken just now. Please pay in another way."}, 503)
    return JSONResponse({"balance": str(payment.balance), "pays": str(split_of(request.session["card"]).amounts[0])})


@app.post("/order")
async def place_order(request: Request, background: BackgroundTasks) -> Response:
    """The order stands, or it does not; the service is told after the answer has gone out."""
    order, _, card = begin_basket(request)
    try:
        await run_in_threadpool(keep_order, order, card)
    except OrderNotConfirmed as refused:
        if refused.voided or isinstance(refused.cause, PaymentClosed):
            request.session.pop("card")
        return JSONResponse({"said": "The gift card could not be used. Please try again, or pay in another way."}, 409)
    background.add_task(deliver, outbox, client_of_threads)  # what is lost here, the command finds
    request.session.pop("order"), request.session.pop("card", None)
    return JSONResponse({"order": order}, 201)


def keep_order(order: str, card: "dict[str, Any] | None") -> None:
    """Order, confirmation and instruction to settle, in one transaction. The order's row comes first: who presses twice
    waits here for himself, and then finds the order. When this process dies in between, or the card cannot be used, the
    void that was written before gives back what it may hold. Raises OrderNotConfirmed."""
    paid, payment_id = split_of(card), card and card["payment_id"]
    minor = {"card_minor": (BOOK - paid.remainder).amount_minor, "other_minor": paid.remainder.amount_minor}
    if payment_id:
        with engine.begin() as db:
            void_unless_placed(SqlOutbox(db, outbox.table), order, [payment_id])
    try:
        with engine.begin() as db:
            db.execute(insert(orders).values(reference=order, payment_id=payment_id, **minor))
            if payment_id:
                in_this = SqlOutbox(db, outbox.table)
                confirm_order(client_of_threads, order, [(payment_id, paid.amounts[0])], outbox=in_this)
                in_this.add(settle_later(payment_id, paid.amounts[0], order_reference=order))
    except IntegrityError:  # this very order stands already: its settle is not to wait behind a second press's void
        outbox.withdraw_voids(payment_id or "", at=utc_now())


def begin_basket(request: Request) -> "tuple[str, Shopper, dict[str, Any] | None]":
    """The order's reference, who shops, and the card that is in the basket."""
    name = request.session.setdefault("shopper", secrets.token_hex(16))
    order = request.session.setdefault("order", f"web-{secrets.token_hex(8)}")
    address = request.client.host if request.client else None
    return order, shopper_of(SECRET, name, address), request.session.get("card")


def split_of(card: "dict[str, Any] | None") -> Any:
    return split(BOOK, [Money(card["held_minor"], BOOK.currency)] if card else [])


PAGE = """<!doctype html><title>Bookshop</title><h1>One book, {total}</h1><p id=said role=alert></p>{field}
<button id=use {hidden}>Use this card</button><p>By bank transfer: {rest}</p><button id=order>Place the order</button>
<script nonce="{nonce}">
const post = async (path, body) => (await fetch(path, {{method: "POST", body: JSON.stringify(body)}})).json();
const field = document.querySelector("scrip-code"), said = document.querySelector("#said");
document.querySelector("#use").onclick = () => field.tokenise();
field?.addEventListener("token", async ({{detail}}) => {{
  const answer = await post("/card", {{code_token: detail.code_token, form: "{form}"}});
  if (answer.said) said.textContent = answer.said; else location.reload();
}});
document.querySelector("#order").onclick = async () => {{
  const answer = await post("/order", {{}});
  said.textContent = answer.said || `Thank you. Order ${{answer.order}} is on its way.`;
}};
</script>"""

if __name__ == "__main__" and sys.argv[1:] == ["make-tables"]:
    tables.create_all(engine)
elif __name__ == "__main__":
    print(deliver(outbox, client_of_threads))  # noqa: T201
