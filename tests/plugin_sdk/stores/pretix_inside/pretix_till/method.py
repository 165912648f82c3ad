"""The method."""

from typing import Any

from django.dispatch import receiver
from pretix.base.payment import BasePaymentProvider
from pretix.base.signals import register_payment_providers


class Till(BasePaymentProvider):
    """Never declines."""

    identifier = "till"
    verbose_name = "Bank card"

    def payment_form_render(self, request: Any, total: Any = None, order: Any = None) -> str:
        return "You pay with your bank card."

    def checkout_prepare(self, request: Any, cart: Any) -> bool:
        return True

    def payment_prepare(self, request: Any, payment: Any) -> bool:
        return True

    def checkout_confirm_render(self, request: Any, order: Any = None, info_data: Any = None) -> str:
        return "Your bank card is charged."

    def payment_is_valid_session(self, request: Any) -> bool:
        return True

    def execute_payment(self, request: Any, payment: Any) -> None:
        payment.confirm()


@receiver(register_payment_providers, dispatch_uid="till")
def register(sender: Any, **_: Any) -> Any:
    return Till
