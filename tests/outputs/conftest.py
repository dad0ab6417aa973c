"""An outputs folder with its root file, and the ways in which a volume fails."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scc import outputs
from tests.canned import credentials  # noqa: F401 (a fixture)


@pytest.fixture
def folder(credentials: object, outputs_folder: Path) -> Path:  # noqa: F811
    """The outputs folder after a first run."""
    return outputs.root()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """failing(name, path, error, times): let the first so many os.<name>(path, …) fail with this errno."""

    def fail(name: str, path: Path, error: int, times: int = 1_000_000) -> None:
        working = getattr(os, name)
        left = iter(range(times))

        def call(where: object, *arguments: object, **keywords: object) -> object:
            if str(where) == str(path) and next(left, None) is not None:
                raise OSError(error, os.strerror(error), str(path))
            return working(where, *arguments, **keywords)

        monkeypatch.setattr(os, name, call)

    return fail


@contextmanager
def full_disk(room: int = 20_000) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def not_ours(folder: Path) -> Iterator[None]:
    """A folder that this process may not write: root, for whom everything may be written, becomes somebody else."""
    mode = folder.stat().st_mode
    folder.chmod(0o500)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(mode)
