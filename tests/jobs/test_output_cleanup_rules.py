"""What must stay stays, what may go goes: OutputCleanup's rules and removals on volumes that hypothesis makes up."""

import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from jobs.output_cleanup import removed
from jobs.output_survey import Rules, Survey, minute, survey
from scc.tasks.step import SLOT
from tests.jobs.volume import DAY, Volume

RETENTION = 90
DAYS = {"contact_pruning": 400}
PROCESSES = ["enrichment", "contact_pruning", "gone_long_ago"]


@dataclass(frozen=True)
class Made:
    """A slot as it was made. age, touched: days; what: what holds it back, or what lies in it."""

    age: int
    touched: int
    finished: bool
    rehearsal: int | None
    what: frozenset[str] = field(default_factory=frozenset)


slots = st.builds(
    Made,
    age=st.sampled_from([0, 1, 30, 89, 91, 200, 399, 401, 800]),
    touched=st.sampled_from([0, 60, 95, 405, 900]),
    finished=st.booleans(),
    rehearsal=st.none() | st.sampled_from([1, 89, 91, 500]),
    what=st.frozensets(st.sampled_from(["leased", "to settle", "nfs", "link", "broken link", "temporary"]), max_size=2),
)
volumes = st.fixed_dictionaries(
    {}, optional={process: st.lists(slots, max_size=4, unique_by=lambda slot: slot.age) for process in PROCESSES}
)


def made(volume: Volume, process: str, slot: Made, outside: Path, lease: int) -> Path:
    """Lay the slot down."""
    folder = volume.slot(slot.age, process, slot.finished)
    last_change = min(slot.age, slot.touched)
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (volume.now - last_change * DAY,) * 2)
    if slot.rehearsal is not None:
        volume.write(f"{process}/{folder.name}/dry-run/events/Decide.parquet", slot.rehearsal)
        for path in (folder, folder / "dry-run", folder / "dry-run" / "events"):
            os.utime(path, (volume.now - min(last_change, slot.rehearsal) * DAY,) * 2)
        for path in (folder / "dry-run", folder / "dry-run" / "events"):
            os.utime(path, (volume.now - slot.rehearsal * DAY,) * 2)
    events = folder / "events"
    if "nfs" in slot.what:
        (events / ".nfs0001").write_text("")
    if "link" in slot.what:
        (events / "link").symlink_to(outside)
    if "broken link" in slot.what:
        (folder / "events" / "broken").symlink_to(outside / "nowhere")
    if "temporary" in slot.what:
        (events / ".Fill.json.0123456789ab.tmp").write_text("half")
    for name in (".nfs0001", "link", "broken", ".Fill.json.0123456789ab.tmp"):
        if os.path.lexists(events / name):
            os.utime(events / name, (volume.now - max(last_change, 2) * DAY,) * 2, follow_symlinks=False)
    os.utime(events, (volume.now - last_change * DAY,) * 2)
    if "leased" in slot.what:
        volume.lease(lease, 0, folder.name, process, ends="")
    if "to settle" in slot.what:
        volume.write(f"{process}/unfinished/{folder.name}", 0, json.dumps({"state": f"{folder.name}/events/x.json"}))
    return folder


def may_go(slot: Made, process: str, last: bool) -> bool:
    """The promise, in other words than the code's."""
    newest = min([slot.age, slot.touched] + ([slot.rehearsal] if slot.rehearsal is not None else []))
    held = slot.what & {"leased", "to settle", "nfs"}
    return slot.finished and not held and not last and newest > DAYS.get(process, RETENTION)


def rehearsal_may_go(slot: Made, process: str) -> bool:
    days = DAYS.get(process, RETENTION)
    return slot.rehearsal is not None and min(slot.age, slot.rehearsal) > days and "nfs" not in slot.what


def clean_up(volume: Volume) -> Survey:
    """What a run does, without Luigi."""
    rules = Rules(volume.now, RETENTION, DAYS, lease_days=7, temporary_hours=24)
    found = survey(volume.root, rules)
    top = os.open(volume.root, os.O_RDONLY)
    try:
        assert {removed(volume.root, top, removal, rules) for removal in found.removals} <= {"removed"}
    finally:
        os.close(top)
    return found


@given(volumes)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_must_stay_stays_and_what_may_go_goes(processes: dict[str, list[Made]]) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"SCC_OUTPUTS": f"{folder}/outputs"}):
        volume = Volume(Path(folder) / "outputs", time.time() // 60 * 60)
        outside = Path(folder) / "outside"
        (outside / "deep").mkdir(parents=True)
        (outside / "deep" / "precious").write_text("all of it")
        volume.root.mkdir()
        (volume.root / "systems.json").write_text("{}")
        laid = {
            process: {made(volume, process, slot, outside, number): slot for number, slot in enumerate(slots, start=1)}
            for process, slots in processes.items()
        }

        found = clean_up(volume)

        assert (outside / "deep" / "precious").read_text() == "all of it"
        assert not list(volume.root.rglob("*.removing"))
        for process, of_process in laid.items():
            finished = [slot.age for slot in of_process.values() if slot.finished]
            for path, slot in of_process.items():
                last = slot.finished and slot.age == min(finished)
                goes = may_go(slot, process, last)
                assert path.exists() != goes, (process, slot)
                if not goes:
                    assert (path / "events" / "Export.parquet").stat().st_size == 1000
                    assert (path / "finished.json").exists() == slot.finished
                    assert os.path.lexists(path / "events" / "link") == ("link" in slot.what)
                    if slot.rehearsal is not None:
                        assert (path / "dry-run").exists() != rehearsal_may_go(slot, process), (process, slot)
                    busy = "leased" in slot.what or not slot.what.isdisjoint({"to settle"})
                    if "temporary" in slot.what:
                        assert (path / "events" / ".Fill.json.0123456789ab.tmp").exists() == busy
        days = {process: DAYS.get(process, RETENTION) for process in PROCESSES}
        assert sorted((one["process"], one["days"]) for one in found.unfinished) == sorted(
            (process, slot.age)
            for process, of_process in laid.items()
            for slot in of_process.values()
            if not slot.finished and slot.age > days[process]
        )
        assert clean_up(volume).removals == []


@pytest.mark.parametrize(
    ("name", "is_slot"),
    [
        ("2026-11-22T0615", True),
        ("1969-12-31T2359", True),
        ("2026-11-22T0660", False),
        ("2026-02-30T0615", False),
        ("2026-11-22T615", False),
        ("2026-1-22T0615", False),
        ("2026-11-22T0615 ", False),
        ("２026-11-22T0615", False),
        ("lease", False),
        ("", False),
    ],
)
def test_only_a_real_minute_names_a_slot(name: str, is_slot: bool) -> None:
    moment = minute(name)

    assert (moment is not None) == is_slot
    assert moment is None or time.strftime(SLOT, time.gmtime(moment)) == name
