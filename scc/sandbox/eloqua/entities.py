"""Entities of Eloqua: a table, its fields, and the statements (EML) that reach them (eloqua.md 3.6).

An entity is general: custom objects and contacts differ only in their table, their path and their statements. Field
values are kept as text in one canonical form (dates `YYYY-MM-DD HH:MM:SS`, numbers without needless zeros, "" for
empty), because that is how Bulk shows them; CreatedAt and UpdatedAt are time stamps in UTC.
"""

from __future__ import annotations

import re
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


@dataclass
class Statement:
    """What a statement stands for: an SQL expression over the record `r` (and its contact `c`)."""

    sql: str
    kind: str  # a data type, "system" for a time stamp of Eloqua's own, "id"
    field: Field | None = None
    of_contact: bool = False


@dataclass
class Entity:
    """A table of Eloqua: contacts, or one custom object."""

    kind: str
    id: int | None
    name: str
    table: str
    fields: list[Field]
    unique_field: str | None = None
    email_field: str | None = None
    display_field: str | None = None
    created_at: str = "1900-01-01T05:00:00.0000000Z"
    contact: Entity | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        return "/contacts" if self.kind == "Contact" else f"/customObjects/{self.id}"

    @property
    def root(self) -> str:
        return "Contact" if self.kind == "Contact" else f"CustomObject[{self.id}]"

    def field_by(self, name: str) -> Field | None:
        """The field by its internal or else its display name."""
        for attribute in ("internal_name", "name"):
            for known in self.fields:
                if getattr(known, attribute) == name:
                    return known
        return None

    def field_statement(self, known: Field) -> str:
        """As the fields endpoint lists it: contacts by name (recorded), custom objects by number (eloqua.md 5.12)."""
        if self.kind == "Contact":
            return f"{{{{Contact.Field({known.internal_name})}}}}"
        return f"{{{{CustomObject[{self.id}].Field[{known.id}]}}}}"

    def resolve(self, statement: Any) -> Statement | None:
        """What the statement stands for in this entity, None when it stands for nothing."""
        match = STATEMENT.fullmatch(statement.strip()) if isinstance(statement, str) else None
        if not match or match["root"] != self.kind or (match["id"] and int(match["id"])) != self.id:
            return None
        path = match["path"]
        if self.kind != "Contact" and path.startswith("Contact."):
            return self._resolve_contact(path.removeprefix("Contact."))
        return self._resolve_own(path)

    def _resolve_own(self, path: str) -> Statement | None:
        if path == "Id":
            return Statement("r.Id", "id")
        if path in ("CreatedAt", "UpdatedAt"):
            return Statement(f"r.{path}", "system")
        if path == "ExternalId" and self.kind != "Contact":
            return Statement("r.ExternalId", "string")
        if self.kind == "Contact" and path in ("Email.IsSubscribed", "Email.IsBounced", "Email.Format"):
            return Statement(f"r.{path.removeprefix('Email.')}", "string")
        match = FIELD.fullmatch(path)
        known = self._field(match) if match else None
        return Statement(f"r.{quoted(known.internal_name)}", known.data_type, known) if known else None

    def _resolve_contact(self, path: str) -> Statement | None:
        reached = self.contact._resolve_own(path) if self.contact else None
        if reached is None:
            return None
        return Statement("c." + reached.sql.removeprefix("r."), reached.kind, None, of_contact=True)

    def _field(self, match: re.Match[str]) -> Field | None:
        for known in self.fields:
            if match["id"] and known.id == int(match["id"]):
                return known
            if match["name"] and known.internal_name == match["name"]:
                return known
        return None

    def from_clause(self) -> str:
        if self.kind == "Contact":
            return f"{self.table} r"
        return f"{self.table} r LEFT JOIN eloqua.contact c ON c.Id = r.ContactId"


def canonical(expression: str, data_type: str) -> str:
    """SQL: the canonical text of `expression`, "" for empty, NULL when it is no value of the type."""
    form = {"date": CANONICAL_DATE, "number": CANONICAL_NUMBER}.get(data_type)
    if form is None:
        return f"coalesce({expression}, '')"
    return f"CASE WHEN trim(coalesce({expression}, '')) = '' THEN '' ELSE {form.format(f'trim({expression})')} END"


def internal_name(display_name: str) -> str:
    """The name that Eloqua makes for a field of a custom object: `Record Key` -> `Record_Key1`."""
    return re.sub(r"\W", "_", display_name, flags=re.ASCII) + "1"


def stamp(instant: datetime) -> str:
    """Time in definitions and syncs: UTC with seven decimals (eloqua.md 3.1)."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def create_custom_object_table(store: Store, entity: Entity) -> None:
    columns = "".join(f", {quoted(known.internal_name)} VARCHAR NOT NULL DEFAULT ''" for known in entity.fields)
    store.execute(f"""CREATE TABLE {entity.table} (Id BIGINT, CreatedAt TIMESTAMP, UpdatedAt TIMESTAMP,
                      ExternalId VARCHAR, ContactId BIGINT{columns})""")


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
