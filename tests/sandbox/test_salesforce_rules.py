"""What Salesforce insists on by itself: leads, members, bounces, assignment, duplicates, locks (salesforce.md 2.3, 2.5, 8)."""

import pytest

from scc.sandbox import Sandbox
from tests.sandbox.conftest import NOW
from tests.sandbox.test_salesforce_records import LEAD, Api


@pytest.fixture(scope="module")
def org():
    with Sandbox(contacts=40, seed=1, now=NOW) as running:
        yield running


@pytest.fixture(scope="module")
def api(org):
    return Api(org)


@pytest.fixture
def campaign(org):
    return org.salesforce.add("Campaign", {"Name": "Spring"})


def member(api, campaign, **person):
    return api.create("CampaignMember", {"CampaignId": campaign, **person})


# -- leads ------------------------------------------------------------------------------------------------------------


def test_a_converted_lead_is_read_but_not_written_and_its_membership_shows_the_contact(org, api, campaign):
    lead = api.create("Lead", {**LEAD, "Email": "convert@example.com"})
    joined = member(api, campaign, LeadId=lead)
    contact = org.salesforce.convert_lead(lead)

    held = api.held(lead)
    assert (held["IsConverted"], held["ConvertedContactId"], held["Status"]) == (True, contact, "Closed - Converted")
    assert api.held(contact, "Contact")["Email"] == "convert@example.com"
    assert (api.held(joined, "CampaignMember")["LeadId"], api.held(joined, "CampaignMember")["ContactId"]) == (
        lead,
        contact,
    )
    refused = (400, "CANNOT_UPDATE_CONVERTED_LEAD")
    assert api.refused("PATCH", f"/sobjects/Lead/{lead}", {"Company": "Zorg"}) == refused
    assert api.refused("POST", "/sobjects/CampaignMember", {"CampaignId": campaign, "LeadId": lead}) == refused
    again = {"CampaignId": campaign, "ContactId": contact}
    assert api.refused("POST", "/sobjects/CampaignMember", again) == (400, "DUPLICATE_VALUE")
    org.salesforce.limits.edit_converted_leads = True
    assert api.call("PATCH", f"/sobjects/Lead/{lead}", {"Company": "Zorg"}).status_code == 204
    org.salesforce.limits.edit_converted_leads = False


def test_the_loser_of_a_merge_names_its_master_and_gives_its_memberships(org, api, campaign):
    master, loser = (org.salesforce.add("Contact", {"LastName": n, "Email": f"{n}@example.com"}) for n in ("m", "l"))
    other = org.salesforce.add("Campaign", {"Name": "Other"})
    moved = member(api, campaign, ContactId=loser)
    both = [member(api, other, ContactId=i) for i in (master, loser)]

    org.salesforce.merge("Contact", master, loser)

    soql = f"SELECT IsDeleted, MasterRecordId FROM Contact WHERE Id = '{loser}'"  # noqa: S608
    found = api.http.get(api.base + "/queryAll", params={"q": soql}).json()["records"][0]
    assert (found["IsDeleted"], found["MasterRecordId"]) == (True, master)
    row = api.held(moved, "CampaignMember")
    assert (row["ContactId"], row["Email"]) == (master, "m@example.com")
    assert [api.held(i, "CampaignMember") is None for i in both] == [False, True]


def test_a_lead_is_assigned_on_create_and_update_unless_the_header_says_no(org, api):
    free = api.create("Lead", LEAD, Sforce_Auto_Assign="FALSE")
    caught = api.create("Lead", LEAD)
    integration, desk = api.held(free)["OwnerId"], api.held(caught)["OwnerId"]
    assert integration != desk

    api.call("PATCH", f"/sobjects/Lead/{free}", {"Company": "A"}, Sforce_Auto_Assign="false")
    assert api.held(free)["OwnerId"] == integration
    api.call("PATCH", f"/sobjects/Lead/{free}", {"Company": "B", "OwnerId": integration})
    assert api.held(free)["OwnerId"] == desk
    assert api.records(f"SELECT Owner.Name FROM Lead WHERE Id = '{free}'") == [{"Owner": {"Name": "Sales Desk"}}]  # noqa: S608
    org.salesforce.set_assignment_rule(False)
    assert api.held(api.create("Lead", LEAD))["OwnerId"] == integration
    org.salesforce.set_assignment_rule(True)


