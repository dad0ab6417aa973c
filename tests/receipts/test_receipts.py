"""A receipt adds up, or there is none."""

import json
from pathlib import Path
from typing import Any

import pytest

from scc.errors import Unaccounted
from scc.receipts import Counts, Receipt

ABOUT = {"process": "enrichment", "dry_run": False}


@pytest.fixture
def receipt(tmp_path: Path) -> Receipt:
    return Receipt(tmp_path / "Fill.json")


def document(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@pytest.mark.parametrize("outcome", ["created", "updated", "deleted", "unchanged", "rejected", "deferred"])
def test_every_planned_record_has_one_outcome(outcome: str) -> None:
    Counts(planned=3, **{outcome: 3}).check()

    for planned in (2, 4):
        with pytest.raises(Unaccounted, match=f"{planned} records were planned, but .*3 {outcome}.* make 3"):
            Counts(planned=planned, **{outcome: 3}).check()


def test_a_settled_receipt_says_what_was_done(receipt: Receipt) -> None:
    outcome = receipt.settle(Counts(planned=3, updated=2, deferred=1, reasons={"unknown key": 1}), 0.05, ABOUT)

    assert outcome == "done"
    assert document(receipt.path) == {
        "process": "enrichment",
        "dry_run": False,
        "outcome": "done",
        "planned": 3,
        "created": 0,
        "updated": 2,
        "deleted": 0,
        "unchanged": 0,
        "rejected": 0,
        "deferred": 1,
        "reasons": {"unknown key": 1},
    }


def test_counts_that_do_not_add_up_leave_no_receipt_but_the_evidence(receipt: Receipt) -> None:
    with pytest.raises(Unaccounted, match="4 records were planned"):
        receipt.settle(Counts(planned=4, updated=3), 1.0, ABOUT)

    assert not receipt.path.exists()
    assert document(receipt.path.with_name("Fill.failed.json"))["outcome"] == "failed"


@pytest.mark.parametrize(("rejected", "ends"), [(0, "done"), (5, "partly")])
def test_rejects_within_the_limit_end_partly(receipt: Receipt, rejected: int, ends: str) -> None:
    assert receipt.settle(Counts(planned=100, updated=100 - rejected, rejected=rejected), 0.05, ABOUT) == ends
    assert document(receipt.path)["outcome"] == ends


def test_rejects_above_the_limit_fail_and_are_named(receipt: Receipt) -> None:
    with pytest.raises(Unaccounted, match=r"6 of 100 records were rejected, limit 5\.0%.*Fill\.rejects\.parquet"):
        receipt.settle(Counts(planned=100, updated=94, rejected=6), 0.05, ABOUT)

    assert not receipt.path.exists()
    assert document(receipt.path.with_name("Fill.failed.json"))["rejected"] == 6


def test_nothing_to_do_is_done(receipt: Receipt) -> None:
    assert receipt.settle(Counts(planned=0), 0.05, ABOUT) == "done"


def test_a_rehearsal_never_says_done(receipt: Receipt) -> None:
    counts = Counts(planned=100, updated=99, rejected=1)

    assert receipt.settle(counts, 0.05, {"dry_run": True}) == "rehearsed"
    assert document(receipt.path)["outcome"] == "rehearsed"
