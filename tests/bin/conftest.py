"""A checkout of our own for each test: the real bin/run-job and luigi.cfg, and one process, `Chore`, that obeys the test.

Luigi, luigid and the Pushgateway are the real ones.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.components import require

CHECKOUT = Path(__file__).parents[2]
PASSWORD = "pw-that-nobody-may-see"
ENVIRONMENT = {
    "ELOQUA_SITE": "Acme",
    "ELOQUA_USER": "Api.User",
    "ELOQUA_PASSWORD": PASSWORD,
    "SALESFORCE_URL": "http://127.0.0.1:9",
    "SALESFORCE_CLIENT_ID": "client",
    "SALESFORCE_CLIENT_SECRET": PASSWORD,
}
# Chore leaves what it saw of its surroundings; CHORE says how it ends, CHORE_VERDICT what it leaves as verdict
CHORE = """
import json, os, time
from pathlib import Path
import luigi

if os.environ.get("CHORE_VERDICT"):
    Path(os.environ["SCC_VERDICT_FILE"]).write_text(os.environ["CHORE_VERDICT"])

class Chore(luigi.Task):
    slot = luigi.Parameter()
    dry_run = luigi.BoolParameter()
    size = luigi.IntParameter(default=1)

    def output(self):
        return luigi.LocalTarget(os.path.join(os.environ["SCC_OUTPUTS"], f"{self.slot}.json"))

    def requires(self):
        if os.environ.get("CHORE") == "unplannable":
            raise RuntimeError("cannot be planned")
        return [Absent()] if os.environ.get("CHORE") == "absent" else []

    def run(self):
        if os.environ.get("CHORE") == "failing":
            raise RuntimeError("it went wrong")
        processes = [path.read_bytes().decode() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        config = luigi.configuration.get_config()
        with self.output().open("w") as file:
            json.dump({
                "cwd": os.getcwd(), "home": os.environ.get("HOME"), "config": os.environ["LUIGI_CONFIG_PATH"],
                "scheduler": config.get("core", "scheduler_url", ""), "stray": config.get("stray", "key", ""),
                "failed": config.get("retcode", "task_failed", ""), "outputs": os.environ["SCC_OUTPUTS"],
                "password_file": os.environ.get("ELOQUA_PASSWORD_FILE"), "processes": processes,
            }, file)

class Absent(luigi.ExternalTask):
    def output(self):
        return luigi.LocalTarget(os.path.join(os.environ["SCC_OUTPUTS"], "absent"))
"""
# two steps: the first runs until the test lets it end
LONG_CHORE = """
import os, time
from pathlib import Path
import luigi

class Step(luigi.Task):
    slot = luigi.Parameter()

    def output(self):
        return luigi.LocalTarget(os.path.join(os.environ["SCC_OUTPUTS"], type(self).__name__))

class First(Step):
    def run(self):
        folder = Path(os.environ["SCC_OUTPUTS"])
        folder.mkdir(exist_ok=True)
        (folder / "running").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
        self.output().open("w").close()

class LongChore(Step):
    def requires(self):
        return self.clone(First)

    def run(self):
        self.output().open("w").close()
"""


class Root:
    """A checkout with bin/run-job, and what its runs left in the outputs folder."""

    def __init__(self, folder: Path):
        self.folder, self.outputs = folder, folder / "outputs"
        (folder / "bin").mkdir()
        (folder / "jobs").mkdir()
        shutil.copy(CHECKOUT / "bin/run-job", folder / "bin")
        shutil.copy(CHECKOUT / "luigi.cfg", folder)
        for name, text in {
            "__init__": "",
            "chore": CHORE,
            "long_chore": LONG_CHORE,
            "helpers": "class Other: pass\n",
        }.items():
            (folder / "jobs" / f"{name}.py").write_text(text)
        (folder / "tmp").mkdir()
        self.environment = {
            "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "SCC_OUTPUTS": str(self.outputs),
            "SCC_LUIGID_WAIT": "0",
            **ENVIRONMENT,
        }

    def start(self, *arguments, prefix=(), cwd=None, **variables) -> subprocess.Popen:
        """variables: of the environment; None takes one away."""
        environment = {**self.environment, **variables}
        return subprocess.Popen(
            [*prefix, str(self.folder / "bin/run-job"), *arguments],
            env={name: value for name, value in environment.items() if value is not None},
            cwd=cwd or self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments, **variables) -> subprocess.CompletedProcess:
        """Chore for one slot with the local scheduler, unless the arguments say otherwise."""
        arguments = arguments or ("Chore", "--slot", "2026-11-22T0615", "--local-scheduler")
        return ended(self.start(*arguments, **variables))

    def saw(self, slot="2026-11-22T0615") -> dict:
        """What Chore saw of its surroundings."""
        return json.loads((self.outputs / f"{slot}.json").read_text())

    def slots(self) -> list[str]:
        """The slots that Chore ran for."""
        return sorted(path.stem for path in self.outputs.glob("*.json"))


def ended(process: subprocess.Popen, seconds: float = 30) -> subprocess.CompletedProcess:
    """Waits for the end; the test fails if that takes too long."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill_all(process)
        out, err = process.communicate()
        pytest.fail(f"run-job did not end:\n{out}{err}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def kill_all(process: subprocess.Popen) -> None:
    """Kills a run and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def await_(condition, what: str):
    """Returns the first true answer of condition()."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.01)
    return pytest.fail(f"waited in vain for {what}")


def said(run: subprocess.Popen, text: str) -> str:
    """Reads on until run-job says so."""
    for line in run.stderr:
        if text in line:
            return line
    return pytest.fail(f"never said {text!r}")


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has ended
        return []


def descendants(pid: int) -> set[int]:
    found = set(children(pid))
    for child in list(found):
        found |= descendants(child)
    return found


def asks_luigid(run: subprocess.Popen) -> bool:
    """Whether run-job's question to luigid is under way."""
    with contextlib.suppress(OSError):  # one of them may just have ended
        return any(b"python3\0-\0" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(run.pid))
    return False


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read()


@contextlib.contextmanager
def daemon(command: list[str], port: int, folder: Path) -> Iterator[str]:
    """The base URL of a real server on loopback while the block runs."""
    with (folder / f"daemon-{port}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            await_(lambda: listens(port) or process.poll() is not None, command[0])
            assert process.poll() is None, Path(log.name).read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=10)


@pytest.fixture
def root(tmp_path) -> Root:
    folder = tmp_path / "root"
    folder.mkdir()
    return Root(folder)


class Gateway:
    def __init__(self, url: str):
        self.url = url

    def heartbeats(self, process="Chore") -> dict[str, float]:
        """The values of one process by metric name, without their common prefix."""
        values = {}
        for group in json.loads(get(f"{self.url}/api/v1/metrics"))["data"]:
            if group["labels"] == {"job": "scc", "process": process}:
                for name, metric in group.items():
                    if name.startswith("scc_process_"):
                        assert metric["type"] == "GAUGE"
                        values[name.removeprefix("scc_process_")] = float(metric["metrics"][0]["value"])
        return values


@pytest.fixture
def gateway(tmp_path) -> Iterator[Gateway]:
    require("curl")
    program, port = require("prometheus-pushgateway"), free_port()
    # Debian's keeps its metrics in a file of the machine unless told otherwise
    with daemon([program, f"--web.listen-address=127.0.0.1:{port}", "--persistence.file="], port, tmp_path) as url:
        yield Gateway(url)


def luigid(port: int, folder: Path):
    """A real luigid while the block runs."""
    where = ["--address", "127.0.0.1", "--port", str(port), "--state-path", str(folder / "state")]
    return daemon([f"{sys.prefix}/bin/luigid", *where], port, folder)


def scheduled(url: str) -> set[str]:
    """The families of the tasks that a luigid knows."""
    asked = urllib.parse.quote(json.dumps({"status": "", "upstream_status": "", "search": ""}))
    return {task["name"] for task in json.loads(get(f"{url}/api/task_list?data={asked}"))["response"].values()}
