"""The Luigi task that all steps of all processes are: where its output lies, and the systems it may talk to."""

import atexit
import functools
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import luigi
from luigi.rpc import RPCError

from scc import finished, outputs, slack, verdict
from scc.catching_up import Slot
from scc.config import eloqua_credentials, salesforce_credentials
from scc.eloqua import syncs
from scc.eloqua.bulk import Bulk
from scc.eloqua.client import Eloqua
from scc.errors import BrokenStep, ConfigError, LeaseHeld, SccError
from scc.lease import Lease
from scc.metrics import Metrics
from scc.receipts import Counts, Receipt
from scc.salesforce.client import Salesforce
from scc.tables import Engine, Schema, Table
from scc.tasks import runtime
from scc.transport import Transport
from scc.usage import Usage

log = logging.getLogger(__name__)

SLOT = "%Y-%m-%dT%H%M"
UNFINISHED = "unfinished"
# what a process remembers from one slot to the next, if it has to
STATE = "state"
# the `resources` of a step that asks Eloqua for syncs: luigid lets only so many of them run at once, over all processes.
# bin/run-job waits in that queue for a process whose module says so. The guarantee is the budget, not the queue
BULK = {"eloqua_bulk": 1}


class Step(luigi.Task):
    """One step of a process, keyed by its slot.

    slot: the minute (UTC) that the run was scheduled for. dry_run: read and decide, change nothing.
    Required tasks are made by `self.clone(...)`, which hands both on.
    """

    # whether the output only tells what was done: such never grows too old, as receipts do not (scc/catching_up.py)
    tells = False

    slot = luigi.DateMinuteParameter(description="the scheduled minute of the run, UTC: 2026-11-22T0615")
    dry_run = luigi.BoolParameter(default=False, description="read and decide, change nothing")

    @property
    def process(self) -> str:
        """The process this step belongs to: the name of the module in jobs/ that declares it."""
        return type(self).__module__.rsplit(".", 1)[-1]

    @property
    def folder(self) -> Path:
        """<outputs>/<process>/<slot>[/dry-run]/<every other significant parameter>."""
        names = [self.process, f"{self.slot:{SLOT}}", *(["dry-run"] if self.dry_run else [])]
        for name, parameter in self.get_params():
            if parameter.significant and name not in ("slot", "dry_run"):
                names.append(_folder_name(parameter.serialize(getattr(self, name))))
        return outputs.root().joinpath(*names)

    def table(self, schema: Schema, name: str = "") -> Table:
        """This step's Parquet output; name: of a second one, beside it."""
        return Table(self.folder / f"{self._name(name)}.parquet", schema)

    def document(self, name: str = "") -> outputs.JsonTarget:
        """This step's JSON output; name: of a second one, beside it."""
        return outputs.JsonTarget(self.folder / f"{self._name(name)}.json")

    def receipt(self) -> Receipt:
        """This step's receipt, its output when it changes a remote system."""
        return Receipt(self.folder / f"{self._name()}.json")

    def settle(self, counts: Counts, limit: float, about: Mapping[str, Any]) -> None:
        """Account for what this step did: in its receipt (see Receipt.settle), the verdict and the run's metrics.

        The metrics come first: more rejected records than the limit are worth knowing, and fail the step.
        """
        self._run.metrics.account(counts, about)
        if self.receipt().settle(counts, limit, about) == "partly":
            verdict.partly(self.process)

    def engine(self) -> Engine:
        """The engine, on a connection of this step's own."""
        return Engine()

    @property
    def bulk(self) -> Bulk:
        """Eloqua's Bulk API, under this run's lease."""
        return self._run.bulk

    @property
    def salesforce(self) -> Salesforce:
        """Salesforce, under this run's lease."""
        return self._run.salesforce

    def api_calls(self) -> dict[str, int]:
        """Requests that this process of the operating system has sent so far, by system."""
        return self._run.transport.call_counts()

    @property
    def _run(self) -> "Run":
        return current_run(self.process, self.dry_run, f"{self.slot:{SLOT}}")

    def check_lease(self) -> None:
        """Take this run's lease; later: raise LeaseLost when too little of it is left. For changes that no transport sends."""
        self._run.transport.lease_check()

    def progress(self) -> Callable[[str], None]:
        """A function that shows what this step is at, in luigid's web page. A luigid that is lost must not fail the step."""
        show = getattr(self, "set_status_message", None)  # Luigi lends it while the step runs

        def tell(text: str) -> None:
            nonlocal show
            if show is None:
                return
            try:
                show(text)
            except RPCError:  # after all its retries: once is enough
                show = None
                log.warning("luigid does not answer; this step goes on without showing its progress")

        return tell

    def parts(self, name: str = "") -> syncs.Parts:
        """Where an import of this step keeps what it knows; name: of a second one."""
        return syncs.Parts(self.folder, self._name(name), outputs.root() / self.process / UNFINISHED)

    def complete(self) -> bool:
        """Whether the output is there, and may still be worked from: see scc/catching_up.py.

        An error that keeps us from knowing reaches the verdict, which Luigi does not tell.
        """
        slack.begin(self)
        if self.dry_run:
            verdict.rehearsed(self.process)
        try:
            with _explained():
                return super().complete() and not self._superseded()
        except SccError as error:
            verdict.failed(error)
            slack.failed(self, error)
            raise

    def deps(self) -> Any:
        """What is required, as Luigi asks for it."""
        with _explained():
            return super().deps()

    def on_failure(self, exception: BaseException) -> str:
        """What luigid shows of a failure, and keeps in its database."""
        return runtime.explained(exception)

    def _superseded(self) -> bool:
        if self.dry_run or self.tells or isinstance(self.output(), Receipt):
            return False
        return _slot(outputs.root() / self.process, f"{self.slot:{SLOT}}").is_superseded()

    def _name(self, name: str = "") -> str:
        return f"{type(self).__name__}.{name}" if name else type(self).__name__


