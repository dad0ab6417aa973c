"""What BounceCleanup promises when a run was killed after Eloqua took its rows, and before it had accounted for them."""

import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.bounce_cleanup import BounceCleanup
from scc.errors import Unaccounted, Unavailable, VolumeUnavailable
from tests.conftest import Runner
from tests.jobs.bounces import ANA, DAY, SLOT, Company, receipts

NEXT = SLOT + DAY
Begin = Callable[[], None]


def imports(company: Company) -> int:
    """How many syncs of imports Eloqua was asked for."""
    return sum("/imports/" in sync["syncedInstanceUri"] for sync in company.sandbox.eloqua.syncs())


def folder(outputs: Path, slot: dt.datetime = SLOT) -> Path:
    return outputs / "bounce_cleanup" / f"{slot:%Y-%m-%dT%H%M}"


@pytest.fixture
def unheard(company: Company, run: Runner) -> None:
    """The slot sent a row to Eloqua, and never heard what became of it."""
    company.bounce(ago=30)
    company.lead()

    def lose_answers(request: object) -> None:
        company.sandbox.faults.add("status", system="eloqua", method="GET", path=r"/syncs/\d+$", status=503)

    company.sandbox.on("POST", r"/imports/\d+/data", lose_answers)
    assert isinstance(run.fails(BounceCleanup(slot=SLOT)), Unavailable)
    company.sandbox.faults.clear()
    assert imports(company) == 1


@pytest.fixture
def uncounted(company: Company, run: Runner, outputs_folder: Path) -> None:
    """The slot heard what became of its row, and could not write down which bouncebacks it has dealt with."""
    stopped_at("MarkInEloqua.handled.parquet", company, run, outputs_folder)


@pytest.fixture
def unreceipted(company: Company, run: Runner, outputs_folder: Path) -> None:
    """The slot has written down all but its receipt."""
    stopped_at("MarkInEloqua.json", company, run, outputs_folder)


def stopped_at(file: str, company: Company, run: Runner, outputs: Path) -> None:
    company.bounce(ago=30)
    company.lead()
    obstacle = folder(outputs) / file / "obstacle"
    company.sandbox.on("POST", r"/imports/\d+/data", lambda request: obstacle.mkdir(parents=True))
    assert isinstance(run.fails(BounceCleanup(slot=SLOT)), VolumeUnavailable)
    shutil.rmtree(obstacle.parent)
    assert imports(company) == 1


@pytest.mark.parametrize("slot", [NEXT, SLOT, SLOT - DAY / 24], ids=["next", "same", "earlier"])
@pytest.mark.parametrize("killed", ["unheard", "uncounted", "unreceipted"])
def test_whichever_slot_comes_next_finishes_the_write_and_repeats_nothing(
    company: Company,
    run: Runner,
    outputs_folder: Path,
    request: pytest.FixtureRequest,
    killed: str,
    slot: dt.datetime,
) -> None:
    request.getfixturevalue(killed)

    run(BounceCleanup(slot=slot))

    assert imports(company) == 1
    assert company.bounced() == {ANA}
    (lead,) = company.marked()
    assert [change["object"] for change in company.changes()].count("Lead") == 1
    receipt = receipts(outputs_folder)["eloqua"]
    assert (receipt["planned"], receipt["updated"], receipt["outcome"]) == (1, 1, "done")
    salesforce = receipts(outputs_folder, slot)["salesforce"]
    assert (salesforce["updated"], salesforce["settles"]) == (1, ["2026-11-22T0615-1.parquet"])
    assert slot == SLOT or receipts(outputs_folder, slot)["eloqua"]["planned"] == 0
    assert not list((outputs_folder / "bounce_cleanup").glob("state/owed/*/*"))
    assert not list((outputs_folder / "bounce_cleanup" / "unfinished").iterdir())
    run(BounceCleanup(slot=SLOT))
    assert imports(company) == 1
    assert company.marked() == {lead}


def test_a_rehearsal_finishes_nothing(company: Company, run: Runner, outputs_folder: Path, unheard: None) -> None:
    before = company.writes(), company.changes()

    run(BounceCleanup(slot=NEXT, dry_run=True))

    assert (company.writes(), company.changes()) == before
    assert "eloqua" not in receipts(outputs_folder)


@pytest.mark.parametrize("why", ["gone", "too old"])
def test_a_write_is_never_finished_from_what_is_gone_or_too_old(
    company: Company, run: Runner, outputs_folder: Path, unheard: None, why: str
) -> None:
    if why == "gone":
        (folder(outputs_folder) / "DecideBounces.parquet").unlink()
    else:  # another slot has written since
        (outputs_folder / "bounce_cleanup" / "lease" / "00000002.wrote").write_text("2026-11-20T0615")

    run(BounceCleanup(slot=NEXT))

    assert "eloqua" not in receipts(outputs_folder)
    (part,) = folder(outputs_folder).glob("MarkInEloqua.part-0001.json")
    assert json.loads(part.read_text())["result"]["updated"] == 1  # settled all the same
    assert receipts(outputs_folder, NEXT)["eloqua"]["updated"] == 1
    assert company.bounced() == {ANA}
    assert len(company.marked()) == 1


def test_a_write_that_does_not_add_up_fails_one_run_and_holds_up_no_other(
    company: Company, run: Runner, outputs_folder: Path, unheard: None
) -> None:
    (part,) = folder(outputs_folder).glob("MarkInEloqua.part-0001.json")
    part.write_text(json.dumps({**json.loads(part.read_text()), "rows": 7}))

    assert isinstance(run.fails(BounceCleanup(slot=NEXT)), Unaccounted)

    assert json.loads((folder(outputs_folder) / "MarkInEloqua.failed.json").read_text())["outcome"] == "failed"
    run(BounceCleanup(slot=NEXT))
    assert len(company.marked()) == 1
