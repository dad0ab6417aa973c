"""Catching up: no run writes from a read that is older than another run's write of the same process.

    <outputs>/<process>/lease/00000007.wrote         the run with lease 7 changed a remote system, or was about to; its slot
    <outputs>/<process>/<slot>/read.json             the lease under which the slot's outputs were read
    <outputs>/<process>/<slot>/superseded/00000007/  outputs that the run with lease 7 found too old, and set aside

Lease numbers order the runs of a process; no clocks are compared. Receipts stay where they are: what they account for
has happened. Rehearsals write nothing, and are never too old.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from scc.errors import Superseded
from scc.outputs import JsonTarget, cannot_write, create_once, names, read_bytes, reading
from scc.receipts import is_receipt

log = logging.getLogger(__name__)

READ = "read.json"
SET_ASIDE = "superseded"
APART = {READ, SET_ASIDE, "dry-run"}


class Slot:
    """One slot's place in the order of its process's runs.

    folder: the process's folder on the outputs volume. slot: as it names the folder below.
    """

    def __init__(self, folder: Path, slot: str):
        self._leases = folder / "lease"
        self._folder = folder / slot
        self._slot = slot
        self._thought_fresh = False

    def is_superseded(self) -> bool:
        """Whether another slot's run changed a remote system after this slot's outputs were read."""
        superseded = self._last_write() > self.read_under() >= 0
        self._thought_fresh = self._thought_fresh or not superseded
        return superseded

    def begin(self, number: int) -> None:
        """Under lease `number`, before anything else: set aside what is too old, and note when the reading begins.

        Raises Superseded when the outputs became too old only while this run waited for its lease: Luigi has counted on
        them already, so the next try has to read again.
        """
        relied_on_them = self._thought_fresh
        if self.is_superseded():
            self._set_aside(number)
            JsonTarget(self._folder / READ).write({"lease": number})
            if relied_on_them:
                raise Superseded(self._slot)
        elif self.read_under() < 0:
            JsonTarget(self._folder / READ).write({"lease": number})

    def mark_write(self, number: int) -> None:
        """Under lease `number`, before the first change of a remote system: tell the runs of other slots."""
        create_once(self._leases / f"{number:08}.wrote", self._slot)

    def read_under(self) -> int:
        """The lease number of the slot's reading, 0 where nobody noted one, -1 where there are no outputs yet."""
        target = JsonTarget(self._folder / READ)
        if target.exists():
            return int(target.read()["lease"])
        return 0 if any(name not in APART for name in names(self._folder)) else -1

    def _last_write(self) -> int:
        """The highest lease number under which another slot wrote; 0 for none. The newest files are looked at first."""
        for name in sorted(names(self._leases), reverse=True):
            if name.endswith(".wrote") and read_bytes(self._leases / name).decode() != self._slot:
                return int(name.split(".")[0])
        return 0

    def _set_aside(self, number: int) -> None:
        log.warning("slot %s was read before another slot's run wrote: it is read again", self._slot)
        for path in list(_outputs(self._folder)):
            target = self._folder / SET_ASIDE / f"{number:08}" / path.relative_to(self._folder)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
            except OSError as error:
                raise cannot_write(path, error) from None


def _outputs(folder: Path) -> Iterator[Path]:
    """The files of a slot but for rehearsals, receipts and what lies beside a receipt under its name."""
    for parent, folders, files in os.walk(folder, onerror=_unreadable):
        if Path(parent) == folder:
            folders[:] = [name for name in folders if name not in APART]
            files = [name for name in files if name != READ]
        paths = [Path(parent, name) for name in files]
        receipts = {path.stem for path in paths if path.suffix == ".json" and is_receipt(path)}
        yield from (path for path in paths if path.name.split(".")[0] not in receipts)


def _unreadable(error: OSError) -> None:
    with reading(Path(error.filename or "")):
        raise error
