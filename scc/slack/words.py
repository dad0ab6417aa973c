"""The message about a run: what happened, how many records, where to look.

Everything that is not markup of ours is escaped, so that no error's text can notify a channel or hide a link.
"""

import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from urllib.parse import quote, urlsplit

from scc import catalogue
from scc.config import variable
from scc.errors import SccError
from scc.slack.ledger import News
from scc.tasks.runtime import ADDRESS, sentence

LONGEST = 300  # characters of an error that a message quotes
TITLES = {
    ("turned", "failed"): "*{name} failed*{slot}",
    ("turned", "partly"): "*{name} was only partly successful*{slot}",
    ("still", "failed"): "*{name} still fails*{slot}; not well since {since} UTC",
    ("still", "partly"): "*{name} is still only partly successful*{slot}; not well since {since} UTC",
    ("recovered", "good"): "*{name} is well again*{slot}; it was not since {since} UTC",
}


@dataclass(frozen=True)
class Problem:
    """A step that did not end well. missing: its input from outside is not there."""

    task: str
    text: str = ""
    missing: bool = False


@dataclass(frozen=True)
class Ending:
    """How a run ended. outcome: "good", "partly", "failed". why: where no problem of a step says it."""

    process: str
    name: str
    slot: str
    outcome: str
    problems: list[Problem] = field(default_factory=list)
    why: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    graph: str = ""


def title(ending: Ending, news: News) -> str:
    """The line that a notification shows."""
    since = f"{news.since[:10]} {news.since[11:16]}"
    slot = f", slot {safe(ending.slot)} UTC" if ending.slot else ""
    return TITLES[news.kind, ending.outcome].format(name=safe(ending.name), slot=slot, since=since)


def fields(ending: Ending) -> dict[str, list[str]]:
    """What stands below the title besides the steps, by heading."""
    found = {
        "Why": [safe(ending.why)] if ending.why else [],
        "Records": [" · ".join(f"{name} {count:,}" for name, count in ending.counts.items())] if ending.counts else [],
        "See": [" · ".join(links(ending))],
        "Log": [log_command()],
    }
    return {heading: lines for heading, lines in found.items() if any(lines)}


def links(ending: Ending) -> Iterable[str]:
    """luigid's graph of the run, and the runbook's section about the process; each only where its address is known."""
    runbook = public_url("RUNBOOK_URL")
    if ending.graph:
        yield link(ending.graph, "graph")
    if runbook:
        yield link(f"{runbook.partition('#')[0]}#{anchor(ending.process)}", "runbook")


def graph(luigid: str, task_id: str) -> str:
    """The address of luigid's picture of a run; the D3 view is the readable one (luigi.md 8)."""
    base = public_url("LUIGID_PUBLIC_URL") or without_login(luigid)
    page = "static/visualiser/index.html"
    return f"{base.rstrip('/')}/{page}#tab=graph&taskId={quote(task_id, safe='')}&visType=d3" if base else ""


def public_url(name: str) -> str:
    """An address for people from the environment, "" if there is none that a browser could open."""
    try:
        return without_login(variable(name, ""))
    except SccError:
        return ""


def without_login(url: str) -> str:
    """An http address without user and password; "" for anything else."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s<>|]", url):
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def anchor(process: str) -> str:
    """The runbook's section about a process, as the catalogue names it."""
    try:
        return catalogue.processes()[process].runbook
    except (SccError, KeyError):  # a broken catalogue is told elsewhere; a process that is not in it has no better one
        return process.replace("_", "")


def log_command() -> str:
    """How to see the run's log."""
    job = os.environ.get("JOB_NAME", "")
    if re.fullmatch(r"[a-z0-9][a-z0-9.-]*", job):
        return f"`oc logs job/{job}`"
    return f"where it was started by hand, on {safe(socket.gethostname())}"


def first_sentence(error: BaseException) -> str:
    """An error in one sentence, with addresses and a stranger's quoted values masked (scc.tasks.runtime.sentence)."""
    if type(error).__name__ == "RPCError":
        return "luigid did not answer any more; run again when it is back"
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return "it was told to stop before it was done"
    return shortened(sentence(error))


def shortened(text: str) -> str:
    """The first sentence of a text; of a traceback (a mistake in complete() or requires()) the last line, which says which."""
    text = text.strip()
    if text.startswith("Traceback"):
        text = text.splitlines()[-1]
    return re.split(r"(?<=[^.][.!?])\s+|\n", text, maxsplit=1)[0]


def link(address: str, text: str) -> str:
    return f"<{escape(address, quote=False)}|{text}>"


def safe(text: str) -> str:
    """A text as Slack shows it literally, without addresses, cut when it is very long."""
    masked = ADDRESS.sub("(address)", text)
    cut = masked if len(masked) <= LONGEST else masked[: LONGEST - 1] + "…"
    return escape(cut, quote=False)
