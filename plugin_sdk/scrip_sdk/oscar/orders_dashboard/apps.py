"""The app, to stand in INSTALLED_APPS in place of `oscar.apps.dashboard.orders`."""

from typing import Any

from oscar.apps.dashboard.orders.apps import OrdersDashboardConfig as OscarOrdersDashboardConfig


class OrdersDashboardConfig(OscarOrdersDashboardConfig):
    """`scrip_sdk.oscar.orders_dashboard.apps.OrdersDashboardConfig` in INSTALLED_APPS."""

    order_detail_view: Any
    name = "scrip_sdk.oscar.orders_dashboard"

    def ready(self) -> None:
        """Adds to the page of an order, whosever it is: Oscar looks for it in the store's fork of `dashboard`."""
        super().ready()
        from scrip_sdk.oscar.orders_dashboard.views import GiftCardRefundsMixin

        found: Any = self.order_detail_view
        if not issubclass(found, GiftCardRefundsMixin):
            self.order_detail_view = type("OrderDetailView", (GiftCardRefundsMixin, found), {})
