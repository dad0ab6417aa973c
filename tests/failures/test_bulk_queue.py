"""luigid's `resources` as the queue for Bulk syncs, over processes of the operating system and kinds of SCC's processes.

Two made-up processes, One and Two, in a checkout of their own; bin/run-job and luigid are the real ones.
"""

import json
from pathlib import Path

import pytest

from tests.bin.conftest import Root, ended, kill_all, root  # noqa: F401 (a fixture)
from tests.failures.conftest import LUIGID
from tests.stack import CHECKOUT, free_port, get, luigid, until

# runs until the test lets it go, and leaves when it began and ended by the machine's clock
PROCESS = """
import json, os, time
from pathlib import Path
import luigi
from scc.tasks.step import BULK

class {name}(luigi.Task):
    slot = luigi.Parameter()
    resources = BULK

    def output(self):
        return luigi.LocalTarget(os.path.join(os.environ["SCC_OUTPUTS"], "{name}.json"))

    def run(self):
        folder, began = Path(os.environ["SCC_OUTPUTS"]), time.monotonic()
        folder.mkdir(exist_ok=True)
        (folder / "{name}.runs").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
        if os.environ.get("FAIL"):
            raise RuntimeError("it went wrong")
        with self.output().open("w") as file:
            json.dump([began, time.monotonic()], file)
"""


@pytest.fixture
def start(root: Root):  # noqa: F811
    """start(process) with bin/run-job, the real luigi.cfg and short waits."""
    for name in ("One", "Two"):
        (root.folder / f"jobs/{name.lower()}.py").write_text(PROCESS.format(name=name))
    config = root.folder / "luigi.cfg"
    config.write_text(config.read_text().replace("wait_interval = 2", "wait_interval = 0.1"))
    runs = []

    def run(name, url, **variables):
        variables = {"LUIGID_URL": url, "SCC_LUIGID_WAIT": "10", "PYTHONPATH": str(CHECKOUT), **variables}
        job = root.start(name, "--slot", "2026-11-22T0615", **variables)
        runs.append(job)
        return job

    yield run
    for job in runs:
        kill_all(job)


def test_a_sync_waits_for_another_process_that_runs_one(start, root):  # noqa: F811
    with luigid({**LUIGID, "LUIGID_RESOURCES": "eloqua_bulk=1"}) as running:
        one = start("One", running.url)
        until(lambda: runs(root, "One"), "One to run")
        two = start("Two", running.url)
        until(lambda: waits(running, "Two"), "Two to be refused for a second")
        assert not runs(root, "Two")
        (root.outputs / "go").touch()

        assert [ended(job).returncode for job in (one, two)] == [0, 0]

    (began, end), (later, _) = (json.loads((root.outputs / f"{name}.json").read_text()) for name in ("One", "Two"))
    assert began < end <= later


def test_as_many_run_at_once_as_there_are_resources(start, root):  # noqa: F811
    with luigid({**LUIGID, "LUIGID_RESOURCES": "eloqua_bulk=2"}) as running:
        jobs = [start(name, running.url) for name in ("One", "Two")]
        until(lambda: runs(root, "One") and runs(root, "Two"), "both to run")
        (root.outputs / "go").touch()

        assert [ended(job).returncode for job in jobs] == [0, 0]


def test_who_waits_too_long_gives_up_with_25(start, root):  # noqa: F811
    with luigid({**LUIGID, "LUIGID_RESOURCES": "eloqua_bulk=1"}) as running:
        start("One", running.url)
        until(lambda: runs(root, "One"), "One to run")

        two = ended(start("Two", running.url, SCC_BULK_WAIT="1"))

        assert two.returncode == 25, two.stderr
        assert not runs(root, "Two")


def test_a_process_that_fails_does_not_wait_in_the_queue(start, root):  # noqa: F811
    """A worker that is kept alive waits as long as something of it is pending (luigi.md 10)."""
    root.outputs.mkdir()
    (root.outputs / "go").touch()
    with luigid(LUIGID) as running:
        assert ended(start("One", running.url, FAIL="yes", SCC_BULK_WAIT="600")).returncode == 30


def test_a_step_that_has_just_failed_may_be_run_again_at_once(start, root):  # noqa: F811
    root.outputs.mkdir()
    (root.outputs / "go").touch()
    with luigid(LUIGID) as running:
        codes = [ended(start("One", running.url, FAIL=fail)).returncode for fail in ("yes", "yes", "")]

    assert codes == [30, 30, 0]


def test_without_luigid_nobody_waits(start, root):  # noqa: F811
    nowhere = f"http://127.0.0.1:{free_port()}"
    jobs = [start(name, nowhere, SCC_LUIGID_WAIT="0") for name in ("One", "Two")]
    until(lambda: runs(root, "One") and runs(root, "Two"), "both to run")
    (root.outputs / "go").touch()

    assert [ended(job).returncode for job in jobs] == [0, 0]


def runs(root: Root, name: str) -> bool:  # noqa: F811
    return Path(root.outputs / f"{name}.runs").exists()


def waits(running, name: str) -> bool:
    """Whether a worker has asked luigid for work again and again since its task became pending."""
    for worker in json.loads(get(f"{running.url}/api/worker_list"))["response"]:
        if (worker["first_task_display_name"] or "").startswith(name):
            return worker["num_pending"] == 1 and worker["last_active"] - worker["started"] > 1
    return False
