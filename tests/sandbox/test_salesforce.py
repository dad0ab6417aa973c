# ruff: noqa: S608  # the queries are the tests' own texts
import time

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from scc.sandbox import Sandbox
from tests.sandbox.conftest import NOW, SalesforceCaller


@pytest.fixture
def campaigns(sandbox):
    """Four campaigns and nothing else; by name their ids."""
    sandbox.salesforce.clear("Campaign")
    made = {}
    for name, start, budget, active, kind in (
        ("Alpha", "2026-01-01", 1000, True, "Webinar"),
        ("beta", "2026-06-01", 250.5, False, "Email"),
        ("Gamma's 100%", None, None, True, None),
        ("delta_4", "2025-01-01", 0, False, "Webinar"),
    ):
        made[name] = sandbox.salesforce.add(
            "Campaign", {"Name": name, "StartDate": start, "BudgetedCost": budget, "IsActive": active, "Type": kind}
        )
    sandbox.salesforce.update("Campaign", made["beta"], {"ParentId": made["Alpha"]})
    return made


def token(sandbox, auth=None, **form):
    return requests.post(sandbox.url + "/services/oauth2/token", data=form, auth=auth)


def test_client_credentials_are_taken_as_basic_header_or_form(sandbox):
    key, secret = sandbox.env["SALESFORCE_CLIENT_ID"], sandbox.env["SALESFORCE_CLIENT_SECRET"]

    for answer in (
        token(sandbox, (key, secret), grant_type="client_credentials"),
        token(sandbox, grant_type="client_credentials", client_id=key, client_secret=secret),
    ):
        assert answer.status_code == 200
        assert (
            answer.json()["instance_url"] == sandbox.url
            and answer.json()["token_type"] == "Bearer"
            and "expires_in" not in answer.json()
        )


def test_wrong_client_credentials_are_a_400_with_an_oauth_body(sandbox):
    answer = token(sandbox, (sandbox.env["SALESFORCE_CLIENT_ID"], "wrong"), grant_type="client_credentials")

    assert answer.status_code == 400 and set(answer.json()) == {"error", "error_description"}


def test_a_signed_assertion_opens_the_api_and_an_expired_or_foreign_one_does_not(sandbox):
    private = rsa.generate_private_key(65537, 2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert requests.post(sandbox.url + "/_sandbox/jwt-key", public).status_code == 204

    def login(key=private, **changes):
        claims = {
            "iss": sandbox.env["SALESFORCE_CLIENT_ID"],
            "sub": "integration@example.com",
            "aud": "https://login.example.com",
            "exp": str(int(time.time()) + 180),
            **changes,
        }
        return token(
            sandbox,
            grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer",
            assertion=jwt.encode(claims, key, "RS256"),
        )

    # simple-salesforce sends exp as a text; PyJWT refuses to encode anything but a number only when it decodes.
    assert login().status_code == 200
    assert login(exp=int(time.time()) - 10).json()["error"] == "invalid_grant"
    assert login(key=rsa.generate_private_key(65537, 2048)).json()["error"] == "invalid_grant"
    assert login(sub="stranger@example.com").json()["error"] == "invalid_grant"


def test_an_expired_token_is_a_401_array(sandbox, salesforce):
    sandbox.salesforce.expire_tokens()

    assert salesforce.refusal("SELECT Id FROM Campaign") == (401, "INVALID_SESSION_ID")
    salesforce.login()
    assert salesforce.query("SELECT Id FROM Campaign").status_code == 200


def test_every_call_counts_and_says_so(sandbox, salesforce):
    used = [salesforce.query("SELECT Id FROM Campaign LIMIT 1").headers["Sforce-Limit-Info"] for _ in range(2)]

    assert used == ["api-usage=1/100000", "api-usage=2/100000"]
    assert salesforce.http.get(salesforce.base + "/limits").json()["DailyApiRequests"] == {
        "Max": 100000,
        "Remaining": 99997,
    }


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("Name = 'ALPHA'", {"Alpha"}),
        ("name != 'alpha' and Type != null", {"beta", "delta_4"}),
        ("StartDate = null", {"Gamma's 100%"}),
        ("StartDate >= 2026-01-01", {"Alpha", "beta"}),
        ("StartDate < 2026-01-01", {"delta_4"}),
        ("BudgetedCost <= 250.5", {"beta", "delta_4"}),
        ("IsActive = true", {"Alpha", "Gamma's 100%"}),
        ("Name LIKE '%A'", {"Alpha", "beta"}),
        ("Name LIKE '%\\'s%'", {"Gamma's 100%"}),
        ("Name LIKE 'delta\\_%'", {"delta_4"}),
        ("Name LIKE '_lpha'", {"Alpha"}),
        ("Name IN ('alpha', 'BETA')", {"Alpha", "beta"}),
        ("Type NOT IN ('Webinar')", {"beta", "Gamma's 100%"}),
        ("NOT Type = 'Webinar'", {"beta", "Gamma's 100%"}),
        ("(Type = 'Webinar' AND IsActive = false) OR Name = 'beta'", {"delta_4", "beta"}),
        ("Parent.Name = 'Alpha'", {"beta"}),
        ("CreatedDate >= 2026-11-22T00:00:00Z", {"Alpha", "beta", "Gamma's 100%", "delta_4"}),
        ("CreatedDate > 2026-11-22T08:15:00+02:00", set()),
    ],
)
def test_a_condition_finds_what_it_says(sandbox, salesforce, campaigns, condition, expected):
    assert {r["Name"] for r in salesforce.records(f"SELECT Name FROM Campaign WHERE {condition}")} == expected


