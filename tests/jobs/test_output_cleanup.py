"""What OutputCleanup promises, through Luigi on real folders."""

import datetime as dt
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.enrichment import Enrichment
from jobs.output_cleanup import OutputCleanup, PlanRemovals
from scc import outputs
from scc.errors import ConfigError, LeaseHeld, SafetyStop
from scc.lease import Lease
from scc.sandbox import Sandbox
from tests import stack
from tests.canned import credentials  # noqa: F401 (a fixture)
from tests.components import require
from tests.conftest import Runner
from tests.jobs.test_enrichment import Add, add, campaign, configure  # noqa: F401 (fixtures)
from tests.jobs.volume import Volume

SLOT = dt.datetime(2026, 11, 22, 2, 43)
NAME = "2026-11-22T0243"


@pytest.fixture
def volume(credentials: object, outputs_folder: Path) -> Volume:  # noqa: F811 (a fixture)
    """An outputs folder on which only the clean-up ever ran."""
    outputs_folder.mkdir()
    return Volume(outputs_folder, time.time())


def test_finished_slots_go_when_they_are_past_their_retention(volume: Volume, run: Runner) -> None:
    old, young = volume.slot(91), volume.slot(89)

    run(OutputCleanup(slot=SLOT))

    assert not old.exists()
    assert (young / "finished.json").exists()


def test_a_process_has_a_retention_of_its_own(volume: Volume, run: Runner, settings: Callable[..., None]) -> None:
    settings("output_cleanup", "retention", '{"contact_pruning": 400, "enrichment": 7}')
    pruning, old_pruning = volume.slot(399, "contact_pruning"), volume.slot(401, "contact_pruning")
    enrichment, other = volume.slot(8), volume.slot(8, "bounce_cleanup")
    for process in ("contact_pruning", "enrichment", "bounce_cleanup"):
        volume.slot(1, process)

    run(OutputCleanup(slot=SLOT))

    assert pruning.exists()
    assert other.exists()
    assert not old_pruning.exists()
    assert not enrichment.exists()


def test_a_slot_whose_process_has_not_ended_stays_and_is_named(volume: Volume, run: Runner) -> None:
    open_slot = volume.slot(200, finished=False)
    volume.slot(1)

    run(OutputCleanup(slot=SLOT))

    assert (open_slot / "events" / "Export.parquet").exists()
    receipt = volume.receipt(NAME)
    assert receipt["unfinished"] == 1
    assert receipt["unfinished_slots"] == [{"process": "enrichment", "slot": open_slot.name, "days": 200}]
    assert receipt["oldest_unfinished_days"] == 200


@pytest.mark.parametrize(("read", "goes"), [(4, True), (6, False)])
def test_a_slot_that_a_later_one_made_up_for_goes(volume: Volume, run: Runner, read: int, goes: bool) -> None:
    """Under lease 5 a later slot was read and its process ended: it covers what was read before, not what was read since."""
    open_slot = volume.slot(200, finished=False, read=read)
    volume.slot(100, read=5)
    volume.slot(1, read=5)

    run(OutputCleanup(slot=SLOT))

    assert open_slot.exists() != goes
    assert volume.receipt(NAME)["unfinished"] == (0 if goes else 1)


def test_a_slot_with_an_import_to_settle_stays_though_a_later_one_has_ended(volume: Volume, run: Runner) -> None:
    open_slot = volume.slot(200, finished=False, read=4)
    volume.slot(1, read=5)
    volume.write("enrichment/unfinished/x.json", 200, json.dumps({"state": f"{open_slot.name}/events/x.json"}))

    run(OutputCleanup(slot=SLOT))

    assert open_slot.exists()


def test_a_slot_of_which_a_receipt_was_moved_away_is_not_finished(volume: Volume, run: Runner) -> None:
    slot = volume.slot(200)
    volume.slot(1)
    (slot / "events" / "Fill.json").unlink()
    volume.age(slot / "events", 200)

    run(OutputCleanup(slot=SLOT))

    assert slot.exists()


