"""Settings for what is tried inside Django: the example shop's, with mails kept in memory."""

import os

import django
from django_shop.settings import *  # noqa: F403 – a settings module is a namespace

EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
ALLOWED_HOSTS = ["*"]
SECRET_KEY = "inside" * 10
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = os.environ.get("INSIDE_USE_TZ", "yes") == "yes"
if "INSIDE_SQLITE" in os.environ:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["INSIDE_SQLITE"],
            # SQLite lets one write at a time; who reads first and writes then would be refused, not kept waiting.
            "OPTIONS": {"timeout": 20, **({"transaction_mode": "IMMEDIATE"} if django.VERSION >= (5, 1) else {})},
        }
    }
