"""What Slack was told of a process, and so whether a run's end is news: <outputs>/<process>/slack.json.

    {"outcome": "failed", "since": "2026-11-22T06:20:11Z", "told_at": "2026-11-22T06:20:11Z"}

outcome: what was told last. since: when the process was first told of as bad, or as well again. told_at: when the last message
was sent. All by the clock. Nobody locks the file: two runs at once tell the same twice at worst.
"""

import datetime as dt
import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

from scc import outputs
from scc.config import eloqua_credentials, outputs_folder, salesforce_credentials
from scc.errors import ConfigError, SccError

log = logging.getLogger(__name__)

MOMENT = "%Y-%m-%dT%H:%M:%SZ"
# how bad an outcome is
BADNESS = {"good": 0, "partly": 1, "failed": 2}
Entry = dict[str, str]


class News(NamedTuple):
    """kind: "turned" (bad, and was better), "still" (bad) or "recovered". since: when the bad time began."""

    kind: str
    since: str
    entry: Entry


def news(before: Entry | None, outcome: str, now: dt.datetime) -> News | None:
    """What an outcome ("good", "partly", "failed") at an instant (UTC) adds to what was told before; None: nothing."""
    moment = now.strftime(MOMENT)
    was = before["outcome"] if before else "good"
    since = before["since"] if before and was != "good" else moment
    entry = {"outcome": outcome, "since": since, "told_at": moment}
    if outcome == "good":
        return None if was == "good" else News("recovered", since, {**entry, "since": moment})
    if BADNESS[outcome] > BADNESS[was]:
        return News("turned", since, entry)
    return None if before and _today(before, moment) else News("still", since, entry)


def _today(before: Entry, moment: str) -> bool:
    """Whether the last message was of the same day, UTC: a daily process starts some seconds earlier or later each day."""
    return before["told_at"][:10] == moment[:10]


def read(process: str) -> Entry | None:
    """The last entry; None when there is none, or nobody can know: then it is better to tell twice than not at all."""
    try:
        target = _target(process)
        return _checked(target.read()) if target and target.exists() else None
    except SccError as error:
        log.warning("what Slack was told of %s is unknown: %s", process, error)
        return None


def write(process: str, entry: Entry) -> None:
    """Replace the entry; a volume that is away costs a message told twice."""
    try:
        target = _target(process)
        if target:
            target.write(entry)
    except SccError as error:
        log.warning("what Slack was told of %s could not be kept: %s", process, error)


def _checked(found: Any) -> Entry | None:
    """What the file holds, if somebody did not edit it to something else."""
    if not isinstance(found, dict) or not {"outcome", "since", "told_at"} <= set(found):
        return None
    entry = {name: str(value) for name, value in found.items()}
    return entry if entry["outcome"] in BADNESS else None


def _target(process: str) -> outputs.JsonTarget | None:
    folder = _folder() if re.fullmatch(r"[a-z][a-z0-9_]*", process) else None  # a person may have mistyped it
    return outputs.JsonTarget(folder / process / "slack.json") if folder else None


def _folder() -> Path | None:
    """The outputs folder. With a credential missing nobody can prove whose it is, but a note of what was told does no harm
    there: without it Slack would hear of the missing credential at each run.
    """
    try:
        eloqua_credentials(), salesforce_credentials()
    except ConfigError:
        folder = outputs_folder()
        return folder if outputs.exists(folder / outputs.ROOT_FILE) else None
    return outputs.root()
