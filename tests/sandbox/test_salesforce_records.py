"""Writing over REST: CRUD, upsert, field rules, collections, composite (salesforce.md 2.1, 2.3, 2.5)."""

import pytest

from scc.sandbox import Sandbox
from tests.sandbox.conftest import NOW, SalesforceCaller

LEAD = {"LastName": "Okafor", "Company": "Hooli"}
MISSING = "00Q5j00000ZZZZZ"


@pytest.fixture(scope="module")
def org():
    with Sandbox(contacts=40, seed=1, now=NOW) as running:
        running.salesforce.add_field("Lead", "SCC_Key__c", external_id=True, unique=True)
        running.salesforce.add_field("Lead", "SCC_Group__c", external_id=True)
        running.salesforce.add_field("Lead", "SCC_Score__c", "double")
        running.salesforce.add_field("Lead", "SCC_Grade__c", "picklist", picklist=("A", "B"))
        yield running


@pytest.fixture(scope="module")
def api(org):
    return Api(org)


class Api(SalesforceCaller):
    def call(self, method, path, body=None, version="59.0", **headers):
        url = f"{self.sandbox.url}/services/data/v{version}{path}"
        return self.http.request(method, url, json=body, headers={n.replace("_", "-"): v for n, v in headers.items()})

    def create(self, name, values, **headers):
        answer = self.call("POST", f"/sobjects/{name}", values, **headers)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def refused(self, method, path, body=None, **headers):
        answer = self.call(method, path, body, **headers)
        return answer.status_code, answer.json()[0]["errorCode"]

    def collection(self, method, records, name="Lead", **body):
        sent = [{"attributes": {"type": name}, **r} for r in records]
        answer = self.call(method, "/composite/sobjects", {"records": sent, **body})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def held(self, record_id, name="Lead"):
        """The record as the org holds it, None when it is deleted."""
        return next((r for r in self.sandbox.salesforce.rows(name) if r["Id"] == record_id), None)


# -- one record -------------------------------------------------------------------------------------------------------


def test_a_created_record_is_held_and_its_location_names_it(org, api):
    answer = api.call("POST", "/sobjects/Lead/", {**LEAD, "FirstName": " Ngozi ", "NumberOfEmployees": 7})
    body = answer.json()

    assert (answer.status_code, set(body), body["success"], body["errors"]) == (
        201,
        {"id", "success", "errors"},
        True,
        [],
    )
    assert answer.headers["Location"] == f"/services/data/v59.0/sobjects/Lead/{body['id']}"
    held = api.held(body["id"])
    assert (held["Name"], held["Status"], held["NumberOfEmployees"], held["CreatedDate"]) == (
        "Ngozi Okafor",
        "Open - Not Contacted",
        7,
        org.clock.now,
    )


def test_update_and_delete_answer_204_without_a_body(api):
    made = api.create("Lead", LEAD)

    answer = api.call("PATCH", f"/sobjects/Lead/{made[:15]}", {"Company": "Zorg", "Title": None})
    assert (answer.status_code, answer.content, api.held(made)["Company"]) == (204, b"", "Zorg")
    answer = api.call("DELETE", f"/sobjects/Lead/{made}")
    assert (answer.status_code, answer.content, api.held(made)) == (204, b"", None)


def test_a_record_is_read_whole_or_by_fields(api):
    made = api.create("Lead", LEAD)

    assert api.call("GET", f"/sobjects/Lead/{made}").json()["Company"] == "Hooli"
    assert set(api.call("GET", f"/sobjects/Lead/{made}?fields=Name,Owner.Name").json()) == {
        "attributes",
        "Name",
        "Owner",
    }
    assert api.refused("GET", f"/sobjects/Lead/{made}?fields=Nope") == (400, "INVALID_FIELD")


def test_what_is_not_there_is_a_404(api):
    gone = api.create("Lead", LEAD)
    api.call("DELETE", f"/sobjects/Lead/{gone}")

    for method, body in (("GET", None), ("PATCH", {"Company": "x"}), ("DELETE", None)):
        assert api.refused(method, f"/sobjects/Lead/{gone}", body) == (404, "ENTITY_IS_DELETED")
        assert api.refused(method, f"/sobjects/Lead/{MISSING}", body) == (404, "NOT_FOUND")
        assert api.refused(method, "/sobjects/Lead/nonsense", body) == (404, "NOT_FOUND")
        assert api.refused(method, f"/sobjects/Nope/{gone}", body) == (404, "NOT_FOUND")


