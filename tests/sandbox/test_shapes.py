"""The example answers of the references, compared structurally: keys, types, status codes."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests

from scc.sandbox import Sandbox
from tests.sandbox.conftest import NOW, EloquaCaller, SalesforceCaller

BULK_STAMP, UNIX, NUMBER = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", r"\d{9,10}", r"-?\d+"


class Maybe:
    """A key that may be absent."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape


def differences(answer: Any, shape: Any, where: str = "$") -> list[str]:
    """How an answer differs from a shape; [] when it does not.

    Shapes: a type; a text (a regular expression for texts); a list of one shape (every item, at least one); a dict of shapes
    by key (no other keys; `Maybe` ones may be absent; the key `...` allows others); None for null; other values as they are.
    """
    if isinstance(shape, Maybe):
        shape = shape.shape
    if isinstance(shape, type):
        right = isinstance(answer, shape) and not (isinstance(answer, bool) and shape is int)
        return [] if right else [f"{where}: {answer!r} is no {shape.__name__}"]
    if isinstance(shape, str):
        right = isinstance(answer, str) and re.fullmatch(shape, answer) is not None
        return [] if right else [f"{where}: {answer!r} is not like {shape!r}"]
    if isinstance(shape, list):
        if not isinstance(answer, list) or not answer:
            return [f"{where}: {answer!r} is no list with items"]
        return [found for i, item in enumerate(answer) for found in differences(item, shape[0], f"{where}[{i}]")]
    if isinstance(shape, dict):
        if not isinstance(answer, dict):
            return [f"{where}: {answer!r} is no object"]
        extra = [] if ... in shape else [f"{where}.{key}: not in the reference" for key in answer if key not in shape]
        named = {key: part for key, part in shape.items() if key is not ...}
        missing = [
            f"{where}.{k}: missing" for k, part in named.items() if k not in answer and not isinstance(part, Maybe)
        ]
        inner = [d for k, part in named.items() if k in answer for d in differences(answer[k], part, f"{where}.{k}")]
        return [*extra, *missing, *inner]
    return [] if answer == shape and type(answer) is type(shape) else [f"{where}: {answer!r} instead of {shape!r}"]


def same(answer: requests.Response, status: int, shape: Any) -> Any:
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    found = differences(answer.json(), shape)
    assert not found, "\n".join(found[:10])
    return answer.json()


@pytest.mark.parametrize(
    ("answer", "shape", "wrong"),
    [
        ({"a": 1}, {"a": int}, 0),
        ({"a": True}, {"a": int}, 1),
        ({"a": "1"}, {"a": int}, 1),
        ({"a": 1, "b": 2}, {"a": int}, 1),
        ({"a": 1, "b": 2}, {"a": int, ...: ...}, 0),
        ({}, {"a": Maybe(int)}, 0),
        ({}, {"a": int}, 1),
        ([{"a": "x"}, {"a": "12"}], [{"a": r"\d+"}], 1),
        ([], [int], 1),
        ("1", 1, 1),
    ],
)
def test_the_comparer_sees_what_differs(answer, shape, wrong):
    assert len(differences(answer, shape)) == wrong


@pytest.fixture(scope="module")
def company():
    with Sandbox(contacts=60, seed=1, now=NOW, sync_polls=1) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def elq(company):
    return EloquaCaller(company)


@pytest.fixture(scope="module")
def crm(company):
    return SalesforceCaller(company)


# -- Eloqua (eloqua.md 5) ---------------------------------------------------------------------------------------------

PAGE = {"totalResults": int, "limit": int, "offset": int, "count": int, "hasMore": bool}
BY = {"createdBy": str, "createdAt": BULK_STAMP, "updatedBy": str, "updatedAt": BULK_STAMP}


def rest(elq: EloquaCaller, method: str, path: str, body: Any = None, **query: Any) -> requests.Response:
    return elq.http.request(method, f"{elq.sandbox.url}/API/REST/2.0{path}", json=body, params=query)


def test_5_1_discovery(elq):
    url = r"http://127\.0\.0\.1:\d+/API/"
    shape = {
        "site": {"id": int, "name": str},
        "user": {"id": int} | dict.fromkeys(("username", "displayName", "firstName", "lastName", "emailAddress"), str),
        "urls": {
            "base": r"http://127\.0\.0\.1:\d+",
            "apis": {
                "soap": dict.fromkeys(
                    ("standard", "dataTransfer", "email", "externalAction"), url + r"\{version\}/\w+\.svc"
                ),
                "rest": {"standard": url + r"REST/\{version\}/", "bulk": url + r"Bulk/\{version\}/"},
            },
        },
    }
    same(elq.http.get(elq.sandbox.url + "/id"), 200, shape)
    same(requests.get(elq.sandbox.url + "/id"), 200, r"Not authenticated\.")


