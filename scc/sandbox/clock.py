"""The sandbox's own clock: every age, retention, token life and time stamp follows it.

Started with an instant it stands still there and moves only when told to, so that a run is reproducible request by
request. Started without one it is the real clock plus what it was advanced by.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

LAST_YEAR = 9000  # so that deadlines after now can still be told


class Clock:
    def __init__(self, start: datetime | str | None = None) -> None:
        self._start = parse_instant(start) if isinstance(start, str) else start
        self._advanced = timedelta()
        # Called after each advance: what time has done shows at once, not when the next request comes.
        self.advanced_hook: Callable[[], None] | None = None

    @property
    def stands(self) -> bool:
        """Whether it moves only when told to."""
        return self._start is not None

    @property
    def advanced(self) -> timedelta:
        return self._advanced

    @property
    def now(self) -> datetime:
        """The current instant, in UTC with a zone."""
        return (self._start or datetime.now(UTC)) + self._advanced

    @property
    def naive(self) -> datetime:
        """The current instant in UTC without a zone: as the store keeps it."""
        return self.now.replace(tzinfo=None)

    def advance(self, seconds: float) -> datetime:
        """Move on by `seconds` and return the new instant. Raises OverflowError beyond the year 9000."""
        advanced = self._advanced + timedelta(seconds=seconds)
        if ((self._start or datetime.now(UTC)) + advanced).year > LAST_YEAR:
            raise OverflowError(f"the clock ends with the year {LAST_YEAR}")
        self._advanced = advanced
        if self.advanced_hook:
            self.advanced_hook()
        return self.now


def parse_instant(text: str) -> datetime:
    """ISO 8601 to an instant in UTC; without a zone the text is UTC. Raises ValueError."""
    instant = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return instant.astimezone(UTC)


def iso(instant: datetime) -> str:
    """`2026-11-22T06:15:00Z`, with a fraction only where there is one."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
