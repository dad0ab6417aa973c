"""Who we are at Eloqua, where our instance lives, and what is repeated."""

import base64
import json
from typing import Any

import pytest

from scc.eloqua.client import Eloqua
from scc.errors import ConfigError, Refused, Unavailable
from scc.transport import Transport
from tests.canned import RequestsMock, bodies, sent
from tests.eloqua.conftest import BASE, BASIC, HOST, LOGIN, OAUTH, discovered

MOVED = "https://secure.p07.example.com"
TOKEN = f"{LOGIN}/auth/oauth2/token"


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


@pytest.fixture
def oauth(settings: object) -> Eloqua:
    return Eloqua(Transport(), OAUTH)


# discovery


def test_the_instance_is_found_through_the_login_host(login: RequestsMock, eloqua: Eloqua) -> None:
    login.get(f"{BASE}/syncs/7", json={"status": "active"})

    assert eloqua.get("/syncs/7") == {"status": "active"}
    assert [request.headers["Authorization"] for request in sent(login)] == [basic("Acme\\Batch:pa55-word")] * 2


def test_the_login_host_is_asked_once_a_run(login: RequestsMock, eloqua: Eloqua) -> None:
    login.get(f"{BASE}/syncs/7", json={})

    for _ in range(3):
        eloqua.get("/syncs/7")

    assert len(sent(login, "GET", "/id")) == 1


def rest(http: RequestsMock) -> str:
    """An instance that has the REST API as well; its base."""
    document = discovered()
    document["urls"]["apis"]["rest"]["standard"] = f"{HOST}/API/REST/{{version}}/"
    http.get(f"{LOGIN}/id", json=document)
    return f"{HOST}/API/REST/2.0"


def test_contacts_are_counted_by_asking_for_one(http: RequestsMock, eloqua: Eloqua) -> None:
    http.get(f"{rest(http)}/data/contacts", json={"elements": [{"id": "1"}], "total": 1234567})

    assert eloqua.contact_count() == 1_234_567
    assert sent(http, "GET", "/data/contacts")[0].params == {"count": "1", "depth": "minimal"}


@pytest.mark.parametrize("answer", [{}, {"total": None}, {"total": "many"}])
def test_an_answer_without_a_total_is_refused(http: RequestsMock, eloqua: Eloqua, answer: dict[str, Any]) -> None:
    http.get(f"{rest(http)}/data/contacts", json=answer)

    with pytest.raises(Refused, match="no total"):
        eloqua.contact_count()


def test_an_instance_without_a_rest_api_is_refused_when_it_is_needed(login: RequestsMock, eloqua: Eloqua) -> None:
    with pytest.raises(Refused, match="no REST API"):
        eloqua.contact_count()


@pytest.mark.parametrize(
    "answer", [{"json": "Not authenticated."}, {"status": 401}, {"status": 403}], ids=["softly", "401", "403"]
)
def test_wrong_credentials_are_the_operators_fault(http: RequestsMock, eloqua: Eloqua, answer: dict[str, Any]) -> None:
    http.get(f"{LOGIN}/id", **answer)

    with pytest.raises(ConfigError, match="ELOQUA_PASSWORD") as raised:
        eloqua.get("/syncs/7")
    assert "pa55-word" not in str(raised.value)
    assert len(http.calls) == 1


def test_a_login_host_that_is_down_is_not_a_wrong_password(http: RequestsMock, eloqua: Eloqua) -> None:
    http.get(f"{LOGIN}/id", status=500)

    with pytest.raises(Unavailable):
        eloqua.get("/syncs/7")


def test_a_login_host_that_knows_no_discovery_is_not_a_wrong_password(http: RequestsMock, eloqua: Eloqua) -> None:
    http.get(f"{LOGIN}/id", status=404)

    with pytest.raises(Refused, match="GET /id: was not found"):
        eloqua.get("/syncs/7")


@pytest.mark.parametrize("answer", [{}, {"urls": {"apis": "none"}}, {"urls": None}])
def test_an_answer_that_names_no_instance_is_refused(http: RequestsMock, eloqua: Eloqua, answer: Any) -> None:
    http.get(f"{LOGIN}/id", json=answer)

    with pytest.raises(Refused, match="names no Bulk API"):
        eloqua.get("/syncs/7")