def test_15_and_18_characters_are_the_same_id(sandbox, salesforce, campaigns):
    alpha, beta = campaigns["Alpha"], campaigns["beta"]

    found = salesforce.records(f"SELECT Id FROM Campaign WHERE Id IN ('{alpha[:15]}', '{beta.upper()}')")

    assert {r["Id"] for r in found} == {alpha, beta} and len(alpha) == 18


def test_ids_that_differ_only_in_case_are_different(sandbox, salesforce, campaigns):
    other = campaigns["Alpha"][:15].swapcase()

    assert salesforce.records(f"SELECT Id FROM Campaign WHERE Id = '{other}'") == []


def test_values_have_their_json_types_and_parents_are_nested(sandbox, salesforce, campaigns):
    rows = salesforce.records(
        "SELECT Name, StartDate, BudgetedCost, IsActive, Parent.Name, CreatedDate FROM Campaign ORDER BY Name"
    )

    assert rows[:2] == [
        {
            "Name": "Alpha",
            "StartDate": "2026-01-01",
            "BudgetedCost": 1000.0,
            "IsActive": True,
            "Parent": None,
            "CreatedDate": "2026-11-22T06:15:00.000+0000",
        },
        {
            "Name": "beta",
            "StartDate": "2026-06-01",
            "BudgetedCost": 250.5,
            "IsActive": False,
            "Parent": {"Name": "Alpha"},
            "CreatedDate": "2026-11-22T06:15:00.000+0000",
        },
    ]
    assert rows[3]["StartDate"] is None and rows[3]["BudgetedCost"] is None


def test_order_limit_offset_and_count(sandbox, salesforce, campaigns):
    ordered = salesforce.records("SELECT Name FROM Campaign ORDER BY StartDate DESC NULLS LAST LIMIT 2 OFFSET 1")

    assert [r["Name"] for r in ordered] == ["Alpha", "delta_4"]
    assert salesforce.query("SELECT COUNT() FROM Campaign WHERE IsActive = true").json() == {
        "totalSize": 2,
        "done": True,
        "records": [],
    }
    assert salesforce.query("SELECT Id FROM Campaign LIMIT 0").json() == {"totalSize": 0, "done": True, "records": []}


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Id FROM Campaign WHERE Id IN ()", "MALFORMED_QUERY"),
        ("SELECT Id FROM Campaign WHERE", "MALFORMED_QUERY"),
        ("SELECT Id Campaign", "MALFORMED_QUERY"),
        ("SELECT Id FROM Campaign WHERE Name = 'open", "MALFORMED_QUERY"),
        ("SELECT Id FROM Campaign WHERE Name = 'a' AND Name = 'b' OR Name = 'c'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Campaign; DROP TABLE x", "MALFORMED_QUERY"),
        ("SELECT Id, Id FROM Campaign", "MALFORMED_QUERY"),
        ("SELECT Nope FROM Campaign", "INVALID_FIELD"),
        ("SELECT Id FROM Campaign WHERE Nope = 1", "INVALID_FIELD"),
        ("SELECT Nope.Name FROM Campaign", "INVALID_FIELD"),
        ("SELECT Id FROM Campaign WHERE StartDate = '2026-01-01'", "INVALID_FIELD"),
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
        ("SELECT Id FROM Campaign WHERE Id = '701-broken'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id FROM Campaign WHERE Name = '" + "x" * 4001 + "'", "MALFORMED_QUERY"),
    ],
)
def test_a_bad_query_is_a_400_with_its_code(shared, soql, code):
    assert SalesforceCaller(shared).refusal(soql) == (400, code)


