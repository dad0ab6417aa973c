"""What every Luigi process of SCC has once: logging, the verdict, and an orderly end.

Importing this module sets them up, because `luigi --module` offers no other moment that all its entry points share.
"""

import logging
import os
import re
import signal
import sys
import time
import traceback
import warnings
from types import FrameType

import luigi
from luigi.parameter import ParameterException, UnconsumedParameterWarning

from scc import verdict
from scc.errors import SccError

log = logging.getLogger("scc")

ADDRESS = re.compile(r"[^\s@'\"<>]+@[^\s@'\"<>]+")
# what these quote are names in our code, not values of records
ABOUT_CODE = (TypeError, AttributeError, NameError, ImportError)
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def sentence(error: BaseException) -> str:
    """What a person is told of an error: our own sentence, or a stranger's with addresses and quoted values masked."""
    if isinstance(error, SccError):
        return str(error)
    text = ADDRESS.sub("(address)", str(error))
    if not isinstance(error, ABOUT_CODE):
        text = QUOTED.sub("'…'", text)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def explained(error: BaseException) -> str:
    """What logs and luigid get of a failure: a sentence where the operator can mend it, else where in the code it happened.

    Source lines and frames are ours and safe; a message may quote a record, so it is masked.
    """
    if isinstance(error, SccError | ParameterException):
        return sentence(error)
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"Traceback (most recent call last):\n{frames}{sentence(error)}"


class Discreet(logging.Filter):
    """Replaces the tracebacks that Luigi logs with every failure by what `explained` makes of them."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            record.msg = f"{record.getMessage()}\n{explained(record.exc_info[1])}"
            record.args = ()
            record.exc_info = record.exc_text = None
        elif isinstance(record.msg, str) and "\nTraceback (most recent call last):" in record.msg:
            # Luigi formats the errors of complete() and requires() into the message; the last line is the exception's
            head, _, trace = record.msg.partition("\nTraceback (most recent call last):")
            last = trace.rstrip().rsplit("\n", 1)[-1]
            ours = last.startswith("scc.errors.")
            record.msg = f"{head} {last.partition(': ')[2]}" if ours else ADDRESS.sub("(address)", record.msg)
        return True


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
