"""The people and campaigns, as Salesforce knows them.

CRM contact k shows Eloqua's contact 4k; lead j one of 8j, 8j + 1, with exceptions: several leads of one address,
leads that Eloqua does not know, leads without an address. Where somebody changed the address, Salesforce has the old one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scc.sandbox import words
from scc.sandbox.company.sql import (
    ACCOUNT_NUMBER,
    CAMPAIGN_NUMBER,
    CONTACT_NUMBER,
    DAY,
    LEAD_NUMBER,
    OPPORTUNITY_NUMBER,
    Dice,
    Size,
    before,
    choices,
    owner,
    sf_id,
    stamps,
)
from scc.sandbox.eloqua.entities import canonical
from scc.sandbox.salesforce.ids import ORG_ID
from scc.sandbox.salesforce.schema import CAMPAIGN_STATUS, CAMPAIGN_TYPES, LEAD_SOURCES, STAGES
from scc.sandbox.salesforce.settings import SALES_DESK_ID, USER_ID, USERNAME
from scc.sandbox.store import literal

if TYPE_CHECKING:
    from scc.sandbox.store import Store

# What a done record shows of its campaign.
CAMPAIGN_TEXTS = {
    "Campaign_Name1": "Name",
    "Campaign_Type1": "coalesce(Type, '')",
    "Campaign_Status1": "coalesce(Status, '')",
    "Campaign_Start_Date1": canonical("CAST(StartDate AS VARCHAR)", "date"),
    "Campaign_Budget1": canonical("CAST(BudgetedCost AS VARCHAR)", "number"),
    "Campaign_Active1": "coalesce(CAST(IsActive AS VARCHAR), '')",
}
PROBABILITY = (10, 20, 60, 80, 100, 0)  # of STAGES
# Labels that a campaign's members may have; from the third on only where people come to something.
MEMBER_STATUS = ("Sent", "Responded", "Registered", "Attended", "No Show")
BOUNCE_REASONS = ("550 5.1.1 User unknown", "550 5.4.1 Recipient address rejected", "Unknown address error 550")


def seed_organization(store: Store, moment: str) -> None:
    store.execute(f"""
        INSERT INTO sf."User" BY NAME SELECT {literal(USER_ID)} AS Id, {literal(USERNAME)} AS Username,
            'Integration User' AS Name, 'Integration' AS FirstName, 'User' AS LastName, {literal(USERNAME)} AS Email,
            true AS IsActive, {stamps(moment)};
        INSERT INTO sf."User" BY NAME SELECT {literal(SALES_DESK_ID)} AS Id, 'sales.desk@example.com' AS Username,
            'Sales Desk' AS Name, 'Sales' AS FirstName, 'Desk' AS LastName, 'sales.desk@example.com' AS Email,
            true AS IsActive, {stamps(moment)};
        INSERT INTO sf."Organization" BY NAME SELECT {literal(ORG_ID)} AS Id, 'Acme Test' AS Name,
            'CS001' AS InstanceName, true AS IsSandbox, 'Developer Edition' AS OrganizationType, {stamps(moment)};
    """)


def seed_campaigns(store: Store, seed: int, moment: str, size: Size) -> None:
    """Campaigns and the statuses of their members. A few have no start date, a few no budget."""
    dice, drawn = Dice(seed), Dice(seed, "n", "w")
    kind, topic = drawn.pick(CAMPAIGN_TYPES, 30), drawn.front(words.TOPICS, 31)
    status = drawn.front(("Completed", "In Progress", *CAMPAIGN_STATUS), 32)
    start = f"CAST({moment} AS DATE) - ({drawn.roll(40)} % 700)::INT"
    rows = drawn.over(f"SELECT i AS n FROM staging.numbers WHERE i < {size.campaigns}")
    store.execute(f"""
        INSERT INTO sf."Campaign" BY NAME
        SELECT {sf_id("701", CAMPAIGN_NUMBER.format("i"))} AS Id,
               kind || ' ' || topic || ' ' || strftime(start, '%Y-%m') || ' #' || (i + 1) AS Name,
               kind AS Type, status AS Status, status = 'In Progress' OR {dice.roll(33)} % 9 = 0 AS IsActive,
               CASE WHEN i % 17 = 5 THEN NULL ELSE start END AS StartDate,
               CASE WHEN i % 17 = 5 THEN NULL ELSE start + ({dice.roll(34)} % 30)::INT END AS EndDate,
               CASE WHEN i % 13 = 4 THEN NULL WHEN i % 7 = 3 THEN ({dice.roll(35)} % 9000000) / 100.0
                    ELSE ({dice.roll(35)} % 180 + 1) * 500.0 END AS BudgetedCost,
               ({dice.roll(36)} % 100) * 250.0 AS ActualCost, ({dice.roll(37)} % 50) * 10000.0 AS ExpectedRevenue,
               ({dice.roll(38)} % 40)::DOUBLE AS ExpectedResponse, ({dice.roll(39)} % 50000)::DOUBLE AS NumberSent,
               0 AS NumberOfLeads, 0 AS NumberOfContacts,
               0 AS NumberOfConvertedLeads, 0 AS NumberOfResponses, 0 AS NumberOfOpportunities,
               {owner()}, {stamps("CAST(start AS TIMESTAMP) - INTERVAL 30 DAY")}
        FROM {dice.over(f"SELECT n AS i, {kind} AS kind, {topic} AS topic, {status} AS status, {start} AS start FROM {rows}")}
    """)
    columns = ", ".join(f"{sql} AS {column}" for column, sql in CAMPAIGN_TEXTS.items())
    store.execute(f"""CREATE TABLE staging.campaign_texts AS
        SELECT rowid AS number, Id AS id18, substr(Id, 1, 15) AS id15, Type AS kind, CreatedDate AS born, {columns}
        FROM sf."Campaign" """)
    label, many = choices(MEMBER_STATUS), len(MEMBER_STATUS)
    store.execute(f"""
        INSERT INTO sf."CampaignMemberStatus" BY NAME
        SELECT {sf_id("01Y", f"1000000 + (number * {many} + s) * 7")} AS Id, id18 AS CampaignId, {label}[s + 1] AS Label,
               s = 0 AS IsDefault, s IN (1, 2, 3) AS HasResponded, s + 1 AS SortOrder,
               {owner(("CreatedById", "LastModifiedById"))}, {stamps("born")}
        FROM (SELECT *, unnest(range(CASE WHEN kind IN ('Webinar', 'Conference', 'Trade Show') THEN {many} ELSE 2 END)) AS s
              FROM staging.campaign_texts)
    """)


def person(dice: Dice) -> str:
    """SQL of what the person `p` is to the CRM."""
    return f"""trim(p.first) AS FirstName, trim(p.last) AS LastName, trim(p.first || ' ' || trim(p.last)) AS Name,
        {dice.front(words.TITLES, 50)} AS Title, {dice.pick(LEAD_SOURCES, 47)} AS LeadSource,
        CASE {dice.roll(45)} % 3 WHEN 0 THEN '+1 555 0' || lpad((p.i % 1000000)::VARCHAR, 6, '0') END AS Phone,
        p.fate IS NOT DISTINCT FROM 'left' AND {dice.roll(45)} % 10 < 9 OR {dice.roll(45)} % 60 = 7 AS HasOptedOutOfEmail,
        {dice.roll(45)} % 45 = 0 AS DoNotCall, false AS HasOptedOutOfFax,
        CASE WHEN known THEN 'CMEC' || lpad(CAST(p.Id AS VARCHAR), 12, '0') END AS Eloqua_Contact_ID__c,
        CASE WHEN bounces THEN {choices(BOUNCE_REASONS)}[1 + i % {len(BOUNCE_REASONS)}] END AS EmailBouncedReason,
        CASE WHEN bounces THEN p.ended + INTERVAL 2 HOUR END AS EmailBouncedDate"""


# Salesforce learns of two bouncebacks in three.
BOUNCES = "coalesce(p.fate = 'bounced', false) AND p.i % 3 > 0 AS bounces"


def seed_people(store: Store, seed: int, moment: str, size: Size) -> None:
    """Accounts, contacts, leads. Each 20th lead is converted into the contact of the same person."""
    store.execute(f"""
        INSERT INTO sf."Account" BY NAME
        SELECT sf_id AS Id, name AS Name, industry AS Industry, employees AS NumberOfEmployees,
               country AS BillingCountry, {owner()}, {stamps("born")} FROM staging.company
    """)
    dice = Dice(seed)
    store.execute(f"""
        INSERT INTO sf."Contact" BY NAME
        SELECT {sf_id("003", CONTACT_NUMBER.format("i"))} AS Id, {
        person(dice)
    }, lower(coalesce(p.former, p.address)) AS Email,
               {sf_id("001", ACCOUNT_NUMBER.format("p.work"))} AS AccountId, {
        dice.front(words.COUNTRIES, 55)
    } AS MailingCountry,
               bounces AS IsEmailBounced, {owner()}, {stamps(before(moment, f"{dice.roll(46)} % 60000000"))}
        FROM {
        dice.over(
            f'''SELECT i // 4 AS i, p, true AS known, {BOUNCES} FROM staging.person p
                          WHERE i % 4 = 0 AND i // 4 < {size.crm_contacts}'''
        )
    } ORDER BY i
    """)
    dice = Dice(seed)
    converted = "i % 20 = 0"
    status = dice.front(("Open - Not Contacted", "Working - Contacted", "Closed - Not Converted"), 48)
    of = "j * 8 + CASE WHEN j % 10 = 0 THEN 0 ELSE 1 END"
    store.execute(f"""
        INSERT INTO sf."Lead" BY NAME
        SELECT {sf_id("00Q", LEAD_NUMBER.format("i"))} AS Id, {person(dice)},
               CASE WHEN i % 50 = 23 THEN NULL WHEN NOT known THEN 'prospect' || i || '@example.org'
                    ELSE lower(coalesce(p.former, p.address)) END AS Email,
               c.name AS Company, {dice.front(words.COUNTRIES, 56)} AS Country,
               CASE WHEN {converted} THEN 'Closed - Converted' ELSE {status} END AS Status,
               {converted} AS IsConverted,
               CASE WHEN {converted} THEN CAST({moment} AS DATE) - (i % 300)::INT END AS ConvertedDate,
               CASE WHEN {converted} THEN {sf_id("003", CONTACT_NUMBER.format("i * 2"))} END AS ConvertedContactId,
               CASE WHEN {converted} THEN c.sf_id END AS ConvertedAccountId,
               CASE WHEN {converted} AND i // 20 < {size.opportunities}
                    THEN {sf_id("006", OPPORTUNITY_NUMBER.format("i // 20"))} END AS ConvertedOpportunityId,
               {owner()}, {stamps(before(moment, f"{dice.roll(49)} % 60000000"))}
        FROM {
        dice.over(
            f'''SELECT l.i, p, NOT coalesce(l.i % 25 = 12, false) AS known, {BOUNCES}
                          FROM (SELECT i, CASE WHEN i % 16 = 15 THEN i - 1 ELSE i END AS j FROM staging.numbers
                                WHERE i < {size.leads}) l JOIN staging.person p ON p.i = {of}'''
        )
    } x JOIN staging.company c ON c.number = x.p.work ORDER BY i
    """)


def seed_members(store: Store, seed: int, moment: str, size: Size) -> None:
    """Everybody of the CRM is a member of one campaign or two; then the campaigns' computed counts."""
    dice = Dice(seed)
    first = f"{dice.roll(51)} % {size.campaigns}"
    two = f"CASE WHEN {dice.roll(54)} % 5 < 2 THEN [0, 1] ELSE [0] END"
    campaign = f"({first} + s * (1 + {dice.roll(57)} % {max(1, size.campaigns - 1)})) % {size.campaigns}"
    number = f"CASE {dice.roll(52)} % 4 WHEN 0 THEN 1 WHEN 1 THEN 2 + {dice.roll(58)} % 3 ELSE 0 END"
    people = """SELECT rowid * 2 AS i, 'Contact' AS Type, Id, Name, FirstName, LastName, Email, Title, Phone,
                       HasOptedOutOfEmail, MailingCountry AS Country, AccountId, NULL AS Company FROM sf."Contact"
                UNION ALL
                SELECT rowid * 2 + 1, 'Lead', Id, Name, FirstName, LastName, Email, Title, Phone,
                       HasOptedOutOfEmail, Country, NULL, Company FROM sf."Lead" """
    responded = "status BETWEEN 1 AND 3"
    store.execute(f"""
        INSERT INTO sf."CampaignMember" BY NAME
        SELECT {sf_id("00v", "4000000 + (i * 2 + s) * 11")} AS Id, m.id18 AS CampaignId,
               CASE m.Type WHEN 'Contact' THEN m.Id END AS ContactId, CASE m.Type WHEN 'Lead' THEN m.Id END AS LeadId,
               m.Id AS LeadOrContactId, m.Type, m.Name, FirstName, LastName, Email, Title, Phone, HasOptedOutOfEmail,
               m.Country, coalesce(m.Company, a.name) AS CompanyOrAccount,
               {choices(MEMBER_STATUS)}[1 + status] AS Status, {responded} AS HasResponded,
               CASE WHEN {responded} THEN CAST(moment AS DATE) END AS FirstRespondedDate,
               {owner(("CreatedById", "LastModifiedById"))}, {stamps("moment")}
        FROM (SELECT m.* EXCLUDE (status), c.id18,
                     CASE WHEN status > 1 AND c.kind NOT IN ('Webinar', 'Conference', 'Trade Show') THEN 0 ELSE status END
                         AS status
              FROM (SELECT * EXCLUDE (u), {campaign} AS campaign, {number} AS status,
                           {before(moment, f"{dice.roll(53)} % {300 * DAY}")} AS moment
                    FROM (SELECT *, unnest({two}) AS s FROM {dice.over(people)})) m
              JOIN staging.campaign_texts c ON c.number = m.campaign) m
        LEFT JOIN staging.company a ON a.sf_id = m.AccountId
        ORDER BY i, s
    """)
    store.execute("""
        UPDATE sf."Campaign" SET NumberOfLeads = m.leads, NumberOfContacts = m.contacts, NumberOfResponses = m.responses
        FROM (SELECT CampaignId, count(LeadId) AS leads, count(ContactId) AS contacts,
                     count(*) FILTER (WHERE HasResponded) AS responses
              FROM sf."CampaignMember" GROUP BY CampaignId) m
        WHERE m.CampaignId = sf."Campaign".Id
    """)


