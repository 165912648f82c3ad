"""What pretix calls: for the payment provider, for periodic tasks, and before it writes its log."""

import json
from typing import Any

from django.db.models.signals import pre_save
from django.dispatch import receiver
from pretix.base.models import LogEntry
from pretix.base.signals import periodic_task, register_payment_providers

from scrip_sdk.pretix.periodic import tell_service

SETTINGS_SAVED = "pretix.event.payment.provider"


@receiver(register_payment_providers, dispatch_uid="scrip_provider")
def register_provider(sender: Any, **_: Any) -> Any:
    """The provider's class; it is imported once pretix is loaded."""
    from scrip_sdk.pretix.provider import GiftCards

    return GiftCards


periodic_task.connect(tell_service, dispatch_uid="scrip_periodic")


@receiver(pre_save, sender=LogEntry, dispatch_uid="scrip_no_secrets_in_log")
def keep_secrets_out_of_log(sender: Any, instance: LogEntry, **_: Any) -> None:
    """pretix logs what was changed in a provider's settings as it was typed, secrets too."""
    if instance.action_type != SETTINGS_SAVED or "payment_scrip_" not in (instance.data or ""):
        return
    said = json.loads(instance.data)
    for name in said.get("new_values", {}):
        if name.endswith("_secret"):
            said["new_values"][name] = "********"
    instance.data = json.dumps(said, sort_keys=True)
