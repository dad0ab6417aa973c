"""Who may call and how often: SOAP and password logins, tokens, versions, limits (salesforce.md 1, 2.4)."""

import gzip
import re

import pytest
import requests

from scc.sandbox import Sandbox
from scc.sandbox.salesforce import PASSWORD, SECURITY_TOKEN, USERNAME
from scc.sandbox.state import State
from tests.sandbox.conftest import NOW, SalesforceCaller

ENVELOPE = """<?xml version="1.0" encoding="utf-8" ?>
<{p}:Envelope xmlns:{p}="http://schemas.xmlsoap.org/soap/envelope/" xmlns:n1="urn:partner.soap.sforce.com">
  <{p}:Body><n1:login><n1:username>{user}</n1:username><n1:password>{password}</n1:password></n1:login></{p}:Body>
</{p}:Envelope>"""


def soap(sandbox, version="59.0", user=USERNAME, password=PASSWORD, prefix="env", body=None):
    body = body or ENVELOPE.format(p=prefix, user=user, password=password)
    headers = {"content-type": "text/xml", "SOAPAction": "login"}
    return requests.post(f"{sandbox.url}/services/Soap/u/{version}", body.encode(), headers=headers)


def fault(answer):
    assert answer.status_code == 500 and answer.headers["Content-Type"].startswith("text/xml")
    return re.search(r"<sf:exceptionCode>(\w+)</sf:exceptionCode>", answer.text)[1]


def bearer(sandbox, token, path="/services/data/v59.0/limits"):
    return requests.get(sandbox.url + path, headers={"Authorization": f"Bearer {token}"})


def test_soap_login_gives_a_session_and_its_server_without_prefixes(shared):
    for prefix, password in (("env", PASSWORD), ("soapenv", PASSWORD + SECURITY_TOKEN)):
        answer = soap(shared, prefix=prefix, password=password)
        session = re.search(r"<sessionId>(.*)</sessionId>", answer.text)[1]

        assert answer.status_code == 200 and f"<serverUrl>{shared.url}/services/Soap/u/59.0/00D" in answer.text
        assert bearer(shared, session).status_code == 200


def test_soap_login_fails_with_the_codes_of_salesforce(sandbox):
    assert fault(soap(sandbox, password="wrong")) == "INVALID_LOGIN"
    assert fault(soap(sandbox, user="x&amp;y@example.com")) == "INVALID_LOGIN"
    assert fault(soap(sandbox, version="65.0")) == "INVALID_OPERATION"
    assert fault(soap(sandbox, version="30.0")) == "UNSUPPORTED_API_VERSION"
    assert fault(soap(sandbox, body="<no xml")) == "INVALID_OPERATION"
    sandbox.salesforce.limits.soap_login = False
    assert fault(soap(sandbox)) == "INVALID_OPERATION"


def test_the_password_grant_works_until_it_is_switched_off(sandbox):
    form = {
        "grant_type": "password",
        "client_id": sandbox.env["SALESFORCE_CLIENT_ID"],
        "client_secret": sandbox.env["SALESFORCE_CLIENT_SECRET"],
        "username": USERNAME,
        "password": PASSWORD + SECURITY_TOKEN,
    }

    def login(**changes):
        return requests.post(sandbox.url + "/services/oauth2/token", {**form, **changes})

    assert bearer(sandbox, login().json()["access_token"]).status_code == 200
    assert login(password="wrong").json()["error"] == "invalid_grant"
    assert login(client_secret="wrong").json()["error"] == "invalid_client"
    sandbox.salesforce.limits.password_grant = False
    assert (login().status_code, login().json()["error"]) == (400, "invalid_grant")


def test_userinfo_names_user_and_org(shared):
    token = SalesforceCaller(shared).http.headers["Authorization"].split()[1]
    info = bearer(shared, token, "/services/oauth2/userinfo").json()

    assert info["preferred_username"] == USERNAME
    assert (info["user_id"][:3], info["organization_id"][:3]) == ("005", "00D")


def test_use_extends_a_tokens_life_idleness_and_number_of_calls_end_it(sandbox, salesforce):
    for _ in range(3):
        sandbox.clock.advance(7000)
        assert salesforce.query("SELECT COUNT() FROM Lead").status_code == 200
    sandbox.clock.advance(7200)
    assert salesforce.refusal("SELECT COUNT() FROM Lead") == (401, "INVALID_SESSION_ID")
    salesforce.login()
    sandbox.salesforce.limits.token_calls = 2
    assert [salesforce.query("SELECT COUNT() FROM Lead").status_code for _ in range(3)] == [200, 200, 401]


