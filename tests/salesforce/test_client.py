"""Who we are at Salesforce, and answers that are whole or none."""

import base64
import re
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scc.config import SalesforceCredentials
from scc.errors import ConfigError, DryRunWrite, Refused, Unavailable
from scc.salesforce.client import Salesforce
from scc.transport import Transport
from tests.canned import RequestsMock, bodies, sent
from tests.salesforce.conftest import CLIENT, DATA, INSTANCE, TOKEN, URL, Composite, page

PEM = serialization.Encoding.PEM
STATEMENT = "SELECT Id, Name FROM Campaign"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(key: Any) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(PEM, form, serialization.NoEncryption()).decode()


def bearer(key: rsa.RSAPrivateKey, **more: str) -> Salesforce:
    """A client that logs in with a signed assertion."""
    credentials = SalesforceCredentials(URL, "consumer-key", username="batch@example.com", private_key=pem(key), **more)
    return Salesforce(Transport(), credentials)


# who we are


def test_a_run_logs_in_once_with_its_client_credentials(org: RequestsMock, salesforce: Salesforce) -> None:
    org.get(f"{DATA}/query/", json=page([{"Id": "1"}]))

    for _ in range(3):
        assert list(salesforce.query(STATEMENT)) == [{"Id": "1"}]

    (login,) = sent(org, "POST")
    assert login.body == "grant_type=client_credentials"
    assert login.headers["Authorization"] == "Basic " + base64.b64encode(b"consumer-key:s3cret").decode()
    queries = sent(org, "GET")
    assert {query.headers["Authorization"] for query in queries} == {"Bearer 00D!first"}
    assert {query.params["q"] for query in queries} == {STATEMENT}


@pytest.mark.parametrize(("more", "audience"), [({}, "https://login.salesforce.com"), ({"audience": URL}, URL)])
def test_a_signed_assertion_says_who_we_are(
    org: RequestsMock, settings: object, key: rsa.RSAPrivateKey, more: dict[str, str], audience: str
) -> None:
    org.get(f"{DATA}/query/", json=page([]))

    list(bearer(key, **more).query(STATEMENT))

    (login,) = sent(org, "POST")
    form = {name: value for name, (value,) in parse_qs(login.body).items()}
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert "Authorization" not in login.headers
    claims = jwt.decode(form["assertion"], key.public_key(), algorithms=["RS256"], audience=audience)
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("consumer-key", "batch@example.com", audience)
    expired = jwt.decode(
        form["assertion"],
        key.public_key(),
        algorithms=["RS256"],
        audience=audience,
        options={"verify_exp": False, "require": ["exp"]},
    )
    assert isinstance(expired["exp"], int)


