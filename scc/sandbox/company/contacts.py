"""The people, as Eloqua knows them: contacts and accounts, the state of addresses, lists and e-mail groups.

`staging.person` says what is behind each contact while the company is made: who it is, and how the mail to it ended:
fate 'bounced', 'late' (bounced, but Eloqua does not know yet), 'left' (unsubscribed), or NULL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scc.sandbox import words
from scc.sandbox.company.sql import (
    ACCOUNT_NUMBER,
    CONTACT_NUMBER,
    DAY,
    FIRST_ACCOUNT,
    FIRST_CONTACT,
    HOUR,
    LEAD_NUMBER,
    WINDOW,
    Dice,
    Size,
    before,
    choices,
    sf_id,
)
from scc.sandbox.salesforce.schema import INDUSTRIES
from scc.sandbox.store import literal, quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua
    from scc.sandbox.store import Store

YEARS = 6
# The last mailing left so long ago: long enough for its bouncebacks to have happened.
LAST_MAILING = 26 * HOUR
LIST_NUMBER = 501


def seed_persons(store: Store, seed: int, moment: str, size: Size) -> None:
    """Of 100 people 2 stand there twice, with a second address; 3 bounced, 8 left, 2 changed their address."""
    # `person` is the number of the one whom this contact shows: a duplicate is somebody who came a few rows before.
    who, own = Dice(seed, "person", "w"), Dice(seed)
    last = who.front(words.LAST, 2)
    local = (
        f"lower(replace({who.front(words.LATIN_FIRST, 1)}, ' ', '')) || '.' || "
        f"lower({who.front(words.LATIN_LAST, 2)}) || i || CASE WHEN person < i THEN '+news' ELSE '' END"
    )
    columns = {
        "born": before(moment, f"{own.roll(13)} % {YEARS * 365 * DAY}"),
        "local": local,
        "domain": own.front(words.DOMAINS, 3),
        "slip": f"{own.roll(4)} % 50",
        "first": f"CASE {own.roll(17)} % 90 WHEN 0 THEN {own.pick(words.JUNK_NAMES, 18)} "
        f"ELSE {who.front(words.FIRST, 1)} END",
        "last": f"CASE {own.roll(5)} % 40 WHEN 0 THEN upper({last}) WHEN 1 THEN '  ' || {last} ELSE {last} END",
        "work": f"person % {size.accounts}",
        "fate": f"""CASE WHEN i % (CASE WHEN i < 200 THEN 90 ELSE 900 END) = 37 THEN 'late'
                         WHEN {own.roll(12)} % 30 = 0 THEN 'bounced' WHEN {own.roll(11)} % 12 = 0 THEN 'left' END""",
        "luck": own.roll(14),
        "ending": own.share(16),
        "moves": f"{own.roll(15)} % 60 = 0",
    }
    shift = f"CASE WHEN {own.roll(19)} % 45 = 0 THEN greatest(0, i - 1 - {own.roll(19)} % 7) ELSE i END"
    drawn = own.over(f"SELECT i FROM staging.numbers WHERE i < {size.contacts}")
    source = who.over(f"SELECT *, {shift} AS person FROM {drawn}")
    made = ", ".join(f"{sql} AS {quoted(name)}" for name, sql in columns.items())
    plain = "local || '@' || domain"
    life = f"epoch({moment}) - epoch(born)"
    store.execute(f"""
        CREATE TABLE staging.person AS
        SELECT *, CASE fate WHEN 'late' THEN {before(moment, str(LAST_MAILING))}
                            ELSE {before(moment, f"greatest({LAST_MAILING}, ending * ({life}))")} END AS ended,
               CASE WHEN moves THEN local || '@post.example.org' END AS former,
               {before(moment, f"(1 - ending) * ({life})")} AS moved
        FROM (SELECT i, CAST(i + {FIRST_CONTACT} AS BIGINT) AS Id, * EXCLUDE (i, local, domain, slip), local,
                     born + to_seconds(CAST(luck % greatest(1, {life})::BIGINT AS BIGINT)) AS touched,
                     CASE slip WHEN 0 THEN upper({plain}) WHEN 1 THEN {plain}
                               WHEN 2 THEN replace({plain}, '@mail.', '@mial.')
                               WHEN 3 THEN replace({plain}, '@corp.', '@crop.')
                               WHEN 4 THEN replace({plain}, '@uni.', '@unii.') ELSE {plain} END AS address
              FROM (SELECT i, {made} FROM {source}))
    """)


def company(dice: Dice) -> str:
    return f"{dice.pick(words.COMPANY, 20)} || ' ' || {dice.pick(words.LEGAL, 21)}"


def seed_accounts(store: Store, eloqua: Eloqua, seed: int, moment: str, size: Size) -> None:
    """Eloqua's accounts and staging.company: number (from 0), name, sf_id, industry, country."""
    dice = Dice(seed)
    made = {
        "M_CompanyName": "name",
        "M_Country": "country",
        "M_City": dice.pick(words.CITIES, 45),
        "M_SFDCAccountID": "sf_id",
        "M_DateCreated": "strftime(born, '%Y-%m-%d %H:%M:%S')",
        "M_DateModified": "strftime(born, '%Y-%m-%d %H:%M:%S')",
    }
    names = {known.internal_name for known in eloqua.accounts.fields}
    columns = ", ".join(f"{sql} AS {quoted(name)}" for name, sql in made.items() if name in names)
    who = Dice(seed, "number")
    name, born = company(who), before(moment, f"{who.roll(44)} % 60000000")
    country, industry, size_ = who.front(words.COUNTRIES, 43), who.pick(INDUSTRIES, 41), who.roll(42)
    store.execute(f"""
        CREATE TABLE staging.company AS
        SELECT number, {name} AS name, {country} AS country, {industry} AS industry, {size_} % 5000 + 1 AS employees,
               {born} AS born, {sf_id("001", ACCOUNT_NUMBER.format("number"))} AS sf_id
        FROM {who.over(f"SELECT i AS number FROM staging.numbers WHERE i < {size.accounts}")};
        INSERT INTO {eloqua.accounts.table} BY NAME
        SELECT CAST(i + {FIRST_ACCOUNT} AS BIGINT) AS Id, born AS CreatedAt, born AS UpdatedAt, {columns}
        FROM {dice.over("SELECT number AS i, * FROM staging.company")}
    """)


