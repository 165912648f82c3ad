"""What a sliding window's counts mean: how many requests are left, and when there is room again. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """Counts of requests in the `current` window of time, which ends in `ends_in_s`, and in the `previous` one.

    The previous one counts by the share of it that the last `window_s` seconds still reach into. So at no window's edge
    twice the limit gets through, as it does where each window begins at nothing.
    """

    window_s: int
    previous: int
    current: int
    ends_in_s: float

    @property
    def weight(self) -> int:
        """The requests that count now."""
        return int(self.previous * self.ends_in_s / self.window_s) + self.current

    def left(self, limit: int) -> int:
        """How many more of `limit` there are now."""
        return max(0, limit - self.weight)

    def waits_s(self, limit: int) -> int:
        """Whole seconds, at least one, until one more is let through when nobody asks meanwhile. `limit` is above 0."""
        if self.current < limit:
            room_at_s = self.ends_in_s - self._reaches_s(self.previous, limit - self.current)
        else:
            room_at_s = self.ends_in_s + self.window_s - self._reaches_s(self.current, limit)
        return max(0, int(room_at_s)) + 1

    def _reaches_s(self, counted: int, room: int) -> float:
        """The seconds of a window with `counted` requests that may still be reached into, for less than `room`."""
        return self.window_s * min(1.0, room / max(1, counted))
