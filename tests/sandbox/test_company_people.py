"""The people of the made-up company: what they did in two years, and what both systems think of them."""

import subprocess
import sys
from collections import Counter, defaultdict
from datetime import timedelta

import pytest

from scc.sandbox import Sandbox
from scc.sandbox.eloqua.activities import TYPES
from tests.sandbox.conftest import NOW

TABLES = "SELECT schema_name || '.\"' || table_name || '\"' FROM duckdb_tables() WHERE NOT temporary ORDER BY 1"


@pytest.fixture(scope="module")
def company():
    with Sandbox(contacts=3000, seed=1, now=NOW) as running:
        yield running


@pytest.fixture(scope="module")
def activities(company):
    return company.store.dicts("SELECT * FROM eloqua.activity ORDER BY Id")


def fingerprints(sandbox):
    digest = "SELECT md5(string_agg(md5(t::VARCHAR), '' ORDER BY t::VARCHAR)) FROM "
    return {name: sandbox.store.value(digest + name + " t") for (name,) in sandbox.store.rows(TABLES)}


def test_another_process_makes_the_same_company_to_the_last_byte():
    script = (
        "from scc.sandbox import Sandbox; from tests.sandbox.test_company_people import fingerprints\n"
        f"print(fingerprints(Sandbox(contacts=300, seed=5, now={NOW!r})))"
    )
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    here = fingerprints(Sandbox(contacts=300, seed=5, now=NOW))

    assert str(here) == there.strip()
    assert len(here) > 25 and here != fingerprints(Sandbox(contacts=300, seed=6, now=NOW))


def rows_in_order(sandbox):
    digest = "SELECT md5(string_agg(md5(t::VARCHAR), '' ORDER BY rowid)) FROM "
    return {name: sandbox.store.value(digest + name + " t") for (name,) in sandbox.store.rows(TABLES)}


def test_threads_change_nothing_not_even_the_order_of_rows(monkeypatch):
    monkeypatch.setattr("scc.sandbox.store.THREADS", 4)
    on_one = rows_in_order(Sandbox(contacts=5000, seed=77, now=NOW))
    monkeypatch.setattr("scc.sandbox.seed.SMALL", 0)  # as a company of more than 20,000 contacts is made

    assert rows_in_order(Sandbox(contacts=5000, seed=77, now=NOW)) == on_one


def test_there_are_about_three_activities_a_contact_of_all_types_and_their_ids_are_unique(activities):
    assert 2.4 * 3000 < len(activities) < 3.6 * 3000
    assert {row["Type"] for row in activities} == set(TYPES)
    assert len({row["Id"] for row in activities}) == len(activities)


def test_the_number_of_activities_can_be_chosen():
    def count(number):
        sandbox = Sandbox(contacts=100, now=NOW, activities=number)
        return sandbox.store.value("SELECT count(*) FROM eloqua.activity")

    assert count(0) == 0 and 1600 < count(2000) < 2400


def test_activities_lie_in_two_years_and_after_the_contact_was_born(company, activities):
    born = {row["Id"]: row["CreatedAt"].replace(tzinfo=None) for row in company.eloqua.records("Contact")}
    now = company.clock.naive

    assert all(now - timedelta(days=731) < row["CreatedAt"] <= now for row in activities)
    assert all(row["CreatedAt"] >= born[row["ContactId"]] for row in activities)


def test_nothing_is_opened_clicked_or_bounced_before_it_was_sent(activities):
    sent = {row["EmailRecipientId"]: row for row in activities if row["Type"] == "EmailSend"}
    opened = {row["EmailRecipientId"] for row in activities if row["Type"] == "EmailOpen"}
    answers = [r for r in activities if r["Type"] in ("EmailOpen", "EmailClickthrough", "Bounceback", "Unsubscribe")]

    assert len(answers) > 500
    for row in answers:
        mail = sent[row["EmailRecipientId"]]
        assert row["CreatedAt"] > mail["CreatedAt"] and row["ContactId"] == mail["ContactId"]
        assert row["VisibleAt"] >= row["CreatedAt"]
        if row["Type"] == "EmailClickthrough":
            assert row["EmailRecipientId"] in opened


