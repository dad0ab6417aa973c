"""One writer per process: who gets the lease, who keeps it, and who must stop."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scc.errors import LeaseHeld, LeaseLost, VolumeUnavailable
from scc.lease import Lease
from tests.canned import Clock, clock_of  # noqa: F401 (a fixture)

LIFETIME = 1.0
HOLDER = """
import sys, luigi
from pathlib import Path
luigi.configuration.get_config().set("lease", "lifetime", sys.argv[2])
from scc.lease import Lease
lease = Lease(Path(sys.argv[1]), "enrichment", "2026-11-22T0615")
print("held", flush=True)
for line in sys.stdin:
    try:
        lease.check()
        print("mine", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
"""


@pytest.fixture(autouse=True)
def _lifetime(settings: Callable[[str, str, object], None]) -> None:
    settings("lease", "lifetime", LIFETIME)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "enrichment" / "lease"


@pytest.fixture
def take(folder: Path) -> Iterator[Callable[[], Lease]]:
    """take() the lease; released in the end."""
    taken: list[Lease] = []

    def one() -> Lease:
        taken.append(Lease(folder, "enrichment", "2026-11-22T0615"))
        return taken[-1]

    yield one
    for lease in taken:
        lease.release()


@pytest.fixture
def holder(folder: Path) -> Iterator["Holder"]:
    """Another process of this machine that holds the lease."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(LIFETIME)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield Holder(process)
        process.kill()


class Holder:
    """The other process."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process

    def signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def check(self) -> str:
        """What its check says: "mine" or the error."""
        self._process.stdin.write("check\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def fails(lease: Lease) -> bool:
    try:
        lease.check()
    except LeaseLost:
        return True
    return False


def renewals(folder: Path, number: int = 1) -> int:
    return json.loads((folder / f"{number:08}.json").read_text())["renewals"]


def compete(folder: Path, start: object, results: object) -> None:
    start.wait()
    try:
        Lease(folder, "enrichment", "2026-11-22T0615")
        results.put("won")
    except LeaseHeld:
        results.put("held")
    signal.pause()  # the test ends it


def test_the_first_run_gets_the_lease_and_may_write(take: Callable[[], Lease], folder: Path) -> None:
    lease = take()

    lease.check()
    assert lease.number == 1
    assert json.loads((folder / "00000001.json").read_text())["slot"] == "2026-11-22T0615"


def test_of_many_runs_that_start_at_once_one_wins(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Event(), context.Queue()
    runs = [context.Process(target=compete, args=(folder, start, results), daemon=True) for _ in range(8)]
    for run in runs:
        run.start()
    start.set()

    outcomes = sorted(results.get(timeout=30) for _ in runs)

    for run in runs:
        run.kill()
        run.join()
    assert outcomes == ["held"] * 7 + ["won"]


def test_a_second_run_is_turned_away_while_the_first_works(take: Callable[[], Lease], folder: Path) -> None:
    first = take()

    with pytest.raises(LeaseHeld, match="another run of enrichment is working"):
        take()

    first.check()
    assert not (folder / "00000002.json").exists()


def test_a_released_lease_is_free_at_once(
    take: Callable[[], Lease], folder: Path, settings: Callable[..., None]
) -> None:
    settings("lease", "lifetime", 1000)  # nobody could wait for that
    take().release()

    second = take()

    second.check()
    assert second.number == 2


def test_a_run_may_not_write_after_it_released(take: Callable[[], Lease]) -> None:
    lease = take()
    lease.release()

    with pytest.raises(LeaseLost):
        lease.check()


def test_releasing_twice_is_releasing_once(take: Callable[[], Lease]) -> None:
    lease = take()
    lease.release()
    lease.release()


def test_a_working_run_keeps_its_lease_for_many_lifetimes(take: Callable[[], Lease], folder: Path) -> None:
    lease = take()

    until(lambda: renewals(folder) >= 8)  # five a lifetime

    lease.check()


def test_a_killed_run_is_succeeded(take: Callable[[], Lease], holder: "Holder") -> None:
    holder.signal(signal.SIGKILL)

    take().check()


def test_a_stopped_run_is_succeeded_and_may_not_write_when_it_goes_on(
    take: Callable[[], Lease], holder: "Holder", folder: Path
) -> None:
    assert holder.check() == "mine"
    holder.signal(signal.SIGSTOP)

    successor = take()
    holder.signal(signal.SIGCONT)

    assert holder.check() == "LeaseLost"
    assert successor.number == 2
    before = renewals(folder, 2)
    until(lambda: renewals(folder, 2) >= before + 5)  # a lifetime: the first one had time to interfere
    successor.check()
    assert holder.check() == "LeaseLost"


def test_a_run_that_slept_for_a_lifetime_has_lost_its_lease_for_good(
    take: Callable[[], Lease],
    clock_of: Callable[[str], Clock],  # noqa: F811
    folder: Path,
) -> None:
    clock = clock_of("scc.lease")
    lease = take()

    clock.now += LIFETIME * 1.1  # nobody took over, but somebody may be about to
    until(lambda: "lease" not in [thread.name for thread in threading.enumerate()])

    assert fails(lease)
    lease.release()
    assert not (folder / "00000001.released").exists()


def test_a_run_that_cannot_renew_stops_before_anybody_takes_over(take: Callable[[], Lease], folder: Path) -> None:
    lease = take()
    moved = folder.with_name("gone")
    folder.rename(moved)
    folder.write_text("no folder: nothing can be written here")

    until(lambda: fails(lease))

    folder.unlink()
    moved.rename(folder)


def test_a_run_that_could_not_renew_for_a_moment_goes_on(
    take: Callable[[], Lease], folder: Path, settings: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    settings("lease", "lifetime", 2)
    lease = take()
    moved = folder.with_name("gone")
    folder.rename(moved)
    folder.write_text("no folder: nothing can be written here")
    until(lambda: "could not be renewed" in caplog.text)
    folder.unlink()
    moved.rename(folder)
    before = renewals(folder)

    until(lambda: renewals(folder) > before)

    lease.check()


def test_a_run_whose_successor_is_at_work_may_not_write(take: Callable[[], Lease], folder: Path) -> None:
    lease = take()
    shutil.copy(folder / "00000001.json", folder / "00000002.json")

    until(lambda: fails(lease))


def test_a_lease_that_is_nearly_over_does_not_suffice(
    take: Callable[[], Lease],
    clock_of: Callable[[str], Clock],  # noqa: F811
    settings: Callable[..., None],
) -> None:
    settings("lease", "lifetime", 100)
    clock = clock_of("scc.lease")
    lease = take()

    clock.now += 74
    lease.check()
    clock.now += 2
    with pytest.raises(LeaseLost, match="enrichment"):
        lease.check()


def test_a_silent_run_is_succeeded_also_on_a_slow_volume(
    take: Callable[[], Lease],
    holder: "Holder",
    clock_of: Callable[[str], Clock],  # noqa: F811
) -> None:
    holder.signal(signal.SIGKILL)
    clock_of("scc.lease").drift = 0.05  # each look takes longer than the newcomer waits between two

    assert take().number == 2


def test_a_volume_that_does_not_answer_gives_no_lease(take: Callable[[], Lease], folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.symlink_to(folder)  # ELOOP

    with pytest.raises(VolumeUnavailable):
        take()


def test_leftovers_of_killed_writes_are_no_lease(take: Callable[[], Lease], folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / ".00000007.json.abcdef.tmp").write_text("half")

    assert take().number == 1
