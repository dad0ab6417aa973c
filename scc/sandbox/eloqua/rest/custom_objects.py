"""Custom objects and their records over REST (eloqua.md 2.6, 5.7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scc.sandbox.clock import parse_instant
from scc.sandbox.eloqua.auth import User
from scc.sandbox.eloqua.entities import LARGE_TEXT_WIDTH, Entity, Field, internal_name
from scc.sandbox.eloqua.rest.errors import not_found, object_error
from scc.sandbox.eloqua.rest.records import (
    Values,
    depth_of,
    document,
    field_properties,
    field_values,
    number_of,
    same_id,
    text_or_none,
    tidy,
    unix,
)
from scc.sandbox.eloqua.rest.search import Listed, Property, listing
from scc.sandbox.http import Request, Response, Router, json_response
from scc.sandbox.store import literal, quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

STATUS = "Awaiting action"
RECORD_STATUS = "Registered"
LONGEST_NAME = 100
# REST's name in lower case -> Bulk's (eloqua.md 2.4).
DATA_TYPES = {
    "text": "string",
    "largetext": "string",
    "date": "date",
    "numeric": "number",
    "number": "number",
}


class CustomObjects:
    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store, self._people = eloqua, eloqua.store, eloqua.people

    def routes(self, router: Router) -> None:
        router.add("GET", "/assets/customObjects", self.list_objects)
        router.add("POST", "/assets/customObject", self.create_object)
        router.add("GET", "/assets/customObject/{parent}", self.get_object)
        router.add("GET", "/data/customObject/{parent}/instances", self.find)
        router.add("GET", "/data/customObjects?/{parent}", self.find)  # 1.0, both spellings
        router.add("POST", "/data/customObject/{parent}", self.create)  # 1.0
        router.add("POST", "/data/customObject/{parent}/instance", self.create)
        router.add("GET", "/data/customObject/{parent}/instance/{number}", self.get)
        router.add("PUT", "/data/customObject/{parent}/instance/{number}", self.update)
        router.add("DELETE", "/data/customObject/{parent}/instance/{number}", self.delete)

    # -- definitions ------------------------------------------------------------------------------------------------

    def list_objects(self, request: Request, user: User, version: str) -> Response:
        depth, entities = depth_of(request, "minimal"), {e.id: e for e in self._eloqua.custom_objects()}
        rows = ", ".join(f"({e.id}, {literal(e.name)}, {created_sql(e)})" for e in entities.values())
        source = f"(VALUES {rows or '(0, NULL, now()::TIMESTAMP)'}) r(Id, name, created) WHERE r.Id > 0"
        properties = {
            "id": Property("r.Id", "id"),
            "name": Property("r.name"),
            "createdat": Property("r.created", "time"),
            "updatedat": Property("r.created", "time"),
        }
        return listing(
            self._store,
            request,
            Listed(source, properties),
            lambda found: [self._shown_object(entities[row["Id"]], depth) for row in found],
        )

    def get_object(self, request: Request, user: User, version: str, parent: str) -> Response:
        return json_response(self._shown_object(self._entity(parent), depth_of(request, "complete")))

    def create_object(self, request: Request, user: User, version: str) -> Response:
        """A custom object with its fields; uniqueCodeFieldId names one of them by the `id` that the body gives it."""
        body = document(request)
        name = str(text_or_none(body.get("name")) or "").strip()
        if not 0 < len(name) <= LONGEST_NAME:
            raise object_error("CustomObject", None, "name", "ValidTextLengthRequirement", name[:LONGEST_NAME])
        if any(e.name.lower() == name.lower() for e in self._eloqua.custom_objects()):
            raise object_error("CustomObject", None, "name", "UniquenessRequirement", name, 409)
        given = body.get("fields") or []
        if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
            raise object_error("CustomObject", None, "fields", "ContentRequirement", None)
        fields = [new_field(entry) for entry in given]
        if len({internal_name(f["name"]).lower() for f in fields}) < len(fields):
            raise object_error("CustomObject", None, "fields", "NoDuplicatesRequirement", None)
        unique = next(
            (
                f["name"]
                for f, entry in zip(fields, given, strict=True)
                if body.get("uniqueCodeFieldId") and str(entry.get("id")) == str(body["uniqueCodeFieldId"])
            ),
            None,
        )
        number = self._eloqua.door.add_custom_object(name, fields, unique)
        self._store.log_change("eloqua", "CustomObject", str(number), "create", {}, {"name": name})
        return json_response(self._shown_object(self._entity(str(number)), depth_of(request, "complete")), 201)

    def _shown_object(self, entity: Entity, depth: str) -> dict[str, Any]:
        created = unix(self._store.value(f"SELECT {created_sql(entity)}"))
        shown: dict[str, Any] = {
            "type": "CustomObject",
            "id": str(entity.id),
            "createdAt": created,
            "createdBy": "77",
            "depth": depth,
            "name": entity.name,
            "updatedAt": created,
            "updatedBy": "77",
        }
        if depth != "minimal":
            for name, internal in (
                ("displayNameFieldId", entity.display_field),
                ("emailAddressFieldId", entity.email_field),
                ("uniqueCodeFieldId", entity.unique_field),
            ):
                known = entity.field_by(internal) if internal else None
                shown[name] = str(known.id) if known else None
            shown |= {
                "folderId": "47",
                "recordCount": str(self._store.value(f"SELECT count(*) FROM {entity.table}")),
                "fields": [shown_field(known) for known in entity.fields],
            }
        if depth == "complete":
            shown["deleteLinkedCustomObjectData"] = "false"
        return tidy(shown)

    # -- records ----------------------------------------------------------------------------------------------------

    def find(self, request: Request, user: User, version: str, parent: str) -> Response:
        entity, depth = self._entity(parent), depth_of(request, "minimal")
        properties = field_properties(entity) | {
            "id": Property("r.Id", "id"),
            "name": Property(name_sql(entity)),
            "uniquecode": Property("r.ExternalId"),
            "contactid": Property("r.ContactId", "id"),
            "createdat": Property("r.CreatedAt", "time"),
            "updatedat": Property("r.UpdatedAt", "time"),
        }
        listed = Listed(f"{entity.table} r WHERE true", properties)
        return listing(self._store, request, listed, lambda rows: [shown_record(entity, row, depth) for row in rows])

    def get(self, request: Request, user: User, version: str, parent: str, number: str) -> Response:
        entity = self._entity(parent)
        return self._answer(request, entity, self._row(entity, number, version))

    def create(self, request: Request, user: User, version: str, parent: str) -> Response:
        entity, body = self._entity(parent), document(request)
        values = self._values(entity, body, None)
        defaults = {known.internal_name: known.default or "" for known in entity.fields}
        fields = {**defaults, **values}
        number, now = self._people.reserve_ids(entity.table), self._store.clock.naive
        row = {
            "Id": number,
            "CreatedAt": now,
            "UpdatedAt": now,
            "ExternalId": f"DCTET{number:012d}",
            "ContactId": self._contact(body, None, version),
            **fields,
        }
        self._store.execute(
            f"INSERT INTO {entity.table} ({', '.join(map(quoted, row))}) VALUES ({', '.join('?' * len(row))})",
            list(row.values()),
        )
        self._store.log_change("eloqua", entity.name, str(number), "create", {}, linked(fields, row["ContactId"]))
        return self._answer(request, entity, self._row(entity, str(number), "2.0"), 201)

    def update(self, request: Request, user: User, version: str, parent: str, number: str) -> Response:
        """The fields that fieldValues name, and the link to a contact where contactId is sent; the rest stays."""
        entity = self._entity(parent)
        old, body = self._row(entity, number, version), document(request)
        same_id(body, old["Id"], "CustomObjectData")
        new = self._values(entity, body, old["Id"])
        if "contactId" in body:
            new["ContactId"] = self._contact(body, old["Id"], version)
        changed = {name: value for name, value in new.items() if old[name] != value}
        if changed or self._eloqua.limits.rest_put_always_touches:
            sets = "".join(f"{quoted(name)} = ?, " for name in changed)
            self._store.execute(
                f"UPDATE {entity.table} SET {sets}UpdatedAt = ? WHERE Id = ?",
                [*changed.values(), self._store.clock.naive, old["Id"]],
            )
            self._store.log_change(
                "eloqua", entity.name, str(old["Id"]), "update", {name: old[name] for name in changed}, changed
            )
        return self._answer(request, entity, self._row(entity, number, version))

    def delete(self, request: Request, user: User, version: str, parent: str, number: str) -> Response:
        entity = self._entity(parent)
        old = self._row(entity, number, version)
        self._people.retire_id(entity.table, old["Id"])
        self._store.execute(f"DELETE FROM {entity.table} WHERE Id = ?", [old["Id"]])
        fields = {known.internal_name: old[known.internal_name] for known in entity.fields}
        self._store.log_change("eloqua", entity.name, str(old["Id"]), "delete", linked(fields, old["ContactId"]), {})
        return Response(200, b"", None)

    def _values(self, entity: Entity, body: Mapping[str, Any], number: int | None) -> dict[str, Any]:
        return dict(Values(self._store, entity, "CustomObjectData", number).of_field_values(body))

    def _contact(self, body: Mapping[str, Any], number: int | None, version: str) -> int | None:
        """The contact that the body links the record to; only 2.0 takes it."""
        given = body.get("contactId")
        if given in (None, "") or version == "1.0":
            return None
        contact = number_of(given, "contactId")
        if not self._store.rows("SELECT 1 FROM eloqua.contact WHERE Id = ?", [contact]):
            raise object_error("CustomObjectData", number, "contactId", "RelationshipRequirement", text_or_none(given))
        return contact

    def _entity(self, parent: str) -> Entity:
        entity = self._eloqua.custom_object_by_id(str(number_of(parent, "parentId")))
        if entity is None:
            raise not_found()
        return entity

    def _row(self, entity: Entity, number: str, version: str) -> dict[str, Any]:
        if version == "1.0":
            raise not_found()  # single records: 2.0 only (eloqua.md 2.6)
        found = self._store.dicts(f"SELECT * FROM {entity.table} WHERE Id = ?", [number_of(number)])
        if not found:
            raise not_found()
        return found[0]

    def _answer(self, request: Request, entity: Entity, row: dict[str, Any], status: int = 200) -> Response:
        return json_response(shown_record(entity, row, depth_of(request, "complete")), status)


def shown_record(entity: Entity, row: Mapping[str, Any], depth: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": "CustomObjectData",
        "id": str(row["Id"]),
        "createdAt": unix(row["CreatedAt"]),
        "depth": depth,
        "name": (row.get(entity.display_field) if entity.display_field else None) or row["ExternalId"],
        "updatedAt": unix(row["UpdatedAt"]),
        "contactId": str(row["ContactId"]) if row["ContactId"] else None,
        "uniqueCode": row["ExternalId"],
    }
    if depth != "minimal":
        shown |= {
            "currentStatus": STATUS,
            "customObjectRecordStatus": RECORD_STATUS,
            "fieldValues": field_values(entity, row),
        }
    return tidy(shown)


def new_field(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A field of a new custom object, as the door takes it."""
    name, kind = str(text_or_none(entry.get("name")) or "").strip(), str(entry.get("dataType") or "text").lower()
    if not re.search(r"\w", name) or len(name) > LONGEST_NAME:
        raise object_error("CustomObjectField", None, "name", "NotNullRequirement", name[:LONGEST_NAME] or None)
    if kind not in DATA_TYPES:
        allowed = sorted(DATA_TYPES)
        raise object_error(
            "CustomObjectField", None, "dataType", "EnumRequirement", kind[:LONGEST_NAME], values=allowed
        )
    width = {"width": LARGE_TEXT_WIDTH} if kind == "largetext" else {}
    default = text_or_none(entry.get("defaultValue")) or None
    return {"name": name, "dataType": DATA_TYPES[kind], "default": default, **width}


