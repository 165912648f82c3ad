"""A store's own tests, as the documentation shows them: in a TestCase, with the fake service, without a network."""

import re

from django.test import TestCase
from django_shop.models import Order

from scrip_sdk import Money
from scrip_sdk.django import forget_client, use_client
from scrip_sdk.django.models import ScripPayment
from scrip_sdk.keys import new_nonce
from scrip_sdk.testing import DOWN, REFUSED, VALID, FakeScrip


class CheckoutTests(TestCase):
    def setUp(self) -> None:
        self.scrip = FakeScrip()
        use_client(self.scrip.client())
        self.addCleanup(forget_client)

    def type_code(self, code: str) -> str:
        answer = self.client.post("/card", {"scrip_code": code, "nonce": new_nonce()}, follow=True)
        return str(answer.content.decode())

    def place(self, order: str) -> str:
        return str(self.client.post("/place", {"order": order}).content.decode())

    def order(self) -> str:
        """The number that the basket's page sends with the order."""
        page = self.client.get("/").content.decode()
        return str(re.findall(r'name="order" value="([\w-]+)"', page)[0])

    def test_a_card_pays_for_the_book(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            assert "0.00 GBP" in self.type_code(VALID)
            assert "Thank you" in self.place(self.order())
        assert Order.objects.get().by_card_minor == 3_000
        assert ScripPayment.objects.get().state == "settled"
        self.scrip.assert_sums_agree(settled=Money.of("30.00", "GBP"))

    def test_the_shop_sells_without_the_service(self) -> None:
        assert "not accepted" in self.type_code(REFUSED)
        assert "cannot be taken at the moment" in self.type_code(DOWN)
        assert "Thank you" in self.place(self.order())

    def test_a_second_press_a_moment_later_shows_the_order_of_the_first(self) -> None:
        self.type_code(VALID)
        order = self.order()
        first, second = self.place(order), self.place(order)
        assert first == second and "Thank you" in second and order in second
        assert Order.objects.count() == 1
        other = self.order()
        assert other != order and "has changed" in self.place("") and "has changed" in self.place("web-of-another")
        assert "Thank you" in self.place(other) and Order.objects.count() == 2
