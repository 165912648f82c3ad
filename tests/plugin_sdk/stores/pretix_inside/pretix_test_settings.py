"""pretix's own settings, but for what a machine of tests has not: a mail server, a web server for files, and time."""

import os

from pretix.settings import *  # noqa: F403


class StraightFromModels:
    """Tables are made from the models, for pretix's hundreds of migrations take a minute and a half. Ours are compared
    with our models, and run, by a test."""

    def __contains__(self, app: str) -> bool:
        return True

    def __getitem__(self, app: str) -> None:
        return None


MIGRATION_MODULES = StraightFromModels()
INSTALLED_APPS.append("pretix_till.TillConfig")  # type: ignore[name-defined]  # noqa: F405
PLUGINS.append("pretix_till")  # type: ignore[name-defined]  # noqa: F405
MIDDLEWARE.insert(0, "pretix_files.ServeFiles")  # type: ignore[name-defined]  # noqa: F405
EMAIL_BACKEND = EMAIL_CUSTOM_SMTP_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = os.environ["SHOP_LETTERS"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
#: By default shoppers wait for 8 seconds.
SCRIP = {"TOTAL_S": 3}
