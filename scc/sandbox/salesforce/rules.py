"""What Salesforce itself insists on when a record is written, object by object (salesforce.md 2.3, 8).

A rule looks at one draft, completes its new row, or raises RowError. What it must know of other records was read for
the whole chunk before: `Context`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scc.sandbox.salesforce import members, rows, values
from scc.sandbox.salesforce.schema import LEAD_STATUS, SField, SObject
from scc.sandbox.salesforce.values import RowError, label
from scc.sandbox.store import quoted

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce
    from scc.sandbox.salesforce.write import Options

# The rows that a write locks besides its own (salesforce.md 2.3).
LOCKED_PARENTS = {"Contact": ("AccountId",), "CampaignMember": ("CampaignId", "LeadId", "ContactId")}


class Draft:
    """One row on its way in: what was sent (`typed`), the row before and after, what rules added, why it is refused."""

    def __init__(self, known: SObject, record_id: str | None, old: Mapping[str, Any] | None) -> None:
        self.known, self.id, self.old = known, record_id, old
        self.typed: dict[str, Any] = {}
        self.new: dict[str, Any] = {}
        self.derived: set[str] = set()
        self.error: RowError | None = None

    def attempt(self, step: Callable[..., None], *arguments: Any) -> None:
        """Run a step unless the row is refused already; remember its refusal."""
        if self.error is None:
            try:
                step(*arguments)
            except RowError as refusal:
                self.error = refusal

    def set(self, name: str, value: Any) -> None:
        self.new = {**self.new, name: value}
        self.derived.add(name)

    def changes(self, name: str) -> bool:
        return name in self.typed and (self.old is None or self.old.get(name) != self.typed[name])


class Context:
    """What the rules must know of other records, read once for a chunk."""

    def __init__(
        self,
        salesforce: Salesforce,
        known: SObject,
        drafts: Sequence[Draft],
        before: Mapping[str, Mapping[str, Any]],
        options: Options,
    ) -> None:
        self.salesforce, self.known, self.options = salesforce, known, options
        self._store, self.before = salesforce.store, before
        self._drafts = drafts
        self.parents = self._read_parents()
        self._taken = {f.name: self._read_values(f) for f in known.fields.values() if f.unique}
        self._twins = self._read_values(known.fields["email"]) if self._duplicate_rule else {}
        self.pairs: dict[tuple[Any, Any], str] = {}
        self.statuses: dict[str, list[members.Status]] = {}
        if known.name == "CampaignMember":
            campaigns = [d.typed.get("CampaignId") for d in drafts] + [row["CampaignId"] for row in before.values()]
            self.statuses = members.statuses(self._store, {c for c in campaigns if c})
            people = {d.typed[n] for d in drafts for n in ("LeadId", "ContactId") if d.typed.get(n)}
            self.pairs = members.pairs(self._store, people)

    @property
    def _duplicate_rule(self) -> str | None:
        return self.salesforce.duplicate_rules.get(self.known.name)

    def _read_parents(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The records that the drafts refer to: by object, then by id."""
        wanted: dict[str, set[str]] = {}
        for found in self.known.fields.values():
            ids = {d.typed[found.name] for d in self._drafts if d.typed.get(found.name)} if found.parent else set()
            if found.parent and ids:
                wanted.setdefault(found.parent[1], set()).update(ids)
        schema = self.salesforce.schema
        return {
            name: rows.by_id(self._store, parent, ids)
            for name, ids in wanted.items()
            if (parent := schema.find(name)) is not None
        }

    def _read_values(self, found: SField) -> dict[str, str]:
        """Who has the drafts' values of a field: id by folded value."""
        wanted = {str(d.typed[found.name]).lower() for d in self._drafts if d.typed.get(found.name) is not None}
        if not wanted:
            return {}
        column = f"lower(CAST({quoted(found.name)} AS VARCHAR))"
        sql = f"SELECT {column}, Id FROM {self.known.table} WHERE NOT IsDeleted AND {column} IN {rows.TEXTS}"
        return dict(self._store.rows(sql, [rows.texts(wanted)]))

    # -- checks that every object shares ----------------------------------------------------------------------------

    def take_locks(self, draft: Draft) -> None:
        """Raises UNABLE_TO_LOCK_ROW while a row that this write touches is told to be held by somebody else."""
        held = self.salesforce.locks
        touched = [draft.id, *(draft.new.get(name) for name in LOCKED_PARENTS.get(self.known.name, ()))]
        for record_id in touched:
            if record_id and held.get(record_id, 0) > 0:
                held[record_id] -= 1
                raise RowError(
                    "UNABLE_TO_LOCK_ROW", f"unable to obtain exclusive access to this record or 1 records: {record_id}"
                )

    def find_parents(self, draft: Draft) -> None:
        for found in self.known.fields.values():
            wanted = draft.typed.get(found.name) if found.parent else None
            if not wanted or found.parent is None:
                continue
            row = self.parents.get(found.parent[1], {}).get(wanted)
            parent = self.salesforce.schema.find(found.parent[1])
            if parent and wanted[:3] != parent.prefix:
                shown = f"{label(found)}: id value of incorrect type: {wanted}"
                raise RowError("FIELD_INTEGRITY_EXCEPTION", shown, found.name)
            if row is None:
                raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", found.name)
            if row["IsDeleted"]:
                raise RowError("ENTITY_IS_DELETED", "entity is deleted", found.name)
            if row["hidden_"]:
                raise RowError(
                    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "insufficient access rights on cross-reference id"
                )

    def find_missing(self, draft: Draft) -> None:
        missing = [
            f.name
            for f in self.known.fields.values()
            if f.required and draft.new.get(f.name) is None and (draft.old is None or f.name in draft.typed)
        ]
        if missing:
            raise RowError("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", *missing)

    def find_duplicates(self, draft: Draft) -> None:
        for name, taken in self._taken.items():
            owner = taken.get(str(draft.typed.get(name)).lower()) if draft.changes(name) else None
            if owner and owner != draft.id and draft.typed[name] is not None:
                shown = f"duplicate value found: {name} duplicates value on record with id: {owner[:15]}"
                raise RowError("DUPLICATE_VALUE", shown, name)
        rule, email = self._duplicate_rule, draft.typed.get("Email")
        twin = self._twins.get(str(email).lower()) if rule and email and draft.changes("Email") else None
        if twin and twin != draft.id and (rule == "block" or not self.options.save_duplicates):
            raise duplicates_detected(self.known, twin, rule or "block")

    def keep(self, draft: Draft) -> None:
        """The draft is going to be written: later rows of the chunk must know."""
        for name, taken in self._taken.items():
            if draft.typed.get(name) is not None:
                taken[str(draft.typed[name]).lower()] = draft.id or ""
        if self._duplicate_rule and draft.typed.get("Email"):
            self._twins[draft.typed["Email"].lower()] = draft.id or ""
        if self.known.name == "CampaignMember":
            self.pairs[draft.new["CampaignId"], draft.new["LeadOrContactId"]] = draft.id or ""


