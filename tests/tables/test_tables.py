"""What tables promise to the next step, and the engine to the machine: declared columns, order, bounded memory."""

import random
from collections.abc import Callable
from pathlib import Path

import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scc.errors import ConfigError, VolumeUnavailable
from scc.tables import Engine, Table
from tests.outputs.conftest import full_disk

SCHEMA = {"id": "string", "visits": "integer", "active": "boolean"}
ROWS = [{"id": "a", "visits": 3, "active": True}, {"id": "größer", "visits": None, "active": None}]
# as strings that do not compress and do not fit: 80 MB in all, twice that when joined
MANY, WIDTH = 200_000, 400


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "step" / "Export.parquet", SCHEMA)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Many wide rows: id, text."""
    table = Table(tmp_path_factory.mktemp("wide") / "wide.parquet", {"id": "string", "text": "string"})
    noise = random.Random(1).randbytes(MANY * 8 + WIDTH).hex()
    with table.writer() as write:
        for start in range(0, MANY, 5000):
            numbers = range(start, start + 5000)
            texts = [noise[number * 16 : number * 16 + WIDTH] for number in numbers]
            write(pa.RecordBatch.from_pydict({"id": [str(number) for number in numbers], "text": texts}))
    return table


def fill(table: Table, rows: list[dict[str, object]]) -> None:
    with table.writer() as write:
        write(pa.RecordBatch.from_pylist(rows))


def content(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.exists() else []


# a table by itself


def test_a_table_holds_what_was_written(table: Table) -> None:
    fill(table, ROWS)

    assert [row for batch in table.batches() for row in batch.to_pylist()] == ROWS


def test_a_table_has_the_declared_columns_whatever_the_batch_had(table: Table) -> None:
    fill(table, [{"active": None, "more": "x", "visits": 1, "id": None}])

    assert pq.read_schema(table.path).names == ["id", "visits", "active"]
    assert [str(kind) for kind in pq.read_schema(table.path).types] == ["string", "int64", "bool"]


def test_a_table_of_no_rows_has_its_columns(table: Table) -> None:
    with table.writer():
        pass

    assert pq.read_table(table.path).schema.names == list(SCHEMA)
    assert list(table.batches()) == []


@pytest.mark.parametrize(
    "row", [{"id": "a", "visits": 3}, {"id": "a", "visits": "many", "active": True}], ids=["missing", "of another type"]
)
def test_a_batch_that_breaks_the_schema_leaves_no_table(table: Table, row: dict[str, object]) -> None:
    with pytest.raises((KeyError, ValueError)):
        fill(table, [row])

    assert content(table.path.parent) == []


def test_a_table_appears_when_its_writer_ends_well(table: Table) -> None:
    with pytest.raises(RuntimeError), table.writer() as write:
        write(pa.RecordBatch.from_pylist(ROWS))
        raise RuntimeError("the next page did not come")

    assert content(table.path.parent) == []


def test_batches_keep_the_files_order_and_their_size(table: Table) -> None:
    with table.writer() as write:
        for start in range(0, 250_000, 50_000):
            numbers = [str(number) for number in range(start, start + 50_000)]
            nothing = [None] * len(numbers)
            write(pa.RecordBatch.from_pydict({"id": numbers, "visits": nothing, "active": nothing}))

    batches = list(table.batches(rows=7_000))

    assert [number for batch in batches for number in batch.column("id").to_pylist()] == [
        str(number) for number in range(250_000)
    ]
    assert max(batch.num_rows for batch in batches) <= 7_000


def test_a_table_that_cannot_be_read_is_the_volumes_fault(table: Table) -> None:
    with pytest.raises(VolumeUnavailable):
        next(table.batches())


def test_a_full_volume_is_the_volumes_fault(wide: Table, table: Table) -> None:
    copy = Table(table.path, wide.schema)
    with full_disk(), pytest.raises(VolumeUnavailable), copy.writer() as write:
        for batch in wide.batches():
            write(batch)

    assert content(table.path.parent) == []


# the engine


def test_the_engine_writes_a_frame_in_the_declared_types_and_order(table: Table) -> None:
    fill(table, ROWS)
    result = Table(table.path.with_name("Counts.parquet"), {"visits": "integer", "id": "string", "twice": "boolean"})

    with Engine() as engine:
        frame = engine.read(table).group_by("id").agg(visits=nw.col("visits").sum(), twice=nw.len() > 1)
        engine.write(frame, result)

    assert pq.read_schema(result.path).names == ["visits", "id", "twice"]
    assert [str(kind) for kind in pq.read_schema(result.path).types] == ["int64", "string", "bool"]
    rows = pq.read_table(result.path).to_pylist()
    assert {"visits": 3, "id": "a", "twice": False} in rows
    assert len(rows) == 2


@pytest.mark.parametrize(
    ("columns", "named"), [(["id", "visits"], "active"), (["id", "visits", "active", "more"], "more")]
)
def test_the_engine_refuses_a_frame_of_other_columns(table: Table, columns: list[str], named: str) -> None:
    fill(table, ROWS)
    result = Table(table.path.with_name("Result.parquet"), SCHEMA)

    with Engine() as engine, pytest.raises(ValueError, match=f"Result.parquet.*: {named}$"):
        engine.write(engine.read(table).with_columns(more=nw.lit(1)).select(columns), result)
    assert not result.path.exists()


def test_columns_that_differ_only_in_case_are_refused(table: Table) -> None:
    """DuckDB would rename one of them, and read the other in its place."""
    fill(table, ROWS)
    result = Table(table.path.with_name("Result.parquet"), {"id": "string", "ID": "string"})

    with Engine() as engine, pytest.raises(ValueError, match="ID"):
        engine.write(engine.read(table).select("id", nw.col("id").alias("ID")), result)
    assert not result.path.exists()


def test_a_frame_that_fails_leaves_no_table(table: Table) -> None:
    fill(table, ROWS)
    result = Table(table.path.with_name("Result.parquet"), {"id": "integer"})

    with Engine() as engine, pytest.raises(Exception, match=r"(?i)conver"):
        engine.write(engine.read(table).select("id"), result)
    assert content(table.path.parent) == ["Export.parquet"]


def test_the_engine_gives_small_results_as_dicts_and_large_ones_in_batches(table: Table) -> None:
    fill(table, [{"id": str(number), "visits": number, "active": True} for number in range(5_000)])

    with Engine() as engine:
        frame = engine.read(table)
        assert engine.rows(frame.select(rows=nw.len(), most=nw.col("visits").max())) == [{"rows": 5_000, "most": 4_999}]
        batches = list(engine.batches(frame, rows=2_048))

    assert sorted(number for batch in batches for number in batch.column("visits").to_pylist()) == list(range(5_000))
    assert len(batches) > 1


def test_a_table_that_the_engine_cannot_read_is_the_volumes_fault(table: Table) -> None:
    with Engine() as engine, pytest.raises(VolumeUnavailable):
        engine.rows(engine.read(table))


def test_a_table_that_goes_away_before_the_engine_reads_it_is_the_volumes_fault(table: Table) -> None:
    fill(table, ROWS)
    result = Table(table.path.with_name("Result.parquet"), SCHEMA)

    with Engine() as engine:
        frame = engine.read(table)
        table.path.unlink()
        with pytest.raises(VolumeUnavailable):
            engine.write(frame, result)


def test_a_full_volume_is_the_volumes_fault_when_the_engine_writes(
    wide: Table, table: Table, settings: Callable[[str, str, object], None]
) -> None:
    settings("tables", "memory_limit", "1GB")

    with Engine() as engine, full_disk(), pytest.raises(VolumeUnavailable):
        engine.write(engine.read(wide), Table(table.path, wide.schema))

    assert content(table.path.parent) == []


# memory


@pytest.fixture
def spill(tmp_path: Path, settings: Callable[[str, str, object], None]) -> Path:
    """Where the engine spills; it has 96 MB of memory."""
    settings("tables", "memory_limit", "96MB")
    settings("tables", "spill_folder", tmp_path / "spill")
    settings("tables", "spill_limit", "1GB")
    return tmp_path / "spill"


def joined(engine: Engine, wide: Table) -> "nw.LazyFrame[object]":
    return engine.read(wide).join(engine.read(wide).select("id", other=nw.col("text")), on="id")


def test_what_does_not_fit_into_memory_is_spilled(wide: Table, spill: Path) -> None:
    with Engine() as engine:
        batches = engine.batches(joined(engine, wide))
        rows = next(batches).num_rows
        spilled = sum(path.stat().st_size for path in spill.iterdir())
        rows += sum(batch.num_rows for batch in batches)

    assert rows == MANY
    assert spilled > 10_000_000
    assert content(spill) == []


def test_the_engine_spills_no_more_than_it_may(
    wide: Table, spill: Path, settings: Callable[[str, str, object], None]
) -> None:
    settings("tables", "spill_limit", "5MB")

    with Engine() as engine, pytest.raises(ConfigError, match="spill_limit"):
        for _ in engine.batches(joined(engine, wide)):
            pass


def test_wide_rows_are_written_within_the_memory_that_is_the_default(
    wide: Table, tmp_path: Path, settings: Callable[[str, str, object], None]
) -> None:
    settings("tables", "memory_limit", "128MB")
    settings("tables", "spill_folder", tmp_path / "spill")
    result = Table(tmp_path / "Result.parquet", {**wide.schema, "other": "string"})

    with Engine() as engine:
        engine.write(joined(engine, wide), result)

    assert pq.read_metadata(result.path).num_rows == MANY


def test_a_bad_limit_is_the_operators_fault(settings: Callable[[str, str, object], None]) -> None:
    settings("tables", "memory_limit", "much")

    with pytest.raises(ConfigError, match="memory_limit"):
        Engine()


def test_tables_of_one_schema_are_read_as_one_frame_and_none_as_an_empty_one(tmp_path: Path) -> None:
    tables = [Table(tmp_path / f"{name}.parquet", {"key": "string", "count": "integer"}) for name in "ab"]
    for number, table in enumerate(tables):
        fill(table, [{"key": table.path.stem, "count": number}])

    with Engine() as engine:
        assert sorted(row["key"] for row in engine.rows(engine.read_all(tables, tables[0].schema))) == ["a", "b"]
        empty = engine.read_all([], tables[0].schema)
        assert engine.rows(empty) == []
        together = engine.read_all(tables, tables[0].schema).join(empty, on="key", how="anti")
        assert len(engine.rows(together)) == 2
