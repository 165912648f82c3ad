"""The one setting of this adapter."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def is_hosted() -> bool:
    """`SCRIP_OSCAR_CHECKOUT`: "code", a field on the payment page, or "hosted": the store never sees a code.

    Raises ImproperlyConfigured.
    """
    wanted = getattr(settings, "SCRIP_OSCAR_CHECKOUT", "code")
    if wanted not in ("code", "hosted"):
        raise ImproperlyConfigured('SCRIP_OSCAR_CHECKOUT must be "code" or "hosted".')
    return bool(wanted == "hosted")
