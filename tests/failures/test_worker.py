"""A worker dies, or stalls, while it holds luigid's resource and the lease: the next run gets both, and one of them writes."""

import json
import signal
from pathlib import Path

import pytest

from tests.failures.conftest import LUIGID, NEXT, SLOT, filled, imports
from tests.stack import get, luigid, until


@pytest.fixture
def one_at_a_time():
    """luigid that lets one step run Bulk syncs at a time."""
    with luigid({**LUIGID, "LUIGID_RESOURCES": "eloqua_bulk=1"}) as running:
        yield running


@pytest.mark.parametrize("slot", [SLOT, NEXT], ids=["the same slot", "the next slot"])
def test_after_a_worker_was_killed_another_gets_its_resource_and_its_lease(sandbox, jobs, waiting, one_at_a_time, slot):
    """Until luigid misses the dead worker, a run of the same slot is told that another worker runs the step."""
    held = []

    def die(request):
        held.append(in_use(one_at_a_time))
        jobs.last.signal(signal.SIGKILL)

    sandbox.on("POST", "/imports$", die)

    assert jobs.run(SLOT, **one_at_a_time.environment).process.returncode == -signal.SIGKILL
    codes = []
    until(lambda: codes.append(again(jobs, slot, one_at_a_time)) or codes[-1] not in (10, 25), "a run that gets both")

    assert held == [1]
    assert codes[-1] == 0, jobs.last.log()
    assert filled(sandbox, waiting) and imports(sandbox) == 1


def test_a_worker_that_stalls_loses_its_resource_and_its_lease_and_writes_no_more(
    sandbox, jobs, waiting, one_at_a_time
):
    """The machine of the first run hangs while its import is staged, and wakes up when the next run is done."""
    sandbox.on("POST", "/imports$", lambda request: jobs.last.signal(signal.SIGSTOP))
    first = jobs.start(SLOT, **one_at_a_time.environment)
    until(lambda: stopped(first.process.pid), "the first run to stall")

    second = jobs.run(NEXT, **one_at_a_time.environment)
    written = list(sandbox.mutations)
    first.signal(signal.SIGCONT)

    assert second.process.returncode == 0, second.log()
    assert first.ended() == 75, first.log()
    assert filled(sandbox, waiting) and imports(sandbox) == 1
    assert sandbox.mutations == written


def again(jobs, slot: str, running) -> int:
    return jobs.run(slot, **running.environment).process.returncode


def in_use(running) -> int:
    (row,) = json.loads(get(f"{running.url}/api/resource_list"))["response"]
    return row["num_used"]


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
