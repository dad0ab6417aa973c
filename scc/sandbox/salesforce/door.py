"""The door for tests: read and change Salesforce's records from Python, without HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from scc.sandbox.clock import parse_instant
from scc.sandbox.salesforce.ids import make_id, normal
from scc.sandbox.salesforce.schema import OBJECTS, SObject
from scc.sandbox.store import quoted

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce

# Numbers of ids that tests make start here, above every seeded record.
FIRST_NUMBER = 62**5 // 2


class Door:
    """Salesforce's state for tests. What it changes is in the mutation log with the cause "python"."""

    def __init__(self, salesforce: Salesforce) -> None:
        self._salesforce, self._store = salesforce, salesforce.store
        self.limits = salesforce.limits

    def add(self, object_name: str, values: Mapping[str, Any]) -> str:
        """Add a record and return its 18-character id; dates and datetimes also as ISO texts. "Id" may be given."""
        known = sobject(object_name)
        now = self._salesforce.clock.naive
        with self._store.transaction():
            number = self._store.next_number("salesforce " + known.name, FIRST_NUMBER)
            new_id = normal(values.get("Id", "")) or make_id(known.prefix, number)
            given = typed(known, {n: v for n, v in values.items() if n != "Id"})
            row = {
                **{f.name: False for f in known.fields.values() if f.type == "boolean"},
                "CreatedDate": now,
                "LastModifiedDate": now,
                "SystemModstamp": now,
                **given,
                "Id": new_id,
            }
            names = ", ".join(quoted(name) for name in row)
            self._store.execute(
                f"INSERT INTO {known.table} ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values())
            )
            self._store.log_change("salesforce", known.name, new_id, "create", {}, given)
        return new_id

    def update(self, object_name: str, record_id: str, values: Mapping[str, Any]) -> None:
        """Change a record; SystemModstamp moves. Raises KeyError when there is none."""
        known = sobject(object_name)
        with self._store.transaction():
            old, given, now = self._row(known, record_id), typed(known, values), self._salesforce.clock.naive
            row = {**given, "LastModifiedDate": now, "SystemModstamp": now}
            sets = ", ".join(f"{quoted(name)} = ?" for name in row)
            self._store.execute(f"UPDATE {known.table} SET {sets} WHERE Id = ?", [*row.values(), old["Id"]])
            self._store.log_change("salesforce", known.name, old["Id"], "update", {n: old[n] for n in given}, given)

    def delete(self, object_name: str, record_id: str) -> None:
        """Move a record to the recycle bin: only queryAll shows it."""
        known = sobject(object_name)
        with self._store.transaction():
            old = self._row(known, record_id)
            self._store.execute(
                f"UPDATE {known.table} SET IsDeleted = true, SystemModstamp = ? WHERE Id = ?",
                [self._salesforce.clock.naive, old["Id"]],
            )
            self._store.log_change("salesforce", known.name, old["Id"], "delete", old, {})

    def rows(self, object_name: str) -> list[dict[str, Any]]:
        """All records that are not deleted, by id, hidden ones too; time stamps are UTC."""
        found = self._store.dicts(
            f"SELECT * EXCLUDE (hidden_) FROM {sobject(object_name).table} WHERE NOT IsDeleted ORDER BY Id"
        )
        return [{n: v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for n, v in row.items()} for row in found]

    def clear(self, object_name: str) -> None:
        """Forget all records of the object; no mutations are logged."""
        with self._store.lock:
            self._store.execute(f"DELETE FROM {sobject(object_name).table}")

    def hide_field(self, object_name: str, field_name: str) -> None:
        """Field-level security: the field is absent from describe, and a query that names it gets INVALID_FIELD."""
        self._salesforce.hidden.add((object_name.lower(), field_name.lower()))

    def hide_rows(self, object_name: str, hidden: bool = True) -> None:
        """Lost sharing: no query finds any record of the object."""
        with self._store.lock:
            self._store.execute(f"UPDATE {sobject(object_name).table} SET hidden_ = {hidden}")

    def hide_row(self, record_id: str, hidden: bool = True) -> None:
        wanted = normal(record_id) or ""
        known = next(o for o in OBJECTS.values() if o.prefix == wanted[:3])
        with self._store.lock:
            self._store.execute(f"UPDATE {known.table} SET hidden_ = {hidden} WHERE Id = ?", [wanted])

    def expire_tokens(self) -> None:
        """Every access token dies now."""
        self._salesforce.auth.expire_tokens()

    def register_jwt_key(self, public_key: str) -> None:
        """Accept assertions signed with the private half of this PEM key."""
        self._salesforce.auth.jwt_keys.append(public_key)

    def _row(self, known: SObject, record_id: str) -> dict[str, Any]:
        found = self._store.dicts(
            f"SELECT * EXCLUDE (hidden_) FROM {known.table} WHERE Id = ? AND NOT IsDeleted", [normal(record_id)]
        )
        if not found:
            raise KeyError(record_id)
        return found[0]


def sobject(name: str) -> SObject:
    known = OBJECTS.get(name.lower())
    if known is None:
        raise KeyError(name)
    return known


def typed(known: SObject, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the store keeps them, by field name. Raises KeyError for an unknown field."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        found = known.field(name)
        if found is None:
            raise KeyError(f"{known.name} has no field {name!r}")
        if value == "":
            value = None
        if isinstance(value, str) and found.type == "date":
            value = date.fromisoformat(value)
        elif isinstance(value, (str, datetime)) and found.type == "datetime":
            instant = parse_instant(value) if isinstance(value, str) else value
            value = instant.astimezone(UTC).replace(tzinfo=None)
        elif isinstance(value, str) and found.is_id:
            value = normal(value)
        result[found.name] = value
    return result
