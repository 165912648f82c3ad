"""Makes the tables and the events of a pretix, and then does what is asked for, line by line: its periodic task, and
what has to be looked at from inside. It is one process, for each start of pretix takes five seconds.
"""

import json
import os
import sys
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.core.management import CommandError, call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.utils.timezone import now  # noqa: E402
from django_scopes import scopes_disabled  # noqa: E402
from pretix.base.models import Event, LogEntry, Order, OrderPayment, Organizer, Team, User  # noqa: E402

TASK = "scrip_sdk.pretix.periodic.tell_service"


def prepare(said: "dict[str, Any]") -> "dict[str, Any]":
    """Tables, a person of the back office, and an organizer with one event for each store of the service's."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    user = User.objects.create_user(said["email"], said["password"])
    User.objects.filter(pk=user.pk).update(is_staff=True)
    made = {}
    for slug, store in said["stores"].items():
        organizer = Organizer.objects.create(name=slug.title(), slug=slug)
        team = Team.objects.create(
            organizer=organizer, name="All", all_events=True, all_event_permissions=True, all_organizer_permissions=True
        )
        team.members.add(user)
        event = Event.objects.create(
            organizer=organizer,
            name="Night of Trains",
            slug="night",
            currency="GBP",
            date_from=now() + timedelta(days=30),
            plugins="scrip_sdk.pretix,pretix_till",
            live=True,
            testmode=True,
        )
        item = event.items.create(name="Ticket", default_price="30.00", free_price=True)
        quota = event.quotas.create(name="All", size=None)
        quota.items.add(item)
        for name, value in {
            "payment_till__enabled": True,
            "payment_scrip__enabled": True,
            "payment_scrip_url": store["url"],
            "payment_scrip_test_client_id": store["client_id"],
            "payment_scrip_test_client_secret": store["client_secret"],
            "attendee_names_asked": False,
            "payment_giftcard__enabled": False,
            "payment_scrip_checkout": store["checkout"],
            "invoice_address_asked": False,
        }.items():
            event.settings.set(name, value)
        made[slug] = item.pk
    return made


def deliver(said: "dict[str, Any]") -> None:
    """What a store's timer runs, again and again until nothing waits; what was put off is due at once."""
    for _ in range(said.get("times", 10)):
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE scrip_instruction SET due_at = now() WHERE state = 'pending' AND lease_until IS NULL"
            )
        call_command("runperiodic", tasks=TASK)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT count(*) FROM scrip_instruction WHERE state = 'pending')"
                " + (SELECT count(*) FROM pretixbase_orderpayment WHERE provider = 'scrip' AND state = 'pending')"
            )
            if cursor.fetchone()[0] == 0:
                return


def settings_errors(said: "dict[str, Any]") -> "dict[str, list[str]]":
    """What the settings form says of these fields where private addresses are not asked, as is pretix's default."""
    from django.core.exceptions import ValidationError

    event = Event.objects.get(organizer__slug=said["slug"])
    with override_settings(ALLOW_HTTP_TO_PRIVATE_NETWORKS=said["private"]):
        try:
            event.get_payment_providers()["scrip"].settings_form_clean(dict(said["fields"]))
        except ValidationError as error:
            return dict(error.message_dict)
    return {}


def migrations(said: "dict[str, Any]") -> str:
    """Whether our migrations make what our models say; what they make takes the place of the table."""
    with override_settings(MIGRATION_MODULES={}):
        try:
            call_command("makemigrations", "scrip", "scrip_pretix", check=True, dry_run=True, verbosity=0)
        except (SystemExit, CommandError) as error:
            return f"differs: {error}"
    return "same"


def bill(said: "dict[str, Any]") -> str:
    """The command's output."""
    import io

    out = io.StringIO()
    call_command(
        "scrip_pretix_bill",
        client=said["client"],
        month=f"{now():%Y-%m}",
        format="json",
        stdout=out,
        stderr=io.StringIO(),
    )
    return out.getvalue()


def shred(said: "dict[str, Any]") -> str:
    """What is left of a payment's information."""
    payment = OrderPayment.objects.get(order__code=said["code"], provider="scrip")
    payment.info_data = {**payment.info_data, "name": "Sam"}
    payment.payment_provider.shred_payment_info(payment)
    payment.refresh_from_db()
    return str(payment.info)


def cancel(said: "dict[str, Any]") -> str:
    """The back office cancels an order."""
    from pretix.base.services.orders import _cancel_order

    order = Order.objects.get(code=said["code"])
    _cancel_order(order.pk, send_mail=False)
    return str(order.payments.get(provider="scrip").state)


def expire_and_sell_out(said: "dict[str, Any]") -> None:
    """The order's term is over, and its places are gone."""
    order = Order.objects.get(code=said["code"])
    Order.objects.filter(pk=order.pk).update(status=Order.STATUS_EXPIRED, expires=now() - timedelta(days=1))
    order.event.quotas.update(size=0)


def grow_old(said: "dict[str, Any]") -> None:
    """An hour passes, in which the timer runs, for what was asked of the service."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE scrip_payment SET confirmed_at = now() - interval '1 hour' WHERE state = 'confirmed'")
    call_command("runperiodic", tasks=TASK)


def sell_again(said: "dict[str, Any]") -> None:
    """There are places again."""
    for event in Event.objects.all():
        event.quotas.update(size=None)


def log_of_settings(said: "dict[str, Any]") -> "list[str]":
    """What pretix has logged about payment settings."""
    return list(LogEntry.objects.filter(action_type="pretix.event.payment.provider").values_list("data", flat=True))


def unmet(said: "dict[str, Any]") -> "list[str]":
    """What the SDK requires of this environment, and does not find in it."""
    from importlib.metadata import requires, version

    from packaging.requirements import Requirement

    wanted = [Requirement(each) for each in requires("scrip-sdk") or []]
    here = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": "pretix"})]
    assert {"urllib3", "pretix"} <= {each.name for each in here}
    return [str(each) for each in here if not each.specifier.contains(version(each.name))]


def main() -> None:
    """Reads what to do from standard input: one JSON object a line; answers likewise."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what pretix prints goes elsewhere
    for line in sys.stdin:
        said = json.loads(line)
        with scopes_disabled():
            answer = globals()[said["do"]](said)
        print(json.dumps(answer), file=answers, flush=True)


main()
