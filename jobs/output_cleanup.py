"""Output clean-up: remove from the outputs volume what is past its retention and needed no more.

    PlanRemovals -> RemoveOutputs

Reads and changes the outputs volume only, never a remote system. Goes: slots whose process has ended, for them or for a
later one, rehearsals, temporary files of dead runs, old files of leases and of usage. Stays: a slot whose process has not
ended since, however old, the last one that has, what a run works on or has to settle, whatever is not known to be SCC's, and
all that is not below the outputs folder (links are removed as links). A slot leaves under another name, so that no later run
takes half of it for the whole. Running the same slot again goes on where it stopped.
"""

import logging
import os
import stat
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import luigi

from jobs import output_survey
from jobs.output_survey import LEASE, REHEARSAL, REMAINS, SLOT_KIND, UNREADABLE, USAGE, Removal, Rules, minute
from scc import folders, outputs
from scc.errors import ConfigError, SafetyStop, SccError
from scc.outputs import JsonTarget
from scc.receipts import REJECTS, Counts, Receipt
from scc.tables import arrow_schema
from scc.tasks.step import SLOT, Process, Step

log = logging.getLogger(__name__)

# what becomes of a removal
REMOVED, GONE, KEPT = "removed", "gone", "kept"
CHUNK = 200  # removals between two notes of how far the run is
THREADS = 8  # a removal waits for the volume, not for the processor: 2.5 times as fast on a local disk already
NAMED = 100  # unfinished slots in the receipt, the oldest first


class output_cleanup(luigi.Config):
    """[output_cleanup] in luigi.cfg: how long what is kept, and how much one run may remove."""

    default_retention = luigi.IntParameter(default=90, description="days that a finished slot stays")
    retention: luigi.DictParameter = luigi.DictParameter(
        default={}, description='other days for a process: {"contact_pruning": 400}'
    )
    lease_days = luigi.IntParameter(default=7, description="days that files of earlier leases stay")
    temporary_hours = luigi.IntParameter(default=24, description="hours; longer than any run takes")
    max_removed_share = luigi.FloatParameter(default=0.5, description="of all files, see max_removed_count")
    max_removed_count = luigi.IntParameter(
        default=20_000, description="above both, the run stops: a clock may be wrong"
    )


def rules(now: float) -> Rules:
    """The rules of luigi.cfg. Raises ConfigError, with all mistakes named."""
    try:
        settings = output_cleanup()
        days = dict(settings.retention)
    except (ValueError, TypeError, AttributeError):
        raise ConfigError(
            '[output_cleanup] in luigi.cfg: retention is like {"contact_pruning": 400}, the others are numbers'
        ) from None
    least = {"default_retention": 1, "lease_days": 1, "temporary_hours": 1}
    mistakes = [f"{name} must be at least 1" for name in least if getattr(settings, name) < least[name]]
    mistakes += [
        f"retention of {name} must be whole days, at least 1"
        for name, value in days.items()
        if not isinstance(value, int) or isinstance(value, bool) or value < 1
    ]
    if mistakes:
        raise ConfigError(f"[output_cleanup] in luigi.cfg: {'; '.join(mistakes)}")
    return Rules(now, settings.default_retention, days, settings.lease_days, settings.temporary_hours)


class PlanRemovals(Step):
    """What may go (path, process, kind, files, bytes of each), how much lies on the volume, and what stays but should not."""

    def output(self) -> JsonTarget:
        return self.document()

    def run(self) -> None:
        self.check_lease()
        found = output_survey.survey(outputs.root(), rules(time.time()))
        self.output().write(asdict(found))


