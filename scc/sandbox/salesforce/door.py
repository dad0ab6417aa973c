"""The door for tests: read and change Salesforce's records from Python, without HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from scc.sandbox.clock import parse_instant
from scc.sandbox.salesforce import members, rows
from scc.sandbox.salesforce.ids import make_id, normal
from scc.sandbox.salesforce.schema import LEAD_STATUS, SField, SObject
from scc.sandbox.salesforce.settings import ASSIGNMENT_RULE
from scc.sandbox.salesforce.values import TEXTS
from scc.sandbox.salesforce.write import FIRST_NUMBER

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce

KINDS = (*TEXTS, "boolean", "date", "datetime", "int", "double", "currency", "percent")


class Door:
    """Salesforce's state for tests. What it changes is in the mutation log with the cause "python".

    Only the schema is checked, not the rules: a test may set whatever stage it likes.
    """

    def __init__(self, salesforce: Salesforce) -> None:
        self._salesforce, self._store = salesforce, salesforce.store
        self.limits = salesforce.limits

    # -- records ----------------------------------------------------------------------------------------------------

    def add(self, object_name: str, values: Mapping[str, Any]) -> str:
        """Add a record and return its 18-character id; dates and datetimes also as ISO texts. "Id" may be given."""
        known, now = self._object(object_name), self._salesforce.clock.naive
        with self._salesforce.unit():
            number = self._store.next_number("salesforce " + known.name, FIRST_NUMBER)
            new_id = normal(values.get("Id", "")) or make_id(known.prefix, number)
            given = typed(known, {n: v for n, v in values.items() if n != "Id"})
            stamps = dict.fromkeys(("CreatedDate", "LastModifiedDate", "SystemModstamp"), now)
            flags = {f.name: False for f in known.fields.values() if f.type == "boolean"}
            row = completed(known, {**flags, **stamps, **given, "Id": new_id})
            rows.insert(self._store, known, [row])
            self._store.log_change("salesforce", known.name, new_id, "create", {}, given)
            blank = {f.name: None for f in known.fields.values()}
            members.after_insert(self._salesforce, known, [{**blank, **row}])
        return new_id

    def update(self, object_name: str, record_id: str, values: Mapping[str, Any]) -> None:
        """Change a record; SystemModstamp moves. Raises KeyError when there is none."""
        known = self._object(object_name)
        with self._salesforce.unit():
            self._change(known, self._row(known, record_id), typed(known, values))

    def _change(self, known: SObject, old: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        now = self._salesforce.clock.naive
        new = completed(known, {**old, **given, "LastModifiedDate": now, "SystemModstamp": now})
        names = [n for n in new if new[n] != old.get(n)]
        rows.update(self._store, known, names, [new])
        self._store.log_change("salesforce", known.name, old["Id"], "update", {n: old[n] for n in given}, given)
        members.after_update(self._salesforce, known, [(old, new)])

    def delete(self, object_name: str, record_id: str) -> None:
        """Move a record to the recycle bin, with what hangs on it: only queryAll shows them."""
        known = self._object(object_name)
        with self._salesforce.unit():
            old = self._row(known, record_id)
            self._salesforce.writer.remove(known, {old["Id"]: old})

    def convert_lead(self, lead_id: str, contact_id: str | None = None, account_id: str | None = None) -> str:
        """Convert a lead and return the contact's id; contact and account are made unless they are given.

        The lead's memberships show the contact as well from now on (salesforce.md 8.3).
        """
        known, clock = self._object("Lead"), self._salesforce.clock
        with self._salesforce.unit():
            lead = self._row(known, lead_id)
            if contact_id is None:
                account_id = account_id or self.add("Account", {"Name": lead["Company"] or lead["LastName"] or "?"})
                taken = ("FirstName", "LastName", "Name", "Email", "Title", "Phone", "HasOptedOutOfEmail", "LeadSource")
                contact_id = self.add("Contact", {**{n: lead[n] for n in taken}, "AccountId": account_id})
            contact = self._row(self._object("Contact"), contact_id)
            converted = {
                "IsConverted": True,
                "Status": "Closed - Converted",
                "ConvertedDate": clock.naive.date(),
                "ConvertedContactId": contact["Id"],
                "ConvertedAccountId": account_id or contact["AccountId"],
            }
            self._change(known, lead, converted)
            self._move_members("LeadId", lead["Id"], {"ContactId": contact["Id"], "LeadOrContactId": contact["Id"]})
        return contact["Id"]

    def merge(self, object_name: str, master_id: str, loser_id: str) -> None:
        """Merge two leads, contacts or accounts: the loser is deleted, names its master and gives what hung on it."""
        known = self._object(object_name)
        with self._salesforce.unit():
            master, loser = self._row(known, master_id), self._row(known, loser_id)
            link = known.name + "Id"
            if known.name in ("Lead", "Contact"):
                self._move_members(link, loser["Id"], {link: master["Id"], "LeadOrContactId": master["Id"]})
            else:
                for child_name in ("Contact", "Opportunity"):
                    child = self._object(child_name)
                    for row in self._store.dicts(f"SELECT * FROM {child.table} WHERE {link} = ?", [loser["Id"]]):
                        self._change(child, row, {link: master["Id"]})
            if known.field("MasterRecordId"):
                self._change(known, loser, {"MasterRecordId": master["Id"]})
            self._salesforce.writer.remove(known, {loser["Id"]: self._row(known, loser_id)})

    def _move_members(self, link: str, person_id: str, values: Mapping[str, Any]) -> None:
        """Memberships of a person to another; where that one is a member already, the moved one goes."""
        known, person = self._object("CampaignMember"), values["LeadOrContactId"]
        sql = f"SELECT * FROM {known.table} WHERE NOT IsDeleted AND {link} = ?"
        taken = {campaign for campaign, _ in members.pairs(self._store, {person}) if person != person_id}
        for row in self._store.dicts(sql, [person_id]):
            if row["CampaignId"] in taken:
                self._salesforce.writer.remove(known, {row["Id"]: row})
            else:
                kind = "Contact" if values.get("ContactId") else row["Type"]
                self._change(known, row, {**values, "Type": kind})
        members.copy_people(self._store, {person})
        members.count(self._store, {c for c, _ in members.pairs(self._store, {person, person_id})})

    def rows(self, object_name: str) -> list[dict[str, Any]]:
        """All records that are not deleted, by id, hidden ones too; time stamps are UTC."""
        found = self._store.dicts(
            f"SELECT * EXCLUDE (hidden_) FROM {self._object(object_name).table} WHERE NOT IsDeleted ORDER BY Id"
        )
        return [{n: v.replace(tzinfo=UTC) if isinstance(v, datetime) else v for n, v in row.items()} for row in found]

    def clear(self, object_name: str) -> None:
        """Forget all records of the object; no mutations are logged."""
        with self._store.lock:
            self._store.execute(f"DELETE FROM {self._object(object_name).table}")

    def hide_field(self, object_name: str, field_name: str) -> None:
        """Field-level security: the field is absent from describe; to query or to write it is an INVALID_FIELD."""
        self._salesforce.hidden.add((object_name.lower(), field_name.lower()))

    def protect_field(self, object_name: str, field_name: str) -> None:
        """Field-level security: the field can be read; to write it is an INVALID_FIELD_FOR_INSERT_UPDATE."""
        self._salesforce.locked_fields.add((object_name.lower(), field_name.lower()))

    def add_field(
        self,
        object_name: str,
        name: str,
        kind: str = "string",
        length: int = 80,
        external_id: bool = False,
        unique: bool = False,
        picklist: Sequence[str] = (),
    ) -> None:
        """Declare a custom field, e.g. add_field("Lead", "SCC_Key__c", external_id=True, unique=True).

        kind: string, textarea, email, phone, url, picklist, boolean, date, datetime, int, double, currency or percent.
        Raises KeyError for the object, ValueError for what cannot be declared.
        """
        if not name.endswith("__c") or kind not in KINDS:
            raise ValueError(f"{name} must end with __c and be one of {', '.join(KINDS)}, not {kind}")
        size = length if kind in TEXTS else 0
        found = SField(
            name,
            kind,
            size,
            external_id=external_id,
            unique=unique,
            picklist=tuple(picklist),
            restricted=bool(picklist),
        )
        self._salesforce.schema.add(object_name, found, self._store)

    def lock_row(self, record_id: str, times: int = 1) -> None:
        """The next `times` writes that touch this record, or have it as parent, get UNABLE_TO_LOCK_ROW."""
        known = normal(record_id)
        if known is None:
            raise KeyError(record_id)
        self._salesforce.locks[known] = times

    def set_duplicate_rule(self, object_name: str, action: str | None = "block") -> None:
        """A duplicate rule on Email: "block", "alert" (a header overrides it) or None."""
        known = self._object(object_name)
        if known.field("Email") is None or action not in ("block", "alert", None):
            raise ValueError(f"no duplicate rule {action!r} for {known.name}")
        self._salesforce.duplicate_rules.pop(known.name, None)
        if action:
            self._salesforce.duplicate_rules[known.name] = action

    def set_assignment_rule(self, active: bool = True) -> str:
        """Switch the Lead assignment rule on or off; its id, for Bulk's assignmentRuleId."""
        self._salesforce.assignment_rule = ASSIGNMENT_RULE if active else None
        return ASSIGNMENT_RULE.id

    def jobs(self) -> list[dict[str, Any]]:
        """All Bulk 2.0 jobs that are kept, as their GET shows them; looking does not make them go on."""
        return self._salesforce.jobs.shown()

    def hide_rows(self, object_name: str, hidden: bool = True) -> None:
        """Lost sharing: no query finds any record of the object."""
        with self._store.lock:
            self._store.execute(f"UPDATE {self._object(object_name).table} SET hidden_ = {hidden}")

    def hide_row(self, record_id: str, hidden: bool = True) -> None:
        wanted = normal(record_id) or ""
        known = self._salesforce.schema.owner_of(wanted)
        if known is None:
            raise KeyError(record_id)
        with self._store.lock:
            self._store.execute(f"UPDATE {known.table} SET hidden_ = {hidden} WHERE Id = ?", [wanted])

    def expire_tokens(self) -> None:
        """Every access token dies now."""
        self._salesforce.auth.expire_tokens()

    def register_jwt_key(self, public_key: str) -> None:
        """Accept assertions signed with the private half of this PEM key."""
        self._salesforce.auth.jwt_keys.append(public_key)

    def _object(self, name: str) -> SObject:
        known = self._salesforce.schema.find(name)
        if known is None:
            raise KeyError(name)
        return known

    def _row(self, known: SObject, record_id: str) -> dict[str, Any]:
        found = self._store.dicts(f"SELECT * FROM {known.table} WHERE Id = ? AND NOT IsDeleted", [normal(record_id)])
        if not found:
            raise KeyError(record_id)
        return found[0]


