"""manage.py scrip_bill: what the service owes the store for a month, payment by payment."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from scrip_sdk.bill import as_csv, as_json, make_bill, totals
from scrip_sdk.django import brings_clients
from scrip_sdk.django.outbox import DjangoOutbox


class Command(BaseCommand):
    """The bill goes to standard output, what is not on it to standard error."""

    help = "Writes the bill for a month: what was settled less what was refunded, for each payment."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """As `python -m scrip_sdk bill` has them."""
        parser.add_argument("--month", required=True, help="as 2026-10, in UTC")
        parser.add_argument("--format", choices=("csv", "json"), default="csv")
        parser.add_argument("--reference", help="the store's own name for the bill (in JSON; as scrip-2026-10)")

    def outbox(self, **options: Any) -> DjangoOutbox:
        """What the bill is made of. Raises CommandError where several stores share it."""
        if brings_clients():
            raise CommandError("several stores share this outbox, and each has a bill of its own")
        return DjangoOutbox()

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises CommandError for what is no month."""
        try:
            bill = make_bill(self.outbox(**options), options["month"])
        except ValueError as error:
            raise CommandError(str(error)) from None
        reference = options["reference"] or f"scrip-{bill.period}"
        self.stdout.write(as_csv(bill) if options["format"] == "csv" else as_json(bill, reference), ending="")
        shown = ", ".join(map(str, totals(bill.lines))) or "nothing"
        self.stderr.write(f"{bill.period}: {len(bill.lines)} payments, {shown}")
        if bill.pending or bill.dead:
            self.stderr.write(f"not billed: {len(bill.pending)} payments pending, {bill.dead} instructions given up")
