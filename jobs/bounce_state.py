"""What BounceCleanup remembers from one slot to the next, as whole files on the outputs volume.

    <outputs>/bounce_cleanup/<slot>/MarkInEloqua.json              Eloqua's receipt: without it, the next is not true
    <outputs>/bounce_cleanup/<slot>/MarkInEloqua.handled.parquet   activity ids that this slot has dealt with
    <outputs>/bounce_cleanup/<slot>/MarkInEloqua.part-0001.json    what this slot sent to Eloqua (scc/eloqua/syncs.py)
    <outputs>/bounce_cleanup/<slot>/MarkInEloqua.failed.json       its write failed: only this slot itself goes on with it
    <outputs>/bounce_cleanup/<slot>/MarkInEloqua.owes.eloqua.json  the name of the file below that this step leaves
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
from typing import TYPE_CHECKING, Any

from scc.outputs import JsonTarget, exists, names, remove
from scc.tables import Engine, Table
from scc.tasks.step import STATE

if TYPE_CHECKING:
    import narwhals as nw

    Frame = nw.LazyFrame[Any]

HANDLED = {"activity_id": "string"}
# since: the slot that decided; moment: of the bounce, seconds since 1970; code: why it was not written so far
OWED = {
    **dict.fromkeys(("address", "contact_id", "kind", "status", "reply", "since", "code"), "string"),
    "moment": "integer",
}
SLOT_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d{4}")
ELOQUA, SALESFORCE = "eloqua", "salesforce"
FAILED = "failed"
RECEIPTS = {ELOQUA: "MarkInEloqua", SALESFORCE: "MarkInSalesforce"}


@dataclass(frozen=True)
class State:
    """The memory of the process whose folder this is."""

    folder: Path

    def receipted(self, system: str) -> list[str]:
        """The slots that have this system's receipt, oldest first."""
        return [slot for slot in self._slots() if exists(self._receipt(system, slot))]

    def begun(self) -> list[str]:
        """The slots that began to write in Eloqua, and have neither a receipt of it nor failed by their own rules."""
        name = RECEIPTS[ELOQUA]
        ended = {f"{name}.json", f"{name}.{FAILED}.json"}
        slots = sorted(set(self._slots()) - set(self.receipted(ELOQUA)))
        files = {slot: set(names(self.folder / slot)) for slot in slots}
        return [
            slot
            for slot, found in files.items()
            if not ended & found and any(file.startswith(f"{name}.part-") for file in found)
        ]

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

    def owe(self, system: str, slot: str, note: JsonTarget) -> Table:
        """A file among what this system is owed; its name was never another's, which a receipt may settle.

        note: where a step keeps the name, so that its next try replaces what a killed one left.
        """
        settled = self._settled(system)
        if not note.exists() or note.read()["file"] in settled:
            note.write({"file": self._new_name(system, slot, settled)})
        return Table(self._owed(system) / note.read()["file"], OWED)

    def _new_name(self, system: str, slot: str, settled: set[str]) -> str:
        taken = settled | set(names(self._owed(system)))
        return next(name for number in itertools.count(1) if (name := f"{slot}-{number}.parquet") not in taken)

    def forget(self, system: str) -> None:
        """Remove the files that receipts of this system settle."""
        for name in self._settled(system) & set(names(self._owed(system))):
            remove(self._owed(system) / name)

    def jobs(self) -> Path:
        """Where Salesforce's jobs whose end nobody saw yet are pointed to."""
        return self.folder / STATE / "jobs"

    def _slots(self) -> list[str]:
        return sorted(name for name in names(self.folder) if SLOT_NAME.fullmatch(name))

    def _settled(self, system: str) -> set[str]:
        receipts = (JsonTarget(self._receipt(system, slot)).read() for slot in self.receipted(system))
        return {name for receipt in receipts for name in receipt.get("settles", [])}

    def _receipt(self, system: str, slot: str) -> Path:
        return self.folder / slot / f"{RECEIPTS[system]}.json"

    def _owed(self, system: str) -> Path:
        return self.folder / STATE / "owed" / system


def handled(engine: Engine, tables: list[Table]) -> "Frame":
    """What State.handled names, each once."""
    return engine.read_all(tables, HANDLED).unique()


def owed(engine: Engine, tables: list[Table]) -> "Frame":
    """What a system is owed, each address once: the first decision stands."""
    return engine.read_all(tables, OWED).unique(["address"], keep="first", order_by=["since", "code"])
