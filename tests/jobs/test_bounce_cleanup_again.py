"""What BounceCleanup promises of runs that overlap, fail, are deferred or begin where another ended."""

import datetime as dt
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.bounce_cleanup import BounceCleanup
from scc.errors import RemoteError, Unavailable
from tests.conftest import Runner
from tests.jobs.bounces import ANA, DAY, SLOT, Company, receipts

SLOTS = (SLOT, SLOT + DAY, SLOT + 2 * DAY)
AWAY = {"system": "salesforce", "path": "/services/data", "status": 503}


def history(company: Company) -> None:
    """Bounces of three days, those of one person on two of them, soft ones across all, and an open."""
    company.rules(**{"bounces = 5": "bounces = 3"})
    company.bounce("both@example.com", ago=5, status="5.1.1")
    company.bounce("both@example.com", ago=-20, status="5.4.1")
    company.bounce("first@example.com", ago=40)
    company.bounce("last@example.com", ago=-40)
    for ago in (10, -10, -30):
        company.bounce("soft@example.com", ago=ago, status="4.2.2", reply="452")
    for ago in (10, 9, 8):
        company.bounce("turned@example.com", ago=ago, status="4.2.2", reply="452")
    company.bounce("turned@example.com", ago=-20)
    company.bounce("lives@example.com", ago=5)
    company.opened("lives@example.com", ago=4)
    company.bounce("late@example.com", ago=6, visible_at=SLOT + dt.timedelta(hours=30))
    for name in ("both", "first", "last", "soft", "lives", "late", "turned"):
        company.lead(f"{name}@example.com", LastName=name)
        company.person(f"{name}@example.com", LastName=name)
    company.sandbox.clock.advance(3 * DAY.total_seconds())


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_overlapping_windows_end_alike_in_any_order(company: Company, run: Runner, order: tuple[int, ...]) -> None:
    history(company)

    for number in order:
        run(BounceCleanup(slot=SLOTS[number]))

    marked = ["both", "first", "last", "late", "soft", "turned"]
    state = company.state()
    assert [row[0] for row in state["eloqua"] if row[1]] == [f"{name}@example.com" for name in marked]
    assert {row[0] for row in state["salesforce"] if row[2]} == set(marked)
    (both,) = [row for row in state["eloqua"] if row[0] == "both@example.com"]
    assert both[1:5] == ["Bounced", "Hard bounce, SMTP 5.1.1 / 550", "2026-11-22 01:15:00", "5.1.1"]
    (turned,) = [row for row in state["eloqua"] if row[0] == "turned@example.com"]
    reasons = {turned[2], *(row[2] for row in state["salesforce"] if row[0] == "turned")}
    assert reasons == {"Repeated soft bounces, SMTP 4.2.2 / 452"}
    dates = {row[3] for row in state["salesforce"] if row[0] == "both"}
    assert dates == {"2026-11-22 01:15:00+00:00"}


def test_salesforce_away_for_ten_days_ends_in_the_same_state(company: Company, run: Runner) -> None:
    history(company)
    company.opened("first@example.com", ago=-100)  # after it was marked: what was decided stands
    company.sandbox.clock.advance(10 * DAY.total_seconds())
    run(BounceCleanup(slot=SLOT - DAY))  # before the trouble
    for day in range(10):
        company.sandbox.faults.add("status", **AWAY)
        error = run.fails(BounceCleanup(slot=SLOT + day * DAY))
        assert isinstance(error, Unavailable)
        company.sandbox.faults.clear()
    assert {"both@example.com", "late@example.com"} <= company.bounced()  # Eloqua did not wait
    run(BounceCleanup(slot=SLOT + 10 * DAY))

    state = company.state()
    marked = ["both", "first", "last", "late", "soft", "turned"]
    assert {row[0] for row in state["salesforce"] if row[2]} == set(marked)
    assert [row[0] for row in state["eloqua"] if row[1]] == [f"{name}@example.com" for name in marked]