def check(draft: Draft, context: Context) -> None:
    """All rules for a draft whose `new` is the complete row. Raises RowError."""
    RULES.get(draft.known.name, nothing)(draft, context)
    context.find_missing(draft)
    context.find_parents(draft)
    context.find_duplicates(draft)
    context.take_locks(draft)


def nothing(draft: Draft, context: Context) -> None:
    pass


def person(draft: Draft) -> None:
    """Lead and Contact: the name is composed, and another address has not bounced yet."""
    name = " ".join(part for part in (draft.new["FirstName"], draft.new["LastName"]) if part)
    if name != draft.new["Name"]:
        draft.set("Name", name or None)
    if draft.old is not None and draft.changes("Email"):
        for field_name in ("EmailBouncedReason", "EmailBouncedDate"):
            if field_name not in draft.typed:
                draft.set(field_name, None)


def contact(draft: Draft, context: Context) -> None:
    person(draft)
    draft.set("IsEmailBounced", bool(draft.new["EmailBouncedReason"] or draft.new["EmailBouncedDate"]))


def lead(draft: Draft, context: Context) -> None:
    limits = context.salesforce.limits
    if draft.old is not None and draft.old["IsConverted"] and not limits.edit_converted_leads:
        raise RowError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
    person(draft)
    if draft.new["Status"] is None:
        if draft.old is not None and "Status" in draft.typed:
            raise RowError("REQUIRED_FIELD_MISSING", "Required fields are missing: [Status]", "Status")
        draft.set("Status", LEAD_STATUS[0])
    rule = context.salesforce.assignment_rule
    if rule and context.options.assign:
        draft.set("OwnerId", rule.owner)


