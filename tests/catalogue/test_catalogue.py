"""The catalogue of processes: ours is right, and a wrong one is told with all its mistakes at once."""

import datetime as dt
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from cronsim import CronSim

from scc import catalogue
from scc.errors import ConfigError

ROOT = Path(__file__).parents[2]
ENTRY = {
    "name": "'Enrichment'",
    "schedule": "'15 * * * *'",
    "expected": "'10m'",
    "longest": "'45m'",
    "late": "'20m'",
    "quota_share": "0.3",
    "runbook": "'enrichment'",
}


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """written(enrichment={"late": "'1h'"}): a catalogue of such entries, else as ENTRY; a field that is None is missing."""

    def write(**entries: dict[str, str | None]) -> Path:
        path = tmp_path / "processes.toml"
        lines = []
        for module, fields in entries.items():
            entry = {**ENTRY, **fields}
            lines += [f"[{module}]", *(f"{field} = {value}" for field, value in entry.items() if value is not None)]
        path.write_text("\n".join(lines))
        return path

    return write


def mistakes(path: Path, checkout: Path | None = None) -> str:
    with pytest.raises(ConfigError) as told:
        catalogue.read(path, checkout)
    assert str(told.value).startswith(f"{path}: ")
    return str(told.value).removeprefix(f"{path}: ")


# ours


def test_our_catalogue_is_right_and_names_what_the_checkout_has() -> None:
    processes = catalogue.read(catalogue.SHIPPED, checkout=ROOT)

    assert processes["enrichment"].name == "Enrichment"


def test_every_process_of_the_checkout_is_in_our_catalogue() -> None:
    modules = {
        path.stem
        for path in (ROOT / "jobs").glob("*.py")
        if f"class {catalogue.class_name(path.stem)}(" in path.read_text()
    }

    assert modules == set(catalogue.read(catalogue.SHIPPED))


def test_our_shares_leave_a_fifth_of_eloquas_quota_to_others() -> None:
    assert sum(process.quota_share for process in catalogue.read(catalogue.SHIPPED).values()) <= 0.8


def test_luigi_cfg_can_name_another_catalogue(written: Callable[..., Path], settings: Callable[..., None]) -> None:
    settings("catalogue", "file", written(enrichment={"late": "'3h'"}))
    catalogue.processes.cache_clear()
    try:
        assert catalogue.processes()["enrichment"].late == 3 * 3600
    finally:
        catalogue.processes.cache_clear()


# what is read


def test_durations_are_seconds_and_what_is_not_given_is_not_watched(written: Callable[..., Path]) -> None:
    process = catalogue.read(written(enrichment={"late": "'90s'", "oldest_waiting": "'15d'"}))["enrichment"]

    assert (process.expected, process.late, process.oldest_waiting) == (600, 90, 15 * 86400)
    assert process.rejected_share is None and process.partly_share is None


@pytest.mark.parametrize(
    ("schedule", "minutes"),
    [
        ("15 * * * *", 60),
        ("*/5 * * * *", 5),
        ("43 2 * * *", 24 * 60),
        ("0 6 * * 1-5", 3 * 24 * 60),  # Friday to Monday
        ("0 6 * * MON-FRI", 3 * 24 * 60),
        ("15 8-18 * * 1-5", (2 * 24 + 14) * 60),
        ("0,59 0 * * *", 23 * 60 + 1),
        ("30 1 1 * *", 31 * 24 * 60),
        ("0 0 31 * *", 61 * 24 * 60),  # March to May
        ("0 0 29 2 *", 1461 * 24 * 60),
    ],
)
def test_the_interval_is_the_longest_time_between_two_starts(schedule: str, minutes: int) -> None:
    assert catalogue.longest_gap(schedule) == minutes * 60


@pytest.mark.parametrize(
    "schedule",
    [
        "0 * * * *",
        "7,41 8-18 * * *",
        "30-32 */7 * * 1-5",
        "*/20 0,23 * * 0",
        "0 3 1,15 * *",
        "0 3 31 1,3 *",
        "5/25 * 1 * *",
    ],
)
def test_no_gap_of_two_years_is_longer_and_one_is_as_long(schedule: str) -> None:
    begin = dt.datetime(2026, 1, 1)
    end = begin + dt.timedelta(days=2 * 365)
    starts = list(itertools.takewhile(lambda start: start < end, CronSim(schedule, begin)))

    longest = max(late - early for early, late in itertools.pairwise(starts))
    assert longest.total_seconds() == catalogue.longest_gap(schedule)