def test_an_assertion_is_good_for_three_minutes_only(
    org: RequestsMock, settings: object, key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.get(f"{DATA}/query/", json=page([]))
    monkeypatch.setattr("scc.salesforce.client.time.time", lambda: 1_800_000_000.5)

    list(bearer(key).query(STATEMENT))

    assertion = parse_qs(sent(org, "POST")[0].body)["assertion"][0]
    claims = jwt.decode(assertion, options={"verify_signature": False})
    assert claims["exp"] == 1_800_000_180


@pytest.mark.parametrize(
    "text", ["no key", "", pem(ec.generate_private_key(ec.SECP256R1()))], ids=["text", "empty", "EC"]
)
def test_a_key_that_is_none_is_the_operators_fault(org: RequestsMock, settings: object, text: str) -> None:
    credentials = SalesforceCredentials(URL, "consumer-key", username="batch@example.com", private_key=text or " ")

    with pytest.raises(ConfigError, match="SALESFORCE_PRIVATE_KEY") as raised:
        list(Salesforce(Transport(), credentials).query(STATEMENT))
    assert "BEGIN" not in str(raised.value)
    assert len(org.calls) == 0


@pytest.mark.parametrize("status", [400, 401])
def test_a_refused_login_is_the_operators_fault(http: RequestsMock, salesforce: Salesforce, status: int) -> None:
    http.post(TOKEN, status=status, json={"error": "invalid_client", "error_description": "consumer-key is unknown"})

    with pytest.raises(ConfigError, match=r"invalid_client.*SALESFORCE_CLIENT_ID") as raised:
        list(salesforce.query(STATEMENT))
    for secret in ("s3cret", "is unknown"):
        assert secret not in str(raised.value)


def test_a_login_host_that_is_down_is_not_a_wrong_secret(http: RequestsMock, salesforce: Salesforce) -> None:
    http.post(TOKEN, status=500)

    with pytest.raises(Unavailable):
        list(salesforce.query(STATEMENT))


@pytest.mark.parametrize("answer", [{}, {"access_token": "t"}, "welcome", []])
def test_a_login_answer_without_a_token_is_refused(http: RequestsMock, salesforce: Salesforce, answer: Any) -> None:
    http.post(TOKEN, json=answer)

    with pytest.raises(Refused, match="holds no token"):
        list(salesforce.query(STATEMENT))


def test_a_token_does_not_travel_unprotected(http: RequestsMock, salesforce: Salesforce) -> None:
    http.post(TOKEN, json={"access_token": "t", "instance_url": "http://acme.example.com"})

    with pytest.raises(ConfigError, match="use https"):
        list(salesforce.query(STATEMENT))


def test_credentials_do_not_show_when_printed(key: rsa.RSAPrivateKey) -> None:
    credentials = SalesforceCredentials(URL, "consumer-key", "s3cret", "batch@example.com", pem(key))

    assert "s3cret" not in repr(credentials)
    assert "BEGIN" not in repr(credentials)


# an expired session


EXPIRED = [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]


def test_an_expired_session_is_replaced(org: RequestsMock, salesforce: Salesforce) -> None:
    org.post(TOKEN, json={"access_token": "00D!second", "instance_url": INSTANCE})
    org.get(f"{DATA}/query/", status=401, json=EXPIRED)
    org.get(f"{DATA}/query/", json=page([{"Id": "1"}]))

    assert list(salesforce.query(STATEMENT)) == [{"Id": "1"}]
    assert [query.headers["Authorization"] for query in sent(org, "GET")] == ["Bearer 00D!first", "Bearer 00D!second"]


def test_a_session_that_is_refused_again_is_not_replaced_again(org: RequestsMock, salesforce: Salesforce) -> None:
    org.get(f"{DATA}/query/", status=401, json=EXPIRED)

    with pytest.raises(Refused, match="401 INVALID_SESSION_ID"):
        list(salesforce.query(STATEMENT))
    assert len(sent(org, "POST", "/token")) == 2
    assert len(sent(org, "GET")) == 2


def test_a_session_that_expires_amid_the_pages_is_replaced(org: RequestsMock, salesforce: Salesforce) -> None:
    org.get(f"{DATA}/query/", json=page([{"Id": "1"}], total=2, more="a"))
    org.get(f"{DATA}/query/0r8xxa-2000", status=401, json=EXPIRED)
    org.get(f"{DATA}/query/0r8xxa-2000", json=page([{"Id": "2"}], total=2))

    assert list(salesforce.query(STATEMENT)) == [{"Id": "1"}, {"Id": "2"}]
    assert len(sent(org, "POST", "/token")) == 2


def test_a_session_that_expires_amid_the_chunks_is_replaced(org: RequestsMock, salesforce: Salesforce) -> None:
    org.post(f"{DATA}/composite", status=401, json=EXPIRED)
    Composite(org, {"a": {"Id": "a"}})

    assert list(salesforce.lookup("Campaign", ["Id"], "Id", ["a"])) == [{"Id": "a"}]


# queries


def test_records_of_all_pages_come_without_their_attributes(org: RequestsMock, salesforce: Salesforce) -> None:
    parent = {"attributes": {"type": "User"}, "Name": "Ada"}
    org.get(f"{DATA}/query/", json=page([{"Id": "1", "Owner": parent}], total=3, more="a"))
    org.get(f"{DATA}/query/0r8xxa-2000", json=page([{"Id": "2", "Owner": None}], total=3, more="b"))
    org.get(f"{DATA}/query/0r8xxb-2000", json=page([{"Id": "3", "Owner": None}], total=3))

    records = list(salesforce.query(STATEMENT))

    assert [record["Id"] for record in records] == ["1", "2", "3"]
    assert records[0]["Owner"]["Name"] == "Ada"
    assert all("attributes" not in record for record in records)


def test_missing_records_are_noticed(org: RequestsMock, salesforce: Salesforce) -> None:
    org.get(f"{DATA}/query/", json=page([{"Id": "1"}], total=2))

    with pytest.raises(Refused, match="1 records came instead of 2"):
        list(salesforce.query(STATEMENT))


@pytest.mark.parametrize("answer", [[{"Id": "1"}], {"done": True, "totalSize": 0}])
def test_an_answer_of_another_shape_is_refused(org: RequestsMock, salesforce: Salesforce, answer: Any) -> None:
    org.get(f"{DATA}/query/", json=answer)

    with pytest.raises(Refused):
        list(salesforce.query(STATEMENT))


def test_a_refused_query_keeps_its_text_to_itself(org: RequestsMock, salesforce: Salesforce) -> None:
    message = "SELECT Id FROM Lead WHERE Email = 'jane@example.com' ERROR at Row:1:Column:8"
    org.get(f"{DATA}/query/", status=400, json=[{"errorCode": "MALFORMED_QUERY", "message": message}])

    with pytest.raises(Refused, match="MALFORMED_QUERY") as raised:
        list(salesforce.query("SELECT Id FROM Lead WHERE Email = 'jane@example.com'"))
    assert "jane" not in str(raised.value)


def test_a_query_is_asked_in_the_configured_version(org: RequestsMock, salesforce: Salesforce, settings: Any) -> None:
    settings("salesforce", "api_version", "64.0")
    org.get(f"{INSTANCE}/services/data/v64.0/query/", json=page([]))

    assert list(Salesforce(Transport(), CLIENT).query(STATEMENT)) == []


@pytest.mark.parametrize(("status", "code"), [(400, "INVALID_FIELD"), (404, "NOT_FOUND")])
def test_a_statement_that_salesforce_does_not_take_is_the_operators_fault(
    org: RequestsMock, salesforce: Salesforce, status: int, code: str
) -> None:
    org.get(f"{DATA}/query/", status=status, json=[{"errorCode": code, "message": "No such column 'Nmae'"}])

    with pytest.raises(ConfigError, match=code):
        salesforce.check(f"{STATEMENT} LIMIT 0")


@pytest.mark.parametrize(("status", "kind"), [(500, Unavailable), (403, Refused)])
def test_a_statement_that_could_not_be_judged_is_no_mistake(
    org: RequestsMock, salesforce: Salesforce, status: int, kind: type[Exception]
) -> None:
    org.get(f"{DATA}/query/", status=status)

    with pytest.raises(kind):
        salesforce.check(f"{STATEMENT} LIMIT 0")


def test_a_statement_that_salesforce_takes_is_no_mistake(org: RequestsMock, salesforce: Salesforce) -> None:
    org.get(f"{DATA}/query/", json=page([]))

    salesforce.check(f"{STATEMENT} LIMIT 0")


# look-ups


def test_a_lookup_asks_for_every_value_once_in_a_few_small_posts(org: RequestsMock, salesforce: Salesforce) -> None:
    ids = [f"701{number:012}AAA" for number in range(5000)]
    composite = Composite(org, {one: {"Id": one, "Name": f"Fair {one}"} for one in ids[::2]})

    found = list(salesforce.lookup("Campaign", ["Id", "Name"], "Id", ids))

    assert [record["Id"] for record in found] == ids[::2]
    assert sorted(composite.asked) == ids
    assert max(len(call) for call in composite.calls) <= 5
    assert max(len(url) for call in composite.calls for url in call) < 16_384
    assert len(composite.calls) <= 4
    assert sent(org, "GET") == []


@pytest.mark.parametrize(
    "value", ["'" * 200, "\\" * 200, "ö" * 100, "O'Hara & Söhne\\"], ids=["quotes", "backslashes", "umlauts", "mixed"]
)
def test_a_lookup_by_odd_values_fits_into_the_limits_too(org: RequestsMock, salesforce: Salesforce, value: str) -> None:
    values = [f"{value}{number}" for number in range(200)]
    composite = Composite(org, {values[7]: {"Id": "7"}})

    assert list(salesforce.lookup("Lead", ["Id"], "Company", values)) == [{"Id": "7"}]
    assert composite.asked == values
    assert max(len(url) for call in composite.calls for url in call) < 16_384


def test_a_lookup_obeys_its_condition(org: RequestsMock, salesforce: Salesforce) -> None:
    composite = Composite(org, {})

    list(salesforce.lookup("Campaign", ["Id"], "Id", ["a"], "IsActive = true OR Type = 'x'"))

    assert composite.statements == ["SELECT Id FROM Campaign WHERE Id IN ('a') AND (IsActive = true OR Type = 'x')"]
    with pytest.raises(ValueError, match="closed that was not opened"):
        list(salesforce.lookup("Campaign", ["Id"], "Id", ["a"], "IsActive = true) OR (Id != null"))


def test_a_lookup_of_nothing_asks_nothing(org: RequestsMock, salesforce: Salesforce) -> None:
    assert list(salesforce.lookup("Campaign", ["Id"], "Id", [])) == []
    assert len(org.calls) == 0


def test_a_lookup_reads_all_pages_of_each_chunk(org: RequestsMock, salesforce: Salesforce) -> None:
    part = {"httpStatusCode": 200, "body": page([{"Id": "1"}], total=2, more="a"), "referenceId": "query0"}
    org.post(f"{DATA}/composite", json={"compositeResponse": [part]})
    org.get(f"{DATA}/query/0r8xxa-2000", json=page([{"Id": "2"}], total=2))

    assert list(salesforce.lookup("Campaign", ["Id"], "Id", ["1", "2"])) == [{"Id": "1"}, {"Id": "2"}]


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        ((400, "INVALID_FIELD"), Refused),
        ((403, "REQUEST_LIMIT_EXCEEDED"), Unavailable),
        ((500, "UNKNOWN_EXCEPTION"), Unavailable),
        ((503, "SERVER_UNAVAILABLE"), Unavailable),
    ],
)
def test_one_failed_chunk_fails_the_lookup(
    org: RequestsMock, salesforce: Salesforce, fail: tuple[int, str], kind: type[Exception]
) -> None:
    ids = [f"701{number:012}AAA" for number in range(1000)]
    Composite(org, {one: {"Id": one} for one in ids}).fail = fail

    with pytest.raises(kind, match=f"{fail[0]} {fail[1]}") as raised:
        list(salesforce.lookup("Campaign", ["Id"], "Id", ids))
    assert "jane" not in str(raised.value)


