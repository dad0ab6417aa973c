"""Uploaded rows that wait for a sync: JSON or CSV, read by DuckDB (eloqua.md 3.8)."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from scc.sandbox.eloqua.definitions import Definition
from scc.sandbox.eloqua.listing import invalid, not_found
from scc.sandbox.http import Failed, Request, text_response
from scc.sandbox.store import literal, quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

MAX_ROW = 64 * 1024 * 1024  # bytes: DuckDB wants a bound; the upload's own is lower
PIECE = 8 * 1024 * 1024  # bytes that DuckDB takes at a time; no row may be longer, and bigger ones are slower


class Staging:
    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store, self._clock = eloqua, eloqua.store, eloqua.clock

    def take(self, request: Request, definition: Definition) -> None:
        """Append one file. 404 above 32 MB, 400 from the 501st file on, 413 when the storage is full (eloqua.md 3.8)."""
        limits = self._eloqua.limits
        if len(request.body) > limits.upload_bytes:
            raise not_found()
        if len(definition.files) >= limits.files_per_sync:
            constraint = f"Must not exceed {limits.files_per_sync} files per sync."
            raise invalid([{"field": "data", "value": None, "constraint": constraint}])
        if self._eloqua.syncs.full(len(request.body)):
            raise Failed(text_response("Storage space exceeded.", 413))
        if definition.staged_until and self._clock.now >= definition.staged_until:
            self.empty(definition)
        definition.files.append(self._load(request, definition))
        definition.staged_bytes += len(request.body)
        definition.staged_until = self._clock.now + definition.retention()

    def empty(self, definition: Definition) -> None:
        self._store.execute(f"DROP TABLE IF EXISTS {definition.staging_table}")
        definition.files, definition.staged_bytes = [], 0
        definition.unknown_keys, definition.missing_keys = set(), set()

    def _load(self, request: Request, definition: Definition) -> int:
        """Append the uploaded rows to the definition's staging table; return how many. DuckDB reads the file."""
        names = list(definition.fields)
        is_csv = "csv" in request.headers.get("Content-Type", "").lower()
        table = definition.staging_table
        columns = ", ".join(f"c{i} VARCHAR" for i in range(len(names)))  # any name may come: rowid, too
        self._store.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
        handle, path = tempfile.mkstemp(suffix=".csv" if is_csv else ".json")
        try:
            with os.fdopen(handle, "wb") as upload:
                upload.write(request.body)
            copy = self._copy_csv if is_csv else self._copy_json
            count, found = copy(path, table, names, request.body)
        except duckdb.Error:
            raise invalid(
                [{"field": "data", "value": None, "constraint": "Must be a valid file of records."}]
            ) from None
        finally:
            Path(path).unlink()
        definition.unknown_keys |= found - set(names)
        definition.missing_keys |= set(names) - found
        return count

    def _copy_json(self, path: str, table: str, names: list[str], body: bytes) -> tuple[int, set[str]]:
        """Copy a JSON array of flat objects; return how many, and the keys that occur in it."""
        if not body.lstrip().startswith(b"["):
            raise invalid([{"field": "data", "value": None, "constraint": "Must be an array of records."}])
        if re.fullmatch(rb"\s*\[\s*\]\s*", body):
            return 0, set(names)
        before = self._store.value(f"SELECT count(*) FROM {table}")
        try:
            count = self._insert(path, table, names, PIECE)
        except duckdb.Error:  # broken, or a row that is longer than a piece: the second try tells
            count = self._insert(path, table, names, MAX_ROW)
        if self._plain(table, before, names, body):
            return count, set(names)
        try:
            return count, self._keys(path, PIECE)
        except duckdb.Error:
            return count, self._keys(path, MAX_ROW)

    def _insert(self, path: str, table: str, names: list[str], size: int) -> int:
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
        return self._store.value(f"""INSERT INTO {table} SELECT * FROM read_json({literal(path)}, format = 'array',
            records = true, maximum_object_size = {size}, columns = {{{columns}}})""")

    def _plain(self, table: str, start: int, names: list[str], body: bytes) -> bool:
        """Whether every row has just the keys of the definition: known without reading the file a second time.

        Each key brings a colon of its own; the other colons are those of the values, if nothing is escaped.
        """
        if b"\\" in body or any(":" in name for name in names):
            return False
        columns = [f"c{i}" for i in range(len(names))]
        cells, colons, rows = (
            self._store.rows(f"""SELECT sum(cells), sum(strlen(t) - strlen(replace(t, ':', ''))), count(*)
            FROM (SELECT concat({", ".join(columns)}) AS t, {" + ".join(f"({c} IS NOT NULL)::INT" for c in columns)} AS cells
                  FROM {table} WHERE rowid >= {start})""")[0]
        )
        return rows > 0 and cells == rows * len(names) and body.count(b":") == cells + colons

    def _keys(self, path: str, size: int) -> set[str]:
        """The keys of all objects in the file; their lists are few, for rows repeat their keys."""
        rows = self._store.rows(f"""SELECT DISTINCT unnest(keys) FROM (SELECT DISTINCT json_keys(json) AS keys FROM
            read_json({literal(path)}, format = 'array', records = false, maximum_object_size = {size},
                      columns = {{json: 'JSON'}}))""")
        return {row[0] for row in rows}

    def _copy_csv(self, path: str, table: str, names: list[str], body: bytes) -> tuple[int, set[str]]:
        if not body.strip():
            return 0, set(names)
        source = (
            f"read_csv({literal(path)}, header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"')"
        )
        found = [row[0] for row in self._store.rows(f"DESCRIBE SELECT * FROM {source}")]
        picked = ", ".join(quoted(name) if name in found else "NULL" for name in names)
        return self._store.value(f"INSERT INTO {table} SELECT {picked} FROM {source}"), set(found)
