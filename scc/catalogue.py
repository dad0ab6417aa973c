"""The catalogue of processes (openshift/processes.toml, which says what each field means): read and checked as a whole.

processes()["enrichment"].quota_share
"""

import datetime as dt
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

from cronsim import CronSim, CronSimError

from scc.config import catalogue as settings
from scc.config import read_toml
from scc.errors import ConfigError

CHECKOUT = Path(__file__).parents[1]
SHIPPED = CHECKOUT / "openshift/processes.toml"
RUNBOOK = "docs/runbook.md"
# of Eloqua's soft limits (eloqua.md 4.1), for all processes together
LARGEST_SHARE = 0.8
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATIONS = ("expected", "longest", "late", "oldest_waiting")
SHARES = ("quota_share", "rejected_share", "partly_share")
OPTIONAL = {"oldest_waiting", "rejected_share", "partly_share"}
FIELDS = {"name", "schedule", "runbook", *DURATIONS, *SHARES}
# what cron and Kubernetes read alike: numbers, names of months and weekdays, *, ranges, lists, steps; weekdays 0 to 6
SCHEDULE = re.compile(r"[\d*,/-]+ [\d*,/-]+ [\d*,/-]+ [A-Z\d*,/-]+ [A-KM-Z0-6*,/-]+")
# in the four years from one leap day to the next lies every gap that a schedule can have
LEAP_DAY, FOUR_YEARS, TWO_WEEKS = dt.datetime(2024, 2, 29), 4 * 365 + 2, 15


@dataclass(frozen=True)
class Process:
    """One process; durations in seconds, shares 0 to 1. What is None is not watched."""

    module: str
    name: str
    schedule: str
    expected: float
    longest: float
    late: float
    quota_share: float
    runbook: str
    oldest_waiting: float | None = None
    rejected_share: float | None = None
    partly_share: float | None = None

    @functools.cached_property
    def interval(self) -> float:
        """Seconds between two scheduled minutes at most: a job for weekdays has three days."""
        return longest_gap(self.schedule)


@functools.cache
def processes() -> Mapping[str, Process]:
    """All processes by module, from the file that [catalogue] in luigi.cfg names. Raises ConfigError."""
    return read(Path(settings().file or SHIPPED))


def read(path: Path, checkout: Path | None = None) -> dict[str, Process]:
    """The processes by module. checkout: also look whether it has the modules, classes and runbook sections.

    Raises ConfigError with the line of a syntax error, or with every mistake found.
    """
    document, _ = read_toml(path, "`file` in [catalogue]")
    mistakes = [] if document else ["it names no process"]
    found = {}
    for module, table in document.items():
        wrong = list(_mistakes(module, table))
        if not wrong:
            found[module] = _process(module, table)
            wrong = [*_contradictions(found[module]), *(_absences(found[module], checkout) if checkout else [])]
        mistakes += [f"[{module}] {mistake}" for mistake in wrong]
    mistakes += _mistakes_together(document)
    if mistakes:
        raise ConfigError(f"{path}: {'; '.join(mistakes)}")
    return found


