"""What this run is and how it ends, seen from Luigi's main process, whatever happens to its steps.

`luigi --module` calls nobody when it is done, and which of its events fire, and where, depends on how a step ends
(luigi.md 3). So what is known comes from the first step that Luigi asks about (the one on the command line), from the
events, from the summary in Luigi's log, and from the end of the process; what a forked worker saw comes by pipe.
"""

import atexit
import logging
import re
from typing import TYPE_CHECKING

import luigi
from luigi.execution_summary import LuigiStatusCode
from luigi.interface import core
from luigi.parameter import ParameterVisibility

from scc import verdict
from scc.errors import LeaseHeld
from scc.slack import telling
from scc.slack.mailbox import Mailbox
from scc.slack.tally import tally
from scc.slack.words import LONGEST, Ending, Problem, first_sentence, graph, shortened
from scc.tasks.runtime import sentence_of

if TYPE_CHECKING:
    from scc.tasks.step import Step

log = logging.getLogger(__name__)

SUCCESS = (LuigiStatusCode.SUCCESS, LuigiStatusCode.SUCCESS_WITH_RETRY)
WHY = {
    None: "it was ended before its steps were done: told to stop, or interrupted",
    LuigiStatusCode.NOT_RUN: "not every step was run: the scheduler refused, or the run was told to stop",
}


class Watch:
    """One run, from the first look at its outputs."""

    def __init__(self, root: "Step"):
        self.process, self.name, self.dry_run = root.process, type(root).__name__, root.dry_run
        self.slot = type(root).slot.serialize(root.slot)
        self.graph = graph_of(root)
        self.mailbox = Mailbox()
        self.problems: dict[str, Problem] = {}
        self.broken: set[str] = set()  # steps whose complete() or requires() raised
        self._last: BaseException | None = None
        self.incomplete = ""  # why the last complete() raised, where no step of ours was asked
        self.is_held = False  # another run of the process is at work
        self.status: LuigiStatusCode | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the process itself was started: a single step, run by hand, does not make its process well again."""
        return self.name == "".join(word.title() for word in self.process.split("_"))

    def failed(self, task: luigi.Task, error: BaseException) -> None:
        """A step failed, in whatever process. What passes through the steps that asked for it is told of the first alone."""
        self.broken.add(named(task))
        if error is self._last:
            return
        self._last = error
        if isinstance(error, LeaseHeld):
            self._note(named(task), held="yes")
        else:
            self._note(named(task), text=first_sentence(error)[: 2 * LONGEST])

    def ended_badly(self, task: luigi.Task, text: str, missing: bool = False) -> None:
        """What only the parent sees of a step; it says more than what the step itself says of its end."""
        self.problems[named(task)] = Problem(named(task), text, missing)

    def succeeded(self, task: luigi.Task) -> None:
        """A step ended well, perhaps at its second try."""
        self._note(named(task))

    def _note(self, task: str, **what: str) -> None:
        if self.mailbox.is_ours:
            self._heed(task, **what)
        else:
            self.mailbox.put(task=task, **what)

    def _heed(self, task: str, text: str = "", held: str = "") -> None:
        if held:
            self.is_held = True
        elif text:
            self.problems.setdefault(task, Problem(task, text))
        else:
            self.problems.pop(task, None)

    def summary(self, text: str) -> None:
        """Luigi's own summary, as it logs it."""
        for status in LuigiStatusCode:
            if f"because {status.value[1]}\n" in text:
                self.status = status
        self.is_held = self.is_held or "being run by another worker" in text

    def ending(self) -> Ending | None:
        """How the run ended; None when that says nothing about its process."""
        for letter in self.mailbox.letters():
            self._heed(**letter)
        self.mailbox.close()
        if self.is_held and not self.problems:
            return None
        found = tally(self.process, self.slot)
        outcome = "failed" if self.status not in SUCCESS else "partly" if found.is_partly else "good"
        if outcome == "good" and not self.is_whole:
            return None
        problems = list(self.problems.values()) if outcome == "failed" else []
        why = WHY.get(self.status, str(self.status and self.status.value[1])) if outcome == "failed" else ""
        return Ending(
            self.process, self.name, self.slot, outcome, problems, "" if problems else why, found.counts, self.graph
        )


