"""Bulk API 2.0: ingest and query jobs (salesforce.md 3)."""

import csv
import gzip
import io

import pytest

from scc.sandbox import Sandbox
from tests.sandbox.conftest import NOW, SalesforceCaller

LEADS = "LastName,Company\nFirst,Hooli\nSecond,Zorg\n"


@pytest.fixture(scope="module")
def org():
    with Sandbox(contacts=40, seed=1, now=NOW) as running:
        running.salesforce.add_field("Lead", "SCC_Key__c", external_id=True, unique=True)
        running.salesforce.add_field("Lead", "SCC_Score__c", "double")
        running.salesforce.add_field("Account", "SCC_Account__c", external_id=True, unique=True)
        yield running


@pytest.fixture
def bulk(org):
    org.salesforce.clear("Lead")
    return Bulk(org)


class Bulk(SalesforceCaller):
    def path(self, kind, job="", version="59.0"):
        return f"{self.sandbox.url}/services/data/v{version}/jobs/{kind}" + (f"/{job}" if job else "")

    def create(self, operation="insert", **properties):
        body = {"object": "Lead", "operation": operation, **properties}
        answer = self.http.post(self.path("ingest"), json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def upload(self, job, data, **headers):
        headers = {"Content-Type": "text/csv", **headers}
        data = data.encode() if isinstance(data, str) else data
        return self.http.put(self.path("ingest", job) + "/batches", data=data, headers=headers)

    def set(self, kind, job, state):
        return self.http.patch(self.path(kind, job), json={"state": state})

    def get(self, kind, job):
        return self.http.get(self.path(kind, job)).json()

    def load(self, data, operation="insert", **properties):
        """Upload, close, poll twice: the job as its last GET shows it."""
        job = self.create(operation, **properties)["id"]
        assert self.upload(job, data).status_code == 201
        assert self.set("ingest", job, "UploadComplete").status_code == 200
        self.get("ingest", job)
        return self.get("ingest", job)

    def results(self, job, which, delimiter=","):
        answer = self.http.get(self.path("ingest", job) + "/" + which)
        assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/csv; charset=UTF-8"
        return list(csv.DictReader(io.StringIO(answer.text, newline=""), delimiter=delimiter))

    def leads(self):
        return {row["LastName"]: row for row in self.sandbox.salesforce.rows("Lead")}

    def start_query(self, soql, **properties):
        return self.http.post(self.path("query"), json={"operation": "query", "query": soql, **properties})

    def run_query(self, soql, **properties):
        job = self.start_query(soql, **properties).json()["id"]
        self.get("query", job)
        assert self.get("query", job)["state"] == "JobComplete"
        return job

    def page(self, job, version="59.0", **query):
        return self.http.get(self.path("query", job, version) + "/results", params=query)


# -- ingest -----------------------------------------------------------------------------------------------------------


def test_an_ingest_job_goes_through_its_states_and_writes_in_between(bulk):
    job = bulk.create()
    assert {
        "operation": "insert",
        "object": "Lead",
        "state": "Open",
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": 59.0,
        "contentUrl": f"services/data/v59.0/jobs/ingest/{job['id']}/batches",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }.items() <= job.items() and job["id"].startswith("750")
    uploaded = bulk.upload(job["id"], LEADS)
    assert (uploaded.status_code, uploaded.content, bulk.leads()) == (201, b"", {})
    closed = bulk.set("ingest", job["id"], "UploadComplete").json()
    assert closed["state"] == "UploadComplete" and "contentUrl" not in closed

    first, last = bulk.get("ingest", job["id"]), bulk.get("ingest", job["id"])
    assert (first["state"], first["numberRecordsProcessed"]) == ("InProgress", 1)
    assert (last["state"], last["numberRecordsProcessed"], last["numberRecordsFailed"]) == ("JobComplete", 2, 0)
    assert last["jobType"] == "V2Ingest" and "retries" in last and "apexProcessingTime" in last
    assert set(bulk.leads()) == {"First", "Second"}


def test_a_job_that_nobody_polls_ends_by_the_clock(org, bulk):
    job = bulk.create()["id"]
    bulk.upload(job, LEADS)
    bulk.set("ingest", job, "UploadComplete")
    org.clock.advance(60)

    assert bulk.query("SELECT COUNT() FROM Lead").json()["totalSize"] == 2


def test_result_files_tell_what_became_of_each_row_in_no_order(bulk):
    rows = "".join(f"n{i},Hooli,{'bad' if i % 10 == 3 else ''}\n" for i in range(100))
    job = bulk.load("LastName,Company,Email\n" + rows)
    good, bad = bulk.results(job["id"], "successfulResults"), bulk.results(job["id"], "failedResults")

    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"], len(good), len(bad)) == (100, 10, 90, 10)
    assert list(good[0]) == ["sf__Id", "sf__Created", "LastName", "Company", "Email"]
    held = bulk.leads()
    assert all(held[row["LastName"]]["Id"] == row["sf__Id"] and row["sf__Created"] == "true" for row in good)
    assert {row["LastName"] for row in bad} == {f"n{i}" for i in range(100) if i % 10 == 3}
    assert bad[0]["sf__Error"] == "INVALID_EMAIL_ADDRESS:Email: invalid email address: bad:Email --"
    order = [int(row["LastName"][1:]) for row in good]
    assert order != sorted(order)
    for spelling in ("unprocessedrecords", "unprocessedRecords"):
        assert bulk.results(job["id"], spelling) == []


def test_an_empty_value_changes_nothing_and_na_sets_null(org, bulk):
    ids = [
        org.salesforce.add("Lead", {"LastName": f"n{i}", "Company": "Hooli", "Title": "t", "SCC_Score__c": 5})
        for i in range(2)
    ]

    job = bulk.load(f"Id,Title,SCC_Score__c,Company\n{ids[0]},,,Zorg\n{ids[1]},#N/A,#N/A,#N/A\n", "update")

    held = bulk.leads()
    assert (held["n0"]["Title"], held["n0"]["SCC_Score__c"], held["n0"]["Company"]) == ("t", 5.0, "Zorg")
    assert held["n1"]["Title"] == "t"  # refused as a whole, for Company is required
    (failed,) = bulk.results(job["id"], "failedResults")
    assert failed["sf__Id"] == ids[1] and failed["sf__Error"].startswith("REQUIRED_FIELD_MISSING:")
    bulk.load(f"Id,Title,SCC_Score__c\n{ids[1]},#N/A,#N/A\n", "update")
    assert (bulk.leads()["n1"]["Title"], bulk.leads()["n1"]["SCC_Score__c"]) == (None, None)


def test_every_operation_writes(org, bulk):
    job = bulk.load(
        "SCC_Key__c,LastName,Company\na,A,x\nb,B,x\nb,B2,x\n,C,x\n", "upsert", externalIdFieldName="SCC_Key__c"
    )
    errors = {row["LastName"]: row["sf__Error"].partition(":")[0] for row in bulk.results(job["id"], "failedResults")}
    assert errors == {"B": "DUPLICATE_VALUE", "B2": "DUPLICATE_VALUE", "C": "MISSING_ARGUMENT"}
    assert job["externalIdFieldName"] == "SCC_Key__c"
    again = bulk.load("SCC_Key__c,Title\nA,boss\n", "upsert", externalIdFieldName="SCC_Key__c")
    assert bulk.results(again["id"], "successfulResults")[0]["sf__Created"] == "false"
    lead = bulk.leads()["A"]
    assert lead["Title"] == "boss"

    bulk.load(f"Id\n{lead['Id']}\n", "delete")
    assert bulk.leads() == {}
    deleted = f"SELECT IsDeleted FROM Lead WHERE Id = '{lead['Id']}'"  # noqa: S608
    everything = bulk.http.get(bulk.base + "/queryAll", params={"q": deleted}).json()
    assert everything["records"][0]["IsDeleted"] is True
    bulk.load(LEADS)
    bulk.load("Id\n" + "".join(r["Id"] + "\n" for r in bulk.leads().values()), "hardDelete")
    assert bulk.leads() == {}


def test_an_external_id_that_comes_again_in_a_later_transaction_updates_what_the_first_made(bulk):
    rows = "".join(f"k{i % 300},n{i},x\n" for i in range(600))
    job = bulk.load("SCC_Key__c,LastName,Company\n" + rows, "upsert", externalIdFieldName="SCC_Key__c")

    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"], len(bulk.leads())) == (600, 0, 300)
    assert {row["SCC_Key__c"]: row["LastName"] for row in bulk.leads().values()} == {
        f"k{i}": f"n{i + 300}" for i in range(300)
    }


def test_a_column_may_name_the_parent_by_its_external_id(org, bulk):
    account = org.salesforce.add("Account", {"Name": "x", "SCC_Account__c": "acc"})

    bulk.load("LastName,Account.SCC_Account__c\nChild,acc\nOrphan,nope\n", object="Contact")

    made = [r for r in org.salesforce.rows("Contact") if r["LastName"] in ("Child", "Orphan")]
    assert [r["AccountId"] for r in made] == [account]


@pytest.mark.parametrize(
    ("data", "properties", "message"),
    [
        ("LastName,Nope\nx,y\n", {}, "InvalidBatch : Field name not found : Nope"),
        ("lastname,Company\nx,y\n", {}, "InvalidBatch : Field name not found : lastname"),
        ("LastName;Company\nx;y\n", {}, "InvalidBatch : Field name not found : LastName;Company"),
        ("LastName,Company\r\nx,y\r\n", {}, "Current LineEnding setting is LF"),
        ("LastName,Company\nx,y\n", {"lineEnding": "CRLF"}, "Current LineEnding setting is CRLF"),
        ("LastName,Company\nx\n", {}, "InvalidBatch : row 1 has 1 fields"),
        ('LastName,Company\n"x,y\n', {}, "InvalidBatch : the data is not valid CSV"),
        (b"LastName,Company\n\xff,y\n", {}, "InvalidBatch : the data is not valid UTF-8"),
        ("Company\nx\n", {"operation": "update"}, "InvalidBatch : Field name not found : Id"),
        ("Id,Company\nx,y\n", {"operation": "delete"}, "InvalidBatch : The 'delete' batch must contain only ids"),
    ],
)
def test_a_file_that_does_not_fit_fails_the_job_and_writes_nothing(bulk, data, properties, message):
    job = bulk.load(data, **properties)

    assert job["state"] == "Failed" and message in job["errorMessage"]
    assert bulk.leads() == {} and job["numberRecordsProcessed"] == 0


def test_delimiters_and_line_endings_are_as_the_job_says(bulk):
    job = bulk.load('LastName;Company\r\nx;"a;""b""\r\nc"\r\n', columnDelimiter="SEMICOLON", lineEnding="CRLF")

    assert bulk.leads()["x"]["Company"] == 'a;"b"\r\nc'
    assert bulk.results(job["id"], "successfulResults", ";")[0]["Company"] == 'a;"b"\r\nc'


def test_a_second_upload_makes_closing_impossible(bulk):
    job = bulk.create()["id"]
    assert [bulk.upload(job, LEADS).status_code for _ in range(2)] == [201, 201]

    refused = bulk.set("ingest", job, "UploadComplete")

    assert (refused.status_code, refused.json()[0]["errorCode"], bulk.leads()) == (400, "INVALIDJOB", {})


def test_uploads_may_come_chunked_or_gzipped_but_not_above_the_limit(org, bulk):
    chunked, zipped, large = (bulk.create()["id"] for _ in range(3))
    pieces = iter([LEADS[:10].encode(), LEADS[10:].encode()])
    address = bulk.path("ingest", chunked) + "/batches"
    assert bulk.http.put(address, data=pieces, headers={"Content-Type": "text/csv"}).status_code == 201
    assert bulk.upload(zipped, gzip.compress(LEADS.encode()), **{"Content-Encoding": "gzip"}).status_code == 201
    org.salesforce.limits.upload_bytes = 10
    assert bulk.upload(large, LEADS).status_code == 400
    org.salesforce.limits.upload_bytes = 100 * 1024 * 1024
    assert bulk.upload(large, LEADS, **{"Content-Type": "application/json"}).status_code == 415

    for job in (chunked, zipped):
        bulk.set("ingest", job, "UploadComplete")
        bulk.get("ingest", job)
        assert bulk.get("ingest", job)["numberRecordsProcessed"] == 2


def test_an_aborted_job_keeps_what_it_wrote_and_lists_the_rest(bulk):
    job = bulk.create()["id"]
    bulk.upload(job, LEADS)
    bulk.set("ingest", job, "UploadComplete")
    bulk.get("ingest", job)

    assert bulk.set("ingest", job, "Aborted").json()["state"] == "Aborted"

    assert set(bulk.leads()) == {"First"}
    assert [r["LastName"] for r in bulk.results(job, "successfulResults")] == ["First"]
    assert bulk.results(job, "unprocessedrecords") == [{"LastName": "Second", "Company": "Zorg"}]
    assert bulk.set("ingest", job, "UploadComplete").status_code == 400
    assert bulk.upload(job, LEADS).status_code == 400


def test_jobs_are_listed_deleted_and_forgotten_after_a_week(org, bulk):
    job, other = bulk.load(LEADS)["id"], bulk.load(LEADS)["id"]
    org.salesforce.limits.jobs_listed = 1
    seen, page = [], bulk.http.get(bulk.path("ingest")).json()
    while True:
        seen += [j["id"] for j in page["records"]]
        if page["done"]:
            break
        page = bulk.http.get(org.url + page["nextRecordsUrl"]).json()
    org.salesforce.limits.jobs_listed = 1000
    assert {job, other} <= set(seen) and len(seen) == len(set(seen))

    assert bulk.http.delete(bulk.path("ingest", job)).status_code == 204
    assert bulk.http.get(bulk.path("ingest", job)).status_code == 404
    open_job = bulk.create()["id"]
    assert bulk.http.delete(bulk.path("ingest", open_job)).status_code == 400
    org.clock.advance(86400)
    bulk.login()
    assert bulk.get("ingest", open_job)["state"] == "Aborted"
    org.clock.advance(6 * 86400)
    bulk.login()
    assert bulk.http.get(bulk.path("ingest", other)).status_code == 404


def test_leads_are_assigned_only_with_the_jobs_rule(org, bulk):
    rule = org.salesforce.set_assignment_rule()
    bulk.load("LastName,Company\nPlain,x\n")
    job = bulk.load("LastName,Company\nAssigned,x\n", assignmentRuleId=rule)

    owners = {name: row["OwnerId"] for name, row in bulk.leads().items()}
    assert owners["Plain"] != owners["Assigned"] and job["assignmentRuleId"] == rule
    body = {"object": "Lead", "operation": "insert", "assignmentRuleId": "01Q5j0000000099"}
    assert bulk.http.post(bulk.path("ingest"), json=body).status_code == 400


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"object": "Nope", "operation": "insert"}, "INVALIDENTITY"),
        ({"object": "Lead", "operation": "nope"}, "INVALIDJOB"),
        ({"object": "Lead", "operation": "upsert"}, "INVALIDJOB"),
        ({"object": "Lead", "operation": "upsert", "externalIdFieldName": "Company"}, "INVALIDJOB"),
        ({"object": "Lead", "operation": "insert", "columnDelimiter": "DOT"}, "INVALIDJOB"),
        ({"object": "Lead", "operation": "insert", "lineEnding": "CR"}, "INVALIDJOB"),
        ({"object": "Lead", "operation": "insert", "contentType": "JSON"}, "INVALIDJOB"),
    ],
)
def test_a_job_that_cannot_be_is_refused(bulk, body, code):
    answer = bulk.http.post(bulk.path("ingest"), json=body)

    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


