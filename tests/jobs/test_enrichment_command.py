"""Enrichment as it is really run: `bin/run-job` and `luigi --module`, a process of its own, told by its exit code and log."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scc.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
SLOT = "2026-11-22T0615"
OBJECT = "Event Registration"
Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def waiting(sandbox: Sandbox) -> int:
    """The id of a record that waits for a campaign which exists."""
    campaign = sandbox.salesforce.add("Campaign", {"Name": "Autumn Fair"})
    values = {"Record_Key1": "R1", "Salesforce_Campaign_ID1": campaign, "Enrichment_Status1": "Waiting"}
    return sandbox.eloqua.add_record(OBJECT, {**values, "Email_Address1": "waiting.person@example.com"})


@pytest.fixture
def start(tmp_path: Path, outputs_folder: Path) -> Start:
    """start(command, …options, variable="…", config={"limit": "value"}) with short pauses."""

    def run(*command: str, config: dict[str, str] | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        text = (ROOT / "luigi.cfg").read_text()
        for name, value in {"deadline": "1", "lifetime": "2", **(config or {})}.items():
            text, found = re.subn(rf"(?m)^{name} =.*$", f"{name} = {value}", text)
            assert found, f"luigi.cfg has no {name}"
        path = tmp_path / "luigi.cfg"
        path.write_text(text)
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "LUIGI_CONFIG_PATH": str(path),
            **variables,
        }
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def run_job(start: Start, *options: str, **more: object) -> subprocess.CompletedProcess[str]:
    return start(str(ROOT / "bin/run-job"), "Enrichment", "--slot", SLOT, "--local-scheduler", *options, **more)


def test_run_job_fills_and_ends_with_0(sandbox: Sandbox, start: Start, waiting: int) -> None:
    done = run_job(start)

    assert done.returncode == 0, done.stderr
    assert sandbox.eloqua.record(OBJECT, waiting)["Campaign_Name1"] == "Autumn Fair"


def test_plain_luigi_does_the_same(sandbox: Sandbox, start: Start, waiting: int) -> None:
    done = start("luigi", "--module", "jobs.enrichment", "Enrichment", "--slot", SLOT, "--local-scheduler")

    assert done.returncode == 0, done.stderr
    assert sandbox.eloqua.record(OBJECT, waiting)["Campaign_Name1"] == "Autumn Fair"


def test_a_dry_run_leaves_the_record_waiting(sandbox: Sandbox, start: Start, waiting: int) -> None:
    done = run_job(start, "--dry-run")

    assert done.returncode == 0, done.stderr
    assert sandbox.eloqua.record(OBJECT, waiting)["Enrichment_Status1"] == "Waiting"


def test_rejects_within_the_limit_end_with_0_and_partly(sandbox: Sandbox, start: Start, waiting: int) -> None:
    sandbox.eloqua.reject(OBJECT, "R1")

    done = run_job(start, config={"max_rejected_share": "1.0"})

    assert done.returncode == 0, done.stderr
    assert "partly" in done.stderr


def test_luigis_own_code_stands_for_a_failed_step(sandbox: Sandbox, start: Start, waiting: int) -> None:
    sandbox.eloqua.reject(OBJECT, "R1")

    assert run_job(start).returncode == 30


FAILURES = [
    ("wrong password", 78, "check ELOQUA_CLIENT_ID", {"ELOQUA_PASSWORD": "wrong"}, {}),
    ("unreachable host", 75, "could not be reached", {"ELOQUA_LOGIN_URL": "http://127.0.0.1:1"}, {}),
    ("plain http", 78, "plain http to another machine", {"SALESFORCE_URL": "http://acme.example"}, {}),
    ("missing file", 78, "cannot be read: set `definitions`", {}, {"definitions": "/nowhere/enrichment.toml"}),
    ("unwritable outputs", 78, "cannot be written", {"SCC_OUTPUTS": "/dev/null/outputs"}, {}),
]


@pytest.mark.parametrize(
    ("code", "meaning", "variables", "config"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES]
)
def test_what_the_operator_can_mend_is_one_sentence_with_the_right_code(
    sandbox: Sandbox,
    start: Start,
    waiting: int,
    code: int,
    meaning: str,
    variables: dict[str, str],
    config: dict[str, str],
) -> None:
    failed = run_job(start, config=config, **variables)

    assert failed.returncode == code, failed.stderr
    assert meaning in failed.stderr
    assert "Traceback" not in failed.stderr
    assert sandbox.eloqua.record(OBJECT, waiting)["Enrichment_Status1"] == "Waiting"


def test_a_safety_stop_ends_with_65(sandbox: Sandbox, start: Start, waiting: int) -> None:
    sandbox.salesforce.hide_rows("Campaign")

    stopped = run_job(start, config={"max_unknown_count": "0"})

    assert stopped.returncode == 65, stopped.stderr
    assert "this step changed nothing" in stopped.stderr
    assert "Traceback" not in stopped.stderr


def test_a_second_run_of_the_process_ends_with_10_and_changes_nothing(
    sandbox: Sandbox, start: Start, waiting: int, tmp_path: Path
) -> None:
    """The first run is stopped in the middle of its import, alive and renewing its lease, while the second is tried."""
    second: list[subprocess.CompletedProcess[str]] = []
    sandbox.on("POST", "/imports$", lambda request: second.append(run_job(start, "--slot", "2026-11-22T0715")))

    first = run_job(start, config={"deadline": "30"})

    assert second[0].returncode == 10, second[0].stderr
    assert first.returncode == 0, first.stderr
    assert len([sync for sync in sandbox.eloqua.syncs() if "/imports/" in sync["syncedInstanceUri"]]) == 1


def test_no_address_and_no_secret_is_logged(sandbox: Sandbox, start: Start, waiting: int) -> None:
    sandbox.eloqua.reject(OBJECT, "R1")
    sandbox.faults.add(what="reset_before", path="/composite$", nth=1)

    failed = run_job(start)

    assert failed.returncode == 30
    secrets = {name: value for name, value in sandbox.env.items() if "PASSWORD" in name or "SECRET" in name}
    for secret in ("waiting.person@example.com", "@example", *secrets.values()):
        assert secret not in failed.stderr + failed.stdout