def test_5_2_token(elq):
    env, url = elq.sandbox.env, elq.sandbox.url + "/auth/oauth2/token"
    app = (env["ELOQUA_CLIENT_ID"], env["ELOQUA_CLIENT_SECRET"])
    form = {"grant_type": "password", "username": elq.http.auth[0], "password": elq.http.auth[1], "scope": "full"}
    shape = {"access_token": str, "token_type": "bearer", "expires_in": 28_800, "refresh_token": str}

    first = same(requests.post(url, json=form, auth=app), 200, shape)
    refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], "scope": "full"}
    same(requests.post(url, json=refresh, auth=app), 200, shape)
    same(requests.post(url, json=refresh, auth=app), 400, {"error": "invalid_grant", "error_description": str})


def test_5_3_and_5_4_contacts(elq):
    element = {
        "type": "Contact",
        "id": NUMBER,
        "createdAt": UNIX,
        "depth": "partial",
        "name": str,
        "updatedAt": UNIX,
        "emailAddress": str,
        "isBounceback": "true|false",
        "isSubscribed": "true|false",
        ...: ...,
    }
    found = same(
        rest(elq, "GET", "/data/contacts", depth="partial"),
        200,
        {"elements": [element], "page": int, "pageSize": int, "total": int},
    )
    texts = [v for each in found["elements"] for k, v in each.items() if k != "fieldValues" and not isinstance(v, str)]
    assert texts == []
    body = {"emailAddress": "bo.shape@example.com", "firstName": "Bo"}
    complete = element | {
        "depth": "complete",
        "fieldValues": [{"type": "FieldValue", "id": NUMBER, "value": Maybe(str)}],
    }
    same(rest(elq, "POST", "/data/contact", body), 201, complete)


def test_5_5_validation_errors(elq):
    error = {
        "type": "ObjectValidationError",
        "container": {"type": "ObjectKey", "objectType": "Contact", "objectId": Maybe(str)},
        "property": "emailAddress",
        "requirement": {"type": "EmailAddressRequirement", ...: ...},
        "value": "not-an-address",
    }
    same(rest(elq, "POST", "/data/contact", {"emailAddress": "not-an-address"}), 400, [error])
    parameter = {
        "type": "EndpointParameterError",
        "parameter": "id",
        "requirement": {"type": "IdRequirement", "isRelativeAllowed": False},
        "value": "abc",
    }
    same(rest(elq, "GET", "/data/contact/abc"), 400, [parameter])


def test_5_6_lists_and_membership(elq):
    shape = {
        "type": "ContactList",
        "id": NUMBER,
        "createdAt": UNIX,
        "createdBy": NUMBER,
        "depth": "complete",
        "folderId": NUMBER,
        "name": "Shapes",
        "permissions": list,  # the text "fullControl" in 1.0 (eloqua.md 2.5)
        "updatedAt": UNIX,
        "updatedBy": NUMBER,
        "count": "0",
        "dataLookupId": r"[0-9a-f-]{36}",
        "scope": "global",
    }
    made = same(rest(elq, "POST", "/assets/contact/list", {"name": "Shapes"}), 201, shape)
    contact = rest(elq, "GET", "/data/contacts", count=1).json()["elements"][0]["id"]
    body = {"id": made["id"], "name": "Shapes", "membershipAdditions": [contact], "membershipDeletions": []}
    assert rest(elq, "PUT", f"/assets/contact/list/{made['id']}", body).status_code == 200
    member = {"type": "ContactList", "id": NUMBER, "name": str, ...: ...}
    same(rest(elq, "GET", f"/data/contact/{contact}/membership"), 200, [member])


def test_5_7_custom_object_record(elq):
    number = elq.path_of("Event Registration").rpartition("/")[2]
    field = elq.get(f"/customObjects/{number}/fields").json()["items"][0]["uri"].rpartition("/")[2]
    contact = rest(elq, "GET", "/data/contacts", count=1).json()["elements"][0]["id"]
    body = {"contactId": contact, "fieldValues": [{"id": field, "value": "shape@example.com"}]}
    shape = {
        "type": "CustomObjectData",
        "id": NUMBER,
        "createdAt": UNIX,
        "depth": "complete",
        "updatedAt": UNIX,
        "contactId": contact,
        "uniqueCode": r"DCTET\d+",
        "fieldValues": [{"type": "FieldValue", "id": NUMBER, "value": Maybe(str)}],
        ...: ...,
    }
    same(rest(elq, "POST", f"/data/customObject/{number}/instance", body), 201, shape)


