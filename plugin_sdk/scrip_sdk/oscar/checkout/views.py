"""Oscar's views with gift cards. A store whose orders may cost more than cards pay overrides `take_rest` in a fork."""

from oscar.apps.checkout import views as oscar_views
from oscar.apps.checkout.views import *  # noqa: F403 – a forked app offers all of Oscar's views

from scrip_sdk.oscar.hosted import ReturnMixin
from scrip_sdk.oscar.payment_page import ApplyMixin, RemoveMixin
from scrip_sdk.oscar.placing import PlacingMixin


class PaymentDetailsView(PlacingMixin, oscar_views.PaymentDetailsView):
    """The payment page, the preview, and the placing of the order."""


class ApplyGiftCardView(ApplyMixin, oscar_views.CheckoutSessionMixin, oscar_views.generic.View):
    """A code becomes a payment on this order."""


class RemoveGiftCardView(RemoveMixin, oscar_views.CheckoutSessionMixin, oscar_views.generic.View):
    """A card is taken off the order again."""


class ReturnWithGiftCardView(ReturnMixin, PaymentDetailsView):
    """The shopper comes back from the hosted checkout."""
