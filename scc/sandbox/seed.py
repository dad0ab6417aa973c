"""The made-up company: one seed and one instant give the same company for ever. Its subjects are in scc/sandbox/company/."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from scc.sandbox.company.activities import seed_activities
from scc.sandbox.company.contacts import (
    seed_accounts,
    seed_address_states,
    seed_contacts,
    seed_email_groups,
    seed_lists,
    seed_persons,
)
from scc.sandbox.company.crm import (
    seed_campaigns,
    seed_members,
    seed_opportunities,
    seed_organization,
    seed_people,
)
from scc.sandbox.company.custom_objects import CUSTOM_FIELDS, CUSTOM_OBJECTS, seed_custom_object
from scc.sandbox.company.sql import Size, instant
from scc.sandbox.eloqua.activities import create_activity_table
from scc.sandbox.eloqua.containers import create_container_tables
from scc.sandbox.eloqua.entities import create_declared_table
from scc.sandbox.eloqua.opportunities import create_opportunity_tables
from scc.sandbox.salesforce.schema import create_tables

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua
    from scc.sandbox.store import Store

__all__ = ["CUSTOM_OBJECTS", "Size", "found_company", "seed_company"]

# Contacts, or waiting records. Up to here tables fit into a row group or two, of which DuckDB gives each to one thread
SMALL = 20_000
HELPERS = ("numbers", "person", "company", "campaign_texts")  # tables of the schema staging that go when all is made


def seed_company(store: Store, building: Future[Eloqua], seed: int, now: datetime, size: Size) -> None:
    """Fill an empty store. building: Eloqua, waited for where it is first needed. now: UTC without zone."""
    moment = instant(now)
    # For a small company more of them would take longer to wake than to work.
    store.use_threads(1 if size.records <= SMALL else None)
    store.create_schemas()
    # range() itself runs on one thread; a table of row numbers lets the statements use all.
    store.execute(f"CREATE TABLE staging.numbers AS SELECT i FROM range({max(size.records, 5000)}) r(i)")
    store.execute(create_tables())

    def people() -> None:
        seed_persons(store, seed, moment, size)
        create_activity_table(store)
        create_container_tables(store)
        create_opportunity_tables(store)

    def campaigns() -> None:
        seed_organization(store, moment)
        seed_campaigns(store, seed, moment, size)

    def marketing() -> None:
        seed_contacts(store, eloqua, seed, size)
        seed_activities(store, seed, moment, size)
        seed_address_states(store, moment, size)

    def sales() -> None:
        seed_people(store, seed, moment, size)
        seed_members(store, seed, moment, size)
        seed_opportunities(store, seed, moment, size)
        for name in CUSTOM_OBJECTS:
            seed_custom_object(store, eloqua, name, seed, moment, size)
        seed_lists(store, seed, moment)
        seed_email_groups(store, seed)

    at_once(people, campaigns)
    eloqua = with_custom_objects(building)
    eloqua.people.create_tables()
    for name in CUSTOM_OBJECTS:
        create_declared_table(store, eloqua.entities[name])
    seed_accounts(store, eloqua, seed, moment, size)
    at_once(marketing, sales)
    store.execute(" ".join(f"DROP TABLE staging.{name};" for name in HELPERS))
    store.use_threads()


def at_once(*works: Callable[[], None]) -> None:
    """Run works that share no table: of a small company DuckDB plans longer than it runs, on one thread a statement."""
    with ThreadPoolExecutor(len(works)) as pool:
        for running in [pool.submit(work) for work in works]:
            running.result()


def with_custom_objects(building: Future[Eloqua]) -> Eloqua:
    eloqua = building.result()
    for name in CUSTOM_OBJECTS:
        eloqua.door.declare_custom_object(name, CUSTOM_FIELDS, unique="Record Key")
    return eloqua


def found_company(store: Store, building: Future[Eloqua], seed: int, now: datetime, size: Size) -> None:
    """As seed_company, but a small company that this process has made before is copied: milliseconds instead of
    a quarter of a second, most of which DuckDB would spend on planning."""
    key = (seed, now, size)
    with _founding:
        if path := _founded.get(key):
            store.copy_from(path)
            with_custom_objects(building)
            return
        seed_company(store, building, seed, now, size)
        if key not in _asked:
            _asked.add(key)  # keeping costs time too: only for what is asked for again
        elif size.records <= LARGEST_KEPT and len(_founded) < MOST_KEPT:
            folder = tempfile.TemporaryDirectory(prefix="scc-sandbox-")  # goes with the process
            _folders.append(folder)
            _founded[key] = folder.name + "/company.duckdb"
            store.use_threads(1)
            store.copy_to(_founded[key])
            store.use_threads()


LARGEST_KEPT, MOST_KEPT = 5000, 20
_founding = threading.Lock()
_asked: set[tuple[int, datetime, Size]] = set()
_founded: dict[tuple[int, datetime, Size], str] = {}
_folders: list[tempfile.TemporaryDirectory[str]] = []