def test_a_fault_leaves_a_job_stuck_or_fails_it(org, bulk):
    org.faults.add("stuck", path="/jobs/ingest$", method="POST", nth=1)
    org.faults.add("sync_error", path="/jobs/ingest$", method="POST", nth=1)
    stuck, failed = bulk.load(LEADS), bulk.load(LEADS)
    org.faults.clear()

    assert (stuck["state"], failed["state"]) == ("InProgress", "Failed")


# -- query ------------------------------------------------------------------------------------------------------------


def test_query_results_come_in_pages_with_a_header_each(org, bulk):
    for i in range(5):
        org.salesforce.add("Lead", {"LastName": f"n{i}", "Company": 'a "b",\nc', "SCC_Score__c": i / 2})
    job = bulk.start_query("SELECT LastName, Company, SCC_Score__c, IsConverted, CreatedDate, Owner.Name FROM Lead")
    assert (job.status_code, job.json()["state"], job.json()["object"]) == (200, "UploadComplete", "Lead")
    job = job.json()["id"]
    assert bulk.page(job).status_code == 400
    states = [bulk.get("query", job) for _ in range(2)]
    assert [s["state"] for s in states] == ["InProgress", "JobComplete"]
    assert (states[1]["jobType"], states[1]["numberRecordsProcessed"], states[1]["isPkChunkingSupported"]) == (
        "V2Query",
        5,
        True,
    )

    pages, locator, counts = [], "", []
    for _ in range(3):
        page = bulk.page(job, maxRecords=2, locator=locator)
        locator = page.headers["Sforce-Locator"]
        counts.append(page.headers["Sforce-NumberOfRecords"])
        pages.append(list(csv.reader(io.StringIO(page.text, newline=""))))
    assert locator == "null"
    assert counts == ["2", "2", "1"] and page.headers["Content-Encoding"] == "gzip"
    header = ["LastName", "Company", "SCC_Score__c", "IsConverted", "CreatedDate", "Owner.Name"]
    assert [p[0] for p in pages] == [header] * 3
    rows = {p[0]: p for page in pages for p in page[1:]}
    assert len(rows) == 5
    now = org.clock.now.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert rows["n3"] == ["n3", 'a "b",\nc', "1.5", "false", now, ""]
    again = bulk.page(job, maxRecords=2)
    assert list(csv.reader(io.StringIO(again.text, newline=""))) == pages[0]