# -- bounces ----------------------------------------------------------------------------------------------------------


def test_bounce_fields_are_set_by_update_and_cleared_when_the_address_changes(api):
    bounce = {"EmailBouncedReason": "5.1.1", "EmailBouncedDate": "2026-11-20T10:00:00.000+0000"}
    for name in ("Lead", "Contact"):
        made = api.create(name, {**(LEAD if name == "Lead" else {"LastName": "x"}), "Email": "old@example.com"})
        assert api.call("PATCH", f"/sobjects/{name}/{made}", bounce).status_code == 204
        assert api.held(made, name)["EmailBouncedReason"] == "5.1.1"
        api.call("PATCH", f"/sobjects/{name}/{made}", {"Email": "old@example.com", "Title": "t"})
        assert api.held(made, name)["EmailBouncedReason"] == "5.1.1"
        assert api.held(made, name).get("IsEmailBounced") == (True if name == "Contact" else None)
        api.call("PATCH", f"/sobjects/{name}/{made}", {"Email": "new@example.com"})
        held = api.held(made, name)
        assert (held["EmailBouncedReason"], held["EmailBouncedDate"]) == (None, None)
        assert held.get("IsEmailBounced") == (False if name == "Contact" else None)


# -- members ----------------------------------------------------------------------------------------------------------


def test_a_person_is_a_member_of_a_campaign_once_also_within_one_call(org, api, campaign):
    lead, contact = org.salesforce.add("Lead", LEAD), org.salesforce.add("Contact", {"LastName": "x"})
    member(api, campaign, LeadId=lead)
    rows = [{"CampaignId": campaign, "LeadId": lead}, *[{"CampaignId": campaign, "ContactId": contact}] * 2]

    verdicts = api.collection("POST", rows, "CampaignMember")

    assert [v["success"] for v in verdicts] == [False, True, False]
    for verdict in (verdicts[0], verdicts[2]):
        (error,) = verdict["errors"]
        assert (error["statusCode"], error["message"]) == ("DUPLICATE_VALUE", "Already a campaign member.")
    held = api.held(campaign, "Campaign")
    assert (held["NumberOfLeads"], held["NumberOfContacts"]) == (1, 1)


