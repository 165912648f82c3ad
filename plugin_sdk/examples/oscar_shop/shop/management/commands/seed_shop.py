"""`manage.py seed_shop`: a few books on the shelves, and somebody for the back office. Run again it changes nothing."""

import os
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.sites.models import Site
from django.core.files.base import ContentFile
from django.core.management.base import BaseCommand
from django.db import transaction
from oscar.core.loading import get_model

from shop.covers import draw_cover

STAFF = "staff@bookshop.example"
BOOKS = (
    ("The Cartographer's Daughter", "R. Okafor", "30.00", "#7a3b2e", "Print"),
    ("A Field Guide to Small Rivers", "Hanna Lind", "18.50", "#2f5d50", "Print"),
    ("Night Trains", "Jo Marchetti", "30.00", "#27374d", "E-book"),
    ("The Salt Almanac", "Idris Vane", "12.00", "#6b5b95", "E-book"),
    ("Letters to a Lighthouse", "M. Sorrel", "7.25", "#8a6d3b", "E-book"),
)


class Command(BaseCommand):
    """The seed."""

    help = "Puts a few books on the shelves. With SHOP_STAFF_PASSWORD, adds somebody for the back office."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        """All of it, or nothing."""
        Site.objects.update_or_create(pk=1, defaults={"domain": "127.0.0.1", "name": "Bookshop"})
        get_model("address", "Country").objects.get_or_create(
            iso_3166_1_a2="GB", defaults={"printable_name": "United Kingdom", "is_shipping_country": True}
        )
        for title, author, price, colour, kind in BOOKS:
            _shelve(title, author, Decimal(price), colour, kind)
        if password := os.environ.get("SHOP_STAFF_PASSWORD"):
            _hire(password)
        self.stdout.write(f"{len(BOOKS)} books are on the shelves.")


def _shelve(title: str, author: str, price: Decimal, colour: str, kind: str) -> None:
    product_model, image_model = get_model("catalogue", "Product"), get_model("catalogue", "ProductImage")
    partner, _ = get_model("partner", "Partner").objects.get_or_create(name="Bookshop")
    sort, _ = get_model("catalogue", "ProductClass").objects.get_or_create(
        name=kind, defaults={"requires_shipping": kind == "Print", "track_stock": False}
    )
    category_model = get_model("catalogue", "Category")
    category = category_model.objects.filter(name=kind).first() or category_model.add_root(name=kind)
    product, is_new = product_model.objects.get_or_create(
        title=title, defaults={"product_class": sort, "description": f"<p>By {author}.</p>", "is_public": True}
    )
    if not is_new:
        return
    product.categories.add(category)
    product.stockrecords.create(partner=partner, partner_sku=f"book-{product.pk}", price=price, price_currency="GBP")
    picture = ContentFile(draw_cover(title, author, colour), name=f"{product.slug}.png")
    image_model.objects.create(product=product, original=picture)


def _hire(password: str) -> None:
    user_model = get_user_model()
    if not user_model.objects.filter(email=STAFF).exists():
        user_model.objects.create_superuser("staff", STAFF, password)