def test_5_8_fields_page(elq):
    field = {
        "name": str,
        "internalName": str,
        "dataType": "emailAddress|string|date|number",
        "hasReadOnlyConstraint": bool,
        "hasNotNullConstraint": bool,
        "hasUniquenessConstraint": bool,
        "statement": r"\{\{Contact\..+\}\}",
        "uri": r"/contacts/fields/\d+",
        "createdAt": BULK_STAMP,
        "updatedAt": BULK_STAMP,
        "createdBy": Maybe(str),
        "updatedBy": Maybe(str),
        "defaultValue": Maybe(str),
    }
    same(elq.get("/contacts/fields"), 200, {"items": [field], **PAGE})


EXPORT = {
    "name": "scc changed contacts",
    "fields": {"Id": "{{Contact.Id}}", "Email": "{{Contact.Field(C_EmailAddress)}}"},
    "filter": "'{{Contact.UpdatedAt}}' >= '2020-01-01 00:00:00'",
    "areSystemTimestampsInUTC": True,
    "dataRetentionDuration": "P1D",
    "autoDeleteDuration": "P3D",
    "maxRecords": 500_000,
}


def echoed(body: dict[str, Any], kind: str, path: str = "/contacts") -> dict[str, Any]:
    return (
        {key: re.escape(v) if isinstance(v, str) else type(v) for key, v in body.items()}
        | {
            "uri": rf"{path}/{kind}/\d+",
            ...: ...,
        }
        | BY
    )


def test_5_9_export_and_5_11_import_definitions(elq):
    same(elq.post("/contacts/exports", EXPORT), 201, echoed(EXPORT, "exports"))
    body = {
        "name": "scc contact update",
        "fields": {"Email": "{{Contact.Field(C_EmailAddress)}}", "First": "{{Contact.Field(C_FirstName)}}"},
        "identifierFieldName": "Email",
        "isSyncTriggeredOnImport": False,
    }
    shape = echoed(body, "imports") | {"dataRetentionDuration": str, "isUpdatingMultipleMatchedRecords": bool}
    made = same(elq.post("/contacts/imports", body), 201, shape)
    answer = elq.post(made["uri"] + "/data", [{"Email": "ana@example.com", "First": "Ana"}])
    assert (answer.status_code, answer.content) == (204, b"")


def test_5_12_custom_object_import_with_linking(elq):
    path = elq.path_of("Event Registration")
    statements = elq.statements(path)
    assert all(re.fullmatch(r"\{\{CustomObject\[\d+\]\.Field\[\d+\]\}\}", text) for text in statements.values())
    body = {
        "name": "scc event rows",
        "fields": {"Email": statements["Email_Address1"], "Key": statements["Record_Key1"]},
        "identifierFieldName": "Key",
        "isSyncTriggeredOnImport": False,
        "mapDataCards": True,
        "mapDataCardsEntityType": "Contact",
        "mapDataCardsEntityField": "{{Contact.Field(C_EmailAddress)}}",
        "mapDataCardsSourceField": "Email",
        "mapDataCardsCaseSensitiveMatch": False,
    }
    shape = echoed(body, "imports", path) | {"dataRetentionDuration": str, "isUpdatingMultipleMatchedRecords": bool}
    same(elq.post(path + "/imports", body), 201, shape)


def test_5_13_sync_actions_and_address_import(elq):
    with_list = elq.sandbox.eloqua.add_list("for 5.13")
    email = {"Email": "{{Contact.Field(C_EmailAddress)}}"}
    action = {"action": "add", "destination": f"{{{{ContactList[{with_list}]}}}}"}
    body = {
        "name": "scc list add",
        "fields": email,
        "identifierFieldName": "Email",
        "isSyncTriggeredOnImport": False,
        "syncActions": [action],
    }
    shape = echoed(body, "syncActions") | {"dataRetentionDuration": str}
    same(elq.post("/contacts/syncActions", body), 201, shape)
    body = {
        "name": "scc global unsubscribe",
        "fields": {"Email": "{{EmailAddress.Field(EmailAddress)}}"},
        "identifierFieldName": "Email",
        "syncActions": [{"action": "setStatus", "destination": "{{GlobalSubscribe}}", "status": "unsubscribed"}],
    }
    own = {"isSyncTriggeredOnImport": True, "dataRetentionDuration": str, "isUpdatingMultipleMatchedRecords": bool}
    same(elq.post("/emailAddresses/imports", body), 201, echoed(body, "imports", "/emailAddresses") | own)


