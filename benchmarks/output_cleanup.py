"""How fast OutputCleanup is, and how much memory it takes: python -m benchmarks.output_cleanup [--files N]

Runs the real `luigi` command on a volume of which half may go, and prints a table. The volume lies in the folder that TMPDIR
names: on a network file system the figures are others.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
SLOT = "2026-11-22T0243"
DAY = 86_400
# files of a slot: some enrichments, each with exports, plans, parts and receipts
FOLDERS, FILES = 4, 12
CREDENTIALS = {
    "ELOQUA_SITE": "Bench",
    "ELOQUA_USER": "bench",
    "ELOQUA_PASSWORD": "none",
    "SALESFORCE_URL": "https://bench.example.com",
    "SALESFORCE_CLIENT_ID": "bench",
    "SALESFORCE_CLIENT_SECRET": "none",
}


@dataclass
class Measured:
    """One run: seconds of the whole command, and of the processor's; peak memory in MiB; files on the volume, and removed."""

    seconds: float
    processor: float
    mebibytes: float
    files: int
    removed: int


def main() -> int:
    """Print the table; 1 when a figure misses its target."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--files", type=int, default=200_000, help="files on the volume")
    arguments.add_argument("--runs", type=int, default=3)
    options = arguments.parse_args()
    runs = [measured(options.files) for _ in range(options.runs)]
    size = f"{runs[0].files:,} files"
    rows = [
        (f"{size}: seconds", [one.seconds for one in runs], 30.0),
        (f"{size}: processor seconds", [one.processor for one in runs], None),
        (f"{size}: peak memory, MiB", [one.mebibytes for one in runs], None),
        (f"{size}: files removed", [one.removed for one in runs], None),
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


def measured(files: int) -> Measured:
    """Clean up a volume of so many files, half of them in slots past their retention."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder) / "outputs"
        for number in range(round(files / (FOLDERS * FILES + 1))):
            lay_down(outputs, number)
        config = Path(folder) / "luigi.cfg"
        config.write_text((ROOT / "luigi.cfg").read_text().replace("\nmax_removed_share = 0.5", "\nmax_removed_share = 1"))
        variables = {
            **os.environ,
            **CREDENTIALS,
            "SCC_OUTPUTS": str(outputs),
            "LUIGI_CONFIG_PATH": str(config),
            "PYTHONPATH": str(ROOT),
        }
        command = ["-m", "luigi", "--module", "jobs.output_cleanup", "OutputCleanup", "--slot", SLOT, "--local-scheduler"]
        with (Path(folder) / "log").open("wb") as log:
            began = time.time()
            process = subprocess.Popen([sys.executable, *command], cwd=folder, env=variables, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.time() - began
        if os.waitstatus_to_exitcode(status):
            sys.exit((Path(folder) / "log").read_text())
        receipt = json.loads((outputs / "output_cleanup" / SLOT / "RemoveOutputs.json").read_text())
        return Measured(
            seconds=seconds,
            processor=usage.ru_utime + usage.ru_stime,
            mebibytes=usage.ru_maxrss / 1024,
            files=receipt["files_before"],
            removed=receipt["removed"]["enrichment"]["slot"]["files"],
        )


def lay_down(outputs: Path, number: int) -> None:
    """A finished slot; every other one is past its retention, the others are of the last 60 days."""
    age = (100 if number % 2 else 1) * DAY + number * 60
    moment = time.time() - age
    slot = outputs / "enrichment" / time.strftime("%Y-%m-%dT%H%M", time.gmtime(moment))
    made = []
    for folder in range(FOLDERS):
        (slot / f"part{folder}").mkdir(parents=True)
        for file in range(FILES):
            made.append(slot / f"part{folder}" / f"Step{file}.json")
            made[-1].write_bytes(b"{}")
    (slot / "finished.json").write_text(json.dumps({"outputs": {"part0/Step0.json": "done"}}))
    for path in [*made, slot / "finished.json", *slot.iterdir(), slot]:
        os.utime(path, (moment, moment))


if __name__ == "__main__":
    sys.exit(main())
