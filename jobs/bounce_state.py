"""What BounceCleanup remembers from one slot to the next, as whole files on the outputs volume.

    <outputs>/bounce_cleanup/<slot>/MarkInEloqua.json              Eloqua's receipt: without it, the next is not true
    <outputs>/bounce_cleanup/<slot>/MarkInEloqua.handled.parquet   activity ids that this slot has dealt with
    <outputs>/bounce_cleanup/state/owed/eloqua/<slot>-1.parquet     addresses that Eloqua refused in this slot
    <outputs>/bounce_cleanup/state/owed/salesforce/<slot>-1.parquet addresses that this slot marked in Eloqua
    <outputs>/bounce_cleanup/state/owed/salesforce/<slot>-2.parquet addresses that Salesforce refused or deferred in this slot
    <outputs>/bounce_cleanup/state/jobs/                            Salesforce's jobs whose end nobody has seen yet

A decision is made once, by the slot that marks in Eloqua; Salesforce follows it, however much later. A system's receipt names
the owed files that it settles, so that one that a killed run could not remove any more is not worked off twice.
"""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from scc.outputs import JsonTarget, exists, names, remove
from scc.tables import Table
from scc.tasks.step import STATE

HANDLED = {"activity_id": "string"}
# since: the slot that decided; moment: of the bounce, seconds since 1970; code: why it was not written so far
OWED = {
    **dict.fromkeys(("address", "contact_id", "kind", "status", "reply", "since", "code"), "string"),
    "moment": "integer",
}
SLOT_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d{4}")
ELOQUA, SALESFORCE = "eloqua", "salesforce"
RECEIPTS = {ELOQUA: "MarkInEloqua", SALESFORCE: "MarkInSalesforce"}


@dataclass(frozen=True)
class State:
    """The memory of the process whose folder this is."""

    folder: Path

    def receipted(self, system: str) -> list[str]:
        """The slots that have this system's receipt, oldest first."""
        slots = sorted(name for name in names(self.folder) if SLOT_NAME.fullmatch(name))
        return [slot for slot in slots if exists(self._receipt(system, slot))]

    def last_before(self, slot: str) -> str | None:
        """The newest slot before this one whose bouncebacks were decided on; None when there is none."""
        return max((known for known in self.receipted(ELOQUA) if known < slot), default=None)

    def handled(self, since: str) -> list[Table]:
        """The activity ids that slots from `since` on have dealt with. An older slot saw nothing that happened later."""
        tables = [
            Table(self.folder / slot / f"{RECEIPTS[ELOQUA]}.handled.parquet", HANDLED)
            for slot in self.receipted(ELOQUA)
            if slot >= since
        ]
        return [table for table in tables if table.exists()]

    def owed(self, system: str) -> list[Table]:
        """What this system is owed: files that no receipt of it settles."""
        found = sorted(name for name in names(self._owed(system)) if name.endswith(".parquet") and name[0] != ".")
        settled = self._settled(system) if found else set()
        return [Table(self._owed(system) / name, OWED) for name in found if name not in settled]

    def owe(self, system: str, slot: str) -> Table:
        """A new file among what this system is owed; its name was never another's, which a receipt may settle."""
        taken = self._settled(system) | set(names(self._owed(system)))
        name = next(name for number in itertools.count(1) if (name := f"{slot}-{number}.parquet") not in taken)
        return Table(self._owed(system) / name, OWED)

    def forget(self, system: str) -> None:
        """Remove the files that receipts of this system settle."""
        for name in self._settled(system) & set(names(self._owed(system))):
            remove(self._owed(system) / name)

    def jobs(self) -> Path:
        """Where Salesforce's jobs whose end nobody saw yet are pointed to."""
        return self.folder / STATE / "jobs"

    def _settled(self, system: str) -> set[str]:
        receipts = (JsonTarget(self._receipt(system, slot)).read() for slot in self.receipted(system))
        return {name for receipt in receipts for name in receipt.get("settles", [])}

    def _receipt(self, system: str, slot: str) -> Path:
        return self.folder / slot / f"{RECEIPTS[system]}.json"

    def _owed(self, system: str) -> Path:
        return self.folder / STATE / "owed" / system
