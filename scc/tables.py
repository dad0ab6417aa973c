"""Parquet tables between steps, and the one door to the engine that runs the rules on them.

Rules are written with Narwhals; DuckDB runs them in bounded memory and spills to disk. The heavy libraries are imported
where they are used: together they cost 118 MiB and half a second (engine.md).
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scc.config import tables as settings
from scc.errors import ConfigError, VolumeUnavailable
from scc.outputs import Target, reading, replacing

if TYPE_CHECKING:
    import narwhals as nw
    import pyarrow as pa

# name -> (Narwhals type, Arrow type); a schema names its columns' types by these words
TYPES = {
    "string": ("String", "string"),
    "integer": ("Int64", "int64"),
    "boolean": ("Boolean", "bool_"),
}
Schema = Mapping[str, str]

BATCH = 10_000  # rows that are made at a time
ROW_GROUP = 4_096  # rows; a larger group of wide rows does not fit beside the rest into the default memory


class Table(Target):
    """A Parquet file with a declared schema: column name -> "string", "integer" or "boolean"."""

    def __init__(self, path: Path, schema: Schema):
        super().__init__(path)
        self.schema = dict(schema)

    @contextmanager
    def writer(self) -> "Iterator[Callable[[pa.RecordBatch], None]]":
        """A function that appends one record batch; the table appears when the block ends well."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = arrow_schema(self.schema)
        with replacing(self.path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as file:

            def write(batch: pa.RecordBatch) -> None:
                file.write_batch(batch.select(schema.names).cast(schema), row_group_size=ROW_GROUP)

            yield write

    def batches(self, rows: int = 10_000) -> "Iterator[pa.RecordBatch]":
        """Record batches of at most so many rows, always in the file's order."""
        import pyarrow.parquet as pq

        with reading(self.path), pq.ParquetFile(self.path) as file:
            yield from file.iter_batches(batch_size=rows)


def arrow_schema(schema: Schema) -> "pa.Schema":
    """The Arrow schema of a declared one."""
    import pyarrow as pa

    return pa.schema([(name, getattr(pa, TYPES[kind][1])()) for name, kind in schema.items()])


def in_batches(rows: Iterator[Mapping[str, Any]], schema: Schema) -> "Iterator[pa.RecordBatch]":
    """Rows as record batches of the schema, in their order."""
    import pyarrow as pa

    while batch := list(itertools.islice(rows, BATCH)):
        yield pa.RecordBatch.from_pylist([dict(row) for row in batch], schema=arrow_schema(schema))


class Engine:
    """DuckDB on a connection of its own: frames of two connections cannot meet in one expression (engine.md)."""

    def __init__(self) -> None:
        import duckdb

        limits = settings()
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": limits.memory_limit,
            "threads": limits.threads,
            "temp_directory": limits.spill_folder,
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        try:
            self._connection = duckdb.connect(config=config)
            # 1.5.6 takes this setting at connect as well, and then does not obey it
            spill_limit = limits.spill_limit.replace("'", "")
            self._connection.execute(f"SET max_temp_directory_size = '{spill_limit}'")
        except duckdb.Error:
            raise ConfigError(
                "[tables] in luigi.cfg: memory_limit and spill_limit are sizes like 128MB, spill_folder a folder"
            ) from None

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def read(self, table: Table) -> "nw.LazyFrame[Any]":
        """The table as a lazy Narwhals frame."""
        import narwhals as nw

        with _engines_words(table.path):
            return nw.from_native(self._connection.read_parquet(str(table.path)))

    def read_all(self, tables: Sequence[Table], schema: Schema) -> "nw.LazyFrame[Any]":
        """Tables of one schema as one lazy frame, which is empty where there is no table."""
        import narwhals as nw

        if tables:
            return nw.concat([self.read(table).select(*schema) for table in tables])
        empty = arrow_schema(schema).empty_table()
        return nw.from_native(self._connection.from_arrow(empty)).lazy()

    def write(self, frame: "nw.LazyFrame[Any]", table: Table) -> None:
        """Run the frame into the table, whole or not at all, in its declared schema.

        Raises ValueError when the frame has other columns than the schema declares: the next step reads it.
        """
        import narwhals as nw

        with _engines_words(table.path):
            columns = frame.collect_schema().names()
        if set(columns) != set(table.schema) or len({name.lower() for name in columns}) < len(columns):
            odd = ", ".join(sorted(set(columns) ^ set(table.schema)))
            raise ValueError(
                f"{table.path.name}: columns missing, not declared, or alike but for their case: {odd or ', '.join(columns)}"
            )
        with replacing(table.path) as temporary, _engines_words(table.path):
            typed = frame.select(nw.col(name).cast(getattr(nw, TYPES[kind][0])) for name, kind in table.schema.items())
            typed.to_native().write_parquet(str(temporary), compression="zstd", row_group_size=ROW_GROUP)

    def rows(self, frame: "nw.LazyFrame[Any]") -> list[dict[str, Any]]:
        """A small result as dicts: counts, a handful of ids. Never a table."""
        with _engines_words(None):
            return frame.collect("pyarrow").rows(named=True)

    def batches(self, frame: "nw.LazyFrame[Any]", rows: int = 10_000) -> "Iterator[pa.RecordBatch]":
        """The result in record batches of at most so many rows, in no particular order."""
        with _engines_words(None):
            yield from frame.to_native().to_arrow_reader(rows)


@contextmanager
def _engines_words(path: Path | None) -> Iterator[None]:
    """DuckDB's own words for a volume that fails, or for limits too small, become ours."""
    import duckdb

    try:
        yield
    except duckdb.IOException:
        raise VolumeUnavailable(
            f"the engine could not read or write {path or 'a table'}: run again when the volume is back"
        ) from None
    except duckdb.OutOfMemoryException:
        raise ConfigError(
            "the engine ran out of memory and spill space: raise memory_limit or spill_limit in [tables] of luigi.cfg"
        ) from None
