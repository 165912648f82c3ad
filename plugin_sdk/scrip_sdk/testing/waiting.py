"""How long a shopper who types wrong codes has to wait: five are free, then 1, 2, 4 … 900 seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from scrip_sdk.testing.refusals import Refused

FREE, LONGEST_S = 5, 900
_HALVED_EACH = timedelta(hours=1)


@dataclass
class Count:
    """Wrong codes of one shopper of one store; in each LONGEST_S one is forgiven."""

    level: float
    as_of: datetime
    free_at: datetime
    halved_at: datetime | None = None


class Waiting:
    """The counts of all shoppers that a store names; tries without a shopper are not counted here."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], Count] = {}

    def check(self, store_id: str, shopper_key: str | None, now: datetime) -> None:
        """Raises Refused `try-later` while this shopper has to wait."""
        seen = self._counts.get((store_id, shopper_key or ""))
        if seen is not None and now < seen.free_at:
            wait_s = max(1, math.ceil((seen.free_at - now).total_seconds()))
            detail = "This shopper tried many wrong codes: have the code compared, and wait as Retry-After says."
            raise Refused("try-later", detail, retry_after_s=wait_s)

    def note_wrong(self, store_id: str, shopper_key: str | None, now: datetime) -> None:
        """A code was wrong."""
        if shopper_key is not None:
            level = self._level(store_id, shopper_key, now) + 1
            self._keep(store_id, shopper_key, level, now)

    def note_right(self, store_id: str, shopper_key: str | None, now: datetime) -> None:
        """A code was right: half of the wrong ones are forgiven, at most once an hour."""
        seen = self._counts.get((store_id, shopper_key or ""))
        if seen is None or shopper_key is None:
            return
        if seen.halved_at is None or now >= seen.halved_at + _HALVED_EACH:
            self._keep(store_id, shopper_key, self._level(store_id, shopper_key, now) / 2, now)
            self._counts[store_id, shopper_key].halved_at = now

    def _keep(self, store_id: str, shopper_key: str, level: float, now: datetime) -> None:
        beyond = math.ceil(level) - FREE
        wait_s = min(2**beyond, LONGEST_S) if beyond >= 0 else 0
        seen = self._counts.get((store_id, shopper_key))
        halved_at = seen.halved_at if seen else None
        self._counts[store_id, shopper_key] = Count(level, now, now + timedelta(seconds=wait_s), halved_at)

    def _level(self, store_id: str, shopper_key: str, now: datetime) -> float:
        seen = self._counts.get((store_id, shopper_key))
        if seen is None:
            return 0.0
        return max(0.0, seen.level - max(0.0, (now - max(seen.as_of, seen.free_at)).total_seconds()) / LONGEST_S)
