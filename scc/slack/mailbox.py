"""What forked workers saw, for the parent: with --workers 2 or a time limit a step fails in a process of its own, and Luigi
tells the parent that it failed, not why (luigi.md 3).
"""

import json
import os
from collections.abc import Iterator

# a line up to this is written whole or not at all, whoever else writes (POSIX: PIPE_BUF is at least 512, on Linux 4096)
LONGEST = 4096


class Mailbox:
    """A pipe that the process and its forks share; a full one drops what is put in."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that made the mailbox, not a fork of it."""
        return os.getpid() == self._owner

    def put(self, **letter: str) -> None:
        """Leave a letter for the owner."""
        line = (json.dumps(letter) + "\n").encode()
        if len(line) <= LONGEST:
            try:
                os.write(self._writer, line)
            except OSError:
                return  # full, or the owner has gone: then Luigi's summary still says that something failed

    def letters(self) -> Iterator[dict[str, str]]:
        """What has come so far, oldest first."""
        received = b""
        try:
            while piece := os.read(self._reader, 65_536):
                received += piece
        except BlockingIOError:
            pass  # all is read
        for line in received.splitlines():
            yield json.loads(line)

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)
