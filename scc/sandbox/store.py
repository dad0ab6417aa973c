"""All business data and the log of its changes, in one DuckDB database.

Tables live in schemas: `eloqua` and `sf` hold business data, `staging` holds what Eloqua stages for imports and exports
and what Salesforce keeps behind a query locator, `log` holds the mutations. Readers use `rows` from any thread; writers
hold `lock`, so that two clients always see whole changes.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from scc.sandbox.clock import Clock

# The request that is being served, for the mutation log: the door to state from Python has none.
_current = threading.local()

THREADS = min(4, os.cpu_count() or 1)
# Small blocks for small companies; in the old format of a file, which is the default, statistics cost 10 ms to read.
FILE = "BLOCK_SIZE 16384, STORAGE_VERSION 'latest'"
# Started engines that no store uses: starting one costs 20 ms, more than all else that a copy of a store needs.
_idle: list[duckdb.DuckDBPyConnection] = []
MOST_IDLE = 4
# A name is never used twice, so that what still runs for a store that was closed cannot reach the engine's next one.
_databases = itertools.count(1)


class Store:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self._names: dict[str, int] = {}
        self._counting = threading.Lock()
        self._db = engine()
        self._attach(":memory:")

    def create_schemas(self) -> None:
        self.execute("""
            CREATE SCHEMA eloqua; CREATE SCHEMA sf; CREATE SCHEMA staging; CREATE SCHEMA log;
            CREATE TABLE log.batch (batch BIGINT, time TIMESTAMP, system VARCHAR, object VARCHAR,
                                    request VARCHAR, fields VARCHAR[]);
            CREATE TABLE log.mutation (batch BIGINT, id VARCHAR, kind VARCHAR, old VARCHAR[], new VARCHAR[]);
        """)

    def use_threads(self, count: int | None = None) -> None:
        """How many threads of DuckDB's own a statement may run on, from now on; None: as many as usual."""
        self.execute(f"SET threads = {count or THREADS}")

    def copy_to(self, path: str) -> None:
        """Write all tables to a new DuckDB file."""
        copy = f"{self._database}_copy"
        self.execute(f"""ATTACH {literal(path)} AS {copy} ({FILE});
                         COPY FROM DATABASE {self._database} TO {copy}; CHECKPOINT {copy}; DETACH {copy}""")

    def copy_from(self, path: str) -> None:
        """Make an empty store one with the tables of such a file, independent of it.

        It works on a copy of the file, without a log of its own: a fifth of the time that copying table by table takes.
        """
        handle, own = tempfile.mkstemp(prefix="scc-sandbox-")
        os.close(handle)
        try:
            shutil.copyfile(path, own)
            self._db.execute(f"DETACH {self._database}")
            self._attach(own, "(RECOVERY_MODE no_wal_writes)")
        finally:
            Path(own).unlink()  # the open file lives on until the store is closed

    def _attach(self, path: str, options: str = "") -> None:
        self._database = f"company_{next(_databases)}"
        self._cursors = threading.local()
        self._db.execute(f"ATTACH {literal(path)} AS {self._database} {options}")

    def close(self) -> None:
        """Forget all tables. Who still waits for an answer of this store gets an error."""
        database, self._database = self._database, "closed"
        if database == "closed":
            return
        try:
            self._db.execute(f"DETACH {database}")
        except duckdb.Error:
            self._db.close()  # such an engine is not given to anybody else
            return
        if len(_idle) < MOST_IDLE:
            _idle.append(self._db)
        else:
            self._db.close()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the same tables."""
        cursor = self._db.cursor()
        cursor.execute(f"USE {self._database}")
        return cursor

    # -- SQL ------------------------------------------------------------------------------------------------------

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        """Run one statement on this thread's cursor; fetch from what it returns before the next call."""
        cursor = getattr(self._cursors, "cursor", None)
        if cursor is None:
            cursor = self._cursors.cursor = self.cursor()
        return cursor.execute(sql, list(parameters)) if parameters else cursor.execute(sql)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.execute(sql, parameters).fetchall()

    def dicts(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        cursor = self.execute(sql, parameters)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the first row, None when there is no row.

        All rows are fetched: a result that is left in the middle keeps its transaction open until this thread asks
        again, and as long as one is open DuckDB keeps whatever others drop or replace.
        """
        rows = self.rows(sql, parameters)
        return rows[0][0] if rows else None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One writer at a time; all or nothing."""
        with self.lock:
            self.execute("BEGIN")
            try:
                yield
            except BaseException:
                self.execute("ROLLBACK")
                raise
            self.execute("COMMIT")

    def next_number(self, counter: str, start: int = 1) -> int:
        """The next number of a counter: 1, 2, 3 ... Definitions, syncs, batches and ids each have their own."""
        with self._counting:  # not the writers' lock: a reader counts its request, too
            self._names[counter] = self._names.get(counter, start - 1) + 1
            return self._names[counter]

    # -- mutations --------------------------------------------------------------------------------------------------

    @contextmanager
    def caused_by(self, request: str) -> Iterator[None]:
        """Whatever this thread changes inside is put down to `request` ("METHOD path")."""
        before = getattr(_current, "request", None)
        _current.request = request
        try:
            yield
        finally:
            _current.request = before

    def new_batch(self, system: str, object_name: str, fields: Sequence[str], request: str | None = None) -> int:
        """Open a batch of changes of one object; its rows go to log.mutation, with values in the order of `fields`.

        Changes are kept as arrays of texts and rendered when asked for: an import of 1,000,000 rows writes its batch
        in one statement.
        """
        batch = self.next_number("batch")
        cause = request or getattr(_current, "request", None) or "python"
        self.execute(
            "INSERT INTO log.batch VALUES (?, ?, ?, ?, ?, ?)",
            [batch, self.clock.naive, system, object_name, cause, list(fields)],
        )
        return batch

    def log_change(
        self, system: str, object_name: str, record_id: str, kind: str, old: Mapping[str, Any], new: Mapping[str, Any]
    ) -> None:
        """Log one record's change; `kind` is create, update or delete, values are by field name."""
        fields = [name for name in {**old, **new} if kind != "update" or old.get(name) != new.get(name)]
        if kind == "update" and not fields:
            return
        batch = self.new_batch(system, object_name, fields)
        self.execute(
            "INSERT INTO log.mutation VALUES (?, ?, ?, ?, ?)",
            [batch, str(record_id), kind, [text(old.get(f)) for f in fields], [text(new.get(f)) for f in fields]],
        )

    def mutations(self) -> Iterator[str]:
        """Every change of business data in order, as JSON texts: time, system, object, id, kind, changed, request.

        changed: {field: {"old": text, "new": text}}, only what differs. DuckDB renders them: a million take seconds.
        """
        cursor = self.cursor()
        cursor.execute("""
            SELECT to_json(struct_pack("time" := strftime(b.time, '%Y-%m-%dT%H:%M:%S.%gZ'), "system" := b.system,
                "object" := b.object, "id" := m.id, "kind" := m.kind,
                "changed" := map_from_entries(list_transform(
                    list_filter(list_zip(b.fields, coalesce(m.old, []), coalesce(m.new, [])),
                                lambda f: f[2] IS DISTINCT FROM f[3]),
                    lambda f: (f[1], struct_pack("old" := f[2], "new" := f[3])))),
                "request" := b.request))
            FROM log.mutation m JOIN log.batch b USING (batch) ORDER BY b.batch, m.rowid
        """)
        while page := cursor.fetchmany(5000):
            yield from (row[0] for row in page)

    def count_mutations(self) -> int:
        return self.value("SELECT count(*) FROM log.mutation")


def engine() -> duckdb.DuckDBPyConnection:
    """A DuckDB without a database of ours: one that a closed store has left, or a new one."""
    try:
        return _idle.pop()
    except IndexError:
        started = duckdb.connect(":memory:", config={"threads": THREADS})
    # What is worth keeping is written by `copy_to`; a store's own file is gone already.
    return started.execute("PRAGMA disable_checkpoint_on_shutdown")


def text(value: Any) -> str | None:
    """A value as the mutation log shows it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A text as an SQL literal, for places that take no parameter."""
    text_ = "'" + value.replace("'", "''") + "'"
    return text_ if "\0" not in value else "(" + text_.replace("\0", "' || chr(0) || '") + ")"  # SQL ends at a NUL


def compact(document: Any) -> bytes:
    """A document as JSON bytes the way both systems send it: UTF-8, no blanks."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace")
