"""The proof that a process has ended: when it appears, how long it holds, and that it says so to strangers."""

import datetime as dt
import json
from pathlib import Path

import luigi
import pytest

from scc import finished
from scc.errors import ConfigError
from scc.outputs import JsonTarget
from scc.receipts import Counts, Receipt
from scc.tasks.step import Process, Step
from tests.conftest import Runner

SLOT = dt.datetime(2026, 11, 22, 6, 15)
scopes = ["a", "b"]  # what the process's file names, at the moment


class FillScope(Step):
    scope = luigi.Parameter()

    def output(self) -> Receipt:
        return self.receipt()

    def run(self) -> None:
        if self.scope == "broken":
            raise ConfigError("this scope cannot be filled")
        rejected = 1 if self.scope == "b" else 0
        counts = Counts(planned=2, updated=2 - rejected, rejected=rejected)
        self.output().settle(counts, 1.0, {"dry_run": self.dry_run})


class LastStep(Step):
    def output(self) -> JsonTarget:
        return self.document()

    def run(self) -> None:
        self.output().write({})


class Dusk(Process):
    def requires(self) -> list[Step]:
        return [self.clone(LastStep), *(self.clone(FillScope, scope=scope) for scope in scopes)]


class RegionalReport(LastStep):
    region = luigi.Parameter()


class Regional(Process):
    """A process with a parameter of its own."""

    region = luigi.Parameter()

    def requires(self) -> list[Step]:
        return [self.clone(RegionalReport)]


@pytest.fixture
def slot(credentials: object, outputs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the outputs of the slot lie."""
    monkeypatch.setattr("tests.tasks.test_finished.scopes", ["a", "b"])
    return outputs_folder / "test_finished" / "2026-11-22T0615"


def test_a_process_ends_with_the_outputs_it_needed_and_their_outcomes(slot: Path, run: Runner) -> None:
    run(Dusk(slot=SLOT))

    assert json.loads((slot / "finished.json").read_text()) == {
        "process": "test_finished",
        "slot": "2026-11-22T0615",
        "dry_run": False,
        "outputs": {"LastStep.json": None, "a/FillScope.json": "done", "b/FillScope.json": "partly"},
    }
    assert finished.is_finished(slot)


def test_a_process_of_which_a_step_failed_is_not_finished(slot: Path, run: Runner) -> None:
    scopes[:] = ["a", "broken"]

    run.fails(Dusk(slot=SLOT))

    assert (slot / "a" / "FillScope.json").exists()
    assert not finished.is_finished(slot)


def test_a_finished_slot_that_is_run_again_is_left_as_it_is(slot: Path, run: Runner) -> None:
    run(Dusk(slot=SLOT))
    before = {path: path.stat().st_mtime_ns for path in slot.rglob("*")}

    run(Dusk(slot=SLOT))

    assert {path: path.stat().st_mtime_ns for path in slot.rglob("*")} == before


def test_what_joined_a_process_later_is_done_when_an_older_slot_is_run_again(slot: Path, run: Runner) -> None:
    run(Dusk(slot=SLOT))
    scopes.append("c")

    run(Dusk(slot=SLOT))

    assert (slot / "c" / "FillScope.json").exists()
    assert json.loads((slot / "finished.json").read_text())["outputs"]["c/FillScope.json"] == "done"


def test_what_left_a_process_since_does_not_open_an_older_slot(slot: Path, run: Runner) -> None:
    run(Dusk(slot=SLOT))
    scopes.remove("b")

    assert Dusk(slot=SLOT).complete()


def test_an_output_that_was_moved_away_opens_the_slot_until_it_is_made_again(slot: Path, run: Runner) -> None:
    run(Dusk(slot=SLOT))
    (slot / "a" / "FillScope.json").unlink()
    assert not finished.is_finished(slot)
    assert not Dusk(slot=SLOT).complete()

    run(Dusk(slot=SLOT))

    assert finished.is_finished(slot)


def test_a_rehearsal_has_a_proof_of_its_own(slot: Path, run: Runner) -> None:
    run(Dusk(slot=SLOT, dry_run=True))

    assert json.loads((slot / "dry-run" / "finished.json").read_text())["outputs"]["a/FillScope.json"] == "rehearsed"
    assert not finished.is_finished(slot)
    assert not Dusk(slot=SLOT).complete()


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"outputs": 1}', "\x00"], ids=["empty", "a list", "null", "a number", "no text"]
)
def test_a_marker_that_no_process_wrote_proves_nothing_and_is_written_anew(slot: Path, run: Runner, text: str) -> None:
    run(Dusk(slot=SLOT))
    (slot / "finished.json").write_text(text)
    assert not finished.is_finished(slot)

    run(Dusk(slot=SLOT))

    assert finished.is_finished(slot)


def test_a_marker_that_names_what_lies_outside_of_its_slot_proves_nothing(slot: Path, run: Runner) -> None:
    run(Dusk(slot=SLOT))
    document = json.loads((slot / "finished.json").read_text())
    document["outputs"]["../../systems.json"] = None
    (slot / "finished.json").write_text(json.dumps(document))

    assert not finished.is_finished(slot)


def test_a_process_with_parameters_is_finished_when_each_of_its_runs_is(slot: Path, run: Runner) -> None:
    run(Regional(slot=SLOT, region="emea"))
    assert finished.is_finished(slot)

    (slot / "apac").mkdir()
    (slot / "apac" / "Export.json").write_text("{}")
    assert not finished.is_finished(slot)

    run(Regional(slot=SLOT, region="apac"))
    assert finished.is_finished(slot)
