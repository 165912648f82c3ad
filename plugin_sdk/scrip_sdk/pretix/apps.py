"""The plugin as pretix loads it."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from scrip_sdk import __version__


class ScripPretixConfig(AppConfig):
    """`scrip_sdk.pretix` in INSTALLED_APPS, where pretix puts it by the entry point."""

    name = "scrip_sdk.pretix"
    label = "scrip_pretix"
    verbose_name = "Scrip gift cards for pretix"
    default_auto_field = "django.db.models.BigAutoField"
    #: Each event has a client of its own (`scrip_sdk.django.with_client`).
    brings_scrip_clients = True

    class PretixPluginMeta:
        """What pretix lists among the plugins of an event."""

        name = _("Scrip gift cards")
        author = "Scrip"
        version = __version__
        category = "PAYMENT"
        description = _("Takes gift cards of Scrip as payment, alone or beside another method.")
        visible = True
        settings_links = (
            ((_("Payment"), _("Gift cards")), "control:event.settings.payment.provider", {"provider": "scrip"}),
        )
        navigation_links = ()

    def ready(self) -> None:
        """Connects the receivers."""
        from scrip_sdk.pretix import signals  # noqa: F401 – they register themselves
