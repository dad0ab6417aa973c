"""The door for tests: read and change Eloqua's records from Python, without HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from scc.sandbox.clock import parse_instant
from scc.sandbox.eloqua.entities import (
    DECLARED,
    Entity,
    Field,
    canonical,
    create_declared_table,
    internal_name,
    stamp,
)
from scc.sandbox.store import literal, quoted

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
        """Add a record of a custom object or event and return its id; values by internal or display field name."""
        entity, fields = self.entity(object_name), self._internal(object_name, values)
        born = naive(created_at) if created_at else self.clock.naive
        with self.store.transaction():
            if entity.kind == "Contact":
                return self._eloqua.people.create_contact(fields, born)
            if entity.kind == "Account":
                return self._eloqua.rest.accounts.create(fields, born)
            number = self._eloqua.people.reserve_ids(entity.table)
            system: dict[str, Any] = {"Id": number, "CreatedAt": born, "UpdatedAt": born}
            if entity.kind in DECLARED:
                system["ContactId"] = contact_id
            if entity.kind == "CustomObject":
                system["ExternalId"] = f"DCTET{number:012d}"
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
            if entity.kind == "Contact":
                self._eloqua.people.update_contact(record_id, fields)
                return
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
            if entity.kind in ("Contact", "Account"):
                owner = (
                    self._eloqua.people.delete_contact
                    if entity.kind == "Contact"
                    else self._eloqua.rest.accounts.delete
                )
                owner(record_id)
                return
            old = self._record(entity, record_id)
            self._eloqua.people.retire_id(entity.table, record_id)
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
        self._eloqua.catch_up()
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

    # -- people -----------------------------------------------------------------------------------------------------

    def add_contact(
        self,
        address: str,
        values: Mapping[str, Any] | None = None,
        created_at: datetime | str | None = None,
        account_id: int | None = None,
    ) -> int:
        """Add a contact and return its id; subscription and bounce state are those that its address has already."""
        fields = self._internal("Contact", {"C_EmailAddress": address, **(values or {})})
        born = naive(created_at) if created_at else self.clock.naive
        with self.store.transaction():
            return self._eloqua.people.create_contact(fields, born, account_id)

    def contact(self, address: str) -> dict[str, Any] | None:
        """The contact with this address (without regard to case), as `records("Contact")` shows it."""
        number = self._eloqua.people.contact_by_address(address)
        return None if number is None else self.record("Contact", number)

    def set_subscribed(self, address: str, subscribed: bool = True) -> None:
        """Globally, for the address: with a contact or without."""
        with self.store.transaction():
            self._eloqua.people.set_subscribed(f"SELECT {literal(address)}", subscribed)

    def set_bounced(self, address: str, bounced: bool = True) -> None:
        with self.store.transaction():
            self._eloqua.people.set_bounced(f"SELECT {literal(address)}", bounced)

    def bounced(self) -> set[str]:
        """The addresses (lower case) that are marked as bounced, with a contact or without."""
        self._eloqua.catch_up()
        return {row[0] for row in self.store.rows("SELECT address FROM eloqua.address WHERE bounced")}

    def unsubscribed(self) -> set[str]:
        """The addresses (lower case) that are unsubscribed globally."""
        return {row[0] for row in self.store.rows("SELECT address FROM eloqua.address WHERE NOT subscribed")}

    def add_list(self, name: str, contact_ids: Sequence[int] = ()) -> int:
        """A contact list with these members; its id."""
        with self.store.transaction():
            number = self._eloqua.people.create_list(name)
            if contact_ids:
                ids = ", ".join(str(int(contact)) for contact in contact_ids)
                self._eloqua.people.add_members(number, f"SELECT unnest([{ids}]::BIGINT[])")
            return number

    def lists(self) -> dict[str, list[int]]:
        """All contact lists: name -> ids of the members."""
        found = self.store.rows("SELECT Id, name FROM eloqua.list ORDER BY Id")
        return {name: self._eloqua.people.members(number) for number, name in found}

    def add_email_group(self, name: str) -> int:
        with self.store.transaction():
            return self._eloqua.people.create_email_group(name)

    def add_account(self, name: str, values: Mapping[str, Any] | None = None) -> int:
        """Add an account and return its id."""
        return self.add_record("Account", {"M_CompanyName": name, **(values or {})})

    # -- activities, segments ---------------------------------------------------------------------------------------

    def add_activity(
        self,
        type: str,
        contact: int | str | None = None,
        created_at: datetime | str | None = None,
        visible_at: datetime | str | None = None,
        **fields: Any,
    ) -> int:
        """Add one of the ten types of activity and return its id: add_activity("EmailOpen", "ana@example.com").

        contact: a contact's id or address. created_at: when it happened (default now); visible_at: when Eloqua can show
        it (default at once). fields: AssetName, CampaignId ..., see activities.COLUMNS. Raises KeyError for what is not known.
        """
        with self.store.transaction():
            return self._eloqua.activities.add(type, contact, optional(created_at), optional(visible_at), fields)

    def add_bounceback(
        self,
        address: str,
        smtp_status: str = "",
        smtp_code: str = "",
        message: str = "",
        created_at: datetime | str | None = None,
        visible_at: datetime | str | None = None,
        **fields: Any,
    ) -> int:
        """A mail to the address came back; the id of the activity. A contact is made where nobody has the address.

        It is only reported: the state of the address stays as it is, for that is what a client is to set right.
        """
        with self.store.transaction():
            people = self._eloqua.people
            number = people.contact_by_address(address) or people.create_contact({"C_EmailAddress": address})
            smtp = {"SmtpStatusCode": smtp_status, "SmtpErrorCode": smtp_code, "SmtpMessage": message}
            values = {"EmailAddress": address, "AssetType": "Email", **smtp, **fields}
            return self._eloqua.activities.add("Bounceback", number, optional(created_at), optional(visible_at), values)

    def activities(self, type: str | None = None) -> list[dict[str, Any]]:
        """All activities by id, or those of one type: columns of eloqua.activity, CreatedAt and VisibleAt in UTC."""
        found = self.store.dicts("SELECT * FROM eloqua.activity WHERE Type = coalesce(?, Type) ORDER BY Id", [type])
        for row in found:
            for name in ("CreatedAt", "VisibleAt"):
                row[name] = row[name].replace(tzinfo=UTC)
        return found

    def clear_activities(self) -> None:
        """Forget all activities; no mutations are logged: this sets a stage, it plays no part."""
        with self.store.lock:
            self.store.execute("DELETE FROM eloqua.activity")

    def add_segment(self, name: str, condition: str = "") -> int:
        """A segment whose members are the contacts that fit an EEL condition ("": all); its id. Raises BadFilter."""
        with self.store.lock:
            return self._eloqua.containers.choose("ContactSegment", name, condition)

    def add_filter(self, name: str, condition: str = "") -> int:
        """A contact filter, as add_segment."""
        with self.store.lock:
            return self._eloqua.containers.choose("ContactFilter", name, condition)

    def add_account_list(self, name: str) -> int:
        with self.store.transaction():
            return self._eloqua.containers.create_account_list(name)

    def account_list(self, list_id: int) -> list[int]:
        """Ids of the accounts on a list of accounts."""
        rows = self.store.rows(
            "SELECT account_id FROM eloqua.account_list_member WHERE list_id = ? ORDER BY 1", [list_id]
        )
        return [row[0] for row in rows]

    def put_in_step(self, instance: str, contact_ids: Sequence[int], status: str = "pending") -> None:
        """Put contacts in a step of a canvas, as STATUS('{{ActionInstance(...)}}') finds them."""
        with self.store.lock:
            self.store.execute(
                "INSERT INTO eloqua.step_status SELECT ?, unnest(?), ?",
                [instance.replace("-", "").lower(), list(contact_ids), status],
            )

    def step(self, instance: str) -> dict[int, str]:
        """Status by record id of a step of a canvas."""
        wanted = [instance.replace("-", "").lower()]
        return dict(self.store.rows("SELECT record_id, status FROM eloqua.step_status WHERE instance = ?", wanted))

    # -- objects ----------------------------------------------------------------------------------------------------

    def add_custom_object(self, name: str, fields: Sequence[Mapping[str, Any]], unique: str | None = None) -> int:
        """Make a custom object and return its id.

        fields: {"name", "dataType", "internalName"?, "width"?, "default"?} each, dataType one of emailAddress, string,
        date, number. unique: the display or internal name of the unique-code field.
        """
        with self.store.lock:
            entity = self.declare_custom_object(name, fields, unique)
            create_declared_table(self.store, entity)
        assert entity.id is not None
        return entity.id

    def declare_custom_object(
        self, name: str, fields: Sequence[Mapping[str, Any]], unique: str | None = None
    ) -> Entity:
        """A custom object whose table is there already, or soon will be."""
        made = self._eloqua.objects_made
        self._eloqua.objects_made += 1
        entity = self._declared("CustomObject", 9 + 2 * made, 975 + 100 * made, name, fields, unique)
        self._eloqua.entities[name] = entity
        return entity

    def add_event(self, name: str, fields: Sequence[Mapping[str, Any]], unique: str | None = None) -> int:
        """Make an event and return its id; as add_custom_object. No company has one before."""
        with self.store.lock:
            made = len(self._eloqua.events)
            entity = self._declared("Event", 3 + made, 5000 + 100 * made, name, fields, unique)
            create_declared_table(self.store, entity)
            self._eloqua.events[name] = entity
        assert entity.id is not None
        return entity.id

    def _declared(
        self, kind: str, number: int, start: int, name: str, fields: Sequence[Mapping[str, Any]], unique: str | None
    ) -> Entity:
        """A custom object or event of this number; its fields are numbered from `start`."""
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
        table = f"eloqua.{'custom' if kind == 'CustomObject' else 'event'}_{number}"
        return Entity(kind, number, name, table, made, unique, email, email, created, contact=self._eloqua.contacts)

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
        """The entity by its name: "Contact", "Account", or that of a custom object or event. Raises KeyError."""
        named = {"Contact": self._eloqua.contacts, "Account": self._eloqua.accounts, **self._eloqua.events}
        return named.get(object_name) or self._eloqua.entities[object_name]

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


def optional(moment: datetime | str | None) -> datetime | None:
    return None if moment is None else naive(moment)


def naive(moment: datetime | str) -> datetime:
    instant = parse_instant(moment) if isinstance(moment, str) else moment
    return instant.astimezone(UTC).replace(tzinfo=None) if instant.tzinfo else instant
