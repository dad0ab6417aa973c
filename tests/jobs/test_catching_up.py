"""Late, repeated and killed runs of a process end in the state that one good run would have left."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.enrichment import Enrichment
from scc.errors import Unaccounted, Unavailable
from scc.sandbox import Sandbox
from tests.conftest import Runner
from tests.jobs.test_enrichment import OBJECT, Add, add, campaign, configure, record  # noqa: F401 (fixtures)

FIRST, SECOND = dt.datetime(2026, 11, 22, 5, 15), dt.datetime(2026, 11, 22, 6, 15)


def receipt(outputs: Path, slot: dt.datetime) -> dict[str, Any]:
    return json.loads(
        (outputs / "enrichment" / f"{slot:%Y-%m-%dT%H%M}" / "event_registration" / "Fill.json").read_text()
    )


def imports(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The syncs of imports, as Eloqua lists them."""
    return [sync for sync in sandbox.eloqua.syncs() if "/imports/" in sync["syncedInstanceUri"]]


@pytest.fixture
def open_import(sandbox: Sandbox, run: Runner, add: Add, campaign: str) -> int:  # noqa: F811
    """A record that the first slot sent to Eloqua, without hearing what became of it; its id."""
    waiting = add(campaign)
    lost: list[object] = []

    def lose_answers(request: object) -> None:
        lost.append(sandbox.faults.add("status", system="eloqua", method="GET", path=r"/syncs/\d+$", status=503))

    sandbox.on("POST", r"/imports/\d+/data", lose_answers)
    assert isinstance(run.fails(Enrichment(slot=FIRST)), Unavailable)
    assert lost
    sandbox.faults.clear()
    return waiting


def test_a_later_slot_accounts_for_the_import_that_an_earlier_one_left(
    sandbox: Sandbox, run: Runner, outputs_folder: Path, open_import: int
) -> None:
    run(Enrichment(slot=SECOND))

    assert record(sandbox, open_import)["Campaign_Name1"] == "Autumn Fair"
    assert receipt(outputs_folder, SECOND)["planned"] == 0
    (part,) = outputs_folder.glob("enrichment/2026-11-22T0515/*/Fill.filling.part-0001.json")
    assert json.loads(part.read_text())["result"]["updated"] == 1
    assert len(imports(sandbox)) == 1
    assert not list(outputs_folder.glob("enrichment/unfinished/*"))
    assert not sandbox.eloqua.definitions()


def test_the_slot_itself_goes_on_with_the_import_it_left(
    sandbox: Sandbox, run: Runner, outputs_folder: Path, open_import: int
) -> None:
    run(Enrichment(slot=FIRST))

    assert record(sandbox, open_import)["Campaign_Name1"] == "Autumn Fair"
    assert receipt(outputs_folder, FIRST)["updated"] == 1
    assert len(imports(sandbox)) == 1
    assert not list(outputs_folder.glob("enrichment/unfinished/*"))


def test_an_import_that_does_not_add_up_fails_the_next_run_once(
    sandbox: Sandbox, run: Runner, outputs_folder: Path, open_import: int
) -> None:
    (part,) = outputs_folder.glob("enrichment/2026-11-22T0515/*/Fill.filling.part-0001.json")
    part.write_text(json.dumps({**json.loads(part.read_text()), "rows": 7}))

    assert isinstance(run.fails(Enrichment(slot=SECOND)), Unaccounted)

    run(Enrichment(slot=SECOND))


@pytest.fixture
def read_only(sandbox: Sandbox, run: Runner, add: Add, campaign: str) -> int:  # noqa: F811
    """A record that the first slot has read and planned to fill, and could not; its id."""
    waiting = add(campaign)
    sandbox.faults.add("status", system="eloqua", method="POST", path="/imports$", status=500)
    assert isinstance(run.fails(Enrichment(slot=FIRST)), Unavailable)
    sandbox.faults.clear()
    return waiting


def test_an_old_slot_never_writes_over_what_a_newer_one_wrote(
    sandbox: Sandbox,
    run: Runner,
    outputs_folder: Path,
    campaign: str,  # noqa: F811
    read_only: int,
) -> None:
    sandbox.salesforce.update("Campaign", campaign, {"Name": "Winter Fair"})
    run(Enrichment(slot=SECOND))

    run(Enrichment(slot=FIRST))

    assert record(sandbox, read_only)["Campaign_Name1"] == "Winter Fair"
    assert receipt(outputs_folder, FIRST)["planned"] == 0
    assert len(imports(sandbox)) == 1


def test_an_old_slot_uses_what_it_read_while_nobody_wrote(
    sandbox: Sandbox,
    run: Runner,
    campaign: str,  # noqa: F811
    read_only: int,
) -> None:
    exports = len(sandbox.eloqua.syncs())

    run(Enrichment(slot=FIRST))

    assert record(sandbox, read_only)["Campaign_Name1"] == "Autumn Fair"
    assert len(sandbox.eloqua.syncs()) == exports + 1  # the import alone


def test_a_finished_slot_is_done_whatever_wrote_since(
    sandbox: Sandbox,
    run: Runner,
    add: Add,  # noqa: F811
    campaign: str,  # noqa: F811
) -> None:
    add(campaign)
    run(Enrichment(slot=FIRST))
    add(campaign)
    run(Enrichment(slot=SECOND))
    requests = len(sandbox.requests)

    run(Enrichment(slot=FIRST))

    assert len(sandbox.requests) == requests


def test_a_rehearsal_tells_nobody_that_it_wrote(
    sandbox: Sandbox,
    run: Runner,
    outputs_folder: Path,
    add: Add,  # noqa: F811
    campaign: str,  # noqa: F811
    settings: Callable[..., None],
) -> None:
    add(campaign)

    run(Enrichment(slot=FIRST, dry_run=True))

    assert not list(outputs_folder.glob("enrichment/lease/*"))
    assert not list(outputs_folder.glob("enrichment/*/read.json"))


def test_a_rehearsal_of_an_old_slot_is_done_once(sandbox: Sandbox, run: Runner, read_only: int) -> None:
    run(Enrichment(slot=SECOND))
    run(Enrichment(slot=FIRST, dry_run=True))
    requests = len(sandbox.requests)

    run(Enrichment(slot=FIRST, dry_run=True))

    assert len(sandbox.requests) == requests