def test_what_salesforce_is_owed_waits_until_it_is_back(company: Company, run: Runner, outputs_folder: Path) -> None:
    company.bounce()
    lead = company.lead()
    for day in range(10):
        company.sandbox.faults.add("status", **{**AWAY, "path": "/composite"})
        run.fails(BounceCleanup(slot=SLOT + day * DAY))
        company.sandbox.faults.clear()
    assert company.bounced() == {ANA}
    assert company.marked() == set()
    company.opened(ago=-50)  # Eloqua was told long before: both systems follow one decision
    imports = [write for write in company.writes() if "/imports" in write]

    run(BounceCleanup(slot=SLOT + 10 * DAY))

    assert company.marked() == {lead}
    assert [write for write in company.writes() if "/imports" in write] == imports
    run(BounceCleanup(slot=SLOT))  # the first slot's Job, retried at last
    assert receipts(outputs_folder)["salesforce"]["planned"] == 0


def test_an_older_slot_that_is_done_asks_nothing_of_either_system(
    company: Company, run: Runner, outputs_folder: Path
) -> None:
    company.bounce()
    company.bounce("bo@example.com", ago=-10)
    company.lead()
    company.sandbox.clock.advance(DAY.total_seconds())
    for slot in SLOTS[:2]:
        run(BounceCleanup(slot=slot))
    assert company.bounced() == {ANA, "bo@example.com"}  # so the first slot was read before the second one's run wrote
    before, requests = receipts(outputs_folder), len(company.sandbox.requests)

    run(BounceCleanup(slot=SLOT))

    assert len(company.sandbox.requests) == requests
    assert receipts(outputs_folder) == before


def test_a_locked_row_is_deferred_and_done_by_the_next_slot(
    company: Company, run: Runner, outputs_folder: Path
) -> None:
    company.bounce()
    locked, free = company.lead(), company.lead()
    company.sandbox.salesforce.lock_row(locked)

    run(BounceCleanup(slot=SLOT))

    assert company.marked() == {free}
    receipt = receipts(outputs_folder)["salesforce"]
    assert (receipt["updated"], receipt["deferred"]) == (1, 1)
    assert receipt["reasons"] == {"deferred: UNABLE_TO_LOCK_ROW": 1}

    run(BounceCleanup(slot=SLOT + DAY))

    assert company.marked() == {free, locked}
    receipt = receipts(outputs_folder, SLOT + DAY)["salesforce"]
    assert (receipt["updated"], receipt["unchanged"]) == (1, 1)
    assert list((outputs_folder / "bounce_cleanup" / "state" / "owed" / "salesforce").iterdir()) == []


def test_a_row_that_eloqua_rejects_is_tried_for_days_and_then_given_up(
    company: Company, run: Runner, outputs_folder: Path
) -> None:
    company.rules(retry="retry = 2")
    company.bounce()
    lead = company.lead()
    company.sandbox.eloqua.reject("Contact", ANA, "ELQ-00125")

    reasons = []
    for day in range(5):
        run(BounceCleanup(slot=SLOT + day * DAY))
        reasons.append(receipts(outputs_folder, SLOT + day * DAY)["eloqua"]["reasons"])

    waited = [receipts(outputs_folder, SLOT + day * DAY)["eloqua"]["oldest_waiting_after_seconds"] for day in range(5)]
    assert waited == [0, 86_400, 2 * 86_400, None, None]
    tried = {"rejected: ELQ-00125": 1}
    assert reasons == [tried, tried, tried, {"rejected: given up: ELQ-00125": 1}, {}]
    assert company.marked() == {lead}


def test_a_rejected_row_that_fits_later_is_written(company: Company, run: Runner) -> None:
    company.bounce()
    company.sandbox.eloqua.reject("Contact", ANA, "ELQ-00125")
    run(BounceCleanup(slot=SLOT))
    assert company.bounced() == set()
    company.sandbox.systems["eloqua"].refusals.clear()

    run(BounceCleanup(slot=SLOT + DAY))

    assert company.bounced() == {ANA}
    assert company.contact()["C_Bounce_Date1"] == "2026-11-22 01:15:00"


def test_too_many_rejected_rows_fail_the_run(
    company: Company, run: Runner, settings: Callable[..., None], outputs_folder: Path
) -> None:
    settings("bounce_cleanup", "max_rejected_count", 0)
    company.bounce()
    company.sandbox.eloqua.reject("Contact", ANA, "ELQ-00125")

    run.fails(BounceCleanup(slot=SLOT))

    assert "eloqua" not in receipts(outputs_folder)


