"""One writer per process: a lease on the outputs volume, held from a run's first read to its last write.

    <outputs>/<process>/lease/00000007.json       held by run 7; rewritten ("renewed") while it works
    <outputs>/<process>/lease/00000007.released   run 7 is done

A newcomer takes over by creating the next number, which link(2) lets one succeed in, on GlusterFS too (testbed.md 5.1);
it never touches another's file. It may do so when the highest number is released, or did not change for the holder's whole
lifetime by the newcomer's own clock: no clock is compared with another machine's. The holder counts the same lifetime from
before its last renewal, so that it knows first.

A holder that wakes up at the very moment of its succession is caught crosswise: it writes its renewal, then looks for a
successor, and counts the renewal only if there is none; the newcomer creates its number, then looks at the renewals, and
gives up if there is a new one. A new name is seen on every machine at once, a rewritten file up to a second later
(testbed.md 5.1): hence the newcomer's pause in between.

What no lease can bound: a run that is paused after `check` and before its request has left may send this one request
when it wakes up, however late; the next one is refused. Pauses up to NEEDED of the lifetime are covered. Eloqua and
Salesforce know no number that would fence such a request off; so every write is one that may be repeated (design.md,
"Write").
"""

import json
import logging
import math
import os
import re
import socket
import threading
import time
from pathlib import Path

from scc.config import lease as settings
from scc.errors import ConfigError, LeaseHeld, LeaseLost, SccError
from scc.outputs import JsonTarget, create_once, exists, names, read_bytes

log = logging.getLogger(__name__)

