"""The shop's settings. What differs from a plain Oscar shop stands first: ten lines for gift cards."""

import os
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from oscar import INSTALLED_APPS as OSCAR_APPS
from oscar.defaults import *  # noqa: F403 – Oscar's settings are made to be taken so

BASE = Path(__file__).resolve().parents[1]

# ── gift cards ───────────────────────────────────────────────────────────────────────────────────────────────────────

#: SCRIP_URL, SCRIP_CLIENT_ID and SCRIP_CLIENT_SECRET (or SCRIP_CLIENT_SECRET_FILE) come from the environment.
SCRIP = {"TOTAL_S": float(os.environ.get("SHOP_PATIENCE_S", "8"))}
SCRIP_OSCAR_CHECKOUT = os.environ.get("SHOP_CHECKOUT", "code")

OURS = {
    "oscar.apps.checkout.apps.CheckoutConfig": "shop.checkout.apps.CheckoutConfig",
    "oscar.apps.dashboard.orders.apps.OrdersDashboardConfig": (
        "scrip_sdk.oscar.orders_dashboard.apps.OrdersDashboardConfig"
    ),
}
INSTALLED_APPS = ["shop", "scrip_sdk.django", "scrip_sdk.oscar", *(OURS.get(app, app) for app in OSCAR_APPS)]

# ── Oscar ────────────────────────────────────────────────────────────────────────────────────────────────────────────

OSCAR_SHOP_NAME, OSCAR_SHOP_TAGLINE = "Bookshop", "Books, and gift cards that pay for them"
OSCAR_DEFAULT_CURRENCY = "GBP"
OSCAR_ALLOW_ANON_CHECKOUT = True
OSCAR_FROM_EMAIL = "bookshop@example.com"
OSCAR_GOOGLE_ANALYTICS_ID = None
OSCAR_THUMBNAILER = "shop.covers.Cover"
#: Oscar counts its orders; with this they have random numbers, which tell nobody how many there are.
SHOP_RANDOM_NUMBERS = "SHOP_RANDOM_NUMBERS" in os.environ
OSCAR_INITIAL_ORDER_STATUS, OSCAR_INITIAL_LINE_STATUS = "Pending", "Pending"
OSCAR_ORDER_STATUS_PIPELINE = {"Pending": ("Complete", "Cancelled"), "Complete": (), "Cancelled": ()}
HAYSTACK_CONNECTIONS = {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}}

# ── Django ───────────────────────────────────────────────────────────────────────────────────────────────────────────

SECRET_KEY = os.environ["SHOP_SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = os.environ.get("SHOP_HOSTS", "127.0.0.1,localhost").split(",")
SITE_ID = 1
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ, TIME_ZONE, LANGUAGE_CODE = True, "Europe/London", "en-gb"

_database = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.path.lstrip("/"),
        "USER": unquote(_database.username or ""),
        "PASSWORD": unquote(_database.password or ""),
        "HOST": _database.hostname or parse_qs(_database.query).get("host", [""])[0],
        "PORT": str(_database.port or ""),
        "CONN_MAX_AGE": 60,
        # As many shops have it. The pages that take payments opt out of it by themselves.
        "ATOMIC_REQUESTS": True,
    }
}


class _AtOnce(dict[str, None]):
    """Stands for "this app has no migrations", for all but those that this project wrote."""

    def __contains__(self, label: object) -> bool:
        return label not in ("scrip", "shop")

    def __getitem__(self, label: str) -> None:
        return None


if os.environ.get("SHOP_TABLES_AT_ONCE"):
    # `migrate --run-syncdb` then makes Oscar's tables as they are today, in a tenth of the time that its history takes:
    # for a demo and for tests, whose database is made anew when anything changes.
    MIGRATION_MODULES = _AtOnce()

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "oscar.apps.basket.middleware.BasketMiddleware",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
]
AUTHENTICATION_BACKENDS = [
    "oscar.apps.customer.auth_backends.EmailBackend",
    "django.contrib.auth.backends.ModelBackend",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.i18n",
                "oscar.apps.search.context_processors.search_form",
                "oscar.apps.checkout.context_processors.checkout",
                "oscar.apps.communication.notifications.context_processors.notifications",
                "oscar.core.context_processors.metadata",
            ],
        },
    }
]

STATIC_URL, MEDIA_URL = "/static/", "/media/"
MEDIA_ROOT = os.environ.get("SHOP_MEDIA", BASE / "media")
WHITENOISE_USE_FINDERS = True  # nothing is collected: the shop starts from a checkout

#: Letters go to SHOP_SMTP (host:port), or as files into SHOP_LETTERS, or to the log.
if "SHOP_SMTP" in os.environ:
    EMAIL_HOST, _, EMAIL_PORT = os.environ["SHOP_SMTP"].partition(":")
elif "SHOP_LETTERS" in os.environ:
    EMAIL_BACKEND, EMAIL_FILE_PATH = "django.core.mail.backends.filebased.EmailBackend", os.environ["SHOP_LETTERS"]
else:
    EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
ADMINS = [("Bookshop", "bookshop@example.com")]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"level": os.environ.get("SHOP_LOG_LEVEL", "INFO"), "handlers": ["console"]},
    "loggers": {"django.template": {"level": "INFO"}},  # else a traceback for each name that a template asks in vain
}
