"""How fast Enrichment is, and how much memory it takes: python -m benchmarks.enrichment [--quick]

Runs the real `luigi` command against the sandbox, each run against a fresh company, and prints a table. The sandbox is a
process of its own, so that its time on the processor competes with the job's, as on a laptop; its memory is not counted.
--quick leaves the million out.
"""

import argparse
import json
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Row, run, sandbox, table

SLOT = "2026-11-22T0615"
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
    rows: list[Row] = [
        ("1,000 of 20,000: seconds to receipt", [one.seconds for one in small], "<= 3"),
        ("1,000 of 20,000: requests to Eloqua", [one.calls["eloqua"] for one in small], "<= 20"),
        ("1,000 of 20,000: requests to Salesforce", [one.calls["salesforce"] for one in small], "<= 4"),
        ("1,000 of 20,000: peak memory, MiB", [one.mebibytes for one in small], ""),
    ]
    if not options.quick:
        large = measured(1_000_000, 1_000_000)
        rows += [
            ("1,000,000 waiting: peak memory, MiB", [large.mebibytes], "<= 400"),
            ("1,000,000 waiting: seconds to receipt", [large.seconds], ""),
            ("1,000,000 waiting: records filled", [large.filled], ""),
        ]
    return table(rows)


def measured(records: int, waiting: int) -> Measured:
    """Run one enrichment of a fresh company of which `waiting` records wait for it."""
    with (
        tempfile.TemporaryDirectory() as name,
        sandbox(round(records / SHARE), "--waiting", str(round(waiting / SHARE)), "--sync-polls", "2") as served,
    ):
        folder = Path(name)
        (folder / "enrichment.toml").write_text(ENRICHMENT)
        settings = {"enrichment": {"definitions": str(folder / "enrichment.toml")}}
        it = run("enrichment.Enrichment", SLOT, folder, served.environment, settings)
        receipt = folder / "outputs" / "enrichment" / SLOT / "event_registration" / "Fill.json"
        summary = urllib.request.urlopen(served.environment["ELOQUA_LOGIN_URL"] + "/_sandbox/summary")
        return Measured(
            seconds=receipt.stat().st_mtime - it.began,
            mebibytes=it.mebibytes,
            calls=json.load(summary)["calls"],
            filled=json.loads(receipt.read_text())["filled"],
        )


if __name__ == "__main__":
    sys.exit(main())
