"""How fast OutputCleanup is, and how much memory it takes: python -m benchmarks.output_cleanup [--files N]

Runs the real `luigi` command on a volume of which half may go, and prints a table. The volume lies in the folder that TMPDIR
names: on a network file system the figures are others.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Row, Run, run, table

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


@dataclass(frozen=True)
class Measured:
    """One run, the files on the volume before it, and how many it removed."""

    run: Run
    files: int
    removed: int


def main() -> int:
    """Print the table; 1 when a figure misses its target."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--files", type=int, default=200_000, help="files on the volume")
    arguments.add_argument("--runs", type=int, default=3)
    options = arguments.parse_args()
    all_runs = [measured(options.files) for _ in range(options.runs)]
    size = f"{all_runs[0].files:,} files"
    rows: list[Row] = [
        (f"{size}: seconds", [one.run.seconds for one in all_runs], "<= 30"),
        (f"{size}: processor seconds", [one.run.processor for one in all_runs], ""),
        (f"{size}: peak memory, MiB", [one.run.mebibytes for one in all_runs], ""),
        (f"{size}: files removed", [one.removed for one in all_runs], ""),
    ]
    return table(rows)


def measured(files: int) -> Measured:
    """Clean up a volume of so many files, half of them in slots past their retention."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(round(files / (FOLDERS * FILES + 1))):
            lay_down(folder / "outputs", number)
        settings = {"output_cleanup": {"max_removed_share": "1"}}
        it = run("output_cleanup.OutputCleanup", SLOT, folder, CREDENTIALS, settings)
        receipt = json.loads((folder / "outputs" / "output_cleanup" / SLOT / "RemoveOutputs.json").read_text())
        return Measured(it, receipt["files_before"], receipt["removed"]["enrichment"]["slot"]["files"])


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
