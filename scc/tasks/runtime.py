"""What every Luigi process of SCC has once: logging, the verdict, and an orderly end.

Importing this module sets them up, because `luigi --module` offers no other moment that all its entry points share.
"""

import itertools
import logging
import os
import re
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from types import FrameType

import luigi
from luigi.parameter import ParameterException, UnconsumedParameterWarning

from scc import verdict
from scc.errors import SccError

log = logging.getLogger("scc")

ADDRESS = re.compile(r"[^\s@'\"<>]+@[^\s@'\"<>]+")
# what these quote are names in our code, not values of records
ABOUT_CODE = {
    *("TypeError", "AttributeError", "NameError", "ImportError", "ModuleNotFoundError"),
    "MissingParameterException",
}
OURS = "scc.errors."
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def sentence(error: BaseException) -> str:
    """What a person is told of an error: our own sentence, or a stranger's with addresses and quoted values masked."""
    if isinstance(error, SccError) or _of_a_parameter(error):
        return str(error)
    return _masked(type(error).__name__, str(error))


def _masked(kind: str, message: str) -> str:
    text = ADDRESS.sub("(address)", message)
    if kind.rsplit(".", 1)[-1] not in ABOUT_CODE:
        text = QUOTED.sub("'…'", text)
    return f"{kind}: {text}" if text else kind


def explained(error: BaseException) -> str:
    """What logs and luigid get of a failure: a sentence where the operator can mend it, else where in the code it happened.

    Source lines and frames are ours and safe; a message may quote a record, so it is masked.
    """
    if isinstance(error, SccError | ParameterException) or _of_a_parameter(error):
        return sentence(error)
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"Traceback (most recent call last):\n{frames}{sentence(error)}"


def _of_a_parameter(error: BaseException) -> bool:
    """Whether a value on the command line has the wrong form: Luigi lets the parser's ValueError pass."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, ValueError) and any(Path(frame.filename).match("luigi/parameter.py") for frame in frames)


class Discreet(logging.Filter):
    """Replaces the tracebacks that Luigi logs with every failure by what `explained` makes of them, masks addresses
    (and with them passwords in URLs), and drops the line that Luigi logs about every step it only tells luigid of.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}\n{explained(record.exc_info[1])}"
            record.exc_info = record.exc_text = None
        elif "\nTraceback (most recent call last):" in text:
            text = _retold(text)
        record.msg, record.args = ADDRESS.sub("(address)", text), ()
        return not text.startswith("Informed scheduler that task")


def _retold(text: str) -> str:
    """A message into which Luigi formatted the traceback of an error in complete() or requires()."""
    head, header, trace = text.rpartition("Traceback (most recent call last):\n")
    lines = trace.splitlines(keepends=True)
    frames = "".join(itertools.takewhile(lambda line: line.startswith(" "), lines))
    if trace[len(frames) :].startswith(OURS):
        return f"{head.partition(chr(10))[0]} {sentence_of(text)}"
    return f"{ADDRESS.sub('(address)', head)}{header}{frames}{sentence_of(text)}"


def sentence_of(text: str) -> str:
    """What `sentence` makes of an error of which only the formatted traceback is left, at the end of a text."""
    trace = text.rpartition("Traceback (most recent call last):\n")[2].splitlines(keepends=True)
    last = "".join(itertools.dropwhile(lambda line: line.startswith(" "), trace)).rstrip()
    kind, _, message = last.partition(": ")
    return message if kind.startswith(OURS) else _masked(kind, message)


def _configure_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)sZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(Discreet())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("luigi").setLevel(logging.WARNING)  # says which configuration it took; twice
    logging.getLogger("luigi.scheduler").setLevel(logging.WARNING)


def _stop(number: int, frame: FrameType | None) -> None:
    """On SIGTERM: the running step fails in good order, and SIGUSR1 keeps the worker from starting another (luigi.md 4)."""
    os.kill(os.getpid(), signal.SIGUSR1)
    raise SystemExit(128 + number)


def _failed(task: luigi.Task, error: BaseException) -> None:
    verdict.failed(error)


_configure_logging()
warnings.filterwarnings("ignore", category=UnconsumedParameterWarning)  # [core] rpc_* are consumed, Luigi cannot see it
signal.signal(signal.SIGTERM, _stop)
for _event in (luigi.Event.FAILURE, luigi.Event.BROKEN_TASK):
    luigi.Task.event_handler(_event)(_failed)
