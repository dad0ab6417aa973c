"""Real `luigi --module` and bin/run-job runs of one small process, `Chore`, which ends as the test says; the sandbox is Slack.

slack_sdk, luigi-slack and Luigi are the real ones.
"""

import html
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scc.sandbox import Sandbox
from tests.bin.conftest import await_

CHECKOUT = Path(__file__).parents[2]
SLOT = "2026-11-22T0615"
PRIVATE = "private-value-0815"
LUIGI = ["luigi", "--module", "jobs.chore", "Chore", "--slot", SLOT]
JOB = "scc-chore-29922135"
# how Work ends stands in the variable CHORE, how many there are in PARTS
CHORE = f"""
import os, signal, time
from pathlib import Path
import luigi
from luigi.parameter import ParameterVisibility
from scc import verdict
from scc.errors import LeaseHeld, SafetyStop, VolumeUnavailable
from scc.receipts import Counts
from scc.tasks.step import Process, Step

HOW = os.environ.get("CHORE", "well")

class Absent(luigi.ExternalTask):
    def output(self):
        return luigi.LocalTarget("/nowhere/absent")

class Work(Step):
    part = luigi.IntParameter()
    note = luigi.Parameter(default="{PRIVATE}", visibility=ParameterVisibility.PRIVATE)
    worker_timeout = 1 if HOW == "endless" else None
    force_multiprocessing = HOW == "forked"

    def requires(self):
        if HOW == "unplannable":
            raise KeyError("somebody@example.com")
        return [Absent()] if HOW == "absent" else []

    def complete(self):
        if HOW == "unknowable":
            raise RuntimeError("somebody@example.com")
        return super().complete()

    def output(self):
        if HOW == "nowhere":
            raise KeyError("somebody@example.com")
        return self.receipt()

    def run(self):
        if HOW in ("failing", "forked"):
            raise SafetyStop("chore", "records would go", 7, 9, "5 <!channel>")
        if HOW == "strange":
            raise ValueError("cannot send to somebody@example.com 'secret-0816'. More on that: @here")
        if HOW == "held":
            raise LeaseHeld("another run of chore holds its lease")
        if HOW == "endless":
            time.sleep(60)
        if HOW == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if HOW == "waiting":
            Path(f"running-{{self.part}}").touch()
            while not Path("go").exists():
                time.sleep(0.01)
        tried = Path(os.environ["SCC_OUTPUTS"], "tried")
        if HOW == "twice" and not tried.exists():
            tried.touch()
            raise RuntimeError("the first try fails")
        counts = Counts(5, updated=4, rejected=1) if HOW == "partly" else Counts(5, updated=5)
        if self.output().settle(counts, 0.5, {{"dry_run": self.dry_run}}) == "partly":
            verdict.partly(self.process)

class Chore(Process):
    def requires(self):
        return [self.clone(Work, part=part) for part in range(int(os.environ.get("PARTS", 1)))]
"""


@dataclass
class Message:
    """What a reader of the channel sees. fields: by heading."""

    text: str
    fields: dict[str, str]
    colour: str

    @classmethod
    def of(cls, posted: dict[str, Any]) -> "Message":
        attached = posted["attachments"][0]
        fields = {field["title"]: html.unescape(field["value"]) for field in attached["fields"]}
        return cls(html.unescape(posted["text"]), fields, attached["color"])

    @property
    def all(self) -> str:
        return "\n".join([self.text, *self.fields, *self.fields.values()])


class Channel:
    """The channel, and the process that tells it."""

    def __init__(self, sandbox: Sandbox, folder: Path):
        self.sandbox, self.root, self.outputs = sandbox, folder, folder / "outputs"
        for name in ("bin", "jobs", "tmp"):
            (folder / name).mkdir()
        shutil.copy(CHECKOUT / "bin/run-job", folder / "bin")
        (folder / "scc").symlink_to(CHECKOUT / "scc")
        (folder / "openshift").symlink_to(CHECKOUT / "openshift")
        (folder / "jobs/__init__.py").touch()
        (folder / "jobs/chore.py").write_text(CHORE)
        self.configure(first_pause="0.01")
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "PYTHONPATH": str(folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LUIGI_CONFIG_PATH": str(folder / "luigi.cfg"),
            "SCC_OUTPUTS": str(self.outputs),
            "SCC_LUIGID_WAIT": "0",
            "JOB_NAME": JOB,
            "RUNBOOK_URL": "https://docs.example.com/runbook",
            "LUIGID_PUBLIC_URL": "https://luigi.example.com/",
            **sandbox.env,
        }

    def configure(self, section: str = "", **values: str) -> None:
        """Write luigi.cfg with other values, and with lines of a section more."""
        text = (CHECKOUT / "luigi.cfg").read_text()
        for name, value in values.items():
            text = re.sub(rf"(?m)^{name} =.*$", f"{name} = {value}", text)
        (self.root / "luigi.cfg").write_text(text + section)

    @property
    def messages(self) -> list[Message]:
        return [Message.of(posted) for posted in self.sandbox.slack.messages]

    @property
    def ledger(self) -> dict[str, str]:
        return json.loads((self.outputs / "chore/slack.json").read_text())

    def last_told(self, day: str) -> None:
        """Let the last message have been sent on another day."""
        path = self.outputs / "chore/slack.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "told_at": f"{day}T23:59:59Z"}))

    def luigi(self, how: str = "well", *options: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
        """`luigi --module jobs.chore Chore` as a person types it, with the local scheduler unless the options say more."""
        options = options or ("--local-scheduler",)
        return self.run([*LUIGI, *options], CHORE=how, **variables)

    @contextmanager
    def running(self, *options: str, **variables: str | None) -> Iterator[subprocess.Popen[str]]:
        """A run in the middle of its steps, which end well once there is a file `go`. It is gone after the block."""
        parts = int(variables.get("PARTS") or 1)
        with subprocess.Popen([*LUIGI, *options], **self._about(CHORE="waiting", **variables)) as run:
            try:
                await_(
                    lambda: len(list(self.root.glob("tmp/running-*"))) == parts or run.poll() is not None, "the steps"
                )
                assert run.poll() is None, run.communicate()
                yield run
            finally:
                (self.root / "tmp/go").touch()
                run.communicate(timeout=30)

    def run_job(self, how: str = "well", *arguments: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
        arguments = arguments or ("Chore", "--slot", SLOT, "--local-scheduler")
        return self.run([str(self.root / "bin/run-job"), *arguments], CHORE=how, **variables)

    def run(self, command: list[str], **variables: str | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, **self._about(**variables), timeout=60, check=False)

    def _about(self, **variables: str | None) -> dict[str, Any]:
        environment = {**self.environment, **variables}
        return {
            "env": {name: value for name, value in environment.items() if value is not None},
            "cwd": self.root / "tmp",
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }


@pytest.fixture
def channel(sandbox: Sandbox, tmp_path: Path) -> Channel:
    """A channel that was told nothing yet."""
    folder = tmp_path / "root"
    folder.mkdir()
    return Channel(sandbox, folder)