def _folder_name(value: str) -> str:
    """A parameter's value as a folder's name. Raises ConfigError for one that would lead elsewhere."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", value):
        raise ConfigError("a parameter that names a folder may hold letters, digits, _, - and . only")
    return value


@contextmanager
def _explained() -> Iterator[None]:
    """Luigi sends luigid the traceback of what complete() and requires() raise, message and all: ours, or masked."""
    try:
        yield
    except SccError:
        raise
    except Exception as error:  # noqa: BLE001 (whatever a mistake raises must not reach luigid as it is)
        raise BrokenStep(runtime.explained(error)) from None


class Process(Step):
    """A whole process: what `luigi --module jobs.x X` names. Output: the proof that all the steps it requires are done.

    Not a WrapperTask, which leaves nothing behind: whoever does not know the process asks scc.finished. Needs no remote
    system to know that it is done.
    """

    def output(self) -> outputs.JsonTarget:
        return finished.marker(self.folder)

    def run(self) -> None:
        outcomes = {
            path: target.read()["outcome"] if isinstance(target, Receipt) else None
            for path, target in self._required().items()
        }
        about = {"process": self.process, "slot": f"{self.slot:{SLOT}}", "dry_run": self.dry_run}
        self.output().write({**about, "outputs": outcomes})

    def _required(self) -> dict[str, outputs.Target]:
        """The outputs of the steps it requires, by their paths from its own folder."""
        return {os.path.relpath(target.path, self.folder): target for target in luigi.task.flatten(self.input())}

    def _superseded(self) -> bool:
        """Whether the proof no longer holds: a step is required that it does not name, or one is to be done again.

        So an enrichment that joined the file later is still done in an older slot that is run again, and an output that
        was moved away is made anew.
        """
        steps = luigi.task.flatten(self.requires())
        return not (
            all(step.complete() for step in steps)
            and self._required().keys() <= (finished.named(self.folder) or {}).keys()
        )


class Run:
    """What the steps of one process share within one process of the operating system: the lease, one login per system."""

    def __init__(self, process: str, dry_run: bool, slot: str):
        folder = self._folder = outputs.root() / process
        self._process, self._slot = process, slot
        self.metrics = Metrics(process)
        self._lease: Lease | None = None
        if dry_run:  # a rehearsal changes nothing, and hinders nobody
            self.transport = Transport(dry_run)
            return
        lease = self._lease = Lease(folder / "lease", process, slot)
        self._entered: list[str] = []
        self.transport = Transport(lease_check=lease.check, before_change=self._mark_write)
        try:
            if outputs.names(folder / UNFINISHED):
                syncs.settle(self.bulk, folder / UNFINISHED, log.info)
            self.enter(slot)
        except BaseException:
            lease.release()
            raise

    def _mark_write(self) -> None:
        """Once, before the first change: for the slot that is worked on. Its own reads are done when another slot's begin."""
        assert self._lease
        _slot(self._folder, (self._entered or [self._slot])[-1]).mark_write(self._lease.number)

    def enter(self, slot: str) -> None:
        """Before a slot's first step reads anything: put aside what is too old to write from (scc/catching_up.py).

        A run enters one slot; or several, when it finishes what an older one began before its own.
        """
        if self._lease and slot not in self._entered:
            _slot(self._folder, slot).begin(self._lease.number)
            self._entered.append(slot)

    @functools.cached_property
    def bulk(self) -> Bulk:
        return Bulk(Eloqua(self.transport, eloqua_credentials()), lambda uri: self.usage.before_sync(uri))

    @functools.cached_property
    def usage(self) -> Usage:
        return Usage(self._folder, self._process, self._slot)

    @functools.cached_property
    def salesforce(self) -> Salesforce:
        return Salesforce(self.transport, salesforce_credentials())

    def end(self) -> None:
        """Say what was called, let the next run have the lease, and push the metrics, unless it was a rehearsal."""
        calls = sorted(self.transport.calls.items())
        log.info("calls: %s", "; ".join(f"{' '.join(key)} {count}" for key, count in calls) or "none")
        if self._lease:
            self._lease.release()
            self.metrics.push(self.transport.calls, self._remaining_quota())

    def _remaining_quota(self) -> dict[str, int]:
        """What the process may still ask of Eloqua; nothing where it asked for nothing, or nobody can know."""
        if "usage" not in vars(self):
            return {}
        try:
            return self.usage.remaining()
        except SccError as error:
            log.warning("the remaining quota is not known: %s", error)
            return {}


_slot = functools.cache(Slot)  # one for each slot: it remembers what Luigi was told
_runs: dict[tuple[str, bool, int], Run | LeaseHeld] = {}


def current_run(process: str, dry_run: bool, slot: str) -> Run:
    """This run; made at the first call. A forked worker makes its own: sessions must not be shared (luigi.md 4).

    Raises LeaseHeld, and then for every further step as well: a run must not start in its middle.
    """
    key = (process, dry_run, os.getpid())
    if key not in _runs:
        try:
            _runs[key] = Run(process, dry_run, slot)
        except LeaseHeld as held:
            _runs[key] = held
    run = _runs[key]
    if isinstance(run, LeaseHeld):
        raise run
    run.enter(slot)
    return run


@atexit.register
def end_runs() -> None:
    """End what this process of the operating system runs."""
    for key in [key for key in _runs if key[2] == os.getpid()]:
        run = _runs.pop(key)
        if isinstance(run, Run):
            run.end()
    _slot.cache_clear()
