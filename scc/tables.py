"""Parquet tables between steps, and the one door to the engine that runs the rules on them.

Rules are written with Narwhals; DuckDB runs them in bounded memory and spills to disk. The heavy libraries are imported
where they are used: together they cost 118 MiB and half a second (engine.md).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scc.config import tables as settings
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

ROW_GROUP = 50_000


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


class Engine:
    """DuckDB on a connection of its own: frames of two connections cannot meet in one expression (engine.md)."""

    def __init__(self) -> None:
        import duckdb

        limits = settings()
        self._connection = duckdb.connect(
            config={
                "memory_limit": limits.memory_limit,
                "temp_directory": limits.spill_folder,
                "max_temp_directory_size": limits.spill_limit,
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def read(self, table: Table) -> "nw.LazyFrame[Any]":
        """The table as a lazy Narwhals frame."""
        import narwhals as nw

        with reading(table.path):
            return nw.from_native(self._connection.read_parquet(str(table.path)))

    def write(self, frame: "nw.LazyFrame[Any]", table: Table) -> None:
        """Run the frame into the table, whole or not at all, in its declared schema.

        Raises ValueError when the frame has other columns than the schema declares: the next step reads it.
        """
        import narwhals as nw

        columns = frame.collect_schema().names()
        if set(columns) != set(table.schema):
            odd = ", ".join(sorted(set(columns) ^ set(table.schema)))
            raise ValueError(f"{table.path.name}: columns missing or not declared: {odd}")
        typed = frame.select(nw.col(name).cast(getattr(nw, TYPES[kind][0])) for name, kind in table.schema.items())
        with replacing(table.path) as temporary:
            typed.to_native().write_parquet(str(temporary), compression="zstd", row_group_size=ROW_GROUP)

    def rows(self, frame: "nw.LazyFrame[Any]") -> list[dict[str, Any]]:
        """A small result as dicts: counts, a handful of ids. Never a table."""
        return frame.collect("pyarrow").rows(named=True)

    def batches(self, frame: "nw.LazyFrame[Any]", rows: int = 10_000) -> "Iterator[pa.RecordBatch]":
        """The result in record batches of at most so many rows, in no particular order."""
        yield from frame.to_native().to_arrow_reader(rows)