def test_the_last_finished_slot_stays_for_the_run_that_takes_up_there(volume: Volume, run: Runner) -> None:
    old, last = volume.slot(300), volume.slot(200)
    volume.slot(100, finished=False)

    run(OutputCleanup(slot=SLOT))

    assert not old.exists()
    assert last.exists()


def test_an_old_slot_that_was_run_again_yesterday_is_young(volume: Volume, run: Runner) -> None:
    slot = volume.slot(200)
    volume.write(f"enrichment/{slot.name}/late/Fill.json", 1)
    volume.slot(1)

    run(OutputCleanup(slot=SLOT))

    assert slot.exists()


def test_a_slot_that_a_run_works_on_stays(volume: Volume, run: Runner) -> None:
    worked_on, given_up, old = volume.slot(202), volume.slot(201), volume.slot(200)
    volume.slot(1)
    volume.lease(7, 0, worked_on.name, ends="")
    volume.lease(8, 0, given_up.name, ends="")
    volume.lease(9, 0, old.name)

    run(OutputCleanup(slot=SLOT))

    assert worked_on.exists()
    assert given_up.exists()
    assert not old.exists()


def test_a_slot_with_an_import_to_settle_stays(volume: Volume, run: Runner) -> None:
    slot, other = volume.slot(201), volume.slot(200)
    volume.slot(1)
    state = f"{slot.name}/events/Fill.filling.part-0001.json"
    pointer = volume.write("enrichment/unfinished/any name", 200, json.dumps({"state": state}))

    run(OutputCleanup(slot=SLOT))

    assert slot.exists()
    assert pointer.exists()
    assert not other.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"state": 3}', '{"state": "elsewhere/part.json"}', '{"old": "form"}'])
def test_a_pointer_that_cannot_be_read_keeps_every_slot_of_its_process(volume: Volume, run: Runner, text: str) -> None:
    slot, other = volume.slot(200), volume.slot(200, "bounce_cleanup")
    for process in ("enrichment", "bounce_cleanup"):
        volume.slot(1, process)
    volume.write("enrichment/unfinished/pointer", 200, text)

    run(OutputCleanup(slot=SLOT))

    assert slot.exists()
    assert not other.exists()


def test_rehearsals_go_by_themselves_finished_or_not(volume: Volume, run: Runner) -> None:
    old, young = volume.rehearsal(91), volume.rehearsal(89)
    beside_open = volume.slot(100, finished=False)
    in_open = volume.rehearsal(100)

    run(OutputCleanup(slot=SLOT))

    assert not old.exists()
    assert not in_open.exists()
    assert young.exists()
    assert (beside_open / "events" / "Export.parquet").exists()


