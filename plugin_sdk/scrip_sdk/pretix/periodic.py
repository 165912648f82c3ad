"""What `runperiodic` does for gift cards: it tells the service what it was not told, and pretix what came of it."""

import logging
from collections import defaultdict
from typing import Any

from django_scopes import scope, scopes_disabled
from pretix.base.models import OrderPayment, OrderRefund
from pretix.base.payment import PaymentException

from scrip_sdk.django.abandoned import give_back_abandoned
from scrip_sdk.django.delivery import deliver_all
from scrip_sdk.django.models import ScripInstruction
from scrip_sdk.django.records import instructions
from scrip_sdk.django.times import now
from scrip_sdk.pretix.clients import PROVIDER, NoClient, as_client_of
from scrip_sdk.pretix.models import EventPayment
from scrip_sdk.pretix.paying import PENDING, advance, conclude_refund

#: For one event; the others wait no longer for one whose service is slow.
SECONDS = 20

log = logging.getLogger(__name__)


def tell_service(sender: Any, **_: Any) -> None:
    """Goes on where payments were left, gives back what no order stands on, delivers, and writes down what was done."""
    with scopes_disabled():
        _for_each_payment()
        give_back_abandoned(now(), kept=_pending().values("payment_id"))
        for (event, is_test), payment_ids in _waiting().items():
            try:
                with as_client_of(event, is_test=is_test):
                    deliver_all(seconds=SECONDS, only=payment_ids)
            except NoClient:
                log.warning("scrip: event %s has no client, and %d payments wait for one", event.slug, len(payment_ids))
        _for_each_payment(ask=False)
        for refund in OrderRefund.objects.filter(provider=PROVIDER, state=OrderRefund.REFUND_STATE_TRANSIT):
            with scope(organizer=refund.order.event.organizer):
                conclude_refund(refund)


def _pending() -> Any:
    """What pays an order that waits for it."""
    return EventPayment.objects.filter(order_payment__provider=PROVIDER, order_payment__state=PENDING)


def _for_each_payment(*, ask: bool = True) -> None:
    """Takes each as far as it goes. One that cannot keeps no other waiting, and an absent service is asked once."""
    away: set[tuple[int, bool]] = set()
    for card in _pending().select_related("event__organizer").order_by("pk"):
        with scope(organizer=card.event.organizer):
            payment = OrderPayment.objects.select_related("order__event__organizer").get(pk=card.order_payment_id)
            whose = (card.event_id, card.is_test)
            try:
                if not advance(payment, card, ask=ask and whose not in away):
                    away.add(whose)
            except PaymentException:
                continue  # pretix has it as failed, and the shopper a letter
            except Exception:
                log.exception("scrip: payment %s could not go on", payment.full_id)


def _waiting() -> "dict[tuple[Any, bool], list[str]]":
    """The payments of which the service is to be told something, by whose client says it."""
    pending = instructions().filter(state=ScripInstruction.State.PENDING).values("payment_id")
    found: dict[tuple[Any, bool], list[str]] = defaultdict(list)
    for card in EventPayment.objects.filter(payment_id__in=pending).select_related("event__organizer"):
        found[card.event, card.is_test].append(card.payment_id)
    return found
