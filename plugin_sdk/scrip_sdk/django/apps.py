"""The app as Django loads it: masks codes in logs and error reports, and brings the system checks."""

from django.apps import AppConfig


class ScripConfig(AppConfig):
    """`scrip_sdk.django` in INSTALLED_APPS."""

    name = "scrip_sdk.django"
    label = "scrip"
    verbose_name = "Scrip gift cards"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Runs once the settings are known; makes no call and asks no database."""
        from scrip_sdk.django import checks, reporting, signals  # noqa: F401 – checks register themselves
        from scrip_sdk.masking import install_masking

        install_masking()
        reporting.install()
        signals.connect()