def test_5_14_to_5_16_sync_logs_rejects_and_rows(elq):
    uri = elq.define_import(
        "/contacts",
        {"Email": "{{Contact.Field(C_EmailAddress)}}", "First": "{{Contact.Field(C_FirstName)}}"},
        "Email",
    )
    elq.post(uri + "/data", [{"Email": "good@example.com", "First": "G"}, {"Email": "bad", "First": "Bo"}])
    new = {
        "syncedInstanceUri": uri,
        "status": "pending",
        "createdAt": BULK_STAMP,
        "createdBy": str,
        "uri": r"/syncs/\d+",
    }
    sync = same(elq.post("/syncs", {"syncedInstanceUri": uri}), 201, new)["uri"]
    final = new | {"status": "warning", "syncStartedAt": BULK_STAMP, "syncEndedAt": BULK_STAMP}
    same(elq.get(sync), 200, final)
    line = {
        "syncUri": sync,
        "count": int,
        "severity": "information|warning|error",
        "statusCode": r"ELQ-\d{5}",
        "message": str,
        "createdAt": BULK_STAMP,
    }
    same(elq.get(sync + "/logs"), 200, {"items": [line], **PAGE})
    reject = {
        "fieldValues": {"Email": "bad", "First": "Bo"},
        "message": "Invalid email address.",
        "statusCode": "ELQ-00002",
        "recordIndex": 2,
        "invalidFields": ["Email"],
    }
    same(elq.get(sync + "/rejects"), 200, {"items": [reject], **PAGE})

    export = elq.sync(elq.post("/contacts/exports", EXPORT).json()["uri"])["uri"]
    same(elq.get(export + "/data"), 200, {"items": [{"Id": NUMBER, "Email": str}], **PAGE})
    none = EXPORT | {"filter": "'{{Contact.Field(C_EmailAddress)}}' = 'nobody@example.com'"}
    export = elq.sync(elq.post("/contacts/exports", none).json()["uri"])["uri"]
    same(elq.get(export + "/data"), 200, PAGE | {"totalResults": 0, "count": 0, "hasMore": False})


def test_5_10_activity_rows(elq):
    fields = {
        "ActivityId": "{{Activity.Id}}",
        "ActivityType": "{{Activity.Type}}",
        "ActivityDate": "{{Activity.CreatedAt}}",
        "ContactId": "{{Activity.Contact.Id}}",
        "EmailAddress": "{{Activity.Field(EmailAddress)}}",
    }
    body = {
        "name": "x",
        "fields": fields,
        "filter": "'{{Activity.Type}}' = 'EmailSend'",
        "areSystemTimestampsInUTC": True,
    }
    made = elq.post("/activities/exports", body)
    assert made.status_code == 201, made.text
    sync = elq.sync(made.json()["uri"])["uri"]
    row = dict.fromkeys(fields, str) | {
        "ActivityId": NUMBER,
        "ActivityType": "EmailSend",
        "ActivityDate": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
        "ContactId": NUMBER,
    }
    same(elq.get(sync + "/data"), 200, {"items": [row], **PAGE})


def test_5_17_bulk_validation_error(elq):
    body = EXPORT | {"filter": "'{{Contact.Nope}}' = '1'"}
    shape = {"failures": [{"field": "filter", "value": re.escape(body["filter"]), "constraint": ".+"}]}
    same(elq.post("/contacts/exports", body), 400, shape)


# -- Salesforce (salesforce.md 1 to 3) --------------------------------------------------------------------------------

ID = r"[0-9A-Za-z]{18}"
ERRORS = [{"message": ".+", "errorCode": "[A-Z_]+", "fields": Maybe(list)}]


def test_1_2_token_and_its_error(crm):
    env, url = crm.sandbox.env, crm.sandbox.url + "/services/oauth2/token"
    shape = {
        "access_token": r"\w{15}!.+",
        "instance_url": r"http://.+",
        "id": r"http://.+/id/.+",
        "token_type": "Bearer",
        "issued_at": r"\d{13}",
        "signature": str,
        "scope": Maybe(str),
    }
    app = (env["SALESFORCE_CLIENT_ID"], env["SALESFORCE_CLIENT_SECRET"])
    same(requests.post(url, {"grant_type": "client_credentials"}, auth=app), 200, shape)
    same(requests.post(url, {"grant_type": "x"}), 400, {"error": str, "error_description": str})


