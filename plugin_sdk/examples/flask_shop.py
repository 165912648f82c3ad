"""A small Flask shop that sells one book and takes gift cards; any other WSGI shop does the same in its own words.

    export SCRIP_URL=… SCRIP_CLIENT_ID=… SCRIP_CLIENT_SECRET=… SHOP_SECRET=$(openssl rand -hex 32)
    flask --app flask_shop make-tables
    flask --app flask_shop run          # and every minute: flask --app flask_shop deliver

What stays of a card is a payment ID: in the session, which is a cookie here, and in the table of orders.
"""

import os
import secrets
import threading
from contextlib import suppress

from flask import Flask, Response, redirect, render_template_string, request, session, url_for
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, insert, select
from sqlalchemy.exc import IntegrityError

from scrip_sdk import Client, CodeMistyped, CodeRefused, Money, PaymentClosed, ScripError, TryLater
from scrip_sdk.checkout import CheckoutDeclined, finish_checkout, start_checkout
from scrip_sdk.keys import exchange_key, new_nonce
from scrip_sdk.masking import install_masking
from scrip_sdk.order import OrderNotConfirmed, confirm_order, void_unless_placed
from scrip_sdk.outbox import settle_later, utc_now
from scrip_sdk.outbox.deliver import deliver
from scrip_sdk.outbox.sql import SqlOutbox, outbox_table
from scrip_sdk.shopper import Shopper, shopper_of
from scrip_sdk.split import split

BOOK = Money.of("30.00", "GBP")

app = Flask(__name__)
app.secret_key = os.environ["SHOP_SECRET"]
app.config.update(SESSION_COOKIE_SAMESITE="Lax", SESSION_COOKIE_HTTPONLY=True)
install_masking()  # no code reaches a log, whoever logs it

client = Client(os.environ["SCRIP_URL"], os.environ["SCRIP_CLIENT_ID"], os.environ["SCRIP_CLIENT_SECRET"])
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
def show_basket() -> str:
    """The basket, what the card pays of it, and what is left for another method. Every form has a fresh nonce."""
    begin_basket()
    card = session.get("card")
    paid = split(BOOK, [Money(card["held_minor"], BOOK.currency)] if card else [])
    words = {"card": card, "pays": paid.amounts, "rest": paid.remainder, "nonce": new_nonce(), "total": BOOK}
    return render_template_string(PAGE, said=session.pop("said", ""), **words)


@app.post("/card")
def add_card() -> Response:
    """A code becomes a payment. It goes from the form to the service, and is forgotten."""
    begin_basket()
    order, shopper = session["order"], who()
    try:
        key = exchange_key(request.form["nonce"], order_reference=order, shopper=shopper, amount=BOOK)
        code = request.form["code"]
        payment = client.exchange(code, order_reference=order, key=key, shopper=shopper, amount=BOOK)
        session["card"] = {"payment_id": payment.id, "held_minor": payment.held.amount_minor}
    except CodeMistyped:
        session["said"] = "There is a typing mistake in the code. Please look again."
    except CodeRefused as refused:
        session["said"] = refused.message
    except TryLater as wait:
        session["said"] = f"Please wait {wait.retry_after_s} seconds before the next try."
    except ScripError:
        session["said"] = "Gift cards cannot be taken just now. Please pay in another way, or try again."
    except ValueError:
        session["said"] = "Please load the page again."
    return redirect(url_for("show_basket"), 303)


@app.post("/card/remove")
def remove_card() -> Response:
    """The hold is released; typed again here, by this shopper, the code is good."""
    if card := session.pop("card", None):
        with suppress(ScripError):  # its hold ends by its own time
            client.void(card["payment_id"])
    return redirect(url_for("show_basket"), 303)


@app.post("/checkout")
def go_to_checkout() -> Response:
    """The other way: the code is typed at the service's page, and this shop never has it."""
    begin_basket()
    back = url_for("come_back", _external=True)
    try:
        more = {"return_url": back, "session": session, "shopper": who()}
        url = start_checkout(client, order=session["order"], amount=BOOK, **more)
    except ScripError:
        session["said"] = "Gift cards cannot be taken just now. Please pay in another way, or try again."
        url = url_for("show_basket")
    return redirect(url, 303)


