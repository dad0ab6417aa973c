"""bin/run-job's heartbeats, as a real Pushgateway holds them."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.bin.conftest import PASSWORD, asks_luigid, await_, ended, free_port, said
from tests.components import require

CHORE = ("Chore", "--slot", "2026-11-22T0615", "--local-scheduler")
AGAIN = ("Chore", "--slot", "2026-11-22T0715", "--local-scheduler")
WARNING = "heartbeat was not delivered"


def test_a_success_is_told(root, gateway):
    before = int(time.time())
    run = root.run(PUSHGATEWAY_URL=f"{gateway.url}/")

    told = gateway.heartbeats()
    assert run.returncode == 0 and WARNING not in run.stderr
    assert set(told) == {
        "last_start_timestamp_seconds", "last_end_timestamp_seconds", "last_success_timestamp_seconds",
        "last_exit_code", "duration_seconds", "partly", "luigid_unreachable",
    }  # fmt: skip
    assert before <= told["last_start_timestamp_seconds"] <= told["last_end_timestamp_seconds"] <= time.time()
    assert told["last_success_timestamp_seconds"] == told["last_end_timestamp_seconds"]
    assert told["last_exit_code"] == told["partly"] == told["luigid_unreachable"] == 0
    assert told["duration_seconds"] <= time.time() - before


def test_a_partial_success_is_told_as_one(root, gateway):
    root.run(PUSHGATEWAY_URL=gateway.url, CHORE_VERDICT="outcome=partly")

    told = gateway.heartbeats()
    assert (told["partly"], told["last_exit_code"]) == (1, 0)
    assert "last_success_timestamp_seconds" in told


def test_a_failure_is_told_with_its_refined_code_and_leaves_the_last_success(root, gateway):
    root.run(*CHORE, PUSHGATEWAY_URL=gateway.url)
    success = gateway.heartbeats()["last_success_timestamp_seconds"]
    await_(lambda: time.time() >= success + 1, "the next second")

    root.run(*AGAIN, PUSHGATEWAY_URL=gateway.url, CHORE="failing", CHORE_VERDICT="exit_code=65")

    told = gateway.heartbeats()
    assert told["last_exit_code"] == 65
    assert told["last_success_timestamp_seconds"] == success < told["last_end_timestamp_seconds"]


def test_a_drained_run_tells_its_start_and_its_end(root, gateway):
    run = root.start("LongChore", *CHORE[1:], PUSHGATEWAY_URL=gateway.url)
    await_((root.outputs / "running").exists, "the first step")
    assert set(gateway.heartbeats("LongChore")) == {"last_start_timestamp_seconds"}

    run.send_signal(signal.SIGTERM)
    said(run, "told to stop")
    (root.outputs / "go").touch()

    assert ended(run).returncode == 25
    told = gateway.heartbeats("LongChore")
    assert told["last_exit_code"] == 25 and "last_end_timestamp_seconds" in told
    assert "last_success_timestamp_seconds" not in told


def test_a_run_that_is_stopped_before_luigi_runs_tells_its_end(root, gateway):
    run = root.start(*CHORE[:3], PUSHGATEWAY_URL=gateway.url, LUIGID_URL="http://127.0.0.1:9", SCC_LUIGID_WAIT="600")
    await_(lambda: asks_luigid(run), "the first question to luigid")
    assert set(gateway.heartbeats()) == {"last_start_timestamp_seconds"}
    run.send_signal(signal.SIGTERM)

    assert ended(run).returncode == 143
    assert gateway.heartbeats()["last_exit_code"] == 143


@pytest.mark.parametrize("option", ["--dry-run", "--dry", "--d", "--Chore-dry-run", "--Chore-dr"])
def test_a_dry_run_tells_nothing(root, gateway, option):
    run = root.run(*CHORE, option, PUSHGATEWAY_URL=gateway.url)

    assert run.returncode == 0 and root.slots()
    assert gateway.heartbeats() == {}


def test_a_dry_run_that_only_luigi_knows_of_is_no_success(root, gateway):
    run = root.run(PUSHGATEWAY_URL=gateway.url, CHORE_VERDICT="dry_run=yes")

    told = gateway.heartbeats()
    assert run.returncode == told["last_exit_code"] == 0
    assert "last_success_timestamp_seconds" not in told


def test_an_unreachable_gateway_changes_nothing(root):
    nowhere = f"http://127.0.0.1:{free_port()}"

    good = root.run(*CHORE, PUSHGATEWAY_URL=nowhere)
    bad = root.run(*AGAIN, PUSHGATEWAY_URL=nowhere, CHORE="failing")

    assert (good.returncode, bad.returncode) == (0, 30)
    for run in (good, bad):
        assert [line for line in run.stderr.splitlines() if "start heartbeat" in line and "WARNING" in line]
        assert run.stderr.count(WARNING) == 2  # one line for the start, one for the end


def test_a_push_that_the_gateway_refuses_is_a_warning(root, gateway):
    run = root.run(PUSHGATEWAY_URL=f"{gateway.url}/nowhere")

    assert run.returncode == 0
    assert run.stderr.count(WARNING) == 2


def test_without_curl_the_run_goes_on(root, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for program in ("bash", "basename", "cat", "dirname", "grep", "mktemp", "readlink", "rm", "sed", "tail"):
        (tools / program).symlink_to(shutil.which(program))
    virtual_environment = root.environment["PATH"].split(":")[0]
    assert not Path(virtual_environment, "curl").exists()

    run = root.run(PATH=f"{virtual_environment}:{tools}", PUSHGATEWAY_URL="http://127.0.0.1:9")

    assert run.returncode == 0, run.stderr
    assert run.stderr.count("curl is not installed") == 2


def test_the_gateways_password_is_not_on_curls_command_line(root, gateway, tmp_path):
    """curl is the real one, behind a script that notes how it was called."""
    spy = tmp_path / "spy/curl"
    spy.parent.mkdir()
    spy.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\nexec {require("curl")} "$@"\n')
    spy.chmod(0o755)

    run = root.run(
        PATH=f"{spy.parent}:{root.environment['PATH']}",
        PUSHGATEWAY_URL=gateway.url.replace("//", f"//user:{PASSWORD}@"),
        HTTP_PROXY="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
    )

    assert gateway.heartbeats()["last_exit_code"] == 0
    assert (tmp_path / "calls").read_text().count("\n") == 2
    assert PASSWORD not in (tmp_path / "calls").read_text() + run.stdout + run.stderr


def test_no_gateway_no_heartbeat(root, tmp_path):
    curl = tmp_path / "spy/curl"
    curl.parent.mkdir()
    curl.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    curl.chmod(0o755)

    assert root.run(PATH=f"{curl.parent}{os.pathsep}{root.environment['PATH']}").returncode == 0

    assert not (tmp_path / "called").exists()