class RemoveOutputs(Step):
    """The receipt: removals by what became of them; files and bytes by process and kind. What failed lies beside it.

    unchanged: already gone, removed by a killed attempt of this slot or by somebody else. deferred: needed again since
    they were planned. rejected: could not be looked at, or not be removed.
    """

    def requires(self) -> PlanRemovals:
        return self.clone(PlanRemovals)

    def output(self) -> Receipt:
        return self.receipt()

    def run(self) -> None:
        self.check_lease()  # takes it, before threads ask for it
        plan, limits = self.input().read(), rules(time.time())
        removals = [Removal(**one) for one in plan["removals"]]
        check_limit(sum(one.files for one in removals), plan["files"], output_cleanup())
        result = Result()
        if self.dry_run:
            for removal in removals:
                result.count(removal, REMOVED)
        else:
            self._remove(removals, limits, result)
        failed = {**plan["problems"], **result.failed}
        self._keep(failed)
        self._account(plan, result, failed)

    def _remove(self, removals: list[Removal], limits: Rules, result: "Result") -> None:
        """Remove in chunks. Each that went well leaves a file, so that a killed run goes on behind it."""
        show, root = self.progress(), outputs.root()
        for start in range(0, len(removals), CHUNK):
            part = self.document(f"part-{start // CHUNK + 1:04}")
            if part.exists():
                result.add(Result(**part.read()))
                continue
            done = Result()
            chunk = removals[start : start + CHUNK]
            with outputs.reading(root), folders.opened(str(root)) as top, ThreadPoolExecutor(THREADS) as pool:
                for removal, became in zip(
                    chunk, pool.map(partial(self._removed, root, top, limits), chunk), strict=True
                ):
                    done.count(removal, became)
            if not done.failed:
                part.write(vars(done))
            result.add(done)
            show(f"{min(start + CHUNK, len(removals)):,} of {len(removals):,} removed")

    def _removed(self, root: Path, top: int, limits: Rules, removal: Removal) -> str:
        self.check_lease()
        return removed(root, top, removal, limits)

    def _keep(self, failed: Mapping[str, str]) -> None:
        import pyarrow as pa

        processes = [path.partition("/")[0] for path in failed]
        columns = {"record_id": list(failed), "identifier": processes, "reason": list(failed.values())}
        with self.table(REJECTS, "rejects").writer() as write:
            write(pa.RecordBatch.from_pydict(columns, schema=arrow_schema(REJECTS)))

    def _account(self, plan: Mapping[str, Any], result: "Result", failed: Mapping[str, str]) -> None:
        counts = Counts(
            planned=len(plan["removals"]) + len(plan["problems"]),
            deleted=result.outcomes[REMOVED],
            unchanged=result.outcomes[GONE],
            deferred=result.outcomes[KEPT],
            rejected=len(failed),
            reasons=dict(Counter(failed.values())),
        )
        unfinished = sorted(plan["unfinished"], key=lambda slot: (-slot["days"], slot["process"]))
        about = {
            "process": self.process,
            "slot": f"{self.slot:{SLOT}}",
            "dry_run": self.dry_run,
            "removed": result.removed,
            "files_before": plan["files"],
            "bytes_before": plan["bytes"],
            "unknown": plan["unknown"],
            "unfinished": len(unfinished),
            "unfinished_slots": unfinished[:NAMED],
            "oldest_unfinished_days": oldest(unfinished),
        }
        for slot in unfinished[:NAMED]:
            log.warning("%(process)s %(slot)s has not finished for %(days)s days: it stays until somebody looks", slot)
        # a volume on which nothing can be removed fills up
        limit = 0.0 if result.failed and not result.worked else 1.0
        self._tell(plan, result, unfinished)
        self.settle(counts, limit, about)

    def _tell(self, plan: Mapping[str, Any], result: "Result", unfinished: list[dict[str, Any]]) -> None:
        sums: Counter[str] = Counter()
        for kinds in result.removed.values():
            for kind in kinds.values():
                sums.update(kind)
        figures = [
            ("files", "Files on the outputs volume before the run", plan["files"]),
            ("bytes", "Bytes on the outputs volume before the run", plan["bytes"]),
            ("removed_files", "Files that the run removed", sums["files"]),
            ("removed_bytes", "Bytes that the run removed", sums["bytes"]),
            ("unfinished_slots", "Slots past their retention whose process has not ended", len(unfinished)),
            ("oldest_unfinished_seconds", "Age of the oldest of them, 0: none", oldest(unfinished) * output_survey.DAY),
        ]
        for name, text, value in figures:
            self._run.metrics.tell(name, text, value)


def oldest(unfinished: list[dict[str, Any]]) -> int:
    """The greatest age in days, 0 for none."""
    return max((slot["days"] for slot in unfinished), default=0)


def check_limit(files: int, total: int, limits: output_cleanup) -> None:
    """Raise SafetyStop where a wrong clock or a wrong setting is likelier than so much to remove."""
    share, least = limits.max_removed_share, limits.max_removed_count
    if files > least and files > share * total:
        raise SafetyStop("output_cleanup", "files would be removed", files, total, f"{share:.0%} and {least:,}")


