"""bin/demo, whole: the sandbox, luigid, bin/run-job and the processes; a company of 2,000, in which addresses bounced."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bin.conftest import CHECKOUT, await_, ended, get, kill_all, listens
from tests.components import require

pytestmark = pytest.mark.skipif(
    Path(sys.prefix) != CHECKOUT / ".venv",
    reason="runs under bin/test alone: elsewhere it would have to make .venv first",
)


@pytest.fixture
def demo(tmp_path):
    """Starts bin/demo with a temporary folder of its own; its outputs are removed afterwards."""
    outputs = CHECKOUT / "outputs"
    before = set(outputs.glob("demo-*"))
    runs = []

    def start(*arguments, **variables):
        environment = {**os.environ, "TMPDIR": str(tmp_path), **variables}
        # a real system's address in the environment must not be used
        environment |= {"ELOQUA_LOGIN_URL": "http://127.0.0.1:9", "PUSHGATEWAY_URL": "http://127.0.0.1:9"}
        runs.append(
            subprocess.Popen(
                [CHECKOUT / "bin/demo", *arguments], env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            )
        )  # fmt: skip
        return runs[-1]

    yield start
    for run in runs:
        kill_all(run)
        run.communicate()
    for folder in set(outputs.glob("demo-*")) - before:
        shutil.rmtree(folder)


def test_the_demo_fills_records_marks_bounces_and_keeps_its_servers_up_if_told_to(demo):
    started = demo("--contacts", "2000", "--keep")
    run = ended(started)

    assert run.returncode == 0, run.stdout + run.stderr
    row = re.search(r"^Event Registration +(\d+) +(\d+) +(\d+) +(\d+)$", run.stdout, re.MULTILINE)
    before, filled, in_error, after = map(int, row.groups())
    assert before == filled + in_error + after and filled > 0
    assert re.search(r"^ +in error: \d+ × .+$", run.stdout, re.MULTILINE)
    assert re.search(r"^API calls +Eloqua [1-9]\d*, Salesforce [1-9]\d*, Slack \d+$", run.stdout, re.MULTILINE)
    for group_of_people in ("Eloqua contacts", "Leads", "Contacts"):
        row = re.search(rf"^{group_of_people} +([\d,]+) +([\d,]+) +([\d,]+)$", run.stdout, re.MULTILINE)
        before, now, of_all = (int(number.replace(",", "")) for number in row.groups())
        assert before <= now < of_all
        assert now > before or group_of_people != "Eloqua contacts"
    assert re.search(r"^ +[1-9]\d* addresses are known to be dead that were not$", run.stdout, re.MULTILINE)
    outputs = Path(re.search(r"^Outputs +(.+)$", run.stdout, re.MULTILINE)[1])
    assert list(outputs.rglob("*.parquet")) and list(outputs.rglob("*.json"))
    assert "heartbeat" not in run.stderr

    sandbox = re.search(r"sandbox (http://127\.0\.0\.1:\d+/_sandbox/summary)", run.stdout)[1]
    luigid = re.search(
        r"luigid +(http://127\.0\.0\.1:\d+)(/\S+#tab=graph&taskId=Enrichment_\S+&visType=d3)", run.stdout
    )
    assert get(sandbox) and get("".join(luigid.groups()))
    pids = [int(pid) for pid in re.search(r"kill (\d+ \d+)", run.stdout)[1].split()]
    assert sorted(group(started.pid)) == sorted(pids)
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    await_(lambda: not group(started.pid), "the end of both")


def test_the_stack_records_the_run_everywhere_and_goes_when_it_is_interrupted(demo):
    for package in ("postgres", "prometheus", "prometheus-pushgateway", "prometheus-alertmanager", "curl"):
        require(package, "postgresql" if package == "postgres" else None)
    run = demo("--contacts", "2000", "--stack")
    shown = ""
    for line in run.stdout:
        shown += line
        if line.startswith("Stop them"):
            break
    addresses = re.findall(r"(http://127\.0\.0\.1:\d+)", shown)
    at = dict(re.findall(r"(history|Prometheus|Alertmanager|Pushgateway) +(http://127\.0\.0\.1:\d+)", shown))

    assert "Enrichment" in get(f"{at['history']}/history").decode()
    pushed = get(f"{at['Pushgateway']}/metrics").decode()
    for process in ("Enrichment", "BounceCleanup"):
        assert f'scc_process_last_exit_code{{instance="",job="scc",process="{process}"}} 0' in pushed
    asked = f"{at['Prometheus']}/api/v1/query?query=scc_process_last_exit_code"
    await_(lambda: b'"process":"Enrichment"' in get(asked), "Prometheus to see the heartbeat")
    assert b"SccDidNotStart" in get(f"{at['Prometheus']}/api/v1/rules")
    await_(lambda: b"SccWatchdog" in get(f"{at['Alertmanager']}/api/v2/alerts"), "the first alert")

    os.killpg(run.pid, signal.SIGINT)
    assert ended(run, 120).returncode == 130  # each of six servers may take up to 15 s on a busy machine
    assert group(run.pid) == []
    assert not [url for url in set(addresses) if listens(int(url.rpartition(":")[2]))]


def test_a_company_in_which_nothing_waits_is_no_success_and_all_that_was_started_is_stopped(demo, tmp_path):
    started = demo("--contacts", "1")
    run = ended(started)

    assert run.returncode == 1, run.stdout + run.stderr
    assert "proves nothing" in run.stdout
    assert group(started.pid) == []
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_is_interrupted_stops_all_it_started(demo, tmp_path):
    run = demo("--contacts", "300")
    for line in run.stderr:
        if "Enrichment" in line:
            break
    os.killpg(run.pid, signal.SIGINT)  # what Ctrl-C does: to all of the foreground

    assert ended(run).returncode == 130
    assert group(run.pid) == []
    assert list(tmp_path.iterdir()) == []


WRONG = [["--contacts"], ["--contacts", "many"], ["--contacts", "0"], ["--colour"], ["--keep", "--stack"]]


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_usage_is_said(demo, arguments):
    run = ended(demo(*arguments))

    assert run.returncode == 2
    assert "--contacts" in run.stderr or "--keep" in run.stderr


def group(leader: int) -> list[int]:
    """The processes that still belong to a demo."""
    found = subprocess.run(["ps", "-eo", "pid=,sid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in found.splitlines())
    return [int(pid) for pid, session, state in rows if int(session) == leader and not state.startswith("Z")]