def test_sections_are_linked_as_github_links_them() -> None:
    assert catalogue.sections("# One\ntext # no\n## Did it end?\n### `SccFailed`\n") == {
        "one",
        "did-it-end",
        "sccfailed",
    }


# mistakes


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("schedule", "'0 0 31 2 *'", "`schedule` is impossible: Bad day-of-month"),
        ("schedule", "'61 * * * *'", "`schedule` is impossible: Bad minute"),
        ("schedule", "'hourly'", "`schedule` must be minute, hour, day, month, weekday"),
        ("schedule", "'0 15 * * * *'", "`schedule` must be minute, hour, day, month, weekday"),
        ("schedule", "'0 0 * * 7'", "weekdays are 0 to 6"),
        ("schedule", "'0 0 1 * 1'", "`schedule` names a day of the month and a weekday"),
        ("schedule", "''", "`schedule` must be a text"),
        ("expected", "'ten minutes'", "`expected` must be a duration like 90s, 15m, 2h or 15d, not 'ten minutes'"),
        ("late", "'0s'", "`late` must be longer than nothing"),
        ("late", "20", "`late` must be a text"),
        ("quota_share", "'0.1'", "`quota_share` must be a share from 0 to 1"),
        ("quota_share", "true", "`quota_share` must be a share from 0 to 1"),
        ("quota_share", "-0.1", "`quota_share` must be a share from 0 to 1"),
        ("quota_share", "nan", "`quota_share` must be a share from 0 to 1"),
        ("rejected_share", "2", "`rejected_share` must be a share from 0 to 1"),
        ("name", "'enrichment'", "`name` must be Enrichment"),
        ("name", None, "lacks name"),
        ("colour", "'red'", "does not know colour"),
        ("longest", "'5m'", "`longest` is shorter than `expected`"),
        ("expected", "'61m'", "`expected` is longer than the 3,600 s from one start to the next"),
    ],
)
def test_a_mistake_is_told_by_entry_and_reason(
    written: Callable[..., Path], field: str, value: str | None, told: str
) -> None:
    longest = {"longest": "'2h'"} if value == "'61m'" else {}

    assert mistakes(written(enrichment={**longest, field: value})).startswith("[enrichment] ")
    assert told in mistakes(written(enrichment={**longest, field: value}))


def test_all_mistakes_are_told_at_once(written: Callable[..., Path]) -> None:
    path = written(
        enrichment={"schedule": "'0 0 30 2 *'", "late": "'soon'", "quota_share": "0.5"},
        output_cleanup={"name": "'OutputCleanup'", "longest": "'1m'", "quota_share": "0.4"},
    )

    told = mistakes(path).split("; ")

    assert len(told) == 4
    for part in ("[enrichment] `schedule`", "[enrichment] `late`", "[output_cleanup] `longest`", "add up to 90%"):
        assert [one for one in told if part in one]


def test_shares_up_to_four_fifths_are_right(written: Callable[..., Path]) -> None:
    second = {"name": "'OutputCleanup'", "quota_share": "0.7"}

    assert catalogue.read(written(enrichment={"quota_share": "0.1"}, output_cleanup=second))
    assert mistakes(written(enrichment={"quota_share": "0.11"}, output_cleanup=second)) == (
        "the quota shares add up to 81%, more than 80%"
    )


def test_what_the_checkout_lacks_is_told(written: Callable[..., Path]) -> None:
    path = written(
        enrichment={"runbook": "'nowhere'"},
        enrichment_file={"name": "'EnrichmentFile'"},
        moon_phase={"name": "'MoonPhase'", "quota_share": "0"},
    )

    told = mistakes(path, checkout=ROOT)

    assert "[enrichment] docs/runbook.md has no section #nowhere" in told
    assert "[enrichment_file] jobs/enrichment_file.py has no class EnrichmentFile" in told
    assert "[moon_phase] jobs/moon_phase.py does not exist" in told


def test_a_file_that_is_missing_or_no_toml_is_told_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "processes.toml"
    with pytest.raises(ConfigError, match=r"processes\.toml cannot be read: set `file` in \[catalogue\]"):
        catalogue.read(path)
    path.write_text("[enrichment\n")
    with pytest.raises(ConfigError, match=r"processes\.toml is not valid TOML: .* line 1"):
        catalogue.read(path)
    path.write_text("")
    assert mistakes(path) == "it names no process"
    path.write_text("enrichment = 1\n")
    assert mistakes(path) == "[enrichment] is not a table"
