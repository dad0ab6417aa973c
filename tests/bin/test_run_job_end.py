"""bin/run-job: exit codes, and what happens on SIGTERM."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.bin.conftest import PASSWORD, asks_luigid, await_, children, descendants, ended, kill_all, said

LONG = ("LongChore", "--slot", "2026-11-22T0615", "--local-scheduler")


@pytest.mark.parametrize(
    ("how", "verdict", "code"),
    [
        ("well", "", 0),
        ("well", "outcome=partly\n", 0),
        ("well", "exit_code=65\n", 0),  # what Luigi calls a success stays one
        ("failing", "", 30),
        ("failing", "exit_code=65\n", 65),
        ("failing", "exit_code=10\noutcome=partly", 10),
        ("failing", "exit_code=0\n", 30),
        ("failing", "exit_code=75; exit 0\n", 30),
        ("unplannable", "", 35),
        ("unplannable", "exit_code=78\n", 78),
        ("absent", "exit_code=65\n", 20),  # says by itself why
    ],
)
def test_the_exit_code_is_luigis_refined_by_the_verdict(root, how, verdict, code):
    run = root.run(CHORE=how, CHORE_VERDICT=verdict)

    outcome = "failed" if code else "partly" if "partly" in verdict else "complete"
    last = run.stderr.splitlines()[-1]
    assert run.returncode == code, run.stderr
    assert last.startswith(f"---> Chore 2026-11-22T0615 ended: exit code {code}, ") and last.endswith(f" s, {outcome}")


@pytest.mark.parametrize(("verdict", "code"), [("", 40), ("exit_code=78", 78)])
def test_an_unexpected_error_of_luigi_is_refined_too(root, verdict, code):
    run = root.run("Chore", "--slot", "x", "--size", "big", "--local-scheduler", CHORE_VERDICT=verdict)

    assert run.returncode == code


def test_an_option_that_luigi_does_not_know_is_wrong_usage(root):
    assert root.run("Chore", "--slot", "x", "--colour", "red", "--local-scheduler").returncode == 2


def test_a_process_that_cannot_be_loaded_ends_with_1(root):
    (root.folder / "jobs/broken.py").write_text("class Broken(Undefined): pass\n")

    assert root.run("Broken", "--slot", "x", "--local-scheduler").returncode == 1


def test_no_secret_is_printed_or_on_a_command_line(root):
    run = root.run()

    assert PASSWORD not in run.stdout + run.stderr
    seen = root.saw()["processes"]
    assert any("jobs.chore" in line for line in seen)
    assert not [line for line in seen if PASSWORD in line]


@pytest.fixture
def started(root):
    """Starts LongChore and waits until its first step runs."""
    runs = []

    def start(**options):
        run = root.start(*LONG, **options)
        runs.append(run)
        await_(lambda: (root.outputs / "running").exists() or run.poll() is not None, "the first step")
        assert run.poll() is None, run.communicate()
        return run

    yield start
    (root.outputs / "go").touch()
    for run in runs:
        kill_all(run)
        run.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_finishes_its_step_and_starts_no_other(root, started, number):
    run = started()
    run.send_signal(number)
    said(run, "told to stop")
    (root.outputs / "go").touch()
    run = ended(run)

    assert run.returncode == 25
    assert run.stderr.endswith(", stopped\n")
    assert (root.outputs / "First").exists()
    assert not (root.outputs / "LongChore").exists()


def test_a_second_signal_ends_the_step_at_once(root, started):
    run = started()
    run.send_signal(signal.SIGTERM)
    said(run, "told to stop")
    run.send_signal(signal.SIGTERM)

    assert ended(run).returncode == 143
    assert not (root.outputs / "First").exists()
    assert list((root.folder / "tmp").iterdir()) == []


def test_a_step_that_does_not_end_in_time_is_ended(root, started):
    run = started(SCC_DRAIN_SECONDS="1")
    run.send_signal(signal.SIGTERM)

    assert ended(run).returncode == 143
    assert not (root.outputs / "First").exists()


def test_a_run_that_waits_for_luigid_stops_at_once(root):
    run = root.start(*LONG[:3], LUIGID_URL="http://127.0.0.1:9", SCC_LUIGID_WAIT="600")
    await_(lambda: asks_luigid(run), "the first question")
    run.send_signal(signal.SIGTERM)

    assert ended(run).returncode == 143
    assert not root.outputs.exists()


def test_nothing_of_a_run_outlives_it(root, started):
    run = started(SCC_DRAIN_SECONDS="600")
    family = await_(lambda: descendants(run.pid), "luigi")
    run.send_signal(signal.SIGTERM)
    said(run, "told to stop")
    family |= await_(lambda: descendants(run.pid) - family, "the timer")
    (root.outputs / "go").touch()
    ended(run)

    await_(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), "the end of all that was started")


def test_as_the_first_process_of_a_container_it_drains_too(root, started):
    isolated = isolation()
    run = started(prefix=isolated)
    first = await_(lambda: children(run.pid), "PID 1")[0]
    assert "\nNSpid:" in Path(f"/proc/{first}/status").read_text()
    os.kill(first, signal.SIGTERM)
    said(run, "told to stop")
    (root.outputs / "go").touch()

    assert ended(run).returncode == 25
    assert (root.outputs / "First").exists()
    assert not (root.outputs / "LongChore").exists()


def isolation() -> list[str]:
    """A command prefix that makes the command PID 1; skips where that is forbidden."""
    for command in (["unshare"], ["unshare", "--user", "--map-root-user"]):
        isolated = [*command, "--pid", "--fork", "--mount-proc"]
        try:
            if subprocess.run([*isolated, "true"], capture_output=True).returncode == 0:
                return isolated
        except FileNotFoundError:
            break
    return pytest.skip("needs unshare (Debian package util-linux) and leave to make a PID namespace")
