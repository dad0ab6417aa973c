"""The kill harness: end a process with SIGKILL at each of its requests and renames, and see that the next run makes it good.

A story is a company in the sandbox and a process. It is told once undisturbed, and every HTTP request and every rename
or link of the run gets a number. Then, for each of them, in a fresh copy of the same company, the whole process group is
killed exactly there: before the request, after it took effect but before its answer arrived, before and after the rename.
Both continuations follow: the same slot again, as a retried Job, and the next slot, as the next CronJob; and after that the
killed slot once more, as a Job that is retried late.

Nothing in the product knows of it: requests are held up by the sandbox (faults `silence_before` and `silence`), renames are
met from outside by strace, which kills at the entry of a system call. "After the rename" is the entry of the fsync of its
folder, which follows it.
"""

import configparser
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from jobs import output_survey
from scc.sandbox import Sandbox
from scc.sandbox.state import State

ROOT = Path(__file__).parents[2]
# seconds that a lease lives: a run that is to be killed must not renew it, or its renames have other numbers each time
CALM, BRISK = 300, 3
QUICK = {
    "eloqua": {"first_poll": "0.01", "longest_poll": "0.02"},
    "salesforce": {"first_poll": "0.01", "longest_poll": "0.02"},
    "transport": {"first_pause": "0.02", "longest_pause": "0.1", "deadline": "20"},
}
PATIENCE = 60.0
LONG_AFTER = output_survey.Rules(time.time() + 1e9, default_days=1, days={}, lease_days=1, temporary_hours=1)
# differ between two good runs
VOLATILE = {"syncs", "api_calls", "began", "finished_at"}


@dataclass(frozen=True)
class Point:
    """Where to kill. call: "request", or the system call; nth: which of these; at: what it was in the undisturbed run."""

    call: str
    nth: int
    moment: str
    at: str

    def __str__(self) -> str:
        return f"{self.moment} {self.call} {self.nth} ({self.at})"


@dataclass(frozen=True)
class Story:
    """A process, the company it works on, and the slots it is run for.

    company: makes the sandbox. holdings: what the process may have changed in both systems, without times and ids of syncs.
    """

    process: str
    slot: str
    next_slot: str
    company: Callable[[], Sandbox]
    holdings: Callable[[Sandbox], Any]
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def module(self) -> str:
        return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", self.process).lower()


@dataclass(frozen=True)
class Outcome:
    """What a story left: both systems' holdings, receipts by place, rows by outcome, syncs and jobs by kind."""

    holdings: Any
    receipts: dict[str, Any]
    written: dict[str, int]
    syncs: dict[str, int]


class NotRecovered(AssertionError):
    """A run that was killed was not made good by the next."""


