"""A bank card that moves no money. Numbers that begin with 4000 are declined, all others are taken."""

from decimal import Decimal

from django import forms
from django.core.exceptions import ValidationError
from oscar.apps.payment.exceptions import UnableToTakePayment

from shop.models import BankCharge

DECLINED = "4000"


class BankCardForm(forms.Form):
    """What the shopper types: nothing of it is kept but the last four digits."""

    number = forms.CharField(
        label="Card number",
        max_length=24,
        help_text="Any 16 digits: 4242 4242 4242 4242 is taken, 4000 0000 0000 0002 is declined.",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "cc-number"}),
    )

    def clean_number(self) -> str:
        """Sixteen digits, however they were grouped. Raises ValidationError."""
        number: str = self.cleaned_data["number"].replace(" ", "").replace("-", "")
        if not (number.isdecimal() and len(number) == 16):
            raise ValidationError("A card number has 16 digits.")
        return number


def charge(order_number: str, amount: Decimal, number: str) -> BankCharge:
    """Takes the amount for an order, once for its number: another amount takes the place of the one before.

    Raises UnableToTakePayment when the bank says no.
    """
    if number.startswith(DECLINED):
        raise UnableToTakePayment("The bank has declined the card. Nothing was taken; try another card.")
    made, _ = BankCharge.objects.update_or_create(
        order_number=order_number, defaults={"amount": amount, "last_digits": number[-4:]}
    )
    return made