def completed(known: SObject, row: dict[str, Any]) -> dict[str, Any]:
    """What follows from other fields unless it was given: names, status, bounce and response flags, the member's person."""
    if known.name in ("Lead", "Contact") and not row.get("Name"):
        row["Name"] = " ".join(p for p in (row.get("FirstName"), row.get("LastName")) if p) or None
    if known.name == "Lead":
        row["Status"] = row.get("Status") or LEAD_STATUS[0]
    if known.name == "Contact":
        row["IsEmailBounced"] = bool(row.get("EmailBouncedReason") or row.get("EmailBouncedDate"))
    if known.name == "CampaignMember":
        row["LeadOrContactId"] = row.get("ContactId") or row.get("LeadId")
        row["Type"] = "Contact" if row.get("ContactId") else "Lead"
        row["Status"] = row.get("Status") or members.DEFAULT_STATUSES[0].label
    return row


def typed(known: SObject, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the store keeps them, by field name. Raises KeyError for an unknown field."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        found = known.field(name)
        if found is None:
            raise KeyError(f"{known.name} has no field {name!r}")
        if value == "":
            value = None
        if isinstance(value, str) and found.type == "date":
            value = date.fromisoformat(value)
        elif isinstance(value, (str, datetime)) and found.type == "datetime":
            instant = parse_instant(value) if isinstance(value, str) else value
            value = instant.astimezone(UTC).replace(tzinfo=None)
        elif isinstance(value, str) and found.is_id:
            value = normal(value)
        result[found.name] = value
    return result