def test_the_result_is_what_the_org_held_when_the_job_ended(org, bulk):
    org.salesforce.add("Lead", {"LastName": "x", "Company": "y"})
    job = bulk.run_query("SELECT LastName FROM Lead")
    org.salesforce.clear("Lead")

    assert bulk.page(job).text == '"LastName"\n"x"\n'
    empty = bulk.run_query("SELECT LastName FROM Lead")
    page = bulk.page(empty)
    assert (page.text, page.headers["Sforce-NumberOfRecords"], page.headers["Sforce-Locator"]) == (
        '"LastName"\n',
        "0",
        "null",
    )


def test_results_read_with_another_version_are_a_409_and_bad_parameters_a_400(bulk):
    job = bulk.run_query("SELECT Id FROM Campaign")

    assert bulk.page(job, version="60.0").status_code == 409
    assert bulk.page(job, locator="nonsense!").status_code == 400
    assert bulk.page(job, maxRecords="0").status_code == 400


def test_result_pages_name_up_to_five_pages_since_version_58(bulk):
    job = bulk.run_query("SELECT Id FROM Campaign")
    address = bulk.path("query", job) + "/resultPages"
    first = bulk.http.get(address, params={"maxRecords": 7}).json()
    second = bulk.http.get(bulk.sandbox.url + first["nextRecordUrl"]).json()

    links = [p["resultUrl"] for p in first["resultPages"] + second["resultPages"]]
    assert (len(first["resultPages"]), first["done"], len(links), second["done"]) == (5, False, 6, True)
    rows = [line for link in links for line in bulk.http.get(bulk.sandbox.url + link).text.splitlines()[1:]]
    assert len(set(rows)) == 40
    old = bulk.http.post(
        bulk.path("query", version="57.0"), json={"operation": "query", "query": "SELECT Id FROM Lead"}
    )
    assert bulk.http.get(bulk.path("query", old.json()["id"], "57.0") + "/resultPages").status_code == 404


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Nope FROM Lead", "INVALID_FIELD"),
        ("SELECT Id FROM", "MALFORMED_QUERY"),
        ("SELECT COUNT() FROM Lead", "FEATURENOTENABLED"),
        ("SELECT Status FROM Lead GROUP BY Status", "FEATURENOTENABLED"),
        ("SELECT Id FROM Lead LIMIT 5 OFFSET 2", "FEATURENOTENABLED"),
    ],
)
def test_a_query_that_bulk_does_not_take_is_refused(bulk, soql, code):
    answer = bulk.start_query(soql)

    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


def test_query_all_shows_deleted_records_and_other_delimiters(org, bulk):
    gone = org.salesforce.add("Lead", {"LastName": "gone", "Company": "y"})
    org.salesforce.delete("Lead", gone)

    job = bulk.run_query(
        "SELECT LastName, IsDeleted FROM Lead", operation="queryAll", columnDelimiter="TAB", lineEnding="CRLF"
    )

    assert (
        bulk.http.get(bulk.path("query", job) + "/results").content.decode()
        == '"LastName"\t"IsDeleted"\r\n"gone"\t"true"\r\n'
    )
    assert bulk.http.delete(bulk.path("query", job)).status_code == 204
    assert bulk.http.get(bulk.path("query", job)).status_code == 404
    stopped = bulk.start_query("SELECT Id FROM Lead").json()["id"]
    assert bulk.set("query", stopped, "Aborted").json()["state"] == "Aborted"
