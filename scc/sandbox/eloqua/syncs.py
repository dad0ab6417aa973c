"""Syncs: pending, active, final; their logs, rejects and rows (eloqua.md 3.8, 3.9).

A sync takes effect when it becomes final: at the k-th GET of /syncs/{id}, or, when nobody asks, after
`limits.sync_seconds` of the sandbox's clock. With `sync_polls` None polls do not count, and the seconds may pass on the
sandbox's clock or on the real one, whichever is first: that clock may stand still. Until then the world may change under
it, as in the real Eloqua.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.callbacks import call_back
from scc.sandbox.eloqua.definitions import Definition
from scc.sandbox.eloqua.eel import EASTERN, Condition, compile_filter
from scc.sandbox.eloqua.entities import Entity, Statement, stamp
from scc.sandbox.eloqua.import_rows import Outcome
from scc.sandbox.eloqua.messages import MESSAGES
from scc.sandbox.eloqua.other_imports import importer
from scc.sandbox.eloqua.pages import Rows, looked_at
from scc.sandbox.eloqua.sync_actions import apply_sync_actions
from scc.sandbox.http import Fate
from scc.sandbox.store import literal

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

# Sync records, logs and rejects are removed after one year (eloqua.md 3.9).
KEPT = timedelta(days=365)
REJECTS = "staging.rejects"
FINAL = ("success", "warning", "error")
REQUEST = "POST /api/bulk/2.0/syncs"  # what the mutation log names as the cause of an import's changes


@dataclass
class Sync:
    id: int
    definition: Definition
    user: str
    created: datetime
    fate: Fate = field(default_factory=Fate)  # by a fault
    callback: str | None = None
    status: str = "pending"
    polls: int = 0
    born: float = field(default_factory=lambda: monotonic())  # on the real clock
    started: datetime | None = None
    ended: datetime | None = None
    rows: Rows | None = None  # what an export left
    slowed: int = 0  # polls that it takes more than others: beyond the hourly quota
    dropped: bool = False  # DELETE /syncs/{id}/data
    logs: list[dict[str, Any]] = field(default_factory=list)

    def __getstate__(self) -> dict[str, Any]:
        """Saved with its age: the real clock of another process counts from another moment."""
        return {**vars(self), "born": monotonic() - self.born}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, born=monotonic() - state["born"])

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
        self._open: dict[int, Sync] = {}  # those that are not final yet
        self._kept: list[Sync] = []  # those whose rows can be read

    def create(self, definition: Definition, user: str, fate: Fate, callback: str | None) -> Sync:
        sync = Sync(self._store.next_number("eloqua sync", 1201), definition, user, self._clock.now, fate, callback)
        used, quota = self.usage()[definition.kind].values()
        if used >= quota:
            sync.slowed = self._eloqua.limits.slow_down_polls
        self.all[sync.id] = sync
        self._open[sync.id] = sync
        if self._eloqua.sync_polls == 0 and not sync.slowed and not self.waits(sync):
            self._finish(sync)
        return sync

    def usage(self) -> dict[str, dict[str, int]]:
        """Syncs made in the last hour by kind, and how many Eloqua would like at most (eloqua.md 4.1)."""
        limits, since = self._eloqua.limits, self._clock.now - timedelta(hours=1)
        quotas = {
            "exports": limits.export_syncs_an_hour,
            "imports": limits.import_syncs_an_hour,
            "syncActions": limits.sync_action_syncs_an_hour,
        }
        used = dict.fromkeys(quotas, 0)
        for sync in reversed(self.all.values()):
            if sync.created <= since:
                break
            used[sync.definition.kind] += 1
        return {kind: {"used": used[kind], "quota": quota} for kind, quota in quotas.items()}

    def waits(self, sync: Sync) -> bool:
        """Whether it is held in pending because so many others are at work (eloqua.md 6, point 2)."""
        most = self._eloqua.limits.parallel_syncs
        return most is not None and sync.id in list(self._open)[most:]

    def poll(self, sync: Sync) -> None:
        """One GET of /syncs/{id}: the k-th finds it final."""
        if sync.final or self.waits(sync):
            return
        sync.polls += 1
        polls = self._eloqua.sync_polls
        if polls is not None and sync.polls >= polls + sync.slowed and sync.fate.outcome != "stuck":
            self._finish(sync)
        elif sync.status == "pending":
            self._start(sync)

    def settle(self) -> None:
        """End the syncs that nobody asked about for so long that Eloqua is done with them."""
        limit = timedelta(seconds=self._eloqua.limits.sync_seconds)
        for sync in list(self._open.values()):
            if sync.fate.outcome != "stuck" and self._age(sync) >= limit * (1 + sync.slowed) and not self.waits(sync):
                self._finish(sync)
        for sync in [s for s in self._kept if s.dropped or self.expired(s)]:
            self._kept.remove(sync)  # the answer stays 410; only the memory is given back
            sync.rows = None
            self._store.execute(f"DROP TABLE IF EXISTS {sync.table}")
        self._forget()

    def _forget(self) -> None:
        """Syncs leave nothing behind after a year, and the oldest nothing when there are very many."""
        oldest, last = self._clock.now - KEPT, 0
        surplus = max(0, len(self.all) - self._eloqua.limits.kept_syncs)
        old = itertools.takewhile(lambda at: at[0] < surplus or at[1].created <= oldest, enumerate(self.all.values()))
        for _, sync in list(old):
            if sync.final and sync not in self._kept:
                del self.all[sync.id]
                last = sync.id
        if last and self._has(REJECTS):
            self._store.execute(f"DELETE FROM {REJECTS} WHERE sync <= {last}")

    def _age(self, sync: Sync) -> timedelta:
        age = self._clock.now - sync.created
        if self._eloqua.sync_polls is None:
            age = max(age, timedelta(seconds=monotonic() - sync.born))
        return age

    def running(self, definition: Definition) -> bool:
        return any(s.definition is definition for s in self._open.values())

    # -- the run ----------------------------------------------------------------------------------------------------

    def _start(self, sync: Sync) -> None:
        sync.status, sync.started = "active", sync.started or self._clock.now

    def _finish(self, sync: Sync) -> None:
        self._start(sync)
        with self._store.transaction(), self._store.caused_by(REQUEST):
            sync.status = self._work(sync)
        self._open.pop(sync.id, None)
        sync.ended = self._clock.now
        level = {"success": "information"}.get(sync.status, sync.status)
        self._log(sync, "ELQ-00101", 0, level, MESSAGES["ELQ-00101"][0].format(sync=sync.id, status=sync.status))
        if sync.callback:
            call_back(sync.callback, sync.shown())

    def _work(self, sync: Sync) -> str:
        definition = sync.definition
        if not self._eloqua.exists(definition):
            self._log(sync, "ELQ-00143", 0, "error")
            return "error"
        if sync.fate.outcome == "error":
            self._log(sync, sync.fate.code or "ELQ-00107", 0, "error")
            return "error"
        status = self._export(sync) if definition.kind == "exports" else self._import(sync)
        if sync.fate.outcome == "warning":
            self._log(sync, sync.fate.code or "ELQ-00111", 0, "warning")
            return "warning"
        return status

    def _export(self, sync: Sync) -> str:
        definition, limits = sync.definition, self._eloqua.limits
        select, condition = export_query(self._eloqua, definition)
        most = int(definition.body.get("maxRecords") or limits.max_records)
        if definition.entity.kind == "Activity":
            most = min(most, limits.activity_rows)  # and nothing tells (eloqua.md 3.11)
        actions = definition.body.get("syncActions")
        names, table = list(definition.fields), sync.table
        self._store.execute(f"CREATE TABLE {table} AS {select} ORDER BY r.Id LIMIT {most}", condition.values)
        sync.rows = looked_at(self._store, table, names)
        if self.full(sync.rows.size):
            self.drop_rows(sync)
            self._log(sync, "ELQ-00136", 0, "error")
            return "error"
        definition.staged_bytes = sync.rows.size
        self._kept.append(sync)
        self._log(sync, "ELQ-00131", 0)
        self._log(sync, "ELQ-00102", sync.rows.count)
        self._log(sync, "ELQ-00106", sync.rows.count)
        if actions:
            self._act_on_exported(sync, actions)
            self._store.execute(f"ALTER TABLE {table} DROP COLUMN record")
        return "success"

    def _act_on_exported(self, sync: Sync, actions: list[dict[str, Any]]) -> None:
        """Sync actions of an export hold for the records that it exported (eloqua.md 3.3)."""
        entity = sync.definition.entity
        ids = f"SELECT record FROM {sync.table}"
        addresses = f"SELECT C_EmailAddress FROM eloqua.contact WHERE Id IN ({ids})"
        for code, count in apply_sync_actions(self._eloqua, entity, actions, ids, addresses):
            self._log(sync, code, count)

    def _import(self, sync: Sync) -> str:
        definition = sync.definition
        if not definition.files:
            self._log(sync, "ELQ-00124", 0, "warning")
            return "warning"
        outcome = importer(self._eloqua, definition, sync.id, sync.fate).run()
        irregular = self._log_import(sync, outcome)
        definition.files, definition.staged_bytes = [], 0
        definition.unknown_keys, definition.missing_keys = set(), set()
        return "warning" if irregular else "success"

    def _log_import(self, sync: Sync, outcome: Outcome) -> bool:
        """The log lines of eloqua.md 3.9; true when one of them is a warning."""
        definition = sync.definition
        self._log(sync, "ELQ-00130" if definition.kind == "imports" else "ELQ-00140", outcome.staged)
        self._log(sync, "ELQ-00137", outcome.staged)
        for key in sorted(definition.unknown_keys):
            self._log(sync, "ELQ-00111", outcome.staged, "warning", f"{MESSAGES['ELQ-00111'][0]} ({key})")
        for key in sorted(definition.missing_keys):
            self._log(sync, "ELQ-00121", outcome.staged, "warning", f"{MESSAGES['ELQ-00121'][0]} ({key})")
        self._log(sync, "ELQ-00001", outcome.staged)
        for code, count in outcome.rejected.items():
            self._log(sync, code, count, "warning")
        self._log(sync, "ELQ-00003", outcome.remaining)
        for code, count, severity in outcome.lines:
            self._log(sync, code, count, severity)
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

    def used_bytes(self) -> dict[str, int]:
        """What the instance has in staging, by kind of definition."""
        now_kept = {s.definition.id for s in self._kept if not s.dropped and not self.expired(s)}
        used = dict.fromkeys(("exports", "imports", "syncActions"), 0)
        for definition in self._eloqua.definitions.values():
            if definition.kind != "exports" or definition.id in now_kept:
                used[definition.kind] += definition.staged_bytes
        return used

    def full(self, more: int) -> bool:
        """Whether so many more bytes exceed the instance's staging storage (eloqua.md 4.1)."""
        most = self._eloqua.limits.storage_bytes
        return most is not None and sum(self.used_bytes().values()) + more > most

    def rejects(self, sync: Sync, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
        """One page of rejects and their number in all."""
        if sync.definition.kind == "exports" or not self._has(REJECTS):
            return [], 0
        found = self._store.rows(
            f"SELECT row_number, code, invalid, names, texts FROM {REJECTS} WHERE sync = {sync.id} "
            f"ORDER BY row_number, code LIMIT {limit} OFFSET {offset}"
        )
        items = [
            {
                "fieldValues": dict(zip(names, texts, strict=True)),
                "message": (MESSAGES.get(code, ("", ""))[1] or MESSAGES.get(code, ("Rejected.",))[0]),
                "statusCode": code,
                "recordIndex": number,
                "invalidFields": invalid or [],
            }
            for number, code, invalid, names, texts in found
        ]
        return items, self._store.value(f"SELECT count(*) FROM {REJECTS} WHERE sync = {sync.id}")

    def drop_rows(self, sync: Sync) -> None:
        sync.dropped, sync.rows = True, None
        sync.definition.staged_bytes = 0
        self._store.execute(f"DROP TABLE IF EXISTS {sync.table}")

    def _has(self, table: str) -> bool:
        return bool(
            self._store.value(
                "SELECT count(*) FROM duckdb_tables() WHERE schema_name || '.' || table_name = ?", [table]
            )
        )


def export_query(eloqua: Eloqua, definition: Definition) -> tuple[str, Condition]:
    """SELECT of an export: columns c0, c1 ... as texts in the order of the definition; `record` for sync actions."""
    entity, body = definition.entity, definition.body
    utc = body["areSystemTimestampsInUTC"] is True
    statements = [resolved(entity, text) for text in definition.fields.values()]
    texts = eloqua.limits.boolean_texts
    if entity.kind == "Activity" and eloqua.limits.external_type_names:
        own = Statement("coalesce(r.ExternalType, r.Type)", "string")
        statements = [own if statement.sql == "r.Type" else statement for statement in statements]
    columns = ", ".join(f"{shown(statement, utc, texts)} AS c{i}" for i, statement in enumerate(statements))
    condition = Condition("true", [])
    if body.get("filter"):
        condition = compile_filter(str(body["filter"]), entity, utc, eloqua.containers, eloqua.limits.filter_length)
    joins = condition.joins.union(*(statement.joins for statement in statements))
    where, values = condition.sql, condition.values
    if entity.kind == "Activity":  # what has happened, but is not known yet, is not there (eloqua.md 3.12)
        where, values = f"({where}) AND r.VisibleAt <= ?", [*values, eloqua.clock.naive]
    record = ", r.Id AS record" if body.get("syncActions") else ""
    return f"SELECT {columns}{record} FROM {entity.from_clause(joins)} WHERE {where}", Condition(where, values)


def resolved(entity: Entity, text: str) -> Statement:
    statement = entity.resolve(text)
    assert statement is not None, "the definition was checked"
    return statement


def shown(statement: Statement, utc: bool, booleans: tuple[str, str]) -> str:
    """SQL of a value as Bulk shows it: a text, "" for empty, dates without zone or fraction (eloqua.md 3.16)."""
    if statement.kind == "system":
        moment = statement.sql if utc else f"timezone('{EASTERN}', timezone('UTC', {statement.sql}))"
        return f"coalesce(strftime({moment}, '%Y-%m-%d %H:%M:%S'), '')"
    if statement.kind == "boolean" and booleans != ("True", "False"):
        return f"CASE WHEN {statement.sql} = 'True' THEN {literal(booleans[0])} ELSE {literal(booleans[1])} END"
    return f"coalesce(CAST({statement.sql} AS VARCHAR), '')"
