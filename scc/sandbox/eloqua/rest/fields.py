"""Fields of contacts and accounts over REST (eloqua.md 2.4, 2.7)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scc.sandbox.clock import parse_instant
from scc.sandbox.eloqua.auth import User
from scc.sandbox.eloqua.entities import LARGE_TEXT_WIDTH, OWN_FIELDS, TEXT_WIDTH, Entity, Field, canonical, stamp
from scc.sandbox.eloqua.rest.custom_objects import DATA_TYPES, data_type
from scc.sandbox.eloqua.rest.errors import not_found, object_error, refused
from scc.sandbox.eloqua.rest.records import depth_of, document, flag, number_of, same_id, text_or_none, tidy, unix
from scc.sandbox.eloqua.rest.search import Listed, Property, listing
from scc.sandbox.http import Request, Response, Router, json_response
from scc.sandbox.store import literal, quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua
    from scc.sandbox.eloqua.definitions import Definition

UPDATE_TYPES = ("always", "newNotBlank", "newEmailAddress", "useFieldRule")
LONGEST_NAME = 100
STANDARD_BELOW = 100_200  # custom fields are numbered upward from here (eloqua.md 3.6)


class Fields:
    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store = eloqua, eloqua.store
        self._extras: dict[int, dict[str, str]] = {}  # by field: how it shows itself, where that is not the usual

    def routes(self, router: Router) -> None:
        base = "/assets/(?P<of>contact|account)"
        router.add("GET", base + "/fields", self.find)
        router.add("POST", base + "/field", self.create)
        router.add("GET", base + "/field/{number}", self.get)
        router.add("PUT", base + "/field/{number}", self.update)
        router.add("DELETE", base + "/field/{number}", self.delete)
        router.add("GET", base + "/field/{number}/dependencies", self.dependencies)

    def find(self, request: Request, user: User, version: str, of: str) -> Response:
        entity, depth = self._entity(of), depth_of(request, "minimal")
        rows = ", ".join(
            f"({f.id}, {literal(f.name)}, {literal(f.internal_name)}, {literal(data_type(f))}, {created_sql(f)})"
            for f in entity.fields
        )
        source = f"(VALUES {rows}) r(Id, name, internal, kind, created) WHERE true"
        properties = {
            "id": Property("r.Id", "id"),
            "name": Property("r.name"),
            "internalname": Property("r.internal"),
            "datatype": Property("r.kind"),
            "createdat": Property("r.created", "time"),
            "updatedat": Property("r.created", "time"),
        }
        by_id = {known.id: known for known in entity.fields}
        listed = Listed(source, properties)
        return listing(
            self._store, request, listed, lambda found: [self._shown(entity, by_id[r["Id"]], depth) for r in found]
        )

    def get(self, request: Request, user: User, version: str, of: str, number: str) -> Response:
        entity = self._entity(of)
        return self._answer(request, entity, self._field(entity, number))

    def create(self, request: Request, user: User, version: str, of: str) -> Response:
        """A custom field: a column of its own, empty in all records but for the default of new ones."""
        entity, body = self._entity(of), document(request)
        name = self._name(entity, body, None)
        kind = str(body.get("dataType") or "text").lower()
        if kind not in DATA_TYPES:
            raise self._error(
                entity, None, "dataType", "EnumRequirement", body.get("dataType"), values=list(DATA_TYPES)
            )
        known = Field(
            self._next_id(),
            name,
            unused_name(entity, name),
            DATA_TYPES[kind],
            LARGE_TEXT_WIDTH if kind == "largetext" else TEXT_WIDTH.get(entity.kind, TEXT_WIDTH["Contact"]),
            created_at=stamp(self._store.clock.now),
            default=self._default(entity, None, DATA_TYPES[kind], body),
            update_type=self._update_type(entity, None, body),
        )
        extras = self._extras_in(entity, None, body)
        self._store.execute(f"ALTER TABLE {entity.table} ADD COLUMN {quoted(known.internal_name)} VARCHAR DEFAULT ''")
        self._log(entity, "create", None, known)
        self._extras[known.id] = extras
        entity.fields.append(known)
        return self._answer(request, entity, known, 201)

    def update(self, request: Request, user: User, version: str, of: str, number: str) -> Response:
        """Name, default and how the field shows itself; its data type never."""
        entity, body = self._entity(of), document(request)
        old = self._field(entity, number)
        same_id(body, old.id, f"{entity.kind}Field")
        kind = body.get("dataType")
        if kind and DATA_TYPES.get(str(kind).lower()) != DATA_TYPES[data_type(old).lower()]:
            raise self._error(entity, old, "dataType", "ImmutabilityRequirement", kind)
        new = replace(old)
        if "name" in body:
            new.name = self._name(entity, body, old)
        if "defaultValue" in body:
            new.default = self._default(entity, old, old.data_type, body)
        new.update_type = self._update_type(entity, old, body)
        extras = self._extras_in(entity, old, body)
        self._log(entity, "update", old, new)
        self._extras[new.id] = self._extras.get(new.id, {}) | extras
        # The list's own entry may be shared with other instances: put a changed copy in its place.
        entity.fields[entity.fields.index(old)] = new
        return self._answer(request, entity, new)

    def delete(self, request: Request, user: User, version: str, of: str, number: str) -> Response:
        """Refused with 412 for a standard field and for one that a Bulk definition maps (eloqua.md 2.4)."""
        entity = self._entity(of)
        known = self._field(entity, number)
        if known.id < STANDARD_BELOW or self._users_of(entity, known):
            raise refused("The field has dependencies and cannot be deleted.", 412)
        self._store.execute(f"ALTER TABLE {entity.table} DROP COLUMN {quoted(known.internal_name)}")
        self._store.log_change("eloqua", f"{entity.kind}Field", str(known.id), "delete", {"name": known.name}, {})
        entity.fields.remove(known)
        return Response(200, b"", None)

    def dependencies(self, request: Request, user: User, version: str, of: str, number: str) -> Response:
        entity = self._entity(of)
        return json_response(
            [
                {
                    "type": "DataImport" if definition.kind == "imports" else "DataExport",
                    "id": str(definition.id),
                    "depth": "minimal",
                    "name": str(definition.body.get("name", "")),
                }
                for definition in self._users_of(entity, self._field(entity, number))
            ]
        )

    # -- in detail --------------------------------------------------------------------------------------------------

    def _users_of(self, entity: Entity, known: Field) -> list[Definition]:
        """The Bulk definitions that map the field, of whatever object, or filter by it."""
        spelled = re.compile(rf"\b{entity.kind}\.Field(\({re.escape(known.internal_name)}\)|\[{known.id}\])")
        return [
            definition
            for definition in self._eloqua.definitions.values()
            if any(
                spelled.search(str(text)) for text in (*definition.fields.values(), definition.body.get("filter") or "")
            )
        ]

    def _entity(self, of: str) -> Entity:
        return self._eloqua.contacts if of.lower() == "contact" else self._eloqua.accounts

    def _field(self, entity: Entity, number: str) -> Field:
        wanted = number_of(number)
        for known in entity.fields:
            if known.id == wanted:
                return known
        raise not_found()

    def _next_id(self) -> int:
        highest = max(f.id for entity in (self._eloqua.contacts, self._eloqua.accounts) for f in entity.fields)
        number = (
            max(
                highest,
                STANDARD_BELOW,
                self._store.value(
                    "SELECT coalesce(max(value), 0) FROM eloqua.last_id "
                    """WHERE "table" = 'field'"""
                ),
            )
            + 1
        )
        self._eloqua.people.retire_id("field", number)
        return number

    def _name(self, entity: Entity, body: dict[str, Any], old: Field | None) -> str:
        name = (text_or_none(body.get("name")) or "").strip()
        if not re.search(r"\w", name):
            raise self._error(entity, old, "name", "NotNullRequirement", name[:LONGEST_NAME] or None)
        if len(name) > LONGEST_NAME:
            raise self._error(entity, old, "name", "ValidTextLengthRequirement", name[:LONGEST_NAME])
        if any(f.name.lower() == name.lower() and f is not old for f in entity.fields):
            raise self._error(entity, old, "name", "UniquenessRequirement", name, status=409)
        return name

    def _default(self, entity: Entity, known: Field | None, kind: str, body: dict[str, Any]) -> str | None:
        """What new records will have in the field, in the form of its type."""
        given = text_or_none(body.get("defaultValue")) or ""
        kept = self._store.value(f"SELECT {canonical('v', kind)} FROM (SELECT CAST(? AS VARCHAR) AS v)", [given])
        if kept is None or len(kept) > TEXT_WIDTH["CustomObject"]:
            raise self._error(entity, known, "defaultValue", "ContentRequirement", given[:LONGEST_NAME])
        return kept or None

    def _error(
        self, entity: Entity, known: Field | None, property_: str, requirement: str, value: Any, **details: Any
    ) -> Exception:
        number = known.id if known else None
        return object_error(f"{entity.kind}Field", number, property_, requirement, text_or_none(value), **details)

    # -- what a field has besides -----------------------------------------------------------------------------------

    def _extras_in(self, entity: Entity, known: Field | None, body: dict[str, Any]) -> dict[str, str]:
        extras, number, type_ = {}, known.id if known else None, f"{entity.kind}Field"
        for name in ("isRequired", "isProtected", "isPopulatedInOutlookPlugin", "showTrustedVisitorsOnly"):
            if (given := flag(body, name, type_, number)) is not None:
                extras[name] = str(given).lower()
        for name in ("displayType", "checkedValue", "uncheckedValue", "outputFormatId"):
            if text := text_or_none(body.get(name)):
                extras[name] = text[:LONGEST_NAME]
        return extras

    def _update_type(self, entity: Entity, known: Field | None, body: dict[str, Any]) -> str:
        given = body.get("updateType") or (known.update_type if known else "always")
        if given not in UPDATE_TYPES:
            raise self._error(entity, known, "updateType", "EnumRequirement", given, values=list(UPDATE_TYPES))
        return given

    def _log(self, entity: Entity, kind: str, old: Field | None, new: Field) -> None:
        names = ("name", "default", "update_type")
        before, after = ({name: getattr(known, name) for name in names} if known else {} for known in (old, new))
        self._store.log_change("eloqua", f"{entity.kind}Field", str(new.id), kind, before, after)

    def _answer(self, request: Request, entity: Entity, known: Field, status: int = 200) -> Response:
        return json_response(self._shown(entity, known, depth_of(request, "complete")), status)

    def _shown(self, entity: Entity, known: Field, depth: str) -> dict[str, Any]:
        created = unix(parse_instant(known.created_at[:19]).replace(tzinfo=None))
        shown: dict[str, Any] = {
            "type": f"{entity.kind}Field",
            "id": str(known.id),
            "createdAt": created,
            "depth": depth,
            "name": known.name,
            "updatedAt": created,
            "dataType": data_type(known),
            "displayType": "textArea" if known.width >= LARGE_TEXT_WIDTH else "text",
            "internalName": known.internal_name,
            "isReadOnly": str(known.read_only).lower(),
            "isRequired": str(known.not_null).lower(),
            "isStandard": str(known.id < STANDARD_BELOW).lower(),
        }
        if depth != "minimal":
            shown |= {
                "defaultValue": known.default,
                "isProtected": str(known.internal_name in OWN_FIELDS[entity.kind]).lower(),
                "isPopulatedInOutlookPlugin": "false",
                "showTrustedVisitorsOnly": "false",
                "updateType": known.update_type,
            }
        extras = self._extras.get(known.id, {})
        shown |= extras if depth != "minimal" else {n: v for n, v in extras.items() if n in shown}
        return tidy(shown)


def unused_name(entity: Entity, name: str) -> str:
    """The internal name that Eloqua makes: `edm playlist name` -> `C_edm_playlist_name1`, with the next free number."""
    prefix = ("C_" if entity.kind == "Contact" else "M_") + re.sub(r"\W", "_", name, flags=re.ASCII)
    taken, number = {known.internal_name.lower() for known in entity.fields}, 1
    while f"{prefix}{number}".lower() in taken:
        number += 1
    return f"{prefix}{number}"


def created_sql(known: Field) -> str:
    return f"TIMESTAMP '{parse_instant(known.created_at[:19]).replace(tzinfo=None)}'"
