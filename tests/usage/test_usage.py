"""The budget of syncs: what is counted, when a run waits, and when it stops."""

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scc.errors import ConfigError, QuotaReached, SccError
from scc.usage import QUOTAS, Usage, kind_of
from tests.canned import Clock
from tests.usage.conftest import Share

EXPORT, IMPORT, ACTION = "/customObjects/9/exports/4", "/customObjects/9/imports/5", "/contacts/syncActions/6"
ROOT = Path(__file__).parents[2]
SLOT = "2026-11-22T0615"
THREE = 0.0015  # of 2,000
RUNS = 6
ASKING = """
import sys
from pathlib import Path
from scc.errors import QuotaReached
from scc.usage import Usage
usage = Usage(Path(sys.argv[1]), "enrichment", "2026-11-22T0615")
print("ready", flush=True)
sys.stdin.readline()
asked = 0
try:
    while True:
        usage.before_sync("/customObjects/9/exports/4")
        asked += 1
except QuotaReached:
    print(asked)
"""


@pytest.fixture
def at(clock_of: Callable[[str], Clock]) -> Callable[[str], Clock]:
    """at("2026-11-22T06:15:00"): the time of day (UTC) from now on; only sleep moves it."""
    clock = clock_of("scc.usage")

    def be(moment: str) -> Clock:
        clock.now = dt.datetime.fromisoformat(f"{moment}+00:00").timestamp() - 1_800_000_000
        return clock

    return be


@pytest.fixture(autouse=True)
def _impatient(settings: Callable[..., None]) -> None:
    settings("eloqua", "quota_wait", 0)


@pytest.fixture
def run(folder: Path) -> Callable[[], Usage]:
    """run(): one more run of the process."""
    return lambda: Usage(folder, "enrichment", SLOT)


def files(folder: Path) -> list[Path]:
    return sorted((folder / "usage").glob("*/*"))


def test_a_sync_is_counted_before_it_is_asked_for(
    share: Share, run: Callable[[], Usage], folder: Path, at: Callable[[str], Clock]
) -> None:
    share(0.2)
    at("2026-11-22T06:15:10")

    run().before_sync(EXPORT)

    (path,) = files(folder)
    assert path.parent.name == "2026-11-22T06"
    assert json.loads(path.read_text()) == {"slot": SLOT, "minutes": {"2026-11-22T06:15": {"exports": 1}}}


def test_the_share_is_the_processs_not_the_runs(share: Share, run: Callable[[], Usage], folder: Path) -> None:
    share(THREE)
    runs = [run() for _ in range(4)]

    for one in runs[:3]:
        one.before_sync(EXPORT)

    with pytest.raises(QuotaReached, match=r"3 exports within an hour.*share of Eloqua's quota is 3"):
        runs[3].before_sync(EXPORT)
    assert len(files(folder)) == 3  # what was refused is not counted


def test_exports_imports_and_sync_actions_have_quotas_of_their_own(share: Share, run: Callable[[], Usage]) -> None:
    share(0.0005)
    usage = run()

    for definition in (EXPORT, IMPORT, ACTION, ACTION):
        usage.before_sync(definition)

    for definition in (EXPORT, IMPORT, ACTION):
        with pytest.raises(QuotaReached):
            usage.before_sync(definition)


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        (EXPORT, "exports"),
        (IMPORT, "imports"),
        (ACTION, "syncActions"),
        ("/contacts/exports/7", "exports"),
        ("/activities/exports/7", "exports"),
    ],
)
def test_the_definition_says_which_quota_its_sync_counts_for(uri: str, kind: str) -> None:
    assert kind_of(uri) == kind


@pytest.mark.parametrize("uri", ["", "/syncs/7", "/customObjects/9", "/contacts/exports", "/exports/imports/"])
def test_a_sync_of_anything_else_is_not_asked_for(
    share: Share, run: Callable[[], Usage], folder: Path, uri: str
) -> None:
    share(0.2)

    with pytest.raises(SccError, match="not asked for"):
        run().before_sync(uri)

    assert files(folder) == []


def test_the_hour_is_any_sixty_minutes(share: Share, run: Callable[[], Usage], at: Callable[[str], Clock]) -> None:
    share(THREE)
    for moment in ("2026-11-22T23:50:59", "2026-11-22T23:59:59", "2026-11-23T00:00:00"):
        at(moment)
        run().before_sync(EXPORT)

    at("2026-11-23T00:50:59")
    with pytest.raises(QuotaReached, match="run it again after 00:51 UTC"):
        run().before_sync(EXPORT)

    at("2026-11-23T00:51:00")
    run().before_sync(EXPORT)
    with pytest.raises(QuotaReached, match="after 01:00 UTC"):
        run().before_sync(EXPORT)


def test_a_run_keeps_its_counts_over_the_full_hour(
    share: Share, run: Callable[[], Usage], folder: Path, at: Callable[[str], Clock]
) -> None:
    share(THREE)
    usage = run()
    for moment in ("2026-11-22T06:58:00", "2026-11-22T06:59:00", "2026-11-22T07:01:00"):
        at(moment)
        usage.before_sync(IMPORT)

    assert [path.parent.name for path in files(folder)] == ["2026-11-22T06", "2026-11-22T07"]
    with pytest.raises(QuotaReached):
        usage.before_sync(IMPORT)


