"""Bouncebacks that Eloqua learns of late: when they show, the address is marked (eloqua.md 3.12)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

# The bouncebacks of the made-up company say by the last letter of their ExternalId whether they are hard.
HARD = "Type = 'Bounceback' AND ExternalId LIKE '%h'"


class Arrivals:
    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store = eloqua, eloqua.store
        self._since = eloqua.clock.naive
        self._next: datetime | None = None  # when the next one shows; None: not looked up yet

    def settle(self) -> None:
        """Mark the addresses whose hard bounceback has shown since the last time."""
        now = self._eloqua.clock.naive
        if self._next is None:
            self._next = self._look()
        if now < self._next:
            return
        with self._store.transaction(), self._store.caused_by("late bounceback"):
            self._store.execute(f"""CREATE OR REPLACE TEMP TABLE arrived AS
                SELECT lower(trim(EmailAddress)) AS address, min(VisibleAt) AS seen FROM eloqua.activity
                WHERE {HARD} AND VisibleAt > TIMESTAMP '{self._since}' AND VisibleAt <= TIMESTAMP '{now}'
                    AND address NOT IN (SELECT a.address FROM eloqua.address a WHERE a.bounced) GROUP BY ALL""")
            self._eloqua.people.set_bounced("SELECT address FROM arrived", True)
            # The date is that of the bounceback, however late somebody looks.
            self._store.execute("""UPDATE eloqua.address SET bounceback_date = arrived.seen FROM arrived
                                   WHERE eloqua.address.address = arrived.address""")
            self._store.execute("DROP TABLE arrived")
        self._since, self._next = now, None
        self._next = self._look()

    def _look(self) -> datetime:
        sql = f"SELECT min(VisibleAt) FROM eloqua.activity WHERE {HARD} AND VisibleAt > ?"
        return self._store.value(sql, [self._since]) or datetime.max