def seconds(duration: str) -> float:
    """Seconds of a duration: "90s", "15m", "2h", "15d". Raises ValueError."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", duration)
    if not match:
        raise ValueError(duration)
    return int(match[1]) * SECONDS[match[2]]


def longest_gap(schedule: str) -> float:
    """Seconds between two scheduled minutes at most. Raises ValueError, with the reason, if there are none."""
    text = " ".join(schedule.upper().split())
    if not SCHEDULE.fullmatch(text):
        raise ValueError(
            "must be minute, hour, day, month, weekday in numbers or names, with *, ranges, lists or steps; "
            "weekdays are 0 to 6"
        )
    minute, hour, day, month, weekday = text.split()
    if "*" not in (day, weekday):
        raise ValueError("names a day of the month and a weekday: one of them must be *")
    try:
        days = _occurrences(f"0 0 {day} {month} {weekday}", TWO_WEEKS if day == month == "*" else FOUR_YEARS)
        minutes = _occurrences(f"{minute} {hour} * * *", 1)
    except CronSimError as error:
        raise ValueError(f"is impossible: {error}") from None
    within = [late - early for early, late in pairwise(minutes)]
    overnight = [late - early - (minutes[-1] - minutes[0]) for early, late in pairwise(days)]
    return max(within + overnight).total_seconds()


def _occurrences(schedule: str, days: int) -> list[dt.datetime]:
    """When a schedule comes within so many days from LEAP_DAY on."""
    coming = CronSim(schedule, LEAP_DAY - dt.timedelta(seconds=1))
    return list(takewhile(lambda moment: moment < LEAP_DAY + dt.timedelta(days=days), coming))


def sections(runbook: str) -> set[str]:
    """The links to a Markdown text's headings, as GitHub and OpenShift's editors make them: "## Did it end?" is did-it-end."""
    headings = re.findall(r"(?m)^#{1,6} +(.+?) *$", runbook)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-").lower() for heading in headings}


def _mistakes(module: str, table: Any) -> Iterator[str]:
    """What is wrong with the form of an entry."""
    if not isinstance(table, dict):
        yield "is not a table"
        return
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", module):
        yield "must be a module's name"
    missing, unknown = FIELDS - OPTIONAL - table.keys(), table.keys() - FIELDS
    if missing:
        yield f"lacks {', '.join(sorted(missing))}"
    if unknown:
        yield f"does not know {', '.join(sorted(unknown))}"
    for field in FIELDS & table.keys():
        problem = _problem(field, table[field])
        if problem:
            yield f"`{field}` {problem}"


def _problem(field: str, value: Any) -> str | None:
    """What is wrong with one value."""
    if field in SHARES:
        right = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
        return None if right else "must be a share from 0 to 1"
    if not isinstance(value, str) or not value:
        return "must be a text"
    try:
        if field in DURATIONS and seconds(value) == 0:
            return "must be longer than nothing"
        if field == "schedule":
            longest_gap(value)
    except ValueError as error:
        return str(error) if field == "schedule" else f"must be a duration like 90s, 15m, 2h or 15d, not {value!r}"
    return None


def _process(module: str, table: Mapping[str, Any]) -> Process:
    values: dict[str, Any] = {field: seconds(value) if field in DURATIONS else value for field, value in table.items()}
    return Process(module=module, **values)


def _contradictions(process: Process) -> Iterator[str]:
    """What is wrong between the fields of one entry."""
    if process.name != class_name(process.module):
        yield f"`name` must be {class_name(process.module)}, by the module's name"
    if process.longest < process.expected:
        yield "`longest` is shorter than `expected`"
    if process.expected > process.interval:
        yield f"`expected` is longer than the {process.interval:,.0f} s from one start to the next"


def class_name(module: str) -> str:
    """The class of a process, by its module in jobs/: bounce_cleanup has BounceCleanup, as in bin/run-job."""
    return "".join(word[:1].upper() + word[1:] for word in module.split("_"))


def _absences(process: Process, checkout: Path) -> Iterator[str]:
    """What an entry names and the checkout does not have."""
    module = checkout / f"jobs/{process.module}.py"
    if not module.is_file():
        yield f"jobs/{module.name} does not exist"
    elif not re.search(rf"(?m)^class {process.name}\(", module.read_text(encoding="utf-8")):
        yield f"jobs/{module.name} has no class {process.name}"
    runbook = checkout / RUNBOOK
    if not runbook.is_file() or process.runbook not in sections(runbook.read_text(encoding="utf-8")):
        yield f"{RUNBOOK} has no section #{process.runbook}"


def _mistakes_together(document: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong between the entries."""
    shares = [table.get("quota_share") for table in document.values() if isinstance(table, dict)]
    total = sum(share for share in shares if isinstance(share, int | float) and not isinstance(share, bool))
    if total > LARGEST_SHARE + 1e-9:  # 0.1 + 0.7 is more than 0.8 in binary
        yield f"the quota shares add up to {total:.0%}, more than {LARGEST_SHARE:.0%}"
