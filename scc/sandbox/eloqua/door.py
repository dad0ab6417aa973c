"""The door for tests: read and change Eloqua's records from Python, without HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from scc.sandbox.clock import parse_instant
from scc.sandbox.eloqua.entities import (
    Entity,
    Field,
    canonical,
    create_custom_object_table,
    internal_name,
    stamp,
)
from scc.sandbox.store import quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

SYSTEM = ("Id", "CreatedAt", "UpdatedAt", "ExternalId", "ContactId")


class Door:
    """Eloqua's state for tests. What it changes is in the mutation log with the cause "python"."""

    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self.store, self.clock = eloqua, eloqua.store, eloqua.clock
        self.limits = eloqua.limits  # settable: sandbox.eloqua.limits.page_rows = 10

    # -- records ----------------------------------------------------------------------------------------------------

    def add_record(
        self,
        object_name: str,
        values: Mapping[str, Any],
        created_at: datetime | str | None = None,
        contact_id: int | None = None,
    ) -> int:
        """Add a record of a custom object and return its id; values by internal or display field name."""
        entity, fields = self.entity(object_name), self._internal(object_name, values)
        with self.store.transaction():
            number = self.store.value(f"SELECT coalesce(max(Id), 0) + 1 FROM {entity.table}")
            born = naive(created_at) if created_at else self.clock.naive
            system: dict[str, Any] = {"Id": number, "CreatedAt": born, "UpdatedAt": born}
            if entity.kind == "CustomObject":
                system |= {"ExternalId": f"DCTET{number:012d}", "ContactId": contact_id}
            row = {**system, **fields}
            names = ", ".join(quoted(name) for name in row)
            self.store.execute(
                f"INSERT INTO {entity.table} ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values())
            )
            self.store.log_change("eloqua", entity.name, str(number), "create", {}, fields)
        return number

    def update_record(self, object_name: str, record_id: int, values: Mapping[str, Any]) -> None:
        """Change a record; raises KeyError when there is none. UpdatedAt moves."""
        entity, fields = self.entity(object_name), self._internal(object_name, values)
        with self.store.transaction():
            old = self._record(entity, record_id)
            sets = ", ".join(f"{quoted(name)} = ?" for name in fields)
            self.store.execute(
                f"UPDATE {entity.table} SET {sets}, UpdatedAt = ? WHERE Id = ?",
                [*fields.values(), self.clock.naive, record_id],
            )
            self.store.log_change("eloqua", entity.name, str(record_id), "update", {n: old[n] for n in fields}, fields)

    def delete_record(self, object_name: str, record_id: int) -> None:
        entity = self.entity(object_name)
        with self.store.transaction():
            old = self._record(entity, record_id)
            self.store.execute(f"DELETE FROM {entity.table} WHERE Id = ?", [record_id])
            self.store.log_change(
                "eloqua", entity.name, str(record_id), "delete", {n: v for n, v in old.items() if n not in SYSTEM}, {}
            )

    def clear_records(self, object_name: str) -> None:
        """Forget all records of the object; no mutations are logged: this sets a stage, it plays no part."""
        with self.store.lock:
            self.store.execute(f"DELETE FROM {self.entity(object_name).table}")

    def records(self, object_name: str) -> list[dict[str, Any]]:
        """All records by id: field texts by internal name, and Id, CreatedAt, UpdatedAt (UTC), ExternalId, ContactId."""
        found = self.store.dicts(f"SELECT * FROM {self.entity(object_name).table} ORDER BY Id")
        for row in found:
            for name in ("CreatedAt", "UpdatedAt"):
                row[name] = row[name].replace(tzinfo=UTC)
        return found

    def record(self, object_name: str, record_id: int) -> dict[str, Any]:
        """One record, as `records` shows it. Raises KeyError."""
        for row in self.records(object_name):
            if row["Id"] == record_id:
                return row
        raise KeyError(record_id)

    # -- objects ----------------------------------------------------------------------------------------------------

    def add_custom_object(self, name: str, fields: Sequence[Mapping[str, Any]], unique: str | None = None) -> int:
        """Make a custom object and return its id.

        fields: {"name", "dataType", "internalName"?, "width"?, "default"?} each, dataType one of emailAddress, string,
        date, number. unique: the display or internal name of the unique-code field.
        """
        with self.store.lock:
            entity = self.declare_custom_object(name, fields, unique)
            create_custom_object_table(self.store, entity)
        assert entity.id is not None
        return entity.id

    def declare_custom_object(
        self, name: str, fields: Sequence[Mapping[str, Any]], unique: str | None = None
    ) -> Entity:
        """A custom object whose table is there already, or soon will be."""
        number = 9 + 2 * len(self._eloqua.entities)
        start = 975 + 100 * len(self._eloqua.entities)
        created = stamp(self.clock.now)
        made = [
            Field(
                start + i,
                f["name"],
                f.get("internalName") or internal_name(f["name"]),
                f.get("dataType", "string"),
                f.get("width", 250),
                unique=unique in (f["name"], f.get("internalName")),
                created_at=created,
                default=f.get("default"),
            )
            for i, f in enumerate(fields)
        ]
        email = next((f.internal_name for f in made if f.data_type == "emailAddress"), None)
        entity = Entity(
            "CustomObject",
            number,
            name,
            f"eloqua.custom_{number}",
            made,
            unique,
            email,
            email,
            created,
            self._eloqua.contacts,
        )
        self._eloqua.entities[name] = entity
        return entity

    def reject(self, object_name: str, identifier: str, code: str = "ELQ-00125") -> None:
        """From now on imports reject the row with this identifier, with the given ELQ code."""
        self._eloqua.refusals.setdefault(self.entity(object_name).name, {})[identifier.strip().lower()] = code

    def expire_tokens(self) -> None:
        """Every access token dies now; refresh tokens live on."""
        self._eloqua.auth.expire_tokens()

    def definitions(self) -> list[dict[str, Any]]:
        """The Bulk definitions that still exist, as their GET shows them."""
        return [definition.shown() for definition in self._eloqua.definitions.values()]

    def syncs(self) -> list[dict[str, Any]]:
        """All syncs so far, as their GET shows them; looking does not make them go on."""
        return [sync.shown() for sync in self._eloqua.syncs.all.values()]

    def entity(self, object_name: str) -> Entity:
        """The entity by its name ("Contact" or a custom object's). Raises KeyError."""
        return self._eloqua.contacts if object_name == "Contact" else self._eloqua.entities[object_name]

    def _record(self, entity: Entity, record_id: int) -> dict[str, Any]:
        found = self.store.dicts(f"SELECT * FROM {entity.table} WHERE Id = ?", [record_id])
        if not found:
            raise KeyError(record_id)
        return found[0]

    def _internal(self, object_name: str, values: Mapping[str, Any]) -> dict[str, str]:
        """Canonical texts by internal name. Raises KeyError for a field, ValueError for a value that does not exist."""
        result = {}
        for name, value in values.items():
            known = self.entity(object_name).field_by(name)
            if known is None:
                raise KeyError(f"{object_name} has no field {name!r}")
            given = "" if value is None else str(value)
            kept = self.store.value(f"SELECT {canonical('v', known.data_type)} FROM (SELECT ? AS v)", [given])
            if kept is None:
                raise ValueError(f"{name}: {given!r} is no {known.data_type}")
            result[known.internal_name] = kept
        return result


def naive(moment: datetime | str) -> datetime:
    instant = parse_instant(moment) if isinstance(moment, str) else moment
    return instant.astimezone(UTC).replace(tzinfo=None) if instant.tzinfo else instant
