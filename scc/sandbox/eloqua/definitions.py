"""Bulk definitions: what an export, import or sync action is about, checked and echoed (eloqua.md 3.3, 3.4, 3.5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.activities import TYPES
from scc.sandbox.eloqua.eel import BadFilter, compile_filter
from scc.sandbox.eloqua.entities import DECLARED, Entity, Statement, stamp
from scc.sandbox.eloqua.sync_actions import check_sync_actions

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

Wrong = Callable[..., None]

DURATION = re.compile(
    r"P(?=.)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", re.I
)
UPDATE_RULES = ("always", "ifNewIsNotNull", "ifExistingIsNull", "useFieldRule")
IMPORT_RULES = ("createAndUpdate", "updateOnly", "createOnly")
PRIORITIES = (("Low", 1), ("Normal", 2), ("High", 3))
# What a stand-alone sync action may match by (eloqua.md 3.5).
MATCHED_BY = {
    "Contact": ("{{Contact.Id}}", "{{Contact.Field(C_EmailAddress)}}", "{{Contact.Field(ContactIDExt)}}"),
    "Account": ("{{Account.Id}}", "{{Account.Field(M_CompanyName)}}", "{{Account.Field(CompanyIDExt)}}"),
    "CustomObject": ("{{CustomObject[%s].Id}}", "{{CustomObject[%s].ExternalId}}"),
}

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
SYNC_ACTION_PROPERTIES: dict[str, Any] = {
    "name": None,
    "fields": None,
    "identifierFieldName": None,
    "isSyncTriggeredOnImport": True,
    "syncActions": None,
    "dataRetentionDuration": "P7D",
    "autoDeleteDuration": None,
}
PROPERTIES = {"exports": EXPORT_PROPERTIES, "imports": IMPORT_PROPERTIES, "syncActions": SYNC_ACTION_PROPERTIES}
# Of one kind of import only.
OWN_PROPERTIES: dict[str, tuple[str, ...]] = {
    "Contact": ("importRule",),
    "Account": ("importRule", "linkUsers"),
    "OpportunityContact": (
        "linkOpportunitiesCaseSensitiveMatchField",
        "linkOpportunitiesCaseSensitiveSourceField",
        "linkOpportunitiesEntityType",
        "linkOpportunitiesMatchFieldName",
        "linkOpportunitiesMultipleSourceMatches",
    ),
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
    "linkUsers",
    "linkOpportunitiesCaseSensitiveMatchField",
    "linkOpportunitiesCaseSensitiveSourceField",
    "linkOpportunitiesMultipleSourceMatches",
}


@dataclass
class Definition:
    """One export, import or sync action. `body` is the echo: what was understood, defaults filled in."""

    id: int
    kind: str  # "exports", "imports" or "syncActions"
    entity: Entity
    body: dict[str, Any]
    user: str
    created: datetime
    updated: datetime
    files: list[int] = field(default_factory=list)  # rows of each data POST that waits for a sync
    staged_bytes: int = 0  # of the rows that wait for a sync, or that the last export left
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
        used = {"kbUsed": -(-self.staged_bytes // 1024)} if self.staged_bytes else {}
        return {
            **self.body,
            **used,
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
    known = dict(PROPERTIES[kind])
    if kind == "imports":
        known.update(dict.fromkeys(OWN_PROPERTIES.get(entity.kind, ())))
        known.update(MAP_DATA_CARDS if entity.kind in DECLARED else {})
    body = {}
    for name, default in known.items():
        value = sent.get(name)
        value = default if value is None else value
        if name in BOOLEANS and isinstance(value, str):  # several clients send "true"/"false" (eloqua.md 3.1)
            value = {"true": True, "false": False}.get(value.lower(), value)
        if value is not None:
            body[name] = value
    return body


def failures(body: dict[str, Any], kind: str, entity: Entity, eloqua: Eloqua) -> list[dict[str, Any]]:
    """What is wrong with a definition: one {field, value, constraint} each; empty when it is valid."""
    found: list[dict[str, Any]] = []
    limits = eloqua.limits

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
    check_fields(body, kind, entity, eloqua, wrong)
    check_durations(body, wrong)
    if kind == "exports":
        check_export(body, entity, eloqua, wrong)
    elif kind == "imports":
        check_import(body, entity, eloqua, wrong)
    else:
        check_sync_action_definition(body, entity, wrong)
    check_sync_actions(body, kind, entity, eloqua, wrong)
    return found


def check_fields(body: dict[str, Any], kind: str, entity: Entity, eloqua: Eloqua, wrong: Wrong) -> None:
    fields = body.get("fields")
    most = eloqua.limits.export_fields if kind == "exports" else eloqua.limits.import_fields
    if not isinstance(fields, dict) or not fields:
        wrong("fields", "Must not be null or empty.")
        return
    if len(fields) > most:
        wrong("fields", f"Must have at most {most} elements.", str(len(fields)))
        return
    if "" in fields or len({name.lower() for name in fields}) < len(fields):
        wrong("fields", "Must have names that are not empty and differ by more than case.", str(list(fields)))
        return
    identifier, of_contacts = body.get("identifierFieldName"), 0
    for name, statement in fields.items():
        reached = entity.resolve(statement)
        if reached is None:
            wrong("fields", "Must be a reference to an existing object.", statement)
            continue
        if kind == "imports" and not writable(entity, reached, name == identifier, eloqua):
            wrong("fields", "Must be writable in an import.", statement)
        of_contacts += reached.of_contact
    if entity.kind == "Activity" and of_contacts > eloqua.limits.activity_contact_fields:
        wrong("fields", f"Must have at most {eloqua.limits.activity_contact_fields} contact fields.", str(of_contacts))


def writable(entity: Entity, reached: Statement, identifies: bool, eloqua: Eloqua) -> bool:
    """Whether an import may map this. Ids and time stamps are Eloqua's own; what a join reaches is not the record's."""
    if reached.special:
        return True
    if reached.field is None:
        return identifies and reached.sql == "r.Id" and eloqua.limits.contact_id_identifies
    return identifies or not reached.field.read_only


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


def check_export(body: dict[str, Any], entity: Entity, eloqua: Eloqua, wrong: Wrong) -> None:
    limits, most = eloqua.limits, body.get("maxRecords")
    if most is not None and (
        isinstance(most, bool) or not re.fullmatch(r"[0-9]{1,9}", str(most)) or not 1 <= int(most) <= limits.max_records
    ):
        wrong("maxRecords", f"Must be an integer between 1 and {limits.max_records}.")
    types: tuple[str, ...] = ()
    if "filter" in body:
        try:
            condition = compile_filter(
                str(body["filter"]),
                entity,
                body["areSystemTimestampsInUTC"] is True,
                eloqua.containers,
                limits.filter_length,
            )
        except BadFilter as error:
            wrong("filter", str(error))
            return
        types = condition.types
    if entity.kind == "Activity":
        check_activity_types(body, types, eloqua, wrong)


def check_activity_types(body: dict[str, Any], types: tuple[str, ...], eloqua: Eloqua, wrong: Wrong) -> None:
    """An export of activities must say which type it is about (eloqua.md 3.3)."""
    known = {name.lower(): name for name in TYPES}
    if not types:
        wrong("filter", "Must compare {{Activity.Type}} with a type of activity.")
    elif unknown := [name for name in types if name.lower() not in known]:
        wrong("filter", f"Must name a known type of activity: {', '.join(TYPES)}.", unknown[0])
    elif eloqua.limits.activity_fields_by_type and isinstance(body.get("fields"), dict):
        for statement in body["fields"].values():
            have = eloqua.activities.types_of(statement)
            if not all(known[name.lower()] in have for name in types):
                wrong("fields", f"Must be a field of {', '.join(types)}.", statement)


def check_import(body: dict[str, Any], entity: Entity, eloqua: Eloqua, wrong: Wrong) -> None:
    fields: dict[str, Any] = body["fields"] if isinstance(body.get("fields"), dict) else {}
    check_identifier(body, fields, entity, wrong)
    by_field = body.get("updateRuleByField") or {}
    if not isinstance(by_field, dict):
        wrong("updateRuleByField", "Must map fields to update rules.")
        by_field = {}
    rules = {"updateRule": body.get("updateRule")}
    rules |= {f"updateRuleByField.{name}": rule for name, rule in by_field.items()}
    for name, rule in rules.items():
        if rule is not None and rule not in UPDATE_RULES:
            wrong(name, f"Must be one of {', '.join(UPDATE_RULES)}.", str(rule))
    if body.get("importRule") is not None and body["importRule"] not in IMPORT_RULES:
        wrong("importRule", f"Must be one of {', '.join(IMPORT_RULES)}.")
    priorities = [f"/imports/priorities/{number}" for _, number in PRIORITIES]
    if body.get("importPriorityUri") is not None and body["importPriorityUri"] not in priorities:
        wrong("importPriorityUri", "Must be a reference to an existing object.")
    if body.get("mapDataCards") is True:
        if str(body.get("mapDataCardsSourceField")) not in fields:
            wrong("mapDataCardsSourceField", "Must be contained within fields.")
        if body.get("mapDataCardsEntityType", "Contact") not in ("Contact", "Company"):
            wrong("mapDataCardsEntityType", "Must be one of Contact, Company.")
        elif body.get("mapDataCardsEntityField") is not None and link_target(body, eloqua) is None:
            wrong("mapDataCardsEntityField", "Must be a reference to an existing object.")
    if entity.kind == "Opportunity":
        check_opportunity(fields, wrong)


def check_identifier(body: dict[str, Any], fields: dict[str, Any], entity: Entity, wrong: Wrong) -> None:
    identifier = body.get("identifierFieldName")
    if identifier is None and entity.kind in ("Contact", "Account", "EmailAddress", "Opportunity"):
        wrong("identifierFieldName", "Must not be null or empty.")
    if not isinstance(identifier, (str, type(None))):
        wrong("identifierFieldName", "Must be a string value.")
    elif identifier is not None and entity.kind != "Activity":  # of activities it is ignored: ELQ-00123
        reached = entity.resolve(fields.get(identifier)) if identifier in fields else None
        if identifier not in fields:
            wrong("identifierFieldName", "ELQ-00112 - Identifier field must be contained within fields.")
        elif reached and (
            reached.kind in ("date", "boolean") or reached.special or (reached.field and reached.field.width > 250)
        ):
            wrong("identifierFieldName", "Must not be a large text, date or boolean field.")


def check_opportunity(fields: dict[str, Any], wrong: Wrong) -> None:
    """eloqua.md 3.14: these four must be mapped."""
    needed = ["{{Opportunity.Id}}", *(f"{{{{Opportunity.Field({name})}}}}" for name in ("Name", "Stage", "Amount"))]
    for statement in needed:
        if statement not in fields.values():
            wrong("fields", f"Must contain {statement}.", str(list(fields.values())))


def check_sync_action_definition(body: dict[str, Any], entity: Entity, wrong: Wrong) -> None:
    fields: dict[str, Any] = body["fields"] if isinstance(body.get("fields"), dict) else {}
    allowed = [s.replace("%s", str(entity.id)) for s in MATCHED_BY[entity.kind]]
    if len(fields) > 1 or any(s not in allowed for s in fields.values()):
        wrong("fields", f"Must be one of {', '.join(allowed)}.", str(list(fields.values())))
    if str(body.get("identifierFieldName")) not in fields:
        wrong("identifierFieldName", "ELQ-00112 - Identifier field must be contained within fields.")
    if not body.get("syncActions"):
        wrong("syncActions", "Must not be null or empty.")


def link_target(body: dict[str, Any], eloqua: Eloqua) -> tuple[Entity, Statement] | None:
    """What mapDataCards links to: the entity and the field that is compared."""
    company = body.get("mapDataCardsEntityType") == "Company"
    entity = eloqua.accounts if company else eloqua.contacts
    usual = "{{Account.Field(M_CompanyName)}}" if company else "{{Contact.Field(C_EmailAddress)}}"
    reached = entity.resolve(body.get("mapDataCardsEntityField") or usual)
    return (entity, reached) if reached and reached.sql.startswith("r.") else None