def many(company: Company, settings: Callable[..., None]) -> set[str]:
    """Leads enough for a job to pay."""
    settings("salesforce", "records_per_call", 1)
    company.bounce()
    return {company.lead() for _ in range(12)}


def jobs(company: Company) -> list[str]:
    return [job["state"] for job in company.sandbox.salesforce.jobs()]


def test_many_records_are_written_by_a_job(
    company: Company, run: Runner, settings: Callable[..., None], outputs_folder: Path
) -> None:
    leads = many(company, settings)
    locked = sorted(leads)[3]
    company.sandbox.salesforce.lock_row(locked)
    company.sandbox.salesforce.set_assignment_rule(True)
    owners = {row["OwnerId"] for row in company.sandbox.salesforce.rows("Lead")}

    run(BounceCleanup(slot=SLOT))

    assert jobs(company) == ["JobComplete"]
    assert company.marked() == leads - {locked}
    assert {row["OwnerId"] for row in company.sandbox.salesforce.rows("Lead")} == owners
    receipt = receipts(outputs_folder)["salesforce"]
    assert (receipt["updated"], receipt["deferred"]) == (11, 1)


@pytest.mark.parametrize("slot", [SLOT, SLOT + DAY])
def test_a_failed_poll_neither_aborts_nor_repeats_a_job(
    company: Company, run: Runner, settings: Callable[..., None], slot: dt.datetime, outputs_folder: Path
) -> None:
    leads = many(company, settings)
    company.sandbox.faults.add("status", method="GET", path="/jobs/ingest/[^/]+$", status=503)
    assert isinstance(run.fails(BounceCleanup(slot=SLOT)), Unavailable)
    company.sandbox.faults.clear()

    run(BounceCleanup(slot=slot))

    assert jobs(company) == ["JobComplete"]
    assert company.marked() == leads
    assert list((outputs_folder / "bounce_cleanup" / "state" / "jobs").iterdir()) == []


@pytest.mark.parametrize("what", ["reset_before", "reset_after"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/jobs/ingest$"),
        ("PUT", "/batches$"),
        ("PATCH", "/jobs/ingest/"),
        ("GET", "/jobs/ingest/[^/]+$"),
        ("GET", "/failedResults$"),
    ],
)
def test_a_lost_answer_of_a_job_is_survived(
    company: Company, run: Runner, settings: Callable[..., None], what: str, method: str, path: str
) -> None:
    leads = many(company, settings)
    company.sandbox.salesforce.lock_row(min(leads))
    company.sandbox.faults.add(what, method=method, path=path, nth=1)

    run(BounceCleanup(slot=SLOT))

    assert company.marked() == leads - {min(leads)}
    assert jobs(company).count("JobComplete") == 1


def test_a_job_that_fails_is_made_anew_by_the_next_run(
    company: Company, run: Runner, settings: Callable[..., None]
) -> None:
    leads = many(company, settings)
    company.sandbox.faults.add("sync_error", method="POST", path="/jobs/ingest$", nth=1)
    assert isinstance(run.fails(BounceCleanup(slot=SLOT)), RemoteError)

    run(BounceCleanup(slot=SLOT))

    assert jobs(company) == ["Failed", "JobComplete"]
    assert company.marked() == leads


def test_a_run_under_a_mix_of_faults_ends_as_an_undisturbed_one(company: Company, run: Runner) -> None:
    history(company)
    company.sandbox.faults.add_document({"mix": 0.05})
    slot = SLOTS[2]
    for _ in range(20):
        if run.tries(BounceCleanup(slot=slot)):
            break
    company.sandbox.faults.clear()
    run(BounceCleanup(slot=slot))

    marked = {"both", "first", "last", "late", "soft", "turned"}
    state = company.state()
    assert {row[0] for row in state["salesforce"] if row[2]} == marked
    assert {row[0] for row in state["eloqua"] if row[1]} == {f"{name}@example.com" for name in marked}


def test_the_receipts_tell_which_rules_held(company: Company, run: Runner, outputs_folder: Path) -> None:
    run(BounceCleanup(slot=SLOT))
    first = receipts(outputs_folder)["eloqua"]["rules"]
    company.rules(retry="retry = 3")

    run(BounceCleanup(slot=SLOT + DAY))

    assert receipts(outputs_folder, SLOT + DAY)["eloqua"]["rules"] != first