def test_every_change_is_in_the_log_with_its_request(org, api):
    before = len(org.mutations)
    made = api.create("Lead", LEAD)
    api.call("PATCH", f"/sobjects/Lead/{made}", {"Company": "Zorg"})
    api.call("PATCH", f"/sobjects/Lead/{made}", {"Company": "Zorg"})
    api.call("DELETE", f"/sobjects/Lead/{made}")

    created, updated, deleted = org.mutations[before:]
    assert (created["kind"], created["request"]) == ("create", "POST /services/data/v59.0/sobjects/Lead")
    assert created["changed"]["Company"] == {"old": None, "new": "Hooli"}
    assert updated["changed"]["Company"] == {"old": "Hooli", "new": "Zorg"} and updated["id"] == made
    assert deleted["kind"] == "delete"


def test_post_with_the_method_in_the_query_stands_for_patch(api):
    made = api.create("Lead", LEAD)

    assert api.call("POST", f"/sobjects/Lead/{made}?_HttpMethod=PATCH", {"Company": "Zorg"}).status_code == 204
    assert api.held(made)["Company"] == "Zorg"


# -- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "code", "fields"),
    [
        ({"Company": None}, "REQUIRED_FIELD_MISSING", ["Company"]),
        ({"LastName": "  "}, "REQUIRED_FIELD_MISSING", ["LastName"]),
        ({"LastName": "x" * 81}, "STRING_TOO_LONG", ["LastName"]),
        ({"Email": "no address"}, "INVALID_EMAIL_ADDRESS", ["Email"]),
        ({"Email": "a@b@example.com"}, "INVALID_EMAIL_ADDRESS", ["Email"]),
        ({"Status": "Nope"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", ["Status"]),
        ({"SCC_Grade__c": "C"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", ["SCC_Grade__c"]),
        ({"IsConverted": True}, "INVALID_FIELD_FOR_INSERT_UPDATE", ["IsConverted"]),
        ({"Name": "x"}, "INVALID_FIELD_FOR_INSERT_UPDATE", ["Name"]),
        ({"EmailBouncedReason": "x"}, "INVALID_FIELD_FOR_INSERT_UPDATE", ["EmailBouncedReason"]),
        ({"Id": MISSING}, "INVALID_FIELD_FOR_INSERT_UPDATE", ["Id"]),
        ({"Nope": 1}, "INVALID_FIELD", []),
        ({"IsEmailBounced": True}, "INVALID_FIELD", []),
        ({"OwnerId": "nonsense"}, "MALFORMED_ID", ["OwnerId"]),
        ({"OwnerId": "0055j0000000999"}, "INVALID_CROSS_REFERENCE_KEY", ["OwnerId"]),
        ({"OwnerId": MISSING}, "FIELD_INTEGRITY_EXCEPTION", ["OwnerId"]),
        ({"NumberOfEmployees": "many"}, "JSON_PARSER_ERROR", ["NumberOfEmployees"]),
        ({"NumberOfEmployees": 2**31}, "NUMBER_OUTSIDE_VALID_RANGE", ["NumberOfEmployees"]),
        ({"HasOptedOutOfEmail": "perhaps"}, "JSON_PARSER_ERROR", ["HasOptedOutOfEmail"]),
        ({"Title": ["x"]}, "JSON_PARSER_ERROR", ["Title"]),
    ],
)
def test_a_record_that_breaks_a_rule_is_refused_and_not_held(org, api, values, code, fields):
    before = len(org.salesforce.rows("Lead"))

    answer = api.call("POST", "/sobjects/Lead", {**LEAD, **values})

    assert (answer.status_code, answer.json()[0]["errorCode"], answer.json()[0]["fields"]) == (400, code, fields)
    assert len(org.salesforce.rows("Lead")) == before


def test_field_names_are_found_in_any_case_and_picklists_take_their_spelling(api):
    made = api.create("Lead", {"lastname": "x", "COMPANY": "y", "status": "working - contacted"})

    assert api.held(made)["Status"] == "Working - Contacted"


def test_a_unique_field_takes_each_value_once_whatever_its_case(api):
    owner = api.create("Lead", {**LEAD, "SCC_Key__c": "unique"})

    answer = api.call("POST", "/sobjects/Lead", {**LEAD, "SCC_Key__c": "UNIQUE"})

    assert answer.json()[0]["errorCode"] == "DUPLICATE_VALUE" and owner[:15] in answer.json()[0]["message"]
    assert api.call("PATCH", f"/sobjects/Lead/{owner}", {"SCC_Key__c": "Unique"}).status_code == 204


def test_a_parent_is_set_by_its_external_id(org, api):
    account = org.salesforce.add("Account", {"Name": "Parent"})
    made = api.create("Contact", {"LastName": "x", "Account": {"Id": account}})

    assert api.held(made, "Contact")["AccountId"] == account
    missing = {"LastName": "x", "Account": {"Id": "0015j00000ZZZZZ"}}
    assert api.refused("POST", "/sobjects/Contact", missing) == (400, "INVALID_FIELD")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"text"', b'{"LastName": NaN}', b"[" * 100_000])
def test_a_body_that_is_no_object_is_a_400(api, body):
    answer = api.http.post(api.base + "/sobjects/Lead", data=body, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "JSON_PARSER_ERROR")


def test_fields_hidden_by_security_cannot_be_written_and_protected_ones_only_read():
    with Sandbox(contacts=40, now=NOW) as sandbox:
        api = Api(sandbox)
        made = api.create("Lead", LEAD)
        sandbox.salesforce.hide_field("Lead", "HasOptedOutOfEmail")
        sandbox.salesforce.protect_field("Lead", "Title")
        sandbox.salesforce.hide_row(made)

        hidden, protected = {**LEAD, "HasOptedOutOfEmail": True}, {**LEAD, "Title": "x"}
        assert api.refused("POST", "/sobjects/Lead", hidden) == (400, "INVALID_FIELD")
        assert api.refused("POST", "/sobjects/Lead", protected) == (400, "INVALID_FIELD_FOR_INSERT_UPDATE")
        fields = {f["name"]: f for f in api.call("GET", "/sobjects/Lead/describe").json()["fields"]}
        assert "HasOptedOutOfEmail" not in fields and not fields["Title"]["updateable"]
        lost = (400, "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY")
        assert api.refused("PATCH", f"/sobjects/Lead/{made}", {"Company": "Zorg"}) == lost
        assert api.refused("DELETE", f"/sobjects/Lead/{made}") == lost
        assert api.held(made)["Company"] == "Hooli"


# -- upsert -----------------------------------------------------------------------------------------------------------


def test_an_upsert_creates_with_201_then_updates_with_200_and_before_version_46_with_204(api):
    path = "/sobjects/Lead/SCC_Key__c/up%2Fsert%20%C3%BC"
    answers = [
        api.call("PATCH", path, LEAD),
        api.call("PATCH", path, {"Company": "Zorg"}),
        api.call("PATCH", path, {"Company": "Hooli"}, version="45.0"),
    ]

    assert [a.status_code for a in answers] == [201, 200, 204]
    assert [a.json()["created"] for a in answers[:2]] == [True, False] and answers[2].content == b""
    made = api.held(answers[0].json()["id"])
    assert (made["SCC_Key__c"], made["Company"]) == ("up/sert ü", "Hooli")
    assert api.call("GET", path).json()["Id"] == made["Id"]
    assert api.call("DELETE", path).status_code == 204 and api.held(made["Id"]) is None


def test_an_ambiguous_external_id_answers_300_with_the_records_and_writes_nothing(org, api):
    twins = [org.salesforce.add("Lead", {**LEAD, "SCC_Group__c": "twins"}) for _ in range(2)]

    answer = api.call("PATCH", "/sobjects/Lead/SCC_Group__c/twins", {"Company": "Zorg"})

    assert answer.status_code == 300
    assert sorted(answer.json()) == sorted(f"/services/data/v59.0/sobjects/Lead/{i}" for i in twins)
    assert {api.held(i)["Company"] for i in twins} == {"Hooli"}
    assert api.call("GET", "/sobjects/Lead/SCC_Group__c/twins").status_code == 300


def test_the_key_of_an_upsert_is_an_external_id_and_stands_in_the_path_only(api):
    assert api.refused("PATCH", "/sobjects/Lead/Company/x", LEAD) == (404, "NOT_FOUND")
    twice = {**LEAD, "SCC_Key__c": "twice"}
    assert api.refused("PATCH", "/sobjects/Lead/SCC_Key__c/twice", twice) == (400, "INVALID_FIELD")


# -- collections ------------------------------------------------------------------------------------------------------


def test_a_collection_has_a_verdict_for_each_record_in_its_order(api):
    rows = [{**LEAD, "LastName": f"n{i}"} if i % 3 else {"LastName": "x"} for i in range(200)]

    verdicts = api.collection("POST", rows)

    assert [v["success"] for v in verdicts] == [bool(i % 3) for i in range(200)]
    assert verdicts[0] == {
        "success": False,
        "errors": [
            {
                "statusCode": "REQUIRED_FIELD_MISSING",
                "message": "Required fields are missing: [Company]",
                "fields": ["Company"],
            }
        ],
    }
    assert api.held(verdicts[1]["id"])["LastName"] == "n1"


def test_all_or_none_takes_back_what_passed(org, api):
    before = len(org.salesforce.rows("Lead")), len(org.mutations)

    verdicts = api.collection("POST", [LEAD, {"LastName": "x"}, LEAD], allOrNone=True)

    codes = [v["errors"][0]["statusCode"] for v in verdicts]
    assert codes == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING", "ALL_OR_NONE_OPERATION_ROLLED_BACK"]
    assert (len(org.salesforce.rows("Lead")), len(org.mutations)) == before


def test_a_collection_updates_deletes_and_reads_by_id(api):
    ids = [v["id"] for v in api.collection("POST", [LEAD, LEAD, LEAD])]
    gone = api.create("Lead", LEAD)
    api.call("DELETE", f"/sobjects/Lead/{gone}")

    rows = [
        {"id": ids[0], "Company": "A"},
        {"Id": gone, "Company": "B"},
        {"id": MISSING},
        {"id": "no"},
        {"Company": "C"},
    ]
    verdicts = api.collection("PATCH", rows)
    assert verdicts[0] == {"id": ids[0], "success": True, "errors": []}
    assert [v["errors"][0]["statusCode"] for v in verdicts[1:]] == [
        "ENTITY_IS_DELETED",
        "INVALID_CROSS_REFERENCE_KEY",
        "MALFORMED_ID",
        "MISSING_ARGUMENT",
    ]
    read = api.call("GET", f"/composite/sobjects/Lead?ids={ids[0]},{gone},{ids[1]}&fields=Id,Company").json()
    assert [r and r["Company"] for r in read] == ["A", None, "Hooli"]
    assert (
        api.call("POST", "/composite/sobjects/Lead", {"ids": ids[:1], "fields": ["Company"]}).json()[0]["Company"]
        == "A"
    )
    deleted = api.call("DELETE", f"/composite/sobjects?ids={ids[1]},{gone}").json()
    assert [v["success"] for v in deleted] == [True, False] and api.held(ids[1]) is None
    halted = api.call("DELETE", f"/composite/sobjects?ids={ids[2]},{gone}&allOrNone=true").json()
    assert [v["success"] for v in halted] == [False, False] and api.held(ids[2]) is not None


def test_one_record_twice_in_a_collection_is_written_in_turn(api):
    made = api.create("Lead", LEAD)

    api.collection("PATCH", [{"id": made, "Company": "A", "Title": "t"}, {"id": made, "Company": "B"}])

    assert (api.held(made)["Company"], api.held(made)["Title"]) == ("B", "t")


def test_a_collection_upserts_by_external_id(org, api):
    org.salesforce.add("Lead", {**LEAD, "SCC_Key__c": "known"})
    for _ in range(2):
        org.salesforce.add("Lead", {**LEAD, "SCC_Group__c": "many"})

    def upsert(key, rows):
        records = [{"attributes": {"type": "Lead"}, **LEAD, **r} for r in rows]
        return api.call("PATCH", f"/composite/sobjects/Lead/{key}", {"records": records}).json()

    verdicts = upsert("SCC_Key__c", [{"SCC_Key__c": k} for k in ("known", "new", "same", "same", None)])
    assert [(v["success"], v["created"]) for v in verdicts] == [
        (True, False),
        (True, True),
        (False, False),
        (False, False),
        (False, False),
    ]
    assert [v["errors"][0]["statusCode"] for v in verdicts[2:]] == [
        "DUPLICATE_VALUE",
        "DUPLICATE_VALUE",
        "MISSING_ARGUMENT",
    ]
    assert upsert("SCC_Group__c", [{"SCC_Group__c": "many"}])[0]["errors"][0]["statusCode"] == "DUPLICATE_EXTERNAL_ID"


def test_types_mix_in_at_most_ten_runs_of_200_records(org, api):
    def records(kinds):
        made = {"Lead": LEAD, "Contact": {"LastName": "x"}}
        return {"records": [{"attributes": {"type": kind}, **made[kind]} for kind in kinds]}

    mixed = api.call("POST", "/composite/sobjects", records(["Lead", "Contact"] * 5))
    assert all(v["success"] for v in mixed.json()) and mixed.json()[1]["id"].startswith("003")
    path = "/composite/sobjects"
    assert api.refused("POST", path, records(["Lead", "Contact"] * 6)) == (400, "LIMIT_EXCEEDED")
    assert api.refused("POST", path, records(["Lead"] * 201)) == (400, "EXCEEDED_ID_LIMIT")
    assert api.refused("POST", path, {"records": [LEAD]}) == (400, "INVALID_INPUT")
    assert api.refused("POST", path, {"records": [{"attributes": {"type": "Nope"}}]}) == (400, "INVALID_TYPE")
    assert api.refused("POST", path, {"records": {}}) == (400, "JSON_PARSER_ERROR")


# -- composite --------------------------------------------------------------------------------------------------------


def steps(*last):
    base = "/services/data/v59.0/sobjects/"
    return [
        {"method": "POST", "url": base + "Campaign", "referenceId": "campaign", "body": {"Name": 'The "new" one'}},
        {"method": "POST", "url": base + "Lead", "referenceId": "lead", "body": LEAD},
        {
            "method": "POST",
            "url": base + "CampaignMember",
            "referenceId": "member",
            "body": {"CampaignId": "@{campaign.id}", "LeadId": "@{lead.id}"},
        },
        *last,
    ]


def test_composite_writes_with_the_ids_that_earlier_subrequests_made(api):
    get = {"method": "GET", "url": "/services/data/v59.0/sobjects/Campaign/@{campaign.id}", "referenceId": "get"}
    copy = {
        "method": "POST",
        "url": "/services/data/v59.0/sobjects/Campaign",
        "referenceId": "copy",
        "body": {"Name": "@{get.Name}", "NumberSent": "@{get.NumberOfLeads}", "Description": "of @{get.Name}"},
    }
    answers = api.call("POST", "/composite", {"compositeRequest": steps(get, copy)}).json()["compositeResponse"]

    assert [a["httpStatusCode"] for a in answers] == [201, 201, 201, 200, 201]
    assert answers[0]["httpHeaders"]["Location"].endswith(answers[0]["body"]["id"])
    member = api.held(answers[2]["body"]["id"], "CampaignMember")
    assert (member["CampaignId"], member["LeadId"]) == (answers[0]["body"]["id"], answers[1]["body"]["id"])
    made = api.held(answers[4]["body"]["id"], "Campaign")
    assert (made["Name"], made["NumberSent"], made["Description"]) == ('The "new" one', 1.0, 'of The "new" one')


def test_composite_all_or_none_takes_back_every_write(org, api):
    before = [len(org.salesforce.rows(name)) for name in ("Campaign", "Lead", "CampaignMember")]
    again = {**steps()[2], "referenceId": "again"}
    body = {"allOrNone": True, "compositeRequest": steps(again)}

    answers = api.call("POST", "/composite", body).json()["compositeResponse"]

    assert [(a["httpStatusCode"], a["body"][0]["errorCode"]) for a in answers] == [
        *[(400, "PROCESSING_HALTED")] * 3,
        (400, "DUPLICATE_VALUE"),
    ]
    assert [len(org.salesforce.rows(name)) for name in ("Campaign", "Lead", "CampaignMember")] == before


def test_a_failed_subrequest_leaves_the_others_and_fails_those_that_refer_to_it(api):
    requests = steps()
    requests[0]["body"] = {}

    answers = api.call("POST", "/composite", {"compositeRequest": requests}).json()["compositeResponse"]

    codes = [(a["httpStatusCode"], a["body"][0]["errorCode"]) for a in (answers[0], answers[2])]
    assert codes == [(400, "REQUIRED_FIELD_MISSING"), (400, "PROCESSING_HALTED")]
    assert api.held(answers[1]["body"]["id"]) is not None