def test_credentials_do_not_travel_unprotected(http: RequestsMock, eloqua: Eloqua) -> None:
    http.get(f"{LOGIN}/id", json=discovered("http://secure.example.com"))

    with pytest.raises(ConfigError, match="use https"):
        eloqua.get("/syncs/7")


# 401


def test_an_instance_that_moved_is_found_again(login: RequestsMock, eloqua: Eloqua) -> None:
    login.get(f"{LOGIN}/id", json=discovered(MOVED))
    login.get(f"{BASE}/syncs/7", status=401)
    login.get(f"{MOVED}/API/Bulk/2.0/syncs/7", json={"status": "success"})
    login.get(f"{MOVED}/API/Bulk/2.0/syncs/8", json={})

    assert eloqua.get("/syncs/7") == {"status": "success"}
    eloqua.get("/syncs/8")
    assert len(sent(login, "GET", "/id")) == 2


def test_a_write_turned_away_with_401_goes_to_where_the_instance_moved(login: RequestsMock, eloqua: Eloqua) -> None:
    login.get(f"{LOGIN}/id", json=discovered(MOVED))
    login.post(f"{BASE}/customObjects/9/imports/4/data", status=401)
    login.post(f"{MOVED}/API/Bulk/2.0/customObjects/9/imports/4/data", status=204)

    eloqua.upload("/customObjects/9/imports/4/data", b"[]")

    assert len(sent(login, "POST", MOVED)) == 1


def test_a_401_that_stays_is_told_after_one_more_try(login: RequestsMock, eloqua: Eloqua) -> None:
    login.get(f"{BASE}/syncs/7", status=401)

    with pytest.raises(Refused, match="401"):
        eloqua.get("/syncs/7")
    assert len(sent(login, "GET", "/syncs/7")) == 2
    assert len(sent(login, "GET", "/id")) == 2


def test_a_user_who_was_disabled_meanwhile_is_the_operators_fault(login: RequestsMock, eloqua: Eloqua) -> None:
    login.get(f"{LOGIN}/id", json="Not authenticated.")
    login.get(f"{BASE}/syncs/7", status=401)

    with pytest.raises(ConfigError, match="our user at site Acme"):
        eloqua.get("/syncs/7")


# OAuth


def test_a_run_takes_one_token_by_the_password_grant(login: RequestsMock, oauth: Eloqua) -> None:
    login.post(TOKEN, json={"access_token": "a-1", "expires_in": 28800, "refresh_token": "r-1"})
    login.get(f"{BASE}/syncs/7", json={})

    for _ in range(3):
        oauth.get("/syncs/7")

    (token,) = sent(login, "POST", "/token")
    assert token.headers["Authorization"] == basic("app:app-s3cret")
    assert bodies([token]) == [
        {"grant_type": "password", "scope": "full", "username": "Acme\\Batch", "password": "pa55-word"}
    ]
    assert {request.headers["Authorization"] for request in sent(login, "GET")} == {"Bearer a-1"}


@pytest.mark.parametrize("status", [429, 503], ids=["asked for too soon", "lost"])
def test_a_token_that_did_not_come_is_asked_for_again(login: RequestsMock, oauth: Eloqua, status: int) -> None:
    for _ in range(2):
        login.post(TOKEN, status=status)
    login.post(TOKEN, json={"access_token": "a-1"})
    login.get(f"{BASE}/syncs/7", json={"status": "active"})

    assert oauth.get("/syncs/7") == {"status": "active"}


def test_an_expired_token_is_replaced_once(login: RequestsMock, oauth: Eloqua) -> None:
    login.post(TOKEN, json={"access_token": "a-1"})
    login.post(TOKEN, json={"access_token": "a-2"})
    login.get(f"{BASE}/syncs/7", status=401)
    login.get(f"{BASE}/syncs/7", json={})

    oauth.get("/syncs/7")

    assert [request.headers["Authorization"] for request in sent(login, "GET", "/syncs/7")] == [
        "Bearer a-1",
        "Bearer a-2",
    ]


