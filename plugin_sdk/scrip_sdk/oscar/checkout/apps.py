"""The app, and the addresses that it adds to Oscar's checkout."""

from typing import TYPE_CHECKING, Any

from django.urls import path
from oscar.apps.checkout.apps import CheckoutConfig as OscarCheckoutConfig
from oscar.core.loading import get_class

if TYPE_CHECKING:
    from oscar.apps.checkout.apps import CheckoutConfig as _Config  # what it is mixed into
else:
    _Config = object


class GiftCardUrlsMixin(_Config):
    """Adds where cards are put on an order and taken off: for the `CheckoutConfig` of a forked checkout app."""

    def ready(self) -> None:
        """Finds the views, in a fork too."""
        super().ready()
        self.apply_gift_card_view = get_class("checkout.views", "ApplyGiftCardView")
        self.remove_gift_card_view = get_class("checkout.views", "RemoveGiftCardView")
        self.return_with_gift_card_view = get_class("checkout.views", "ReturnWithGiftCardView")

    def get_urls(self) -> Any:
        """Oscar's, and three more."""
        urls = [
            path("gift-card/", self.apply_gift_card_view.as_view(), name="gift-card-apply"),
            path("gift-card/remove/", self.remove_gift_card_view.as_view(), name="gift-card-remove"),
            path("gift-card/return/", self.return_with_gift_card_view.as_view(), name="gift-card-return"),
        ]
        return super().get_urls() + self.post_process_urls(urls)


class CheckoutConfig(GiftCardUrlsMixin, OscarCheckoutConfig):
    """`scrip_sdk.oscar.checkout.apps.CheckoutConfig` in INSTALLED_APPS."""

    name = "scrip_sdk.oscar.checkout"
