"""Where outputs lie, and that the slot and a dry run reach every step of every process."""

import datetime as dt
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path

import luigi
import pytest

import jobs
from jobs.enrichment import Enrichment
from scc.errors import LeaseHeld, VolumeUnavailable
from scc.tasks import step
from scc.tasks.step import Process, Step, current_run, end_runs

SLOT = dt.datetime(2026, 11, 22, 6, 15)


class Plan(Step):
    """A step of this module, with one parameter of its own and one that decides nothing."""

    scope = luigi.Parameter(default="all")
    shown = luigi.Parameter(default="yes", significant=False)

    def output(self):
        return self.table({"id": "string"})


class Night(Process):
    def requires(self):
        return [self.clone(Plan)]


@pytest.fixture(autouse=True)
def _fresh(settings: Callable[..., None]) -> Iterator[None]:
    settings("lease", "lifetime", 0.5)
    yield
    end_runs()


@pytest.fixture
def outputs(credentials: object, outputs_folder: Path) -> Path:
    return outputs_folder


def below(folder: Path, path: Path) -> str:
    return str(path.relative_to(folder))


def processes() -> list[type[Process]]:
    """Every process of jobs/."""
    for module in pkgutil.iter_modules(jobs.__path__):
        importlib.import_module(f"jobs.{module.name}")
    found = luigi.task.Register.task_names()
    kinds = [luigi.task.Register.get_task_cls(name) for name in found]
    return [kind for kind in kinds if issubclass(kind, Process) and kind.__module__.startswith("jobs.")]


def graph(task: luigi.Task) -> list[luigi.Task]:
    """The task and all it needs."""
    return [task, *(below for needed in luigi.task.flatten(task.requires()) for below in graph(needed))]


# where outputs lie


def test_outputs_lie_by_process_slot_and_parameters(outputs: Path) -> None:
    plan = Plan(slot=SLOT, scope="part")

    assert below(outputs, plan.output().path) == "test_step/2026-11-22T0615/part/Plan.parquet"
    assert below(outputs, plan.table({}, "rejects").path) == "test_step/2026-11-22T0615/part/Plan.rejects.parquet"
    assert below(outputs, plan.document().path) == "test_step/2026-11-22T0615/part/Plan.json"
    assert below(outputs, plan.document("state").path) == "test_step/2026-11-22T0615/part/Plan.state.json"
    assert below(outputs, plan.receipt().path) == "test_step/2026-11-22T0615/part/Plan.json"


def test_outputs_of_a_dry_run_lie_apart(outputs: Path) -> None:
    rehearsal = Plan(slot=SLOT, dry_run=True)

    assert below(outputs, rehearsal.output().path) == "test_step/2026-11-22T0615/dry-run/all/Plan.parquet"
    assert rehearsal.task_id != Plan(slot=SLOT).task_id


def test_a_parameter_that_decides_nothing_does_not_move_the_outputs(outputs: Path) -> None:
    assert Plan(slot=SLOT, shown="no").output().path == Plan(slot=SLOT).output().path


def test_a_step_is_done_when_its_output_is_there(outputs: Path) -> None:
    plan = Plan(slot=SLOT)
    assert not plan.complete()

    with plan.output().writer():
        pass

    assert plan.complete()


def test_nobody_counts_a_step_as_open_when_the_volume_is_gone(outputs: Path, verdict_file: Path) -> None:
    plan = Plan(slot=SLOT)
    assert not plan.complete()
    (outputs / "systems.json").unlink()

    with pytest.raises(VolumeUnavailable):
        plan.complete()
    assert verdict_file.read_text() == "exit_code=75\n"


# slot and dry run


def test_a_rehearsal_says_so_however_it_was_asked_for(outputs: Path, verdict_file: Path) -> None:
    """bin/run-job reads it: a dry run that luigi.cfg asked for must not count as a success either."""
    Plan(slot=SLOT).complete()
    assert not verdict_file.exists()

    Plan(slot=SLOT, dry_run=True).complete()

    assert verdict_file.read_text() == "dry_run=yes\n"


@pytest.mark.parametrize("dry_run", [True, False])
def test_slot_and_dry_run_reach_every_step_of_every_process(outputs: Path, dry_run: bool) -> None:
    assert Enrichment in processes()
    for process in processes():
        steps = graph(process(slot=SLOT, dry_run=dry_run))

        assert len(steps) > 1
        assert {(one.slot, one.dry_run) for one in steps} == {(SLOT, dry_run)}


def test_no_two_steps_share_an_output(outputs: Path) -> None:
    for process in processes():
        steps = [
            one
            for dry_run in (True, False)
            for one in graph(process(slot=SLOT, dry_run=dry_run))
            if not isinstance(one, Process)
        ]

        assert len({one.output().path for one in steps}) == len({one.task_id for one in steps})


# what the steps of a run share


def test_steps_of_a_run_share_lease_and_logins(outputs: Path) -> None:
    first, second = Plan(slot=SLOT, scope="a"), Plan(slot=SLOT, scope="b")

    assert first.bulk is second.bulk
    assert first.salesforce is second.salesforce
    assert (outputs / "test_step" / "lease" / "00000001.json").exists()


def test_the_transport_of_a_run_asks_its_lease(outputs: Path) -> None:
    run = current_run("enrichment", dry_run=False, slot="2026-11-22T0615")

    run.transport.lease_check()
    run.end()

    with pytest.raises(Exception, match="lease"):
        run.transport.lease_check()


def test_a_dry_run_takes_no_lease_and_may_not_write(outputs: Path) -> None:
    current_run("enrichment", dry_run=False, slot="2026-11-22T0615")

    rehearsal = current_run("enrichment", dry_run=True, slot="2026-11-22T0615")

    assert rehearsal.transport.dry_run
    assert not current_run("enrichment", dry_run=False, slot="2026-11-22T0615").transport.dry_run
    rehearsal.transport.lease_check()


def test_a_run_that_ends_lets_the_next_one_start(outputs: Path, settings: Callable[..., None]) -> None:
    settings("lease", "lifetime", 1000)
    current_run("enrichment", dry_run=False, slot="2026-11-22T0615")

    end_runs()

    current_run("enrichment", dry_run=False, slot="2026-11-22T0715")


def test_a_run_that_was_turned_away_does_not_start_halfway(outputs: Path) -> None:
    current_run("test_step", dry_run=False, slot="2026-11-22T0615")
    holder = dict(step._runs)
    step._runs.clear()  # as in another process of the machine

    with pytest.raises(LeaseHeld):
        _ = Plan(slot=SLOT, scope="a").bulk
    for run in holder.values():
        run.end()

    with pytest.raises(LeaseHeld):
        _ = Plan(slot=SLOT, scope="b").bulk
