"""scrip_pretix_bill: what the service owes a store for a month, payment by payment, over all events of its client."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django_scopes import scopes_disabled
from pretix.base.models.event import Event_SettingsStore

from scrip_sdk.django.management.commands.scrip_bill import Command as Bill
from scrip_sdk.django.outbox import DjangoOutbox
from scrip_sdk.pretix.models import EventPayment


class Command(Bill):
    """As `scrip_bill` of `scrip_sdk.django`, for one of the stores that share an outbox."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The client is how events say which store they are."""
        super().add_arguments(parser)
        parser.add_argument("--client", required=True, help="the client's ID, as it stands in the payment settings")

    def outbox(self, **options: Any) -> DjangoOutbox:
        """The payments of this client. Raises CommandError where no event has it."""
        found: list[str] = []
        with scopes_disabled():
            for name, is_test in (("payment_scrip_client_id", False), ("payment_scrip_test_client_id", True)):
                events = Event_SettingsStore.objects.filter(key=name, value=options["client"]).values("object_id")
                found += EventPayment.objects.filter(event_id__in=events, is_test=is_test).values_list(
                    "payment_id", flat=True
                )
        if not found:
            raise CommandError("no event has taken anything with this client")
        return DjangoOutbox(only=found)
