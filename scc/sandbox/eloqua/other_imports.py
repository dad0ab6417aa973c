"""Who carries out which import, and what is peculiar to each kind but contacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scc.sandbox.eloqua.contact_imports import ContactImporter
from scc.sandbox.eloqua.definitions import Definition, link_target
from scc.sandbox.eloqua.entities import canonical
from scc.sandbox.eloqua.import_rows import Outcome
from scc.sandbox.eloqua.imports import Importer
from scc.sandbox.eloqua.opportunities import STAGES
from scc.sandbox.eloqua.sync_actions import GLOBAL, apply_sync_actions
from scc.sandbox.http import Fate
from scc.sandbox.store import literal, quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua


def importer(eloqua: Eloqua, definition: Definition, sync_id: int, fate: Fate) -> Importer:
    """Who carries out the sync of this import or sync action."""
    kind = "Matcher" if definition.kind == "syncActions" else definition.entity.kind
    return KINDS.get(kind, Importer)(eloqua, definition, sync_id, fate)


class RecordImporter(Importer):
    """Records of a custom object or event; with mapDataCards linked to contacts or companies (eloqua.md 3.13, 3.14)."""

    def _own_values(self, now: str) -> dict[str, str]:
        if self.entity.kind == "Event":
            return {}
        return {"ExternalId": "'DCTET' || lpad(CAST(record AS VARCHAR), 12, '0')"}

    def _finish(self, outcome: Outcome) -> None:
        if self.body.get("mapDataCards") is True:
            linked, unmatched = self._link()
            outcome.note("ELQ-00078" if self.entity.kind == "Event" else "ELQ-00025", linked)
            outcome.note("ELQ-00034", unmatched, "warning" if unmatched else "information")

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


class Matcher(Importer):
    """A stand-alone sync action: finds records, changes no field (eloqua.md 3.5)."""

    def _apply(self, outcome: Outcome) -> None:
        unmatched = self._leave("record IS NULL")
        if unmatched:
            outcome.note("ELQ-00034", unmatched, "warning")
        self._act(outcome)


class AddressImporter(Importer):
    """/emailAddresses/imports: marks addresses, with a contact or without, and creates none (eloqua.md 3.5)."""

    def _match(self) -> None:
        self.store.execute(f"""CREATE TABLE {self.target} AS
            SELECT row_number, key, CAST(NULL AS BIGINT) AS record FROM {self.work} WHERE verdict IS NULL""")

    def _check_matches(self) -> None:
        pass

    def _apply(self, outcome: Outcome) -> None:
        addresses = f"SELECT key FROM {self.target}"
        known = self.store.value(f"SELECT count(*) FROM eloqua.address WHERE address IN ({addresses})")
        total = self.store.value(f"SELECT count(*) FROM {self.target}")
        usual = [{"action": "setStatus", "destination": GLOBAL, "status": "unsubscribed"}]
        for code, count in apply_sync_actions(
            self.eloqua, self.entity, self.body.get("syncActions") or usual, "SELECT CAST(NULL AS BIGINT)", addresses
        ):
            outcome.note(code, count)
        outcome.note("ELQ-00033", total - known)
        outcome.note("ELQ-00035", known)


class ActivityImporter(Importer):
    """External activities: each row is a new one, and none is ever changed (eloqua.md 3.11)."""

    def _verdicts(self) -> list[tuple[str, int, str]]:
        found = super()._verdicts()
        activities = self.eloqua.activities
        for path, code, known in (
            ("Type", "ELQ-00070", activities.external_types),
            ("Asset.Type", "ELQ-00072", activities.external_assets),
        ):
            if (i := self._index(path)) is not None:
                names = ", ".join(literal(name.lower()) for name in sorted(known)) or "NULL"
                found.append((code, i, f"lower(trim(v{i})) NOT IN ({names})"))
        if (i := self._index("CreatedAt")) is not None:
            found.append(("ELQ-00125", i, f"v{i} IS NULL"))
        # An identifier is ignored, so it can neither be missing nor be refused.
        return [verdict for verdict in found if verdict[0] != "ELQ-00061" and "refused_code" not in verdict[2]]

    def _index(self, path: str) -> int | None:
        wanted = f"{{{{Activity.{path}}}}}"
        return next((i for i, name in enumerate(self.names) if self.definition.fields[name].strip() == wanted), None)

    def _value(self, i: int) -> str:
        return canonical(f"c{i}", "date" if self.statements[i].kind == "system" else "string")

    def _drop_duplicates(self) -> None:
        pass

    def _match(self) -> None:
        """Here `record` is the contact."""
        mail = self._index("Contact.Field(C_EmailAddress)")
        address = f"lower(trim(w.v{mail}))" if mail is not None else "NULL"
        values = "".join(f", w.v{i} AS n{i}" for i in range(len(self.names)))
        self.store.execute(f"""CREATE TABLE {self.target} AS SELECT w.row_number, w.key, min(c.Id) AS record{values}
            FROM {self.work} w LEFT JOIN eloqua.contact c ON lower(trim(c.C_EmailAddress)) = {address} AND {address} <> ''
            WHERE w.verdict IS NULL GROUP BY ALL ORDER BY w.row_number""")

    def _check_matches(self) -> None:
        mail = self._index("Contact.Field(C_EmailAddress)") or 0
        lost = f"SELECT row_number FROM {self.target} WHERE record IS NULL"
        self._reject(f"ELQ-00085|{mail}", f"row_number IN ({lost})")
        self.store.execute(f"DELETE FROM {self.target} WHERE record IS NULL")

    def _apply(self, outcome: Outcome) -> None:
        if self.identifier:
            outcome.note("ELQ-00123", outcome.staged)
        total = self.store.value(f"SELECT count(*) FROM {self.target}")
        if total:
            first = self.eloqua.people.reserve_ids("eloqua.activity", total)
            now = f"TIMESTAMP {literal(str(self.store.clock.naive))}"
            row = {
                "Id": f"{first} + row_number() OVER (ORDER BY t.row_number) - 1",
                "Type": "'External'",
                "ContactId": "t.record",
                "VisibleAt": now,
                "CreatedAt": now,
            }
            for path, column in (
                ("Campaign.Id", "CampaignId"),
                ("Asset.Name", "AssetName"),
                ("Asset.Type", "AssetType"),
                ("Type", "ExternalType"),
            ):
                if (i := self._index(path)) is not None:
                    row[column] = f"t.n{i}"
            if (i := self._index("CreatedAt")) is not None:
                row["CreatedAt"] = f"coalesce(TRY_CAST(t.n{i} AS TIMESTAMP), {now})"
            outcome.note("ELQ-00068", self._new_assets(row))
            batch = self.store.new_batch("eloqua", "Activity", ["Type", "ContactId", "ExternalType"])
            self.store.execute(
                f"INSERT INTO eloqua.activity BY NAME SELECT "
                f"{', '.join(f'{sql} AS {quoted(name)}' for name, sql in row.items())} FROM {self.target} t"
            )
            self.store.execute(f"""INSERT INTO log.mutation SELECT {batch}, CAST(Id AS VARCHAR), 'create', NULL,
                ['External', CAST(ContactId AS VARCHAR), ExternalType] FROM eloqua.activity WHERE Id >= {first}""")
        outcome.note("ELQ-00069", total)

    def _new_assets(self, row: dict[str, str]) -> int:
        kind, name = row.get("AssetType", "''"), row.get("AssetName", "''")
        return self.store.value(f"""SELECT count(*) FROM (SELECT DISTINCT {kind} AS k, {name} AS n FROM {self.target} t)
            WHERE n <> '' AND (k, n) NOT IN (SELECT (coalesce(AssetType, ''), coalesce(AssetName, ''))
                                             FROM eloqua.activity WHERE Type = 'External')""")


class OpportunityImporter(Importer):
    """Opportunities by their id in the system that they come from (eloqua.md 3.14)."""

    def _verdicts(self) -> list[tuple[str, int, str]]:
        found = super()._verdicts()
        stages = ", ".join(literal(stage.lower()) for stage in STAGES)
        for i, statement in enumerate(self.statements):
            if statement.field and statement.field.internal_name == "Stage":
                found.append(("ELQ-00039", i, f"lower(trim(v{i})) NOT IN ({stages})"))
        return found


class OpportunityLinker(Importer):
    """/opportunities/contacts/imports: links contacts to opportunities that are there already (eloqua.md 3.14)."""

    def _match(self) -> None:
        columns = {s.field.internal_name: i for i, s in enumerate(self.statements) if s.field}
        number, mail = (columns.get(name) for name in ("OpportunityId", "EmailAddress"))
        chance = f"lower(trim(w.v{number}))" if number is not None else "NULL"
        address = f"lower(trim(w.v{mail}))" if mail is not None else "NULL"
        self.store.execute(f"""CREATE TABLE {self.target} AS
            SELECT w.row_number, w.key, min(o.Id) AS record, min(c.Id) AS contact FROM {self.work} w
            LEFT JOIN eloqua.opportunity o ON lower(o.OpportunityId) = {chance}
            LEFT JOIN eloqua.contact c ON lower(trim(c.C_EmailAddress)) = {address} AND {address} <> ''
            WHERE w.verdict IS NULL GROUP BY ALL ORDER BY w.row_number""")

    def _drop_duplicates(self) -> None:
        pass  # one opportunity has many contacts

    def _check_matches(self) -> None:
        for code, column in (("ELQ-00084", "record"), ("ELQ-00085", "contact")):
            self._reject(
                f"{code}|0",
                f"verdict IS NULL AND row_number IN (SELECT row_number FROM {self.target} WHERE {column} IS NULL)",
            )
        self.store.execute(f"DELETE FROM {self.target} WHERE record IS NULL OR contact IS NULL")

    def _apply(self, outcome: Outcome) -> None:
        new = f"""SELECT DISTINCT record, contact FROM {self.target}
                  WHERE (record, contact) NOT IN (SELECT (opportunity_id, contact_id) FROM eloqua.opportunity_contact)"""
        batch = self.store.new_batch("eloqua", "Opportunity", ["contact"])
        self.store.execute(f"""INSERT INTO log.mutation SELECT {batch}, CAST(record AS VARCHAR), 'update', NULL,
            [CAST(contact AS VARCHAR)] FROM ({new}) ORDER BY ALL""")
        count = self.store.value(f"SELECT count(*) FROM ({new})")
        self.store.execute(f"INSERT INTO eloqua.opportunity_contact {new}")
        outcome.note("ELQ-00049", count)


KINDS: dict[str, type[Importer]] = {
    "Contact": ContactImporter,
    "CustomObject": RecordImporter,
    "Event": RecordImporter,
    "Matcher": Matcher,
    "EmailAddress": AddressImporter,
    "Activity": ActivityImporter,
    "Opportunity": OpportunityImporter,
    "OpportunityContact": OpportunityLinker,
}
