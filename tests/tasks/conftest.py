"""Processes of a module that a test writes, run as the command line runs them."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from scc import verdict
from tests.canned import CREDENTIALS, credentials  # noqa: F401 (a fixture)

ROOT = Path(__file__).parents[2]


@dataclass
class Command:
    """Commands on a module `night` in a folder of its own."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("SCC_", "LUIGI"))}
        return {
            **keep,
            **CREDENTIALS,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{self.folder}",
            "LUIGI_CONFIG_PATH": str(ROOT / "luigi.cfg"),
            "SCC_OUTPUTS": str(self.folder / "outputs"),
            "SCC_VERDICT_FILE": str(self.folder / "verdict"),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Python with these arguments; its output and its errors are one stream."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def luigi(self, process: str, *options: str) -> subprocess.Popen[str]:
        """Start a process of the module."""
        return self.start("-m", "luigi", "--module", "night", process, "--local-scheduler", *options)

    @property
    def verdict(self) -> str:
        return (self.folder / "verdict").read_text()


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Command]:
    """commands(source): write the module, and get what runs it."""

    def write(source: str) -> Command:
        folder = tmp_path_factory.mktemp("night")
        (folder / "night.py").write_text(source)
        return Command(folder)

    return write


@pytest.fixture
def verdict_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that run-job asked for, in a run without failures so far."""
    monkeypatch.setattr(verdict, "failures", [])
    monkeypatch.setattr(verdict, "partial", [])
    monkeypatch.setattr(verdict, "rehearsals", [])
    monkeypatch.setenv("SCC_VERDICT_FILE", str(tmp_path / "verdict"))
    return tmp_path / "verdict"