def test_the_longer_a_contact_is_known_the_less_is_opened(company, activities):
    born = {row["Id"]: row["CreatedAt"].replace(tzinfo=None) for row in company.eloqua.records("Contact")}
    sent, opened = Counter(), Counter()
    for row in activities:
        years = (row["CreatedAt"] - born[row["ContactId"]]).days // 365
        if row["Type"] in ("EmailSend", "EmailOpen"):
            (sent if row["Type"] == "EmailSend" else opened)[years] += 1
    rates = [opened[age] / sent[age] for age in range(3)]

    assert rates[0] > 1.5 * rates[1] and rates[1] > 1.1 * rates[2] > 0


def test_nobody_gets_a_mailing_twice(activities):
    mails = Counter((r["ContactId"], r["DeploymentId"]) for r in activities if r["Type"] == "EmailSend")

    assert set(mails.values()) == {1}


def test_bouncebacks_have_the_codes_that_mail_servers_send(activities):
    codes = Counter((r["SmtpErrorCode"], r["SmtpStatusCode"]) for r in activities if r["Type"] == "Bounceback")
    statuses = {status for _, status in codes}

    assert {"5.1.1", "5.4.1", "4.2.2", "5.7.1", ""} <= statuses
    assert codes["", ""] and codes["550", ""] and codes["", "5.1.1"]  # missing
    assert codes["450", "5.1.1"] and codes["550", "4.2.2"]  # contradictory


def test_whoever_bounced_or_left_gets_no_mail_any_more(company, activities):
    ended = {}
    for row in activities:
        if row["Type"] == "Unsubscribe" or (row["Type"] == "Bounceback" and row["ExternalId"].endswith("h")):
            ended[row["ContactId"]] = row["CreatedAt"]
    later = [
        r for r in activities if r["Type"] == "EmailSend" and r["CreatedAt"] > ended.get(r["ContactId"], r["VisibleAt"])
    ]

    assert len(ended) > 100 and later == []


def test_the_state_of_addresses_agrees_with_the_activities(company, activities):
    state = {row["address"]: row for row in company.store.dicts("SELECT * FROM eloqua.address")}
    address = {row["Id"]: row["C_EmailAddress"].lower() for row in company.eloqua.records("Contact")}
    now, late = company.clock.naive, 0
    for row in activities:
        known = state.get(address[row["ContactId"]])
        if row["Type"] == "Unsubscribe":
            assert not known["subscribed"] and known["unsubscription_date"] == row["CreatedAt"]
        if row["Type"] == "Bounceback" and row["ExternalId"].endswith("h"):
            if row["VisibleAt"] > now:
                late += 1
                assert known is None
            else:
                assert known["bounced"] and known["bounceback_date"] == row["VisibleAt"]
    flags = company.store.rows("""SELECT count(*) FROM eloqua.contact c LEFT JOIN eloqua.address a
        ON a.address = lower(c.C_EmailAddress) WHERE (c.IsSubscribed = 'True') <> coalesce(a.subscribed, true)
        OR (c.IsBounced = 'True') <> coalesce(a.bounced, false)""")

    assert late >= 2 and flags == [(0,)]


def test_eloqua_remembers_addresses_of_which_no_contact_is_left(company):
    assert (
        company.store.value("""SELECT count(*) FROM eloqua.address
        WHERE address NOT IN (SELECT lower(C_EmailAddress) FROM eloqua.contact)""")
        > 50
    )


def test_most_people_of_the_crm_are_known_to_eloqua_and_some_are_not(company):
    eloqua = {row["C_EmailAddress"].lower() for row in company.eloqua.records("Contact")}
    leads = [row["Email"] for row in company.salesforce.rows("Lead")]
    contacts = [row["Email"] for row in company.salesforce.rows("Contact")]
    strangers = [a for a in leads + contacts if a not in eloqua]

    assert set(leads) & set(contacts)
    assert 0.01 < len(strangers) / len(leads + contacts) < 0.1
    assert None in leads and max(Counter(a for a in leads if a).values()) > 1


@pytest.mark.parametrize(("name", "link"), [("Contact", "C_SFDCContactID"), ("Lead", "C_SFDCLeadID")])
def test_where_an_address_changed_salesforce_has_the_old_one(company, name, link):
    new = {row[link]: row["C_EmailAddress"].lower() for row in company.eloqua.records("Contact")}
    known = [r for r in company.salesforce.rows(name) if r["Id"] in new and r["Email"] and "prospect" not in r["Email"]]
    moved = [r for r in known if r["Email"] != new[r["Id"]]]

    assert moved and all(row["Email"].endswith("@post.example.org") for row in moved)
    assert len(moved) < len(known) / 10


