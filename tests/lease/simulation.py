"""The lease in a simulated world: thousands of interleavings of its own code that real processes would seldom meet.

    python -m tests.lease.simulation --seed 7 --rounds 10000

Machines, their threads, the clock and the volume are simulated; one thread runs at a time, from one call of the clock or
the volume to the next, and a seed decides which one, and what befalls it. The same seed is the same history. Machines are
paused and killed at every such call. The volume is GlusterFS at its worst (testbed.md 5): a rewritten file is seen late
elsewhere, calls hang and then fail, or have worked after all; and old numbers are cleared away (OutputCleanup).

What check() promises is that nobody else writes for PROMISED of the lifetime: a write that takes longer, because its
machine was paused, is cut there: no lease can bound it (scc/lease.py).
"""

import argparse
import contextlib
import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import scc.lease
from scc.errors import LeaseHeld, LeaseLost, VolumeUnavailable

LIFETIMES = 20.0, 80.0  # seconds: the pauses of scc/lease.py are long beside the one, short beside the other
PROMISED = 0.25
LATE = 1.9  # seconds until another machine sees a rewritten file at the latest
LIFETIMES_A_ROUND = 14
MACHINES = 4
FOLDER = Path("/outputs/enrichment/lease")


class Killed(BaseException):
    """The machine of this thread is no more."""


@dataclass
class Machine:
    """One run's machine. Its volume fails until cut_off_until; none of its threads runs until paused_until.

    time_of_day: by how much its clock is wrong. holds: whether it thinks it has the lease: then more befalls it.
    """

    number: int
    time_of_day: float
    holds: bool = False
    paused_until: float = 0.0
    cut_off_until: float = 0.0
    dead: bool = False


@dataclass
class Write:
    """One write, in seconds of the simulated clock."""

    machine: int
    number: int
    began: float
    ended: float


@dataclass(eq=False)
class Strand:
    """A simulated thread: a real one that runs only while it has the baton."""

    machine: Machine
    wakes_at: float
    baton: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    ended: bool = False


