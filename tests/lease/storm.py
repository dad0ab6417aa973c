"""A storm over one lease: processes take it, write and let go, while others pause them, kill them and cut them off.

    python -m tests.lease.storm --seed 7 --rounds 100
    python -m tests.lease.storm --seed 7 --rounds 1 --lifetime 20 --folder /mnt/a /mnt/b      two mounts of one volume

A mount of GlusterFS needs a lifetime of 20 s or more (scc.lease.CACHED).

Prints counts; exits 1, with the two writes, if two processes wrote at once. The volume behaves as GlusterFS does at its
worst (testbed.md 5): a rewritten file is seen late, a renewal hangs, fails, or arrives late after all. How the lease's own
code may be interleaved is the subject of simulation.py; here are real processes, threads, signals and files.

What check() promises is that nobody else writes for PROMISED of the lifetime: a write that is paused for longer is cut
there, because no lease can bound it (scc/lease.py).
"""

import argparse
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import luigi

import scc.lease
from scc.errors import LeaseHeld, LeaseLost, VolumeUnavailable
from scc.lease import Lease
from scc.outputs import ROOT_FILE, JsonTarget, read_bytes

LIFETIME = 0.3  # seconds; main sets it
PROMISED = 0.25
WORKERS = 8
LIFETIMES_A_ROUND = 8
LATE = 0.05  # of a lifetime: how late a rewritten file is seen; the lease allows for a tenth


@dataclass
class Write:
    """One write; monotonic seconds, the same clock for all processes of the machine."""

    pid: int
    number: int
    began: float
    ended: float


class Volume:
    """The volume as this process sees it: late, and at times cut off, when calls fail at once or hang and fail or succeed.

    It is cut off only once this process holds the lease: a newcomer who sees nothing takes nothing.
    """

    def __init__(self, rng: random.Random):
        self.treacherous = False
        self._rng = rng
        self._cut_off_until = 0.0
        self._cache: dict[Path, tuple[float, bytes]] = {}

    def install(self) -> None:
        """Have the lease use it."""
        for name in ("exists", "names", "create_once"):
            setattr(scc.lease, name, self._unreliable(getattr(scc.lease, name)))
        scc.lease.read_bytes = self._unreliable(self._read)
        JsonTarget.write = self._unreliable(JsonTarget.write)

    def _read(self, path: Path) -> bytes:
        """The content of a file, as late as the cache of another machine may make it."""
        now = time.monotonic()
        read_at, content = self._cache.get(path, (-1.0, b""))
        if now - read_at > LATE * LIFETIME:
            content = read_bytes(path)
            self._cache[path] = now, content
        return content

    def _unreliable(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any) -> Any:
            self._trouble()
            result = call(*arguments)
            self._trouble()
            return result

        return instead

    def _trouble(self) -> None:
        now, rng = time.monotonic(), self._rng
        if not self.treacherous:
            return
        if rng.random() < 0.01:
            self._cut_off_until = now + rng.uniform(0.5, 1.5) * LIFETIME
        if now < self._cut_off_until and rng.random() < 0.5:
            time.sleep(rng.uniform(0, 0.6) * LIFETIME)
        if time.monotonic() < self._cut_off_until:
            raise VolumeUnavailable("the outputs volume does not answer")


