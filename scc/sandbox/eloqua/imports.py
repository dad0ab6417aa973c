"""What an import does when its sync runs: an upsert by identifier, in a few SQL statements (eloqua.md 3.4, 3.9).

All rows go through the same steps: bring values to their type, reject what has none, drop all but the last of equal
identifiers (import_rows.py), match, update what differs, create what is new. A row that changes nothing leaves UpdatedAt
alone. What is peculiar to one kind of record stands in contact_imports.py and other_imports.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from scc.sandbox.eloqua.entities import OWN_FIELDS, date_text
from scc.sandbox.eloqua.import_rows import Outcome, StagedRows
from scc.sandbox.eloqua.sync_actions import apply_sync_actions
from scc.sandbox.store import literal, quoted

# code of records created, code of records updated (eloqua.md 3.10)
COUNTERS = {
    "Contact": ("ELQ-00004", "ELQ-00022"),
    "Account": ("ELQ-00005", "ELQ-00023"),
    "CustomObject": ("ELQ-00007", "ELQ-00012"),
    "Event": ("ELQ-00077", "ELQ-00079"),
    "Opportunity": ("ELQ-00049", ""),
}
FIELD_RULES = {"newNotBlank": "ifNewIsNotNull", "newEmailAddress": "ifNewIsNotNull"}  # eloqua.md 2.4, updateType


class Importer(StagedRows):
    """One run of one import definition over its staged rows."""

    def run(self) -> Outcome:
        """Apply the staged rows; call inside a transaction."""
        outcome = Outcome(staged=sum(self.definition.files))
        self._prepare()
        self._drop_duplicates()
        self._match()
        self._check_matches()
        outcome.rejected = self._write_rejects()
        outcome.remaining = self.store.value(f"SELECT count(*) FROM {self.work} WHERE verdict IS NULL")
        self._apply(outcome)
        for table in (self.work, self.target, self.definition.staging_table):
            self.store.execute(f"DROP TABLE IF EXISTS {table}")
        return outcome

    def _apply(self, outcome: Outcome) -> None:
        self._obey_import_rule(outcome)
        created, updated = COUNTERS[self.entity.kind]
        count = self._update()
        outcome.note(created, self._create())
        if updated:
            outcome.note(updated, count)
        self._finish(outcome)
        self._act(outcome)

    def _finish(self, outcome: Outcome) -> None:
        """What rows set that is not in the record's own table."""

    def _act(self, outcome: Outcome) -> None:
        ids = f"SELECT DISTINCT record FROM {self.target} WHERE record IS NOT NULL"
        addresses = f"SELECT C_EmailAddress FROM eloqua.contact WHERE Id IN ({ids})"
        for code, count in apply_sync_actions(
            self.eloqua, self.entity, self.body.get("syncActions") or [], ids, addresses
        ):
            outcome.note(code, count)

    # -- match ------------------------------------------------------------------------------------------------------

    def _match(self) -> None:
        """For each surviving row the records that it updates, and the values that they will have."""
        new = "".join(f", {self._ruled(i)} AS n{i}" for i in self.columns)
        old = "".join(f", r.{column} AS o{i}" for i, column in self.columns.items())
        states = "".join(f", w.v{i} AS n{i}" for i, s in enumerate(self.statements) if s.special)
        on = "false"  # without identifier nothing matches and each row is new
        if self.identifier in self.names:
            column = self.statements[self.names.index(self.identifier)].sql
            on = f"lower(trim(CAST({column} AS VARCHAR))) = w.key"
        self.store.execute(f"""CREATE TABLE {self.target} AS
            SELECT w.row_number, w.key, r.Id AS record{old}{new}{states}
            FROM {self.work} w LEFT JOIN {self.entity.table} r ON {on}
            WHERE w.verdict IS NULL ORDER BY w.row_number, r.Id""")

    def _ruled(self, i: int) -> str:
        """SQL of the value that field i gets under its update rule."""
        known = self.statements[i].field
        by_field = self.body.get("updateRuleByField") or {}
        rule = by_field.get(self.names[i]) or self.body.get("updateRule") or "always"
        if rule == "useFieldRule" and known:
            rule = FIELD_RULES.get(known.update_type, "always")
        new, old = f"w.v{i}", f"coalesce(r.{self.columns[i]}, '')"
        if not self.limits.missing_key_clears:
            new = f"CASE WHEN w.m{i} THEN {old} ELSE {new} END"
        keeps = self.names[i] == self.identifier  # it matched, but for case
        if known and known.internal_name == "C_EmailAddress":
            keeps |= self.body.get("isUpdatingMultipleMatchedRecords") is True  # eloqua.md 3.4: only then it may change
        if keeps:
            return f"CASE WHEN r.Id IS NOT NULL THEN {old} ELSE {new} END"
        if rule == "ifNewIsNotNull":
            return f"CASE WHEN {new} <> '' THEN {new} ELSE {old} END"
        if rule == "ifExistingIsNull":
            return f"CASE WHEN {old} = '' THEN {new} ELSE {old} END"
        return new

    def _check_matches(self) -> None:
        """Rows that match too many records, or would make what must not be, are rejects after all."""
        most = self.limits.multiple_matches if self.body.get("isUpdatingMultipleMatchedRecords") is True else 1
        own = self.names.index(self.identifier) if self.identifier in self.names else 0
        many = f"SELECT row_number FROM {self.target} GROUP BY row_number HAVING count(*) > {most}"
        # Nearly always there are none, and then the longer statements need not run.
        if self.store.value(f"SELECT count(*) > 0 FROM ({many})"):
            self._reject(f"ELQ-00135|{own}", f"row_number IN ({many})")
        self._check_records(own)
        if self.store.value(f"SELECT count(*) > 0 FROM {self.work} WHERE verdict IS NOT NULL"):
            self.store.execute(f"""DELETE FROM {self.target}
                WHERE row_number IN (SELECT row_number FROM {self.work} WHERE verdict IS NOT NULL)""")

    def _check_records(self, own: int) -> None:
        """Reject what the records that this would make or change must not be; `own`: the index of the identifier."""

    def _creatable(self) -> bool:
        """Whether a row without a match can become a record: not when it is known by an id that only Eloqua gives."""
        if self.identifier not in self.names:
            return True
        known = self.statements[self.names.index(self.identifier)].field
        return known is not None and not known.read_only

    def _obey_import_rule(self, outcome: Outcome) -> None:
        """updateOnly creates nothing, createOnly updates nothing; what does not fit is counted (eloqua.md 3.4, 26B)."""
        rule = self.body.get("importRule")
        if rule == "createOnly":
            outcome.note("ELQ-00048", self._leave("record IS NOT NULL"))
        elif rule == "updateOnly" or not self._creatable():
            outcome.note("ELQ-00034", self._leave("record IS NULL"))

    def _leave(self, condition: str) -> int:
        count = self.store.value(f"SELECT count(DISTINCT row_number) FROM {self.target} WHERE {condition}")
        if count:
            self.store.execute(f"DELETE FROM {self.target} WHERE {condition}")
        return count

    # -- update and create ------------------------------------------------------------------------------------------

    def _differs(self) -> str:
        return "(" + (" OR ".join(f"n{i} IS DISTINCT FROM coalesce(o{i}, '')" for i in self.columns) or "false") + ")"

    def _update(self) -> int:
        """Write what differs; the number of matched records, changed or not (ELQ-00022 counts those)."""
        matched = self.store.value(f"SELECT count(record) FROM {self.target}")
        if not matched or not self.columns:
            return matched
        now = self.store.clock.naive
        self._log("update", f"record IS NOT NULL AND {self._differs()}")
        sets = ", ".join(f"{column} = t.n{i}" for i, column in self.columns.items())
        own = OWN_FIELDS.get(self.entity.kind)
        modified = f", {own.touched} = {literal(date_text(now))}" if own else ""
        self.store.execute(
            f"""UPDATE {self.entity.table} SET {sets}, UpdatedAt = ?{modified} FROM {self.target} t
                               WHERE {self.entity.table}.Id = t.record AND {self._differs()}""",
            [now],
        )
        return matched

    def _create(self) -> int:
        created = self.store.value(f"SELECT count(*) FROM {self.target} WHERE record IS NULL")
        if not created:
            return 0
        first = self.eloqua.people.reserve_ids(self.entity.table, created)
        self.store.execute(f"""UPDATE {self.target} SET record = numbered.id FROM (
            SELECT row_number AS rn, {first} + row_number() OVER (ORDER BY row_number) - 1 AS id
            FROM {self.target} WHERE record IS NULL) numbered
            WHERE {self.target}.row_number = numbered.rn AND record IS NULL""")
        mapped = set(self.columns.values())
        defaults = {
            quoted(f.internal_name): literal(f.default)
            for f in self.entity.fields
            if f.default and quoted(f.internal_name) not in mapped
        }
        self._log("create", f"record >= {first}", defaults)
        now = self.store.clock.naive
        row = {"Id": "record", "CreatedAt": "CAST(? AS TIMESTAMP)", "UpdatedAt": "CAST(? AS TIMESTAMP)"}
        row |= {quoted(known.internal_name): "''" for known in self.entity.fields} | defaults
        row |= self._own_values(date_text(now))
        row |= {column: f"t.n{i}" for i, column in self.columns.items()}
        joins = self._join(row)
        self.store.execute(
            f"""INSERT INTO {self.entity.table} ({", ".join(row)}) SELECT {", ".join(row.values())}
                FROM {self.target} t {joins} WHERE record >= {first} ORDER BY record""",
            [now, now],
        )
        return created

    def _join(self, row: dict[str, str]) -> str:
        """SQL of what new records take from elsewhere: the joins; `row`, their columns, is changed to use them."""
        return ""

    def _own_values(self, now: str) -> dict[str, str]:
        """SQL of what Eloqua itself fills in a new record."""
        own = OWN_FIELDS.get(self.entity.kind)
        if not own:
            return {}
        return {
            quoted(own.external_id): f"'{own.prefix}' || lpad(CAST(record AS VARCHAR), 12, '0')",
            quoted(own.born): literal(now),
            quoted(own.touched): literal(now),
        }

    def _log(self, kind: str, condition: str, defaults: Mapping[str, str] | None = None) -> None:
        """Log the changes of the rows that fit; defaults: SQL of what the rows do not bring, by column."""
        defaults = defaults or {}
        fields = [column.strip('"') for column in (*self.columns.values(), *defaults)]
        batch = self.store.new_batch("eloqua", self.entity.name, fields)
        old = "NULL" if kind == "create" else "[" + ", ".join(f"coalesce(o{i}, '')" for i in self.columns) + "]"
        new = "[" + ", ".join((*(f"n{i}" for i in self.columns), *defaults.values())) + "]"
        self.store.execute(f"""INSERT INTO log.mutation SELECT {batch}, CAST(record AS VARCHAR), '{kind}', {old}, {new}
                               FROM {self.target} WHERE {condition}""")
