"""Times as this store's database keeps them: with their offset, or without one where USE_TZ is off."""

from datetime import datetime, timezone

from django.conf import settings
from django.utils import timezone as django_timezone


def now() -> datetime:
    """The time, aware."""
    return datetime.now(timezone.utc)


def stored(at: datetime) -> datetime:
    """An aware time as a field takes it."""
    if settings.USE_TZ:
        return at
    naive: datetime = django_timezone.make_naive(at)
    return naive


def read(at: datetime) -> datetime:
    """What a field gave, aware."""
    if at.tzinfo is not None:
        return at
    aware: datetime = django_timezone.make_aware(at)
    return aware