def test_a_long_result_comes_in_pages_behind_a_locator():
    with Sandbox(contacts=40, now=NOW, page_size=15) as sandbox:
        salesforce = SalesforceCaller(sandbox)
        page = salesforce.query("SELECT Id, Owner.Name FROM Campaign ORDER BY Name").json()
        ids, sizes = [], []
        while True:
            ids += [r["Id"] for r in page["records"]]
            sizes.append((page["totalSize"], page["done"], len(page["records"])))
            if page["done"]:
                break
            page = salesforce.http.get(sandbox.url + page["nextRecordsUrl"]).json()

        assert sizes == [(40, False, 15), (40, False, 15), (40, True, 10)]
        assert sorted(ids) == sorted(r["Id"] for r in sandbox.salesforce.rows("Campaign"))
        bad = salesforce.http.get(salesforce.base + "/query/0r8000000000000AAA-2000")
        assert (bad.status_code, bad.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")


def test_a_locator_dies_after_two_days():
    with Sandbox(contacts=40, now=NOW, page_size=15) as sandbox:
        salesforce = SalesforceCaller(sandbox)
        more = salesforce.query("SELECT Id FROM Campaign").json()["nextRecordsUrl"]
        sandbox.clock.advance(2 * 86400)
        salesforce.login()

        assert salesforce.http.get(sandbox.url + more).json()[0]["errorCode"] == "INVALID_QUERY_LOCATOR"


def test_a_hidden_field_is_absent_and_a_query_for_it_is_refused(sandbox, salesforce, campaigns):
    sandbox.salesforce.hide_field("Campaign", "BudgetedCost")

    described = {
        f["name"] for f in salesforce.http.get(salesforce.base + "/sobjects/Campaign/describe").json()["fields"]
    }
    assert "BudgetedCost" not in described and "Name" in described
    assert salesforce.refusal("SELECT BudgetedCost FROM Campaign") == (400, "INVALID_FIELD")


def test_hidden_and_deleted_rows_are_not_found(sandbox, salesforce, campaigns):
    sandbox.salesforce.hide_row(campaigns["Alpha"])
    sandbox.salesforce.delete("Campaign", campaigns["beta"])
    assert {r["Name"] for r in salesforce.records("SELECT Name FROM Campaign")} == {"Gamma's 100%", "delta_4"}

    sandbox.salesforce.hide_rows("Campaign")

    assert salesforce.records("SELECT Name FROM Campaign") == []
    assert len(sandbox.salesforce.rows("Campaign")) == 3


def subrequest(reference, soql):
    return {
        "method": "GET",
        "referenceId": reference,
        "url": f"/services/data/v59.0/query?q={requests.utils.quote(soql)}",
    }


def test_composite_answers_each_subrequest_for_itself(sandbox, salesforce, campaigns):
    body = {
        "compositeRequest": [
            subrequest("good", "SELECT Name FROM Campaign WHERE Name = 'Alpha'"),
            subrequest("bad", "SELECT Nope FROM Campaign"),
        ]
    }

    answers = salesforce.http.post(salesforce.base + "/composite/", json=body).json()["compositeResponse"]

    assert [(a["referenceId"], a["httpStatusCode"]) for a in answers] == [("good", 200), ("bad", 400)]
    assert answers[0]["body"]["records"][0]["Name"] == "Alpha" and answers[0]["httpHeaders"] == {}
    assert answers[1]["body"][0]["errorCode"] == "INVALID_FIELD"


def test_composite_counts_as_one_call_and_carries_long_statements(sandbox, salesforce, campaigns):
    soql = "SELECT Id FROM Campaign WHERE Id IN (" + ",".join(f"'{i}'" for i in list(campaigns.values()) * 1000) + ")"

    answer = salesforce.http.post(salesforce.base + "/composite", json={"compositeRequest": [subrequest("a", soql)]})

    assert answer.json()["compositeResponse"][0]["body"]["totalSize"] == 4
    assert answer.headers["Sforce-Limit-Info"].startswith("api-usage=1/")


def test_composite_with_all_or_none_fails_all_when_one_fails(sandbox, salesforce):
    body = {
        "allOrNone": True,
        "compositeRequest": [
            subrequest("good", "SELECT Id FROM Campaign"),
            subrequest("bad", "SELECT Nope FROM Campaign"),
        ],
    }

    answers = salesforce.http.post(salesforce.base + "/composite", json=body).json()["compositeResponse"]

    assert [(a["httpStatusCode"], a["body"][0]["errorCode"]) for a in answers] == [
        (400, "PROCESSING_HALTED"),
        (400, "INVALID_FIELD"),
    ]


def test_composite_takes_25_subrequests_of_them_5_queries(sandbox, salesforce):
    def status(subrequests):
        return salesforce.http.post(salesforce.base + "/composite", json={"compositeRequest": subrequests}).status_code

    describes = [{"method": "GET", "referenceId": f"d{i}", "url": "/services/data/v59.0/limits"} for i in range(26)]
    queries = [subrequest(f"q{i}", "SELECT Id FROM Campaign LIMIT 1") for i in range(6)]

    assert [status(describes), status(describes[:25]), status(queries), status(queries[:5])] == [400, 200, 400, 200]


def test_a_later_subrequest_uses_what_an_earlier_one_answered(sandbox, salesforce, campaigns):
    body = {
        "compositeRequest": [
            subrequest("first", "SELECT Id FROM Campaign WHERE Name = 'beta'"),
            {
                "method": "GET",
                "referenceId": "second",
                "url": "/services/data/v59.0/sobjects/Campaign/@{first.records[0].Id}?fields=Name",
            },
        ]
    }

    answers = salesforce.http.post(salesforce.base + "/composite", json=body).json()["compositeResponse"]

    assert answers[1]["body"]["Name"] == "beta"


def test_a_uri_above_16_kb_is_a_414(sandbox, salesforce):
    assert salesforce.query("SELECT Id FROM Campaign WHERE Name = '" + "x" * 17000 + "'").status_code == 414


def test_a_statement_above_100_000_characters_is_refused(sandbox, salesforce):
    soql = "SELECT Id FROM Campaign WHERE Name IN (" + ",".join("'" + "x" * 90 + "'" for _ in range(1100)) + ")"

    answer = salesforce.http.post(salesforce.base + "/composite", json={"compositeRequest": [subrequest("a", soql)]})

    assert answer.json()["compositeResponse"][0]["body"][0]["errorCode"] == "MALFORMED_QUERY"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/services/data/v59.0/nope", 404, "NOT_FOUND"),
        ("/services/data/v30.0/query", 410, "UNSUPPORTED_API_VERSION"),
        ("/services/data/v99.0/query", 404, "NOT_FOUND"),
        ("/services/data/v59.0/sobjects/Nope/describe", 404, "NOT_FOUND"),
    ],
)
def test_paths_that_do_not_exist_are_error_arrays(shared, path, status, code):
    answer = SalesforceCaller(shared).http.get(shared.url + path)

    assert (answer.status_code, answer.json()[0]["errorCode"]) == (status, code)


def test_a_wrong_method_is_a_405(shared):
    answer = SalesforceCaller(shared).http.post(shared.url + "/services/data/v59.0/query")

    assert (answer.status_code, answer.json()[0]["errorCode"]) == (405, "METHOD_NOT_ALLOWED")


def test_versions_are_listed_without_a_token(shared):
    assert {"version": "59.0", "url": "/services/data/v59.0"}.items() <= {
        k: v
        for r in requests.get(shared.url + "/services/data/").json()
        if r["version"] == "59.0"
        for k, v in r.items()
    }.items()
