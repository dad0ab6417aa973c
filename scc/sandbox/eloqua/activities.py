"""Activities: the ten classic types, their fields and statements, and what an external import makes (eloqua.md 3.11).

One table holds all types. `CreatedAt` is when the thing happened, `VisibleAt` when Eloqua can show it: a bounceback is
reported hours or days after the send, so an export whose window ended in between has missed it (eloqua.md 3.12).
`ExternalType` is what an import called an External activity: `Attended`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.entities import Entity, Field, Statement, date_text
from scc.sandbox.store import Store, quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

TYPES = (
    "EmailSend",
    "EmailOpen",
    "EmailClickthrough",
    "Subscribe",
    "Unsubscribe",
    "Bounceback",
    "FormSubmit",
    "PageView",
    "WebVisit",
    "External",
)
_MAIL = ("EmailSend", "EmailOpen", "EmailClickthrough")
_LISTS = ("Subscribe", "Unsubscribe")
_WEB = ("PageView", "WebVisit")
_ASSETS = (*_MAIL, *_LISTS, "Bounceback", "FormSubmit", "External")
_CAMPAIGNS = (*_ASSETS, "PageView")
_RESPONSES = (*_MAIL, "FormSubmit", "PageView")

# Column -> statement behind "Activity.", width in characters, the types that have it.
COLUMNS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "EmailAddress": ("Field(EmailAddress)", 400, (*_MAIL, *_LISTS, "Bounceback")),
    "AssetType": ("Asset.Type", 100, _ASSETS),
    "AssetName": ("Asset.Name", 100, _ASSETS),
    "AssetId": ("Asset.Id", 38, _ASSETS),
    "CampaignId": ("Campaign.Id", 38, _CAMPAIGNS),
    "CampaignName": ("Campaign.Field(CampaignName)", 100, _CAMPAIGNS),
    "CRMCampaignId": ("Campaign.Field(CRMCampaignId)", 100, _CAMPAIGNS),
    "ExternalId": ("ExternalId", 38, TYPES),
    "EmailRecipientId": ("Field(EmailRecipientId)", 38, (*_MAIL, *_LISTS, "Bounceback")),
    "DeploymentId": ("Field(EmailDeploymentId)", 38, (*_MAIL, "Bounceback")),
    "EmailSendType": ("Field(EmailSendType)", 100, _MAIL),
    "SubjectLine": ("Field(SubjectLine)", 500, _MAIL),
    "EmailWebLink": ("Field(EmailWebLink)", 8192, _MAIL),
    "EmailClickedThruLink": ("Field(EmailClickedThruLink)", 8192, ("EmailClickthrough",)),
    "IpAddress": ("Field(IpAddress)", 50, ("EmailOpen", "EmailClickthrough", *_WEB)),
    "VisitorId": ("Visitor.Id", 38, ("EmailOpen", "EmailClickthrough", "FormSubmit", *_WEB)),
    "VisitorExternalId": ("Visitor.ExternalId", 38, ("EmailOpen", "EmailClickthrough", "FormSubmit", *_WEB)),
    "SmtpErrorCode": ("Field(SmtpErrorCode)", 100, ("Bounceback",)),
    "SmtpStatusCode": ("Field(SmtpStatusCode)", 100, ("Bounceback",)),
    "SmtpMessage": ("Field(SmtpMessage)", 8192, ("Bounceback",)),
    "RawData": ("Field(RawData)", 64_000, ("FormSubmit",)),
    "Url": ("Field(Url)", 8192, ("PageView",)),
    "WebVisitId": ("Field(WebVisitId)", 38, ("PageView",)),
    "IsWebTrackingOptedIn": ("Field(IsWebTrackingOptedIn)", 38, ("PageView",)),
    "ReferrerUrl": ("Field(ReferrerUrl)", 8192, _WEB),
    "NumberOfPages": ("Field(NumberOfPages)", 38, ("WebVisit",)),
    "FirstPageViewUrl": ("Field(FirstPageViewUrl)", 8192, ("WebVisit",)),
    "Duration": ("Field(Duration)", 38, ("WebVisit",)),
    "LinkedToContactDate": ("Field(LinkedToContactDate)", 19, _WEB),
    "PageViewSavedId": ("Field(PageViewSavedId)", 38, ("PageView",)),
    "WebVisitSavedId": ("Field(WebVisitSavedId)", 38, ("WebVisit",)),
    "CampaignResponseDate": ("CampaignResponse.CreatedAt", 19, _RESPONSES),
    "CampaignResponseMemberStatus": ("CampaignResponse.Field(MemberStatus)", 100, _RESPONSES),
}
DATES = ("LinkedToContactDate", "CampaignResponseDate")  # texts in UTC, `YYYY-MM-DD HH:MM:SS`


# What the fields endpoint calls them where the name of the column will not do.
COMMON = {"ActivityId": ("Id", "number"), "ActivityType": ("Type", "string"), "ActivityDate": ("CreatedAt", "date")}
STATEMENTS = {statement: column for column, (statement, _, _) in COLUMNS.items()}
# What an import of External activities may map (eloqua.md 3.11).
IMPORTED = ("Contact.Field(C_EmailAddress)", "Campaign.Id", "Asset.Name", "Asset.Type", "CreatedAt", "Type")


def create_activity_table(store: Store) -> None:
    columns = "".join(f", {quoted(name)} VARCHAR" for name in COLUMNS)
    store.execute(f"""CREATE TABLE IF NOT EXISTS eloqua.activity (Id BIGINT, Type VARCHAR, CreatedAt TIMESTAMP,
                      VisibleAt TIMESTAMP, ContactId BIGINT{columns}, ExternalType VARCHAR)""")


@dataclass
class ActivityEntity(Entity):
    """Activities: statements walk to asset, campaign, visitor and contact instead of naming fields."""

    def _resolve_own(self, path: str, alias: str = "r") -> Statement | None:
        if path in ("Id", "Type"):
            return Statement(f"{alias}.{path}", "id" if path == "Id" else "string", self._imported(path))
        if path == "CreatedAt":
            return Statement(f"{alias}.CreatedAt", "system", self._imported(path))
        column = STATEMENTS.get(path)
        if column is None:
            return None
        if column in DATES:  # Eloqua's own time stamps: areSystemTimestampsInUTC moves them (eloqua.md 3.16)
            return Statement(f"TRY_CAST({alias}.{quoted(column)} AS TIMESTAMP)", "system")
        kind = "id" if column in ("AssetId", "CampaignId") else "string"
        return Statement(f"{alias}.{quoted(column)}", kind, self._imported(path, COLUMNS[column][1]))

    def _resolve_contact(self, path: str) -> Statement | None:
        reached = super()._resolve_contact(path)
        if reached and path == "Field(C_EmailAddress)":
            reached.special = "Contact"  # an import finds the contact by it
        return reached

    def _imported(self, path: str, width: int = 100) -> Field | None:
        return Field(0, path, path, width=width) if path in IMPORTED else None


class Activities:
    """Activities as tests and endpoints see them. external_types, external_assets: what an import may name."""

    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store, self._clock = eloqua, eloqua.store, eloqua.clock
        self.entity = ActivityEntity("Activity", None, "Activity", "eloqua.activity", [], contact=eloqua.contacts)
        self.external_types = {"External", "Attended", "Registered", "Visited", "Called"}
        self.external_assets = {"Event", "Webinar", "Tradeshow", "Call"}

    def types_of(self, statement: Any) -> tuple[str, ...]:
        """The types that have what a statement of activities stands for."""
        path = str(statement).strip().removeprefix("{{Activity.").removesuffix("}}")
        column = STATEMENTS.get(path)
        if column:
            return COLUMNS[column][2]
        if path.startswith("Contact."):
            return tuple(name for name in TYPES if name not in _LISTS)  # eloqua.md 3.11, the row ContactId
        return TYPES

    def fields(self, activity_type: str | None = None) -> list[dict[str, Any]]:
        """GET /activities/fields: all, or those of one type (compared without case)."""
        items = [self._item(name, f"{{{{Activity.{path}}}}}", kind, TYPES) for name, (path, kind) in COMMON.items()]
        items.append(
            self._item("ContactId", "{{Activity.Contact.Id}}", "number", self.types_of("{{Activity.Contact.Id}}"))
        )
        items += [
            self._item(column, f"{{{{Activity.{path}}}}}", "date" if column in DATES else "string", types)
            for column, (path, _, types) in COLUMNS.items()
        ]
        if not activity_type:
            return items
        return [i for i in items if activity_type.lower() in (name.lower() for name in i["activityTypes"])]

    @staticmethod
    def _item(name: str, statement: str, data_type: str, types: tuple[str, ...]) -> dict[str, Any]:
        epoch = "1900-01-01T05:00:00.0000000Z"
        return {
            "name": name,
            "internalName": name,
            "dataType": data_type,
            "hasReadOnlyConstraint": False,
            "hasNotNullConstraint": False,
            "hasUniquenessConstraint": False,
            "statement": statement,
            "activityTypes": list(types),
            "createdAt": epoch,
            "updatedAt": epoch,
        }

    def add(
        self,
        type: str,
        contact: int | str | None = None,
        created_at: datetime | None = None,
        visible_at: datetime | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> int:
        """Add one activity; see Door.add_activity. Raises KeyError for a type, field or contact that does not exist."""
        if type not in TYPES:
            raise KeyError(f"no type of activity is called {type!r}")
        values = dict(fields or {})
        if unknown := values.keys() - COLUMNS.keys():
            raise KeyError(f"activities have no {', '.join(sorted(unknown))}")
        person, address = self._person(contact)
        if address and type in COLUMNS["EmailAddress"][2]:
            values.setdefault("EmailAddress", address)
        number = self._eloqua.people.reserve_ids("eloqua.activity")
        values.setdefault("ExternalId", f"{type[:8].upper()}{number:012d}")
        born = created_at or self._clock.naive
        if person is not None and type in _WEB:
            values.setdefault("LinkedToContactDate", date_text(born))
            values.setdefault(f"{type}SavedId", number)
        row = {
            "Id": number,
            "Type": type,
            "CreatedAt": born,
            "VisibleAt": visible_at or born,
            "ContactId": person,
            **{name: str(value) for name, value in values.items() if value is not None},
        }
        names, marks = ", ".join(map(quoted, row)), ", ".join("?" * len(row))
        self._store.execute(f"INSERT INTO eloqua.activity ({names}) VALUES ({marks})", list(row.values()))
        shown = {"Type": type, "CreatedAt": date_text(born), "ContactId": person, **values}
        self._store.log_change("eloqua", "Activity", str(number), "create", {}, shown)
        return number

    def _person(self, contact: int | str | None) -> tuple[int | None, str | None]:
        """Id and address of a contact that is named by either."""
        if contact is None:
            return None, None
        people = self._eloqua.people
        number = people.contact_by_address(contact) if isinstance(contact, str) else contact
        if number is None:
            raise KeyError(contact)
        return number, people.contact(number)["C_EmailAddress"]