def test_2_1_resources(crm):
    root = crm.sandbox.url + "/services/data"
    same(requests.get(root), 200, [{"label": str, "url": r"/services/data/v\d+\.0", "version": r"\d+\.0"}])
    resources = same(crm.http.get(crm.base), 200, {...: ...})
    assert all(isinstance(path, str) for path in resources.values())
    limits = same(
        crm.http.get(crm.base + "/limits"), 200, {"DailyApiRequests": {"Max": int, "Remaining": int}, ...: ...}
    )
    assert all(differences(limit, {"Max": int, "Remaining": int}) == [] for limit in limits.values())
    same(
        crm.http.get(crm.base + "/sobjects"),
        200,
        {"encoding": str, "maxBatchSize": int, "sobjects": [{"name": str, ...: ...}]},
    )
    field = {
        "name": str,
        "type": str,
        "length": int,
        "createable": bool,
        "updateable": bool,
        "nillable": bool,
        "picklistValues": list,
        "externalId": bool,
        ...: ...,
    }
    same(crm.http.get(crm.base + "/sobjects/Lead/describe"), 200, {"name": "Lead", "fields": [field], ...: ...})


def test_2_2_query_pages(crm):
    record = {"attributes": {"type": "CampaignMember", "url": rf"/services/data/v59\.0/sobjects/CampaignMember/{ID}"}}
    record |= {"Id": ID, "CreatedDate": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000"}
    record["Campaign"] = {"attributes": {"type": "Campaign", "url": str}, "Name": str}
    answer = crm.query("SELECT Id, CreatedDate, Campaign.Name FROM CampaignMember")
    same(answer, 200, {"totalSize": int, "done": bool, "nextRecordsUrl": Maybe(str), "records": [record]})


def test_2_3_errors(crm):
    same(crm.query("SELECT Nope FROM Lead"), 400, ERRORS)
    same(crm.http.get(crm.base + "/sobjects/Nope"), 404, ERRORS)
    same(requests.get(crm.base + "/limits"), 401, ERRORS)


def test_2_1_create_collections_and_composite(crm):
    lead = {"LastName": "Shape", "Company": "Shapes Ltd"}
    made = crm.http.post(crm.base + "/sobjects/Lead", json=lead)
    same(made, 201, {"id": ID, "success": True, "errors": list})
    assert made.headers["Location"].endswith(made.json()["id"])
    same(crm.http.post(crm.base + "/sobjects/Lead", json={}), 400, ERRORS)
    rows = {"records": [{"attributes": {"type": "Lead"}, **lead}, {"attributes": {"type": "Lead"}}]}
    verdicts = crm.http.post(crm.base + "/composite/sobjects", json=rows).json()
    assert differences(verdicts[0], {"id": ID, "success": True, "errors": list}) == []
    bad = {"success": False, "errors": [{"statusCode": "[A-Z_]+", "message": str, "fields": list}]}
    assert differences(verdicts[1], bad) == []
    parts = {"compositeRequest": [{"method": "GET", "url": "/services/data/v59.0/limits", "referenceId": "a"}]}
    part = {"body": dict, "httpHeaders": dict, "httpStatusCode": 200, "referenceId": "a"}
    same(crm.http.post(crm.base + "/composite", json=parts), 200, {"compositeResponse": [part]})


def test_3_1_bulk_jobs(crm):
    job = {
        "id": ID,
        "operation": "insert",
        "object": "Lead",
        "createdById": ID,
        "createdDate": str,
        "systemModstamp": str,
        "state": "Open",
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": float,
        "contentUrl": "services/data/.+/batches",
        "lineEnding": "LF|CRLF",
        "columnDelimiter": str,
        ...: ...,
    }
    same(crm.http.post(crm.base + "/jobs/ingest", json={"object": "Lead", "operation": "insert"}), 200, job)
    query = {name: part for name, part in job.items() if name != "contentUrl"}
    query |= {"operation": "query", "state": "UploadComplete"}
    body = {"operation": "query", "query": "SELECT Id FROM Lead"}
    same(crm.http.post(crm.base + "/jobs/query", json=body), 200, query)
