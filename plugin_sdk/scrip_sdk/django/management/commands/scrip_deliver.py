"""manage.py scrip_deliver: tells the service what waits in the outbox, and gives back what no order stands on."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, close_old_connections

from scrip_sdk.django import brings_clients
from scrip_sdk.django.abandoned import give_back_abandoned
from scrip_sdk.django.delivery import deliver_all
from scrip_sdk.django.times import now
from scrip_sdk.outbox.deliver import Delivery


class Command(BaseCommand):
    """Run it once by a timer, or let it run for good beside the web server; any number of them may run at once."""

    help = "Delivers instructions to Scrip, and gives back gift cards that were confirmed for orders that never came."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Once, unless told to go on."""
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--once", action="store_true", help="deliver what is due, then end (the default)")
        how.add_argument("--every", type=float, metavar="S", help="go on until told to end, every so many seconds")

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises what the database raises, when run once; else it says so and tries again. Raises CommandError where
        several stores share the outbox: whatever brings their clients delivers for each."""
        if brings_clients():
            raise CommandError("several stores share this outbox, and the app that brings their clients delivers it")
        every_s = options["every"]
        if not every_s:
            self._round()
            return
        end = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: end.set())
        while not end.is_set():
            wait_s = every_s
            try:
                wait_s = max(every_s, self._round().away_s or 0)
            except DatabaseError as error:
                self.stderr.write(f"{now():%Y-%m-%dT%H:%M:%SZ} the database is away: {type(error).__name__}")
            close_old_connections()
            end.wait(wait_s)

    def _round(self) -> Delivery:
        given_back = give_back_abandoned(now())
        told = deliver_all()
        if given_back or told.done or told.put_off or told.dead:
            self.stdout.write(
                f"{now():%Y-%m-%dT%H:%M:%SZ} {told.done} done, {told.put_off} put off, {told.dead} given up, "
                f"{given_back} without an order to be given back"
            )
        return told
