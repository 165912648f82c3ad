"""A plugin for pretix with a method that takes money at once: what gift cards do not pay is paid with it."""

from django.apps import AppConfig


class TillConfig(AppConfig):
    """The plugin, as pretix loads it."""

    name = "pretix_till"

    class PretixPluginMeta:
        name = "Till"
        author = "tests"
        version = "1"
        category = "PAYMENT"
        description = "Takes money at once."
        visible = True

    def ready(self) -> None:
        from pretix_till import method  # noqa: F401 – it registers itself