def test_a_sync_waits_for_the_share_when_that_is_soon_enough(
    share: Share, run: Callable[[], Usage], at: Callable[[str], Clock], settings: Callable[..., None]
) -> None:
    settings("eloqua", "quota_wait", 600)
    share(0.0005)
    at("2026-11-22T06:15:30")
    run().before_sync(EXPORT)
    clock = at("2026-11-22T07:10:00")

    run().before_sync(EXPORT)

    assert dt.datetime.fromtimestamp(clock.time(), dt.UTC) >= dt.datetime(2026, 11, 22, 7, 16, tzinfo=dt.UTC)
    assert clock.pauses == [360]


def test_a_run_stops_at_once_when_the_wait_would_be_too_long(
    share: Share, run: Callable[[], Usage], at: Callable[[str], Clock], settings: Callable[..., None]
) -> None:
    settings("eloqua", "quota_wait", 600)
    share(0.0005)
    at("2026-11-22T06:15:30")
    run().before_sync(EXPORT)
    clock = at("2026-11-22T07:05:00")

    with pytest.raises(QuotaReached) as caught:
        run().before_sync(EXPORT)

    assert clock.pauses == []
    assert caught.value.exit_code == 75
    assert "after 07:16 UTC, or raise quota_share in the catalogue" in str(caught.value)


def test_a_run_that_finds_the_share_used_again_does_not_wait_for_ever(
    share: Share, run: Callable[[], Usage], at: Callable[[str], Clock], settings: Callable[..., None], folder: Path
) -> None:
    """Another run takes what becomes free, each time."""
    settings("eloqua", "quota_wait", 7200)
    share(0.0005)
    clock = at("2026-11-22T06:15:00")
    run().before_sync(EXPORT)
    other, sleep = run(), clock.sleep

    def sleep_while_another_asks(seconds: float) -> None:
        sleep(seconds)
        other.before_sync(EXPORT)

    clock.sleep = sleep_while_another_asks  # type: ignore[method-assign]

    with pytest.raises(QuotaReached):
        run().before_sync(EXPORT)


def test_a_machine_whose_clock_is_ahead_is_counted_as_well(
    share: Share, run: Callable[[], Usage], at: Callable[[str], Clock]
) -> None:
    share(0.0005)
    at("2026-11-22T07:00:01")
    run().before_sync(EXPORT)

    at("2026-11-22T06:59:58")
    with pytest.raises(QuotaReached):
        run().before_sync(EXPORT)


def test_what_remains_is_told_by_kind(share: Share, run: Callable[[], Usage]) -> None:
    share(0.01)
    assert run().remaining() == {"exports": 20, "imports": 20, "syncActions": 40}

    run().before_sync(EXPORT)
    run().before_sync(ACTION)

    assert run().remaining() == {"exports": 19, "imports": 20, "syncActions": 39}


@pytest.mark.parametrize(("part", "syncs"), [(0.2, 400), (0.15, 300), (0.0015, 3), (0.7, 1400)])
def test_a_share_is_what_it_says_in_decimal(share: Share, run: Callable[[], Usage], part: float, syncs: int) -> None:
    share(part)

    assert run().remaining()["exports"] == syncs


def test_half_written_counts_of_a_killed_run_are_none(share: Share, run: Callable[[], Usage], folder: Path) -> None:
    share(0.0005)
    usage = run()
    usage.before_sync(IMPORT)
    (path,) = files(folder)
    (path.parent / f".{path.name}.abcdef.tmp").write_text("half")

    assert usage.remaining()["imports"] == 0


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"minutes": {"today": {}}}', '{"minutes": {"2026-11-22T06:15": 3}}', "3"]
)
def test_a_count_that_is_none_stops_the_run_with_its_name(
    share: Share, run: Callable[[], Usage], folder: Path, text: str
) -> None:
    share(0.2)
    usage = run()
    usage.before_sync(EXPORT)
    files(folder)[0].write_text(text)

    with pytest.raises(ConfigError, match="is no count of syncs"):
        usage.before_sync(EXPORT)


def test_a_process_that_the_catalogue_does_not_name_may_not_ask(share: Share, folder: Path) -> None:
    share(0.2)

    with pytest.raises(ConfigError, match=r"lead_scoring has no share of Eloqua's quota.*catalogue"):
        Usage(folder, "lead_scoring", SLOT)


def test_a_process_with_a_share_of_nothing_may_not_ask(share: Share, run: Callable[[], Usage]) -> None:
    share(0)

    with pytest.raises(ConfigError, match="raise its quota_share"):
        run().before_sync(EXPORT)


def test_runs_that_work_at_once_pass_the_share_by_less_than_their_number(
    share: Share, folder: Path, tmp_path: Path
) -> None:
    share(0.01)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LUIGI_CONFIG_PATH": str(tmp_path / "luigi.cfg"),
    }
    (tmp_path / "luigi.cfg").write_text(
        f"[catalogue]\nfile = {tmp_path / 'processes.toml'}\n[eloqua]\nquota_wait = 0\n"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", ASKING, str(folder)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(RUNS)
    ]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        run.stdin.write("go\n")
        run.stdin.flush()

    asked = [int(run.communicate(timeout=60)[0]) for run in runs]

    allowed = round(0.01 * QUOTAS["exports"])
    assert allowed <= sum(asked) <= allowed + RUNS - 1
    counted = [json.loads(path.read_text())["minutes"] for path in files(folder)]
    assert sum(sum(by_kind.values()) for minutes in counted for by_kind in minutes.values()) >= sum(asked)
