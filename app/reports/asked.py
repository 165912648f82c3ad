"""What a report is asked for: whose money, which month or moment."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A month in UTC."""

    year: int
    number: int

    @classmethod
    def read(cls, text: str) -> "Month":
        """`2026-10`. Raises ValueError for anything else."""
        if not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", text):
            raise ValueError(f"{text!r} is no month: write it as 2026-10")
        return cls(int(text[:4]), int(text[5:]))

    @classmethod
    def of(cls, moment: datetime) -> "Month":
        """The month that a moment is in."""
        moment = moment.astimezone(UTC)
        return cls(moment.year, moment.month)

    @property
    def start(self) -> datetime:
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first moment that is no longer in it."""
        return self.later(1).start

    def later(self, by: int) -> "Month":
        """The month `by` months after this one; before it, for a number below zero."""
        year, place = divmod(self.year * 12 + self.number - 1 + by, 12)
        return Month(year, place + 1)

    def __str__(self) -> str:
        return f"{self.year}-{self.number:02}"


@dataclass(frozen=True, slots=True)
class Asked:
    """Of which mode, as of which moment or in which month; of one issuer, store or payout alone, where one is named."""

    mode: str
    as_of: datetime
    month: Month
    issuer_id: str | None = None
    store_id: str | None = None
    payout_id: str | None = None

    @property
    def moment(self) -> str:
        """How a report as of a moment names it."""
        return f"as of {self.as_of:%Y-%m-%d %H:%M:%S} UTC"
