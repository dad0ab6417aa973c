"""A catalogue of the test's own, and a volume for the counts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scc import catalogue
from scc.outputs import ROOT_FILE
from tests.canned import clock_of  # noqa: F401 (a fixture)

ENTRY = """
[enrichment]
name = "Enrichment"
schedule = "15 * * * *"
expected = "10m"
longest = "45m"
late = "20m"
quota_share = {share}
runbook = "enrichment"
"""
Share = Callable[[float], None]


@pytest.fixture
def share(tmp_path: Path, settings: Callable[..., None]) -> Iterator[Share]:
    """share(0.0005): what enrichment may use of Eloqua's quota; of 2,000 exports an hour that is one."""

    def write(value: float) -> None:
        path = tmp_path / "processes.toml"
        path.write_text(ENTRY.format(share=value))
        settings("catalogue", "file", path)
        catalogue.processes.cache_clear()

    yield write
    catalogue.processes.cache_clear()


@pytest.fixture
def folder(outputs_folder: Path) -> Path:
    """The process's folder on a volume that is there."""
    outputs_folder.mkdir()
    (outputs_folder / ROOT_FILE).write_text("{}")
    return outputs_folder / "enrichment"
