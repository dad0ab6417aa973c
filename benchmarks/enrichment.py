"""How fast Enrichment is, and how much memory it takes: python -m benchmarks.enrichment [--quick]

Runs the real `luigi` command against the sandbox, each run against a fresh company, and prints a table. The sandbox is a
process of its own, so that its time on the processor competes with the job's, as on a laptop; its memory is not counted.
--quick leaves the million out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
SLOT = "2026-11-22T0615"
NOW = "2026-11-22T06:15:00Z"
# of the sandbox's custom-object records, the share that belongs to Event Registration
SHARE = 0.7
ENRICHMENT = """
[event_registration]
custom_object = "Event Registration"
identifier = "Record_Key1"
key = "Salesforce_Campaign_ID1"
[event_registration.status]
field = "Enrichment_Status1"
waiting = "Waiting"
done = "Done"
error = "Error"
reason = "Enrichment_Reason1"
[event_registration.fields]
Campaign_Name1 = "Name"
Campaign_Type1 = "Type"
Campaign_Status1 = "Status"
Campaign_Start_Date1 = "StartDate"
Campaign_Budget1 = "BudgetedCost"
Campaign_Active1 = "IsActive"
"""


@dataclass
class Measured:
    """One run: seconds from process start to the receipt, peak memory in MiB, requests by system, records filled."""

    seconds: float
    mebibytes: float
    calls: dict[str, int]
    filled: int


def main() -> int:
    """Print the table; 1 when a figure misses its target."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="leave the million out")
    arguments.add_argument("--runs", type=int, default=5, help="runs of the small case")
    options = arguments.parse_args()
    small = [measured(20_000, 1_000) for _ in range(options.runs)]
    rows = [
        ("1,000 of 20,000: seconds to receipt", [one.seconds for one in small], 3.0),
        ("1,000 of 20,000: requests to Eloqua", [one.calls["eloqua"] for one in small], 20),
        ("1,000 of 20,000: requests to Salesforce", [one.calls["salesforce"] for one in small], 4),
        ("1,000 of 20,000: peak memory, MiB", [one.mebibytes for one in small], None),
    ]
    if not options.quick:
        large = [measured(1_000_000, 1_000_000)]
        rows += [
            ("1,000,000 waiting: peak memory, MiB", [one.mebibytes for one in large], 400),
            ("1,000,000 waiting: seconds to receipt", [one.seconds for one in large], None),
            ("1,000,000 waiting: records filled", [one.filled for one in large], None),
        ]
    print(f"{'':42}{'min':>12}{'median':>12}{'max':>12}{'target':>12}")
    missed = False
    for name, values, target in rows:
        figures = [min(values), statistics.median(values), max(values)]
        miss = target is not None and figures[1] > target
        missed |= miss
        limit = "" if target is None else f"<= {target:,}"
        print(f"{name:42}{''.join(f'{figure:>12,.1f}' for figure in figures)}{limit:>12}{'  MISSED' if miss else ''}")
    return int(missed)


def measured(records: int, waiting: int) -> Measured:
    """Run one enrichment of a fresh company of which `waiting` records wait for it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        sandbox(round(records / SHARE), round(waiting / SHARE)) as environment,
    ):
        outputs = Path(folder) / "outputs"
        file = Path(folder) / "enrichment.toml"
        file.write_text(ENRICHMENT)
        config = Path(folder) / "luigi.cfg"
        config.write_text((ROOT / "luigi.cfg").read_text().replace("\ndefinitions =", f"\ndefinitions = {file}"))
        variables = {
            **os.environ,
            **environment,
            "SCC_OUTPUTS": str(outputs),
            "LUIGI_CONFIG_PATH": str(config),
            "PYTHONPATH": str(ROOT),
        }
        command = ["-m", "luigi", "--module", "jobs.enrichment", "Enrichment", "--slot", SLOT, "--local-scheduler"]
        with (Path(folder) / "log").open("wb") as log:
            began = time.time()
            process = subprocess.Popen([sys.executable, *command], cwd=folder, env=variables, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
        if os.waitstatus_to_exitcode(status):
            sys.exit((Path(folder) / "log").read_text())
        receipt = outputs / "enrichment" / SLOT / "event_registration" / "Fill.json"
        return Measured(
            seconds=receipt.stat().st_mtime - began,
            mebibytes=usage.ru_maxrss / 1024,
            calls=json.load(urllib.request.urlopen(environment["ELOQUA_LOGIN_URL"] + "/_sandbox/summary"))["calls"],
            filled=json.loads(receipt.read_text())["filled"],
        )


@contextmanager
def sandbox(contacts: int, waiting: int) -> Iterator[dict[str, str]]:
    """A sandbox process; the variables that point at it."""
    command = [sys.executable, "-m", "scc.sandbox", "serve", "--port", "0", "--contacts", str(contacts)]
    command += ["--waiting", str(waiting), "--seed", "1", "--now", NOW, "--sync-polls", "2"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        shown = subprocess.check_output(
            [sys.executable, "-m", "scc.sandbox", "env", "--port", url.rsplit(":", 1)[1]], cwd=ROOT, text=True
        )
        yield dict(line.removeprefix("export ").split("=", 1) for line in shown.splitlines())
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