def seed_contacts(store: Store, eloqua: Eloqua, seed: int, size: Size) -> None:
    dice = Dice(seed)
    twin, lead = "i % 4 = 0", "i % 8 = 1 AND i // 8 % 10 <> 0 AND i // 8 % 16 <> 15"
    made = {
        "C_EmailAddress": "address",
        "C_FirstName": "first",
        "C_LastName": "last",
        "C_Company": f"CASE {dice.roll(6)} % 60 WHEN 0 THEN 'n/a' WHEN 1 THEN '' ELSE a.name END",
        "C_Title": dice.front(words.TITLES, 7),
        "C_Country": dice.front(words.COUNTRIES, 8),
        "C_City": dice.pick(words.CITIES, 9),
        "C_BusPhone": f"CASE {dice.roll(10)} % 3 WHEN 0 THEN '+1 555 0' || lpad((i % 1000000)::VARCHAR, 6, '0') "
        "ELSE '' END",
        "C_SFDCContactID": f"CASE WHEN {twin} THEN {sf_id('003', CONTACT_NUMBER.format('i // 4'))} ELSE '' END",
        "C_SFDCLeadID": f"CASE WHEN {lead} THEN {sf_id('00Q', LEAD_NUMBER.format('i // 8'))} ELSE '' END",
        "C_SFDCAccountID": f"CASE WHEN {twin} THEN a.sf_id ELSE '' END",
        "ContactIDExt": "'CMEC' || lpad(CAST(Id AS VARCHAR), 12, '0')",
        "C_DateCreated": "strftime(p.born, '%Y-%m-%d %H:%M:%S')",
        "C_DateModified": "strftime(touched, '%Y-%m-%d %H:%M:%S')",
    }
    columns = ", ".join(
        f"{made.get(f.internal_name, literal(''))} AS {quoted(f.internal_name)}" for f in eloqua.contacts.fields
    )
    linked = f"CASE WHEN {dice.roll(6)} % 60 > 10 THEN CAST(work + {FIRST_ACCOUNT} AS BIGINT) END"
    store.execute(f"""
        CREATE TABLE eloqua.contact AS
        SELECT Id, p.born AS CreatedAt, touched AS UpdatedAt,
               CASE WHEN fate = 'left' THEN 'False' ELSE 'True' END AS IsSubscribed,
               CASE WHEN fate = 'bounced' THEN 'True' ELSE 'False' END AS IsBounced,
               'unspecified' AS Format, {columns}, {linked} AS AccountId, CAST(NULL AS VARCHAR) AS CreatedBy,
               CAST(NULL AS VARCHAR) AS UpdatedBy
        FROM {dice.over("SELECT * FROM staging.person")} p JOIN staging.company a ON a.number = p.work ORDER BY i
    """)