@dataclass
class Result:
    """What became of removals: how many by outcome; removals, files and bytes by process and kind; why others failed."""

    outcomes: Counter[str] = field(default_factory=Counter)
    removed: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.outcomes = Counter(self.outcomes)
        self.removed = {
            process: {kind: Counter(sums) for kind, sums in kinds.items()} for process, kinds in self.removed.items()
        }

    @property
    def worked(self) -> bool:
        """Whether anything could be decided and done."""
        return any(self.outcomes.values())

    def count(self, removal: Removal, outcome: str) -> None:
        """Count one; an outcome that is none of ours is why it failed."""
        if outcome not in (REMOVED, GONE, KEPT):
            self.failed[removal.path] = outcome
            return
        self.outcomes[outcome] += 1
        if outcome == REMOVED:
            kinds = self.removed.setdefault(removal.process, {})
            kinds.setdefault(removal.kind, Counter()).update(removals=1, files=removal.files, bytes=removal.bytes)

    def add(self, other: "Result") -> None:
        """Count another result's in."""
        self.outcomes.update(other.outcomes)
        self.failed |= other.failed
        for process, kinds in other.removed.items():
            for kind, sums in kinds.items():
                self.removed.setdefault(process, {}).setdefault(kind, Counter()).update(sums)


def removed(root: Path, top: int, removal: Removal, limits: Rules) -> str:
    """Look again, then remove. Returns REMOVED, GONE (was not there), KEPT (may no longer go), or the error's symbol.

    top: the open outputs folder, below which no link is followed.
    """
    try:
        if removal.kind in (SLOT_KIND, REHEARSAL):
            return _remove_slot(root, top, removal, limits)
        parent, _, name = removal.path.rpartition("/")
        with folders.opened(parent, top) as folder:
            about = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if removal.kind in (USAGE, REMAINS):
                folders.remove(name, folder)
            elif may_go(root, removal, about, limits):
                os.unlink(name, dir_fd=folder)
            else:
                return KEPT
    except FileNotFoundError:
        return GONE
    except OSError as error:
        return folders.code(error)
    except SccError:
        return UNREADABLE
    return REMOVED


def _remove_slot(root: Path, top: int, removal: Removal, limits: Rules) -> str:
    """A slot, or its rehearsal: renamed at once, so that nobody ever finds a half of it under its name, then removed."""
    parent, _, name = removal.path.rpartition("/")
    aside = output_survey.aside(removal)
    with folders.opened(removal.process, top) as home:
        began = folders.exists(aside, home)
        if began:  # by a killed attempt
            folders.remove(aside, home)
        try:
            with folders.opened(parent, top) as folder:
                if not folders.exists(name, folder):
                    return REMOVED if began else GONE
                if not _slot_may_go(root, home, removal, limits):
                    return KEPT
                os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=home)
        except FileNotFoundError:
            return REMOVED if began else GONE
        folders.remove(aside, home)
    return REMOVED


def _slot_may_go(root: Path, home: int, removal: Removal, limits: Rules) -> bool:
    """Whether a slot, or its rehearsal, may still go. home: its process's open folder."""
    slot, process = removal.path.split("/")[1], root / removal.process
    looked, before = output_survey.look(slot, home), limits.slots_before(removal.process)
    if removal.kind == REHEARSAL:
        return output_survey.rehearsal_may_go(looked, slot, before)
    return output_survey.slot_may_go(
        looked, slot, output_survey.is_over(process, slot), before, output_survey.in_use(process)
    )


def may_go(root: Path, removal: Removal, about: os.stat_result, limits: Rules) -> bool:
    """Whether a temporary file, or one of a lease, is still old and no run's that works."""
    if not stat.S_ISREG(about.st_mode):
        return False
    if removal.kind == LEASE:
        return about.st_mtime < limits.leases_before
    if removal.process:
        slot = removal.path.split("/")[1]
        if minute(slot) is not None and slot in output_survey.in_use(root / removal.process):
            return False
    return about.st_mtime < limits.temporary_before


class OutputCleanup(Process):
    """The clean-up of the outputs volume. Output: its receipt."""

    def requires(self) -> RemoveOutputs:
        return self.clone(RemoveOutputs)
