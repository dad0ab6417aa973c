"""What lies on the outputs volume, and which of it may go: the rules of OutputCleanup. Changes nothing.

Knows the layout, not the processes: a process whose module is long gone is treated like any other. What is not known to be
SCC's, and to be needed no more, stays.
"""

import os
import re
import stat
import time
from calendar import timegm
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scc import finished, folders, lease
from scc.catching_up import Slot
from scc.errors import SccError
from scc.folders import Contents, Problems
from scc.outputs import ROOT_FILE, JsonTarget, cannot_write, names, read_bytes
from scc.tasks.step import SLOT, STATE, UNFINISHED

# kinds of removals
SLOT_KIND, REHEARSAL, TEMPORARY, LEASE, USAGE, REMAINS = "slot", "rehearsal", "temporary", "lease", "usage", "remains"
DRY_RUN = "dry-run"
# outputs.replacing's, and luigi.LocalTarget's (luigi.md 4)
TEMPORARY_NAME = re.compile(r"\..+\.[0-9a-f]{12}\.tmp|.+-luigi-tmp-\d+")
PROCESS_NAME = re.compile(r"[a-z][a-z0-9_]*")
REMAINS_NAME = re.compile(r"\.\d{4}-\d\d-\d\dT\d{4}(\.dry-run)?\.removing")
HOUR = "%Y-%m-%dT%H"
# a rolling hour is counted over the files of two clock hours
USAGE_SECONDS = 3 * 3600
DAY = 86_400
# why, where no errno says so: a file that proves something cannot be read
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Rules:
    """How old something must be to go. now: seconds since 1970; days: by process, for the others `default_days`."""

    now: float
    default_days: int
    days: Mapping[str, int]
    lease_days: int
    temporary_hours: int

    def slots_before(self, process: str) -> float:
        """Slots of a process that did not change since then may go."""
        return self.now - DAY * self.kept_days(process)

    def kept_days(self, process: str) -> int:
        """How long a process can count on what its slots hold."""
        return self.days.get(process, self.default_days)

    @property
    def temporary_before(self) -> float:
        return self.now - 3600 * self.temporary_hours

    @property
    def leases_before(self) -> float:
        return self.now - DAY * self.lease_days


@dataclass(frozen=True)
class Removal:
    """Something that may go. path: below the outputs folder; files and bytes: what it holds."""

    path: str
    process: str
    kind: str
    files: int
    bytes: int


def aside(removal: Removal) -> str:
    """The name, in the process's folder, under which a slot or a rehearsal goes; see REMAINS_NAME."""
    return f".{'.'.join(removal.path.split('/')[1:])}.removing"


@dataclass
class Survey:
    """All of the outputs folder: what may go, and what stays but somebody should know of.

    files, bytes: of everything that was looked at. unknown: things that are none of ours. unfinished: process, slot and
    age in days of the slots past their retention whose process has not ended. problems: why a path could not be looked at.
    """

    removals: list[Removal] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    unknown: int = 0
    unfinished: list[dict[str, str | int]] = field(default_factory=list)
    problems: Problems = field(default_factory=dict)


@dataclass
class Looked:
    """What a folder holds, a slot's rehearsal once more apart. held: a client still has a file of it open (.nfs*)."""

    whole: Contents = field(default_factory=Contents)
    rehearsal: Contents = field(default_factory=Contents)
    temporary: dict[str, os.stat_result] = field(default_factory=dict)
    held: bool = False

    @property
    def provable(self) -> bool:
        return not self.held and not self.whole.problems


def survey(root: Path, rules: Rules) -> Survey:
    """Look at the whole outputs folder. Raises ConfigError or VolumeUnavailable when nothing of it can be looked at."""
    found = Survey()
    errors: list[OSError] = []
    known = 0
    try:
        with folders.opened(str(root)) as top:
            for name, about in listed(top):
                if _is_temporary(name, about):
                    found.removals += _temporaries("", {name: about}, rules)
                    continue
                try:
                    if _is_process(name, about, top):
                        _survey_process(root, name, top, rules, found)
                        known += 1
                    else:
                        found.unknown += name != ROOT_FILE
                except OSError as error:
                    errors.append(error)
                    found.problems[name] = folders.code(error)
    except OSError as error:
        raise cannot_write(root, error) from None
    if errors and not known:
        raise cannot_write(root, errors[0])
    return found


def listed(folder: int) -> Iterator[tuple[str, os.stat_result]]:
    """(name, lstat) of what is in an open folder, by name. Raises OSError."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            try:
                yield entry.name, entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue


def minute(name: str, form: str = SLOT) -> float | None:
    """A slot's moment, seconds since 1970, or None for a name that is no slot. form: of another such name."""
    try:
        parsed = time.strptime(name, form)
    except ValueError:
        return None
    return timegm(parsed) if time.strftime(form, parsed) == name else None


