"""The forked app, as Oscar finds it."""

from scrip_sdk.oscar.checkout.apps import CheckoutConfig as WithGiftCards


class CheckoutConfig(WithGiftCards):
    """In INSTALLED_APPS in place of Oscar's own."""

    name = "shop.checkout"
