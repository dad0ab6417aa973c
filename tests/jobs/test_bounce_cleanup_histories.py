"""BounceCleanup over days that a seed makes up: people who bounce, slots in any order, some again, and a trouble in each.

What both systems hold in the end is judged by a few lines that know nothing of windows, receipts or states.
SCC_HISTORIES=500 makes so many of them.
"""

import datetime as dt
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jobs.bounce_cleanup import BounceCleanup
from tests.conftest import Runner
from tests.jobs.bounces import DAY, SLOT, Company

HISTORIES = int(os.environ.get("SCC_HISTORIES", "4"))
SOFT_BOUNCES = 3  # make an address dead
CODES = {
    "hard": [("5.1.1", "550"), ("5.4.1", ""), ("", "550"), ("5.2.1", "550")],
    "soft": [("4.2.2", "452"), ("5.2.2", "552"), ("", "451")],
    "neither": [("5.7.1", "554"), ("5.1.1", "450"), ("", ""), ("x", "y")],
}


@dataclass
class Person:
    """Somebody with an address, their bounces by kind, and the Leads and Contacts that carry the address."""

    address: str
    bounces: dict[str, list[dt.datetime]] = field(default_factory=lambda: {kind: [] for kind in CODES})
    records: list[str] = field(default_factory=list)

    @property
    def died(self) -> dt.datetime | None:
        """When it was first proven that mail to the address is lost."""
        proofs = sorted(self.bounces["hard"])[:1] + sorted(self.bounces["soft"])[SOFT_BOUNCES - 1 : SOFT_BOUNCES]
        return min(proofs, default=None)


class History:
    """A company to which a seed does what it likes."""

    def __init__(self, seed: int, company: Company):
        self.rng, self.company = random.Random(seed), company
        self.days = self.rng.randint(1, 5)
        self.end = SLOT + self.days * DAY
        self.people = [Person(f"p{number}@example.com") for number in range(self.rng.randint(1, 8))]
        for person in self.people:
            self._live(person)
        company.sandbox.clock.advance((self.end - SLOT).total_seconds())

    def _live(self, person: Person) -> None:
        for _ in range(self.rng.randint(0, 5)):
            kind = self.rng.choice(["hard", "soft", "soft", "neither"])
            status, reply = self.rng.choice(CODES[kind])
            span = self.end - SLOT + DAY - dt.timedelta(hours=1.5)
            at = (SLOT - DAY + self.rng.random() * span).replace(microsecond=0)
            written = person.address.upper() if self.rng.random() < 0.2 else person.address
            self.company.bounce(written, ago=(SLOT - at).total_seconds() / 3600, status=status, reply=reply)
            person.bounces[kind].append(at)
        person.records += [self.company.lead(person.address) for _ in range(self.rng.choice([0, 1, 1, 2, 12]))]
        person.records += [self.company.person(person.address) for _ in range(self.rng.choice([0, 1, 2]))]

    def slots(self) -> list[dt.datetime]:
        return [SLOT + self.rng.randint(0, self.days) * DAY for _ in range(self.rng.randint(1, 7))]

    def trouble(self) -> None:
        """One of many, or none, until it is over."""
        sandbox, rng = self.company.sandbox, self.rng
        status, nth = rng.choice([400, 500, 503]), rng.randint(1, 30)
        records = [record for person in self.people for record in person.records]
        salesforce = rng.choice(["/composite", "/services/data", "/ingest"])
        eloqua = rng.choice(["/data", "/syncs", "/imports"])
        troubles: list[Callable[[], object]] = [
            lambda: None,
            lambda: sandbox.faults.add_document({"mix": 0.1}),
            lambda: sandbox.faults.add("status", nth=nth, status=status),
            lambda: sandbox.faults.add("reset_before", nth=nth),
            lambda: sandbox.faults.add("reset_after", nth=nth),
            lambda: sandbox.faults.add("status", system="salesforce", path=salesforce, status=503),
            lambda: sandbox.faults.add("status", system="eloqua", path=eloqua, status=503),
            lambda: [sandbox.salesforce.lock_row(record, 3) for record in records[:1]],
            lambda: sandbox.eloqua.reject("Contact", rng.choice(self.people).address),
        ]
        rng.choice(troubles)()

    def over(self) -> None:
        """No trouble any more."""
        self.company.sandbox.faults.clear()
        self.company.sandbox.systems["eloqua"].refusals.clear()
        self.company.sandbox.systems["salesforce"].locks.clear()


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_both_systems_know_the_dead_in_the_end_whatever_happened(
    company: Company, run: Runner, settings: Callable[..., None], outputs_folder: Path, seed: int
) -> None:
    company.rules(**{"bounces = 5": f"bounces = {SOFT_BOUNCES}"})
    settings("salesforce", "records_per_call", 1 + 199 * (seed % 2))  # by jobs, or by calls
    history = History(seed, company)

    for slot in history.slots():
        history.trouble()
        run.tries(BounceCleanup(slot=slot, dry_run=history.rng.random() < 0.1))
        if history.rng.random() < 0.7:
            history.over()
    history.over()
    for slot in (history.end, history.end + DAY / 24, SLOT):
        run(BounceCleanup(slot=slot))

    dead = {person.address: person for person in history.people if person.died}
    assert {address.lower() for address in company.bounced()} == set(dead)
    assert company.marked() == {record for person in dead.values() for record in person.records}
    for address, person in dead.items():
        contact = company.contact(address)
        assert contact["C_Bounce_Date1"] == str(person.died)
        for record in map(company.record, person.records):
            assert str(record["EmailBouncedDate"])[:19] == str(person.died)
            assert record["EmailBouncedReason"] == contact["C_Bounce_Reason1"]
    changes = Counter((change["object"], change["id"]) for change in company.changes())
    assert set(changes.values()) <= {1}
    folder = outputs_folder / "bounce_cleanup"
    left = [path for place in ("state/owed/*", "state/jobs", "unfinished") for path in folder.glob(f"{place}/*")]
    assert left == []
