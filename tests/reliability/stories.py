"""The stories that the kill harness tells: a company, a process, and what it may have changed."""

import datetime as dt
from pathlib import Path
from typing import Any

from scc.sandbox import Sandbox
from tests.reliability.kills import Story

NOW = "2026-11-22T06:15:00Z"
SLOT, NEXT = "2026-11-22T0615", "2026-11-22T0715"
TIMES = {"CreatedAt", "UpdatedAt", "CreatedDate", "LastModifiedDate", "SystemModstamp"}


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def waiting_records() -> Sandbox:
    """Records that wait, one for every way that Enrichment can end with them; one loses a value, which is an import apart."""
    sandbox = Sandbox(contacts=20, waiting=0, seed=1, now=NOW, sync_polls=2)
    sandbox.eloqua.clear_records("Event Registration")
    fair = sandbox.salesforce.add("Campaign", {"Name": "Autumn Fair", "StartDate": "2026-10-01", "BudgetedCost": 1500.5})
    bare = sandbox.salesforce.add("Campaign", {"Name": "No Date"})
    keys = [fair, fair[:15], bare, "", "no id", "701000000000000AAA"]
    for number, key in enumerate(keys):
        values = {
            "Record_Key1": f"R{number}",
            "Salesforce_Campaign_ID1": key,
            "Enrichment_Status1": "Waiting",
            **({"Campaign_Start_Date1": "2020-01-01"} if key == bare else {}),
        }
        sandbox.eloqua.add_record("Event Registration", values, created_at=sandbox.clock.now - dt.timedelta(hours=1))
    return sandbox


ENRICHMENT = Story(
    process="Enrichment",
    slot=SLOT,
    next_slot=NEXT,
    company=waiting_records,
    holdings=lambda sandbox: without_times(sandbox.eloqua.records("Event Registration")),
    settings={"definitions": str(Path(__file__).with_name("enrichment.toml"))},
)

STORIES = {story.process: story for story in (ENRICHMENT,)}