@app.get("/paid")
def come_back() -> Response:
    """The shopper is back. When the answer was lost, the same order's next checkout leads to the same payment."""
    try:
        approved = finish_checkout(client, request.args, session)
        session["card"] = {"payment_id": approved.payment_id, "held_minor": approved.amount.amount_minor}
    except CheckoutDeclined:
        session["said"] = "You have not paid with a gift card."
    except ScripError:
        session["said"] = "That did not work. Nothing was taken: please try again, or pay in another way."
    return redirect(url_for("show_basket"), 303)


@app.post("/order")
def place_order() -> Response:
    """The order, the card's confirmation and the instruction to settle stand together, or none of them does.

    The order's row comes first: who presses twice waits here for himself, and then finds the order. When this process
    dies in between, or the card cannot be used, the void that was written before gives back what it may hold.
    """
    if "order" not in session:
        return redirect(url_for("show_basket"), 303)
    order, card = session["order"], session.get("card")
    paid = split(BOOK, [Money(card["held_minor"], BOOK.currency)] if card else [])
    payment_id = card["payment_id"] if card else None
    minor = {"card_minor": (BOOK - paid.remainder).amount_minor, "other_minor": paid.remainder.amount_minor}
    if card:
        with engine.begin() as db:
            void_unless_placed(SqlOutbox(db, outbox.table), order, [payment_id])
    try:
        with engine.begin() as db:
            db.execute(insert(orders).values(reference=order, payment_id=payment_id, **minor))
            if card:
                in_this = SqlOutbox(db, outbox.table)
                confirm_order(client, order, [(payment_id, paid.amounts[0])], outbox=in_this)
                in_this.add(settle_later(payment_id, paid.amounts[0], order_reference=order))
    except IntegrityError:  # this very order stands already: its settle is not to wait behind a second press's void
        outbox.withdraw_voids(payment_id or "", at=utc_now())
    except OrderNotConfirmed as refused:
        if refused.voided or isinstance(refused.cause, PaymentClosed):
            session.pop("card")
        session["said"] = "The gift card could not be used. Please type the code again, or pay in another way."
        return redirect(url_for("show_basket"), 303)
    threading.Thread(target=deliver, args=(outbox, client)).start()  # what is lost here, the command finds
    session.pop("order"), session.pop("card", None)
    return redirect(url_for("show_order", reference=order), 303)


@app.get("/orders/<reference>")
def show_order(reference: str) -> tuple[str, int]:
    with engine.connect() as db:
        found = db.execute(select(orders).where(orders.c.reference == reference)).first()
    return (f"<h1>Thank you</h1><p>Order {found.reference} is on its way.", 200) if found else ("No such order", 404)


@app.cli.command("make-tables")
def make_tables_command() -> None:
    """Makes the shop's tables, the outbox among them."""
    tables.create_all(engine)


@app.cli.command("deliver")
def deliver_command() -> None:
    """Tells the service what it has not been told yet."""
    print(deliver(outbox, client))  # noqa: T201


def begin_basket() -> None:
    """Who shops has a name of his own here, and his order a reference before it is placed."""
    session.setdefault("shopper", secrets.token_hex(16))
    session.setdefault("order", f"web-{secrets.token_hex(8)}")


def who() -> Shopper:
    return shopper_of(os.environ["SHOP_SECRET"], session["shopper"], request.remote_addr)


PAGE = """<!doctype html><title>Bookshop</title><h1>One book, {{ total }}</h1><p role=alert>{{ said }}</p>
{% if card %}<p>Gift card: {{ pays[0] }}</p><form method=post action=card/remove><button>Remove it</button></form>
{% else %}<form method=post action=card><input type=hidden name=nonce value="{{ nonce }}">
<label>Gift card code <input name=code autocomplete=off></label><button>Use it</button></form>
<form method=post action=checkout><button>Pay with a gift card at Scrip</button></form>{% endif %}
<p>By bank transfer: {{ rest }}</p><form method=post action=order><button>Place the order</button></form>"""
