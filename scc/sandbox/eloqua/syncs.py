"""Syncs: pending, active, final; their logs, rejects and rows (eloqua.md 3.8, 3.9).

A sync takes effect when it becomes final: at the k-th GET of /syncs/{id}, or, when nobody asks, after
`limits.sync_seconds` of the sandbox's clock. Until then the world may change under it, as in the real Eloqua.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.definitions import Definition
from scc.sandbox.eloqua.eel import EASTERN, Condition, compile_filter
from scc.sandbox.eloqua.entities import Entity, Statement, stamp
from scc.sandbox.eloqua.imports import MESSAGES, Importer, Outcome
from scc.sandbox.store import quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

FINAL = ("success", "warning", "error")
REQUEST = "POST /api/bulk/2.0/syncs"  # what the mutation log names as the cause of an import's changes


@dataclass
class Sync:
    id: int
    definition: Definition
    user: str
    created: datetime
    fate: str | None = None  # "error", "warning" or "stuck", by a fault
    callback: str | None = None
    status: str = "pending"
    polls: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    columns: list[str] = field(default_factory=list)  # of an export: the names of its rows
    rows: int = 0
    dropped: bool = False  # DELETE /syncs/{id}/data
    logs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def uri(self) -> str:
        return f"/syncs/{self.id}"

    @property
    def table(self) -> str:
        return f"staging.export_{self.id}"

    @property
    def final(self) -> bool:
        return self.status in FINAL

    def shown(self, new: bool = False) -> dict[str, Any]:
        answer: dict[str, Any] = {"syncedInstanceUri": self.definition.uri}
        if self.started and not new:
            answer["syncStartedAt"] = stamp(self.started)
        if self.ended and not new:
            answer["syncEndedAt"] = stamp(self.ended)
        answer["status"] = "pending" if new else self.status
        answer["createdAt"] = stamp(self.created)
        answer["createdBy"] = self.user
        if self.callback:
            answer["callbackUrl"] = self.callback
        return {**answer, "uri": self.uri}


class Syncs:
    """All syncs of the instance, and what makes them go on."""

    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store, self._clock = eloqua, eloqua.store, eloqua.clock
        self.all: dict[int, Sync] = {}

    def create(self, definition: Definition, user: str, fate: str | None, callback: str | None) -> Sync:
        sync = Sync(self._store.next_number("eloqua sync", 1201), definition, user, self._clock.now, fate, callback)
        self.all[sync.id] = sync
        if self._eloqua.sync_polls == 0:
            self._finish(sync)
        return sync

    def poll(self, sync: Sync) -> None:
        """One GET of /syncs/{id}: the k-th finds it final."""
        if sync.final:
            return
        sync.polls += 1
        if sync.polls >= self._eloqua.sync_polls and sync.fate != "stuck":
            self._finish(sync)
        elif sync.status == "pending":
            self._start(sync)

    def settle(self) -> None:
        """End the syncs that nobody asked about for so long that Eloqua is done with them."""
        limit = timedelta(seconds=self._eloqua.limits.sync_seconds)
        for sync in self.all.values():
            if not sync.final and sync.fate != "stuck" and self._clock.now - sync.created >= limit:
                self._finish(sync)

    def running(self, definition: Definition) -> bool:
        return any(s.definition is definition and not s.final for s in self.all.values())

    # -- the run ----------------------------------------------------------------------------------------------------

    def _start(self, sync: Sync) -> None:
        sync.status, sync.started = "active", sync.started or self._clock.now

    def _finish(self, sync: Sync) -> None:
        self._start(sync)
        with self._store.transaction(), self._store.caused_by(REQUEST):
            sync.status = self._work(sync)
        sync.ended = self._clock.now
        level = {"success": "information"}.get(sync.status, sync.status)
        self._log(sync, "ELQ-00101", 0, level, MESSAGES["ELQ-00101"][0].format(sync=sync.id, status=sync.status))

    def _work(self, sync: Sync) -> str:
        definition = sync.definition
        if not self._eloqua.exists(definition):
            self._log(sync, "ELQ-00143", 0, "error")
            return "error"
        if sync.fate == "error":
            self._log(sync, "ELQ-00107", 0, "error")
            return "error"
        status = self._export(sync) if definition.kind == "exports" else self._import(sync)
        return "warning" if sync.fate == "warning" else status

    def _export(self, sync: Sync) -> str:
        definition = sync.definition
        select, condition = export_query(definition)
        most = definition.body.get("maxRecords") or self._eloqua.limits.max_records
        self._store.execute(f"CREATE TABLE {sync.table} AS {select} ORDER BY r.Id LIMIT {int(most)}", condition.values)
        sync.columns = list(definition.fields)
        sync.rows = self._store.value(f"SELECT count(*) FROM {sync.table}")
        self._log(sync, "ELQ-00131", 0)
        self._log(sync, "ELQ-00102", sync.rows)
        self._log(sync, "ELQ-00106", sync.rows)
        return "success"

    def _import(self, sync: Sync) -> str:
        definition = sync.definition
        if not definition.files:
            self._log(sync, "ELQ-00124", 0, "warning")
            return "warning"
        refusals = self._eloqua.refusals.get(definition.entity.name, {})
        outcome = Importer(self._store, definition, sync.id, refusals, self._eloqua.limits).run()
        irregular = self._log_import(sync, outcome)
        definition.files, definition.staged_bytes = [], 0
        definition.unknown_keys, definition.missing_keys = set(), set()
        return "warning" if irregular else "success"

    def _log_import(self, sync: Sync, outcome: Outcome) -> bool:
        """The log lines of eloqua.md 3.9; true when one of them is a warning."""
        definition = sync.definition
        created, updated = (
            ("ELQ-00004", "ELQ-00022") if definition.entity.kind == "Contact" else ("ELQ-00007", "ELQ-00012")
        )
        self._log(sync, "ELQ-00130", outcome.staged)
        self._log(sync, "ELQ-00137", outcome.staged)
        for key in sorted(definition.unknown_keys):
            self._log(sync, "ELQ-00111", outcome.staged, "warning", f"{MESSAGES['ELQ-00111'][0]} ({key})")
        for key in sorted(definition.missing_keys):
            self._log(sync, "ELQ-00121", outcome.staged, "warning", f"{MESSAGES['ELQ-00121'][0]} ({key})")
        self._log(sync, "ELQ-00001", outcome.staged)
        for code, count in outcome.rejected.items():
            self._log(sync, code, count, "warning")
        self._log(sync, "ELQ-00003", outcome.remaining)
        self._log(sync, created, outcome.created)
        self._log(sync, updated, outcome.updated)
        if definition.body.get("mapDataCards") is True:
            self._log(sync, "ELQ-00025", outcome.linked)
            self._log(sync, "ELQ-00034", outcome.unmatched, "warning" if outcome.unmatched else "information")
        if outcome.rejected:
            self._log(sync, "ELQ-00060", sum(outcome.rejected.values()), "warning")
        return any(line["severity"] == "warning" for line in sync.logs)

    def _log(
        self, sync: Sync, code: str, count: int, severity: str = "information", message: str | None = None
    ) -> None:
        sync.logs.append(
            {
                "syncUri": sync.uri,
                "count": count,
                "severity": severity,
                "statusCode": code,
                "message": message or MESSAGES.get(code, ("",))[0],
                "createdAt": stamp(self._clock.now),
            }
        )

    # -- what it leaves -----------------------------------------------------------------------------------------------

    def expired(self, sync: Sync) -> bool:
        """Whether the staged rows of an export are past their retention (eloqua.md 6, point 32: at the deadline)."""
        return sync.ended is not None and self._clock.now >= sync.ended + sync.definition.retention()

    def page(self, sync: Sync, limit: int, offset: int) -> list[str]:
        """The rows of one page, each as JSON text: DuckDB writes it, many times faster than Python."""
        members = ", ".join(f"{quoted(name)} := c{i}" for i, name in enumerate(sync.columns))
        return [
            row[0]
            for row in self._store.rows(
                f"SELECT to_json(struct_pack({members})) FROM {sync.table} "
                f"WHERE rowid >= {offset} AND rowid < {offset + limit}"
            )
        ]

    def page_csv(self, sync: Sync, limit: int, offset: int) -> list[str]:
        """The rows of one page as RFC 4180 lines (eloqua.md 6, point 13)."""
        cells = " || ',' || ".join(csv_cell(f"c{i}") for i in range(len(sync.columns)))
        return [
            row[0]
            for row in self._store.rows(
                f"SELECT {cells} FROM {sync.table} WHERE rowid >= {offset} AND rowid < {offset + limit}"
            )
        ]

    def rejects(self, sync: Sync, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
        """One page of rejects and their number in all."""
        table = f"staging.rejects_{sync.id}"
        if sync.definition.kind != "imports" or not self._has(table):
            return [], 0
        names = list(sync.definition.fields)
        found = self._store.rows(
            f"SELECT row_number, code, invalid, texts FROM {table} ORDER BY row_number, code "
            f"LIMIT {limit} OFFSET {offset}"
        )
        items = [
            {
                "fieldValues": dict(zip(names, texts, strict=True)),
                "message": (MESSAGES.get(code, ("", ""))[1] or MESSAGES.get(code, ("Rejected.",))[0]),
                "statusCode": code,
                "recordIndex": number,
                "invalidFields": invalid or [],
            }
            for number, code, invalid, texts in found
        ]
        return items, self._store.value(f"SELECT count(*) FROM {table}")

    def drop_rows(self, sync: Sync) -> None:
        sync.dropped = True
        self._store.execute(f"DROP TABLE IF EXISTS {sync.table}")

    def _has(self, table: str) -> bool:
        return bool(
            self._store.value(
                "SELECT count(*) FROM duckdb_tables() WHERE schema_name || '.' || table_name = ?", [table]
            )
        )


def export_query(definition: Definition) -> tuple[str, Condition]:
    """SELECT of an export: columns c0, c1 ... as texts in the order of the definition."""
    entity, body = definition.entity, definition.body
    utc = bool(body["areSystemTimestampsInUTC"])
    columns = ", ".join(f"{shown(resolved(entity, s), utc)} AS c{i}" for i, s in enumerate(definition.fields.values()))
    condition = Condition("true", [])
    if body.get("filter"):
        condition = compile_filter(body["filter"], entity, utc)
    return f"SELECT {columns} FROM {entity.from_clause()} WHERE {condition.sql}", condition


def resolved(entity: Entity, text: str) -> Statement:
    statement = entity.resolve(text)
    assert statement is not None, "the definition was checked"
    return statement


def shown(statement: Statement, utc: bool) -> str:
    """SQL of a value as Bulk shows it: a text, "" for empty, dates without zone or fraction (eloqua.md 3.16)."""
    if statement.kind == "system":
        moment = statement.sql if utc else f"timezone('{EASTERN}', timezone('UTC', {statement.sql}))"
        return f"coalesce(strftime({moment}, '%Y-%m-%d %H:%M:%S'), '')"
    return f"coalesce(CAST({statement.sql} AS VARCHAR), '')"


def csv_cell(column: str) -> str:
    return (
        f"CASE WHEN regexp_matches({column}, '[\",\\r\\n]') THEN '\"' || replace({column}, '\"', '\"\"') || '\"' "
        f"ELSE {column} END"
    )


def csv_line(cells: list[str]) -> str:
    return ",".join('"' + c.replace('"', '""') + '"' if any(mark in c for mark in '",\r\n') else c for c in cells)
