"""The made-up company: one seed and one instant give the same company for ever.

Everything is made by SQL from row numbers. Chance is arithmetic (`chance(row, salt)`), neither Python's nor DuckDB's
hash, because those may change with a version. Addresses only in example.com, example.org and example.net.
"""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from scc.sandbox import words
from scc.sandbox.eloqua.entities import canonical, create_custom_object_table
from scc.sandbox.salesforce.auth import USER_ID, USERNAME
from scc.sandbox.salesforce.ids import ORG_ID, SQL_MACROS
from scc.sandbox.salesforce.schema import (
    CAMPAIGN_STATUS,
    CAMPAIGN_TYPES,
    INDUSTRIES,
    LEAD_SOURCES,
    STAGES,
    create_tables,
)
from scc.sandbox.store import literal, quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua
    from scc.sandbox.store import Store

PRIME = 2147483647
FIRST_CONTACT = 2001

# Numbers behind the ids: apart from each other, with gaps, so that ids look grown and show capitals and small letters.
CAMPAIGN_NUMBER = "(9000000 + ({}) * 37)"
UNKNOWN_CAMPAIGN_NUMBER = "(200000000 + ({}) * 37)"
ACCOUNT_NUMBER = "(1000000 + ({}) * 41)"
CONTACT_NUMBER = "(2000000 + ({}) * 13)"
LEAD_NUMBER = "(3000000 + ({}) * 17)"

CUSTOM_OBJECTS = ("Event Registration", "Content Download")
PREFIXES = {"Event Registration": "ER", "Content Download": "CD"}
CUSTOM_FIELDS = [
    {"name": "Email Address", "dataType": "emailAddress"},
    {"name": "Record Key", "dataType": "string"},
    {"name": "Salesforce Campaign ID", "dataType": "string"},
    {"name": "Enrichment Status", "dataType": "string"},
    {"name": "Enrichment Reason", "dataType": "string"},
    {"name": "Campaign Name", "dataType": "string"},
    {"name": "Campaign Type", "dataType": "string"},
    {"name": "Campaign Status", "dataType": "string"},
    {"name": "Campaign Start Date", "dataType": "date"},
    {"name": "Campaign Budget", "dataType": "number"},
    {"name": "Campaign Active", "dataType": "string"},
]


# What a done record shows of its campaign.
CAMPAIGN_TEXTS = {
    "Campaign_Name1": "Name",
    "Campaign_Type1": "coalesce(Type, '')",
    "Campaign_Status1": "coalesce(Status, '')",
    "Campaign_Start_Date1": canonical("CAST(StartDate AS VARCHAR)", "date"),
    "Campaign_Budget1": canonical("CAST(BudgetedCost AS VARCHAR)", "number"),
    "Campaign_Active1": "coalesce(CAST(IsActive AS VARCHAR), '')",
}


