"""What the tests of failures share: the real luigid, bin/run-job and Enrichment, a record that waits, and short patience.

A hook in the sandbox (`sandbox.on`) marks the moment: the job waits for its answer while the test breaks something.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scc.sandbox import Sandbox
from tests.components import database  # noqa: F401 (a fixture)
from tests.stack import CHECKOUT, Daemon, get, luigid

OBJECT = "Event Registration"
SLOT, NEXT = "2026-11-22T0615", "2026-11-22T0715"
# seconds; the shipped luigi.cfg is as patient as a night allows
SHORT = {
    "deadline": "20", "lifetime": "2", "rpc_connect_timeout": "2", "rpc_retry_attempts": "4", "rpc_retry_wait": "1",
    "wait_interval": "0.1", "wait_jitter": "0",
}  # fmt: skip
LUIGID = {"LUIGID_DISCONNECT": "3", "LUIGID_DB_TIMEOUT": "1", "LUIGID_DB_SILENCE": "1"}


class Job:
    """One run of bin/run-job."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path):
        self.process, self._log = process, log

    def log(self) -> str:
        return self._log.read_text()

    def ended(self) -> int:
        """Its exit code; the test fails if that takes too long."""
        try:
            return self.process.wait(timeout=90)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            return pytest.fail(f"run-job did not end:\n{self.log()}")

    def signal(self, number: signal.Signals) -> None:
        """To run-job and all that it started, as when a machine dies or stalls."""
        os.killpg(self.process.pid, number)


class Jobs:
    """Runs of Enrichment on one outputs folder, with short patience."""

    def __init__(self, folder: Path):
        self._folder, self._runs = folder, list[Job]()
        text = (CHECKOUT / "luigi.cfg").read_text()
        for name, value in SHORT.items():
            text, found = re.subn(rf"(?m)^{name} =.*$", f"{name} = {value}", text)
            assert found, f"luigi.cfg has no {name}"
        (folder / "luigi.cfg").write_text(text)

    def start(self, slot: str, *options: str, **variables: str) -> Job:
        environment = {
            **os.environ,
            "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
            "LUIGI_CONFIG_PATH": str(self._folder / "luigi.cfg"),
            "SCC_OUTPUTS": str(self._folder / "outputs"),
            "SCC_LUIGID_WAIT": "1",
            **variables,
        }
        log = self._folder / f"run-{len(self._runs)}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [CHECKOUT / "bin/run-job", "Enrichment", "--slot", slot, *options], env=environment,
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, text=True,
            )  # fmt: skip
        self._runs.append(Job(process, log))
        return self._runs[-1]

    def run(self, slot: str, **variables: str) -> Job:
        job = self.start(slot, **variables)
        job.ended()
        return job

    @property
    def last(self) -> Job:
        """The run that was started last."""
        return self._runs[-1]

    def end(self) -> None:
        for job in self._runs:
            if job.process.poll() is None:
                job.signal(signal.SIGKILL)
                job.process.wait()


@pytest.fixture
def jobs(sandbox: Sandbox, tmp_path: Path) -> Iterator[Jobs]:
    (tmp_path / "outputs").mkdir()
    runs = Jobs(tmp_path)
    yield runs
    runs.end()


@pytest.fixture
def waiting(sandbox: Sandbox) -> int:
    """The id of a record that waits for a campaign which exists."""
    campaign = sandbox.salesforce.add("Campaign", {"Name": "Autumn Fair"})
    values = {"Record_Key1": "R1", "Salesforce_Campaign_ID1": campaign, "Enrichment_Status1": "Waiting"}
    return sandbox.eloqua.add_record(OBJECT, values)


@pytest.fixture
def scheduler() -> Iterator[Daemon]:
    """luigid without a history."""
    with luigid(LUIGID) as running:
        yield running


@pytest.fixture
def recording(database: Daemon) -> Iterator[Daemon]:  # noqa: F811
    """luigid with a history in PostgreSQL, which a test may stop or pause."""
    with luigid({**LUIGID, **database.environment}) as running:
        yield running
    if database.ended():
        database.start()
    database.resume()


def filled(sandbox: Sandbox, record: int) -> bool:
    found = sandbox.eloqua.record(OBJECT, record)
    return (found["Enrichment_Status1"], found["Campaign_Name1"]) == ("Done", "Autumn Fair")


def imports(sandbox: Sandbox) -> int:
    """How many import syncs Eloqua was asked for."""
    return len([sync for sync in sandbox.eloqua.syncs() if "/imports/" in sync["syncedInstanceUri"]])


def tasks(running: Daemon) -> dict[str, str]:
    """The state of every task that a luigid knows, by id."""
    asked = "%7B%22status%22%3A%22%22%2C%22upstream_status%22%3A%22%22%7D"
    found: dict[str, Any] = json.loads(get(f"{running.url}/api/task_list?data={asked}"))["response"]
    return {name: task["status"] for name, task in found.items()}


Break = Callable[[Any], None]
