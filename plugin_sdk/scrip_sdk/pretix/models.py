"""One table: which event holds a payment, and which of pretix's payments stands on it."""

from django.db import models
from django_scopes import ScopedManager


class EventPayment(models.Model):
    """A payment that an event has taken from the service. What the store holds of it, and what the service is still to
    be told, stands in the tables of `scrip_sdk.django`; here stands whose client may say it."""

    payment_id = models.CharField(max_length=64, unique=True)
    event = models.ForeignKey("pretixbase.Event", on_delete=models.CASCADE, related_name="+")
    #: Taken by the client for test mode: it settles no order of live mode, and the other way round.
    is_test = models.BooleanField()
    #: Of an order; none as long as the card is in a shopper's cart. The newest, where an order was paid anew.
    order_payment = models.ForeignKey(
        "pretixbase.OrderPayment", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = ScopedManager(organizer="event__organizer")

    class Meta:
        app_label = "scrip_pretix"
        db_table = "scrip_pretix_payment"

    def __str__(self) -> str:
        return str(self.payment_id)
