"""What the benchmarks share: the real `luigi` command run and measured, a sandbox that is a process of its own, the table."""

import configparser
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOW = "2026-11-22T06:15:00Z"
# name, figures, target: ">= 300,000" for a least rate, "<= 0.5" for a most of seconds or MiB, "" for none
Row = tuple[str, Sequence[float], str]


@dataclass(frozen=True)
class Run:
    """One run of a process: when it began, the seconds that it took and those of the processor's, peak memory in MiB."""

    began: float
    seconds: float
    processor: float
    mebibytes: float


def run(
    process: str, slot: str, folder: Path, environment: Mapping[str, str], settings: Mapping[str, Mapping[str, str]]
) -> Run:
    """Run jobs.<module>.<Process>, given as "enrichment.Enrichment", for a slot; its outputs are in folder/outputs.

    settings: by section, in place of those in luigi.cfg. Ends the benchmark, with the log, when the run fails.
    """
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "luigi.cfg")
    config.read_dict(settings)
    with (folder / "luigi.cfg").open("w") as file:
        config.write(file)
    variables = {
        **os.environ,
        **environment,
        "SCC_OUTPUTS": str(folder / "outputs"),
        "LUIGI_CONFIG_PATH": str(folder / "luigi.cfg"),
        "PYTHONPATH": str(ROOT),
    }
    module, task = process.split(".")
    command = ["-m", "luigi", "--module", f"jobs.{module}", task, "--slot", slot, "--local-scheduler"]
    with (folder / "log").open("wb") as log:
        began, clock = time.time(), time.monotonic()
        running = subprocess.Popen([sys.executable, *command], cwd=folder, env=variables, stderr=log)
        _, status, usage = os.wait4(running.pid, 0)
        seconds = time.monotonic() - clock
    if os.waitstatus_to_exitcode(status):
        sys.exit((folder / "log").read_text())
    return Run(began, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@dataclass(frozen=True)
class Served:
    """A sandbox that serves: its port, the variables that point at it, its process, the seconds that it took to be ready."""

    port: int
    environment: dict[str, str]
    process: subprocess.Popen[str]
    seconds: float


@contextmanager
def sandbox(contacts: int, *options: str) -> Iterator[Served]:
    """`python -m scc.sandbox serve`, with a company of so many contacts."""
    command = f"scc.sandbox serve --port 0 --contacts {contacts} --seed 1 --now {NOW}".split()
    began = time.perf_counter()
    with served([*command, *options]) as (process, line):
        seconds = time.perf_counter() - began
        port = line.split()[-1].rsplit(":", 1)[1]
        shown = subprocess.check_output(
            [sys.executable, "-m", "scc.sandbox", "env", "--port", port], cwd=ROOT, text=True
        )
        environment = dict(line.removeprefix("export ").split("=", 1) for line in shown.splitlines())
        yield Served(int(port), environment, process, seconds)


@contextmanager
def served(module: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python module that serves, with its arguments: its process, and the line that it prints when it is ready."""
    # modules are compiled once, as after an installation, not at each start
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", *module]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server, server.stdout.readline()
    finally:
        server.terminate()
        server.wait()


def table(rows: Sequence[Row]) -> int:
    """Print the rows, least, median and most of each; 1 when a median misses its target."""
    print(f"{'':54}{'min':>14}{'median':>14}{'max':>14}{'target':>14}")
    missed = False
    for name, figures, target in rows:
        middle = statistics.median(figures)
        limit = float(target[2:].replace(",", "")) if target else 0.0
        miss = bool(target) and (middle > limit if target.startswith("<") else middle < limit)
        missed |= miss
        digits = 2 if middle < 100 else 0
        shown = "".join(f"{figure:>14,.{digits}f}" for figure in (min(figures), middle, max(figures)))
        print(f"{name:54}{shown}{target:>14}{'  MISSED' if miss else ''}")
    return int(missed)
