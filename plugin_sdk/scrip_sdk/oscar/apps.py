"""The app: its templates, the page's script, and what Oscar's books say once the service has settled."""

from django.apps import AppConfig


class ScripOscarConfig(AppConfig):
    """`scrip_sdk.oscar` in INSTALLED_APPS."""

    name = "scrip_sdk.oscar"
    label = "scrip_oscar"
    verbose_name = "Scrip gift cards for Oscar"

    def ready(self) -> None:
        """Runs once all models are known."""
        from scrip_sdk.oscar import records

        records.connect()