def test_a_revoked_token_is_dead(sandbox, salesforce):
    token = salesforce.http.headers["Authorization"].split()[1]

    assert requests.post(sandbox.url + "/services/oauth2/revoke", {"token": token}).status_code == 200
    assert bearer(sandbox, token).status_code == 401
    assert requests.post(sandbox.url + "/services/oauth2/revoke", {"token": token}).status_code == 400


def test_bulk_v1_calls_a_bad_session_a_400_of_its_own(shared):
    def call(version, **headers):
        return requests.post(f"{shared.url}/services/async/{version}/job", json={}, headers=headers)

    refused = call("59.0", **{"X-SFDC-Session": "wrong"})
    assert (refused.status_code, refused.json()["exceptionCode"]) == (400, "InvalidSessionId")
    assert call("29.0").json()["exceptionCode"] == "InvalidVersion"


def test_the_daily_allocation_runs_out_and_comes_back_after_a_day(sandbox, salesforce):
    sandbox.salesforce.limits.daily_requests = 2
    soql = "SELECT COUNT() FROM Lead"
    assert [salesforce.query(soql).status_code for _ in range(2)] == [200, 200]
    assert salesforce.refusal(soql) == (403, "REQUEST_LIMIT_EXCEEDED")

    sandbox.clock.advance(86_400 + 60)
    salesforce.login()

    assert salesforce.query(soql).headers["Sforce-Limit-Info"] == "api-usage=1/2"


def test_limits_count_calls_and_bulk_jobs(sandbox, salesforce):
    salesforce.http.post(salesforce.base + "/jobs/query", json={"operation": "query", "query": "SELECT Id FROM Lead"})
    limits = salesforce.http.get(salesforce.base + "/limits/").json()

    assert limits["DailyApiRequests"] == {"Max": 100_000, "Remaining": 99_998}
    assert limits["DailyBulkV2QueryJobs"] == {"Max": 10_000, "Remaining": 9_999}


def test_headers_that_are_too_long_are_a_431(shared):
    answer = requests.get(shared.url + "/services/data", headers={"X-Long": "x" * 17_000})

    assert answer.status_code == 431


def test_content_types_have_a_charset_unless_it_is_switched_off(sandbox, salesforce):
    assert salesforce.query("SELECT Id FROM Lead").headers["Content-Type"] == "application/json;charset=UTF-8"
    sandbox.salesforce.limits.charset = False
    assert salesforce.query("SELECT Id FROM Lead").headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("body", [gzip.compress(b'{"LastName": "Zipped", "Company": "x"}', mtime=0), b"no gzip"])
def test_a_gzipped_body_is_unpacked_or_refused(sandbox, salesforce, body):
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = salesforce.http.post(salesforce.base + "/sobjects/Lead", data=body, headers=headers)

    made = [r for r in sandbox.salesforce.rows("Lead") if r["LastName"] == "Zipped"]
    assert (answer.status_code, len(made)) == ((400, 0) if body == b"no gzip" else (201, 1))


def test_every_resource_is_listed_and_described(shared):
    api = SalesforceCaller(shared)
    assert {"sobjects", "query", "limits", "composite", "jobs"} <= set(api.http.get(api.base).json())
    named = api.http.get(api.base + "/sobjects/").json()
    assert named["maxBatchSize"] == 200
    for known in named["sobjects"]:
        described = api.http.get(shared.url + known["urls"]["describe"]).json()
        assert described["name"] == known["name"] and described["fields"][0]["name"] == "Id"


def test_custom_fields_are_described_queried_and_saved_with_the_state(sandbox, salesforce):
    sandbox.salesforce.add_field("Lead", "SCC_Key__c", external_id=True, unique=True)
    sandbox.salesforce.add_field("Lead", "SCC_Flag__c", "boolean")
    with pytest.raises(ValueError):
        sandbox.salesforce.add_field("Lead", "SCC_Key__c")

    fields = {f["name"]: f for f in salesforce.http.get(salesforce.base + "/sobjects/Lead/describe").json()["fields"]}
    assert (fields["SCC_Key__c"]["unique"], fields["SCC_Key__c"]["externalId"], fields["SCC_Key__c"]["custom"]) == (
        True,
    ) * 3
    assert salesforce.records("SELECT SCC_Key__c, SCC_Flag__c FROM Lead LIMIT 1") == [
        {"SCC_Key__c": None, "SCC_Flag__c": False}
    ]
    with State.of(sandbox).start() as copy:
        assert SalesforceCaller(copy).records("SELECT SCC_Key__c FROM Lead LIMIT 1") == [{"SCC_Key__c": None}]


def test_each_sandbox_has_custom_fields_of_its_own(sandbox):
    sandbox.salesforce.add_field("Lead", "SCC_Key__c")
    with Sandbox(contacts=40, seed=1, now=NOW) as other:
        assert SalesforceCaller(other).refusal("SELECT SCC_Key__c FROM Lead") == (400, "INVALID_FIELD")