class Bench:
    """Tells one story again and again, in a folder of its own."""

    def __init__(self, story: Story, folder: Path):
        self.story, self.folder = story, folder
        self.outputs = folder / "outputs"
        self._configs = {name: self._config(name, seconds) for name, seconds in (("calm", CALM), ("brisk", BRISK))}
        self.port = _lasting_port()
        with story.company() as sandbox:
            self.state = State.of(sandbox)
        self.undisturbed, self.then_next = self._undisturbed()
        self.points = self._points()

    def kill_and_continue(self, point: Point) -> None:
        """Raises NotRecovered unless all continuations end as the undisturbed runs did."""
        with self._fresh() as sandbox:
            self._run_until(sandbox, point)
            left = State.of(sandbox)
        self._shorten_lease()
        kept = self.folder / "kept"
        shutil.copytree(self.outputs, kept)
        try:
            with left.sandbox(self.port) as sandbox:
                self._must_end_well(sandbox, self.story.slot, point)
                self._compare(point, "the same slot again", self._outcome(sandbox), self.undisturbed)
            self._must_be_clean(point)
            shutil.rmtree(self.outputs)
            shutil.copytree(kept, self.outputs)
            with left.sandbox(self.port) as sandbox:
                self._must_end_well(sandbox, self.story.next_slot, point)
                self._compare_next(point, "the next slot", self._outcome(sandbox), self.then_next)
                self._must_end_well(sandbox, self.story.slot, point)
                self._compare_next(
                    point, "the next slot and the killed one at last", self._outcome(sandbox), self.then_next
                )
            self._must_be_clean(point)
        finally:
            shutil.rmtree(kept)

    def _shorten_lease(self) -> None:
        """Let the dead run's lease end soon: the next run waits for as long as the holder's file says."""
        for path in self.outputs.glob(f"{self.story.module}/lease/*.json"):
            path.write_text(json.dumps({**json.loads(path.read_text()), "lifetime": 1.0}))

    # -- the undisturbed run ------------------------------------------------------------------------------------------

    def _undisturbed(self) -> tuple[Outcome, Outcome]:
        with self._fresh() as sandbox:
            self._must_end_well(sandbox, self.story.slot, None)
            first = self._outcome(sandbox)
            self._must_end_well(sandbox, self.story.next_slot, None)
            then_next = self._outcome(sandbox)
            self._must_end_well(sandbox, self.story.slot, None)
            self._compare_next("nowhere", "next and then the first one again", self._outcome(sandbox), then_next)
            return first, then_next

    def _points(self) -> list[Point]:
        log = self.folder / "calls"
        with self._fresh() as sandbox:
            code = self._start(
                sandbox,
                self.story.slot,
                "calm",
                ["strace", "-f", "-qq", "-e", "trace=rename,link,fsync", "-o", str(log)],
            ).wait(PATIENCE)
            if code:
                raise NotRecovered(f"the run that was to be numbered ended with {code}: {self._log()}")
            requests = [f"{request.method} {request.path}" for request in sandbox.requests]
        points = [
            Point("request", number, moment, at)
            for number, at in enumerate(requests, 1)
            for moment in ("before", "after")
        ]
        return points + list(_file_points(log.read_text(), self.outputs))

    # -- one run ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _fresh(self) -> Iterator[Sandbox]:
        shutil.rmtree(self.outputs, ignore_errors=True)
        with self.state.sandbox(self.port) as sandbox:
            yield sandbox

    def _run_until(self, sandbox: Sandbox, point: Point) -> None:
        """Run the slot and kill it at the point."""
        if point.call != "request":
            # a name that another call bears too is met at its own count: strace counts each system call for itself
            name, nth = point.call, point.nth
            inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}"]
            run = self._start(
                sandbox, self.story.slot, "calm", [*inject, "-e", f"inject={name}:signal=KILL:when={nth}"]
            )
            run.wait(PATIENCE)
        else:
            what = "silence_before" if point.moment == "before" else "silence"
            fault = sandbox.faults.add(what, nth=point.nth)
            run = self._start(sandbox, self.story.slot, "calm")
            deadline = time.monotonic() + PATIENCE
            while not (fault.fired and len(sandbox.requests) >= point.nth):
                if run.poll() is not None or time.monotonic() > deadline:
                    raise NotRecovered(f"{point} was never reached: {self._log()}")
                time.sleep(0.005)
            sandbox.faults.clear()
        with contextlib.suppress(ProcessLookupError):  # strace has killed what it followed, and itself
            os.killpg(run.pid, signal.SIGKILL)
        if run.wait(PATIENCE) == 0:
            raise NotRecovered(f"{point} was never reached: the run ended well")

    def _must_end_well(self, sandbox: Sandbox, slot: str, point: Point | None) -> None:
        run = self._start(sandbox, slot, "brisk")
        try:
            code = run.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            code = run.wait()
        if code:
            raise NotRecovered(f"killed {point or 'nowhere'}: the run of {slot} ended with {code}: {self._log()}")

    def _start(
        self, sandbox: Sandbox, slot: str, config: str, before: list[str] | None = None
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "luigi", "--module", f"jobs.{self.story.module}", self.story.process]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SCC_", "SLACK_"))},
            **sandbox.env,
            "PYTHONPATH": str(ROOT),
            "SCC_OUTPUTS": str(self.outputs),
            "LUIGI_CONFIG_PATH": str(self._configs[config]),
        }
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                [*(before or []), *command, "--slot", slot, "--local-scheduler"],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _config(self, name: str, lifetime: int) -> Path:
        config = configparser.ConfigParser(interpolation=None)
        config.read(ROOT / "luigi.cfg")
        for settings in (QUICK, {"lease": {"lifetime": str(lifetime)}}, self.story.settings):
            config.read_dict(settings)
        path = self.folder / f"{name}.cfg"
        with path.open("w") as file:
            config.write(file)
        return path

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-6000:]

    # -- what became of it --------------------------------------------------------------------------------------------

    def _outcome(self, sandbox: Sandbox) -> Outcome:
        syncs: dict[str, int] = {}
        for sync in sandbox.eloqua.syncs():
            kind = "import" if "/imports/" in sync["syncedInstanceUri"] else "export"
            syncs[kind] = syncs.get(kind, 0) + 1
        # one that was never closed holds rows and writes none
        syncs["job"] = sum(job["state"] not in ("Open", "Aborted") for job in sandbox.salesforce.jobs())
        folder = self.outputs / self.story.module
        return Outcome(self.story.holdings(sandbox), _receipts(folder), _written(folder), syncs)

    def _must_be_clean(self, point: Point) -> None:
        """Nothing is left over that OutputCleanup would not remove in time, but for what the next runs need."""
        with mock.patch.dict(os.environ, {"SCC_OUTPUTS": str(self.outputs)}):
            found = output_survey.survey(self.outputs, LONG_AFTER)
        left = [*found.unfinished, *found.problems, *([f"{found.unknown} unknown"] if found.unknown else [])]
        left += [path.name for path in self.outputs.glob("*/unfinished/*")]
        if left:
            raise NotRecovered(f"killed {point}: left over for ever: {left}")

    def _compare(
        self,
        point: Point | str,
        how: str,
        found: Outcome,
        wanted: Outcome,
        names: Sequence[str] = ("holdings", "receipts", "written", "syncs"),
    ) -> None:
        for name in names:
            if getattr(found, name) != getattr(wanted, name):
                difference = _difference(getattr(wanted, name), getattr(found, name))
                raise NotRecovered(f"killed {point}, then {how}: {name} differ: {difference}")

    def _compare_next(self, point: Point | str, how: str, found: Outcome, wanted: Outcome) -> None:
        """The next slot covers what the killed one left: the same holdings, each row written once, no import too many."""
        self._compare(point, how, found, wanted, ("holdings", "written"))
        for kind in ("import", "job"):  # fewer, where the next slot wrote for both
            if found.syncs.get(kind, 0) > wanted.syncs.get(kind, 0):
                raise NotRecovered(f"killed {point}, then {how}: {found.syncs} syncs, not {wanted.syncs}")


