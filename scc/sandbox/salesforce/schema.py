"""The objects of the org and their fields (salesforce.md 8): one table each, for describe, SOQL and writing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scc.sandbox.store import quoted

if TYPE_CHECKING:
    from scc.sandbox.store import Store

SQL_TYPES = {
    "boolean": "BOOLEAN",
    "date": "DATE",
    "datetime": "TIMESTAMP",
    "double": "DOUBLE",
    "currency": "DOUBLE",
    "int": "BIGINT",
    "percent": "DOUBLE",
}


@dataclass(frozen=True)
class SField:
    """One field. rights: C createable, U updateable. parent: (relationship name, object) of a reference."""

    name: str
    type: str = "string"
    length: int = 0
    rights: str = "CU"
    required: bool = False
    parent: tuple[str, str] | None = None
    picklist: tuple[str, ...] = ()
    label: str = ""
    external_id: bool = False
    unique: bool = False
    restricted: bool = False  # a picklist that takes no other value

    @property
    def sql_type(self) -> str:
        return SQL_TYPES.get(self.type, "VARCHAR")

    @property
    def is_custom(self) -> bool:
        return self.name.endswith("__c")

    @property
    def is_id(self) -> bool:
        return self.type in ("id", "reference")


@dataclass
class SObject:
    name: str
    prefix: str
    fields: dict[str, SField] = field(default_factory=dict)  # by name in lower case

    @property
    def table(self) -> str:
        return f'sf."{self.name}"'

    def field(self, name: str) -> SField | None:
        return self.fields.get(name.lower())

    def relationship(self, name: str) -> SField | None:
        """The reference field behind a relationship name: `Campaign` on CampaignMember is CampaignId."""
        return next((f for f in self.fields.values() if f.parent and f.parent[0].lower() == name.lower()), None)


def reference(name: str, relationship: str, target: str, rights: str = "CU", required: bool = False) -> SField:
    return SField(name, "reference", 18, rights, required, (relationship, target))


def pick(name: str, *values: str, rights: str = "CU", required: bool = False, restricted: bool = False) -> SField:
    return SField(name, "picklist", 255, rights, required, picklist=values, restricted=restricted)


def text(name: str, length: int, rights: str = "CU", required: bool = False) -> SField:
    return SField(name, "string", length, rights, required)


SYSTEM = [
    SField("Id", "id", 18, ""),
    SField("IsDeleted", "boolean", 0, ""),
    SField("CreatedDate", "datetime", 0, ""),
    SField("LastModifiedDate", "datetime", 0, ""),
    SField("SystemModstamp", "datetime", 0, ""),
]
OWNED = [
    reference("OwnerId", "Owner", "User"),
    reference("CreatedById", "CreatedBy", "User", ""),
    reference("LastModifiedById", "LastModifiedBy", "User", ""),
]
LEAD_SOURCES = ("Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Event", "Other")
INDUSTRIES = ("Banking", "Biotechnology", "Chemicals", "Education", "Energy", "Manufacturing", "Retail", "Technology")
LEAD_STATUS = ("Open - Not Contacted", "Working - Contacted", "Closed - Converted", "Closed - Not Converted")
CAMPAIGN_STATUS = ("Planned", "In Progress", "Completed", "Aborted")
CAMPAIGN_TYPES = ("Webinar", "Conference", "Trade Show", "Email", "Content Syndication", "Advertisement", "Other")
STAGES = ("Prospecting", "Qualification", "Proposal/Price Quote", "Negotiation/Review", "Closed Won", "Closed Lost")


def address(prefix: str = "") -> list[SField]:
    return [
        text(prefix + "Street", 255),
        text(prefix + "City", 40),
        text(prefix + "State", 80),
        text(prefix + "PostalCode", 20),
        text(prefix + "Country", 80),
    ]


def external_key(name: str, length: int = 80, unique: bool = True) -> SField:
    return SField(name, "string", length, external_id=True, unique=unique)


def person() -> list[SField]:
    """What Lead and Contact share."""
    return [
        text("LastName", 80, required=True),
        text("FirstName", 40),
        text("Name", 121, ""),
        SField("Email", "email", 80),
        pick("LeadSource", *LEAD_SOURCES),
        text("Title", 128),
        SField("Phone", "phone", 40),
        SField("MobilePhone", "phone", 40),
        SField("HasOptedOutOfEmail", "boolean"),
        SField("DoNotCall", "boolean"),
        SField("HasOptedOutOfFax", "boolean"),
        SField("Description", "textarea", 32000),
        SField("IndividualId", "reference", 18),
        external_key("Marketing_Key__c"),
        external_key("Eloqua_Contact_ID__c", 18, unique=False),
    ]


OBJECTS = {
    o.name.lower(): o
    for o in (
        SObject("Account", "001"),
        SObject("Campaign", "701"),
        SObject("CampaignMember", "00v"),
        SObject("CampaignMemberStatus", "01Y"),
        SObject("Contact", "003"),
        SObject("Lead", "00Q"),
        SObject("Opportunity", "006"),
        SObject("User", "005"),
        SObject("Organization", "00D"),
    )
}

FIELDS: dict[str, list[SField]] = {
    "Account": [
        *OWNED,
        text("Name", 255, required=True),
        text("Type", 255),
        pick("Industry", *INDUSTRIES),
        SField("Website", "url", 255),
        SField("Phone", "phone", 40),
        SField("NumberOfEmployees", "int"),
        SField("AnnualRevenue", "currency"),
        *address("Billing"),
        SField("Description", "textarea", 32000),
    ],
    "Campaign": [
        *OWNED,
        text("Name", 80, required=True),
        SField("IsActive", "boolean"),
        pick("Status", *CAMPAIGN_STATUS),
        pick("Type", *CAMPAIGN_TYPES),
        SField("StartDate", "date"),
        SField("EndDate", "date"),
        reference("ParentId", "Parent", "Campaign"),
        SField("Description", "textarea", 32000),
        SField("BudgetedCost", "currency"),
        SField("ActualCost", "currency"),
        SField("ExpectedRevenue", "currency"),
        SField("ExpectedResponse", "percent"),
        SField("NumberSent", "double"),
        SField("NumberOfLeads", "int", 0, ""),
        SField("NumberOfConvertedLeads", "int", 0, ""),
        SField("NumberOfContacts", "int", 0, ""),
        SField("NumberOfResponses", "int", 0, ""),
        SField("NumberOfOpportunities", "int", 0, ""),
        SField("AmountAllOpportunities", "currency", 0, ""),
    ],
    "CampaignMember": [
        *OWNED[1:],
        reference("CampaignId", "Campaign", "Campaign", "C", required=True),
        reference("LeadId", "Lead", "Lead", "C"),
        reference("ContactId", "Contact", "Contact", "C"),
        text("Status", 40),
        SField("HasResponded", "boolean", 0, ""),
        SField("FirstRespondedDate", "date", 0, ""),
        SField("LeadOrContactId", "reference", 18, ""),
        text("Type", 40, ""),
        text("Name", 121, ""),
        text("FirstName", 40, ""),
        text("LastName", 80, ""),
        SField("Email", "email", 80, ""),
        text("CompanyOrAccount", 255, ""),
        text("Title", 128, ""),
        text("City", 40, ""),
        text("Country", 80, ""),
        SField("Phone", "phone", 40, ""),
        SField("HasOptedOutOfEmail", "boolean", 0, ""),
    ],
    "CampaignMemberStatus": [
        *OWNED[1:],
        reference("CampaignId", "Campaign", "Campaign", "C", required=True),
        text("Label", 765, required=True),
        SField("IsDefault", "boolean"),
        SField("HasResponded", "boolean"),
        SField("SortOrder", "int"),
    ],
    "Contact": [
        *OWNED,
        *person(),
        reference("AccountId", "Account", "Account"),
        text("EmailBouncedReason", 255),
        SField("EmailBouncedDate", "datetime"),
        SField("IsEmailBounced", "boolean", 0, ""),
        *address("Mailing"),
        text("Department", 80),
        reference("MasterRecordId", "MasterRecord", "Contact", ""),
    ],
    "Lead": [
        *OWNED,
        *person(),
        text("Company", 255, required=True),
        pick("Status", *LEAD_STATUS, restricted=True),
        text("EmailBouncedReason", 255, "U"),
        SField("EmailBouncedDate", "datetime", 0, "U"),
        SField("IsConverted", "boolean", 0, ""),
        SField("ConvertedDate", "date", 0, ""),
        reference("ConvertedContactId", "ConvertedContact", "Contact", ""),
        reference("ConvertedAccountId", "ConvertedAccount", "Account", ""),
        reference("ConvertedOpportunityId", "ConvertedOpportunity", "Opportunity", ""),
        SField("Website", "url", 255),
        pick("Industry", *INDUSTRIES),
        pick("Rating", "Hot", "Warm", "Cold"),
        SField("NumberOfEmployees", "int"),
        *address(),
        reference("MasterRecordId", "MasterRecord", "Lead", ""),
    ],
    "Opportunity": [
        *OWNED,
        text("Name", 120, required=True),
        reference("AccountId", "Account", "Account"),
        reference("CampaignId", "Campaign", "Campaign"),
        pick("StageName", *STAGES, required=True),
        SField("CloseDate", "date", required=True),
        SField("Amount", "currency"),
        SField("Probability", "percent"),
        SField("IsClosed", "boolean", 0, ""),
        SField("IsWon", "boolean", 0, ""),
        pick("LeadSource", *LEAD_SOURCES),
    ],
    "User": [
        text("Username", 80),
        text("Name", 121, ""),
        text("FirstName", 40),
        text("LastName", 80),
        SField("Email", "email", 128),
        SField("IsActive", "boolean"),
    ],
    "Organization": [
        text("Name", 80),
        text("InstanceName", 5, ""),
        SField("IsSandbox", "boolean", 0, ""),
        SField("TrialExpirationDate", "datetime", 0, ""),
        text("NamespacePrefix", 15, ""),
        text("OrganizationType", 40, ""),
    ],
}
for _name, _fields in FIELDS.items():
    OBJECTS[_name.lower()].fields = {f.name.lower(): f for f in [*SYSTEM, *_fields]}


def create_tables() -> str:
    """SQL that makes every object's table, columns in the order of the fields, and `hidden_` for lost sharing."""
    statements = []
    for known in OBJECTS.values():
        columns = ", ".join(f'"{f.name}" {f.sql_type}' for f in known.fields.values())
        statements.append(f"CREATE TABLE {known.table} ({columns}, hidden_ BOOLEAN DEFAULT false);")
    return "\n".join(statements)


class Schema:
    """The objects of one org: the standard ones and whatever custom fields it declares."""

    def __init__(self) -> None:
        self._objects = {key: SObject(o.name, o.prefix, dict(o.fields)) for key, o in OBJECTS.items()}

    def find(self, name: str) -> SObject | None:
        return self._objects.get(name.lower())

    def owner_of(self, record_id: str) -> SObject | None:
        """The object whose key prefix an id has."""
        return next((o for o in self if o.prefix == record_id[:3]), None)

    def __iter__(self) -> Iterator[SObject]:
        return iter(self._objects.values())

    def add(self, object_name: str, found: SField, store: Store) -> None:
        """Declare a custom field; its column is made. Raises KeyError, ValueError."""
        known = self._objects[object_name.lower()]
        if known.field(found.name):
            raise ValueError(f"{known.name} has {found.name} already")
        with store.lock:
            store.execute(f"ALTER TABLE {known.table} ADD COLUMN {quoted(found.name)} {found.sql_type}")
            if found.type == "boolean":
                store.execute(f"UPDATE {known.table} SET {quoted(found.name)} = false")
        known.fields[found.name.lower()] = found