def seed_address_states(store: Store, moment: str, size: Size) -> None:
    """What is not usual: people who left or bounced, addresses that people gave up, and of contacts deleted long ago.

    The dates are those of the activities, where there are any (they go back two years).
    """
    store.execute(f"""
        INSERT INTO eloqua.address
        SELECT lower(p.address), fate <> 'left', born, CASE fate WHEN 'left' THEN coalesce(a.seen, ended) END,
               fate = 'bounced', CASE fate WHEN 'bounced' THEN coalesce(a.seen, ended) END
        FROM staging.person p LEFT JOIN
            (SELECT ContactId, max(CASE Type WHEN 'Bounceback' THEN VisibleAt ELSE CreatedAt END) AS seen
             FROM eloqua.activity WHERE Type = 'Unsubscribe' OR Type = 'Bounceback' AND ExternalId LIKE '%h'
             GROUP BY 1) a ON a.ContactId = p.Id
        WHERE fate IN ('left', 'bounced')
        UNION ALL
        SELECT former, true, born, NULL, i % 3 = 0, CASE WHEN i % 3 = 0 THEN moved END
        FROM staging.person WHERE former IS NOT NULL
        UNION ALL
        SELECT 'gone' || i || '@example.net', i % 2 = 0, since, CASE WHEN i % 2 = 1 THEN since + INTERVAL 90 DAY END,
               i % 5 = 0, CASE WHEN i % 5 = 0 THEN since + INTERVAL 200 DAY END
        FROM (SELECT i, {before(moment, f"{WINDOW} + i * 7919 % {3 * 365 * DAY}")} AS since FROM staging.numbers
              WHERE i < {size.contacts // 50})
        ORDER BY 1
    """)


def seed_lists(store: Store, seed: int, moment: str) -> None:
    """Lists of very different sizes: a contact is on none, one or two of them."""
    dice, count = Dice(seed), len(words.LISTS)
    first, second = f"floor({count} * {dice.skewed(70)})::BIGINT", f"{dice.roll(71)} % {count}"
    store.execute(f"""
        INSERT INTO eloqua.list BY NAME
        SELECT i + {LIST_NUMBER} AS Id, {choices(words.LISTS)}[i + 1] AS name, '' AS description, 48 AS folder_id,
               '5cc0{seed % 10000:04d}-0000-4000-8000-' || lpad(CAST(i AS VARCHAR), 12, '0') AS data_lookup_id,
               since AS created_at, since AS updated_at, '77' AS created_by, '77' AS updated_by
        FROM (SELECT i, {before(moment, f"(i + 1) * 57 * {DAY}")} AS since FROM staging.numbers WHERE i < {count});
        INSERT INTO eloqua.list_member
        SELECT {LIST_NUMBER} + unnest(CASE {dice.roll(72)} % 4 WHEN 0 THEN list_distinct([{first}, {second}])
                                                               WHEN 1 THEN [{first}] ELSE [] END), Id
        FROM {dice.over("SELECT i, Id FROM staging.person")}
    """)


def seed_email_groups(store: Store, seed: int) -> None:
    """Groups, and who left one of them without leaving all."""
    dice, count = Dice(seed), len(words.EMAIL_GROUPS)
    chosen = f"{dice.roll(73)} % 25 = 0"
    store.execute(f"""
        INSERT INTO eloqua.email_group
        SELECT i + 1, {choices(words.EMAIL_GROUPS)}[i + 1] FROM staging.numbers WHERE i < {count};
        INSERT INTO eloqua.group_subscription
        SELECT 1 + {dice.roll(74)} % {count}, lower(address), false
        FROM {dice.over("SELECT i, address FROM staging.person WHERE address <> ''")} WHERE {chosen}
    """)
