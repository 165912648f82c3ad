"""Scrip for django-oscar 4.2: cards on the payment page, confirmed before an order stands, settled once it does.

INSTALLED_APPS has `scrip_sdk.django`, `scrip_sdk.oscar` and, in place of Oscar's own, `scrip_sdk.oscar.checkout.apps.
CheckoutConfig`; or fork Oscar's checkout app and take the same mixins. docs/plugins-oscar.md shows both.
"""
