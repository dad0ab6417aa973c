"""One writer per process: a lease on the outputs volume, held from a run's first read to its last write.

    <outputs>/<process>/lease/00000007.json       held by run 7; rewritten ("renewed") while it works
    <outputs>/<process>/lease/00000007.released   run 7 is done

A newcomer takes over by creating the next number, of which O_EXCL lets one succeed, on GlusterFS too (testbed.md 5.1); it
never touches another's file. It may do so when the highest number is released, or did not change for a whole lifetime by
the newcomer's own clock: no clock is compared with another machine's. The holder counts the same lifetime from before its
last renewal, so that it knows first.
"""

import json
import logging
import os
import socket
import threading
import time
from pathlib import Path

from scc.config import lease as settings
from scc.errors import LeaseHeld, LeaseLost, SccError
from scc.outputs import JsonTarget, cannot_write, create_once, read_bytes

log = logging.getLogger(__name__)

# a change is only sent while this share of the lifetime is left
NEEDED = 0.25
RENEWALS_PER_LIFETIME = 5


class Lease:
    """The right to change records for one process. Raises LeaseHeld on creation when another run has it."""

    def __init__(self, folder: Path, process: str, slot: str):
        self._folder = folder
        self._process = process
        self._lifetime = settings().lifetime
        self._document = {
            "process": process,
            "slot": slot,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "renewals": 0,
        }
        self.number = 0
        self._renewed = 0.0
        self._stopped = threading.Event()
        self._acquire()
        self._renewer = threading.Thread(target=self._keep_renewing, name="lease", daemon=True)
        self._renewer.start()

    def check(self) -> None:
        """Raise LeaseLost unless enough of the lease is left to send a change and hear of it."""
        left = self._renewed + self._lifetime - time.monotonic()
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
        began = time.monotonic()
        seen: tuple[int, bytes] | None = None
        seen_at, alive = began, False
        while True:
            highest = self._highest()
            found = highest, self._state(highest)
            now = time.monotonic()
            if found != seen:
                alive = seen is not None  # it moved while we looked
                seen, seen_at = found, now
            state, silent = found[1], now - seen_at >= self._lifetime
            if highest == 0 or state == b"released" or silent:
                if silent and highest:
                    log.warning("the run that held the lease on %s is gone; taking over", self._process)
                if self._take(highest + 1):
                    return
            elif alive and now - began >= self._lifetime:
                raise LeaseHeld(f"another run of {self._process} is working; this one did nothing")
            else:
                time.sleep(min(1.0, self._lifetime / 50))

    def _take(self, number: int) -> bool:
        taken_at = time.monotonic()
        self.number = number
        if not create_once(self._file("json"), json.dumps(self._document)):
            return False
        self._renewed = taken_at
        return True

    def _keep_renewing(self) -> None:
        while not self._stopped.wait(self._lifetime / RENEWALS_PER_LIFETIME):
            before = time.monotonic()
            if before >= self._renewed + self._lifetime or self._highest_or_mine() > self.number:
                self._stopped.set()  # paused or cut off for a whole lifetime: it may belong to another run by now
                return
            try:
                self._document["renewals"] = int(str(self._document["renewals"])) + 1
                JsonTarget(self._file("json")).write(self._document)
                self._renewed = before
            except SccError as error:
                log.warning("the lease on %s could not be renewed: %s", self._process, error)

    def _highest_or_mine(self) -> int:
        try:
            return self._highest()
        except SccError:
            return self.number

    def _highest(self) -> int:
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 (names suffice)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise cannot_write(self._folder, error) from None
        return max((int(name.split(".")[0]) for name in names if name.split(".")[0].isdigit()), default=0)

    def _state(self, number: int) -> bytes:
        """What the highest number's files say: its content, or b"released"."""
        if number == 0:
            return b""
        if os.path.lexists(self._file("released", number)):  # ENOENT and trouble alike: then it only counts as held
            return b"released"
        path = self._file("json", number)
        return read_bytes(path)

    def _file(self, kind: str, number: int | None = None) -> Path:
        return self._folder / f"{self.number if number is None else number:08}.{kind}"