@pytest.mark.parametrize(
    "answer",
    [
        {"compositeResponse": []},
        {},
        {"compositeResponse": [{"httpStatusCode": 200, "body": page([{"Id": "1"}], total=2)}]},
        {"compositeResponse": [{"body": page([{"Id": "1"}])}]},
    ],
    ids=["no part", "nothing", "a record is missing", "no status"],
)
def test_an_answer_that_is_not_whole_fails_the_lookup(org: RequestsMock, salesforce: Salesforce, answer: Any) -> None:
    org.post(f"{DATA}/composite", json=answer)

    with pytest.raises(Refused):
        list(salesforce.lookup("Campaign", ["Id"], "Id", ["1", "2"]))


@pytest.mark.parametrize("answer", [[{"Id": "1"}], {"compositeResponse": [{"httpStatusCode": 200}]}])
def test_a_composite_answer_of_another_shape_is_refused(org: RequestsMock, salesforce: Salesforce, answer: Any) -> None:
    org.post(f"{DATA}/composite", json=answer)

    with pytest.raises(Refused):
        list(salesforce.lookup("Campaign", ["Id"], "Id", ["1"]))


def test_a_lost_answer_to_a_lookup_is_asked_for_again(org: RequestsMock, salesforce: Salesforce) -> None:
    org.post(f"{DATA}/composite", status=503)
    Composite(org, {"1": {"Id": "1"}})

    assert list(salesforce.lookup("Campaign", ["Id"], "Id", ["1"])) == [{"Id": "1"}]


