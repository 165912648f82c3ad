"""Gives back what was confirmed for an order that never came to stand: the process died, or creating it failed."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from scrip_sdk.django.payments import give_back
from scrip_sdk.django.records import State, alias, locked, payments
from scrip_sdk.django.settings import scrip_settings
from scrip_sdk.django.times import stored

#: At most so many in one transaction.
AT_ONCE = 200


def give_back_abandoned(at: datetime, *, kept: "Iterable[str]" = ()) -> int:
    """Has the service release what no order stands on at this time; returns how many.

    Those that are confirmed, when the last try is `ABANDONED_AFTER_S` old. Those that are applied, once their hold must
    be over: where a request is one transaction, its rollback takes back that they were confirmed, and the service
    holds them for days. Releasing one that is over does no harm. Whoever is placing an order at this moment has the
    row locked, and is passed over. `kept`: payments that somebody is still at, however long it takes.
    """
    tried_before = stored(at - timedelta(seconds=scrip_settings().abandoned_after_s))
    old = Q(state=State.CONFIRMED, confirmed_at__lt=tried_before) | Q(state=State.APPLIED, expires_at__lt=stored(at))
    given = 0
    while True:
        with transaction.atomic(using=alias()):
            found = list(
                locked(payments().filter(old).exclude(payment_id__in=kept).order_by("pk"), skip_locked=True)[:AT_ONCE]
            )
            given += (now_given := len(give_back(found)))
        if len(found) < AT_ONCE or not now_given:
            return given