class World:
    """The clock, the machines and the volume; see `run`."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.lifetime = self.rng.choice(LIFETIMES)
        self.writes: list[Write] = []
        self.seen: Counter[str] = Counter()
        self._end = self.now + LIFETIMES_A_ROUND * self.lifetime
        self._strands: list[Strand] = []
        self._running: Strand | None = None
        self._scheduler = threading.Semaphore(0)
        self._machines = 0
        self._files: dict[Path, list[tuple[float, Machine, bytes]]] = {}
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Let the machines compete until the round is over. Raises what fails in them."""
        while not self._failure:
            if self.now < self._end:
                self._replace_the_dead()
            living = [strand for strand in self._strands if not strand.ended]
            if not living:
                break
            strand = min(living, key=lambda one: (self._due(one), self.rng.random()))
            self.now = max(self.now, self._due(strand))
            if self.now >= self._end:
                strand.machine.dead = True
            self._running = strand
            strand.baton.release()
            self._scheduler.acquire()
        if self._failure:
            raise self._failure

    def _due(self, strand: Strand) -> float:
        return self.now if strand.machine.dead else max(strand.wakes_at, strand.machine.paused_until)

    def _replace_the_dead(self) -> None:
        while len({id(strand.machine) for strand in self._strands if not strand.ended}) < MACHINES:
            self._machines += 1
            machine = Machine(self._machines, self.rng.uniform(-5, 5) * self.lifetime)
            self.spawn(machine, lambda machine=machine: self._work(machine))

    def spawn(self, machine: Machine, work: Callable[[], None]) -> Strand:
        """A new thread of a machine."""
        strand = Strand(machine, self.now)
        self._strands = [one for one in self._strands if not one.ended] + [strand]
        threading.Thread(target=self._live, args=(strand, work), daemon=True).start()
        return strand

    def _live(self, strand: Strand, work: Callable[[], None]) -> None:
        strand.baton.acquire()
        try:
            if not strand.machine.dead:
                work()
        except Killed:
            self.seen["killed"] += 1
        except BaseException as failure:  # noqa: BLE001 (handed to whoever runs the world)
            self._failure = failure
        finally:
            strand.ended = True
            self._scheduler.release()

    def sleep(self, seconds: float) -> None:
        """Give the baton back; something may befall the machine meanwhile."""
        strand = self._me
        strand.wakes_at = self.now + seconds
        self._strike(strand.machine)
        self._scheduler.release()
        strand.baton.acquire()
        if strand.machine.dead:
            raise Killed

    def _strike(self, machine: Machine) -> None:
        dice = self.rng.random() / (6 if machine.holds else 1)
        if dice < 0.002:
            lifetimes = self.rng.choice([self.rng.uniform(0, 2.5), self.rng.uniform(0.75, 1.25)])
            machine.paused_until = self.now + lifetimes * self.lifetime
            self.seen["paused"] += 1
        elif dice < 0.005:
            machine.cut_off_until = self.now + self.rng.uniform(0.3, 1.7) * self.lifetime
            self.seen["cut off"] += 1
        elif dice < 0.0055:
            machine.dead = True

    @property
    def _me(self) -> Strand:
        assert self._running
        return self._running

    # what a run does

    def _work(self, machine: Machine) -> None:
        while True:
            self.sleep(self.rng.uniform(0, self.lifetime / 2))
            machine.holds = False
            with contextlib.suppress(LeaseHeld, VolumeUnavailable):
                self._write(machine, scc.lease.Lease(FOLDER, "enrichment", "2026-11-22T0615"))

    def _write(self, machine: Machine, lease: scc.lease.Lease) -> None:
        self.seen["taken"] += 1
        machine.holds = True
        for _ in range(self.rng.choice([1, 10, 100])):
            began = self.now
            try:
                lease.check()
            except LeaseLost:
                self.seen["lost"] += 1
                break
            write = Write(machine.number, lease.number, began, began + PROMISED * self.lifetime)
            self.writes.append(write)
            self.sleep(self.rng.uniform(0, 0.4 * self.lifetime))
            write.ended = min(write.ended, self.now)
        lease.release()
        self.seen["released"] += 1

    # the volume

    def exists(self, path: Path) -> bool:
        return self._call(lambda: path == FOLDER or path in self._files)

    def names(self, folder: Path) -> list[str]:
        return self._call(lambda: [path.name for path in self._files])

    def read_bytes(self, path: Path) -> bytes:
        return self._call(lambda: self._read(path))

    def create_once(self, path: Path, text: str) -> bool:
        return self._call(lambda: self._create(path, text.encode()))

    def rewrite(self, path: Path, document: Any) -> None:
        me = self._me.machine
        content = json.dumps(document).encode()
        self._call(lambda: self._files.setdefault(path, []).append((self.now, me, content)))

    def _read(self, path: Path) -> bytes:
        """What this machine sees: its own writes at once, those of others up to LATE seconds later."""
        if path not in self._files:
            raise VolumeUnavailable("cleared away")
        me, versions = self._me.machine, self._files[path]
        late = self.rng.uniform(0, LATE)
        return [content for at, by, content in versions if by is me or at <= self.now - late or at == versions[0][0]][
            -1
        ]

    def _create(self, path: Path, content: bytes) -> bool:
        if path in self._files:
            return False
        self._files[path] = [(self.now, self._me.machine, content)]
        if self.rng.random() < 0.2:
            self._clear()
        return True

    def _clear(self) -> None:
        """What OutputCleanup does: files of earlier numbers go once they are old."""
        highest = max((path.name[:8] for path in self._files), default="")
        for path in [path for path in self._files if path.name[:8] < highest]:
            if self._files[path][-1][0] < self.now - 2 * self.lifetime:
                del self._files[path]
                self.seen["cleared"] += 1

    def _call(self, operation: Callable[[], Any]) -> Any:
        """A call of the volume: others act before and after it; a cut-off volume hangs, fails, or has worked after all."""
        self._delay()
        result = operation()
        self._delay()
        return result

    def _delay(self) -> None:
        machine = self._me.machine
        if self.now < machine.cut_off_until:
            if self.rng.random() < 0.5:
                self.sleep(self.rng.uniform(0, 0.6) * self.lifetime)
            if self.now < machine.cut_off_until:
                raise VolumeUnavailable("the outputs volume does not answer")
        elif self.rng.random() < 0.3:
            self.sleep(self.rng.uniform(0, 0.01))

    # what the lease takes from Python

    def clock_gettime(self, clock: int) -> float:
        return self.now

    def time(self) -> float:
        """The time of day as this machine has it; the lease should not ask."""
        return self.now + self._me.machine.time_of_day

    def oversleep(self, seconds: float) -> None:
        self.sleep(seconds * self.rng.uniform(1, 2))


