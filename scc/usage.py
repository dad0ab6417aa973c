"""The budget of Eloqua's syncs: a process stays within its share of the soft hourly quotas (eloqua.md 4.1).

    <outputs>/<process>/usage/2026-11-22T06/<run>.json     syncs that this run asked for in this hour (UTC), by minute

Each run, rehearsals too, writes a file of its own: it counts first, then asks, so that a killed run has at most counted a
sync that it never asked for. Before each sync the counts of all runs of the process are read, of the last sixty minutes:
Oracle says "per hour" and not which; sixty minutes from any minute on also hold for any hour of the clock.

Nothing is locked. Between a run's look and its counting another may look as well: a process can pass its share by one sync
for each run of it that works at that moment, less one; where a volume shows a rewritten file late (GlusterFS by up to a
second, testbed.md 5.1), by what these runs asked for in that second. The lease lets one run of a process write: the others
are rehearsals. All shares together leave a fifth of the quota (scc/catalogue.py).
"""

import datetime as dt
import logging
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from scc import catalogue
from scc.config import eloqua as settings
from scc.errors import ConfigError, QuotaReached, SccError
from scc.outputs import JsonTarget, names

log = logging.getLogger(__name__)

# syncs an hour for the whole instance, by what the definition's uri says it is (eloqua.md 4.1)
QUOTAS = {"exports": 2000, "imports": 2000, "syncActions": 4000}
WINDOW = 60
HOUR, MINUTE = "%Y-%m-%dT%H", "%Y-%m-%dT%H:%M"

Counts = dict[dt.datetime, Counter[str]]


class Usage:
    """The syncs of one process, as one run of it counts them.

    folder: the process's folder on the outputs volume. Raises ConfigError for a process that the catalogue does not name.
    """

    def __init__(self, folder: Path, process: str, slot: str):
        entry = catalogue.processes().get(process)
        if entry is None:
            raise ConfigError(
                f"{process} has no share of Eloqua's quota: give it an entry in the catalogue (openshift/processes.toml)"
            )
        self._folder = folder / "usage"
        self._process = process
        self._slot = slot
        # 0.8 of 5 is 4 in decimal, whatever it is in binary
        self._allowed = {kind: int(entry.quota_share * quota + 1e-6) for kind, quota in QUOTAS.items()}
        self._own: Counts = {}
        self._name = f"{slot}-{secrets.token_hex(6)}.json"

    def before_sync(self, definition_uri: str) -> None:
        """Count the sync of a definition that is about to be asked for; wait, if need be, until the share allows it.

        Raises QuotaReached when that would take longer than [eloqua] quota_wait, ConfigError when the share is nothing.
        """
        kind = kind_of(definition_uri)
        allowed = self._allowed[kind]
        if not allowed:
            raise ConfigError(f"{self._process} may ask for no {kind}: raise its quota_share in the catalogue")
        give_up = time.time() + settings().quota_wait
        while True:
            counts = self._counts()
            used = sum(by_kind[kind] for by_kind in counts.values())
            if used < allowed:
                break
            free_at = _free_at(counts, kind, used - allowed + 1)
            if free_at > give_up:
                raise QuotaReached(self._process, kind, used, allowed, f"{_moment(free_at):%H:%M}")
            pause = max(free_at - time.time(), 1.0)
            log.info("%s of %s %s used in an hour: waiting %.0f s", used, allowed, kind, pause)
            time.sleep(pause)
        self._count(kind)

    def remaining(self) -> dict[str, int]:
        """Syncs that the process may still ask for now, by kind: exports, imports, syncActions."""
        counts = self._counts()
        return {
            kind: max(0, allowed - sum(by_kind[kind] for by_kind in counts.values()))
            for kind, allowed in self._allowed.items()
        }

    def _count(self, kind: str) -> None:
        minute = _minute()
        self._own.setdefault(minute, Counter())[kind] += 1
        hour = {at: by_kind for at, by_kind in self._own.items() if f"{at:{HOUR}}" == f"{minute:{HOUR}}"}
        JsonTarget(self._folder / f"{minute:{HOUR}}" / self._name).write(
            {"slot": self._slot, "minutes": {f"{at:{MINUTE}}": dict(by_kind) for at, by_kind in hour.items()}}
        )

    def _counts(self) -> Counts:
        """What all runs of the process asked for within the window, by minute; of a clock ahead of ours as well."""
        now = _minute()
        oldest = now - dt.timedelta(minutes=WINDOW)
        total: Counts = {}
        for hours in (-1, 0, 1):
            folder = self._folder / f"{now + dt.timedelta(hours=hours):{HOUR}}"
            for name in names(folder):
                if name.endswith(".json") and not name.startswith("."):
                    for minute, by_kind in _read(folder / name):
                        if minute >= oldest:
                            total.setdefault(minute, Counter()).update(by_kind)
        return total


def kind_of(definition_uri: str) -> str:
    """The quota that a definition's syncs count for: "/contacts/exports/5" is one of exports, with sync actions or without."""
    match = re.fullmatch(r"(/[^/]+)*/(exports|imports|syncActions)/[^/]+", definition_uri)
    if not match:
        raise SccError("a sync of a definition that is no export, import or sync action was not asked for")
    return match[2]


def _read(path: Path) -> Iterator[tuple[dt.datetime, Counter[str]]]:
    document = JsonTarget(path).read()
    try:
        for minute, by_kind in document["minutes"].items():
            moment = dt.datetime.strptime(minute, MINUTE).replace(tzinfo=dt.UTC)
            yield moment, Counter({kind: int(count) for kind, count in by_kind.items()})
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ConfigError(f"{path} is no count of syncs: delete it, if it is not needed") from None


def _free_at(counts: Counts, kind: str, wanted: int) -> float:
    """When (unix seconds) `wanted` syncs have left the window, the oldest first."""
    for minute in sorted(counts):
        wanted -= counts[minute][kind]
        if wanted <= 0:
            break
    return (minute + dt.timedelta(minutes=WINDOW + 1)).timestamp()


def _minute() -> dt.datetime:
    return _moment(time.time()).replace(second=0, microsecond=0)


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
