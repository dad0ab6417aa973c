"""Bulk definitions: what an export or import is about, checked and echoed as Eloqua does (eloqua.md 3.3, 3.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.eel import BadFilter, compile_filter
from scc.sandbox.eloqua.entities import Entity, stamp

if TYPE_CHECKING:
    from scc.sandbox.eloqua.settings import Limits

DURATION = re.compile(
    r"P(?=.)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", re.I
)
UPDATE_RULES = ("always", "ifNewIsNotNull", "ifExistingIsNull", "useFieldRule")

# Property -> default where Eloqua fills one in, else None. What stands in neither table is dropped without a word:
# `areSystemTimestampsInUTC` on an import vanished on record (eloqua.md 3.1).
EXPORT_PROPERTIES: dict[str, Any] = {
    "name": None,
    "fields": None,
    "filter": None,
    "maxRecords": None,
    "areSystemTimestampsInUTC": False,
    "autoDeleteDuration": None,
    "dataRetentionDuration": "PT12H",
    "syncActions": None,
    "externalSystemId": None,
}
IMPORT_PROPERTIES: dict[str, Any] = {
    "name": None,
    "fields": None,
    "identifierFieldName": None,
    "isSyncTriggeredOnImport": True,
    "dataRetentionDuration": "P7D",
    "isUpdatingMultipleMatchedRecords": False,
    "updateRule": None,
    "updateRuleByField": None,
    "importPriorityUri": None,
    "syncActions": None,
    "autoDeleteDuration": None,
    "externalSystemId": None,
    "nullIdentifierFieldName": None,
}
MAP_DATA_CARDS: dict[str, Any] = dict.fromkeys(
    (
        "mapDataCards",
        "mapDataCardsEntityType",
        "mapDataCardsEntityField",
        "mapDataCardsSourceField",
        "mapDataCardsCaseSensitiveMatch",
    )
)
BOOLEANS = {
    "areSystemTimestampsInUTC",
    "isSyncTriggeredOnImport",
    "isUpdatingMultipleMatchedRecords",
    "mapDataCards",
    "mapDataCardsCaseSensitiveMatch",
}


@dataclass
class Definition:
    """One export or import. `body` is the echo: what was understood, defaults filled in."""

    id: int
    kind: str  # "exports" or "imports"
    entity: Entity
    body: dict[str, Any]
    user: str
    created: datetime
    updated: datetime
    files: list[int] = field(default_factory=list)  # rows of each data POST that waits for a sync
    staged_bytes: int = 0
    unknown_keys: set[str] = field(default_factory=set)
    missing_keys: set[str] = field(default_factory=set)
    staged_until: datetime | None = None

    @property
    def uri(self) -> str:
        return f"{self.entity.path}/{self.kind}/{self.id}"

    @property
    def fields(self) -> dict[str, str]:
        return self.body["fields"]

    @property
    def staging_table(self) -> str:
        return f"staging.import_{self.id}"

    def retention(self) -> timedelta:
        return duration(self.body["dataRetentionDuration"])

    def gone(self, now: datetime) -> bool:
        """Whether autoDeleteDuration has passed."""
        life = self.body.get("autoDeleteDuration")
        return life is not None and now >= self.created + duration(life)

    def shown(self) -> dict[str, Any]:
        return {
            **self.body,
            "uri": self.uri,
            "createdBy": self.user,
            "createdAt": stamp(self.created),
            "updatedBy": self.user,
            "updatedAt": stamp(self.updated),
        }


def duration(text: str) -> timedelta:
    """An ISO 8601 duration; a month counts 30 days, a year 365. Raises ValueError."""
    match = DURATION.fullmatch(text) if isinstance(text, str) else None
    if not match:
        raise ValueError(text)
    years, months, weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=365 * years + 30 * months + 7 * weeks + days, hours=hours, minutes=minutes, seconds=seconds)


def understood(sent: dict[str, Any], kind: str, entity: Entity) -> dict[str, Any]:
    """The properties that Eloqua keeps of what was sent, with defaults and real booleans."""
    known = dict(EXPORT_PROPERTIES if kind == "exports" else IMPORT_PROPERTIES)
    if kind == "imports" and entity.kind == "CustomObject":
        known.update(MAP_DATA_CARDS)
    if kind == "imports" and entity.kind == "Contact":
        known["importRule"] = None
    body = {}
    for name, default in known.items():
        value = sent.get(name)
        value = default if value is None else value
        if name in BOOLEANS and isinstance(value, str):  # several clients send "true"/"false" (eloqua.md 3.1)
            value = {"true": True, "false": False}.get(value.lower(), value)
        if value is not None:
            body[name] = value
    return body


def failures(body: dict[str, Any], kind: str, entity: Entity, limits: Limits) -> list[dict[str, Any]]:
    """What is wrong with a definition: one {field, value, constraint} each; empty when it is valid."""
    found: list[dict[str, Any]] = []

    def wrong(name: str, constraint: str, value: Any = None) -> None:
        value = body.get(name) if value is None else value
        found.append(
            {
                "field": name,
                "value": value if isinstance(value, (str, type(None))) else str(value),
                "constraint": constraint,
            }
        )

    name = body.get("name")
    if not isinstance(name, str) or not name.strip():
        wrong("name", "Must not be null or empty.")
    elif len(name) > limits.definition_name:
        wrong("name", f"Must be a string value, with length between 1 and {limits.definition_name}.")
    for boolean in BOOLEANS & body.keys():
        if not isinstance(body[boolean], bool):
            wrong(boolean, "Must be a boolean value.")
    check_fields(body, kind, entity, limits, wrong)
    check_durations(body, wrong)
    if kind == "exports":
        check_export(body, entity, limits, wrong)
    else:
        check_import(body, entity, wrong)
    if body.get("syncActions"):
        # Sync actions come with lists and subscriptions; until then none can name an existing destination.
        wrong("syncActions", "The destination of the sync action does not exist.")
    return found


def check_fields(body: dict[str, Any], kind: str, entity: Entity, limits: Limits, wrong) -> None:
    fields = body.get("fields")
    most = limits.export_fields if kind == "exports" else limits.import_fields
    if not isinstance(fields, dict) or not fields:
        wrong("fields", "Must not be null or empty.")
        return
    if len(fields) > most:
        wrong("fields", f"Must have at most {most} elements.", str(len(fields)))
        return
    if "" in fields or len({name.lower() for name in fields}) < len(fields):
        wrong("fields", "Must have names that are not empty and differ by more than case.", str(list(fields)))
        return
    for statement in fields.values():
        reached = entity.resolve(statement)
        if reached is None:
            wrong("fields", "Must be a reference to an existing object.", statement)
        elif kind == "imports" and (reached.field is None or reached.field.read_only):
            # Ids and time stamps are Eloqua's own; contact fields of a custom object's row are reached, not owned.
            wrong("fields", "Must be writable in an import.", statement)


def check_durations(body: dict[str, Any], wrong) -> None:
    for name in ("autoDeleteDuration", "dataRetentionDuration"):
        if name not in body:
            continue
        try:
            length = duration(body[name])
        except ValueError:
            wrong(name, "Must be an ISO-8601 duration.")
            continue
        if length < timedelta(hours=1) or (name == "dataRetentionDuration" and length > timedelta(days=14)):
            wrong(name, "Must be at least PT1H" + (" and at most P14D." if name.startswith("data") else "."))


def check_export(body: dict[str, Any], entity: Entity, limits: Limits, wrong) -> None:
    most = body.get("maxRecords")
    if most is not None and (not str(most).isdecimal() or not 1 <= int(most) <= limits.max_records):
        wrong("maxRecords", f"Must be an integer between 1 and {limits.max_records}.")
    if "filter" in body:
        try:
            compile_filter(str(body["filter"]), entity, bool(body["areSystemTimestampsInUTC"]))
        except BadFilter as error:
            wrong("filter", str(error))


def check_import(body: dict[str, Any], entity: Entity, wrong) -> None:
    fields: dict[str, Any] = body["fields"] if isinstance(body.get("fields"), dict) else {}
    identifier = body.get("identifierFieldName")
    if identifier is None and entity.kind == "Contact":
        wrong("identifierFieldName", "Must not be null or empty.")
    if not isinstance(identifier, (str, type(None))):
        wrong("identifierFieldName", "Must be a string value.")
    elif identifier is not None:
        reached = entity.resolve(fields.get(identifier)) if identifier in fields else None
        if identifier not in fields:
            wrong("identifierFieldName", "ELQ-00112 - Identifier field must be contained within fields.")
        elif reached and (reached.kind == "date" or (reached.field and reached.field.width > 250)):
            wrong("identifierFieldName", "Must not be a large text, date or boolean field.")
    by_field = body.get("updateRuleByField") or {}
    if not isinstance(by_field, dict):
        wrong("updateRuleByField", "Must map fields to update rules.")
        by_field = {}
    rules = {"updateRule": body.get("updateRule")}
    rules |= {f"updateRuleByField.{name}": rule for name, rule in by_field.items()}
    for name, rule in rules.items():
        if rule is not None and rule not in UPDATE_RULES:
            wrong(name, f"Must be one of {', '.join(UPDATE_RULES)}.", str(rule))
    if body.get("mapDataCards") is True and body.get("mapDataCardsSourceField") not in fields:
        wrong("mapDataCardsSourceField", "Must be contained within fields.")
