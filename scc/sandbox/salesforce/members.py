"""Campaign members: their statuses, their copies of the person, and the counts of their campaigns (salesforce.md 8.2, 8.3).

Copies and counts are read-only and follow by themselves: they are neither in the mutation log nor move SystemModstamp.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scc.sandbox.salesforce import rows
from scc.sandbox.salesforce.ids import make_id

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce
    from scc.sandbox.salesforce.schema import SObject
    from scc.sandbox.store import Store


@dataclass(frozen=True)
class Status:
    label: str
    default: bool
    responded: bool


# What every new campaign starts with.
DEFAULT_STATUSES = [Status("Sent", True, False), Status("Responded", False, True)]
FIRST_STATUS_NUMBER = 62**5 // 4
# What a member shows of its person: member's column, contact's, lead's.
COPIES = (
    ("Name", "c.Name", "l.Name"),
    ("FirstName", "c.FirstName", "l.FirstName"),
    ("LastName", "c.LastName", "l.LastName"),
    ("Email", "c.Email", "l.Email"),
    ("Title", "c.Title", "l.Title"),
    ("Phone", "c.Phone", "l.Phone"),
    ("HasOptedOutOfEmail", "c.HasOptedOutOfEmail", "l.HasOptedOutOfEmail"),
    ("City", "c.MailingCity", "l.City"),
    ("Country", "c.MailingCountry", "l.Country"),
    ("CompanyOrAccount", "a.Name", "l.Company"),
)
COPIED = {
    "Contact": {sql[2:] for _, sql, _ in COPIES if sql.startswith("c.")} | {"AccountId"},
    "Lead": {sql[2:] for _, _, sql in COPIES},
    "Account": {"Name"},
}


def statuses(store: Store, campaigns: Collection[str]) -> dict[str, list[Status]]:
    """The statuses of campaigns that have rows of their own; the others have the default ones."""
    if not campaigns:
        return {}
    found = store.rows(
        'SELECT CampaignId, Label, IsDefault, HasResponded FROM sf."CampaignMemberStatus" '
        f"WHERE NOT IsDeleted AND CampaignId IN {rows.TEXTS} ORDER BY SortOrder, Id",
        [rows.texts(campaigns)],
    )
    by_campaign: dict[str, list[Status]] = {}
    for campaign, *status in found:
        by_campaign.setdefault(campaign, []).append(Status(*status))
    return by_campaign


def pairs(store: Store, people: Collection[str]) -> dict[tuple[Any, Any], str]:
    """(campaign, person) of the live members that are these people, with the member's id."""
    if not people:
        return {}
    found = store.rows(
        'SELECT CampaignId, ContactId, LeadId, Id FROM sf."CampaignMember" '
        f"WHERE NOT IsDeleted AND (ContactId IN {rows.TEXTS} OR LeadId IN {rows.TEXTS})",
        [rows.texts(people)] * 2,
    )
    return {(campaign, person): i for campaign, contact, lead, i in found for person in (contact, lead) if person}


# -- what follows from a write ----------------------------------------------------------------------------------------


def after_insert(salesforce: Salesforce, known: SObject, made: Sequence[Mapping[str, Any]]) -> None:
    if known.name == "Campaign":
        add_statuses(salesforce, [row["Id"] for row in made])
    elif known.name == "CampaignMember":
        copy_people(salesforce.store, {row["ContactId"] or row["LeadId"] for row in made})
        count(salesforce.store, {row["CampaignId"] for row in made})


