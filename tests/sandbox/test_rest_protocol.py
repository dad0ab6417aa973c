"""What all of REST shares: versions, paths, headers, errors; and the example shapes (eloqua.md 2.1, 2.2, 5.3-5.7)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import requests

from tests.sandbox.conftest import RestCaller


@pytest.fixture(scope="module")
def rest_(shared):
    return RestCaller(shared)


@pytest.mark.parametrize(
    "base", ["/api/rest/2.0", "/API/REST/2.0", "/Api/Rest/1.0", "/API/REST/2.0/", "/api/rest/2.0//"]
)
def test_paths_have_no_case_and_doubled_slashes_do_no_harm(rest_, shared, base):
    answer = rest_.http.get(f"{shared.url}{base}/DATA/Contacts/", params={"COUNT": 1})

    assert answer.json()["pageSize"] == 1


@pytest.mark.parametrize("path", ["/api/rest/3.0/data/contacts", "/api/rest/2.0/data/nothing", "/api/rest/"])
def test_unknown_paths_are_404(rest_, shared, path):
    assert rest_.http.get(shared.url + path).status_code == 404


def test_a_wrong_verb_is_405(rest_):
    assert rest_.call("DELETE", "/data/contacts").status_code == 405
    assert rest_.call("POST", "/data/contacts", {"ids": [1]}).status_code == 405  # without the override


def test_without_credentials_it_is_401(shared):
    answer = requests.get(f"{shared.url}/API/REST/2.0/data/contacts", auth=("AcmeTest\\API.User", "wrong"))

    assert answer.status_code == 401


def test_every_answer_has_a_request_id(rest_):
    for path in ("/data/contacts", "/data/contact/1", "/nothing"):
        assert re.fullmatch(r"[0-9a-f]{32}/\d+", rest_.get(path).headers["X-Request-Id"])


def test_get_and_post_carry_another_verb(rest, sandbox):
    contact = sandbox.eloqua.add_contact("ana@example.com")
    path = f"/data/contact/{contact}"

    put = rest.call("POST", path, {"firstName": "Ana"}, headers={"X-HTTP-Method-Override": "put"})
    assert (put.status_code, put.json()["firstName"]) == (200, "Ana")

    assert rest.call("GET", path, headers={"X-HTTP-Method-Override": "DELETE"}).status_code == 200
    assert sandbox.eloqua.contact("ana@example.com") is None


def test_a_status_can_be_forced_and_the_true_one_is_told(rest_):
    answer = rest_.call("GET", "/data/contact/1", headers={"X-HTTP-Status-Code-Override": "200"})
    assert (answer.status_code, answer.headers["X-HTTP-Original-Status-Code"]) == (200, "404")

    answer = rest_.call("GET", "/data/contacts", headers={"X-HTTP-Status-Code-Override": "204"})
    assert (answer.status_code, answer.content, answer.headers["X-HTTP-Original-Status-Code"]) == (204, b"", "200")

    for odd in ("99", "abc", "700", "-200", "²00", ""):
        headers = {"X-HTTP-Status-Code-Override": odd.encode()}
        answer = rest_.call("GET", "/data/contact/1", headers=headers)
        assert answer.status_code == 404 and "X-HTTP-Original-Status-Code" not in answer.headers


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b"[" * 100_000, b'{"firstName": "\\ud800"}', b'{"x": NaN}']
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/data/contact"), ("PUT", "/data/contact/2001"), ("POST", "/assets/contact/list")]
)
def test_a_body_that_is_no_json_object_is_400(rest_, method, path, body):
    answer = rest_.http.request(method, rest_.base + path, data=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400


def test_the_content_type_is_mandatory(rest_):
    answer = rest_.http.post(rest_.base + "/assets/contact/list", data=b'{"name": "x"}')

    assert answer.status_code == 400


def test_a_refused_request_changes_nothing_at_all(rest, sandbox):
    contact = sandbox.eloqua.add_contact("ana@example.com")
    number = sandbox.eloqua.add_list("Spec list")
    before = sandbox.mutations

    body = {"name": "Other", "membershipAdditions": [str(contact)], "membershipDeletions": ["x"]}
    assert rest.call("PUT", f"/assets/contact/list/{number}", body).status_code == 400

    assert sandbox.eloqua.lists()["Spec list"] == []
    assert sandbox.mutations == before


@pytest.mark.parametrize("odd", ["a\x00b", "😀 ' \" \\", "%", "x" * 200, "{{Contact.Id}}", "<b>"])
def test_odd_texts_come_back_as_they_went_in(rest_, shared, odd):
    name = f"odd{abs(hash(odd))}@example.com"
    made = rest_.create("/data/contact", {"emailAddress": name, "fieldValues": [{"id": "100017", "value": odd}]})

    values = {e["id"]: e.get("value") for e in rest_.get(f"/data/contact/{made['id']}").json()["fieldValues"]}
    assert values["100017"] == odd
    assert rest_.get("/data/contacts", search="C_Salutation='" + odd.replace("'", "''") + "'").json()["total"] == 1


@pytest.mark.parametrize("number", ["abc", "1.5", "-1", "%00", "99999999999999999999", "1 OR 1=1"])
@pytest.mark.parametrize(
    "path", ["/data/contact/", "/assets/contact/list/", "/data/account/", "/assets/contact/field/"]
)
def test_an_id_that_is_none_is_refused_by_name(rest_, path, number):
    answer = rest_.get(path + number)

    assert answer.status_code == 400
    assert same_shape(answer.json()[0], ERRORS[1])


# -- the example shapes of the reference ------------------------------------------------------------------------------

CONTACT = {
    "type": "Contact",
    "currentStatus": "Awaiting action",
    "id": "2001",
    "createdAt": "1767225600",
    "depth": "partial",
    "name": "ana@example.com",
    "updatedAt": "1767312000",
    "emailAddress": "ana@example.com",
    "emailFormatPreference": "unspecified",
    "firstName": "Ana",
    "isBounceback": "false",
    "isSubscribed": "true",
    "lastName": "Lima",
    "subscriptionDate": "1767225600",
}
ERRORS = json.loads("""[
{"type":"ObjectValidationError","container":{"type":"ObjectKey","objectType":"Contact","objectId":"2001"},"property":"emailAddress","requirement":{"type":"EmailAddressRequirement"},"value":"not-an-address"},
{"type":"EndpointParameterError","parameter":"id","requirement":{"type":"IdRequirement","isRelativeAllowed":false},"value":"abc"}]""")
LIST = json.loads("""{"type":"ContactList","id":"501","createdAt":"1767225600","createdBy":"77","depth":"complete",
"folderId":"48","name":"Spec list 2026","permissions":"fullControl","updatedAt":"1767225600","updatedBy":"77","count":"0",
"dataLookupId":"11111111-2222-3333-4444-555555555555","scope":"global"}""")
RECORD = json.loads("""{"type":"CustomObjectData","id":"9001","createdAt":"1767225600","depth":"complete",
"name":"ana@example.com","updatedAt":"1767225600","contactId":"2001","uniqueCode":"DCTET000000000001",
"currentStatus":"Awaiting action","customObjectRecordStatus":"Registered","fieldValues":[
{"type":"FieldValue","id":"976","value":"Berlin"},{"type":"FieldValue","id":"977","value":"1767225600"}]}""")
SAMPLES = {
    "id|objectId|contactId|createdBy|updatedBy|folderId|count": r"\d+",
    r"\w+(At|Date)": r"\d{10}",
    "dataLookupId": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "uniqueCode": r"DCTET\d{12}",
}
FIXED = ("type", "depth", "scope", "currentStatus", "customObjectRecordStatus", "isSubscribed", "isBounceback")


def same_shape(shown: Any, example: Any) -> bool:
    """The same keys and types; ids and times in the same form; what names a kind or state literally."""
    assert type(shown) is type(example), (shown, example)
    if isinstance(example, dict):
        assert shown.keys() == example.keys() or (shown.get("type") == "FieldValue" and shown.keys() == {"type", "id"})
        for name in shown:
            value = example[name]
            assert name not in FIXED or shown[name] == value
            for names, form in SAMPLES.items():
                if re.fullmatch(names, name) and isinstance(value, str):
                    assert re.fullmatch(form, shown[name]), (name, shown[name])
            same_shape(shown[name], value)
    elif isinstance(example, list):
        for entry in shown:
            same_shape(entry, example[0])
    return True


def test_the_shape_of_a_contact_list_page(rest_, shared):
    shared.eloqua.add_contact("shape@example.com", {"C_FirstName": "Ana", "C_LastName": "Lima"})

    page = rest_.get("/data/contacts", search="shape@example.com", depth="partial").json()

    assert same_shape(page, {"elements": [CONTACT], "page": 1, "pageSize": 1000, "total": 1})
    assert same_shape(page["elements"][0], CONTACT)


def test_the_shape_of_a_created_contact(rest_):
    body = {
        "emailAddress": "bo@example.com",
        "firstName": "Bo",
        "lastName": "X",
        "fieldValues": [{"type": "FieldValue", "id": "100005", "value": "1"}],
    }
    made = rest_.create("/data/contact", body)

    entries = made.pop("fieldValues")
    assert same_shape(made, {**CONTACT, "depth": "complete", "createdBy": "77", "updatedBy": "77"})
    assert all(entry.keys() in ({"type", "id"}, {"type", "id", "value"}) for entry in entries)
    assert {"type": "FieldValue", "id": "100005", "value": "1"} in entries


def test_the_shapes_of_both_kinds_of_errors(rest_):
    invalid = rest_.call("PUT", "/data/contact/2001", {"emailAddress": "not-an-address"})
    assert same_shape(invalid.json(), ERRORS[:1]) and same_shape(invalid.json()[0], ERRORS[0])
    assert invalid.json()[0]["value"] == "not-an-address"
    assert rest_.get("/data/contact/abc").json() == ERRORS[1:]


def test_the_shapes_of_a_contact_list_and_of_membership(rest_, shared):
    old = RestCaller(shared, "1.0")
    made = old.create("/assets/contact/list", {"name": "Spec list 2026"})
    assert same_shape(made, LIST)

    contact = str(shared.eloqua.add_contact("member@example.com"))
    body = {"id": made["id"], "name": made["name"], "membershipAdditions": [contact], "membershipDeletions": []}
    assert same_shape(old.put(f"/assets/contact/list/{made['id']}", body), LIST)
    assert rest_.get(f"/data/contact/{contact}/membership").json() == [
        {"type": "ContactList", "id": made["id"], "name": "Spec list 2026"}
    ]


def test_the_shape_of_a_custom_object_record(rest_, shared):
    entity = shared.eloqua.entity("Event Registration")
    text, date = entity.field_by("Campaign Name").id, entity.field_by("Campaign Start Date").id
    email = entity.field_by("Email Address").id
    values = [(str(text), "Berlin"), (str(date), "1767225600"), (str(email), "ana@example.com")]
    made = rest_.create(
        f"/data/customObject/{entity.id}/instance",
        {"contactId": "2001", "fieldValues": [{"id": i, "value": v} for i, v in values]},
    )

    assert same_shape(made, RECORD)
    assert all({"type": "FieldValue", "id": i, "value": v} in made["fieldValues"] for i, v in values)
    assert made["name"] == "ana@example.com"
