"""Custom objects and their records over REST (eloqua.md 2.6, 5.7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scc.sandbox.clock import parse_instant
from scc.sandbox.eloqua.auth import User
from scc.sandbox.eloqua.entities import LARGE_TEXT_WIDTH, Entity, Field, internal_name, stamp
from scc.sandbox.eloqua.rest.errors import not_found, object_error, refused
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
# Property that names a field by its id -> attribute of the entity.
SPECIAL = {
    "displayNameFieldId": "display_field",
    "emailAddressFieldId": "email_field",
    "uniqueCodeFieldId": "unique_field",
}
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
        router.add("PUT", "/assets/customObject/{parent}", self.update_object)
        router.add("DELETE", "/assets/customObject/{parent}", self.delete_object)
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
        rows = ", ".join(f"({e.id}, {literal(e.name)}, {created_sql(e)}, {updated_sql(e)})" for e in entities.values())
        nothing = "(0, NULL, now()::TIMESTAMP, now()::TIMESTAMP)"
        source = f"(VALUES {rows or nothing}) r(Id, name, created, updated) WHERE r.Id > 0"
        properties = {
            "id": Property("r.Id", "id"),
            "name": Property("r.name"),
            "createdat": Property("r.created", "time"),
            "updatedat": Property("r.updated", "time"),
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
        name, given = self._name(body, None), entries(body, None)
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

    def update_object(self, request: Request, user: User, version: str, parent: str) -> Response:
        """Change the name, add and rename fields, choose the special fields; what is not sent stays as it is.

        An entry of `fields` is a field that is there where its `id` is that of one, and else a new one.
        """
        entity, body = self._entity(parent), document(request)
        same_id(body, int(parent), "CustomObject")
        name = self._name(body, entity) if "name" in body else entity.name
        ids = {str(known.id): known for known in entity.fields}
        kept = [(ids[str(e["id"])], e) for e in entries(body, entity) if str(e.get("id")) in ids]
        made = [new_field(e) for e in entries(body, entity) if str(e.get("id")) not in ids]
        for known, entry in kept:
            if entry.get("dataType") and DATA_TYPES.get(str(entry["dataType"]).lower()) not in (
                {"emailAddress": "string"}.get(known.data_type, known.data_type),
            ):
                kind = text_or_none(entry["dataType"])
                raise object_error("CustomObjectField", known.id, "dataType", "ImmutabilityRequirement", kind)
        taken = [known.internal_name.lower() for known in entity.fields]
        taken += [internal_name(f["name"]).lower() for f in made]
        if len(set(taken)) < len(taken):
            raise object_error("CustomObject", entity.id, "fields", "NoDuplicatesRequirement", None)
        special = {}
        for property_, attribute in SPECIAL.items():
            if body.get(property_) not in (None, ""):
                chosen = ids.get(str(body[property_]))
                if chosen is None:
                    given = text_or_none(body[property_])
                    raise object_error("CustomObject", entity.id, property_, "RelationshipRequirement", given)
                special[attribute] = chosen.internal_name
        self._apply(entity, name, kept, made, special)
        return json_response(self._shown_object(entity, depth_of(request, "complete")))

    def _apply(
        self,
        entity: Entity,
        name: str,
        kept: list[tuple[Field, dict[str, Any]]],
        made: list[dict[str, Any]],
        special: dict[str, str],
    ) -> None:
        old, new = {"name": entity.name}, {"name": name}
        for known, entry in kept:
            title = str(text_or_none(entry.get("name")) or "").strip()[:LONGEST_NAME]
            if title and title != known.name:
                old[f"field {known.id}"], new[f"field {known.id}"] = known.name, title
                known.name = title
            if "defaultValue" in entry:
                known.default = text_or_none(entry["defaultValue"]) or None
        last = max((known.id for known in entity.fields), default=974 + 50 * (int(entity.id or 9) - 9))
        now = stamp(self._store.clock.now)
        for number, field in enumerate(made, last + 1):
            known = Field(
                number,
                field["name"],
                internal_name(field["name"]),
                field["dataType"],
                field.get("width", 250),
                created_at=now,
                default=field["default"],
            )
            column = quoted(known.internal_name)
            self._store.execute(f"ALTER TABLE {entity.table} ADD COLUMN {column} VARCHAR DEFAULT ''")
            entity.fields.append(known)
            new[f"field {known.id}"] = known.name
        for attribute, internal in special.items():
            setattr(entity, attribute, internal)
        if name != entity.name:
            entities, refusals = self._eloqua.entities, self._eloqua.refusals
            if entity.name in refusals:
                refusals[name] = refusals.pop(entity.name)
            entity.name = name
            renamed = {e.name: e for e in entities.values()}
            entities.clear()
            entities.update(renamed)
        entity.updated_at = now
        self._store.log_change("eloqua", "CustomObject", str(entity.id), "update", old, new)

    def delete_object(self, request: Request, user: User, version: str, parent: str) -> Response:
        """The custom object goes with its records; refused with 412 while a Bulk definition maps one of its fields."""
        entity = self._entity(parent)
        if any(definition.entity is entity for definition in self._eloqua.definitions.values()):
            raise refused("The custom object has dependencies and cannot be deleted.", 412)
        names = [known.internal_name for known in entity.fields]
        batch = self._store.new_batch("eloqua", entity.name, [*names, "ContactId"])
        old = ", ".join(f"nullif({quoted(name)}, '')" for name in names) + (", " if names else "")
        self._store.execute(f"""INSERT INTO log.mutation SELECT {batch}, CAST(Id AS VARCHAR), 'delete',
            [{old}CAST(ContactId AS VARCHAR)], NULL FROM {entity.table} ORDER BY Id""")
        self._store.execute(f"DROP TABLE {entity.table}")
        del self._eloqua.entities[entity.name]
        self._eloqua.refusals.pop(entity.name, None)
        self._store.log_change("eloqua", "CustomObject", str(entity.id), "delete", {"name": entity.name}, {})
        return Response(200, b"", None)

    def _name(self, body: Mapping[str, Any], entity: Entity | None) -> str:
        """The name that the body gives the object; refuses one that is none, and that of another object."""
        name, number = str(text_or_none(body.get("name")) or "").strip(), entity.id if entity else None
        if not 0 < len(name) <= LONGEST_NAME:
            raise object_error("CustomObject", number, "name", "ValidTextLengthRequirement", name[:LONGEST_NAME])
        if any(e.name.lower() == name.lower() and e is not entity for e in self._eloqua.custom_objects()):
            raise object_error("CustomObject", number, "name", "UniquenessRequirement", name, 409)
        return name

    def _shown_object(self, entity: Entity, depth: str) -> dict[str, Any]:
        created, updated = (unix(self._store.value(f"SELECT {sql(entity)}")) for sql in (created_sql, updated_sql))
        shown: dict[str, Any] = {
            "type": "CustomObject",
            "id": str(entity.id),
            "createdAt": created,
            "createdBy": "77",
            "depth": depth,
            "name": entity.name,
            "updatedAt": updated,
            "updatedBy": "77",
        }
        if depth != "minimal":
            for name, attribute in SPECIAL.items():
                internal = getattr(entity, attribute)
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
        "accountId": str(row["AccountId"]) if row["AccountId"] else None,
        "uniqueCode": row["ExternalId"],
    }
    if depth != "minimal":
        shown |= {
            "currentStatus": STATUS,
            "customObjectRecordStatus": RECORD_STATUS,
            "fieldValues": field_values(entity, row),
        }
    return tidy(shown)


def entries(body: Mapping[str, Any], entity: Entity | None) -> list[dict[str, Any]]:
    """What the body says of fields."""
    given = body.get("fields") or []
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise object_error("CustomObject", entity.id if entity else None, "fields", "ContentRequirement", None)
    return given


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


def updated_sql(entity: Entity) -> str:
    return f"TIMESTAMP '{parse_instant((entity.updated_at or entity.created_at)[:19]).replace(tzinfo=None)}'"


def created_sql(entity: Entity) -> str:
    return f"TIMESTAMP '{parse_instant(entity.created_at[:19]).replace(tzinfo=None)}'"