def test_temporary_files_of_dead_runs_go(volume: Volume, run: Runner) -> None:
    name = volume.slot(5, finished=False).name
    dead = [
        volume.write(f"enrichment/{name}/events/.Export.parquet.0123456789ab.tmp", 2),
        volume.write(f"enrichment/{name}/events/Export.parquet-luigi-tmp-0123456789", 2),
        volume.write(f"enrichment/{name}/dry-run/.read.json.0123456789ab.tmp", 2),
        volume.write("enrichment/unfinished/.pointer.0123456789ab.tmp", 2),
        volume.write("enrichment/lease/.00000007.json.0123456789ab.tmp", 2),
        volume.write("enrichment/.slack.json.0123456789ab.tmp", 2),
        volume.write(".systems.json.0123456789ab.tmp", 2),
    ]
    os.utime(dead[-1], (volume.now - 2 * 86_400,) * 2)
    os.utime(dead[-2], (volume.now - 2 * 86_400,) * 2)
    kept = [
        volume.write(f"enrichment/{name}/events/.Decide.parquet.0123456789ab.tmp", 0.9),
        volume.write(f"enrichment/{name}/events/.hidden.tmp", 2),
        volume.write(f"enrichment/{name}/events/notes.tmp", 2),
    ]

    run(OutputCleanup(slot=SLOT))

    assert [path for path in dead if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []


def test_a_temporary_file_of_a_run_that_works_stays(volume: Volume, run: Runner) -> None:
    name = volume.slot(2, finished=False).name
    writing = volume.write(f"enrichment/{name}/events/.Export.parquet.0123456789ab.tmp", 2)
    volume.lease(7, 0, name, ends="")

    run(OutputCleanup(slot=SLOT))

    assert writing.exists()


def test_files_of_earlier_leases_go_and_the_highest_number_stays_for_ever(volume: Volume, run: Runner) -> None:
    slot = volume.slot(8, read=1).name
    for number in (1, 2, 3):
        volume.lease(number, 8, slot)
    volume.lease(4, 6, slot)
    volume.lease(5, 500, slot)

    run(OutputCleanup(slot=SLOT))

    left = {path for path in volume.paths() if path.startswith("enrichment/lease/")}
    assert left == {
        *("enrichment/lease/00000004.json", "enrichment/lease/00000004.released"),
        *("enrichment/lease/00000005.json", "enrichment/lease/00000005.released"),
    }


def test_writes_that_a_slot_may_be_compared_with_stay(volume: Volume, run: Runner) -> None:
    unfinished = volume.slot(60, finished=False, read=3).name
    first, second = volume.slot(30, read=1).name, volume.slot(20, read=6).name
    for number, slot in enumerate([first, first, first, first, first, second, second, second], start=1):
        volume.lease(number, 15, slot, ends="released wrote")
    volume.lease(9, 1, unfinished)

    run(OutputCleanup(slot=SLOT))

    kept = sorted(path[-14:-6] for path in volume.paths() if path.endswith(".wrote"))
    assert kept == [f"{number:08}" for number in (3, 4, 5, 6, 7, 8)]


def test_when_all_is_finished_the_last_writes_of_two_slots_stay(volume: Volume, run: Runner) -> None:
    first, second = volume.slot(30, read=1).name, volume.slot(20, read=6).name
    for number, slot in enumerate([first, first, second, first, second, second], start=1):
        volume.lease(number, 15, slot, ends="released wrote")

    run(OutputCleanup(slot=SLOT))

    assert {path for path in volume.paths() if path.endswith(".wrote")} == {
        f"enrichment/lease/{number:08}.wrote" for number in (4, 5, 6)
    }


def test_usage_of_past_hours_goes(volume: Volume, run: Runner) -> None:
    def hour(hours: float) -> str:
        return time.strftime("%Y-%m-%dT%H", time.gmtime(volume.now - hours * 3600))

    old = volume.write(f"enrichment/usage/{hour(4)}/run.json", 0)
    kept = [volume.write(f"enrichment/usage/{hour(hours)}/run.json", 0) for hours in (-1, 0, 1, 2)]
    odd = volume.write("enrichment/usage/2020-13-45T99/run.json", 100)

    run(OutputCleanup(slot=SLOT))

    assert not old.parent.exists()
    assert all(path.exists() for path in [*kept, odd])


def test_what_is_not_known_to_be_ours_is_counted_and_left(volume: Volume, run: Runner) -> None:
    volume.slot(200, "Backup")
    volume.write("archive/2020-01-01/profiles.parquet", 2000)
    volume.write("notes.txt", 2000)
    volume.slot(1)
    volume.write("enrichment/keys/key.json", 2000)
    volume.write("enrichment/2020-99-99T9999/finished.json", 2000)
    volume.write("enrichment/notes.txt", 2000)
    volume.write("enrichment/slack.json", 2000)
    before = volume.paths()

    run(OutputCleanup(slot=SLOT))

    assert volume.paths() == before
    assert volume.receipt(NAME)["unknown"] == 6


def test_links_are_removed_as_links_and_never_followed(volume: Volume, run: Runner, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    precious = outside / "precious.json"
    outside.mkdir()
    precious.write_text("{}")
    slot = volume.slot(200)
    for name, target in (("folder", outside), ("file", precious), ("broken", tmp_path / "nowhere")):
        (slot / "events" / name).symlink_to(target)
        volume.age(slot / "events" / name, 200)
    volume.slot(1)
    elsewhere = Volume(outside, volume.now).slot(300)
    linked_slot = volume.root / "enrichment" / volume.slot_name(300)
    linked_slot.symlink_to(elsewhere)
    linked_process = volume.root / "bounce_cleanup"
    linked_process.symlink_to(outside / "enrichment")
    linked_temporary = volume.root / "enrichment" / ".notes.0123456789ab.tmp"
    linked_temporary.symlink_to(precious)
    os.utime(linked_temporary, (0, 0), follow_symlinks=False)

    run(OutputCleanup(slot=SLOT))

    assert not slot.exists()
    assert precious.exists()
    assert (elsewhere / "finished.json").exists()
    assert all(path.is_symlink() for path in (linked_slot, linked_process, linked_temporary))
    assert volume.receipt(NAME)["outcome"] == "done"


def test_a_slot_of_which_a_client_has_a_removed_file_open_waits(volume: Volume, run: Runner) -> None:
    slot = volume.slot(200)
    volume.write(f"enrichment/{slot.name}/events/.nfs000000000001", 200)
    volume.slot(1)

    run(OutputCleanup(slot=SLOT))

    assert (slot / "finished.json").exists()
    assert (slot / "events" / ".nfs000000000001").exists()


def test_the_receipt_counts_files_and_bytes_by_process_and_kind(volume: Volume, run: Runner) -> None:
    gone = [volume.slot(201), volume.slot(200), volume.slot(200, "bounce_cleanup"), volume.rehearsal(150)]
    files = [path for folder in gone for path in folder.rglob("*") if path.is_file()]
    sizes = {folder: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) for folder in gone}
    volume.slot(1)
    volume.slot(1, "bounce_cleanup")
    temporary = volume.write("enrichment/unfinished/.a.0123456789ab.tmp", 2, "12345")
    volume.write("enrichment/usage/2026-01-01T00/run.json", 2, "123")

    run(OutputCleanup(slot=SLOT))

    receipt = volume.receipt(NAME)
    assert receipt["removed"] == {
        "bounce_cleanup": {"slot": {"removals": 1, "files": 3, "bytes": sizes[gone[2]]}},
        "enrichment": {
            "slot": {"removals": 2, "files": 6, "bytes": sizes[gone[0]] + sizes[gone[1]]},
            "rehearsal": {"removals": 1, "files": 1, "bytes": 500},
            "temporary": {"removals": 1, "files": 1, "bytes": 5},
            "usage": {"removals": 1, "files": 1, "bytes": 3},
        },
    }
    assert (receipt["outcome"], receipt["planned"], receipt["deleted"]) == ("done", 6, 6)
    assert not temporary.exists()
    assert not any(path.exists() for path in files)


def test_a_rehearsal_says_what_would_go_and_removes_nothing(volume: Volume, run: Runner) -> None:
    slot = volume.slot(200)
    volume.slot(1)
    volume.lease(1, 100, slot.name)
    volume.lease(2, 100, slot.name)
    before = volume.paths()

    run(OutputCleanup(slot=SLOT, dry_run=True))

    assert volume.paths() == before
    receipt = volume.receipt(NAME, dry_run=True)
    assert receipt["outcome"] == "rehearsed"
    assert receipt["removed"]["enrichment"]["slot"]["files"] == 3
    assert receipt["removed"]["enrichment"]["lease"]["files"] == 2
    plan = json.loads((volume.root / "output_cleanup" / NAME / "dry-run" / "PlanRemovals.json").read_text())
    assert f"enrichment/{slot.name}" in [removal["path"] for removal in plan["removals"]]


def test_a_slot_that_was_cleaned_up_is_not_cleaned_up_twice(volume: Volume, run: Runner) -> None:
    volume.slot(200)
    volume.slot(1)
    run(OutputCleanup(slot=SLOT))
    receipt, before = volume.receipt(NAME), volume.paths()
    late = volume.slot(300)

    run(OutputCleanup(slot=SLOT))

    assert late.exists()
    assert volume.receipt(NAME) == receipt
    assert before < volume.paths()


def test_its_own_outputs_have_a_retention_too(volume: Volume, run: Runner) -> None:
    old = volume.slot(100, "output_cleanup")
    volume.slot(1, "output_cleanup")

    run(OutputCleanup(slot=SLOT))

    assert not old.exists()


def test_a_run_of_an_old_slot_keeps_its_own_outputs(volume: Volume, run: Runner) -> None:
    run(OutputCleanup(slot=dt.datetime(2020, 1, 1)))

    assert volume.receipt("2020-01-01T0000")["outcome"] == "done"


def test_too_many_removals_stop_the_run_before_the_first(
    volume: Volume, run: Runner, settings: Callable[..., None]
) -> None:
    settings("output_cleanup", "max_removed_count", 5)
    slots = [volume.slot(200), volume.slot(201)]
    volume.slot(1)

    error = run.fails(OutputCleanup(slot=SLOT))

    assert isinstance(error, SafetyStop)
    # with the two that the run itself has left so far
    assert "6 of 11 files would be removed, limit 50% and 5" in str(error)
    assert all(slot.exists() for slot in slots)

    settings("output_cleanup", "max_removed_count", 6)
    run(OutputCleanup(slot=SLOT))
    assert not any(slot.exists() for slot in slots)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("default_retention", "0", "default_retention must be at least 1"),
        ("lease_days", "-1", "lease_days must be at least 1"),
        ("temporary_hours", "many", "the others are numbers"),
        ("retention", '{"enrichment": 0}', "retention of enrichment must be whole days, at least 1"),
        ("retention", '{"enrichment": "7"}', "retention of enrichment must be whole days, at least 1"),
        ("retention", '{"enrichment": true}', "retention of enrichment must be whole days, at least 1"),
        ("retention", "enrichment: 7", "retention is like"),
        ("retention", "[7]", "retention is like"),
    ],
)
def test_a_bad_setting_is_one_sentence_and_removes_nothing(
    volume: Volume, run: Runner, settings: Callable[..., None], name: str, value: str, sentence: str
) -> None:
    settings("output_cleanup", name, value)
    slot = volume.slot(200)
    volume.slot(1)

    error = run.fails(OutputCleanup(slot=SLOT))

    assert isinstance(error, ConfigError)
    assert sentence in str(error)
    assert slot.exists()