class Summaries(logging.Handler):
    """Hears in Luigi's log what it tells nobody else: how a run ended."""

    def emit(self, record: logging.LogRecord) -> None:
        if _watch is None or not _watch.mailbox.is_ours:
            return
        text = record.getMessage()
        if text.startswith("\n===== Luigi Execution Summary"):
            _watch.summary(text)
        elif record.exc_info and record.exc_info[1] and text.startswith("Uncaught exception"):
            _watch.problems[_watch.name] = Problem(_watch.name, first_sentence(record.exc_info[1]))
        elif "due to error in complete() method" in text:
            _watch.incomplete = shortened(sentence_of(text))


_watch: Watch | None = None


def begin(step: "Step") -> None:
    """Watch this run, which asks whether its step is done. Only the first call counts: Luigi asks about the root first."""
    global _watch
    if _watch is None:
        _watch = Watch(step)
        telling.prepare()


def failed(task: luigi.Task, error: BaseException) -> None:
    """A step failed, or could not even be planned."""
    if _watch:
        _watch.failed(task, error)


@atexit.register
def tell() -> None:
    """Tell Slack how the run ended, if it is news. Never raises: a run does not end differently because of Slack."""
    global _watch
    watch, _watch = _watch, None
    if watch is None or not watch.mailbox.is_ours:
        return
    try:
        ending = watch.ending()
        if ending and not watch.dry_run:
            telling.tell(ending)
    except Exception as error:  # noqa: BLE001 (whatever it is, the run has ended as it has)
        log.warning("Slack was not told: %s", first_sentence(error))
    verdict.slack_settled()


def named(task: luigi.Task) -> str:
    """A step with those parameters that tell it from its siblings; never a private one (luigi.md 4, "Secrets")."""
    shown = [
        f"{name}={parameter.serialize(getattr(task, name))}"
        for name, parameter in task.get_params()
        if parameter.significant
        and parameter.visibility == ParameterVisibility.PUBLIC
        and name not in ("slot", "dry_run")
    ]
    return f"{type(task).__name__}({', '.join(shown)})" if shown else type(task).__name__


def graph_of(root: "Step") -> str:
    """The address of luigid's picture of the run; "" with the local scheduler."""
    ours = core()
    if ours.local_scheduler:
        return ""
    return graph(ours.scheduler_url or f"http://{ours.scheduler_host}:{ours.scheduler_port}", root.task_id)


def _missing(task: luigi.Task) -> None:
    # Luigi says the same when complete() raised; of a step of ours `failed` knows by now
    if _watch and named(task) not in _watch.broken:
        _watch.ended_badly(task, _watch.incomplete, missing=not _watch.incomplete)
        _watch.incomplete = ""


def _took_too_long(task: luigi.Task, message: str) -> None:
    if _watch:
        _watch.ended_badly(task, "took longer than its limit and was ended")


def _died(task: luigi.Task, message: str) -> None:
    """message: Luigi's, which names the task with all its parameters; only the exit code is taken from it."""
    code = re.search(r"exit code (-?\d+)$", message)
    if _watch:
        _watch.ended_badly(
            task, f"its process died{f' with exit code {code[1]}' if code else ''}, perhaps out of memory"
        )


def _succeeded(task: luigi.Task) -> None:
    if _watch:
        _watch.succeeded(task)


for _event, _handler in {
    luigi.Event.FAILURE: failed,
    luigi.Event.BROKEN_TASK: failed,
    luigi.Event.DEPENDENCY_MISSING: _missing,
    luigi.Event.TIMEOUT: _took_too_long,
    luigi.Event.PROCESS_FAILURE: _died,
    luigi.Event.SUCCESS: _succeeded,
}.items():
    luigi.Task.event_handler(_event)(_handler)
logging.getLogger("luigi-interface").addHandler(Summaries())