def after_update(
    salesforce: Salesforce, known: SObject, changes: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> None:
    store = salesforce.store
    if known.name == "CampaignMember":
        count(store, {new["CampaignId"] for old, new in changes if old["HasResponded"] != new["HasResponded"]})
    copied = COPIED.get(known.name, set())
    moved = {new["Id"] for old, new in changes if any(old.get(n) != new.get(n) for n in copied)}
    if known.name == "Account" and moved:
        people = store.rows(f'SELECT Id FROM sf."Contact" WHERE AccountId IN {rows.TEXTS}', [rows.texts(moved)])
        moved = {person for (person,) in people}
    copy_people(store, moved)


def after_delete(salesforce: Salesforce, known: SObject, gone: Sequence[Mapping[str, Any]]) -> None:
    """What hangs on a deleted record goes with it."""
    links = {
        "Campaign": [("CampaignMember", "CampaignId")],
        "Lead": [("CampaignMember", "LeadId")],
        "Contact": [("CampaignMember", "ContactId")],
        "Account": [("Contact", "AccountId"), ("Opportunity", "AccountId")],
    }
    for child_name, link in links.get(known.name, []):
        child = salesforce.schema.find(child_name)
        assert child is not None
        sql = f"SELECT * FROM {child.table} WHERE NOT IsDeleted AND {link} IN {rows.TEXTS}"
        children = salesforce.store.dicts(sql, [rows.texts(row["Id"] for row in gone)])
        salesforce.writer.remove(child, {row["Id"]: row for row in children})
    if known.name == "CampaignMember":
        count(salesforce.store, {row["CampaignId"] for row in gone})


def add_statuses(salesforce: Salesforce, campaigns: Iterable[str]) -> None:
    known = salesforce.schema.find("CampaignMemberStatus")
    assert known is not None
    now, made = salesforce.clock.naive, []
    for campaign in campaigns:
        for order, status in enumerate(DEFAULT_STATUSES, 1):
            number = salesforce.store.next_number("salesforce CampaignMemberStatus", FIRST_STATUS_NUMBER)
            made.append(
                {
                    "Id": make_id(known.prefix, number),
                    "IsDeleted": False,
                    "CreatedDate": now,
                    "LastModifiedDate": now,
                    "SystemModstamp": now,
                    "CampaignId": campaign,
                    "Label": status.label,
                    "IsDefault": status.default,
                    "HasResponded": status.responded,
                    "SortOrder": order,
                    "hidden_": False,
                }
            )
    rows.insert(salesforce.store, known, made)


def copy_people(store: Store, people: Collection[str]) -> None:
    """Bring the members' copies of these people up to date."""
    if not people:
        return
    given = rows.texts(people)
    contacts = ", ".join(f"{sql} AS {name}" for name, sql, _ in COPIES)
    leads = ", ".join(f"{sql} AS {name}" for name, _, sql in COPIES)
    store.execute(
        f"""UPDATE sf."CampaignMember" SET {", ".join(f"{name} = p.{name}" for name, _, _ in COPIES)}
            FROM (SELECT c.Id AS person, {contacts} FROM sf."Contact" c LEFT JOIN sf."Account" a ON a.Id = c.AccountId
                  WHERE c.Id IN {rows.TEXTS}
                  UNION ALL SELECT l.Id, {leads} FROM sf."Lead" l WHERE l.Id IN {rows.TEXTS}) p
            WHERE coalesce(ContactId, LeadId) = p.person""",
        [given, given],
    )


def count(store: Store, campaigns: Collection[str]) -> None:
    """Count the members of campaigns anew."""
    if not campaigns:
        return
    store.execute(
        f"""UPDATE sf."Campaign" SET NumberOfLeads = m.leads, NumberOfContacts = m.contacts,
                NumberOfResponses = m.responses
            FROM (SELECT c.Id AS campaign, count(*) FILTER (WHERE m.ContactId IS NULL AND m.LeadId IS NOT NULL) AS leads,
                         count(m.ContactId) AS contacts, count(*) FILTER (WHERE m.HasResponded) AS responses
                  FROM sf."Campaign" c LEFT JOIN sf."CampaignMember" m ON m.CampaignId = c.Id AND NOT m.IsDeleted
                  WHERE c.Id IN {rows.TEXTS} GROUP BY c.Id) m
            WHERE m.campaign = sf."Campaign".Id""",
        [rows.texts(campaigns)],
    )
