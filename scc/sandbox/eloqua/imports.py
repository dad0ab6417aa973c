"""What an import does when its sync runs: an upsert by identifier, in a few SQL statements (eloqua.md 3.4, 3.9).

All rows go through the same steps: bring values to their type, reject what has none, drop all but the last of equal
identifiers, match, update what differs, create what is new. A row that changes nothing leaves UpdatedAt alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scc.sandbox.eloqua.definitions import Definition
from scc.sandbox.eloqua.entities import Statement, canonical
from scc.sandbox.store import Store, literal, quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua.settings import Limits

# Rough on purpose, like Eloqua's own check: one @, no blanks, a dot in the domain.
EMAIL = r"^[^@\s,;<>()]+@[^@\s,;<>()]+\.[^@\s.,;<>()]+$"

# code: (text in the logs, text in the rejects)
MESSAGES = {
    "ELQ-00001": ("Total records processed.", ""),
    "ELQ-00002": ("Invalid email addresses.", "Invalid email address."),
    "ELQ-00003": ("Total records remaining after duplicates are rejected.", ""),
    "ELQ-00004": ("Contacts created.", ""),
    "ELQ-00007": ("CustomObject data created.", ""),
    "ELQ-00012": ("CustomObject data updated.", ""),
    "ELQ-00022": ("Contacts updated.", ""),
    "ELQ-00025": ("CustomObject data linked.", ""),
    "ELQ-00026": ("Duplicate identifier.", "Duplicate identifier."),
    "ELQ-00034": ("Records without a match.", ""),
    "ELQ-00060": ("Total records rejected.", ""),
    "ELQ-00061": ("Rejected records (missing fields).", "Missing required field."),
    "ELQ-00101": ("Sync processed for sync {sync}, resulting in {status} status.", ""),
    "ELQ-00102": ("Successfully exported members to csv file.", ""),
    "ELQ-00106": ("Converted csv file to internal storage.", ""),
    "ELQ-00111": ("Field is not part of import definition, and will be ignored.", ""),
    "ELQ-00121": ("Field is part of import definition, but not included in file.", ""),
    "ELQ-00124": ("There is no data to process.", ""),
    "ELQ-00125": ("Constraint violation.", "Constraint violation."),
    "ELQ-00130": ("Total records staged for import.", ""),
    "ELQ-00131": ("Trying to export members to csv file.", ""),
    "ELQ-00135": ("Too many records match.", "Too many records match."),
    "ELQ-00137": ("Ready for data import processing.", ""),
    "ELQ-00143": ("The definition was deleted before the sync ended.", ""),
    "ELQ-00107": ("There was an error processing the sync.", ""),
}


@dataclass
class Outcome:
    """What an import did, in counts of rows. The rejects stand in the table `staging.rejects_<sync>`."""

    staged: int = 0
    created: int = 0
    updated: int = 0
    linked: int = 0
    unmatched: int = 0
    remaining: int = 0
    rejected: dict[str, int] = field(default_factory=dict)  # by code


class Importer:
    """One run of one import definition over its staged rows."""

    def __init__(
        self, store: Store, definition: Definition, sync_id: int, refusals: dict[str, str], limits: Limits
    ) -> None:
        self.store, self.definition, self.limits = store, definition, limits
        self.entity = definition.entity
        self.names = list(definition.fields)
        self.statements: list[Statement] = [self._resolved(name) for name in self.names]
        self.columns = [quoted(s.field.internal_name) for s in self.statements if s.field]
        self.identifier = definition.body.get("identifierFieldName")
        self.refusals = refusals  # identifier in lower case -> ELQ code, from Python
        self.work = f"staging.work_{sync_id}"
        self.rejects = f"staging.rejects_{sync_id}"

    def run(self) -> Outcome:
        """Apply the staged rows; call inside a transaction."""
        outcome = Outcome(staged=sum(self.definition.files))
        self._prepare()
        self._mark_rejects()
        outcome.rejected = self._write_rejects()
        self._match()
        outcome.remaining = self.store.value(f"SELECT count(*) FROM {self.work} WHERE code IS NULL")
        outcome.updated = self._update()
        outcome.created = self._create()
        if self.definition.body.get("mapDataCards") is True:
            outcome.linked, outcome.unmatched = self._link()
        for table in (self.work, f"{self.work}_target", self.definition.staging_table):
            self.store.execute(f"DROP TABLE IF EXISTS {table}")
        return outcome

    def _resolved(self, name: str) -> Statement:
        statement = self.entity.resolve(self.definition.fields[name])
        assert statement is not None, "the definition was checked"
        return statement

    def _prepare(self) -> None:
        """One row per staged row: its number from 1, raw texts t<i>, canonical values v<i>, key and code."""
        raw = ", ".join(f"c{i} AS t{i}" for i in range(len(self.names)))
        values = ", ".join(f"{canonical(f'c{i}', s.kind)} AS v{i}" for i, s in enumerate(self.statements))
        key = f"c{self.names.index(self.identifier)}" if self.identifier else "NULL"
        self.store.execute(f"""
            CREATE TABLE {self.work} AS
            SELECT rowid + 1 AS row_number, {raw}, {values}, lower(trim(coalesce({key}, ''))) AS key,
                   CAST(NULL AS VARCHAR) AS code, CAST(NULL AS VARCHAR[]) AS invalid
            FROM {self.definition.staging_table}
        """)

    def _mark_rejects(self) -> None:
        for i, (name, statement) in enumerate(zip(self.names, self.statements, strict=True)):
            field_ = statement.field
            if statement.kind == "emailAddress":
                # An empty address is invalid only where the field must not be empty.
                blank = "" if field_ and field_.not_null else f"v{i} <> '' AND "
                self._mark("ELQ-00002", f"{blank}NOT regexp_matches(trim(v{i}), {literal(EMAIL)})", name)
            elif statement.kind in ("date", "number"):
                self._mark("ELQ-00125", f"v{i} IS NULL", name)
            if field_ and statement.kind not in ("date", "number"):
                self._mark("ELQ-00125", f"length(v{i}) > {field_.width}", name)
        if not self.identifier:
            return
        self._mark("ELQ-00061", "key = ''", self.identifier)
        for key, code in self.refusals.items():
            self._mark(code, f"key = {literal(key)}", self.identifier)
        self._mark(
            "ELQ-00026",
            f"""row_number NOT IN (
            SELECT max(row_number) FROM {self.work} WHERE code IS NULL GROUP BY key)""",
            self.identifier,
        )
        if not self.definition.body["isUpdatingMultipleMatchedRecords"]:
            column = self._identifier_column()
            self._mark(
                "ELQ-00135",
                f"""key IN (SELECT lower({column}) FROM {self.entity.table}
                       WHERE {column} <> '' GROUP BY 1 HAVING count(*) > 1)""",
                self.identifier,
            )

    def _mark(self, code: str, condition: str, name: str) -> None:
        self.store.execute(f"""UPDATE {self.work} SET code = {literal(code)}, invalid = [{literal(name)}]
                               WHERE code IS NULL AND ({condition})""")

    def _identifier_column(self) -> str:
        assert self.identifier is not None
        statement = self._resolved(self.identifier)
        assert statement.field is not None
        return quoted(statement.field.internal_name)

    def _write_rejects(self) -> dict[str, int]:
        raw = ", ".join(f"coalesce(t{i}, '')" for i in range(len(self.names)))
        kept = "" if self.limits.duplicates_in_rejects else "AND code <> 'ELQ-00026'"
        self.store.execute(f"""CREATE TABLE {self.rejects} AS
            SELECT row_number, code, invalid, [{raw}] AS texts FROM {self.work}
            WHERE code IS NOT NULL {kept} ORDER BY row_number""")
        return dict(
            self.store.rows(
                f"SELECT code, count(*) FROM {self.work} WHERE code IS NOT NULL GROUP BY code ORDER BY code"
            )
        )

    def _match(self) -> None:
        """For each surviving row the record that it updates, and the values that the record will have."""
        new = ", ".join(f"{self._ruled(i)} AS n{i}" for i in range(len(self.names)))
        old = ", ".join(f"r.{column} AS o{i}" for i, column in enumerate(self.columns))
        # CREATE TABLE AS evaluates n<i> from w and r; without identifier nothing matches and each row is new.
        on = f"lower(r.{self._identifier_column()}) = w.key" if self.identifier else "false"
        self.store.execute(f"""CREATE TABLE {self.work}_target AS
            SELECT w.row_number, w.key, r.Id AS record, {old}, {new}
            FROM {self.work} w LEFT JOIN {self.entity.table} r ON {on}
            WHERE w.code IS NULL ORDER BY w.row_number""")

    def _ruled(self, i: int) -> str:
        """SQL of the value that field i gets under its update rule."""
        by_field = self.definition.body.get("updateRuleByField") or {}
        rule = by_field.get(self.names[i]) or self.definition.body.get("updateRule") or "always"
        new, old = f"w.v{i}", f"r.{self.columns[i]}"
        if not self.limits.missing_key_clears:
            new = f"CASE WHEN w.t{i} IS NULL THEN coalesce({old}, '') ELSE {new} END"
        if rule == "ifNewIsNotNull":
            return f"CASE WHEN {new} <> '' THEN {new} ELSE coalesce({old}, '') END"
        if rule == "ifExistingIsNull":
            return f"CASE WHEN coalesce({old}, '') = '' THEN {new} ELSE {old} END"
        return new

    def _differs(self) -> str:
        return "(" + " OR ".join(f"n{i} IS DISTINCT FROM o{i}" for i in range(len(self.columns))) + ")"

    def _update(self) -> int:
        matched = self.store.value(f"SELECT count(*) FROM {self.work}_target WHERE record IS NOT NULL")
        if not matched:
            return 0
        self._log("update", f"record IS NOT NULL AND {self._differs()}", "record")
        sets = ", ".join(f"{column} = t.n{i}" for i, column in enumerate(self.columns))
        self.store.execute(
            f"""UPDATE {self.entity.table} SET {sets}, UpdatedAt = ? FROM {self.work}_target t
                               WHERE {self.entity.table}.Id = t.record AND {self._differs()}""",
            [self.store.clock.naive],
        )
        return matched

    def _create(self) -> int:
        target = f"{self.work}_target"
        created = self.store.value(f"SELECT count(*) FROM {target} WHERE record IS NULL")
        if not created:
            return 0
        first = self.store.value(f"SELECT coalesce(max(Id), 0) + 1 FROM {self.entity.table}")
        self.store.execute(f"""UPDATE {target} SET record = numbered.id FROM (
            SELECT row_number AS rn, {first} + row_number() OVER (ORDER BY row_number) - 1 AS id
            FROM {target} WHERE record IS NULL) numbered WHERE {target}.row_number = numbered.rn AND record IS NULL""")
        self._log("create", f"record >= {first}", "record")
        external = ", ExternalId" if self.entity.kind == "CustomObject" else ""
        code = ", 'DCTET' || lpad(CAST(record AS VARCHAR), 12, '0')" if external else ""
        values = ", ".join(f"n{i}" for i in range(len(self.columns)))
        now = self.store.clock.naive
        self.store.execute(
            f"""INSERT INTO {self.entity.table} (Id, CreatedAt, UpdatedAt{external}, {", ".join(self.columns)})
            SELECT record, ?, ?{code}, {values} FROM {target} WHERE record >= {first} ORDER BY record""",
            [now, now],
        )
        return created

    def _log(self, kind: str, condition: str, record: str) -> None:
        fields = [s.field.internal_name for s in self.statements if s.field]
        batch = self.store.new_batch("eloqua", self.entity.name, fields)
        old = "NULL" if kind == "create" else "[" + ", ".join(f"o{i}" for i in range(len(fields))) + "]"
        new = "[" + ", ".join(f"n{i}" for i in range(len(fields))) + "]"
        self.store.execute(f"""INSERT INTO log.mutation SELECT {batch}, CAST({record} AS VARCHAR), '{kind}', {old}, {new}
                               FROM {self.work}_target WHERE {condition}""")

    def _link(self) -> tuple[int, int]:
        """mapDataCards: link the imported rows to contacts; counts of linked and unmatched rows (ELQ-00025, 00034)."""
        body = self.definition.body
        contact = self.entity.contact
        reached = (
            contact.resolve(body.get("mapDataCardsEntityField") or "{{Contact.Field(C_EmailAddress)}}")
            if contact
            else None
        )
        if contact is None or reached is None or body.get("mapDataCardsEntityType", "Contact") != "Contact":
            return 0, self.store.value(f"SELECT count(*) FROM {self.work}_target")
        source, column = self.names.index(body["mapDataCardsSourceField"]), reached.sql.removeprefix("r.")
        fold = "" if body.get("mapDataCardsCaseSensitiveMatch") is True else "lower"
        self.store.execute(f"""UPDATE {self.entity.table} SET ContactId = c.Id
            FROM {self.work}_target t, {contact.table} c WHERE {self.entity.table}.Id = t.record
            AND t.n{source} <> '' AND {fold}(c.{column}) = {fold}(t.n{source})""")
        linked = self.store.value(f"""SELECT count(*) FROM {self.work}_target t JOIN {contact.table} c
                                      ON t.n{source} <> '' AND {fold}(c.{column}) = {fold}(t.n{source})""")
        return linked, self.store.value(f"SELECT count(*) FROM {self.work}_target") - linked