def test_a_converted_lead_leads_to_the_contact_of_the_same_person(company):
    contacts = {row["Id"]: row for row in company.salesforce.rows("Contact")}
    converted = [row for row in company.salesforce.rows("Lead") if row["IsConverted"]]

    assert len(converted) > 10
    for lead in converted:
        assert lead["Status"] == "Closed - Converted" and lead["ConvertedDate"] is not None
        assert contacts[lead["ConvertedContactId"]]["LastName"] == lead["LastName"]


def test_the_crm_knows_some_bounces_and_opt_outs(company):
    for name in ("Lead", "Contact"):
        rows = company.salesforce.rows(name)
        assert any(r["HasOptedOutOfEmail"] for r in rows) and not all(r["HasOptedOutOfEmail"] for r in rows)
        bounced = [r for r in rows if r["EmailBouncedDate"]]
        assert bounced and all(r["EmailBouncedReason"] for r in bounced)
    assert all(r["IsEmailBounced"] == bool(r["EmailBouncedDate"]) for r in company.salesforce.rows("Contact"))


def test_nobody_is_a_member_of_a_campaign_twice_and_all_statuses_are_those_of_the_campaign(company):
    members = company.salesforce.rows("CampaignMember")
    allowed = defaultdict(set)
    for row in company.salesforce.rows("CampaignMemberStatus"):
        allowed[row["CampaignId"]].add(row["Label"])

    assert set(Counter((r["CampaignId"], r["LeadOrContactId"]) for r in members).values()) == {1}
    assert all(row["Status"] in allowed[row["CampaignId"]] for row in members)
    assert len({row["Status"] for row in members}) == 5
    assert all(row["CompanyOrAccount"] and row["Name"] for row in members)


def test_the_counts_of_a_campaign_are_those_of_its_members(company):
    members = Counter(r["CampaignId"] for r in company.salesforce.rows("CampaignMember"))

    assert {c["Id"]: c["NumberOfLeads"] + c["NumberOfContacts"] for c in company.salesforce.rows("Campaign")} == {
        c["Id"]: members[c["Id"]] for c in company.salesforce.rows("Campaign")
    }


def test_some_people_stand_there_twice_with_two_addresses(company):
    rows = company.eloqua.records("Contact")
    twice = [r for r in rows if "+news@" in r["C_EmailAddress"].lower()]

    assert 20 < len(twice) < 200
    assert len({r["C_EmailAddress"].lower() for r in rows}) == len(rows)


def test_contacts_belong_to_accounts_and_lists(company):
    rows = company.store.rows
    assert rows("SELECT count(*) FROM eloqua.account") == [(150,)]
    assert rows("""SELECT count(*) FROM eloqua.contact c LEFT JOIN eloqua.account a ON a.Id = c.AccountId
                   WHERE c.AccountId IS NOT NULL AND a.Id IS NULL""") == [(0,)]
    sizes = [n for (n,) in rows("SELECT count(*) FROM eloqua.list_member GROUP BY list_id")]
    assert len(sizes) == 12 and max(sizes) > 3 * min(sizes) > 0
    assert rows("SELECT count(*) - count(DISTINCT (list_id, contact_id)) FROM eloqua.list_member") == [(0,)]
    assert rows("SELECT count(*) > 0 FROM eloqua.group_subscription WHERE NOT subscribed") == [(True,)]


def test_records_that_wait_for_a_missing_campaign_share_few_ids():
    sandbox = Sandbox(contacts=2000, waiting=4000, now=NOW)
    known = {row["Id"] for row in sandbox.salesforce.rows("Campaign")}
    ids = Counter(
        row["Salesforce_Campaign_ID1"]
        for name in ("Event Registration", "Content Download")
        for row in sandbox.eloqua.records(name)
        if len(row["Salesforce_Campaign_ID1"]) == 18 and row["Salesforce_Campaign_ID1"] not in known
    )

    assert len(ids) == 20 and sum(ids.values()) == 80