def _lasting_port() -> int:
    """A free port that nobody is given by chance while we are between two sandboxes: below Linux's ephemeral ones.

    It has to stay the same, because the outputs folder belongs to one Eloqua, whose address has the port in it.
    """
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _file_points(calls: str, outputs: Path) -> Iterator[Point]:
    """The points at renames and links below outputs, from strace's log of the main thread's calls.

    strace counts per thread: another thread's calls would be met at the same numbers, and have none in a calm run.
    """
    lines = [re.match(r"(\d+) +(\w+)\((.*)", line) for line in calls.splitlines()]
    found = [match.groups() for match in lines if match]
    main = found[0][0]
    counts: dict[str, int] = {}
    at: tuple[str, str] | None = None
    for pid, call, arguments in found:
        if pid != main:
            if call != "fsync" and str(outputs) in arguments:
                raise NotRecovered(
                    f"another thread than the main one calls {call}: its points have no number of their own"
                )
            continue
        counts[call] = counts.get(call, 0) + 1
        if call == "fsync":
            if at:
                yield Point("fsync", counts[call], "after", f"{at[0]} of {at[1]}")
                at = None
            continue
        paths = re.findall(r'"([^"]+)"', arguments)
        if paths and paths[-1].startswith(str(outputs)):
            name = _place(Path(paths[-1]), outputs)
            yield Point(call, counts[call], "before", name)
            at = (call, name) if arguments.rstrip().endswith("= 0") else None


def _place(path: Path, outputs: Path) -> str:
    return re.sub(r"/\d{4}-\d\d-\d\dT\d{4}/", "/", f"/{path.relative_to(outputs)}").lstrip("/")


def _receipts(folder: Path) -> dict[str, Any]:
    """All receipts by place, without what differs between two good runs."""
    found = {}
    for path in sorted(folder.rglob("*.json")):
        document = json.loads(path.read_text())
        if isinstance(document, dict) and "planned" in document:
            found[str(path.relative_to(folder))] = {
                key: value for key, value in document.items() if key not in VOLATILE
            }
    return found


def _written(folder: Path) -> dict[str, int]:
    """Rows by outcome over all parts of all imports, whichever run accounted for them."""
    totals: dict[str, int] = {}
    for path in sorted(folder.rglob("*.part-*.json")):
        result = json.loads(path.read_text()).get("result", {})
        for name in ("rows", "created", "updated", "rejected"):
            totals[name] = totals.get(name, 0) + result.get(name, 0)
    return totals


def _difference(wanted: Any, found: Any, place: str = "") -> str:
    """The first few places where two documents differ."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        parts = [
            _difference(wanted.get(key), found.get(key), f"{place}/{key}")
            for key in sorted({*wanted, *found}, key=str)
            if wanted.get(key) != found.get(key)
        ]
        return "; ".join(parts[:5])
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        parts = [
            _difference(a, b, f"{place}/{at}") for at, (a, b) in enumerate(zip(wanted, found, strict=True)) if a != b
        ]
        return "; ".join(parts[:5])
    return f"{place or 'all'}: {str(found)[:300]} instead of {str(wanted)[:300]}"


@contextmanager
def bench(story: Story, kind: type[Bench] = Bench) -> Iterator[Bench]:
    """A bench in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="scc-kills-") as folder:
        yield kind(story, Path(folder))