class Event:
    """threading.Event of the simulated world."""

    def __init__(self, world: World):
        self._world = world
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True

    def wait(self, timeout: float) -> bool:
        if not self._set:
            self._world.sleep(timeout)
        return self._set


class Lock:
    """threading.Lock of the simulated world."""

    def __init__(self, world: World):
        self._world = world
        self._held = False

    def __enter__(self) -> None:
        while self._held:
            self._world.sleep(self._world.lifetime / 100)
        self._held = True

    def __exit__(self, *exception: object) -> None:
        self._held = False


class Thread:
    """threading.Thread of the simulated world."""

    def __init__(self, world: World, target: Callable[[], None]):
        self._world, self._target = world, target
        self._strand: Strand | None = None

    def start(self) -> None:
        self._strand = self._world.spawn(self._world._me.machine, self._target)

    def join(self, timeout: float) -> None:
        end = self._world.now + timeout
        while self._strand and not self._strand.ended and self._world.now < end:
            self._world.sleep(self._world.lifetime / 20)


class Document:
    """JsonTarget of the simulated world."""

    def __init__(self, world: World, path: Path):
        self._world, self._path = world, path

    def write(self, document: Any) -> None:
        self._world.rewrite(self._path, document)


@contextlib.contextmanager
def simulated(world: World) -> Iterator[None]:
    """scc.lease lives in this world."""
    replaced = {
        "time": SimpleNamespace(clock_gettime=world.clock_gettime, sleep=world.oversleep, time=world.time),
        "threading": SimpleNamespace(
            Event=lambda: Event(world),
            Lock=lambda: Lock(world),
            Thread=lambda target, name, daemon: Thread(world, target),
        ),
        "settings": lambda: SimpleNamespace(lifetime=world.lifetime),
        "JsonTarget": lambda path: Document(world, path),
        **{name: getattr(world, name) for name in ("exists", "names", "read_bytes", "create_once")},
    }
    before = {name: getattr(scc.lease, name) for name in replaced}
    for name, instead in replaced.items():
        setattr(scc.lease, name, instead)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(scc.lease, name, value)


def collisions(writes: list[Write]) -> list[tuple[Write, Write]]:
    """Pairs of writes of different machines at overlapping times, or whose numbers go back."""
    ordered = sorted(writes, key=lambda write: write.began)
    return [
        (first, second)
        for position, first in enumerate(ordered)
        for second in ordered[position + 1 :]
        if second.machine != first.machine and (second.began < first.ended or second.number <= first.number)
    ]


def simulate(seed: int) -> World:
    """One round, to its end."""
    world = World(seed)
    with simulated(world):
        world.run()
    return world


def main() -> int:
    parser = argparse.ArgumentParser(description="the lease in a simulated world")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    options = parser.parse_args()
    scc.lease.log.disabled = True
    total: Counter[str] = Counter()
    for seed in range(options.seed, options.seed + options.rounds):
        world = simulate(seed)
        total += world.seen
        total["writes"] += len(world.writes)
        for first, second in collisions(world.writes)[:1]:
            sys.stdout.write(f"seed {seed}: two writers:\n  {first}\n  {second}\n")
            total["rounds with two writers"] += 1
    sys.stdout.write(f"{json.dumps(total)}\n")
    return 1 if total["rounds with two writers"] else 0


if __name__ == "__main__":
    sys.exit(main())