class Journal:
    """What one process did, a JSON line each, at once."""

    def __init__(self, folder: Path):
        self._file = os.open(folder / f"{os.getpid()}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, what: str, number: int = 0, at: float = 0.0) -> None:
        os.write(self._file, json.dumps([what, number, at]).encode() + b"\n")


def work(folder: Path, journals: Path, seed: int) -> NoReturn:
    """Take the lease, write, let go; again and again, until killed."""
    rng = random.Random(seed)
    os.environ["SCC_OUTPUTS"] = str(folder.parents[1])
    volume = Volume(rng)
    volume.install()
    offset = rng.uniform(-100, 100)  # no two machines have the same time of day
    time_of_day = time.time
    time.time = lambda: time_of_day() + offset
    try:
        journal = Journal(journals)
        while True:
            volume.treacherous = False
            _one_run(folder, journal, rng, volume)
    except BaseException:  # noqa: BLE001 (a forked process must never return into its parent's code)
        traceback.print_exc()
        os._exit(70)


def _one_run(folder: Path, journal: Journal, rng: random.Random, volume: Volume) -> None:
    try:
        lease = Lease(folder, "storm", "2026-11-22T0615")
    except LeaseHeld:
        journal.note("held")
        time.sleep(rng.uniform(0, LIFETIME / 4))
        return
    journal.note("taken", lease.number)
    volume.treacherous = True
    for _ in range(rng.choice([1, 10, 1000])):
        began = time.monotonic()
        try:
            lease.check()
        except LeaseLost:
            journal.note("lost", lease.number)
            return
        journal.note("begins", lease.number, began)
        time.sleep(rng.uniform(0, 0.24 * LIFETIME))
        journal.note("ends", lease.number, time.monotonic())
    if rng.random() < 0.2:
        os._exit(0)  # without a word
    lease.release()


class Storm:
    """One round: the processes, and what is done to them."""

    def __init__(self, mounts: list[Path], name: str, seed: int):
        self._rng = random.Random(seed)
        self._folders = [mount / name / "storm" / "lease" for mount in mounts]
        self._journals = mounts[0] / name / "journals"
        self._journals.mkdir(parents=True)
        self._running: dict[int, float | None] = {}  # pid -> when it goes on, if it is paused

    def run(self) -> None:
        """Raises AssertionError when a process failed otherwise than by our hand."""
        end = time.monotonic() + LIFETIMES_A_ROUND * LIFETIME
        try:
            while time.monotonic() < end:
                self._replace_the_dead()
                self._strike(self._victim())
                self._wake()
                time.sleep(self._rng.uniform(0, LIFETIME / 10))
        finally:
            for pid in self._running:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def writes(self) -> list[Write]:
        """All writes of the round by their beginning, each as long as check() vouched for it."""
        found = []
        for path in self._journals.iterdir():
            open_write: Write | None = None
            for what, number, at in _lines(path):
                if what == "begins":
                    open_write = Write(int(path.stem), number, at, at + PROMISED * LIFETIME)
                    found.append(open_write)
                elif what == "ends" and open_write:
                    open_write.ended = min(open_write.ended, at)
        return sorted(found, key=lambda write: write.began)

    def counts(self) -> Counter[str]:
        return Counter(what for path in self._journals.iterdir() for what, _, _ in _lines(path))

    def succeed(self) -> None:
        """After the storm the lease can be had again, under a number that nobody had before."""
        highest = max((write.number for write in self.writes()), default=0)
        lease = Lease(self._folders[0], "storm", "2026-11-22T0715")
        lease.check()
        lease.release()
        assert lease.number > highest, f"number {lease.number} after {highest}"

    def _replace_the_dead(self) -> None:
        for pid in list(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._running[pid]
                assert status == 0, f"a process failed, status {status}"
        while len(self._running) < WORKERS:
            seed = self._rng.randrange(1 << 30)
            pid = os.fork()
            if not pid:
                work(self._folders[seed % len(self._folders)], self._journals, seed)
            self._running[pid] = None

    def _victim(self) -> int:
        """Any process; as often as not the one with the highest number."""
        newest = max(self._folders[0].glob("*.json"), default=None)
        holder = json.loads(newest.read_bytes())["pid"] if newest else None
        if holder in self._running and self._rng.random() < 0.5:
            return int(holder)
        return self._rng.choice(list(self._running))

    def _strike(self, pid: int) -> None:
        dice = self._rng.random()
        if dice < 0.15 and self._running[pid] is None:
            os.kill(pid, signal.SIGSTOP)
            # as often as not it wakes when another is just taking over
            lifetimes = self._rng.choice([self._rng.uniform(0, 2.5), self._rng.uniform(0.75, 1.25)])
            self._running[pid] = time.monotonic() + lifetimes * LIFETIME
        elif dice < 0.16:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            del self._running[pid]

    def _wake(self) -> None:
        for pid, wakes_at in self._running.items():
            if wakes_at and time.monotonic() >= wakes_at:
                os.kill(pid, signal.SIGCONT)
                self._running[pid] = None


def _lines(path: Path) -> Iterator[tuple[str, int, float]]:
    for line in path.read_text().splitlines():
        try:
            what, number, at = json.loads(line)
        except ValueError:
            continue  # the last word of a killed one
        yield what, number, at


def collisions(writes: list[Write]) -> list[tuple[Write, Write]]:
    """Pairs of writes of different processes at overlapping times, or whose numbers go back. writes: by their beginning."""
    found = []
    for position, first in enumerate(writes):
        for second in writes[position + 1 :]:
            if second.pid != first.pid and (second.began < first.ended or second.number <= first.number):
                found.append((first, second))
    return found


def one_round(mounts: list[Path], name: str, seed: int) -> Counter[str]:
    """What happened in one round; "collisions" among it when there were any."""
    root = mounts[0] / name
    root.mkdir()
    (root / ROOT_FILE).write_text("{}")
    os.environ["SCC_OUTPUTS"] = str(root)
    storm = Storm(mounts, name, seed)
    storm.run()
    found = collisions(storm.writes())
    for first, second in found[:3]:
        sys.stdout.write(f"seed {seed}: two writers:\n  {first}\n  {second}\n")
    storm.succeed()
    return storm.counts() + Counter({"collisions": len(found)})


def main() -> int:
    parser = argparse.ArgumentParser(description="a storm over one lease")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--lifetime", type=float, default=0.3)
    parser.add_argument("--folder", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    global LIFETIME
    LIFETIME = options.lifetime
    logging.disable()
    luigi.configuration.get_config().set("lease", "lifetime", str(LIFETIME))
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir=options.folder[0] if options.folder else None) as first:
        mounts = [Path(first), *(other / Path(first).name for other in options.folder[1:])]
        for number in range(options.rounds):
            total += one_round(mounts, f"round-{number}", options.seed + number)
    sys.stdout.write(f"{json.dumps(total)}\n")
    return 1 if total["collisions"] else 0


if __name__ == "__main__":
    sys.exit(main())