def opportunity(draft: Draft, context: Context) -> None:
    stage = draft.new["StageName"] or ""
    draft.set("IsClosed", stage.startswith("Closed"))
    draft.set("IsWon", stage == "Closed Won")


def campaign_member(draft: Draft, context: Context) -> None:
    """Exactly one person; once per campaign; a status that the campaign knows (salesforce.md 8.3)."""
    if draft.old is None:
        if draft.typed.get("ContactId"):
            draft.typed.pop("LeadId", None)  # if both are given only the contact is kept
            draft.set("LeadId", None)
        person_id = draft.new["ContactId"] or draft.new["LeadId"]
        if person_id is None:
            missing = "Required fields are missing: [LeadId or ContactId]"
            raise RowError("REQUIRED_FIELD_MISSING", missing, "LeadId", "ContactId")
        if (context.parents.get("Lead", {}).get(draft.new["LeadId"] or "") or {}).get("IsConverted"):
            raise RowError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        if (draft.new["CampaignId"], person_id) in context.pairs:
            raise RowError("DUPLICATE_VALUE", "Already a campaign member.")
        draft.set("LeadOrContactId", person_id)
        draft.set("Type", "Contact" if draft.new["ContactId"] else "Lead")
    known = context.statuses.get(draft.new["CampaignId"], members.DEFAULT_STATUSES)
    wanted = draft.new["Status"]
    status = next((s for s in known if (s.default if wanted is None else s.label.lower() == wanted.lower())), None)
    if status is None:
        shown = f"Status: bad value for restricted picklist field: {values.cut(str(wanted))}"
        raise RowError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", shown, "Status")
    draft.set("Status", status.label)
    draft.set("HasResponded", status.responded)
    if status.responded and draft.new["FirstRespondedDate"] is None:
        draft.set("FirstRespondedDate", context.salesforce.clock.naive.date())


RULES: dict[str, Callable[[Draft, Context], None]] = {
    "Lead": lead,
    "Contact": contact,
    "Opportunity": opportunity,
    "CampaignMember": campaign_member,
}


def duplicates_detected(known: SObject, twin: str, rule: str) -> RowError:
    """DUPLICATES_DETECTED with its `duplicateResult`; the exact JSON is not verified (salesforce.md 10)."""
    result = {
        "allowSave": rule == "alert",
        "duplicateRule": f"Standard_{known.name}_Duplicate_Rule",
        "duplicateRuleEntityType": known.name,
        "errorMessage": "Use one of these records?",
        "matchResults": [
            {
                "entityType": known.name,
                "errors": [],
                "matchEngine": "ExactMatchEngine",
                "matchRecords": [
                    {
                        "additionalInformation": [],
                        "fieldDiffs": [],
                        "matchConfidence": 100.0,
                        "record": {"attributes": {"type": known.name}, "Id": twin},
                    }
                ],
                "rule": f"Standard_{known.name}_Match_Rule",
                "size": 1,
                "success": True,
            }
        ],
    }
    return RowError("DUPLICATES_DETECTED", "Use one of these records?", duplicateResult=result)