def shown_field(known: Field) -> dict[str, Any]:
    return tidy(
        {
            "type": "CustomObjectField",
            "id": str(known.id),
            "depth": "complete",
            "name": known.name,
            "internalName": known.internal_name,
            "dataType": data_type(known),
            "displayType": "textArea" if known.width >= LARGE_TEXT_WIDTH else "text",
            "defaultValue": known.default,
        }
    )


def data_type(known: Field) -> str:
    """As REST names it: Bulk's emailAddress and string are both text (eloqua.md 2.4)."""
    if known.data_type in ("date", "number"):
        return {"date": "date", "number": "numeric"}[known.data_type]
    return "largeText" if known.width >= LARGE_TEXT_WIDTH else "text"


def linked(fields: Mapping[str, Any], contact: int | None) -> dict[str, Any]:
    """Fields for the mutation log, with the link where there is one."""
    shown = {name: value for name, value in fields.items() if value}
    return shown | ({"ContactId": contact} if contact else {})


def name_sql(entity: Entity) -> str:
    display = f"nullif(r.{quoted(entity.display_field)}, '')" if entity.display_field else "NULL"
    return f"coalesce({display}, r.ExternalId)"


def created_sql(entity: Entity) -> str:
    return f"TIMESTAMP '{parse_instant(entity.created_at[:19]).replace(tzinfo=None)}'"
