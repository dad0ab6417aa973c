"""The stories that the kill harness tells: a company, a process, and what it may have changed."""

import datetime as dt
from pathlib import Path
from typing import Any

from scc.sandbox import Sandbox
from tests.reliability.kills import Story

HERE = Path(__file__).parent
NOW = "2026-11-22T06:15:00Z"
SLOT, NEXT = "2026-11-22T0615", "2026-11-22T0715"
TIMES = {"CreatedAt", "UpdatedAt", "CreatedDate", "LastModifiedDate", "SystemModstamp"}


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def waiting_records() -> Sandbox:
    """Records that wait, one for every way that Enrichment can end with them; one loses a value, which is an import apart."""
    sandbox = Sandbox(contacts=20, waiting=0, seed=1, now=NOW, sync_polls=2)
    sandbox.eloqua.clear_records("Event Registration")
    fair = sandbox.salesforce.add(
        "Campaign", {"Name": "Autumn Fair", "StartDate": "2026-10-01", "BudgetedCost": 1500.5}
    )
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
    settings={"enrichment": {"definitions": str(HERE / "enrichment.toml")}},
)


def bounced_addresses() -> Sandbox:
    """Addresses that bounced: with Leads and Contacts, with nobody in the CRM, one that lives, and one for the next slot."""
    sandbox = Sandbox(contacts=20, waiting=0, seed=1, now=NOW, sync_polls=2)
    eloqua, salesforce = sandbox.eloqua, sandbox.salesforce
    eloqua.clear_activities()
    for name in ("Lead", "Contact"):
        salesforce.clear(name)
    for hours, name in ((5, "ana"), (6, "bo"), (7, "cy"), (8, "di"), (9, "ed"), (0.5, "fay")):
        address = f"{name}@example.com"
        eloqua.add_contact(address)
        eloqua.add_activity(
            "Bounceback",
            address,
            created_at=sandbox.clock.now - dt.timedelta(hours=hours),
            SmtpStatusCode="5.1.1",
            SmtpErrorCode="550",
        )
        if name in ("ana", "bo", "cy", "fay"):
            salesforce.add("Contact", {"LastName": name, "Email": address})
            for _ in range(8 if name == "ana" else 1):
                salesforce.add("Lead", {"LastName": name, "Company": "Acme", "Email": address})
    eloqua.add_activity("EmailOpen", "ed@example.com", created_at=sandbox.clock.now - dt.timedelta(hours=4))
    return sandbox


def people(sandbox: Sandbox) -> dict[str, Any]:
    """What both systems say of everybody."""
    crm = [*sandbox.salesforce.rows("Lead"), *sandbox.salesforce.rows("Contact")]
    return {"eloqua": without_times(sandbox.eloqua.records("Contact")), "salesforce": without_times(crm)}


BOUNCES = Story(
    process="BounceCleanup",
    slot=SLOT,
    next_slot=NEXT,
    company=bounced_addresses,
    holdings=people,
    # one record a call: then a job costs fewer calls for the Leads, collections for the Contacts, and each way is killed
    settings={"bounce_cleanup": {"max_share": "0.5"}, "salesforce": {"records_per_call": "1"}},
)


STORIES = {story.process: story for story in (ENRICHMENT, BOUNCES)}
