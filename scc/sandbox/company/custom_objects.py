"""Custom objects and their records: waiting for campaign data, done, in error, or of no status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scc.sandbox import words
from scc.sandbox.company.crm import CAMPAIGN_TEXTS
from scc.sandbox.company.sql import DAY, HOUR, UNKNOWN_CAMPAIGN_NUMBER, Dice, Size, before, choices, sf_id

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua
    from scc.sandbox.store import Store

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


def share(object_name: str, total: int) -> int:
    """70 % of anything are event registrations, the rest content downloads."""
    events = round(total * 0.7)
    return events if object_name == CUSTOM_OBJECTS[0] else total - events


def seed_custom_object(store: Store, eloqua: Eloqua, name: str, seed: int, moment: str, size: Size) -> None:
    """Records of one object: waiting ones spread evenly, the others done, in error or without a status.

    Of the waiting ones (numbered k) 2 % have a malformed key, 2 % a key that no campaign has (half of those from the
    last ten days, half 40 days old), the rest a campaign's id, half in 15 and half in 18 characters. Campaigns that
    Salesforce does not have are few, and each is the key of many records. One record in 30 is linked to no contact.
    """
    total, waiting = share(name, size.records), share(name, size.waiting)
    entity, salt = eloqua.entities[name], 100 * (1 + CUSTOM_OBJECTS.index(name))
    if not total:
        return
    dice = Dice(seed)
    unknown = sf_id("701", UNKNOWN_CAMPAIGN_NUMBER.format(f"k // 50 * 7 % {size.unknown_campaigns}"))
    done = ", ".join(
        f"CASE WHEN d.status = 'Done' THEN c.{column} ELSE '' END AS {column}" for column in CAMPAIGN_TEXTS
    )
    numbered = f"""SELECT i, (i + 1) * {waiting} // {total} > i * {waiting} // {total} AS waits,
                          i * {waiting} // {total} AS k FROM staging.numbers WHERE i < {total}"""
    store.execute(f"""
        INSERT INTO {entity.table} BY NAME
        WITH numbered AS (
            SELECT i, waits, k, {dice.roll(salt + 3)} AS luck, {dice.roll(salt + 1)} % {size.campaigns} AS campaign,
                   {dice.roll(salt + 2)} % {max(1, size.contacts)} AS contact FROM {dice.over(numbered)}),
        kinds AS (
            SELECT *, CASE WHEN waits AND k % 50 = 7 THEN 'malformed'
                           WHEN waits AND k % 50 = 24 THEN CASE WHEN k % 100 = 24 THEN 'young' ELSE 'old' END
                           WHEN waits THEN 'good' ELSE 'past' END AS kind,
                      CASE WHEN waits THEN 'Waiting' WHEN luck % 100 < 90 THEN 'Done' WHEN luck % 100 < 94 THEN 'Error'
                           ELSE '' END AS status
            FROM numbered),
        dated AS (
            SELECT *, {
        before(
            moment,
            f'''CASE kind WHEN 'young' THEN {HOUR} + luck % {10 * DAY - HOUR} WHEN 'old' THEN {40 * DAY}
                WHEN 'past' THEN {4 * DAY} + luck % {700 * DAY} ELSE 60 + luck % {3 * DAY} END''',
        )
    } AS born FROM kinds)
        SELECT CAST(i + 1 AS BIGINT) AS Id, d.born AS CreatedAt,
               CASE WHEN waits THEN d.born ELSE d.born + INTERVAL 20 MINUTE END AS UpdatedAt,
               'DCTET' || lpad((i + 1)::VARCHAR, 12, '0') AS ExternalId, CASE WHEN luck % 30 > 0 THEN p.Id END AS ContactId,
               coalesce(p.address, '') AS Email_Address1,
               '{PREFIXES[name]}-' || lpad((i + 1)::VARCHAR, 8, '0') AS Record_Key1,
               CASE WHEN d.kind = 'malformed'
                    THEN {choices(words.BROKEN_KEYS)}[1 + (k // 50 % {len(words.BROKEN_KEYS)})::INT]
                    WHEN d.kind IN ('young', 'old') THEN {unknown}
                    WHEN d.status = 'Error' THEN '701-broken' WHEN d.status = '' THEN ''
                    WHEN k % 2 = 0 THEN c.id15 ELSE c.id18 END AS Salesforce_Campaign_ID1,
               d.status AS Enrichment_Status1,
               CASE WHEN d.status = 'Error' THEN 'malformed key' ELSE '' END AS Enrichment_Reason1,
               {done}
        FROM dated d JOIN staging.campaign_texts c ON c.number = campaign
                     LEFT JOIN (SELECT i AS p_i, Id, address FROM staging.person) p ON p.p_i = contact
        ORDER BY i
    """)