def test_no_two_clean_ups_work_at_once(volume: Volume, run: Runner) -> None:
    slot = volume.slot(200)
    volume.slot(1)
    outputs.root()
    holder = Lease(volume.root / "output_cleanup" / "lease", "output_cleanup", NAME)
    try:
        error = run.fails(OutputCleanup(slot=SLOT))
    finally:
        holder.release()

    assert isinstance(error, LeaseHeld)
    assert slot.exists()


def test_what_changed_after_it_was_planned_is_looked_at_again(volume: Volume, run: Runner) -> None:
    vanished, touched, leased, opened, plain = (volume.slot(age) for age in (205, 204, 203, 202, 201))
    rehearsed = volume.rehearsal(200)
    temporary = volume.write("enrichment/unfinished/.a.0123456789ab.tmp", 2)
    volume.slot(1)
    volume.lease(1, 8, leased.name)
    volume.lease(2, 8, leased.name)
    run(PlanRemovals(slot=SLOT))

    shutil.rmtree(vanished)
    (touched / "events" / "Fill.json").write_text("{}")
    volume.lease(3, 0, leased.name, ends="")
    (opened / "finished.json").unlink()
    volume.age(opened, 202)
    (rehearsed / "events" / "Decide.parquet").write_text("")
    temporary.write_text("{}")
    (volume.root / "enrichment" / "lease" / "00000001.json").touch()
    run(OutputCleanup(slot=SLOT))

    assert all(path.exists() for path in (touched, leased, opened, rehearsed, temporary))
    assert not plain.exists()
    receipt = volume.receipt(NAME)
    assert (receipt["planned"], receipt["deleted"], receipt["unchanged"], receipt["deferred"]) == (9, 2, 1, 6)