@pytest.mark.parametrize("status", [400, 401])
def test_a_refused_oauth_login_is_the_operators_fault(login: RequestsMock, oauth: Eloqua, status: int) -> None:
    login.post(TOKEN, status=status, json={"error": "invalid_grant", "error_description": "Batch's password"})

    with pytest.raises(ConfigError, match=r"invalid_grant.*ELOQUA_CLIENT_SECRET") as raised:
        oauth.get("/syncs/7")
    for secret in ("pa55-word", "app-s3cret", "Batch's password"):
        assert secret not in str(raised.value)


@pytest.mark.parametrize("answer", [{}, "token", []])
def test_a_token_answer_without_a_token_is_refused(login: RequestsMock, oauth: Eloqua, answer: Any) -> None:
    login.post(TOKEN, json=answer)

    with pytest.raises(Refused, match="holds no token"):
        oauth.get("/syncs/7")


@pytest.mark.parametrize("credentials", [BASIC, OAUTH])
def test_credentials_do_not_show_when_printed(credentials: object) -> None:
    for secret in ("pa55-word", "app-s3cret"):
        assert secret not in repr(credentials)


# what is sent


def test_rows_are_uploaded_as_they_are_in_utf_8(login: RequestsMock, eloqua: Eloqua) -> None:
    login.post(f"{BASE}/customObjects/9/imports/4/data", status=204)

    eloqua.upload("/customObjects/9/imports/4/data", '[{"Name":"Größe"}]'.encode())

    (request,) = sent(login, "POST")
    assert request.body == '[{"Name":"Größe"}]'.encode()
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"


def test_rows_that_may_have_arrived_are_not_uploaded_again(login: RequestsMock, eloqua: Eloqua) -> None:
    login.post(f"{BASE}/customObjects/9/imports/4/data", status=503)

    with pytest.raises(Unavailable):
        eloqua.upload("/customObjects/9/imports/4/data", b"[]")
    assert len(sent(login, "POST")) == 1


def test_a_post_is_repeated_only_when_a_second_one_does_no_harm(login: RequestsMock, eloqua: Eloqua) -> None:
    login.post(f"{BASE}/syncs", status=503)
    with pytest.raises(Unavailable):
        eloqua.post("/syncs", {"syncedInstanceUri": "/customObjects/9/imports/4"})
    assert len(sent(login, "POST")) == 1

    login.post(f"{BASE}/customObjects/9/exports", status=503)
    login.post(f"{BASE}/customObjects/9/exports", json={"uri": "/customObjects/9/exports/3"})
    eloqua.post("/customObjects/9/exports", {"name": "SCC"}, idempotent=True)
    assert [json.loads(request.body) for request in sent(login, "POST", "/exports")] == [{"name": "SCC"}] * 2


def test_parameters_of_a_read_reach_eloqua(login: RequestsMock, eloqua: Eloqua) -> None:
    login.get(f"{BASE}/syncs/7/data", json={})

    eloqua.get("/syncs/7/data", limit=1000, offset=2000)

    assert sent(login, "GET", "/data")[0].params == {"limit": "1000", "offset": "2000"}


@pytest.mark.parametrize("status", [204, 404, 410])
def test_a_definition_that_is_gone_is_deleted(login: RequestsMock, eloqua: Eloqua, status: int) -> None:
    login.delete(f"{BASE}/customObjects/9/exports/3", status=status)

    eloqua.delete("/customObjects/9/exports/3")


def test_a_deletion_whose_answer_was_lost_is_repeated(login: RequestsMock, eloqua: Eloqua) -> None:
    login.delete(f"{BASE}/customObjects/9/exports/3", status=503)
    login.delete(f"{BASE}/customObjects/9/exports/3", status=404)

    eloqua.delete("/customObjects/9/exports/3")

    assert len(sent(login, "DELETE")) == 2


def test_a_definition_that_may_not_be_deleted_is_told(login: RequestsMock, eloqua: Eloqua) -> None:
    login.delete(f"{BASE}/customObjects/9/exports/3", status=403)

    with pytest.raises(Refused, match="403"):
        eloqua.delete("/customObjects/9/exports/3")
