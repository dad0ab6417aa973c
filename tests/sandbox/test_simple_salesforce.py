"""simple-salesforce 1.12.10, unmodified: every call that the reference lists (salesforce.md 5.1, 5.3)."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from requests.adapters import HTTPAdapter
from simple_salesforce import (
    Salesforce,
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
    SalesforceLogin,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceResourceNotFound,
    bulk,
    bulk2,
    format_soql,
)
from simple_salesforce.bulk2 import Operation
from simple_salesforce.format import format_external_id

from scc.sandbox import Sandbox
from scc.sandbox.salesforce import PASSWORD, SECURITY_TOKEN, USERNAME
from tests.sandbox.conftest import NOW

LEAD = {"LastName": "Okafor", "Company": "Hooli", "Email": "okafor@example.com"}


class ToSandbox(HTTPAdapter):
    """Every https address leads to the sandbox; the Host header stays (salesforce.md 5.8, A)."""

    def __init__(self, sandbox):
        super().__init__()
        self._target = urlsplit(sandbox.url).netloc

    def send(self, request, **kwargs):
        parts = urlsplit(request.url)
        request.headers["Host"] = parts.netloc
        request.url = parts._replace(scheme="http", netloc=self._target).geturl()
        return super().send(request, **kwargs)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Its polling sleeps half a second at least; the sandbox needs none."""
    for module in (bulk, bulk2):
        monkeypatch.setattr(module, "sleep", lambda seconds: None)


def session(sandbox):
    made = requests.Session()
    made.mount("https://", ToSandbox(sandbox))
    return made


def connect(sandbox, **credentials):
    credentials = credentials or {
        "consumer_key": sandbox.env["SALESFORCE_CLIENT_ID"],
        "consumer_secret": sandbox.env["SALESFORCE_CLIENT_SECRET"],
        "domain": "acme.my",
    }
    return Salesforce(session=session(sandbox), **credentials)


@pytest.fixture(scope="module")
def org():
    """One org for all tests of this module, without an assignment rule; each makes its own records."""
    with Sandbox(contacts=40, seed=1, now=NOW, page_size=15) as running:
        running.salesforce.set_assignment_rule(False)
        running.salesforce.add_field("Lead", "SCC_Key__c", external_id=True, unique=True)
        running.salesforce.add_field("Lead", "SCC_Group__c", external_id=True)
        yield running


@pytest.fixture(scope="module")
def sf(org):
    return connect(org)


def lead(org, record_id):
    return next((row for row in org.salesforce.rows("Lead") if row["Id"] == record_id), None)


# -- logins -----------------------------------------------------------------------------------------------------------