def test_a_link_put_in_the_place_of_a_folder_since_the_plan_is_not_followed(
    volume: Volume, run: Runner, tmp_path: Path
) -> None:
    slot = volume.slot(200)
    volume.slot(1)
    temporary = volume.write("bounce_cleanup/lease/.00000001.json.0123456789ab.tmp", 2)
    run(PlanRemovals(slot=SLOT))
    outside = tmp_path / "outside"
    (volume.root / "enrichment").rename(outside)
    (volume.root / "enrichment").symlink_to(outside)

    run(OutputCleanup(slot=SLOT))

    assert (outside / slot.name / "finished.json").exists()
    assert not temporary.exists()
    receipt = volume.receipt(NAME)
    assert (receipt["outcome"], receipt["rejected"], receipt["reasons"]) == ("partly", 1, {"ENOTDIR": 1})


def test_an_empty_slot_goes_and_is_not_called_unfinished(volume: Volume, run: Runner) -> None:
    slot = volume.root / "enrichment" / volume.slot_name(200)
    (slot / "events").mkdir(parents=True)
    volume.age(slot / "events", 200)

    run(OutputCleanup(slot=SLOT))

    assert not slot.exists()
    assert volume.receipt(NAME)["unfinished"] == 0


def test_the_figures_of_the_volume_reach_the_pushgateway(
    volume: Volume, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume.slot(200)
    volume.slot(150, finished=False)
    volume.slot(1)
    require("prometheus-pushgateway")
    with stack.pushgateway() as gateway:
        monkeypatch.setenv("PUSHGATEWAY_URL", gateway.url)
        run(OutputCleanup(slot=SLOT))
        lines = stack.get(f"{gateway.url}/metrics").decode().splitlines()

    figures = {line.partition("{")[0]: float(line.rsplit(" ", 1)[1]) for line in lines if "OutputCleanup" in line}
    assert figures["scc_output_cleanup_removed_files"] == 3
    assert figures["scc_output_cleanup_removed_bytes"] > 1000
    assert figures["scc_output_cleanup_unfinished_slots"] == 1
    assert figures["scc_output_cleanup_oldest_unfinished_seconds"] == 150 * 86_400
    assert figures["scc_output_cleanup_files"] > 6
    assert figures["scc_output_cleanup_bytes"] > 3000


def test_a_real_process_goes_when_it_is_old_and_finished_and_only_then(
    sandbox: Sandbox,
    outputs_folder: Path,
    run: Runner,
    add: Add,  # noqa: F811 (fixtures)
    campaign: str,  # noqa: F811 (fixtures)
) -> None:
    add(campaign)
    slots = [dt.datetime(2026, 5, 1, hour) for hour in (1, 2, 3)]
    for slot in slots:
        run(Enrichment(slot=slot))
    first, last, failed = (outputs_folder / "enrichment" / f"{slot:%Y-%m-%dT%H%M}" for slot in slots)
    (failed / "event_registration" / "Fill.json").unlink()
    for path in (outputs_folder / "enrichment").rglob("*"):
        os.utime(path, (time.time() - 200 * 86_400,) * 2)

    run(OutputCleanup(slot=SLOT))

    assert not first.exists()
    assert (failed / "event_registration" / "ExportWaiting.parquet").exists()
    assert last.exists()
    run(Enrichment(slot=SLOT))
