"""Exports and imports that go on where a killed run stopped, and account for every row."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from scc.eloqua.bulk import Bulk, SyncFailed, SyncPostponed
from scc.eloqua.client import Eloqua
from scc.eloqua.syncs import Import, Outcome, Parts, export, import_table, settle
from scc.errors import Refused, Unaccounted, Unavailable
from scc.tables import Table
from scc.transport import Transport
from tests.canned import RequestsMock, bodies
from tests.eloqua.conftest import BASIC, LOGIN, Instance, Killed, discovered, line, page

Settings = Callable[[str, str, object], None]
EXPORTS, IMPORTS = "/customObjects/9/exports", "/customObjects/9/imports"
EXPORT = {"name": "SCC", "fields": {"id": "{{CustomObject[9].Id}}", "name": "{{CustomObject[9].Field(Name1)}}"}}
FILL = Import(
    parent=IMPORTS,
    definition={
        "name": "SCC",
        "fields": {"key": "{{CustomObject[9].Field(Key1)}}", "name": "{{CustomObject[9].Field(Name1)}}"},
        "identifierFieldName": "key",
    },
    created="ELQ-00007",
    updated="ELQ-00012",
)
WAITING = [{"id": "1", "name": "Größe"}, {"id": "2", "name": ""}]


@pytest.fixture
def table(folder: Path) -> Table:
    return Table(folder / "Export.parquet", {"id": "string", "name": "string"})


def content(table: Table) -> list[dict[str, Any]]:
    return [row for batch in table.batches() for row in batch.to_pylist()]


def run_export(bulk: Bulk, table: Table, progress: Callable[[str], None] = lambda text: None) -> None:
    """As a step does: what is done is not done again."""
    if not table.exists():
        export(bulk, EXPORTS, EXPORT, table, progress)


def state(table: Table) -> dict[str, Any]:
    return json.loads(table.path.with_suffix(".sync.json").read_text())


def killed_at(text: str) -> Callable[[str], None]:
    """A progress that is the last of its run."""

    def progress(shown: str) -> None:
        if text in shown:
            raise Killed

    return progress


def rehearsing(login: RequestsMock) -> Bulk:
    """The client of a new process in a dry run."""
    return Bulk(Eloqua(Transport(dry_run=True), BASIC))


# exports


def test_an_export_fills_the_table_and_leaves_nothing_behind(bulk: Bulk, instance: Instance, table: Table) -> None:
    instance.rows = WAITING

    run_export(bulk, table)

    assert content(table) == WAITING
    assert instance.flow() == [
        f"POST {EXPORTS}",
        "POST /syncs",
        "GET /syncs/1",
        "GET /syncs/1/data",
        f"DELETE {EXPORTS}/1",
    ]


def test_an_export_of_nothing_is_an_empty_table(bulk: Bulk, instance: Instance, table: Table) -> None:
    instance.answers("GET", "/syncs/1/data", {"totalResults": 0, "hasMore": False})

    run_export(bulk, table)

    assert content(table) == []


def test_an_export_tells_how_far_it_is(bulk: Bulk, instance: Instance, table: Table) -> None:
    shown: list[str] = []
    instance.rows = WAITING
    instance.answers("GET", "/syncs/1", {"status": "pending"}, {"status": "active"}, {"status": "success"})

    run_export(bulk, table, shown.append)

    assert shown == ["pending", "active", "success", "2 rows read"]


def test_the_definition_is_known_before_its_sync_is_asked_for_and_the_sync_before_it_is_waited_for(
    bulk: Bulk, instance: Instance, table: Table
) -> None:
    known: list[dict[str, Any]] = []

    def note(request: object) -> Any:
        known.append(state(table))
        return instance._well(request)

    instance.answers("POST", "/syncs", note)
    instance.answers("GET", "/syncs/1", note)

    run_export(bulk, table)

    assert known[0]["definition"] == f"{EXPORTS}/1"
    assert "sync" not in known[0]
    assert known[1]["sync"] == "/syncs/1"


@pytest.mark.parametrize("moment", ["pending", "success", "rows read"])
def test_a_killed_export_goes_on_with_its_sync(bulk: Bulk, instance: Instance, table: Table, moment: str) -> None:
    instance.rows = WAITING
    instance.answers("GET", "/syncs/1", {"status": "pending"}, {"status": "success"})
    with pytest.raises(Killed):
        run_export(bulk, table, killed_at(moment))
    assert not table.exists()

    run_export(bulk, table)

    assert content(table) == WAITING
    assert len(instance.syncs) == 1
    assert instance.deleted == instance.defined == [f"{EXPORTS}/1"]


def test_an_export_killed_before_it_learnt_of_its_sync_finds_it(bulk: Bulk, instance: Instance, table: Table) -> None:
    instance.kill_at = (2, "after")
    with pytest.raises(Killed):
        run_export(bulk, table)

    run_export(bulk, table)

    assert "GET /syncs" in instance.flow()
    assert len(instance.syncs) == len(instance.defined) == 1


def test_an_export_killed_before_it_asked_for_its_sync_starts_afresh(
    bulk: Bulk, instance: Instance, table: Table
) -> None:
    instance.kill_at = (2, "before")
    with pytest.raises(Killed):
        run_export(bulk, table)

    run_export(bulk, table)

    assert [definition for _, definition, _ in instance.syncs] == [f"{EXPORTS}/2"]
    assert instance.deleted == [f"{EXPORTS}/1", f"{EXPORTS}/2"]


def test_a_lost_sync_answer_is_looked_for_before_it_is_asked_again(
    bulk: Bulk, instance: Instance, table: Table
) -> None:
    def taken_but_lost(request: object) -> int:
        instance._well(request)
        return 503

    instance.answers("POST", "/syncs", taken_but_lost)

    run_export(bulk, table)

    assert len(instance.requests("POST", "/syncs")) == 1
    assert state(table)["sync"] == "/syncs/1"


def test_a_sync_that_was_not_taken_is_asked_for_again(bulk: Bulk, instance: Instance, table: Table) -> None:
    instance.once("POST", "/syncs", 503, 503)

    run_export(bulk, table)

    assert len(instance.requests("POST", "/syncs")) == 3
    assert len(instance.syncs) == 1


def test_a_sync_that_is_never_taken_ends_the_run(bulk: Bulk, instance: Instance, table: Table) -> None:
    instance.answers("POST", "/syncs", 503)

    with pytest.raises(Unavailable):
        run_export(bulk, table)


@pytest.mark.parametrize("path", ["/syncs/1", "/syncs/1/data"])
@pytest.mark.parametrize("status", [404, 410])
def test_a_sync_that_eloqua_dropped_is_asked_for_anew(
    bulk: Bulk, instance: Instance, table: Table, path: str, status: int
) -> None:
    instance.rows = WAITING
    with pytest.raises(Killed):
        run_export(bulk, table, killed_at("success"))
    instance.answers("GET", path, status)

    run_export(bulk, table)

    assert content(table) == WAITING
    assert [definition for _, definition, _ in instance.syncs] == [f"{EXPORTS}/1", f"{EXPORTS}/2"]
    assert instance.deleted == instance.defined


def test_rows_that_are_gone_again_and_again_end_the_run(bulk: Bulk, instance: Instance, table: Table) -> None:
    for number in (1, 2, 3):
        instance.answers("GET", f"/syncs/{number}/data", 410)

    with pytest.raises(Refused, match="410"):
        run_export(bulk, table)
    assert len(instance.syncs) == 2


@pytest.mark.parametrize(("code", "kind"), [("ELQ-00122", SyncFailed), ("ELQ-00146", SyncPostponed)])
def test_a_failed_export_is_asked_for_anew_by_the_next_run(
    bulk: Bulk, instance: Instance, table: Table, code: str, kind: type[Exception]
) -> None:
    instance.rows = WAITING
    instance.answers("GET", "/syncs/1", {"status": "error"})
    instance.answers("GET", "/syncs/1/logs", page([line(code, "error")]))
    with pytest.raises(kind):
        run_export(bulk, table)
    assert instance.deleted == [f"{EXPORTS}/1"]

    run_export(bulk, table)

    assert content(table) == WAITING
    assert [definition for _, definition, _ in instance.syncs] == [f"{EXPORTS}/1", f"{EXPORTS}/2"]


@pytest.mark.parametrize("answer", [page([{"id": "1"}]), page(WAITING, total=3)], ids=["lacks a field", "lacks a row"])
def test_a_bad_page_leaves_no_table_and_is_read_again_by_the_next_run(
    bulk: Bulk, instance: Instance, table: Table, answer: Any
) -> None:
    instance.rows = WAITING
    instance.once("GET", "/syncs/1/data", answer)
    with pytest.raises(Refused):
        run_export(bulk, table)
    assert not table.exists()

    run_export(bulk, table)

    assert content(table) == WAITING
    assert len(instance.syncs) == 1


def test_a_cut_page_is_not_the_volumes_fault(instance: Instance, table: Table, settings: Settings) -> None:
    settings("transport", "deadline", 0.1)
    bulk = Bulk(Eloqua(Transport(), BASIC))
    instance.answers("GET", "/syncs/1/data", '{"items": [{"id": "1", "name": ""}')

    with pytest.raises((Unavailable, Refused)):
        run_export(bulk, table)


def test_a_killed_dry_run_goes_on_in_another_process(login: RequestsMock, instance: Instance, table: Table) -> None:
    instance.rows = WAITING
    with pytest.raises(Killed):
        run_export(rehearsing(login), table, killed_at("success"))

    run_export(rehearsing(login), table)

    assert content(table) == WAITING


def test_a_dry_run_killed_before_its_sync_goes_on_in_another_process(
    login: RequestsMock, instance: Instance, table: Table
) -> None:
    instance.rows = WAITING
    instance.kill_at = (2, "before")
    with pytest.raises(Killed):
        run_export(rehearsing(login), table)

    run_export(rehearsing(login), table)

    assert content(table) == WAITING


# imports


def rows(count: int, width: int = 5) -> list[dict[str, str]]:
    return [{"key": f"R{number}", "name": "ß" * width} for number in range(count)]


def filled(folder: Path, rows: list[dict[str, str]]) -> Table:
    """A table of rows to import, with a column that is not sent."""
    table = Table(folder / "Plan.parquet", {"note": "string", "name": "string", "key": "string"})
    with table.writer() as write:
        size = max(3, len(rows) // 3)
        for start in range(0, len(rows), size):
            write(pa.RecordBatch.from_pylist([{**row, "note": "not sent"} for row in rows[start : start + size]]))
    return table


def run_import(bulk: Bulk, plan: Table, folder: Path, progress: Callable[[str], None] = lambda text: None) -> Outcome:
    return import_table(bulk, FILL, plan, Parts(folder, "Fill", folder / "unfinished"), progress)


def staged(instance: Instance, sync: str) -> list[dict[str, str]]:
    """The rows that a sync took."""
    return next(rows for uri, _, rows in instance.syncs if uri == sync)


def taken(instance: Instance) -> list[dict[str, str]]:
    """The rows that all syncs took."""
    return [row for _, _, rows in instance.syncs for row in rows]


def test_an_import_sends_its_rows_and_counts_what_became_of_them(bulk: Bulk, instance: Instance, folder: Path) -> None:
    outcome = run_import(bulk, filled(folder, rows(7)), folder)

    assert taken(instance) == rows(7)
    assert (outcome.sent, outcome.updated, outcome.created, outcome.rejected) == (7, 7, 0, 0)
    assert outcome.syncs == ["/syncs/1"]
    assert outcome.began == "2026-11-22T06:15:00.1234567Z"
    assert bodies(instance.requests("POST", IMPORTS))[0].items() >= FILL.definition.items()
    assert instance.flow() == [
        f"POST {IMPORTS}",
        f"POST {IMPORTS}/1/data",
        "POST /syncs",
        "GET /syncs/1",
        "GET /syncs/1/logs",
        f"DELETE {IMPORTS}/1",
    ]


def test_an_import_of_nothing_asks_for_nothing(bulk: Bulk, instance: Instance, folder: Path) -> None:
    assert run_import(bulk, filled(folder, []), folder) == Outcome()
    assert instance.flow() == []


def test_uploads_are_cut_by_their_bytes(bulk: Bulk, instance: Instance, folder: Path, settings: Settings) -> None:
    settings("eloqua", "post_bytes", 1000)

    run_import(bulk, filled(folder, rows(60)), folder)

    uploads = instance.requests("POST", f"{IMPORTS}/1/data")
    assert len(uploads) == len(instance.requests("POST")) - 2 > 1
    assert max(len(request.body) for request in uploads) <= 1000
    assert min(len(request.body) for request in uploads[:-1]) > 900
    assert taken(instance) == rows(60)


@pytest.mark.parametrize(("spare", "fit"), [(0, 5), (-1, 4)])
def test_an_upload_is_filled_to_its_last_byte(
    bulk: Bulk, instance: Instance, folder: Path, settings: Settings, spare: int, fit: int
) -> None:
    same = [{"key": f"R{number}", "name": "Fair"} for number in range(10, 50)]
    five = len(json.dumps(same[:5], separators=(",", ":")))
    settings("eloqua", "post_bytes", five + spare)

    run_import(bulk, filled(folder, same), folder)

    assert {len(body) for body in bodies(instance.requests("POST", f"{IMPORTS}/1/data"))} == {fit}


def test_a_row_larger_than_an_upload_goes_alone(
    bulk: Bulk, instance: Instance, folder: Path, settings: Settings
) -> None:
    settings("eloqua", "post_bytes", 100)
    wide = [*rows(2), *[{"key": "W", "name": "x" * 200}], *rows(2)]

    run_import(bulk, filled(folder, wide), folder)

    assert taken(instance) == wide


@pytest.mark.parametrize(
    ("limits", "parts"),
    [
        ({"post_bytes": 120, "posts_per_sync": 2}, [6, 6, 3]),
        ({"post_bytes": 120, "sync_bytes": 190}, [6, 6, 3]),
    ],
    ids=["by uploads", "by bytes"],
)
def test_syncs_are_cut(
    bulk: Bulk, instance: Instance, folder: Path, settings: Settings, limits: dict[str, int], parts: list[int]
) -> None:
    for name, value in limits.items():
        settings("eloqua", name, value)

    outcome = run_import(bulk, filled(folder, rows(15)), folder)

    assert [len(rows) for _, _, rows in instance.syncs] == parts
    assert [definition for _, definition, _ in instance.syncs] == [f"{IMPORTS}/{number}" for number in (1, 2, 3)]
    assert taken(instance) == rows(15)
    assert (outcome.sent, outcome.updated, outcome.syncs) == (15, 15, ["/syncs/1", "/syncs/2", "/syncs/3"])
    assert instance.deleted == instance.defined


def test_syncs_of_a_large_table_take_each_row_once(
    bulk: Bulk, instance: Instance, folder: Path, settings: Settings
) -> None:
    settings("eloqua", "post_bytes", 100_000)
    settings("eloqua", "posts_per_sync", 3)
    many = rows(15_000, width=1)
    plan = Table(folder / "Plan.parquet", {"name": "string", "key": "string"})
    with plan.writer() as write:
        write(pa.RecordBatch.from_pylist(many))

    run_import(bulk, plan, folder)

    assert len(instance.syncs) == 2
    assert taken(instance) == many


def test_a_finished_part_is_not_sent_again(bulk: Bulk, instance: Instance, folder: Path, settings: Settings) -> None:
    settings("eloqua", "post_bytes", 120)
    settings("eloqua", "posts_per_sync", 2)
    plan = filled(folder, rows(15))
    first = run_import(bulk, plan, folder)
    before = len(instance.flow())

    assert run_import(bulk, plan, folder) == first
    assert len(instance.flow()) == before


def test_a_lost_upload_is_staged_anew_under_another_definition(
    bulk: Bulk, instance: Instance, folder: Path, settings: Settings
) -> None:
    settings("eloqua", "post_bytes", 120)

    def taken_but_lost(request: object) -> int:
        instance._well(request)
        return 503

    instance.once("POST", f"{IMPORTS}/1/data", instance._well, taken_but_lost)

    run_import(bulk, filled(folder, rows(9)), folder)

    assert [(definition, rows) for _, definition, rows in instance.syncs] == [(f"{IMPORTS}/2", rows(9))]
    assert instance.deleted == [f"{IMPORTS}/1", f"{IMPORTS}/2"]


def test_uploads_that_are_lost_again_and_again_end_the_run_before_its_sync(
    bulk: Bulk, instance: Instance, folder: Path
) -> None:
    for number in range(1, 10):
        instance.answers("POST", f"{IMPORTS}/{number}/data", 503)

    with pytest.raises(Unavailable):
        run_import(bulk, filled(folder, rows(3)), folder)
    assert instance.syncs == []
    assert instance.deleted == instance.defined


def test_a_lost_sync_answer_of_an_import_is_looked_for(bulk: Bulk, instance: Instance, folder: Path) -> None:
    def taken_but_lost(request: object) -> int:
        instance._well(request)
        return 503

    instance.answers("POST", "/syncs", taken_but_lost)

    run_import(bulk, filled(folder, rows(3)), folder)

    assert taken(instance) == rows(3)


def test_a_killed_import_settles_the_sync_it_asked_for(bulk: Bulk, instance: Instance, folder: Path) -> None:
    plan = filled(folder, rows(3))
    with pytest.raises(Killed):
        run_import(bulk, plan, folder, killed_at("success"))

    outcome = run_import(bulk, plan, folder)

    assert outcome.updated == 3
    assert len(instance.syncs) == 1


def test_an_import_killed_while_uploading_stages_each_row_once(
    bulk: Bulk, instance: Instance, folder: Path, settings: Settings
) -> None:
    settings("eloqua", "post_bytes", 120)
    plan = filled(folder, rows(9))
    with pytest.raises(Killed):
        run_import(bulk, plan, folder, killed_at("3 rows sent"))

    run_import(bulk, plan, folder)

    assert [(definition, rows) for _, definition, rows in instance.syncs] == [(f"{IMPORTS}/2", rows(9))]
    assert instance.deleted == instance.defined


def failing_sync(instance: Instance, number: int, code: str = "ELQ-00107") -> None:
    instance.answers("GET", f"/syncs/{number}", {"status": "error"})
    instance.answers("GET", f"/syncs/{number}/logs", page([line("ELQ-00130", count=3), line(code, "error")]))


def test_a_failed_import_is_sent_again_by_the_next_run(bulk: Bulk, instance: Instance, folder: Path) -> None:
    plan = filled(folder, rows(3))
    failing_sync(instance, 1)
    with pytest.raises(SyncFailed):
        run_import(bulk, plan, folder)
    assert instance.deleted == [f"{IMPORTS}/1"]

    outcome = run_import(bulk, plan, folder)

    assert outcome.syncs == ["/syncs/2"]
    assert staged(instance, "/syncs/2") == rows(3)


# what a killed run leaves to the run of another slot


def settled(bulk: Bulk, folder: Path) -> list[str]:
    """What is left open after a later run settled what it found."""
    settle(bulk, folder / "unfinished", lambda text: None)
    return [path.name for path in folder.glob("unfinished/*")]


def test_a_finished_import_leaves_nothing_to_settle(bulk: Bulk, instance: Instance, folder: Path) -> None:
    run_import(bulk, filled(folder, rows(3)), folder)

    assert list(folder.glob("unfinished/*")) == []


def test_an_import_killed_anywhere_is_settled_by_the_next_run_before_it_begins(
    http: RequestsMock, folder: Path
) -> None:
    def settle_and_import(bulk: Bulk) -> None:
        assert settled(bulk, folder) == []
        outcomes.append(run_import(bulk, filled(folder, rows(3)), folder))

    outcomes: list[Outcome] = []
    for instance in kills(http, folder, settle_and_import):
        assert outcomes[-1].updated == 3
        assert taken(instance) == rows(3)


def test_an_import_whose_sync_was_never_asked_for_is_forgotten_by_a_later_run(
    bulk: Bulk, instance: Instance, folder: Path
) -> None:
    instance.answers("POST", "/syncs", Killed())
    with pytest.raises(Killed):
        run_import(bulk, filled(folder, rows(3)), folder)

    assert settled(bulk, folder) == []
    assert not list(folder.glob("Fill.part-*"))
    assert instance.deleted == instance.defined


def test_a_failed_import_of_an_earlier_run_is_forgotten(bulk: Bulk, instance: Instance, folder: Path) -> None:
    with pytest.raises(Killed):
        run_import(bulk, filled(folder, rows(3)), folder, killed_at("success"))
    failing_sync(instance, 1)

    assert settled(bulk, folder) == []
    assert not list(folder.glob("Fill.part-*"))
    assert instance.deleted == instance.defined


def test_an_import_of_an_earlier_run_that_does_not_add_up_is_told_once(
    bulk: Bulk, instance: Instance, folder: Path
) -> None:
    with pytest.raises(Killed):
        run_import(bulk, filled(folder, rows(3)), folder, killed_at("success"))
    instance.answers("GET", "/syncs/1/logs", page([line("ELQ-00130", count=3), line("ELQ-00012", count=2)]))

    with pytest.raises(Unaccounted):
        settled(bulk, folder)

    assert settled(bulk, folder) == []


# accounts


def rejecting(instance: Instance, lines: list[dict[str, Any]], rejects: list[dict[str, Any]]) -> None:
    instance.answers("GET", "/syncs/1", {"status": "warning"})
    instance.answers("GET", "/syncs/1/logs", page(lines))
    pages = [rejects[start : start + 1000] for start in range(0, len(rejects), 1000)] or [[]]
    last = len(pages) - 1
    instance.answers(
        "GET",
        "/syncs/1/rejects",
        *[page(items, more=number < last, total=len(rejects)) for number, items in enumerate(pages)],
    )


def reject(number: int, code: str = "ELQ-00040") -> dict[str, Any]:
    return {"statusCode": code, "recordIndex": number + 1, "fieldValues": {"key": f"R{number}", "name": "Jane Doe"}}


def test_rejected_rows_are_kept_by_identifier_and_code(bulk: Bulk, instance: Instance, folder: Path) -> None:
    rejecting(
        instance,
        [line("ELQ-00130", count=2500), line("ELQ-00012", count=1299), line("ELQ-00012", count=1)],
        [reject(number) for number in range(1200)],
    )

    outcome = run_import(bulk, filled(folder, rows(2500)), folder)

    assert (outcome.updated, outcome.rejected) == (1300, 1200)
    (table,) = outcome.rejects
    assert content(table) == [{"identifier": f"R{number}", "code": "ELQ-00040"} for number in range(1200)]


def test_created_records_are_counted(bulk: Bulk, instance: Instance, folder: Path) -> None:
    lines = [line("ELQ-00130", count=3), line("ELQ-00012", count=2), line("ELQ-00007", count=1)]
    instance.answers("GET", "/syncs/1/logs", page(lines))

    outcome = run_import(bulk, filled(folder, rows(3)), folder)

    assert (outcome.updated, outcome.created) == (2, 1)


def test_rows_without_a_record_are_counted(bulk: Bulk, instance: Instance, folder: Path) -> None:
    lines = [line("ELQ-00130", count=3), line("ELQ-00012", count=1), line("ELQ-00034", count=2)]
    instance.answers("GET", "/syncs/1/logs", page(lines))
    what = dataclasses.replace(FILL, unmatched="ELQ-00034")

    outcome = import_table(bulk, what, filled(folder, rows(3)), Parts(folder, "Fill", folder / "unfinished"), print)

    assert (outcome.updated, outcome.unmatched) == (1, 2)


def test_a_log_without_a_line_for_the_staged_rows_suffices(bulk: Bulk, instance: Instance, folder: Path) -> None:
    instance.answers("GET", "/syncs/1/logs", page([line("ELQ-00012", count=3)]))

    assert run_import(bulk, filled(folder, rows(3)), folder).updated == 3


@pytest.mark.parametrize(
    "lines",
    [
        [line("ELQ-00130", count=3), line("ELQ-00012", count=2)],
        [line("ELQ-00130", count=2), line("ELQ-00012", count=3)],
        [line("ELQ-00130", count=3), line("ELQ-00012", count=3), line("ELQ-00007", count=1)],
        [],
    ],
    ids=["one lost", "one not staged", "one too many", "no log"],
)
def test_counts_that_do_not_add_up_are_never_taken_for_done(
    bulk: Bulk, instance: Instance, folder: Path, lines: list[dict[str, Any]]
) -> None:
    plan = filled(folder, rows(3))
    instance.answers("GET", "/syncs/1/logs", page(lines))

    for _ in range(2):  # nor by the next run
        with pytest.raises(Unaccounted, match="sync 1: 3 rows sent"):
            run_import(bulk, plan, folder)
    assert len(instance.syncs) == 1


def test_rejects_that_are_missing_are_noticed(bulk: Bulk, instance: Instance, folder: Path) -> None:
    rejecting(instance, [line("ELQ-00130", count=3), line("ELQ-00012", count=1)], [reject(0)])

    with pytest.raises(Unaccounted, match="1 rejected"):
        run_import(bulk, filled(folder, rows(3)), folder)


# killed anywhere


def kills(http: RequestsMock, folder: Path, work: Callable[[Bulk], None]) -> Iterator[Instance]:
    """Kill the work before and after each of its requests, and let the next run finish it; the instance as it is then."""
    last = False
    for number in range(1, 100):
        for moment in ("before", "after"):
            shutil.rmtree(folder, ignore_errors=True)
            http.reset()
            http.get(f"{LOGIN}/id", json=discovered())
            instance = Instance(http)
            instance.rows = WAITING
            instance.kill_at = (number, moment)
            try:
                work(Bulk(Eloqua(Transport(), BASIC)))
                last = True
            except Killed:
                work(Bulk(Eloqua(Transport(), BASIC)))
            yield instance
        if last:
            return


def test_an_export_killed_anywhere_reads_the_rows_of_one_sync(http: RequestsMock, table: Table) -> None:
    killed = 0
    for instance in kills(http, table.path.parent, lambda bulk: run_export(bulk, table)):
        killed += 1
        assert content(table) == WAITING
        assert len({definition for _, definition, _ in instance.syncs}) == len(instance.syncs) == 1
        assert len(set(instance.defined) - set(instance.deleted)) <= 1
    assert killed >= 10


def test_an_import_killed_anywhere_imports_each_row_once(http: RequestsMock, folder: Path, settings: Settings) -> None:
    settings("eloqua", "post_bytes", 120)
    settings("eloqua", "posts_per_sync", 2)
    outcomes: list[Outcome] = []

    def work(bulk: Bulk) -> None:
        plan = Table(folder / "Plan.parquet", {"note": "string", "name": "string", "key": "string"})
        outcomes.append(run_import(bulk, plan if plan.path.exists() else filled(folder, rows(9)), folder))

    killed = 0
    for instance in kills(http, folder, work):
        killed += 1
        assert taken(instance) == rows(9)
        assert outcomes[-1].updated == 9
        assert len({definition for _, definition, _ in instance.syncs}) == len(instance.syncs) == 2
        assert len(set(instance.defined) - set(instance.deleted)) <= 1
    assert killed >= 20
