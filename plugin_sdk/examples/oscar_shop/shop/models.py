"""What the bank has been asked: a stand-in for its books, so that what was charged twice would show."""

from django.db import models


class BankCharge(models.Model):
    """One charge of a bank card. The bank, like a real one, takes an order's number once."""

    order_number = models.CharField(max_length=128, unique=True)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    last_digits = models.CharField(max_length=4)
    charged_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return f"{self.amount} for {self.order_number}"