# a change is only sent while this share of the lifetime is left
NEEDED = 0.25
RENEWALS_PER_LIFETIME = 5
LONGEST_LIFETIME = 3600.0
# seconds until another machine surely sees a file that was rewritten; with a short lifetime, as in tests, a tenth of it
CACHED = 2.0
RELEASED = b"released"
FILE = re.compile(r"([0-9]{8,})\.(json|released|wrote)")
# goes on while the machine sleeps, where the system has such a clock; stepping the time of day moves neither
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Lease:
    """The right to change records for one process. Raises LeaseHeld on creation when another run has it.

    That takes one lifetime at most. number: orders the runs of a process, and never goes back.
    """

    def __init__(self, folder: Path, process: str, slot: str):
        self._folder = folder
        self._process = process
        self._lifetime = _lifetime()
        self._document = {
            "process": process,
            "slot": slot,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "lifetime": self._lifetime,
            "renewals": 0,
        }
        self.number = 0
        self._renewed = 0.0
        self._stopped = threading.Event()
        self._volume = threading.Lock()  # a file must not be looked for while it is being replaced (testbed.md 5.1)
        self._renewer = threading.Thread(target=self._keep_renewing, name="lease", daemon=True)
        self._acquire()

    def check(self) -> None:
        """Raise LeaseLost unless enough of the lease is left to send a change and hear of it."""
        try:
            self._stop_if_succeeded()
        except SccError as error:
            log.warning("the lease on %s could not be looked at: %s", self._process, error)  # the clock alone decides
        left = self._renewed + self._lifetime - _now()
        if self._stopped.is_set() or left < self._lifetime * NEEDED:
            raise LeaseLost(
                f"this run could not renew its lease on {self._process} in time and stopped before the next change; "
                "run the slot again"
            )

    def release(self) -> None:
        """Let the next run start at once. Only the end of a run may call it."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._renewer.join(timeout=self._lifetime)
        try:
            create_once(self._file("released"), "")
        except SccError as error:
            log.warning("the lease on %s could not be released (%s); it ends by itself", self._process, error)

    def _acquire(self) -> None:
        began = _now()
        seen: tuple[int, bytes] | None = None
        seen_at, moved = began, False
        while True:
            number = self._highest()
            state = self._state(number)
            now = _now()
            if (number, state) != seen:
                moved = seen is not None  # somebody is alive
                seen, seen_at = (number, state), now
                if not moved and number and state != RELEASED:
                    log.info("the lease on %s is held by the run %s; waiting", self._process, _holder(state))
            lifetime = _lifetime_of(state) or self._lifetime
            silent = now - seen_at >= lifetime
            if not number or state == RELEASED:
                if self._take(number + 1):
                    return
            elif silent:
                if self._take(number + 1):
                    self._make_sure(number, state)
                    return
            elif moved and now - began >= lifetime:
                raise LeaseHeld(f"another run of {self._process} is working ({_holder(state)}); this one did nothing")
            else:
                time.sleep(min(1.0, self._lifetime / 50))

    def _take(self, number: int) -> bool:
        """Create a number; whether it is ours, and still the highest: old ones are cleared away while we may be paused."""
        taken_at = _now()
        self.number = number
        if not create_once(self._file("json"), json.dumps(self._document)) or self._highest() != number:
            return False
        self._renewed = taken_at
        self._renewer.start()
        return True

    def _make_sure(self, number: int, state: bytes) -> None:
        """The run that was silent is out, unless it renewed while we took over: then neither may go on."""
        log.warning("the run that held the lease on %s is gone (%s); taking over", self._process, _holder(state))
        time.sleep(min(CACHED, self._lifetime / 10))
        if self._state(number) not in (state, RELEASED):
            self._stopped.set()
            raise LeaseHeld(
                f"another run of {self._process} came back to life while this one took over ({_holder(state)}); "
                "both stop, and the next one goes on"
            )

    def _keep_renewing(self) -> None:
        while not self._stopped.wait(self._lifetime / RENEWALS_PER_LIFETIME):
            try:
                self._renew()
            except SccError as error:
                log.warning("the lease on %s could not be renewed: %s", self._process, error)

    def _renew(self) -> None:
        before = _now()
        if before >= self._renewed + self._lifetime:
            self._stopped.set()  # paused or cut off for a whole lifetime: somebody may be about to take over
            return
        self._stop_if_succeeded()
        if self._stopped.is_set():
            return
        self._document["renewals"] = int(str(self._document["renewals"])) + 1
        with self._volume:
            JsonTarget(self._file("json")).write(self._document)
        self._stop_if_succeeded()  # only now is it known that no newcomer took us for dead
        self._renewed = before

    def _stop_if_succeeded(self) -> None:
        """Stop for good when there is a next number, or ours is gone. Two looks, however many files there are."""
        with self._volume:
            if exists(self._file("json", self.number + 1)) or not exists(self._file("json")):
                self._stopped.set()

    def _highest(self) -> int:
        if not exists(self._folder):  # raises when the whole volume is away, which would look like a first run
            return 0
        found = (FILE.fullmatch(name) for name in names(self._folder))
        return max((int(match[1]) for match in found if match), default=0)

    def _state(self, number: int) -> bytes:
        """What a number's files say: the content of its file, or RELEASED; b"" when the file is gone."""
        if not number:
            return b""
        if exists(self._file("released", number)):
            return RELEASED
        path = self._file("json", number)
        return read_bytes(path) if exists(path) else b""

    def _file(self, kind: str, number: int | None = None) -> Path:
        return self._folder / f"{self.number if number is None else number:08}.{kind}"


def _now() -> float:
    return time.clock_gettime(CLOCK)


def _lifetime() -> float:
    lifetime = settings().lifetime
    if not _is_lifetime(lifetime):
        raise ConfigError(f"[lease] lifetime in luigi.cfg must be seconds above 0, at most {LONGEST_LIFETIME:,.0f}")
    return float(lifetime)


def _is_lifetime(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and 0 < value <= LONGEST_LIFETIME


def _document(state: bytes) -> dict[str, object]:
    try:
        document = json.loads(state)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _lifetime_of(state: bytes) -> float | None:
    """The lifetime by which the holder counts, which may be configured otherwise than ours; None when it does not say."""
    lifetime = _document(state).get("lifetime")
    return float(str(lifetime)) if _is_lifetime(lifetime) else None


def _holder(state: bytes) -> str:
    """Who holds it, for an operator who wants to look: slot, host and pid, as far as they look like it."""
    document = _document(state)
    known = [(name, str(document.get(name, ""))) for name in ("slot", "host", "pid")]
    return ", ".join(f"{name} {value}" for name, value in known if re.fullmatch(r"[\w.:-]{1,100}", value)) or "unknown"