@dataclass(frozen=True)
class Size:
    """How many of everything."""

    contacts: int
    waiting: int

    @property
    def campaigns(self) -> int:
        return min(5000, max(40, self.contacts // 100))

    @property
    def records(self) -> int:
        return max(self.contacts, self.waiting)

    @property
    def accounts(self) -> int:
        return max(5, self.contacts // 20)

    @property
    def crm_contacts(self) -> int:
        return self.contacts // 4

    @property
    def leads(self) -> int:
        return self.contacts // 8

    def share(self, object_name: str, total: int) -> int:
        """70 % of anything are event registrations, the rest content downloads."""
        events = round(total * 0.7)
        return events if object_name == CUSTOM_OBJECTS[0] else total - events


def seed_company(store: Store, eloqua: Eloqua, seed: int, now: datetime, size: Size) -> None:
    """Fill an empty store. now: UTC without zone."""
    moment = f"TIMESTAMP '{now.isoformat(sep=' ')}'"
    store.create_schemas()
    store.execute(macros(seed))
    store.execute(SQL_MACROS + create_tables())
    # range() itself runs on one thread; a table of row numbers lets the statements use all.
    store.execute(f"CREATE TABLE staging.numbers AS SELECT i FROM range({max(size.records, 5000)}) r(i)")
    store.execute("BEGIN")
    seed_contacts(store, eloqua, moment, size)
    seed_crm(store, moment, size)
    for name in CUSTOM_OBJECTS:
        create_custom_object_table(store, eloqua.entities[name])
        seed_custom_object(store, eloqua, name, moment, size)
    store.execute("DROP TABLE staging.numbers; DROP TABLE staging.campaign_texts")
    store.execute("COMMIT")


def found_company(store: Store, eloqua: Eloqua, seed: int, now: datetime, size: Size) -> None:
    """As seed_company, but a small company that this process has made before is copied: milliseconds instead of
    half a second, most of which DuckDB would spend on planning."""
    for name in CUSTOM_OBJECTS:
        eloqua.door.declare_custom_object(name, CUSTOM_FIELDS, unique="Record Key")
    key = (seed, now, size)
    with _founding:
        if path := _founded.get(key):
            store.copy_from(path)
            return
        seed_company(store, eloqua, seed, now, size)
        if key not in _asked:
            _asked.add(key)  # keeping costs time too: only for what is asked for again
        elif size.records <= LARGEST_KEPT and len(_founded) < MOST_KEPT:
            folder = tempfile.TemporaryDirectory(prefix="scc-sandbox-")  # goes with the process
            _folders.append(folder)
            _founded[key] = folder.name + "/company.duckdb"
            store.copy_to(_founded[key])


LARGEST_KEPT, MOST_KEPT = 5000, 20
_founding = threading.Lock()
_asked: set[tuple[int, datetime, Size]] = set()
_founded: dict[tuple[int, datetime, Size], str] = {}
_folders: list[tempfile.TemporaryDirectory[str]] = []


def macros(seed: int) -> str:
    """SQL: chance(row, salt) from 0 to PRIME - 1; pick, and skewed pick that favours the front of the list.

    The salt chooses the line, squaring bends it; the row stands in it only twice, for planning costs more than running.
    """
    slope = f"(1 + (salt::BIGINT * 48271 * 69621 + {seed % 1_000_003} * 104729) % {PRIME - 1})"
    line = f"((row_ + 1)::BIGINT * {slope} + salt * 7919 + 12345) % {PRIME}"
    return f"""
        CREATE MACRO chance(row_, salt) AS (({line}) * ({line})) % {PRIME};
        CREATE MACRO pick(choices, row_, salt) AS choices[1 + (chance(row_, salt) % len(choices))::INT];
        CREATE MACRO front(choices, row_, salt) AS
            choices[1 + floor(len(choices) * pow(chance(row_, salt) / {PRIME}.0, 2.5))::INT];
    """


def choices(values) -> str:
    return "[" + ", ".join(literal(value) for value in values) + "]"


def before(moment: str, seconds: str) -> str:
    return f"({moment} - to_seconds(CAST({seconds} AS BIGINT)))"


def address(i: str) -> str:
    """SQL of a contact's address: unique, with the cases and slips that people type."""
    plain = (
        f"lower(replace(front({choices(words.LATIN_FIRST)}, {i}, 1), ' ', '')) || '.' || "
        f"lower(front({choices(words.LATIN_LAST)}, {i}, 2)) || {i} || '@' || front({choices(words.DOMAINS)}, {i}, 3)"
    )
    return f"""CASE chance({i}, 4) % 50 WHEN 0 THEN upper({plain}) WHEN 1 THEN ' ' || {plain}
               WHEN 2 THEN replace({plain}, '@mail.', '@mial.') ELSE {plain} END"""


def seed_contacts(store: Store, eloqua: Eloqua, moment: str, size: Size) -> None:
    made = {
        "C_EmailAddress": f"trim({address('i')})",
        "C_FirstName": f"front({choices(words.FIRST)}, i, 1)",
        "C_LastName": f"CASE chance(i, 5) % 40 WHEN 0 THEN upper(front({choices(words.LAST)}, i, 2)) "
        f"WHEN 1 THEN '  ' || front({choices(words.LAST)}, i, 2) ELSE front({choices(words.LAST)}, i, 2) END",
        "C_Company": f"CASE chance(i, 6) % 60 WHEN 0 THEN 'n/a' WHEN 1 THEN '' ELSE {company(f'(i % {size.accounts})')} END",
        "C_Title": f"front({choices(words.TITLES)}, i, 7)",
        "C_Country": f"front({choices(words.COUNTRIES)}, i, 8)",
        "C_City": f"pick({choices(words.CITIES)}, i, 9)",
        "C_BusPhone": "CASE chance(i, 10) % 3 WHEN 0 THEN '+1 555 0' || lpad((i % 1000000)::VARCHAR, 6, '0') ELSE '' END",
        "ContactIDExt": f"'CMEC' || lpad((i + {FIRST_CONTACT})::VARCHAR, 12, '0')",
        "C_DateCreated": "strftime(born, '%Y-%m-%d %H:%M:%S')",
        "C_DateModified": "strftime(touched, '%Y-%m-%d %H:%M:%S')",
    }
    columns = ", ".join(
        f"{made.get(f.internal_name, literal(''))} AS {quoted(f.internal_name)}" for f in eloqua.contacts.fields
    )
    store.execute(f"""
        CREATE TABLE eloqua.contact AS
        SELECT CAST(i + {FIRST_CONTACT} AS BIGINT) AS Id, born AS CreatedAt, touched AS UpdatedAt,
               CASE WHEN chance(i, 11) % 12 = 0 THEN 'False' ELSE 'True' END AS IsSubscribed,
               CASE WHEN chance(i, 12) % 30 = 0 THEN 'True' ELSE 'False' END AS IsBounced,
               'unspecified' AS Format, {columns}
        FROM (SELECT i, born, born + to_seconds(CAST(chance(i, 14) % greatest(1,
            epoch({moment}) - epoch(born))::BIGINT AS BIGINT))
                     AS touched
              FROM (SELECT i, {before(moment, f"chance(i, 13) % {6 * 365 * 86400}")} AS born FROM staging.numbers
                  WHERE i < {size.contacts}))
    """)


def company(i: str) -> str:
    return f"pick({choices(words.COMPANY)}, {i}, 20) || ' ' || pick({choices(words.LEGAL)}, {i}, 21)"


def seed_crm(store: Store, moment: str, size: Size) -> None:
    store.execute(f"""
        INSERT INTO sf."User" BY NAME SELECT {literal(USER_ID)} AS Id, {literal(USERNAME)}
            AS Username, 'Integration User' AS Name,
            'Integration' AS FirstName, 'User' AS LastName, {literal(USERNAME)} AS Email, true AS IsActive,
                {stamps(moment)};
        INSERT INTO sf."Organization" BY NAME SELECT {literal(ORG_ID)} AS Id, 'Acme Test' AS Name, 'CS001'
            AS InstanceName,
            true AS IsSandbox, 'Developer Edition' AS OrganizationType, {stamps(moment)};
    """)
    seed_campaigns(store, moment, size)
    seed_campaign_texts(store)
    seed_people(store, moment, size)
    seed_members(store, moment)
    store.execute(f"""
        INSERT INTO sf."Opportunity" BY NAME
        SELECT sf_id('006', 5000000 + i * 19) AS Id, 'Opportunity ' || i AS Name, sf_id('001',
            {ACCOUNT_NUMBER.format(f"i % {size.accounts}")}) AS AccountId,
               sf_id('701', {CAMPAIGN_NUMBER.format(f"chance(i, 61) % {size.campaigns}")}) AS CampaignId,
               stage AS StageName, CAST({moment} AS DATE) + (chance(i, 63) % 300)::INT - 200 AS CloseDate,
               (chance(i, 64) % 400)::DOUBLE * 500 AS Amount, stage LIKE 'Closed%' AS IsClosed,
                   stage = 'Closed Won' AS IsWon,
               {owner()}, {stamps(before(moment, "chance(i, 65) % 20000000"))}
        FROM (SELECT i, pick({choices(STAGES)}, i, 62) AS stage FROM staging.numbers WHERE i < {size.contacts // 40})
    """)


def stamps(moment: str) -> str:
    return f"{moment} AS CreatedDate, {moment} AS LastModifiedDate, {moment} AS SystemModstamp, false AS IsDeleted"


def owner() -> str:
    return ", ".join(f"{literal(USER_ID)} AS {name}" for name in ("OwnerId", "CreatedById", "LastModifiedById"))


def seed_campaigns(store: Store, moment: str, size: Size) -> None:
    """A few campaigns have no start date, a few no budget."""
    store.execute(f"""
        INSERT INTO sf."Campaign" BY NAME
        SELECT sf_id('701', {CAMPAIGN_NUMBER.format("i")}) AS Id,
               kind || ' ' || front({choices(words.TOPICS)}, i,
                   31) || ' ' || strftime(start, '%Y-%m') || ' #' || (i + 1) AS Name,
               kind AS Type, status AS Status, status = 'In Progress' OR chance(i, 33) % 9 = 0 AS IsActive,
               CASE WHEN i % 17 = 5 THEN NULL ELSE start END AS StartDate,
               CASE WHEN i % 17 = 5 THEN NULL ELSE start + (chance(i, 34) % 30)::INT END AS EndDate,
               CASE WHEN i % 13 = 4 THEN NULL WHEN i % 7 = 3 THEN (chance(i, 35) % 9000000) / 100.0
                    ELSE (chance(i, 35) % 180 + 1) * 500.0 END AS BudgetedCost,
               (chance(i, 36) % 100) * 250.0 AS ActualCost, (chance(i, 37) % 50) * 10000.0 AS ExpectedRevenue,
               (chance(i, 38) % 40)::DOUBLE AS ExpectedResponse, (chance(i, 39) % 50000)::DOUBLE AS NumberSent,
               0 AS NumberOfConvertedLeads, 0 AS NumberOfResponses, 0 AS NumberOfOpportunities,
               {owner()}, {stamps("CAST(start AS TIMESTAMP) - INTERVAL 30 DAY")}
        FROM (SELECT i, pick({choices(CAMPAIGN_TYPES)}, i, 30) AS kind,
            front({choices(("Completed", "In Progress", *CAMPAIGN_STATUS))}, i, 32) AS status,
                     CAST({moment} AS DATE) - (chance(i, 40) % 700)::INT AS start FROM staging.numbers
                         WHERE i < {size.campaigns})
    """)


def seed_campaign_texts(store: Store) -> None:
    """What a record shows of its campaign, once a campaign instead of once a record; number counts from 0."""
    columns = ", ".join(f"{sql} AS {column}" for column, sql in CAMPAIGN_TEXTS.items())
    store.execute(f"""CREATE TABLE staging.campaign_texts AS
        SELECT row_number() OVER () - 1 AS number, Id AS id18, substr(Id, 1, 15) AS id15, {columns}
            FROM sf."Campaign" """)


def seed_people(store: Store, moment: str, size: Size) -> None:
    """Accounts; CRM contacts and leads that share addresses with Eloqua contacts, some with each other."""
    store.execute(f"""
        INSERT INTO sf."Account" BY NAME
        SELECT sf_id('001', {ACCOUNT_NUMBER.format("i")}) AS Id, {company("i")} AS Name, pick({
        choices(INDUSTRIES)
    }, i, 41) AS Industry,
               (chance(i, 42) % 5000 + 1) AS NumberOfEmployees, front({
        choices(words.COUNTRIES)
    }, i, 43) AS BillingCountry,
               {owner()}, {stamps(before(moment, "chance(i, 44) % 60000000"))}
        FROM staging.numbers WHERE i < {size.accounts};
        INSERT INTO sf."Contact" BY NAME
        SELECT sf_id('003', {CONTACT_NUMBER.format("i")}) AS Id, {PERSON},
               sf_id('001', {ACCOUNT_NUMBER.format(f"i % {size.accounts}")}) AS AccountId,
               false AS IsEmailBounced, {owner()}, {stamps(before(moment, "chance(i, 46) % 60000000"))}
        FROM staging.numbers JOIN eloqua.contact p ON p.Id = i * 4 + {FIRST_CONTACT} WHERE i < {
        size.crm_contacts
    } ORDER BY i;
        INSERT INTO sf."Lead" BY NAME
        SELECT sf_id('00Q', {LEAD_NUMBER.format("i")}) AS Id,
               {PERSON}, {company("i")} AS Company,
               CASE WHEN i % 25 = 0 THEN 'Closed - Converted' ELSE front({
        choices(("Open - Not Contacted", "Working - Contacted", "Closed - Not Converted"))
    }, i, 48) END AS Status, i % 25 = 0 AS IsConverted,
               CASE WHEN i % 25 = 0 THEN sf_id('003', {CONTACT_NUMBER.format("i")}) END AS ConvertedContactId,
               {owner()}, {stamps(before(moment, "chance(i, 49) % 60000000"))}
        FROM staging.numbers JOIN eloqua.contact p ON p.Id = i * 8 + CASE WHEN i % 10 = 0 THEN 0 ELSE 1 END + {
        FIRST_CONTACT
    }
        WHERE i < {size.leads} ORDER BY i
    """)


# The Eloqua contact `p` as a person of the CRM.
PERSON = f"""trim(p.C_FirstName) AS FirstName, trim(p.C_LastName) AS LastName,
    trim(p.C_FirstName) || ' ' || trim(p.C_LastName) AS Name,
             lower(trim(p.C_EmailAddress)) AS Email, p.C_Title AS Title, pick({choices(LEAD_SOURCES)}, i, 47)
                 AS LeadSource,
             p.IsSubscribed = 'False' AS HasOptedOutOfEmail, false AS DoNotCall, false AS HasOptedOutOfFax"""


def seed_members(store: Store, moment: str) -> None:
    """One membership a person, and the campaigns' computed counts."""
    campaigns = store.value('SELECT count(*) FROM sf."Campaign"')
    campaign = f"sf_id('701', {CAMPAIGN_NUMBER.format(f'chance(i, 51) % {campaigns}')})"
    for number, (kind, link) in enumerate((("Contact", "ContactId"), ("Lead", "LeadId"))):
        store.execute(f"""
            INSERT INTO sf."CampaignMember" BY NAME
            SELECT sf_id('00v', 4000000 + (i * 2 + {number}) * 11) AS Id, {campaign} AS CampaignId, p.Id AS {link},
                p.Id AS LeadOrContactId,
                   {literal(kind)} AS Type, p.Name, p.FirstName, p.LastName, p.Email,
                   CASE WHEN chance(i, 52) % 4 = 0 THEN 'Responded' ELSE 'Sent' END AS Status, chance(i,
                       52) % 4 = 0 AS HasResponded,
                   p.CreatedById, p.LastModifiedById, {stamps(before(moment, "chance(i, 53) % 30000000"))}
            FROM (SELECT row_number() OVER () - 1 AS i, * FROM sf."{kind}") p
        """)
    store.execute("""
        UPDATE sf."Campaign" SET NumberOfLeads = m.leads, NumberOfContacts = m.contacts, NumberOfResponses = m.responses
        FROM (SELECT c.Id, count(LeadId) AS leads, count(ContactId) AS contacts,
            count(*) FILTER (WHERE HasResponded) AS responses
              FROM sf."Campaign" c LEFT JOIN sf."CampaignMember" m ON m.CampaignId = c.Id GROUP BY c.Id) m
        WHERE m.Id = sf."Campaign".Id
    """)


def seed_custom_object(store: Store, eloqua: Eloqua, name: str, moment: str, size: Size) -> None:
    """Records of one object: waiting ones spread evenly, the others done, in error or without a status.

    Of the waiting ones (numbered k) 2 % have a malformed key, 2 % a key that no campaign has (half of those from the
    last ten days, half 40 days old), the rest a campaign's id, half in 15 and half in 18 characters.
    """
    total, waiting = size.share(name, size.records), size.share(name, size.waiting)
    entity, salt = eloqua.entities[name], 100 * (1 + CUSTOM_OBJECTS.index(name))
    if not total:
        return
    unknown = f"sf_id('701', {UNKNOWN_CAMPAIGN_NUMBER.format('i')})"
    contact = f"(chance(i, {salt + 2}) % {max(1, size.contacts)})"
    done = ", ".join(
        f"CASE WHEN dated.status = 'Done' THEN c.{column} ELSE '' END AS {column}" for column in CAMPAIGN_TEXTS
    )
    day, hour = 86_400, 3_600
    store.execute(f"""
        INSERT INTO {entity.table} BY NAME
        WITH numbered AS (
            SELECT i, (i + 1) * {waiting} // {total} > i * {waiting} // {total} AS waits, i * {waiting} // {total}
                AS k,
                   chance(i, {salt + 3}) AS luck, chance(i, {salt + 1}) % {size.campaigns} AS campaign
                       FROM staging.numbers WHERE i < {total}),
        kinds AS (
            SELECT *, CASE WHEN waits AND k % 50 = 7 THEN 'malformed'
                           WHEN waits AND k % 50 = 24 THEN CASE WHEN k % 100 = 24 THEN 'young' ELSE 'old' END
                           WHEN waits THEN 'good' ELSE 'past' END AS kind,
                      CASE WHEN waits THEN 'Waiting' WHEN luck % 100 < 90 THEN 'Done' WHEN luck % 100 < 94
                          THEN 'Error' ELSE '' END AS status
            FROM numbered),
        dated AS (
            SELECT *, CASE kind WHEN 'good' THEN {before(moment, f"60 + luck % {3 * day}")}
                                WHEN 'malformed' THEN {before(moment, f"60 + luck % {3 * day}")}
                                WHEN 'young' THEN {before(moment, f"{hour} + luck % {10 * day - hour}")}
                                WHEN 'old' THEN {before(moment, str(40 * day))}
                                ELSE {before(moment, f"{4 * day} + luck % {700 * day}")} END AS born FROM kinds)
        SELECT CAST(i + 1 AS BIGINT) AS Id, born AS CreatedAt, CASE WHEN waits THEN born
            ELSE born + INTERVAL 20 MINUTE END AS UpdatedAt,
               'DCTET' || lpad((i + 1)::VARCHAR, 12, '0') AS ExternalId, p.Id AS ContactId,
               coalesce(trim(p.C_EmailAddress), '')
                   AS Email_Address1, '{PREFIXES[name]}-' || lpad((i + 1)::VARCHAR, 8, '0') AS Record_Key1,
               CASE WHEN kind = 'malformed'
                   THEN {choices(words.BROKEN_KEYS)}[1 + (k // 50 % {len(words.BROKEN_KEYS)})::INT]
                    WHEN kind IN ('young', 'old') THEN {unknown}
                    WHEN dated.status = 'Error' THEN '701-broken' WHEN dated.status = '' THEN ''
                    WHEN k % 2 = 0 THEN c.id15 ELSE c.id18 END AS Salesforce_Campaign_ID1,
               dated.status AS Enrichment_Status1,
               CASE WHEN dated.status = 'Error' THEN 'malformed key' ELSE '' END AS Enrichment_Reason1,
               {done}
        FROM dated JOIN staging.campaign_texts c ON c.number = campaign
                   LEFT JOIN eloqua.contact p ON p.Id = {contact} + {FIRST_CONTACT}
        ORDER BY i
    """)
