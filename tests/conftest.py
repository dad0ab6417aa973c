"""What the tests of processes share: a small company in the sandbox, an outputs folder, and `run`."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import luigi
import pytest

from scc import outputs, verdict
from scc.sandbox import Sandbox
from scc.tasks.step import Step, end_runs

NOW = "2026-11-22T06:15:00Z"
QUICK = {
    "eloqua": {"first_poll": "0.001", "longest_poll": "0.01"},
    "transport": {"first_pause": "0.01", "longest_pause": "0.02", "deadline": "2"},
    "lease": {"lifetime": "2"},
}


@pytest.fixture
def settings() -> Iterator[Callable[[str, str, object], None]]:
    """set(section, name, value) in luigi.cfg, until the test ends; pauses are short throughout."""
    config = luigi.configuration.get_config()
    before = {
        section: dict(config.items(section)) if config.has_section(section) else None for section in config.sections()
    }

    def set_value(section: str, name: str, value: object) -> None:
        before.setdefault(section, None)
        config.set(section, name, str(value))

    for section, values in QUICK.items():
        for name, value in values.items():
            set_value(section, name, value)
    yield set_value
    for section, values in before.items():
        config.remove_section(section)
        for name, value in (values or {}).items():
            config.set(section, name, value)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Both systems with a small company of which nothing waits; syncs are final at the first question."""
    with Sandbox(contacts=50, waiting=0, seed=1, now=NOW, sync_polls=1) as running:
        for name, value in running.env.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def outputs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty outputs folder, which SCC_OUTPUTS names."""
    folder = tmp_path / "outputs"
    monkeypatch.setenv("SCC_OUTPUTS", str(folder))
    return folder


@pytest.fixture
def run(outputs_folder: Path, settings: object) -> Iterator["Runner"]:
    """run(process) through Luigi; see Runner."""
    runner = Runner()
    yield runner
    runner.end()


class Runner:
    """Runs processes as one process of the operating system each would: with its own lease, logins and verdict."""

    def __call__(self, task: Step) -> None:
        """Run the task. Fails the test unless Luigi's own summary is a success."""
        assert self.tries(task), [str(error) for error in verdict.failures]

    def fails(self, task: Step) -> BaseException:
        """Run the task, which must fail; its first error."""
        assert not self.tries(task), "the run should have failed"
        return verdict.failures[0]

    def tries(self, task: Step) -> bool:
        """Run the task, which may fail; whether Luigi's own summary is a success."""
        return self._build(task).status == luigi.LuigiStatusCode.SUCCESS

    def end(self) -> None:
        end_runs()
        outputs._root.cache_clear()
        verdict.failures.clear()
        verdict.partial.clear()
        verdict.rehearsals.clear()

    def _build(self, task: Step) -> luigi.execution_summary.LuigiRunResult:
        self.end()
        luigi.task.Register.clear_instance_cache()
        summary = luigi.build([task], local_scheduler=True, detailed_summary=True, no_lock=True)
        end_runs()
        logging.getLogger().setLevel(logging.INFO)
        return summary
