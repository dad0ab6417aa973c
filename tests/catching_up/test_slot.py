"""Which reads are too old to write from, and what is kept of them."""

import json
from pathlib import Path

import pytest

from scc.catching_up import Slot
from scc.errors import Superseded

OLD, NEW = "2026-11-22T0515", "2026-11-22T0615"
RECEIPT = {"outcome": "done", "planned": 1}


@pytest.fixture
def process(outputs_folder: Path) -> Path:
    """The folder of a process."""
    (outputs_folder / "systems.json").parent.mkdir(parents=True)
    (outputs_folder / "systems.json").write_text("{}")
    return outputs_folder / "enrichment"


def begun(process: Path, slot: str, number: int) -> Slot:
    """A run of the slot under lease `number`, from its start."""
    run = Slot(process, slot)
    run.is_superseded()
    run.begin(number)
    return run


def write(path: Path, content: object = "rows") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_a_read_is_too_old_once_another_slots_run_wrote(process: Path) -> None:
    begun(process, OLD, 1)
    begun(process, NEW, 2).mark_write(2)

    assert Slot(process, OLD).is_superseded()
    assert not Slot(process, NEW).is_superseded()


def test_a_slots_own_writes_do_not_make_its_read_too_old(process: Path) -> None:
    begun(process, OLD, 1).mark_write(1)
    begun(process, OLD, 2).mark_write(2)

    assert not Slot(process, OLD).is_superseded()


def test_a_read_after_the_last_write_is_fresh(process: Path) -> None:
    begun(process, OLD, 1).mark_write(1)
    begun(process, NEW, 2)

    assert not Slot(process, NEW).is_superseded()


def test_another_slots_write_counts_though_our_own_is_newer(process: Path) -> None:
    begun(process, OLD, 1)
    begun(process, NEW, 2).mark_write(2)
    Slot(process, OLD).mark_write(3)

    assert Slot(process, OLD).is_superseded()


def test_the_newest_write_of_another_slot_counts(process: Path) -> None:
    begun(process, NEW, 1).mark_write(1)
    begun(process, OLD, 2)
    Slot(process, NEW).mark_write(3)

    assert Slot(process, OLD).is_superseded()


def test_the_number_of_a_reading_stays_when_its_slot_goes_on(process: Path) -> None:
    begun(process, OLD, 1)
    begun(process, OLD, 2)
    Slot(process, NEW).mark_write(2)

    assert Slot(process, OLD).is_superseded()


def test_outputs_of_unknown_age_are_too_old_as_soon_as_anybody_wrote(process: Path) -> None:
    write(process / OLD / "event" / "Decide.parquet")
    Slot(process, NEW).mark_write(1)

    assert Slot(process, OLD).is_superseded()


def test_a_slot_of_which_nothing_was_read_is_not_too_old(process: Path) -> None:
    write(process / OLD / "dry-run" / "event" / "Decide.parquet")
    Slot(process, NEW).mark_write(1)

    assert not Slot(process, OLD).is_superseded()


def test_what_is_too_old_is_set_aside_whole(process: Path) -> None:
    begun(process, OLD, 1)
    write(process / OLD / "event" / "Decide.parquet", "old")
    write(process / OLD / "Check.json", "old")
    begun(process, NEW, 2).mark_write(2)

    begun(process, OLD, 3)

    aside = process / OLD / "superseded" / "00000003"
    assert json.loads((aside / "event" / "Decide.parquet").read_text()) == "old"
    assert json.loads((aside / "Check.json").read_text()) == "old"
    assert not (process / OLD / "event" / "Decide.parquet").exists()
    assert not Slot(process, OLD).is_superseded()


def test_receipts_and_what_lies_beside_them_stay(process: Path) -> None:
    begun(process, OLD, 1)
    receipt = write(process / OLD / "event" / "Fill.json", RECEIPT)
    rejects = write(process / OLD / "event" / "Fill.rejects.parquet")
    failed = write(process / OLD / "other" / "Fill.failed.json", {**RECEIPT, "outcome": "failed"})
    begun(process, NEW, 2).mark_write(2)

    begun(process, OLD, 3)

    assert receipt.exists()
    assert rejects.exists()
    assert not failed.exists()


def test_rehearsals_and_what_was_set_aside_before_stay_where_they_are(process: Path) -> None:
    begun(process, OLD, 1)
    rehearsal = write(process / OLD / "dry-run" / "event" / "Decide.parquet")
    earlier = write(process / OLD / "superseded" / "00000001" / "Decide.parquet")
    begun(process, NEW, 2).mark_write(2)

    begun(process, OLD, 3)

    assert rehearsal.exists()
    assert earlier.exists()


def test_a_run_that_counted_on_outputs_before_another_wrote_stops(process: Path) -> None:
    begun(process, OLD, 1)
    decided = write(process / OLD / "event" / "Decide.parquet")
    waiting = Slot(process, OLD)
    assert not waiting.is_superseded()  # Luigi plans; then the run waits for its lease
    begun(process, NEW, 2).mark_write(2)

    with pytest.raises(Superseded, match="nothing was changed"):
        waiting.begin(3)

    assert not decided.exists()
    begun(process, OLD, 4)  # the next try reads again


def test_setting_aside_goes_on_where_a_killed_run_stopped(process: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(process, OLD, 1)
    for name in "abc":
        write(process / OLD / name / "Decide.parquet")
    begun(process, NEW, 2).mark_write(2)
    whole, moved = Path.rename, []

    def rename(path: Path, target: Path) -> None:
        if len(moved) == 1:
            raise KeyboardInterrupt
        moved.append(path)
        whole(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", rename)
        begun(process, OLD, 3)
    begun(process, OLD, 4)

    assert not list((process / OLD).glob("[abc]/*"))
    assert len(list((process / OLD / "superseded").glob("*/*/Decide.parquet"))) == 3
