"""OutputCleanup on volumes that resist it, and killed in its middle: real processes on real folders."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.canned import CREDENTIALS
from tests.jobs.volume import Volume

ROOT = Path(__file__).parents[2]
FIRST, SECOND = "2026-11-22T0243", "2026-11-23T0243"
# kills itself before the so many-th change below an open folder, which is how removals are made
KILLED = """
import os, shutil, signal, sys
left = int(sys.argv.pop(1))
def fatal(change):
    def counted(*arguments, **keywords):
        global left
        if keywords.get("dir_fd") is not None or "src_dir_fd" in keywords:
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return change(*arguments, **keywords)
    return counted
os.unlink, os.rmdir, os.rename = fatal(os.unlink), fatal(os.rmdir), fatal(os.rename)
import luigi
luigi.run()
"""


@dataclass
class Ended:
    """A run that ended: its exit code, what it said, and the verdict it left for bin/run-job."""

    code: int
    text: str
    verdict: str


@dataclass
class Cleanup:
    """Runs the process on a volume as the command line does, without root's power to write anywhere."""

    folder: Path
    volume: Volume

    def run(self, slot: str, *start: str) -> Ended:
        """Run a slot. start: what to start Python with instead of luigi."""
        config = (ROOT / "luigi.cfg").read_text().replace("\nlifetime = 150", "\nlifetime = 0.5")
        (self.folder / "luigi.cfg").write_text(config)
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("SCC_", "LUIGI"))}
        environment = {
            **keep,
            **CREDENTIALS,
            "PYTHONPATH": str(ROOT),
            "LUIGI_CONFIG_PATH": str(self.folder / "luigi.cfg"),
            "SCC_OUTPUTS": str(self.volume.root),
            "SCC_VERDICT_FILE": str(self.folder / "verdict"),
        }
        (self.folder / "verdict").write_text("")
        powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
        options = ["--module", "jobs.output_cleanup", "OutputCleanup", "--slot", slot, "--local-scheduler"]
        ended = subprocess.run(
            [*powerless, sys.executable, *(start or ("-m", "luigi")), *options],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Ended(ended.returncode, ended.stdout + ended.stderr, (self.folder / "verdict").read_text())


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    root = tmp_path / "outputs"
    root.mkdir()
    yield Volume(root, time.time())
    for folder, _, _ in os.walk(root):
        Path(folder).chmod(0o755)


@pytest.fixture
def cleanup(tmp_path: Path, volume: Volume) -> Cleanup:
    return Cleanup(tmp_path, volume)


def test_what_cannot_be_removed_is_reported_and_the_rest_goes(cleanup: Cleanup, volume: Volume) -> None:
    stubborn, other = volume.slot(201), volume.slot(200)
    volume.slot(1)
    (stubborn / "events").chmod(0o555)

    ended = cleanup.run(FIRST)

    assert ended.code == 0 and "outcome=partly\n" in ended.verdict, ended.text
    assert "Traceback" not in ended.text
    assert not other.exists()
    assert not stubborn.exists()  # under its name nobody finds a half of it
    remains = volume.root / "enrichment" / f".{stubborn.name}.removing"
    assert (remains / "events" / "Export.parquet").exists()
    receipt = volume.receipt(FIRST)
    assert (receipt["deleted"], receipt["rejected"], receipt["reasons"]) == (1, 1, {"EACCES": 1})

    (remains / "events").chmod(0o755)
    ended = cleanup.run(SECOND)

    assert ended.code == 0
    assert not remains.exists()
    assert volume.receipt(SECOND)["removed"]["enrichment"]["remains"]["removals"] == 1


def test_a_folder_that_cannot_be_looked_at_keeps_its_slot_and_is_reported(cleanup: Cleanup, volume: Volume) -> None:
    closed, locked, other = volume.slot(202), volume.slot(201), volume.slot(200)
    volume.slot(1)
    (locked / "finished.json").chmod(0)
    secret = volume.root / "bounce_cleanup"
    volume.slot(200, "bounce_cleanup")
    (closed / "events").chmod(0)
    secret.chmod(0)

    ended = cleanup.run(FIRST)

    assert ended.code == 0 and "outcome=partly\n" in ended.verdict, ended.text
    assert "Traceback" not in ended.text
    assert (closed / "finished.json").exists()
    assert not other.exists()
    assert (locked / "finished.json").exists()
    assert volume.receipt(FIRST)["reasons"] == {"EACCES": 2, "unreadable": 1}


def test_a_run_that_can_remove_nothing_fails(cleanup: Cleanup, volume: Volume) -> None:
    slot = volume.slot(200)
    volume.slot(1)
    (volume.root / "enrichment").chmod(0o555)

    ended = cleanup.run(FIRST)

    assert ended.code == 30
    assert "1 of 1 records were rejected" in ended.text
    assert "Traceback" not in ended.text
    assert (slot / "finished.json").exists()

    (volume.root / "enrichment").chmod(0o755)
    assert cleanup.run(FIRST).code == 0
    assert not slot.exists()


def test_a_volume_of_which_nothing_can_be_looked_at_is_one_sentence(cleanup: Cleanup, volume: Volume) -> None:
    volume.slot(200)
    cleanup.run(FIRST)
    shutil.rmtree(volume.root / "output_cleanup")
    volume.root.chmod(0o300)

    ended = cleanup.run(SECOND)

    assert "exit_code=78\n" in ended.verdict
    assert "cannot be written (EACCES)" in ended.text
    assert "Traceback" not in ended.text


@pytest.mark.parametrize("changes", [0, 1, 6, 9, 14, 20])
def test_a_run_that_was_killed_leaves_no_half_slots_and_the_next_goes_on(
    cleanup: Cleanup, volume: Volume, changes: int
) -> None:
    slots = {volume.slot(age, read=1): None for age in (201, 202, 203)}
    rehearsal = volume.rehearsal(150)
    for slot in slots:
        slots[slot] = sorted(path.name for path in slot.rglob("*"))
    volume.slot(1, read=2)
    (cleanup.folder / "killed.py").write_text(KILLED)

    killed = cleanup.run(FIRST, str(cleanup.folder / "killed.py"), str(changes))

    assert killed.code == -signal.SIGKILL, killed.text
    left = [slot for slot in slots if slot.exists()]
    begun = list(volume.root.glob("*/.*.removing"))
    assert left or begun or rehearsal.exists()
    assert [sorted(path.name for path in slot.rglob("*")) for slot in left] == [slots[slot] for slot in left]

    before = len(left) + len(begun) + rehearsal.exists()
    ended = cleanup.run(FIRST)

    assert ended.code == 0, ended.text
    assert not any(slot.exists() for slot in slots)
    assert not rehearsal.exists()
    assert not list(volume.root.glob("*/.*.removing"))
    receipt = volume.receipt(FIRST)
    # what was removed whole, and not yet noted down, is found gone
    gone = len(slots) + 1 - before
    assert (receipt["planned"], receipt["deleted"], receipt["unchanged"]) == (4, 4 - gone, gone)


def test_what_a_killed_run_left_aside_goes_with_the_next_slot(cleanup: Cleanup, volume: Volume) -> None:
    slot = volume.slot(200)
    volume.slot(1)
    (cleanup.folder / "killed.py").write_text(KILLED)
    cleanup.run(FIRST, str(cleanup.folder / "killed.py"), "2")
    aside = volume.root / "enrichment" / f".{slot.name}.removing"
    assert aside.exists()

    ended = cleanup.run(SECOND)

    assert ended.code == 0, ended.text
    assert not aside.exists()
    assert json.loads((volume.root / "output_cleanup" / SECOND / "finished.json").read_text())
