"""The shop's own app: its seed command and the bank card's book."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """`shop` in INSTALLED_APPS."""

    name = "shop"
    default_auto_field = "django.db.models.BigAutoField"