def _is_process(name: str, about: os.stat_result, top: int) -> bool:
    if not PROCESS_NAME.fullmatch(name) or not stat.S_ISDIR(about.st_mode) or about.st_dev != os.fstat(top).st_dev:
        return False
    with folders.opened(name, top) as folder:
        return any(below in (LEASE, USAGE) or minute(below) is not None for below, _ in listed(folder))


def _is_temporary(name: str, about: os.stat_result) -> bool:
    return bool(TEMPORARY_NAME.fullmatch(name)) and stat.S_ISREG(about.st_mode)


def look(name: str, folder: int) -> Looked:
    """Look at all that a folder below an open one holds. Raises OSError when it cannot be opened."""
    looked = Looked()
    with folders.opened(name, folder) as opened:
        looked.whole.add(os.fstat(opened))
        for path, about in folders.walk(opened, looked.whole.problems):
            looked.whole.add(about)
            first, _, last = path.partition("/")[0], *path.rpartition("/")[1:]
            if first == DRY_RUN:
                looked.rehearsal.add(about)
            if last.startswith(".nfs"):
                looked.held = True
            elif _is_temporary(last, about):
                looked.temporary[path] = about
    return looked


def _survey_process(root: Path, process: str, top: int, rules: Rules, found: Survey) -> None:
    slots: dict[str, Looked] = {}
    with folders.opened(process, top) as folder:
        for name, about in listed(folder):
            path = f"{process}/{name}"
            if not stat.S_ISDIR(about.st_mode):
                found.files += 1
                found.bytes += about.st_size
                if _is_temporary(name, about):
                    found.removals += _temporaries(f"{process}/", {name: about}, rules)
                else:
                    found.unknown += name != "slack.json"
                continue
            remains = bool(REMAINS_NAME.fullmatch(name))
            if not remains and name not in (LEASE, USAGE, UNFINISHED, STATE) and minute(name) is None:
                found.unknown += 1
                continue
            try:
                looked = look(name, folder)
                if name == USAGE:
                    found.removals += _usages(process, folder, rules)
            except OSError as error:
                found.problems[path] = folders.code(error)
                continue
            found.files += looked.whole.files
            found.bytes += looked.whole.bytes
            found.problems |= {f"{path}/{below}".rstrip("/"): code for below, code in looked.whole.problems.items()}
            if remains:
                found.removals.append(Removal(path, process, REMAINS, looked.whole.files, looked.whole.bytes))
            elif minute(name) is not None:
                slots[name] = looked
            else:
                found.removals += _temporaries(f"{path}/", looked.temporary, rules)
    proofs = _proofs(root / process, slots, found)
    over = {name: ended or _is_covered(root / process, name, proofs) for name, ended in proofs.items()}
    _survey_slots(root, process, slots, over, rules, found)
    found.removals += _leases(root / process, proofs, rules)


def _proofs(process: Path, slots: Mapping[str, Looked], found: Survey) -> dict[str, bool]:
    """Whether each slot's process has ended; one that cannot be looked at has not, as far as anybody knows."""
    proofs = {}
    for name, looked in slots.items():
        try:
            proofs[name] = not looked.whole.problems and finished.is_finished(process / name)
        except SccError:
            proofs[name] = False
            found.problems[f"{process.name}/{name}"] = UNREADABLE
    return proofs


def is_over(process: Path, slot: str) -> bool:
    """Whether nobody has to run a slot again: its process has ended, for it or for a later one. Raises SccError."""
    if finished.is_finished(process / slot):
        return True
    later = [name for name in names(process) if minute(name) is not None and name > slot]
    return _is_covered(process, slot, {name: finished.is_finished(process / name) for name in later})


def _is_covered(process: Path, slot: str, proofs: Mapping[str, bool]) -> bool:
    """Whether the process has ended for a later slot, which read later too: one run covers all that was missed.

    What such a slot left half done has been settled by then (scc/catching_up.py).
    """
    try:
        read_under = Slot(process, slot).read_under()
        later = (Slot(process, name).read_under() for name, ended in proofs.items() if ended and name > slot)
        return read_under >= 0 and any(number > read_under for number in later)
    except (SccError, KeyError, TypeError, ValueError):
        return False


def _survey_slots(
    root: Path, process: str, slots: Mapping[str, Looked], proofs: Mapping[str, bool], rules: Rules, found: Survey
) -> None:
    busy = in_use(root / process)
    last = max((name for name, ended in proofs.items() if ended), default="")
    for name, looked in slots.items():
        path = f"{process}/{name}"
        if name != last and slot_may_go(looked, name, proofs[name], rules.slots_before(process), busy):
            found.removals.append(Removal(path, process, SLOT_KIND, looked.whole.files, looked.whole.bytes))
            continue
        left = dict(looked.temporary)
        if rehearsal_may_go(looked, name, rules.slots_before(process)):
            rehearsal = looked.rehearsal
            found.removals.append(Removal(f"{path}/{DRY_RUN}", process, REHEARSAL, rehearsal.files, rehearsal.bytes))
            left = {below: about for below, about in left.items() if not below.startswith(f"{DRY_RUN}/")}
        if name not in busy:
            found.removals += _temporaries(f"{path}/", left, rules)
        moment = minute(name) or 0.0
        outputs = looked.whole.files - looked.rehearsal.files
        if outputs and not proofs[name] and moment < rules.slots_before(process):
            age = int((rules.now - moment) / DAY)
            found.unfinished.append({"process": process, "slot": name, "days": age})


