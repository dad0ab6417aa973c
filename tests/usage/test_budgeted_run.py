"""A run of a process that reaches its share of the quota: through Luigi against the sandbox."""

import datetime as dt
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.enrichment import Enrichment
from scc import verdict
from scc.errors import QuotaReached
from scc.sandbox import Sandbox
from tests.conftest import Runner
from tests.usage.conftest import Share

SLOT, NEXT = dt.datetime(2026, 11, 22, 6, 15), dt.datetime(2026, 11, 22, 7, 15)
OBJECT = "Event Registration"
FILE = """
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
"""
ONE = 0.0005  # of 2,000


@pytest.fixture
def waiting(sandbox: Sandbox, tmp_path: Path, settings: Callable[..., None]) -> int:
    """A record that waits for its campaign."""
    (tmp_path / "enrichment.toml").write_text(FILE)
    settings("enrichment", "definitions", tmp_path / "enrichment.toml")
    settings("eloqua", "quota_wait", 0)
    sandbox.eloqua.clear_records(OBJECT)
    campaign = sandbox.salesforce.add("Campaign", {"Name": "Autumn Fair"})
    values = {"Record_Key1": "R1", "Salesforce_Campaign_ID1": campaign, "Enrichment_Status1": "Waiting"}
    return sandbox.eloqua.add_record(OBJECT, values, created_at=sandbox.clock.now - dt.timedelta(hours=1))


def changes(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [change for change in sandbox.mutations if change["request"] != "python"]


def syncs(sandbox: Sandbox) -> int:
    return len([sent for sent in sandbox.requests if sent.method == "POST" and sent.path.endswith("/syncs")])


def used_by_another_run(outputs: Path, kind: str, minutes_ago: int = 0) -> Path:
    """Another run's count: one sync of this kind."""
    at = dt.datetime.fromtimestamp(time.time(), dt.UTC) - dt.timedelta(minutes=minutes_ago)
    path = outputs / f"enrichment/usage/{at:%Y-%m-%dT%H}/other.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"slot": "2026-11-22T0600", "minutes": {f"{at:%Y-%m-%dT%H:%M}": {kind: 1}}}))
    return path


@pytest.mark.parametrize("kind", ["exports", "imports"])
def test_a_run_whose_share_is_used_writes_nothing_and_ends_with_75(
    sandbox: Sandbox, run: Runner, outputs_folder: Path, share: Share, waiting: int, kind: str
) -> None:
    share(ONE)
    used_by_another_run(outputs_folder, kind)

    error = run.fails(Enrichment(slot=SLOT))

    assert isinstance(error, QuotaReached)
    assert verdict.exit_code([error]) == 75
    assert f"1 {kind} within an hour" in str(error)
    assert "run it again after" in str(error)
    assert changes(sandbox) == []
    assert syncs(sandbox) == ("exports", "imports").index(kind)


def test_a_run_that_was_stopped_by_its_share_goes_on_an_hour_later(
    sandbox: Sandbox, run: Runner, outputs_folder: Path, share: Share, waiting: int
) -> None:
    share(ONE)
    used = used_by_another_run(outputs_folder, "imports")
    run.fails(Enrichment(slot=SLOT))
    used.unlink()

    run(Enrichment(slot=SLOT))

    assert sandbox.eloqua.record(OBJECT, waiting)["Campaign_Name1"] == "Autumn Fair"


def test_what_was_asked_for_more_than_an_hour_ago_is_no_hindrance(
    sandbox: Sandbox, run: Runner, outputs_folder: Path, share: Share, waiting: int
) -> None:
    share(ONE)
    used_by_another_run(outputs_folder, "imports", minutes_ago=62)

    run(Enrichment(slot=SLOT))

    assert sandbox.eloqua.record(OBJECT, waiting)["Campaign_Name1"] == "Autumn Fair"


def test_a_second_run_within_the_hour_meets_what_the_first_used(
    sandbox: Sandbox, run: Runner, share: Share, waiting: int
) -> None:
    share(ONE)
    run(Enrichment(slot=SLOT))
    before = changes(sandbox)

    assert isinstance(run.fails(Enrichment(slot=NEXT)), QuotaReached)

    assert changes(sandbox) == before


def test_a_rehearsal_counts_as_well(sandbox: Sandbox, run: Runner, share: Share, waiting: int) -> None:
    share(ONE)
    run(Enrichment(slot=SLOT, dry_run=True))

    assert isinstance(run.fails(Enrichment(slot=SLOT)), QuotaReached)

    assert changes(sandbox) == []
