"""The rows that were staged for an import, and the verdict on each (eloqua.md 3.4, 3.9).

Values are brought to their type; what has none is rejected, and so are all but the last of equal identifiers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scc.sandbox.eloqua.definitions import Definition
from scc.sandbox.eloqua.entities import Statement, canonical
from scc.sandbox.http import Fate
from scc.sandbox.store import literal, quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

# Rough on purpose, like Eloqua's own check: one @, no blanks, a dot in the domain.
EMAIL = r"^[^@\s,;<>()]+@[^@\s,;<>()]+\.[^@\s.,;<>()]+$"


@dataclass
class Outcome:
    """What an import did, in counts of rows. The rejects stand in the table `staging.rejects`."""

    staged: int = 0
    remaining: int = 0
    rejected: dict[str, int] = field(default_factory=dict)  # by code
    lines: list[tuple[str, int, str]] = field(default_factory=list)  # of the log: code, count, severity

    def note(self, code: str, count: int, severity: str = "information") -> None:
        self.lines.append((code, count, severity))


class StagedRows:
    """The rows of one import definition, in the table `work`: row_number from 1, values v<i>, key and verdict."""

    def __init__(self, eloqua: Eloqua, definition: Definition, sync_id: int, fate: Fate) -> None:
        self.eloqua, self.store, self.definition, self.limits = eloqua, eloqua.store, definition, eloqua.limits
        self.entity, self.body, self.fate = definition.entity, definition.body, fate
        self.names = list(definition.fields)
        self.statements: list[Statement] = [self._resolved(name) for name in self.names]
        self.identifier = self.body.get("identifierFieldName")
        # What the rows write: index of the field -> column of the record's table.
        self.columns = {
            i: quoted(s.field.internal_name)
            for i, s in enumerate(self.statements)
            if s.field and not s.field.read_only and not s.special
        }
        self.refusals = eloqua.refusals.get(self.entity.name, {})  # identifier in lower case -> code, from Python
        self.work = f"staging.work_{sync_id}"
        self.target = f"{self.work}_target"
        self.sync_id = sync_id

    def _resolved(self, name: str) -> Statement:
        statement = self.entity.resolve(self.definition.fields[name])
        assert statement is not None, "the definition was checked"
        return statement

    def _prepare(self) -> None:
        """One row per staged row: its number from 1, values v<i>, key, and the verdict: `code|index of the field`."""
        values = ", ".join(f"{self._value(i)} AS v{i}" for i in range(len(self.names)))
        if not self.limits.missing_key_clears:
            values += "".join(f", c{i} IS NULL AS m{i}" for i in range(len(self.names)))
        key = f"c{self.names.index(self.identifier)}" if self.identifier in self.names else "NULL"
        verdicts = "".join(f" WHEN {condition} THEN '{code}|{i}'" for code, i, condition in self._verdicts())
        verdict = f"CASE {verdicts} END" if verdicts else "CAST(NULL AS VARCHAR)"
        refused = ""
        if self.refusals and self.identifier:
            pairs = ", ".join(f"({literal(k)}, {literal(c)})" for k, c in self.refusals.items())
            refused = f"LEFT JOIN (VALUES {pairs}) refused(refused_key, refused_code) ON refused_key = key"
        self.store.execute(f"""
            CREATE TABLE {self.work} AS SELECT row_number, COLUMNS('^[vm][0-9]+$'), key, {verdict} AS verdict FROM (
            SELECT rowid + 1 AS row_number, {values}, lower(trim(coalesce({key}, ''))) AS key
            FROM {self.definition.staging_table}) {refused} ORDER BY row_number""")

    def _value(self, i: int) -> str:
        kind = self.statements[i].kind
        return f"trim({canonical(f'c{i}', kind)})" if kind == "emailAddress" else canonical(f"c{i}", kind)

    def _verdicts(self) -> list[tuple[str, int, str]]:
        """Code, index of the field and SQL of what rejects a row; the first that holds counts."""
        found = []
        for i, statement in enumerate(self.statements):
            known = statement.field
            if statement.kind == "emailAddress":
                # An empty address is invalid only where the field must not be empty.
                blank = "" if known and known.not_null else f"v{i} <> '' AND "
                found.append(("ELQ-00002", i, f"{blank}NOT regexp_matches(v{i}, {literal(EMAIL)})"))
            elif statement.kind in ("date", "number", "boolean"):
                found.append(("ELQ-00125", i, f"v{i} IS NULL"))
            if known and statement.kind not in ("date", "number"):
                found.append(("ELQ-00125", i, f"length(v{i}) > {known.width}"))
        own = self.names.index(self.identifier) if self.identifier in self.names else 0
        if self.fate.outcome == "rejects":  # Fate.rejects, in SQL
            share = f"CAST({self.fate.share} AS DOUBLE)"
            code = self.fate.code or "ELQ-00125"
            found.append((code, own, f"ceil(row_number * {share}) > ceil((row_number - 1) * {share})"))
        if self.identifier in self.names:
            found.append(("ELQ-00061", own, "key = ''"))
            if self.refusals:
                for code in sorted(set(self.refusals.values())):
                    found.append((code, own, f"refused_code = {literal(code)}"))
        return found

    def _drop_duplicates(self) -> None:
        """Of equal identifiers the last row wins (eloqua.md 6, point 17)."""
        if self.identifier not in self.names:
            return
        own = self.names.index(self.identifier)
        good = f"SELECT key, row_number FROM {self.work} WHERE verdict IS NULL"
        if self.store.value(f"SELECT count(*) = count(DISTINCT key) FROM ({good})"):
            return
        self._reject(
            f"ELQ-00026|{own}",
            f"row_number NOT IN (SELECT max(row_number) FROM ({good}) GROUP BY key) AND verdict IS NULL",
        )

    def _reject(self, verdict: str, condition: str) -> None:
        self.store.execute(f"UPDATE {self.work} SET verdict = '{verdict}' WHERE {condition}")

    def _write_rejects(self) -> dict[str, int]:
        if self.store.value(f"SELECT count(verdict) = 0 FROM {self.work}"):
            return {}
        raw = ", ".join(f"coalesce(s.c{i}, '')" for i in range(len(self.names)))
        kept = "" if self.limits.duplicates_in_rejects else "AND code <> 'ELQ-00026'"
        names = ", ".join(literal(name) for name in self.names)
        # One table for all syncs: each of its own would take a block of memory per column, however few its rows.
        self.store.execute("""CREATE TABLE IF NOT EXISTS staging.rejects (sync BIGINT, row_number BIGINT, code VARCHAR,
            invalid VARCHAR[], names VARCHAR[], texts VARCHAR[])""")
        self.store.execute(f"""INSERT INTO staging.rejects
            SELECT {self.sync_id}, row_number, code, [([{names}])[1 + CAST(split_part(verdict, '|', 2) AS INT)]],
                [{names}], [{raw}]
            FROM (SELECT *, split_part(verdict, '|', 1) AS code FROM {self.work} WHERE verdict IS NOT NULL) w
            JOIN {self.definition.staging_table} s ON s.rowid = row_number - 1
            WHERE true {kept} ORDER BY row_number""")
        return dict(
            self.store.rows(f"""SELECT split_part(verdict, '|', 1) AS code, count(*) FROM {self.work}
                                WHERE verdict IS NOT NULL GROUP BY code ORDER BY code""")
        )
