"""The verdict that a run leaves for bin/run-job."""

from pathlib import Path

import pytest

from scc import errors, verdict

ERRORS = {
    "ConfigError": errors.ConfigError("no such field"),
    "SafetyStop": errors.SafetyStop("enrichment", "keys are unknown", 3, 3, "20%"),
    "Unavailable": errors.Unavailable("Eloqua", "GET", "/syncs/{id}", 503),
    "VolumeUnavailable": errors.VolumeUnavailable("the outputs volume does not answer"),
    "LeaseLost": errors.LeaseLost("paused for too long"),
    "Superseded": errors.Superseded("2026-11-22T0615"),
    "QuotaReached": errors.QuotaReached("enrichment", "exports", 400, 400, "07:16"),
    "LeaseHeld": errors.LeaseHeld("another run is working"),
    "Refused": errors.Refused("Eloqua", "GET", "/syncs/{id}", 404),
    "Unaccounted": errors.Unaccounted("3 records were planned"),
    "DryRunWrite": errors.DryRunWrite("a dry run may not"),
    "BrokenStep": errors.BrokenStep("Traceback …"),
    "foreign": ValueError("a mistake in the code"),
}


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("ConfigError", "exit_code=78\n"),
        ("SafetyStop", "exit_code=65\n"),
        ("Unavailable", "exit_code=75\n"),
        ("VolumeUnavailable", "exit_code=75\n"),
        ("LeaseLost", "exit_code=75\n"),
        ("Superseded", "exit_code=75\n"),
        ("QuotaReached", "exit_code=75\n"),
        ("LeaseHeld", "exit_code=10\n"),
        ("Refused", ""),
        ("Unaccounted", ""),
        ("DryRunWrite", ""),
        ("BrokenStep", ""),
        ("foreign", ""),
    ],
)
def test_each_failure_has_its_exit_code_or_keeps_luigis(verdict_file: Path, name: str, lines: str) -> None:
    verdict.failed(ERRORS[name])

    assert verdict_file.read_text() == lines


def test_a_kind_of_an_error_counts_as_that_error(verdict_file: Path) -> None:
    class SyncPostponed(errors.Unavailable):
        pass

    verdict.failed(SyncPostponed("Eloqua", "POST", "/syncs", None, "ELQ-00146"))

    assert verdict_file.read_text() == "exit_code=75\n"


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ("Unavailable", "ConfigError", 78),
        ("SafetyStop", "ConfigError", 78),
        ("Unavailable", "SafetyStop", 65),
        ("Unaccounted", "SafetyStop", 65),
        ("Unavailable", "Unaccounted", None),
        ("LeaseLost", "foreign", None),
        ("LeaseHeld", "Unavailable", 75),
        ("LeaseHeld", "LeaseLost", 75),
    ],
)
def test_what_needs_a_person_most_decides(verdict_file: Path, first: str, second: str, code: int | None) -> None:
    for pair in ((first, second), (second, first)):
        verdict.failures.clear()
        for name in pair:
            verdict.failed(ERRORS[name])
        assert verdict_file.read_text() == (f"exit_code={code}\n" if code else "")


def test_a_run_with_rejects_says_partly(verdict_file: Path) -> None:
    verdict.partly("enrichment")

    assert verdict_file.read_text() == "outcome=partly\n"


def test_a_run_with_rejects_of_one_process_and_a_failure_of_another_says_both(verdict_file: Path) -> None:
    verdict.partly("enrichment")
    verdict.failed(ERRORS["Unavailable"])

    assert verdict_file.read_text() == "exit_code=75\noutcome=partly\n"


def test_without_run_job_nothing_is_written(verdict_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCC_VERDICT_FILE")

    verdict.failed(ERRORS["ConfigError"])
    verdict.partly("enrichment")

    assert not verdict_file.exists()


def test_every_error_was_judged_above() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.SccError)]

    assert {kind.__name__ for kind in kinds} - set(ERRORS) == {"SccError", "RemoteError"}
