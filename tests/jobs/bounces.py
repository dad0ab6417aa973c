"""What the tests of BounceCleanup share: a company without activities and CRM people, and words to fill and to ask it."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from jobs import bounce_file
from scc.sandbox import Sandbox

SLOT = dt.datetime(2026, 11, 22, 6, 15)
DAY = dt.timedelta(days=1)
ANA = "ana@example.com"
FIELDS = {"Bounce Status": "text", "Bounce Reason": "text", "Bounce Date": "date", "Bounce Code": "text"}
FIELDS_LINE = (
    'fields = { C_Bounce_Status1 = "status", C_Bounce_Reason1 = "reason", C_Bounce_Date1 = "date", '
    'C_Bounce_Code1 = "code" }'
)


@dataclass
class Company:
    """A sandbox, and what it holds for these tests."""

    sandbox: Sandbox
    settings: Callable[..., None]
    folder: Path

    def rules(self, **changes: str) -> None:
        """Write the rules' file: the shipped one, with lines replaced (look_back="look_back = 3")."""
        text = bounce_file.SHIPPED.read_text()
        for key, line in {"fields = {}": FIELDS_LINE, **changes}.items():
            found = next(old for old in text.splitlines() if old.startswith(key))
            text = text.replace(found, line, 1)
        path = self.folder / "bounce_cleanup.toml"
        path.write_text(text)
        self.settings("bounce_cleanup", "rules", path)

    def bounce(self, address: str = ANA, ago: float = 5, status: str = "5.1.1", reply: str = "550", **more: Any) -> int:
        """A contact with this address, and a bounceback so many hours before the slot; the activity's id."""
        eloqua = self.sandbox.eloqua
        if eloqua.contact(address) is None:
            eloqua.add_contact(address)
        return eloqua.add_activity(
            "Bounceback",
            address,
            created_at=SLOT - dt.timedelta(hours=ago),
            **{"SmtpStatusCode": status, "SmtpErrorCode": reply, **more},
        )

    def opened(self, address: str = ANA, ago: float = 4) -> None:
        self.sandbox.eloqua.add_activity("EmailOpen", address, created_at=SLOT - dt.timedelta(hours=ago))

    def lead(self, address: str = ANA, **more: Any) -> str:
        return self.sandbox.salesforce.add("Lead", {"LastName": "Lima", "Company": "Acme", "Email": address, **more})

    def person(self, address: str = ANA, **more: Any) -> str:
        return self.sandbox.salesforce.add("Contact", {"LastName": "Lima", "Email": address, **more})

    def contact(self, address: str = ANA) -> dict[str, Any] | None:
        return self.sandbox.eloqua.contact(address)

    def record(self, record_id: str) -> dict[str, Any]:
        """A Lead or a Contact."""
        rows = [*self.sandbox.salesforce.rows("Lead"), *self.sandbox.salesforce.rows("Contact")]
        return next(row for row in rows if row["Id"] == record_id)

    def marked(self) -> set[str]:
        """The ids of Leads and Contacts that say why mail to them bounced."""
        rows = [*self.sandbox.salesforce.rows("Lead"), *self.sandbox.salesforce.rows("Contact")]
        return {row["Id"] for row in rows if row["EmailBouncedReason"]}

    def bounced(self) -> set[str]:
        """The addresses of contacts that Eloqua holds for bounced, without those that the company was born with."""
        return self.sandbox.eloqua.bounced() - self.born_bounced

    @property
    def born_bounced(self) -> set[str]:
        return self._born

    def __post_init__(self) -> None:
        self._born = set(self.sandbox.eloqua.bounced())

    def changes(self) -> list[dict[str, Any]]:
        """What the run's requests changed in either system."""
        return [
            change
            for change in self.sandbox.mutations
            if change["request"] != "python" and change["object"] != "ContactField"
        ]

    def state(self) -> dict[str, Any]:
        """What both systems say of everybody, without ids and time stamps of their own."""
        kept = [*("C_Bounce_Status1", "C_Bounce_Reason1", "C_Bounce_Date1", "C_Bounce_Code1"), "IsBounced"]
        people = self.sandbox.eloqua.records("Contact")
        crm = [*self.sandbox.salesforce.rows("Lead"), *self.sandbox.salesforce.rows("Contact")]
        return {
            "eloqua": sorted([row["C_EmailAddress"], *(row.get(name) for name in kept)] for row in people),
            "salesforce": sorted(
                [row["LastName"], row["Email"], row["EmailBouncedReason"] or "", str(row["EmailBouncedDate"])]
                for row in crm
            ),
        }

    def writes(self) -> list[str]:
        """The requests that were meant to change a record."""
        paths = ("/imports", "/composite/sobjects", "/jobs/ingest")
        return [
            f"{one.method} {one.path}"
            for one in self.sandbox.requests
            if one.method in ("POST", "PATCH", "PUT") and any(path in one.path for path in paths)
        ]


@pytest.fixture
def company(sandbox: Sandbox, settings: Callable[..., None], tmp_path: Path) -> Company:
    """Contact fields of our own, no activities, no Leads and Contacts, no limit by share: 50 contacts are few."""
    settings("bounce_cleanup", "max_share", 1)
    settings("salesforce", "first_poll", 0.001)
    settings("salesforce", "longest_poll", 0.01)
    env = sandbox.env
    user = (f"{env['ELOQUA_SITE']}\\{env['ELOQUA_USER']}", env["ELOQUA_PASSWORD"])
    for name, kind in FIELDS.items():
        made = requests.post(
            f"{sandbox.url}/API/REST/2.0/assets/contact/field",
            json={"name": name, "dataType": kind, "displayType": "text"},
            auth=user,
            timeout=10,
        )
        assert made.ok, made.text
    sandbox.eloqua.clear_activities()
    for name in ("CampaignMember", "Lead", "Contact"):
        sandbox.salesforce.clear(name)
    found = Company(sandbox, settings, tmp_path)
    found.rules()
    return found


def receipts(outputs: Path, slot: dt.datetime = SLOT, dry_run: bool = False) -> dict[str, dict[str, Any]]:
    """Eloqua's and Salesforce's receipt of a slot, and the report."""
    folder = outputs / "bounce_cleanup" / f"{slot:%Y-%m-%dT%H%M}" / ("dry-run" if dry_run else "")
    names = {"eloqua": "MarkInEloqua", "salesforce": "MarkInSalesforce", "report": "Report"}
    return {
        name: json.loads(path.read_text()) for name, file in names.items() if (path := folder / f"{file}.json").exists()
    }
