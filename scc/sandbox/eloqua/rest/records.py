"""What contacts, accounts and custom-object records share: string-typed JSON and `fieldValues` (eloqua.md 2.1, 2.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from scc.sandbox.eloqua.entities import Entity, Field, canonical
from scc.sandbox.eloqua.rest.errors import bad_id, object_error, parameter_error, refused
from scc.sandbox.eloqua.rest.search import Property, instant
from scc.sandbox.http import Request, load_json
from scc.sandbox.store import Store, quoted

DEPTHS = ("minimal", "partial", "complete")
NOT_TEXT = object()


def depth_of(request: Request, default: str) -> str:
    """The depth asked for; an unknown one is the default (eloqua.md 2.1)."""
    query = {name.lower(): value for name, value in request.query.items()}
    asked = query.get("depth", "").lower()
    return asked if asked in DEPTHS else default


def number_of(text: Any, parameter: str = "id") -> int:
    """An id as it stands in a path or a body."""
    given = str(text).strip()
    if isinstance(text, bool) or not re.fullmatch(r"[0-9]{1,18}", given):
        raise bad_id(text if isinstance(text, str) else str(text), parameter)
    return int(given)


def document(request: Request) -> dict[str, Any]:
    """The JSON object that came as the body."""
    if "json" not in request.headers.get("Content-Type", "").lower():
        raise refused("The Content-Type must be application/json.", 400)  # mandatory: eloqua.md 2.1
    try:
        found = load_json(request.body)
    except ValueError:
        raise refused("The request body could not be parsed.", 400) from None
    if not isinstance(found, dict):
        raise refused("The request body could not be parsed.", 400)
    return found


def tidy(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Empty properties are left out (eloqua.md 2.1)."""
    return {name: value for name, value in shown.items() if value is not None and value != ""}


def unix(moment: datetime | None) -> str | None:
    """A time in UTC without zone as unix seconds."""
    return str(int(moment.replace(tzinfo=UTC).timestamp())) if moment else None


def text_of(value: Any) -> Any:
    """A JSON scalar as text, NOT_TEXT for arrays and objects."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else NOT_TEXT


# -- out --------------------------------------------------------------------------------------------------------------


def field_values(entity: Entity, row: Mapping[str, Any]) -> list[dict[str, str]]:
    """One entry per field; `value` only where there is one, dates as unix seconds."""
    result = []
    for known in entity.fields:
        entry = {"type": "FieldValue", "id": str(known.id)}
        if value := shown_value(known, row.get(known.internal_name)):
            entry["value"] = value
        result.append(entry)
    return result


def shown_value(known: Field, value: Any) -> str:
    if value is None or value == "":
        return ""
    if known.data_type == "date":
        moment = value if isinstance(value, datetime) else instant(str(value))
        return unix(moment) or str(value)
    return str(value)


def field_properties(entity: Entity) -> dict[str, Property]:
    """What a search can name in an entity besides its properties: the internal names of its fields."""
    kinds = {"date": "date", "number": "number"}
    return {
        f.internal_name.lower(): Property(f"r.{quoted(f.internal_name)}", kinds.get(f.data_type, "text"))
        for f in entity.fields
    }


# -- in ---------------------------------------------------------------------------------------------------------------


class Values:
    """The field texts that a body asks for, by internal name. Raises Failed (400) for what no field can hold."""

    def __init__(self, store: Store, entity: Entity, object_type: str, object_id: int | None) -> None:
        self._store, self._entity, self._type, self._id = store, entity, object_type, object_id

    def refusal(self, property_: str, requirement: str, value: Any, **details: Any) -> Exception:
        return object_error(self._type, self._id, property_, requirement, value, **details)

    def of_properties(self, body: Mapping[str, Any], properties: Mapping[str, str]) -> dict[str, str]:
        """Texts of the properties (JSON name -> internal field name) that the body has."""
        result = {}
        for name, internal in properties.items():
            known = self._entity.field_by(internal)
            if name in body and known is not None:
                result[internal] = self._kept(known, name, body[name])
        return result

    def of_field_values(self, body: Mapping[str, Any]) -> dict[str, str]:
        """Texts of the body's `fieldValues`; what is sent for a read-only field is passed over."""
        entries = body.get("fieldValues")
        if entries is None:
            return {}
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise self.refusal("fieldValues", "ContentRequirement", None)
        by_id, result = {str(known.id): known for known in self._entity.fields}, {}
        for entry in entries:
            known = by_id.get(str(entry.get("id")).strip())
            if known is None:
                raise self.refusal("fieldValues", "RelationshipRequirement", text_or_none(entry.get("id")))
            if not known.read_only:
                result[known.internal_name] = self._kept(known, "fieldValues", entry.get("value"))
        return result

    def _kept(self, known: Field, property_: str, value: Any) -> str:
        text = text_of(value)
        if text is NOT_TEXT:
            raise self.refusal(property_, "ContentRequirement", None)
        if known.data_type == "date":
            if not text.strip():
                return ""
            moment = instant(text)
            if moment is None or not 1 <= moment.year <= 9999:
                raise self.refusal(property_, "DateRequirement", text)
            return f"{moment.year:04d}-{moment:%m-%d %H:%M:%S}"
        if known.data_type == "number":
            kept = self._store.value(f"SELECT {canonical('v', 'number')} FROM (SELECT CAST(? AS VARCHAR) AS v)", [text])
            if kept is None:
                raise self.refusal(property_, "IntegerRequirement", text)
            return kept
        if len(text) > known.width:
            raise self.refusal(property_, "ValidTextLengthRequirement", text[:100], maximum=known.width)
        return text


def text_or_none(value: Any) -> str | None:
    text = text_of(value)
    return None if text is NOT_TEXT else text


def merged(properties: Mapping[str, str], by_field: Mapping[str, str], old: Mapping[str, Any]) -> dict[str, str]:
    """Properties and fieldValues may name the same field: who reads all, changes one and writes all means the change.

    So of two texts for one field the one that differs from what is there counts, the property when both do.
    """
    result = dict(by_field)
    for name, text in properties.items():
        if name in by_field and text == (old.get(name) or ""):
            continue
        result[name] = text
    return result


def same_id(body: Mapping[str, Any], number: int, object_type: str) -> None:
    """An `id` in the body of a PUT must be that of the path."""
    given = body.get("id")
    if given not in (None, "") and str(given).strip() != str(number):
        raise object_error(object_type, number, "id", "ImmutabilityRequirement", text_or_none(given))


def flag(body: Mapping[str, Any], name: str, object_type: str, object_id: int | None) -> bool | None:
    """A boolean of the body, sent as a string or not; None when absent."""
    if body.get(name) in (None, ""):
        return None
    text = str(body[name]).strip().lower()
    if text not in ("true", "false"):
        raise object_error(object_type, object_id, name, "BooleanRequirement", text_or_none(body[name]))
    return text == "true"


def ids_of(body: Mapping[str, Any], name: str) -> list[int]:
    """An array of ids in a body; [] when absent."""
    given = body.get(name)
    if given is None:
        return []
    if not isinstance(given, list):
        raise parameter_error(name, "ContentRequirement", text_or_none(given))
    return [number_of(entry, name) for entry in given]