def seed_opportunities(store: Store, seed: int, moment: str, size: Size) -> None:
    dice, drawn = Dice(seed), Dice(seed, "n", "w")
    rows = drawn.over(f"SELECT i AS n FROM staging.numbers WHERE i < {size.opportunities}")
    account = ACCOUNT_NUMBER.format(f"i % {size.accounts}")
    campaign = CAMPAIGN_NUMBER.format(f"{dice.roll(61)} % {size.campaigns}")
    store.execute(f"""
        INSERT INTO sf."Opportunity" BY NAME
        SELECT {sf_id("006", OPPORTUNITY_NUMBER.format("i"))} AS Id, 'Opportunity ' || i AS Name,
               {sf_id("001", account)} AS AccountId, {sf_id("701", campaign)} AS CampaignId,
               {choices(STAGES)}[stage + 1] AS StageName, {list(PROBABILITY)}[stage + 1]::DOUBLE AS Probability,
               CAST({moment} AS DATE) + ({dice.roll(63)} % 300)::INT - 200 AS CloseDate,
               ({dice.roll(64)} % 400)::DOUBLE * 500 AS Amount, stage >= 4 AS IsClosed, stage = 4 AS IsWon,
               {dice.pick(LEAD_SOURCES, 66)} AS LeadSource,
               {owner()}, {stamps(before(moment, f"{dice.roll(65)} % 20000000"))}
        FROM {dice.over(f"SELECT n AS i, {drawn.roll(62)} % {len(STAGES)} AS stage FROM {rows}")}
    """)