def slot_may_go(looked: Looked, slot: str, ended: bool, before: float, busy: "InUse") -> bool:
    """Whether a slot is old, nobody works on it, and its process has ended; or there never was a file in it."""
    if not looked.provable or slot in busy or not _is_old(slot, looked.whole, before):
        return False
    return ended or looked.whole.files == 0


def rehearsal_may_go(looked: Looked, slot: str, before: float) -> bool:
    """Whether a slot has an old rehearsal; whether it ended does not matter, because it changed nothing."""
    return looked.rehearsal.newest > 0 and looked.provable and _is_old(slot, looked.rehearsal, before)


def _is_old(slot: str, contents: Contents, before: float) -> bool:
    """By the slot's minute, and by the last change of anything in it: an old slot may have been run again yesterday."""
    return max(minute(slot) or 0.0, contents.newest) < before


@dataclass(frozen=True)
class InUse:
    """The slots of a process that are worked on, or that a later run has to settle. all: they cannot be told apart."""

    slots: frozenset[str] = frozenset()
    all: bool = False

    def __contains__(self, slot: object) -> bool:
        return self.all or slot in self.slots


def in_use(process: Path) -> InUse:
    """By the leases that are not released (a run that gave up may stand above the one that works), and by the pointers to
    imports that are still to be settled.
    """
    slots = set()
    try:
        held = names(process / LEASE)
        for name in held:
            number = name.removesuffix(".json")
            if lease.FILE.fullmatch(name) and number != name and f"{number}.released" not in held:
                slots.add(JsonTarget(process / LEASE / name).read()["slot"])
        for name in names(process / UNFINISHED):
            if not TEMPORARY_NAME.fullmatch(name):
                slots.add(JsonTarget(process / UNFINISHED / name).read()["state"].split("/")[0])
    except (SccError, KeyError, TypeError, AttributeError):
        return InUse(all=True)
    return InUse(frozenset(slots), all=not all(minute(str(slot)) is not None for slot in slots))


def _temporaries(prefix: str, found: Mapping[str, os.stat_result], rules: Rules) -> list[Removal]:
    """Files that a dead run was writing."""
    process = prefix.partition("/")[0]
    return [
        Removal(f"{prefix}{path}", process, TEMPORARY, 1, about.st_size)
        for path, about in found.items()
        if about.st_mtime < rules.temporary_before
    ]


def _usages(process: str, folder: int, rules: Rules) -> list[Removal]:
    removals = []
    with folders.opened(USAGE, folder) as usage:
        for name, about in listed(usage):
            moment = minute(name, HOUR)
            if stat.S_ISDIR(about.st_mode) and moment is not None and moment + USAGE_SECONDS <= rules.now:
                whole = look(name, usage).whole
                removals.append(Removal(f"{process}/{USAGE}/{name}", process, USAGE, whole.files, whole.bytes))
    return removals


def _leases(process: Path, proofs: Mapping[str, bool], rules: Rules) -> list[Removal]:
    """Old files of leases but for the highest number's, which orders the next run, and for what slots compare with."""
    matches = [match for match in map(lease.FILE.fullmatch, names(process / LEASE)) if match]
    highest = max((int(match[1]) for match in matches), default=0)
    writes = sorted((int(match[1]) for match in matches if match[2] == "wrote"), reverse=True)
    needed = _needed_writes(process, proofs, writes)
    removals = []
    for match in matches:
        try:
            about = os.lstat(process / LEASE / match[0])
        except FileNotFoundError:
            continue
        needed_here = int(match[1]) == highest or (match[2] == "wrote" and int(match[1]) >= needed)
        if not needed_here and stat.S_ISREG(about.st_mode) and about.st_mtime < rules.leases_before:
            removals.append(Removal(f"{process.name}/{LEASE}/{match[0]}", process.name, LEASE, 1, about.st_size))
    return sorted(removals, key=lambda removal: removal.path)


def _needed_writes(process: Path, proofs: Mapping[str, bool], writes: list[int]) -> int:
    """The lowest lease number whose write some slot may still be compared with (scc/catching_up.py).

    A slot asks for the highest write of another slot: the highest two of different slots answer it for all. What lies
    above the reading of an unfinished slot stays as well.
    """
    try:
        authors = ((number, read_bytes(process / LEASE / f"{number:08}.wrote")) for number in writes)
        newest = next(authors, (0, b""))
        needed = next((number for number, slot in authors if slot != newest[1]), 0)
        for name in (name for name, ended in proofs.items() if not ended):
            read_under = Slot(process, name).read_under()
            needed = min(needed, read_under) if read_under >= 0 else needed
    except (SccError, KeyError, TypeError, ValueError):
        return 0
    return needed
