"""The shop's orders."""

from django.db import models


class Order(models.Model):
    """`number` is drawn when the shopper begins to pay: the same basket never becomes two orders."""

    number = models.CharField(max_length=40, unique=True)
    total_minor = models.PositiveIntegerField()
    by_card_minor = models.PositiveIntegerField()
    placed_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.number
