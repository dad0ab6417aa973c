"""Tells Slack of an ending, if it is news; what goes wrong is one warning in the log."""

import datetime as dt
import importlib.util
import logging
import queue
import threading
from collections.abc import Callable

from scc.config import SlackAccess, slack_access
from scc.config import slack as settings
from scc.errors import SccError
from scc.slack import ledger
from scc.slack.words import Ending

log = logging.getLogger(__name__)

NEEDED = ("luigi_slack", "pkg_resources", "slack_sdk")


class Courier:
    """A thread that waits for something to do: at the end of the interpreter none can be started (Python 3.12)."""

    def __init__(self) -> None:
        self._errands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="slack", daemon=True).start()

    def send(self, errand: Callable[[], None], seconds: float) -> None:
        """Have it done. Raises what it raises, or TimeoutError: a timeout of a socket bounds only each single wait."""
        self._errands.put(errand)
        try:
            error = self._results.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if error:
            raise error

    def _run(self) -> None:
        while True:
            try:
                self._errands.get()()
            except Exception as error:  # noqa: BLE001 (it is raised where it was sent from)
                self._results.put(error)
            else:
                self._results.put(None)


_courier: Courier | None = None


def prepare() -> SlackAccess | None:
    """Say at a run's start what keeps Slack from hearing of its end. None when it will not."""
    global _courier
    access = _access()
    if access and _courier is None:
        _courier = Courier()
    return access


def _access() -> SlackAccess | None:
    try:
        access = slack_access()
    except SccError as error:
        log.warning("Slack will not hear of this run: %s", error)
        return None
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if access is None:
        log.info("Slack will not hear of this run: SLACK_TOKEN and SLACK_CHANNEL are not set")
    elif absent:
        log.warning(
            "Slack will not hear of this run: not installed: %s (pip install -r requirements.txt)", ", ".join(absent)
        )
        return None
    return access


def tell(ending: Ending) -> None:
    """Tell Slack, and keep that it was told."""
    if _courier is None:
        return
    access = slack_access()
    if access is None:
        return
    news = ledger.news(ledger.read(ending.process), ending.outcome, dt.datetime.now(dt.UTC))
    if news is None:
        return
    from scc.slack.bot import Bot, why_not  # here: it takes a third of a second, which most runs do not need

    seconds = settings().seconds
    try:
        _courier.send(lambda: Bot(access, seconds).post(ending, news), seconds)
    except Exception as error:  # noqa: BLE001 (Slack's, the network's, a package's: nothing of it is the run's)
        log.warning("Slack was not told how %s ended: %s", ending.name, why_not(error))
        return
    ledger.write(ending.process, news.entry)