def test_every_login_of_the_constructor_opens_the_api(org):
    key, secret = org.env["SALESFORCE_CLIENT_ID"], org.env["SALESFORCE_CLIENT_SECRET"]
    private = rsa.generate_private_key(65537, 2048)
    org.salesforce.register_jwt_key(
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    token, host = SalesforceLogin(
        session=session(org), username=USERNAME, password=PASSWORD, security_token=SECURITY_TOKEN
    )
    for credentials in (
        {"username": USERNAME, "password": PASSWORD, "security_token": SECURITY_TOKEN},
        {"username": USERNAME, "password": PASSWORD, "organizationId": "00D5j000000SAND0EA"},
        {"username": USERNAME, "password": PASSWORD, "consumer_key": key, "consumer_secret": secret},
        {"username": USERNAME, "consumer_key": key, "privatekey": pem},
        {"consumer_key": key, "consumer_secret": secret, "domain": "acme.my"},
        {"session_id": token, "instance": host},
    ):
        assert connect(org, **credentials).query("SELECT COUNT() FROM Campaign")["totalSize"] == 40


def test_a_wrong_password_is_an_authentication_failure(org):
    for extra in ({"security_token": ""}, {"consumer_key": org.env["SALESFORCE_CLIENT_ID"], "consumer_secret": "x"}):
        with pytest.raises(SalesforceAuthenticationFailed):
            connect(org, username=USERNAME, password="wrong", **extra)


def test_soap_login_is_refused_from_version_65_on(org):
    with pytest.raises(SalesforceAuthenticationFailed) as refusal:
        connect(org, username=USERNAME, password=PASSWORD, security_token=SECURITY_TOKEN, version="65.0")

    assert refusal.value.code == "INVALID_OPERATION"


def test_an_expired_session_is_renewed_by_query_and_reported_by_bulk():
    with Sandbox(contacts=40, now=NOW) as sandbox:
        sf = connect(sandbox)
        sandbox.salesforce.expire_tokens()
        with pytest.raises(SalesforceExpiredSession):
            list(sf.bulk2.Campaign.query("SELECT Id FROM Campaign"))

        assert sf.query("SELECT COUNT() FROM Campaign")["totalSize"] == 40


# -- REST -------------------------------------------------------------------------------------------------------------


def test_query_all_and_its_iterator_read_all_pages(org, sf):
    expected = {row["Id"] for row in org.salesforce.rows("Campaign")}
    soql = "SELECT Id, Name FROM Campaign"

    assert {r["Id"] for r in sf.query_all(soql)["records"]} == expected
    assert {r["Id"] for r in sf.query_all_iter(soql)} == expected
    page = sf.query(soql)
    more = sf.query_more(page["nextRecordsUrl"], identifier_is_url=True)
    assert (page["totalSize"], page["done"], len(more["records"])) == (40, False, 15)
    assert sf.api_usage["api-usage"].total == 100_000


def test_include_deleted_shows_the_recycle_bin(org, sf):
    gone = sf.Lead.create(LEAD)["id"]
    sf.Lead.delete(gone)
    soql = format_soql("SELECT Id, IsDeleted FROM Lead WHERE Id IN {}", [gone])

    assert sf.query_all(soql)["totalSize"] == 0
    assert sf.query_all(soql, include_deleted=True)["records"][0]["IsDeleted"] is True


def test_create_get_update_and_delete_one_record(org, sf):
    answer = sf.Lead.create(LEAD)
    assert answer == {"id": answer["id"], "success": True, "errors": []}
    assert sf.Lead.get(answer["id"])["Email"] == "okafor@example.com"
    assert sf.Lead.update(answer["id"], {"FirstName": "Ngozi"}) == 204
    assert lead(org, answer["id"])["Name"] == "Ngozi Okafor"
    assert sf.Lead.delete(answer["id"]) == 204
    assert lead(org, answer["id"]) is None
    with pytest.raises(SalesforceResourceNotFound):
        sf.Lead.get(answer["id"])


def test_upsert_by_external_id_creates_then_updates(org, sf):
    path = "SCC_Key__c/" + format_external_id("SCC_Key__c", "a/b c").partition("/")[2]

    assert sf.Lead.upsert(path, LEAD) == 201
    assert sf.Lead.upsert(path, {"Company": "Zorg"}) == 200
    assert [r["Company"] for r in org.salesforce.rows("Lead") if r["SCC_Key__c"] == "a/b c"] == ["Zorg"]


def test_an_ambiguous_external_id_is_more_than_one_record(org, sf):
    twins = [org.salesforce.add("Lead", {**LEAD, "SCC_Group__c": "twins"}) for _ in range(2)]

    with pytest.raises(SalesforceMoreThanOneRecord) as refusal:
        sf.Lead.upsert("SCC_Group__c/twins", {"Company": "Zorg"})

    assert sorted(url.rpartition("/")[2] for url in refusal.value.content) == sorted(twins)
    assert {lead(org, i)["Company"] for i in twins} == {"Hooli"}
    org.salesforce.add("Lead", {**LEAD, "SCC_Group__c": "single"})
    assert sf.Lead.get_by_custom_id("SCC_Group__c", "single")["Company"] == "Hooli"


def test_a_refused_record_is_a_malformed_request_with_its_code(sf):
    with pytest.raises(SalesforceMalformedRequest) as refusal:
        sf.Lead.create({"LastName": "Okafor"})

    assert refusal.value.content[0]["errorCode"] == "REQUIRED_FIELD_MISSING"
    assert refusal.value.content[0]["fields"] == ["Company"]


def test_describe_metadata_and_limits(sf):
    assert {"Account", "Campaign", "CampaignMember", "Contact", "Lead", "Opportunity"} <= {
        o["name"] for o in sf.describe()["sobjects"]
    }
    fields = {f["name"]: f for f in sf.Lead.describe()["fields"]}
    assert fields["SCC_Key__c"]["externalId"] and not fields["EmailBouncedReason"]["createable"]
    assert sf.Lead.metadata()["objectDescribe"]["name"] == "Lead"
    assert sf.limits()["DailyApiRequests"]["Max"] == 100_000
    assert sf.is_sandbox() is True


def test_deleted_and_updated_list_what_changed(org, sf):
    made, gone = sf.Lead.create(LEAD)["id"], sf.Lead.create(LEAD)["id"]
    sf.Lead.delete(gone)
    start, end = org.clock.now - timedelta(hours=1), org.clock.now + timedelta(hours=1)

    assert made in sf.Lead.updated(start, end)["ids"]
    assert gone in [row["id"] for row in sf.Lead.deleted(start, end)["deletedRecords"]]


def test_restful_reaches_collections_and_composite(org, sf):
    records = [{"attributes": {"type": "Lead"}, **LEAD}, {"attributes": {"type": "Lead"}, "LastName": "x"}]
    made, refused = sf.restful("composite/sobjects", method="POST", json={"records": records})
    assert made["success"] and refused["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"

    change = [{"attributes": {"type": "Lead"}, "id": made["id"], "Company": "Zorg"}]
    assert sf.restful("composite/sobjects", method="PATCH", json={"records": change})[0]["success"]
    keyed = [{"attributes": {"type": "Lead"}, "SCC_Key__c": "restful", **LEAD}]
    (verdict,) = sf.restful("composite/sobjects/Lead/SCC_Key__c", method="PATCH", json={"records": keyed})
    assert verdict["created"] is True
    subrequest = {"method": "GET", "url": f"/services/data/v59.0/sobjects/Lead/{made['id']}", "referenceId": "one"}
    answer = sf.restful("composite", method="POST", json={"compositeRequest": [subrequest]})
    assert answer["compositeResponse"][0]["body"]["Company"] == "Zorg"
    ids = {"ids": f"{made['id']},{verdict['id']}"}
    assert all(v["success"] for v in sf.restful("composite/sobjects", params=ids, method="DELETE"))
    assert lead(org, made["id"]) is None


# -- Bulk 2.0 ---------------------------------------------------------------------------------------------------------


def test_bulk2_insert_update_upsert_and_delete(org, sf):
    (done,) = sf.bulk2.Lead.insert(records=[{**LEAD, "LastName": f"Bulk {i}"} for i in range(5)], wait=0)
    assert (done["numberRecordsProcessed"], done["numberRecordsFailed"], done["numberRecordsTotal"]) == (5, 0, 5)
    made = [r for r in org.salesforce.rows("Lead") if r["LastName"].startswith("Bulk ")]
    assert len(made) == 5

    (done,) = sf.bulk2.Lead.update(records=[{"Id": r["Id"], "Company": "Zorg"} for r in made], wait=0)
    assert done["numberRecordsFailed"] == 0
    assert {lead(org, r["Id"])["Company"] for r in made} == {"Zorg"}

    rows = [{**LEAD, "SCC_Key__c": f"bulk-{i}"} for i in range(3)]
    for _ in range(2):
        (done,) = sf.bulk2.Lead.upsert(records=rows, external_id_field="SCC_Key__c", wait=0)
        assert done["numberRecordsFailed"] == 0
    keyed = [r for r in org.salesforce.rows("Lead") if str(r["SCC_Key__c"]).startswith("bulk-")]
    assert len(keyed) == 3

    sf.bulk2.Lead.delete(records=[{"Id": r["Id"]} for r in made], wait=0)
    sf.bulk2.Lead.hard_delete(records=[{"Id": r["Id"]} for r in keyed], wait=0)
    assert not {r["Id"] for r in made + keyed} & {r["Id"] for r in org.salesforce.rows("Lead")}


def test_bulk2_results_tell_what_became_of_each_row(org, sf):
    rows = [{"LastName": "Good", "Company": "Ünïcode"}, {"LastName": "Bad", "Company": "x" * 300}]
    (done,) = sf.bulk2.Lead.insert(records=rows, wait=0)
    job = done["job_id"]

    assert done["numberRecordsFailed"] == 1
    assert '"true","' in sf.bulk2.Lead.get_successful_records(
        job
    ) and "Ünïcode" in sf.bulk2.Lead.get_successful_records(job)
    assert "STRING_TOO_LONG" in sf.bulk2.Lead.get_failed_records(job)
    assert sf.bulk2.Lead.get_unprocessed_records(job).count("\n") == 1
    everything = sf.bulk2.Lead.get_all_ingest_records(job)
    assert [len(everything[kind]) for kind in ("successfulRecords", "failedRecords", "unprocessedRecords")] == [1, 1, 0]


def test_bulk2_query_and_download_read_all_pages(org, sf, tmp_path):
    expected = {row["Id"] for row in org.salesforce.rows("Campaign")}
    pages = list(sf.bulk2.Campaign.query("SELECT Id, Name FROM Campaign", max_records=15, wait=0))

    assert len(pages) == 3 and all(page.startswith('"Id","Name"\n') for page in pages)
    assert {line.partition(",")[0].strip('"') for page in pages for line in page.splitlines()[1:]} == expected
    assert sum(p.count("\n") - 1 for p in sf.bulk2.Campaign.query_all("SELECT Id FROM Campaign", wait=0)) == 40
    files = sf.bulk2.Campaign.download("SELECT Id FROM Campaign", path=str(tmp_path), max_records=25, wait=0)
    assert [f["number_of_records"] for f in files] == [25, 15]


def test_bulk2_single_steps(org, sf):
    client = sf.bulk2.Lead._client
    job = client.create_job(Operation.insert)["id"]
    client.upload_job_data(job, "LastName,Company\nSteps,Hooli\n")
    assert client.abort_job(job, is_query=False)["state"] == "Aborted"
    assert client.get_job(job, is_query=False)["state"] == "Aborted"
    with pytest.raises(ValueError):  # its own defect: it reads JSON out of the right 204 (salesforce.md 5.7)
        client.delete_job(job, is_query=False)
    assert job not in [j["id"] for j in org.salesforce.jobs()]


# -- Bulk v1 ----------------------------------------------------------------------------------------------------------


def test_bulk_v1_writes_and_reads(org, sf):
    made = sf.bulk.Lead.insert([{**LEAD, "LastName": "V1"}, {"LastName": "V1"}])
    assert [row["success"] for row in made] == [True, False]
    assert made[1]["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    record_id = made[0]["id"]

    assert sf.bulk.Lead.update([{"Id": record_id, "Company": "Zorg"}])[0]["success"]
    assert lead(org, record_id)["Company"] == "Zorg"
    (keyed,) = sf.bulk.Lead.upsert([{**LEAD, "SCC_Key__c": "v1"}], "SCC_Key__c")
    assert keyed["created"] is True
    rows = sf.bulk.Lead.query(format_soql("SELECT Id, Company FROM Lead WHERE Id = {}", record_id))
    assert [row["Company"] for row in rows] == ["Zorg"]
    assert sf.bulk.Lead.delete([{"Id": record_id}])[0]["success"]
    assert sf.bulk.Lead.hard_delete([{"Id": keyed["id"]}])[0]["success"]
    assert lead(org, record_id) is None and lead(org, keyed["id"]) is None
    assert len(sf.bulk.Lead.query_all(format_soql("SELECT Id FROM Lead WHERE Id = {}", record_id))) == 1


def test_bulk_v1_calls_a_dead_session_an_invalid_session_id():
    with Sandbox(contacts=40, now=NOW) as sandbox:
        sf = connect(sandbox)
        sandbox.salesforce.expire_tokens()
        with pytest.raises(SalesforceMalformedRequest) as refusal:
            sf.bulk.Lead.insert([LEAD])

    assert refusal.value.content["exceptionCode"] == "InvalidSessionId"
