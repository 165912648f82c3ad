"""The shop's pages: a basket with one book in it, gift cards to pay with, and an order."""

import secrets

from django import forms
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_POST

from django_shop.models import Order
from scrip_sdk import CodeRefused, Money, PaymentClosed, ScripError, TryLater
from scrip_sdk.django import payments
from scrip_sdk.django.forms import CodeField
from scrip_sdk.django.models import ScripPayment
from scrip_sdk.django.shoppers import shopper_of_request
from scrip_sdk.keys import exchange_key, new_nonce
from scrip_sdk.split import split

PRICE = Money.of("30.00", "GBP")
GONE = "A gift card is not held for you any more. Please type its code again."
AWAY = "Gift cards cannot be taken at the moment. Please pay in another way, or try again."


class CardForm(forms.Form):
    """Where a gift card's code is typed. `nonce` makes of a form that is sent twice one card."""

    scrip_code = CodeField()
    nonce = forms.CharField(max_length=64, widget=forms.HiddenInput, initial=new_nonce)


def basket(request: HttpRequest, form: "CardForm | None" = None, message: str = "") -> HttpResponse:
    """What there is to pay, and by what."""
    cards = cards_of(request)
    words = {
        "form": form or CardForm(),
        "message": message,
        "order": order_number(request),
        "cards": cards,
        "total": PRICE,
        "rest": split(PRICE, [card.held for card in cards]).remainder,
    }
    return TemplateResponse(request, "django_shop/basket.html", words)


@require_POST
def add_card(request: HttpRequest) -> HttpResponse:
    """Takes a gift card for this basket: its code becomes a payment, and is forgotten."""
    form = CardForm(request.POST)
    if not form.is_valid():
        return basket(request, form)
    shopper, order = shopper_of_request(request), order_number(request)
    key = exchange_key(form.cleaned_data["nonce"], order_reference=order, shopper=shopper)
    try:
        card = payments.apply_code(form.cleaned_data["scrip_code"], order_reference=order, key=key, shopper=shopper)
    except CodeRefused as refused:
        return basket(request, message=refused.message)
    except TryLater as refused:
        return basket(request, message=f"Please wait {refused.retry_after_s} seconds, then try again.")
    except ScripError:
        return basket(request, message=AWAY)
    request.session["cards"] = [*(known for known in card_ids(request) if known != card.payment_id), card.payment_id]
    return HttpResponseRedirect("/")


@require_POST
def remove_card(request: HttpRequest) -> HttpResponse:
    """Takes it off again."""
    payment_id = request.POST.get("card", "")
    if payment_id in card_ids(request):
        request.session["cards"] = [known for known in card_ids(request) if known != payment_id]
        payments.remove(payment_id)
    return HttpResponseRedirect("/")


@require_POST
def place_order(request: HttpRequest) -> HttpResponse:
    """Confirms the cards, and lets the order stand. A second press of the button shows the order of the first."""
    order, cards = request.POST.get("order", ""), cards_of(request)
    if order and order == request.session.get("placed"):
        return thanks(request, order)
    if order != order_number(request):
        return basket(request, message="Your basket has changed since you looked at it. Please check it again.")
    shares = split(PRICE, [card.held for card in cards])
    takes = {card.payment_id: amount for card, amount in zip(cards, shares.amounts, strict=True) if amount}
    try:
        payments.confirm(order, takes)
        charge_bank_card(order, shares.remainder)
        with transaction.atomic():
            Order.objects.create(
                number=order, total_minor=PRICE.amount_minor, by_card_minor=(PRICE - shares.remainder).amount_minor
            )
            payments.place(order, takes)
    except (ScripError, IntegrityError) as error:
        if Order.objects.filter(number=order).exists():  # another press was quicker
            return thanks(request, order)
        return basket(request, message=GONE if isinstance(error, PaymentClosed) else AWAY)
    for unneeded in shares.unneeded:
        payments.remove(cards[unneeded].payment_id)
    return thanks(request, order)


def thanks(request: HttpRequest, order: str) -> HttpResponse:
    """Shows the order; what the shopper fills next is another basket."""
    if request.session.get("placed") != order:
        request.session["placed"] = order
        request.session.pop("cards", None)
        request.session.pop("order", None)
    return TemplateResponse(request, "django_shop/thanks.html", {"order": Order.objects.get(number=order)})


def charge_bank_card(order: str, amount: Money) -> None:
    """Another method pays the rest, in a shop that has one: once for an order, by the bank's own idempotency key."""


def order_number(request: HttpRequest) -> str:
    """Drawn once for a basket, whose page sends it back with the order: so a press on an older page is known."""
    number: str = request.session.setdefault("order", f"web-{secrets.token_hex(6)}")
    return number


def card_ids(request: HttpRequest) -> "list[str]":
    """The session holds payment IDs, and nothing else of the cards."""
    found: list[str] = request.session.get("cards", [])
    return found


def cards_of(request: HttpRequest) -> "list[ScripPayment]":
    """Those that are still held for this basket, in the order in which they were added."""
    states = (ScripPayment.State.APPLIED, ScripPayment.State.CONFIRMED)
    known = ScripPayment.objects.filter(payment_id__in=card_ids(request), state__in=states)
    return sorted(known, key=lambda card: card_ids(request).index(card.payment_id))