def test_a_member_has_one_person_a_known_status_and_copies_that_follow(org, api, campaign):
    account = org.salesforce.add("Account", {"Name": "Zorg"})
    contact = org.salesforce.add("Contact", {"LastName": "Old", "Email": "old@example.com", "AccountId": account})
    lead = org.salesforce.add("Lead", LEAD)
    path, both = "/sobjects/CampaignMember", {"CampaignId": campaign, "LeadId": lead, "ContactId": contact}
    assert api.refused("POST", path, {"CampaignId": campaign}) == (400, "REQUIRED_FIELD_MISSING")
    assert api.refused("POST", path, {"ContactId": contact}) == (400, "REQUIRED_FIELD_MISSING")
    bad = {**both, "Status": "Nope"}
    assert api.refused("POST", path, bad) == (400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST")
    assert api.refused("POST", path, {**both, "Email": "x@example.com"}) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")

    made = api.create("CampaignMember", both)
    held = api.held(made, "CampaignMember")
    assert (held["LeadId"], held["ContactId"], held["Type"], held["Status"], held["HasResponded"]) == (
        None,
        contact,
        "Contact",
        "Sent",
        False,
    )
    api.call("PATCH", f"/sobjects/Contact/{contact}", {"LastName": "New", "Email": "new@example.com"})
    api.call("PATCH", f"/sobjects/Account/{account}", {"Name": "Hooli"})
    api.call("PATCH", f"{path}/{made}", {"Status": "responded"})
    held = api.held(made, "CampaignMember")
    assert (held["Name"], held["Email"], held["CompanyOrAccount"]) == ("New", "new@example.com", "Hooli")
    assert (held["Status"], held["HasResponded"], held["FirstRespondedDate"]) == (
        "Responded",
        True,
        org.clock.now.date(),
    )
    assert api.held(campaign, "Campaign")["NumberOfResponses"] == 1
    moved = {"ContactId": org.salesforce.add("Contact", {"LastName": "x"})}
    assert api.refused("PATCH", f"{path}/{made}", moved) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")


def test_a_campaign_may_have_statuses_of_its_own(org, api, campaign):
    api.create("CampaignMemberStatus", {"CampaignId": campaign, "Label": "Attended", "HasResponded": True})
    lead = org.salesforce.add("Lead", LEAD)

    made = member(api, campaign, LeadId=lead, Status="Attended")

    assert api.held(made, "CampaignMember")["HasResponded"] is True


def test_members_go_with_their_person_or_campaign(org, api, campaign):
    lead, other = org.salesforce.add("Lead", LEAD), org.salesforce.add("Lead", LEAD)
    first, second = member(api, campaign, LeadId=lead), member(api, campaign, LeadId=other)

    api.call("DELETE", f"/sobjects/Lead/{lead}")
    assert api.held(first, "CampaignMember") is None and api.held(campaign, "Campaign")["NumberOfLeads"] == 1
    api.call("DELETE", f"/sobjects/Campaign/{campaign}")
    assert api.held(second, "CampaignMember") is None


# -- duplicates and locks ---------------------------------------------------------------------------------------------


def test_a_duplicate_rule_refuses_an_address_that_another_record_has(org, api):
    twin = api.create("Lead", {**LEAD, "Email": "twin@example.com"})
    body, allow = {**LEAD, "Email": "TWIN@example.com"}, {"Sforce_Duplicate_Rule_Header": "allowSave=true"}
    org.salesforce.set_duplicate_rule("Lead", "block")
    answer = api.call("POST", "/sobjects/Lead", body, **allow)
    org.salesforce.set_duplicate_rule("Lead", "alert")
    alert, saved = api.call("POST", "/sobjects/Lead", body), api.call("POST", "/sobjects/Lead", body, **allow)
    org.salesforce.set_duplicate_rule("Lead", None)

    assert [a.status_code for a in (answer, alert, saved)] == [400, 400, 201]
    assert answer.json()[0]["errorCode"] == "DUPLICATES_DETECTED"
    (match,) = answer.json()[0]["duplicateResult"]["matchResults"]
    assert match["matchRecords"][0]["record"]["Id"] == twin


def test_a_locked_row_is_refused_as_often_as_told_also_as_a_parent(org, api, campaign):
    lead = org.salesforce.add("Lead", LEAD)
    org.salesforce.lock_row(lead, times=2)
    org.salesforce.lock_row(campaign)

    rows = [{"id": lead, "Company": "A"}, {"id": org.salesforce.add("Lead", LEAD), "Company": "A"}]
    assert [v["success"] for v in api.collection("PATCH", rows)] == [False, True]
    joining = {"CampaignId": campaign, "LeadId": lead}
    for _ in range(2):  # first the campaign, then the lead
        assert api.refused("POST", "/sobjects/CampaignMember", joining) == (400, "UNABLE_TO_LOCK_ROW")
    assert api.call("POST", "/sobjects/CampaignMember", joining).status_code == 201
    assert api.call("PATCH", f"/sobjects/Lead/{lead}", {"Company": "A"}).status_code == 204


def test_an_opportunity_is_closed_and_won_by_its_stage(api):
    deal = {"Name": "x", "StageName": "Closed Won", "CloseDate": "2026-12-01"}
    made = api.create("Opportunity", deal)

    assert (api.held(made, "Opportunity")["IsClosed"], api.held(made, "Opportunity")["IsWon"]) == (True, True)
    assert api.refused("POST", "/sobjects/Opportunity", {"Name": "x"}) == (400, "REQUIRED_FIELD_MISSING")
