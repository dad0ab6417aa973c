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
from typing import Any

import pytest

from scc.errors import ConfigError, LeaseHeld, LeaseLost, VolumeUnavailable
from scc.lease import Lease
from scc.outputs import ROOT_FILE, create_once
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
def folder(outputs_folder: Path) -> Path:
    """Where the lease lies, on a volume that is there."""
    outputs_folder.mkdir()
    (outputs_folder / ROOT_FILE).write_text("{}")
    return outputs_folder / "enrichment" / "lease"


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


def held_by_another(folder: Path, number: int = 1, **also: object) -> None:
    """The file of another machine's run."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"slot": "2026-11-22T0600", "host": "pod-7", "pid": 17, "lifetime": LIFETIME, "renewals": 0, **also}
    (folder / f"{number:08}.json").write_text(json.dumps(document))


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


def test_a_newcomer_decides_within_one_lifetime(
    take: Callable[[], Lease],
    folder: Path,
    clock_of: Callable[[str], Clock],  # noqa: F811
    settings: Callable[..., None],
) -> None:
    settings("lease", "lifetime", 150)
    clock = clock_of("scc.lease")
    held_by_another(folder, lifetime=150)
    sleep = clock.sleep

    def sleep_while_the_other_renews(seconds: float) -> None:
        sleep(seconds)
        held_by_another(folder, lifetime=150, renewals=len(clock.pauses))

    clock.sleep = sleep_while_the_other_renews  # type: ignore[method-assign]

    with pytest.raises(LeaseHeld, match=r"slot 2026-11-22T0600, host pod-7, pid 17"):
        take()

    assert 150 <= sum(clock.pauses) <= 152


def test_a_newcomer_waits_as_long_as_the_holder_counts(
    take: Callable[[], Lease],
    folder: Path,
    clock_of: Callable[[str], Clock],  # noqa: F811
    settings: Callable[..., None],
) -> None:
    settings("lease", "lifetime", 100)  # this machine's own luigi.cfg
    held_by_another(folder, lifetime=600)
    clock = clock_of("scc.lease")

    assert take().number == 2
    assert 600 <= sum(clock.pauses) <= 605


@pytest.mark.parametrize(
    "text", ["", "half a docum", "[]", '{"lifetime": "long"}', '{"lifetime": -1, "slot": "a b <c>"}']
)
def test_a_holder_that_says_nothing_sensible_counts_by_our_own_lifetime(
    take: Callable[[], Lease], folder: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    folder.mkdir(parents=True)
    (folder / "00000001.json").write_text(text)

    assert take().number == 2
    assert "<c>" not in caplog.text


def test_a_run_that_comes_back_while_it_is_succeeded_stops_and_so_does_its_successor(
    take: Callable[[], Lease],
    folder: Path,
    clock_of: Callable[[str], Clock],  # noqa: F811
) -> None:
    held_by_another(folder, lifetime=1)
    clock = clock_of("scc.lease")
    sleep = clock.sleep

    def sleep_and_come_back(seconds: float) -> None:
        sleep(seconds)
        if (folder / "00000002.json").exists():
            held_by_another(folder, lifetime=1, renewals=5)

    clock.sleep = sleep_and_come_back  # type: ignore[method-assign]

    with pytest.raises(LeaseHeld, match="came back to life"):
        take()

    assert not (
        folder / "00000002.released"
    ).exists()  # the one that came back may still be writing: a lifetime must pass


def test_numbers_never_go_back_when_old_files_were_cleared_away(take: Callable[[], Lease], folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "00000041.wrote").write_text("2026-11-21T0615")
    (folder / "00000041.json").write_text("{}")
    (folder / "00000041.released").write_text("")
    (folder / "00000007.wrote").write_text("2026-11-20T0615")

    assert take().number == 42


def test_a_newcomer_that_slept_until_its_number_was_cleared_away_takes_the_next(
    take: Callable[[], Lease], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It saw number 1 released; when it creates number 2, number 9 is long there, and number 2 cleared away."""

    def create_late(path: Path, text: str) -> bool:
        if not (folder / "00000009.json").exists():
            held_by_another(folder, number=9)
            (folder / "00000009.released").write_text("")
        return create_once(path, text)

    folder.mkdir(parents=True)
    (folder / "00000001.released").write_text("")
    monkeypatch.setattr("scc.lease.create_once", create_late)

    assert take().number == 10


def test_a_run_whose_lease_was_deleted_may_not_write(take: Callable[[], Lease], folder: Path) -> None:
    lease = take()
    lease.check()

    shutil.rmtree(folder)

    assert fails(lease)


def test_a_run_sees_its_successor_at_its_next_check(take: Callable[[], Lease], folder: Path, settings: Any) -> None:
    settings("lease", "lifetime", 1000)  # no renewal before the test is over
    lease = take()
    lease.check()

    held_by_another(folder, number=2)

    assert fails(lease)


def test_a_volume_that_is_away_is_no_first_run(take: Callable[[], Lease], folder: Path, outputs_folder: Path) -> None:
    (outputs_folder / ROOT_FILE).unlink()  # what an empty mount point looks like

    with pytest.raises(VolumeUnavailable):
        take()

    assert not folder.exists()


@pytest.mark.parametrize("lifetime", [0, -1, "nan", "inf", 3601])
def test_a_lifetime_that_is_none_is_refused(take: Callable[[], Lease], settings: Any, lifetime: object) -> None:
    settings("lease", "lifetime", lifetime)

    with pytest.raises(ConfigError, match=r"lifetime in luigi\.cfg must be seconds above 0, at most 3,600"):
        take()
