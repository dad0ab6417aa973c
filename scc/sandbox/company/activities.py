"""Two years of activities (eloqua.md 3.11, 3.12): mail in mailings to many, answers that get rarer as a contact ages.

Ids: one number for each cause (a mail, a visit, somebody who joined), times 16, plus what it led to.
ExternalId names the cause the same way; for bouncebacks its last letter says what the seed meant: h hard, s soft, p policy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scc.sandbox import words
from scc.sandbox.company.contacts import LAST_MAILING
from scc.sandbox.company.sql import CAMPAIGN_NUMBER, DAY, HOUR, WINDOW, Dice, Size, after, before, choices, sf_id

if TYPE_CHECKING:
    from scc.sandbox.store import Store

# Of 100 activities so many are mails sent; opens, clicks and the rest follow from them. Visits likewise.
SENT_SHARE, VISIT_SHARE = 0.62, 0.10
FIRST_CAUSE, FIRST_VISIT, FIRST_JOINER = 55_000, 800_000_000, 900_000_000
SOFT, POLICY = 60, 250  # one mail of so many

# SmtpErrorCode, SmtpStatusCode, SmtpMessage. Hard ones: mostly plain, some without codes, some that contradict themselves.
HARD = (
    ("550", "5.1.1", "550 5.1.1 The email account that you tried to reach does not exist"),
    ("550", "5.1.1", "mailbox unknown"),
    ("550", "5.4.1", "550 5.4.1 Recipient address rejected: Access denied"),
    ("540", "5.4.1", "no answer from host"),
    ("550", "5.1.1", "550 5.1.1 User unknown"),
    ("550", "", "550 Requested action not taken: mailbox unavailable"),
    ("", "5.1.1", "smtp; bad destination mailbox address"),
    ("", "", "undeliverable"),
    ("450", "5.1.1", "450 5.1.1 Recipient address rejected: unverified address"),
    ("550", "4.2.2", "550 4.2.2 The email account does not exist"),
)
SOFT_CODES = (
    ("452", "4.2.2", "452 4.2.2 The recipient's mailbox is full"),
    ("450", "4.2.1", "450 4.2.1 The user is receiving mail too quickly"),
    ("421", "4.4.2", "421 4.4.2 Connection timed out"),
    ("452", "", "mailbox full"),
    ("552", "4.2.2", "552 4.2.2 Over quota"),
    ("", "", "delivery temporarily suspended"),
)
POLICY_CODES = (
    ("550", "5.7.1", "550 5.7.1 Message rejected as spam by content filtering"),
    ("554", "5.7.1", "554 5.7.1 Service unavailable; client host blocked"),
    ("550", "5.7.26", "550 5.7.26 Unauthenticated email is not accepted due to DMARC policy"),
)
BOUNCES = (*HARD, *SOFT_CODES, *POLICY_CODES)

# What a mail leads to, by number.
SEND, OPEN, REOPEN, CLICK, BOUNCE, LEAVE, JOIN = range(7)
MAIL_TYPES = ("EmailSend", "EmailOpen", "EmailOpen", "EmailClickthrough", "Bounceback", "Unsubscribe", "Subscribe")


def seed_activities(store: Store, seed: int, moment: str, size: Size) -> None:
    if not size.activities or not size.contacts:
        return
    sends = math.ceil(size.activities * SENT_SHARE)
    mailings = max(24, sends // 2000, math.ceil(sends / size.contacts))
    seed_mailings(store, seed, moment, size, mailings)
    seed_mail(store, seed, moment, size, sends, mailings)
    seed_visits(store, seed, moment, size, math.ceil(size.activities * VISIT_SHARE))
    store.execute("DROP TABLE staging.mailing")


def seed_mailings(store: Store, seed: int, moment: str, size: Size, count: int) -> None:
    """staging.mailing: m counts from 0, evenly over two years, in office hours; the last one left yesterday."""
    dice, gap = Dice(seed, "m"), (WINDOW - LAST_MAILING) // count
    day = f"date_trunc('day', {before(moment, f'{LAST_MAILING} + ({count - 1} - m) * {gap} + {gap // 4}')})"
    sent = f"{day} + to_seconds({7 * HOUR} + {dice.roll(80)} % {9 * HOUR})"
    topic, kind = dice.front(words.TOPICS, 81), dice.pick(words.MAILINGS, 82)
    campaign = CAMPAIGN_NUMBER.format(f"{dice.roll(83)} % {size.campaigns}")
    store.execute(f"""
        CREATE TABLE staging.mailing AS
        SELECT m, CASE WHEN m = {count - 1} THEN {before(moment, str(LAST_MAILING))} ELSE least({sent},
                       {before(moment, str(LAST_MAILING + HOUR))}) END AS sent,
               {topic} || ' ' || {kind} || ' ' || (m + 1) AS name, {topic} || ': ' || lower({kind}) AS subject,
               CAST(310 + m AS VARCHAR) AS asset, CAST(7100 + m AS VARCHAR) AS deployment,
               CASE WHEN m % 10 < 7 THEN 'Campaign' WHEN m % 10 < 9 THEN 'QuickSend' ELSE 'FormProcessingStep' END AS kind,
               CASE WHEN m % 10 < 7 THEN CAST(40 + m // 2 AS VARCHAR) END AS campaign,
               CASE WHEN m % 10 < 7 THEN {topic} || ' ' || (m // 2 + 1) END AS campaign_name,
               CASE WHEN m % 10 < 6 THEN {sf_id("701", campaign)} END AS crm_campaign,
               {dice.roll(84)} AS shift
        FROM {dice.over(f"SELECT i AS m FROM range({count}) r(i)")}
    """)


def seed_mail(store: Store, seed: int, moment: str, size: Size, sends: int, mailings: int) -> None:
    """What was sent, and what it led to. A mailing reaches nobody twice, nobody who bounced or left before, nobody unborn.

    Half of the people hardly ever open; the others less and less the longer they are known.
    """
    each = math.ceil(sends / mailings)
    step = next(p for p in (7919, 104_729, 15_485_863) if size.contacts % p)
    gap = (WINDOW - LAST_MAILING) // mailings
    last = f"greatest(-1, {mailings - 1} - floor((epoch({moment}) - epoch(ended) - {LAST_MAILING}) / {gap}))::BIGINT"
    mails = Dice(seed, "j")
    age = "(epoch(sent) - epoch(born)) / 21600000.0"  # in 250 days
    keenness = f"(CASE WHEN {mails.roll(90)} % 40 = 0 THEN 0.5 WHEN i * 7 % 20 < 10 THEN 0.03 WHEN i * 7 % 20 < 17 " + (
        "THEN 0.8 ELSE 1.6 END)"
    )
    opens = f"{mails.share(91)} < {keenness} / ((1 + {age}) * (1 + {age}))"
    led_to = f"""CASE WHEN end_ = 'joined' THEN [{JOIN}]
        WHEN end_ IN ('bounced', 'late') THEN [{SEND}, {BOUNCE}]
        WHEN end_ = 'left' THEN [{SEND}, {OPEN}, {LEAVE}]
        WHEN {mails.roll(92)} % {SOFT} = 0 OR {mails.roll(92)} % {POLICY} = 1 THEN [{SEND}, {BOUNCE}]
        WHEN NOT ({opens}) THEN [{SEND}]
        ELSE list_concat(list_concat([{SEND}, {OPEN}], CASE WHEN {mails.roll(93)} % 5 = 0 THEN [{REOPEN}] ELSE [] END),
                         CASE WHEN {mails.roll(93)} % 7 < 2 THEN [{CLICK}] ELSE [] END) END"""
    bounce = f"""CASE WHEN end_ IN ('bounced', 'late') THEN 1 + {mails.roll(94)} % {len(HARD)}
        WHEN {mails.roll(92)} % {SOFT} = 0 THEN {len(HARD) + 1} + {mails.roll(94)} % {len(SOFT_CODES)}
        ELSE {len(HARD) + len(SOFT_CODES) + 1} + {mails.roll(94)} % {len(POLICY_CODES)} END"""
    delay = f"""CASE what WHEN {SEND} THEN 0 WHEN {BOUNCE} THEN 60 + late % {20 * HOUR}
        WHEN {LEAVE} THEN 200 + late % {20 * HOUR} ELSE 40 + what * 30 + late % 1000 * (late % 80) END"""
    # Most bouncebacks show within the hour, some after days; a late one only after the company's first moment.
    visible = f"""CASE WHEN what <> {BOUNCE} THEN happened
        WHEN end_ = 'late' THEN {after(moment, f"{HOUR} + late % {3 * DAY}")}
        ELSE least({moment}, happened + to_seconds(CASE late % 4 WHEN 0 THEN late % {4 * DAY} ELSE late % {HOUR} END)) END"""
    # Materialized: otherwise DuckDB first joins every person with every later mailing.
    regular = f"""
        (WITH picked AS MATERIALIZED
            (SELECT j, m.m, m.sent, (m.shift + s.k * {step}) % {size.contacts} AS who
             FROM (SELECT i AS j, i // {each} AS m, i % {each} AS k FROM range({sends}) r(i)) s
             JOIN staging.mailing m ON m.m = s.m)
        SELECT j, m, sent, p.i, p.born, NULL AS end_
        FROM picked JOIN (SELECT i, born, {last} AS last, fate FROM staging.person) p ON p.i = who
        WHERE p.born < sent AND (p.fate IS NULL OR m < p.last))"""
    ends = f"""
        SELECT {sends} + p.i AS j, m.m, greatest(m.sent, p.born + INTERVAL 1 MINUTE) AS sent, p.i, p.born, p.fate AS end_
        FROM staging.person p JOIN staging.mailing m ON m.m = {last.replace("ended", "p.ended")}
        WHERE p.fate IS NOT NULL"""
    joined = f"""
        SELECT {FIRST_JOINER} + i, NULL, born, i, born, 'joined' FROM staging.person
        WHERE i % 12 = 2 AND born > {before(moment, f"{WINDOW} - {HOUR}")} AND born < {before(moment, str(DAY))}"""
    source = f"SELECT * FROM ({regular} UNION ALL {ends} UNION ALL {joined})"
    codes = [choices(row[at] for row in BOUNCES) + "[bounce]" for at in range(3)]
    mark = f"CASE WHEN bounce <= {len(HARD)} THEN 'h' WHEN bounce <= {len(HARD + SOFT_CODES)} THEN 's' ELSE 'p' END"
    link = "'https://www.example.com/' || replace(lower(m.subject), ' ', '-')"
    store.execute(f"""
        INSERT INTO eloqua.activity BY NAME
        SELECT ({FIRST_CAUSE} + j) * 16 + what AS Id, {choices(MAIL_TYPES)}[1 + what] AS Type, happened AS CreatedAt,
               {visible} AS VisibleAt, p.Id AS ContactId,
               CASE WHEN happened < p.moved AND p.former IS NOT NULL THEN p.former ELSE p.address END AS EmailAddress,
               CASE what WHEN {JOIN} THEN 'Form' ELSE 'Email' END AS AssetType,
               coalesce(m.name, 'Newsletter sign-up') AS AssetName, coalesce(m.asset, '61') AS AssetId,
               m.campaign AS CampaignId, m.campaign_name AS CampaignName, m.crm_campaign AS CRMCampaignId,
               'ELQ' || lpad(CAST(j AS VARCHAR), 12, '0') || CASE what WHEN {BOUNCE} THEN {mark} ELSE '' END AS ExternalId,
               CAST(700000 + j AS VARCHAR) AS EmailRecipientId,
               CASE WHEN what <= {BOUNCE} THEN m.deployment END AS DeploymentId,
               CASE WHEN what <= {CLICK} THEN m.kind END AS EmailSendType,
               CASE WHEN what <= {CLICK} THEN m.subject END AS SubjectLine,
               CASE WHEN what <= {CLICK} THEN {link} END AS EmailWebLink,
               CASE what WHEN {CLICK} THEN {link} || '?elqTrack=true' END AS EmailClickedThruLink,
               CASE WHEN what IN ({OPEN}, {REOPEN}, {CLICK}) THEN '192.0.2.' || (late % 254 + 1) END AS IpAddress,
               CASE WHEN what IN ({OPEN}, {REOPEN}, {CLICK}) THEN CAST(30000 + p.i AS VARCHAR) END AS VisitorId,
               CASE what WHEN {BOUNCE} THEN {codes[0]} END AS SmtpErrorCode,
               CASE what WHEN {BOUNCE} THEN {codes[1]} END AS SmtpStatusCode,
               CASE what WHEN {BOUNCE} THEN {codes[2]} END AS SmtpMessage
        FROM (SELECT *, sent + to_seconds(CAST({delay} AS BIGINT)) AS happened
              FROM (SELECT j, m, sent, i, end_, {mails.roll(95)} AS late, {bounce} AS bounce, unnest({led_to}) AS what
                    FROM {mails.over(source)})) x
        JOIN staging.person p ON p.i = x.i LEFT JOIN staging.mailing m ON m.m = x.m
        WHERE happened <= {moment} ORDER BY Id
    """)


def seed_visits(store: Store, seed: int, moment: str, size: Size, visits: int) -> None:
    """Visits of the web site with their pages, sometimes a form; now and then something that another system reported.

    Most in a contact's first months.
    """
    dice = Dice(seed, "v")
    skew = dice.skewed(60)
    # Who visits: the keen ones more often; the contact's number is not that of the mailings' classes.
    who = f"floor({size.contacts} * {skew})::BIGINT * 7 % {size.contacts}"
    pages = f"{dice.roll(61)} % 4"
    what = f"""CASE WHEN {dice.roll(62)} % 14 = 0 THEN [6]
                    WHEN {dice.roll(62)} % 14 < 5 THEN list_concat(range(0, {pages} + 2), [5])
                    ELSE range(0, {pages} + 2) END"""
    page = f"'https://www.example.com' || {choices(words.PAGES)}[1 + (luck + what) % {len(words.PAGES)}]"
    first = page.replace("(luck + what)", "(luck + 1)")
    start = f"greatest(born, {before(moment, str(WINDOW))})"
    form = f"CAST(60 + luck % {len(words.FORMS)} AS VARCHAR)"
    source = f"SELECT i AS v FROM range({visits}) r(i)"
    store.execute(f"""
        INSERT INTO eloqua.activity BY NAME
        SELECT ({FIRST_VISIT} + v) * 16 + what AS Id,
               CASE what WHEN 0 THEN 'WebVisit' WHEN 5 THEN 'FormSubmit' WHEN 6 THEN 'External' ELSE 'PageView' END AS Type,
               happened AS CreatedAt, happened AS VisibleAt, ContactId,
               'ELQ' || lpad(CAST({FIRST_VISIT} + v AS VARCHAR), 12, '0') AS ExternalId,
               CASE what WHEN 5 THEN 'Form' WHEN 6 THEN {choices(words.EXTERNAL_ASSETS)}[1 + luck % 3] END AS AssetType,
               CASE what WHEN 5 THEN {choices(words.FORMS)}[1 + luck % {len(words.FORMS)}]
                         WHEN 6 THEN 'Booth ' || (luck % 40 + 1) END AS AssetName,
               CASE what WHEN 5 THEN {form} WHEN 6 THEN CAST(900 + luck % 40 AS VARCHAR) END AS AssetId,
               CASE what WHEN 5 THEN 'elqFormName=form' || {form} || '&emailAddress='
                    || replace(replace(address, '+', '%2B'), '@', '%40') || '&comments='
                    || {choices(words.COMMENTS)}[1 + luck % {len(words.COMMENTS)}] END AS RawData,
               CASE WHEN what < 6 THEN CAST(30000 + i AS VARCHAR) END AS VisitorId,
               CASE WHEN what < 5 THEN '192.0.2.' || (luck % 254 + 1) END AS IpAddress,
               CASE WHEN what BETWEEN 1 AND 4 THEN {page} END AS Url,
               CASE WHEN what BETWEEN 1 AND 4 THEN CAST(500000 + v AS VARCHAR) END AS WebVisitId,
               CASE WHEN what BETWEEN 1 AND 4 THEN 'True' END AS IsWebTrackingOptedIn,
               CASE WHEN what < 5 THEN {choices(words.REFERRERS)}[1 + luck % {len(words.REFERRERS)}] END AS ReferrerUrl,
               CASE what WHEN 0 THEN CAST(pages + 1 AS VARCHAR) END AS NumberOfPages,
               CASE what WHEN 0 THEN {first} END AS FirstPageViewUrl,
               CASE what WHEN 0 THEN CAST((pages + 1) * 20 + luck % 300 AS VARCHAR) END AS Duration,
               CASE WHEN what < 5 THEN strftime(happened, '%Y-%m-%d %H:%M:%S') END AS LinkedToContactDate,
               CASE what WHEN 0 THEN CAST(({FIRST_VISIT} + v) * 16 AS VARCHAR) END AS WebVisitSavedId,
               CASE WHEN what BETWEEN 1 AND 4 THEN CAST(({FIRST_VISIT} + v) * 16 + what AS VARCHAR) END AS PageViewSavedId
        FROM (SELECT x.*, p.i, p.Id AS ContactId, p.address,
                     {start} + to_seconds(CAST((epoch({moment}) - epoch({start})) * skew AS BIGINT) + what * 40) AS happened
              FROM (SELECT v, {who} AS who, {dice.share(63)} * {dice.share(63)} AS skew,
                           {dice.roll(64)} AS luck, {pages} AS pages, unnest({what}) AS what FROM {dice.over(source)}) x
              JOIN staging.person p ON p.i = x.who)
        WHERE happened <= {moment} ORDER BY Id
    """)
