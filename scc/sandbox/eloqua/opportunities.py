"""Opportunities: written through Bulk only, in two steps: the opportunity, then its contacts (eloqua.md 3.14)."""

from __future__ import annotations

from scc.sandbox.eloqua.entities import Entity, Field, Statement
from scc.sandbox.store import Store, quoted

# What a sandbox opportunity may be in; anything else is ELQ-00039.
STAGES = ("Prospecting", "Qualification", "Proposal", "Negotiation", "Closed Won", "Closed Lost")
FIELDS = [
    Field(500001, "Opportunity ID", "OpportunityId", unique=True),
    Field(500002, "Name", "Name"),
    Field(500003, "Stage", "Stage"),
    Field(500004, "Amount", "Amount", "number"),
    Field(500005, "Close Date", "CloseDate", "date"),
    Field(500006, "Account Name", "AccountName"),
    Field(500007, "Primary Campaign Id", "PrimaryCampaignId"),
]


class OpportunityEntity(Entity):
    def _resolve_own(self, path: str, alias: str = "r") -> Statement | None:
        if path == "Id":  # the id of the system that the opportunity comes from
            path = "Field(OpportunityId)"
        return super()._resolve_own(path, alias)

    def _resolve_contact(self, path: str) -> Statement | None:
        return None


class OpportunityContactEntity(Entity):
    """A row of the second import: an opportunity's id and a contact's address."""

    def resolve(self, statement: object) -> Statement | None:
        known = {
            "{{Opportunity.Id}}": self.fields[0],
            "{{Opportunity.Field(OpportunityId)}}": self.fields[0],
            "{{Opportunity.Contact.Field(C_EmailAddress)}}": self.fields[1],
            "{{Contact.Field(C_EmailAddress)}}": self.fields[1],
        }.get(statement.strip() if isinstance(statement, str) else "")
        return Statement(f"r.{quoted(known.internal_name)}", known.data_type, known) if known else None


def opportunity_entities() -> tuple[Entity, Entity]:
    """The opportunity and the link to its contacts."""
    mail = Field(0, "Email Address", "EmailAddress", "emailAddress", not_null=True)
    return (
        OpportunityEntity("Opportunity", None, "Opportunity", "eloqua.opportunity", list(FIELDS)),
        OpportunityContactEntity(
            "OpportunityContact", None, "OpportunityContact", "eloqua.opportunity", [FIELDS[0], mail]
        ),
    )


def create_opportunity_tables(store: Store) -> None:
    columns = "".join(f", {quoted(known.internal_name)} VARCHAR NOT NULL DEFAULT ''" for known in FIELDS)
    store.execute(f"""
        CREATE TABLE IF NOT EXISTS eloqua.opportunity (Id BIGINT, CreatedAt TIMESTAMP, UpdatedAt TIMESTAMP{columns});
        CREATE TABLE IF NOT EXISTS eloqua.opportunity_contact (opportunity_id BIGINT, contact_id BIGINT)""")