def test_parts_of_a_lookup_do_not_undo_each_other(org: RequestsMock, salesforce: Salesforce) -> None:
    Composite(org, {})

    list(salesforce.lookup("Campaign", ["Id"], "Id", ["1"]))

    (body,) = bodies(sent(org, "POST", "/composite"))
    assert body["allOrNone"] is False
    names = [part["referenceId"] for part in body["compositeRequest"]]
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in names)


def test_a_dry_run_looks_up(org: RequestsMock, settings: object) -> None:
    Composite(org, {"1": {"Id": "1"}})
    salesforce = Salesforce(Transport(dry_run=True), CLIENT)

    assert list(salesforce.lookup("Campaign", ["Id"], "Id", ["1"])) == [{"Id": "1"}]


def test_a_dry_run_does_not_write_through_the_library(org: RequestsMock, settings: object) -> None:
    transport = Transport(dry_run=True)
    salesforce = Salesforce(transport, CLIENT)
    org.get(f"{DATA}/query/", json=page([]))
    list(salesforce.query(STATEMENT))
    parts = [{"method": "PATCH", "url": "/services/data/v62.0/sobjects/Lead/1", "referenceId": "a", "body": {}}]

    with pytest.raises(DryRunWrite):
        salesforce._library.restful("composite", method="POST", json={"compositeRequest": parts})
