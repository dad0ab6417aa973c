"""What an import does when its sync runs: an upsert by identifier, in a few SQL statements (eloqua.md 3.4, 3.9).

All rows go through the same steps: bring values to their type, reject what has none, drop all but the last of equal
identifiers, match, update what differs, create what is new. A row that changes nothing leaves UpdatedAt alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scc.sandbox.eloqua.definitions import Definition, link_target
from scc.sandbox.eloqua.entities import Statement, canonical
from scc.sandbox.eloqua.sync_actions import apply_sync_actions
from scc.sandbox.http import SyncFate
from scc.sandbox.store import literal, quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

# Rough on purpose, like Eloqua's own check: one @, no blanks, a dot in the domain.
EMAIL = r"^[^@\s,;<>()]+@[^@\s,;<>()]+\.[^@\s.,;<>()]+$"
# code of records created, code of records updated (eloqua.md 3.10)
COUNTERS = {
    "Contact": ("ELQ-00004", "ELQ-00022"),
    "Account": ("ELQ-00005", "ELQ-00023"),
    "CustomObject": ("ELQ-00007", "ELQ-00012"),
    "Opportunity": ("ELQ-00049", ""),
}
FIELD_RULES = {"newNotBlank": "ifNewIsNotNull", "newEmailAddress": "ifNewIsNotNull"}  # eloqua.md 2.4, updateType
# Eloqua's own fields of a new record: prefix of the external id, its field, the two dates.
OWN_FIELDS = {
    "Contact": ("CMEC", "ContactIDExt", "C_DateCreated", "C_DateModified"),
    "Account": ("CACC", "CompanyIDExt", "M_DateCreated", "M_DateModified"),
}


@dataclass
class Outcome:
    """What an import did, in counts of rows. The rejects stand in the table `staging.rejects`."""

    staged: int = 0
    remaining: int = 0
    rejected: dict[str, int] = field(default_factory=dict)  # by code
    lines: list[tuple[str, int, str]] = field(default_factory=list)  # of the log: code, count, severity

    def note(self, code: str, count: int, severity: str = "information") -> None:
        self.lines.append((code, count, severity))


class Importer:
    """One run of one import definition over its staged rows."""

    creates = True  # whether a row without a match makes a record

    def __init__(self, eloqua: Eloqua, definition: Definition, sync_id: int, fate: str | None) -> None:
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
        if self.entity.kind == "Contact":
            self._set_states(outcome)
        if self.body.get("mapDataCards") is True:
            linked, unmatched = self._link()
            outcome.note("ELQ-00025", linked)
            outcome.note("ELQ-00034", unmatched, "warning" if unmatched else "information")
        self._act(outcome)

    def _act(self, outcome: Outcome) -> None:
        ids = f"SELECT DISTINCT record FROM {self.target} WHERE record IS NOT NULL"
        addresses = f"SELECT C_EmailAddress FROM eloqua.contact WHERE Id IN ({ids})"
        for code, count in apply_sync_actions(
            self.eloqua, self.entity, self.body.get("syncActions") or [], ids, addresses
        ):
            outcome.note(code, count)

    def _resolved(self, name: str) -> Statement:
        statement = self.entity.resolve(self.definition.fields[name])
        assert statement is not None, "the definition was checked"
        return statement

    # -- rows and their verdicts ------------------------------------------------------------------------------------

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
        if isinstance(self.fate, SyncFate) and self.fate == "rejects" and self.fate.share > 0:
            # Evenly spread, the first row always among them.
            share = f"CAST({self.fate.share} AS DOUBLE)"
            found.append((self.fate.code, own, f"ceil(row_number * {share}) > ceil((row_number - 1) * {share})"))
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
        """Rows that match too many records, or would give two contacts one address, are rejects after all."""
        most = self.limits.multiple_matches if self.body.get("isUpdatingMultipleMatchedRecords") is True else 1
        own = self.names.index(self.identifier) if self.identifier in self.names else 0
        many = f"SELECT row_number FROM {self.target} GROUP BY row_number HAVING count(*) > {most}"
        # Nearly always there are none, and then the longer statements need not run.
        if self.store.value(f"SELECT count(*) > 0 FROM ({many})"):
            self._reject(f"ELQ-00135|{own}", f"row_number IN ({many})")
        if self.entity.kind == "Contact":
            self._check_addresses(own)
            self._check_room(own)
        if self.store.value(f"SELECT count(*) > 0 FROM {self.work} WHERE verdict IS NOT NULL"):
            self.store.execute(f"""DELETE FROM {self.target}
                WHERE row_number IN (SELECT row_number FROM {self.work} WHERE verdict IS NOT NULL)""")

    def _check_addresses(self, own: int) -> None:
        mail = next(
            (i for i, s in enumerate(self.statements) if s.field and s.field.internal_name == "C_EmailAddress"), -1
        )
        if mail == own and self.identifier:
            return
        if mail < 0:
            # A contact needs an address: what cannot be matched cannot be created either.
            if self.creates and self.body.get("importRule") != "updateOnly" and self._creatable():
                self._reject(
                    f"ELQ-00061|{own}", f"row_number IN (SELECT row_number FROM {self.target} WHERE record IS NULL)"
                )
            return
        new = f"lower(t.n{mail})"
        self._reject(
            f"ELQ-00011|{mail}",
            f"""row_number IN (SELECT t.row_number FROM {self.target} t JOIN {self.entity.table} c
                ON lower(trim(c.C_EmailAddress)) = {new} AND c.Id IS DISTINCT FROM t.record)""",
        )
        self._reject(
            f"ELQ-00011|{mail}",
            f"""row_number IN (SELECT row_number FROM {self.target}
                QUALIFY row_number < max(row_number) OVER (PARTITION BY lower(n{mail})))""",
        )

    def _check_room(self, own: int) -> None:
        """The new contacts beyond what the instance may hold are rejects (eloqua.md 6, point 27)."""
        most = self.limits.contacts
        if most is None or not self.creates or self.body.get("importRule") == "updateOnly" or not self._creatable():
            return
        room = max(0, most - self.store.value(f"SELECT count(*) FROM {self.entity.table}"))
        self._reject(
            f"ELQ-00125|{own}",
            f"""row_number IN (SELECT t.row_number FROM {self.target} t JOIN {self.work} w USING (row_number)
                WHERE t.record IS NULL AND w.verdict IS NULL ORDER BY t.row_number OFFSET {room})""",
        )

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
        moved = [
            i for i, s in enumerate(self.statements) if i in self.columns and self.columns[i] == '"C_EmailAddress"'
        ]
        moved = [i for i in moved if self.names[i] != self.identifier]
        changed = f"SELECT record FROM {self.target} WHERE record IS NOT NULL AND {self._differs()}"
        if moved:
            # The state of the address that a person leaves stays with it.
            self.store.execute(f"""INSERT INTO eloqua.address
                SELECT DISTINCT lower(trim(C_EmailAddress)), true, CreatedAt, CAST(NULL AS TIMESTAMP), false,
                    CAST(NULL AS TIMESTAMP) FROM eloqua.contact
                WHERE Id IN ({changed}) AND trim(C_EmailAddress) <> '' ON CONFLICT DO NOTHING""")
        self._log("update", f"record IS NOT NULL AND {self._differs()}")
        sets = ", ".join(f"{column} = t.n{i}" for i, column in self.columns.items())
        own = OWN_FIELDS.get(self.entity.kind)
        modified = f", {own[3]} = {literal(now.strftime('%Y-%m-%d %H:%M:%S'))}" if own else ""
        self.store.execute(
            f"""UPDATE {self.entity.table} SET {sets}, UpdatedAt = ?{modified} FROM {self.target} t
                               WHERE {self.entity.table}.Id = t.record AND {self._differs()}""",
            [now],
        )
        if moved:
            self.eloqua.people.settle_contacts(changed)
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
        row |= self._own_values(now.strftime("%Y-%m-%d %H:%M:%S"))
        row |= {column: f"t.n{i}" for i, column in self.columns.items()}
        joins = ""
        if self.entity.kind == "Contact":
            # The address remembers what its person wanted, also of a contact that was deleted since (eloqua.md 2.3).
            mail = row['"C_EmailAddress"']
            joins = f"LEFT JOIN eloqua.address a ON a.address = lower(trim({mail}))"
            row |= {
                "IsSubscribed": "CASE WHEN coalesce(a.subscribed, true) THEN 'True' ELSE 'False' END",
                "IsBounced": "CASE WHEN coalesce(a.bounced, false) THEN 'True' ELSE 'False' END",
            }
            form = row.pop(quoted("Format"), "''")
            row["Format"] = f"coalesce(nullif({form}, ''), 'unspecified')"
        self.store.execute(
            f"""INSERT INTO {self.entity.table} ({", ".join(row)}) SELECT {", ".join(row.values())}
                FROM {self.target} t {joins} WHERE record >= {first} ORDER BY record""",
            [now, now],
        )
        return created

    def _own_values(self, now: str) -> dict[str, str]:
        """SQL of what Eloqua itself fills in a new record."""
        if self.entity.kind == "CustomObject":
            return {"ExternalId": "'DCTET' || lpad(CAST(record AS VARCHAR), 12, '0')"}
        own = OWN_FIELDS.get(self.entity.kind)
        if not own:
            return {}
        prefix, number, born, touched = own
        return {
            quoted(number): f"'{prefix}' || lpad(CAST(record AS VARCHAR), 12, '0')",
            quoted(born): literal(now),
            quoted(touched): literal(now),
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

    # -- what is not the record's own -------------------------------------------------------------------------------

    def _set_states(self, outcome: Outcome) -> None:
        """{{Contact.Email.IsBounced}} and IsSubscribed: the state of the address (eloqua.md 3.4, 3.12)."""
        for i, statement in enumerate(self.statements):
            codes = {"IsBounced": ("ELQ-00016", ""), "IsSubscribed": ("ELQ-00138", "ELQ-00017")}.get(
                statement.special or ""
            )
            if not codes:
                continue
            for value, code in zip(("True", "False"), codes, strict=True):
                addresses = f"""SELECT c.C_EmailAddress FROM {self.target} t JOIN eloqua.contact c ON c.Id = t.record
                                WHERE t.n{i} = '{value}'"""
                count = self.store.value(f"SELECT count(*) FROM ({addresses})")
                if not count:
                    continue
                if statement.special == "IsBounced":
                    self.eloqua.people.set_bounced(addresses, value == "True")
                else:
                    self.eloqua.people.set_subscribed(addresses, value == "True")
                if code:
                    outcome.note(code, count)

    def _link(self) -> tuple[int, int]:
        """mapDataCards: link the imported rows; counts of linked and unmatched rows (ELQ-00025, 00034)."""
        total = self.store.value(f"SELECT count(*) FROM {self.target}")
        found = link_target(self.body, self.eloqua)
        if found is None:
            return 0, total
        entity, reached = found
        source = self.names.index(self.body["mapDataCardsSourceField"])
        value = f"t.n{source}" if source in self.columns else "NULL"
        fold = "" if self.body.get("mapDataCardsCaseSensitiveMatch") is True else "lower"
        column = "ContactId" if entity.kind == "Contact" else "AccountId"
        table = self.entity.table
        self.store.execute(f"""CREATE TABLE {self.work}_link AS
            SELECT t.row_number, t.record, min(r.Id) AS found, any_value(own.{column}) AS old
            FROM {self.target} t JOIN {table} own ON own.Id = t.record JOIN {entity.table} r
            ON {value} <> '' AND {fold}(CAST({reached.sql} AS VARCHAR)) = {fold}({value}) GROUP BY ALL""")
        batch = self.store.new_batch("eloqua", self.entity.name, [column])
        self.store.execute(f"""INSERT INTO log.mutation
            SELECT {batch}, CAST(record AS VARCHAR), 'update', [CAST(old AS VARCHAR)], [CAST(found AS VARCHAR)]
            FROM {self.work}_link WHERE old IS DISTINCT FROM found ORDER BY record""")
        self.store.execute(f"""UPDATE {table} SET {column} = l.found FROM {self.work}_link l
            WHERE {table}.Id = l.record AND {table}.{column} IS DISTINCT FROM l.found""")
        linked = self.store.value(f"SELECT count(DISTINCT row_number) FROM {self.work}_link")
        self.store.execute(f"DROP TABLE {self.work}_link")
        return linked, total - linked
