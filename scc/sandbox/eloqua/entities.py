"""Entities of Eloqua: a table, its fields, and the statements (EML) that reach them (eloqua.md 3.6).

An entity is general: contacts, accounts and custom objects differ only in table, path and statements. Field
values are kept as text in one canonical form (dates `YYYY-MM-DD HH:MM:SS`, numbers without needless zeros, "" for
empty), because that is how Bulk shows them; CreatedAt and UpdatedAt are time stamps in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from scc.sandbox.store import Store, quoted

DATA_TYPES = ("emailAddress", "string", "date", "number")
TEXT_WIDTH = {"Contact": 100, "CustomObject": 250}  # eloqua.md 3.6, "Sizes"
LARGE_TEXT_WIDTH = 32_000

STATEMENT = re.compile(r"\{\{(?P<root>\w+)(?:\[(?P<id>\d+)\])?\.(?P<path>.+)\}\}")
FIELD = re.compile(r"Field(?:\[(?P<id>\d+)\]|\((?P<name>[^()\[\]]+)\))")

# SQL that brings a text to the canonical form of its type; NULL where the text is no value of the type.
CANONICAL_DATE = """nullif(nullif(substr(CAST(coalesce(
    TRY_CAST({0} AS TIMESTAMP),
    try_strptime({0}, ['%m/%d/%Y', '%m/%d/%Y %H:%M:%S', '%m/%d/%Y %I:%M:%S %p'])) AS VARCHAR), 1, 19),
    'infinity'), '-infinity')"""
CANONICAL_NUMBER = "rtrim(rtrim(CAST(TRY_CAST({0} AS DECIMAL(18, 4)) AS VARCHAR), '0'), '.')"

CANONICAL_BOOLEAN = """CASE WHEN lower({0}) IN ('true', '1', 'yes') THEN 'True'
    WHEN lower({0}) IN ('false', '0', 'no') THEN 'False' END"""


@dataclass
class Field:
    """One field. width: the most characters that its text may have."""

    id: int
    name: str
    internal_name: str
    data_type: str = "string"
    width: int = 250
    read_only: bool = False
    not_null: bool = False
    unique: bool = False
    created_at: str = "1900-01-01T05:00:00.0000000Z"
    default: str | None = None
    update_type: str = "always"  # what useFieldRule means for it: eloqua.md 2.4


@dataclass
class Statement:
    """What a statement stands for: an SQL expression over the record `r` and what `joins` brings in.

    kind: a data type, "system" for a time stamp of Eloqua's own, "id", or "boolean" ("True"/"False" in the table).
    special: an address's state or a link that an import may set though it is no field: IsSubscribed, IsBounced, Contact.
    """

    sql: str
    kind: str
    field: Field | None = None
    of_contact: bool = False
    joins: frozenset[str] = frozenset()
    special: str | None = None


# What a statement may bring in, in this order: the record's contact, an account.
JOINS = {
    "c": "LEFT JOIN eloqua.contact c ON c.Id = r.ContactId",
    "r_account": "LEFT JOIN eloqua.account r_account ON r_account.Id = r.AccountId",
    "c_account": "LEFT JOIN eloqua.account c_account ON c_account.Id = c.AccountId",
}
PATHS = {
    "Contact": "/contacts",
    "Account": "/accounts",
    "Activity": "/activities",
    "EmailAddress": "/emailAddresses",
    "Opportunity": "/opportunities",
    "OpportunityContact": "/opportunities/contacts",
}
DECLARED = {
    "CustomObject": "/customObjects",
    "Event": "/events",
}  # of these an instance has any number, each with an id
# A made-up scoring model: no fact of the reference says how Eloqua scores, so the score follows from the id.
SCORES = {
    "Rating": "substr('ABCD', CAST(1 + {0}.Id % 4 AS INT), 1) || CAST(1 + {0}.Id // 4 % 4 AS VARCHAR)",
    "ProfileScore": "CAST(100 - {0}.Id % 4 * 25 AS VARCHAR)",
    "EngagementScore": "CAST(100 - {0}.Id // 4 % 4 * 25 AS VARCHAR)",
}
LEAD_SCORE = re.compile(r"LeadScore\.Model\[1\]\.(\w+)")


@dataclass
class Entity:
    """A table of Eloqua: contacts, accounts, one custom object, activities; or addresses, which have no statements but one."""

    kind: str
    id: int | None
    name: str
    table: str
    fields: list[Field]
    unique_field: str | None = None
    email_field: str | None = None
    display_field: str | None = None
    created_at: str = "1900-01-01T05:00:00.0000000Z"
    updated_at: str | None = None
    contact: Entity | None = field(default=None, repr=False)
    account: Entity | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        return PATHS.get(self.kind) or f"{DECLARED[self.kind]}/{self.id}"

    @property
    def root(self) -> str:
        return self.kind if self.id is None else f"{self.kind}[{self.id}]"

    def field_by(self, name: str) -> Field | None:
        """The field by its internal or else its display name."""
        for attribute in ("internal_name", "name"):
            for known in self.fields:
                if getattr(known, attribute) == name:
                    return known
        return None

    def field_statement(self, known: Field) -> str:
        """As the fields endpoint lists it: by name (recorded), in custom objects by number (eloqua.md 5.12)."""
        if self.kind in DECLARED:
            return f"{{{{{self.root}.Field[{known.id}]}}}}"
        return f"{{{{{self.kind}.Field({known.internal_name})}}}}"

    def resolve(self, statement: Any) -> Statement | None:
        """What the statement stands for in this entity, None when it stands for nothing."""
        match = STATEMENT.fullmatch(statement.strip()) if isinstance(statement, str) else None
        if not match or match["root"] != self.kind or match["id"] != (None if self.id is None else str(self.id)):
            return None
        path = match["path"]
        if self.kind != "Contact" and path.startswith("Contact."):
            return self._resolve_contact(path.removeprefix("Contact."))
        if self.kind in DECLARED and path.startswith("Account.") and self.contact and self.contact.account:
            reached = self.contact.account._resolve_own(path.removeprefix("Account."), "r_account")
            return reached and Statement(reached.sql, reached.kind, None, joins=frozenset(["r_account"]))
        return self._resolve_own(path)

    def _resolve_own(self, path: str, alias: str = "r") -> Statement | None:
        if path == "Id":
            return Statement(f"{alias}.Id", "id")
        if path in ("CreatedAt", "UpdatedAt"):
            return Statement(f"{alias}.{path}", "system")
        if path == "ExternalId" and self.kind == "CustomObject":
            return Statement(f"{alias}.ExternalId", "string")
        if self.kind == "Contact" and (found := self._resolve_of_contact(path, alias)):
            return found
        match = FIELD.fullmatch(path)
        known = self._field(match) if match else None
        return Statement(f"{alias}.{quoted(known.internal_name)}", known.data_type, known) if known else None

    def _resolve_of_contact(self, path: str, alias: str) -> Statement | None:
        """What only contacts have: the state of their address, their account, their score."""
        if path in ("Email.IsSubscribed", "Email.IsBounced"):
            name = path.removeprefix("Email.")
            return Statement(f"{alias}.{name}", "boolean", special=name)
        if path == "Email.Format":
            return Statement(f"{alias}.Format", "string", FORMAT)
        if match := LEAD_SCORE.fullmatch(path):
            return Statement(SCORES[match[1]].format(alias), "string") if match[1] in SCORES else None
        if path.startswith("Account.") and self.account:
            join = f"{alias}_account"
            reached = self.account._resolve_own(path.removeprefix("Account."), join)
            return reached and Statement(reached.sql, reached.kind, None, joins=frozenset([join]))
        return None

    def _resolve_contact(self, path: str) -> Statement | None:
        if path == "Id":
            return Statement("r.ContactId", "id")
        reached = self.contact._resolve_own(path, "c") if self.contact else None
        if reached is None:
            return None
        return Statement(reached.sql, reached.kind, None, of_contact=True, joins=reached.joins | {"c"})

    def _field(self, match: re.Match[str]) -> Field | None:
        for known in self.fields:
            if match["id"] and known.id == int(match["id"]):
                return known
            if match["name"] and known.internal_name == match["name"]:
                return known
        return None

    def from_clause(self, joins: Collection[str]) -> str:
        """The table as `r`, and the joins that statements ask for."""
        return " ".join([f"{self.table} r", *(sql for name, sql in JOINS.items() if name in joins)])


@dataclass(frozen=True)
class OwnFields:
    """The fields of a record that Eloqua itself fills: its external id, when it was made and when last changed."""

    prefix: str
    external_id: str
    born: str
    touched: str

    def __contains__(self, internal_name: object) -> bool:
        return internal_name in (self.external_id, self.born, self.touched)

    def values(self, number: int, born: datetime) -> dict[str, str]:
        """Of a new record, by internal name."""
        moment = date_text(born)
        return {self.born: moment, self.touched: moment, self.external_id: f"{self.prefix}{number:012d}"}


OWN_FIELDS = {
    "Contact": OwnFields("CMEC", "ContactIDExt", "C_DateCreated", "C_DateModified"),
    "Account": OwnFields("CACC", "CompanyIDExt", "M_DateCreated", "M_DateModified"),
}

FORMAT = Field(0, "Email Format", "Format")  # of a contact: unspecified, html or text; not among the listed fields


def canonical(expression: str, data_type: str) -> str:
    """SQL: the canonical text of `expression`, "" for empty, NULL when it is no value of the type."""
    form = {"date": CANONICAL_DATE, "number": CANONICAL_NUMBER, "boolean": CANONICAL_BOOLEAN}.get(data_type)
    if form is None:
        return f"coalesce({expression}, '')"
    return f"CASE WHEN trim(coalesce({expression}, '')) = '' THEN '' ELSE {form.format(f'trim({expression})')} END"


def internal_name(display_name: str) -> str:
    """The name that Eloqua makes for a field of a custom object: `Record Key` -> `Record_Key1`."""
    return re.sub(r"\W", "_", display_name, flags=re.ASCII) + "1"


def date_text(moment: datetime) -> str:
    """A time as a date field keeps it."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def stamp(instant: datetime) -> str:
    """Time in definitions and syncs: UTC with seven decimals (eloqua.md 3.1)."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def create_declared_table(store: Store, entity: Entity) -> None:
    columns = "".join(f", {quoted(known.internal_name)} VARCHAR NOT NULL DEFAULT ''" for known in entity.fields)
    store.execute(f"""CREATE TABLE {entity.table} (Id BIGINT, CreatedAt TIMESTAMP, UpdatedAt TIMESTAMP,
                      ExternalId VARCHAR, ContactId BIGINT, AccountId BIGINT{columns})""")


# The standard contact fields that the recorded instance has (eloqua.md 3.6): id, display name, internal name, type.
CONTACT_FIELDS = [
    Field(100001, "Email Address", "C_EmailAddress", "emailAddress", not_null=True, unique=True),
    Field(100002, "First Name", "C_FirstName"),
    Field(100003, "Last Name", "C_LastName"),
    Field(100004, "Company", "C_Company"),
    Field(100005, "Email Display Name", "C_EmailDisplayName"),
    Field(100006, "Address 1", "C_Address1"),
    Field(100007, "Address 2", "C_Address2"),
    Field(100008, "Address 3", "C_Address3"),
    Field(100009, "City", "C_City"),
    Field(100010, "State or Province", "C_State_Prov"),
    Field(100011, "Zip or Postal Code", "C_Zip_Postal"),
    Field(100012, "Country", "C_Country"),
    Field(100013, "Business Phone", "C_BusPhone"),
    Field(100014, "Mobile Phone", "C_MobilePhone"),
    Field(100015, "Fax", "C_Fax"),
    Field(100016, "Title", "C_Title"),
    Field(100017, "Salutation", "C_Salutation"),
    Field(100022, "Salesperson", "C_Salesperson"),
    Field(100023, "SFDC Contact ID", "C_SFDCContactID"),
    Field(100024, "SFDC Lead ID", "C_SFDCLeadID"),
    Field(100026, "Date Created", "C_DateCreated", "date", read_only=True),
    Field(100027, "Date Modified", "C_DateModified", "date", read_only=True),
    Field(100032, "Eloqua Contact ID", "ContactIDExt", read_only=True),
    Field(100033, "SFDC Account ID", "C_SFDCAccountID"),
]
