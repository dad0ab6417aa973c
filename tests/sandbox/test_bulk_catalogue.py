"""The lists of the Bulk API and the shapes of eloqua.md 5.8 to 5.17."""

import json
import re

import pytest

EMAIL = "{{Contact.Field(C_EmailAddress)}}"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z")
TAIL = {"totalResults": int, "limit": int, "offset": int, "count": int, "hasMore": bool}


def shape(document):
    """Keys and types: what an example of the reference and an answer must have in common."""
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items()}
    if isinstance(document, list):
        return [shape(document[0])] if document else []
    return type(document)


@pytest.mark.parametrize(
    "path",
    [
        *("/contacts/fields", "/contacts/lists", "/contacts/filters", "/contacts/segments", "/contacts/scoring/models"),
        *("/accounts/fields", "/accounts/lists", "/activities/fields", "/campaigns/fields", "/opportunities/fields"),
        *("/emailGroups", "/customObjects", "/events", "/imports/priorities", "/imports", "/exports", "/syncActions"),
        *("/contacts/exports", "/contacts/imports", "/contacts/syncActions", "/accounts/exports", "/accounts/imports"),
        *("/activities/exports", "/activities/imports", "/emailAddresses/imports", "/opportunities/imports"),
        *("/opportunities/contacts/imports", "/accounts/syncActions", "/customObjects/9/syncActions", "/syncs"),
    ],
)
def test_every_list_has_the_envelope_and_its_items_are_found_by_their_uri(shared_eloqua, path):
    answer = shared_eloqua.get(path.upper() if "9" not in path else path, limit=5)

    document = answer.json()
    items = document.pop("items")
    assert answer.status_code == 200 and shape(document) == TAIL
    if items and "uri" in items[0]:
        assert shared_eloqua.get(items[0]["uri"]).json() == items[0]


@pytest.mark.parametrize("path", ["/campaignResponses/exports", "/campaignResponses/fields", "/contacts/deletes"])
def test_what_is_not_imitated_is_not_found(shared_eloqua, path):
    assert shared_eloqua.get(path).status_code == 404


def test_a_contact_field_has_the_shape_of_the_reference(shared_eloqua):
    item = next(
        i for i in shared_eloqua.get("/contacts/fields").json()["items"] if i["uri"] == "/contacts/fields/100001"
    )

    assert item == json.loads("""{"name":"Email Address","internalName":"C_EmailAddress","dataType":"emailAddress",
        "hasReadOnlyConstraint":false,"hasNotNullConstraint":true,"hasUniquenessConstraint":true,
        "statement":"{{Contact.Field(C_EmailAddress)}}","uri":"/contacts/fields/100001",
        "createdAt":"1900-01-01T05:00:00.0000000Z","updatedAt":"1900-01-01T05:00:00.0000000Z"}""")


def test_lists_and_groups_name_their_statement(sandbox, eloqua):
    contact = sandbox.eloqua.add_contact("ana@example.com")
    number, group = sandbox.eloqua.add_list("Ours", [contact]), sandbox.eloqua.add_email_group("News")

    item = eloqua.get("/contacts/lists", q="name=Our*").json()["items"][0]

    assert (item["statement"], item["count"], item["uri"]) == (
        f"{{{{ContactList[{number}]}}}}",
        1,
        f"/contacts/lists/{number}",
    )
    assert eloqua.get(f"/emailGroups/{group}").json()["statement"] == f"{{{{EmailGroup[{group}]}}}}"


def test_definitions_echo_what_the_examples_echo(sandbox, eloqua):
    number = sandbox.eloqua.add_list("Ours")
    export = {
        "name": "scc changed contacts",
        "fields": {"Id": "{{Contact.Id}}", "Email": EMAIL, "IsBounced": "{{Contact.Email.IsBounced}}"},
        "filter": f"'{{{{Contact.UpdatedAt}}}}' >= '2026-01-01 00:00:00' AND EXISTS('{{{{ContactList[{number}]}}}}')",
        "areSystemTimestampsInUTC": True,
        "dataRetentionDuration": "P1D",
        "autoDeleteDuration": "P3D",
        "maxRecords": 500_000,
    }
    load = {
        "name": "scc contact update",
        "fields": {"Email": EMAIL, "First": "{{Contact.Field(C_FirstName)}}"},
        "identifierFieldName": "Email",
        "isSyncTriggeredOnImport": False,
        "isUpdatingMultipleMatchedRecords": False,
        "updateRule": "always",
        "importRule": "createAndUpdate",
        "dataRetentionDuration": "P1D",
        "autoDeleteDuration": "P3D",
        "syncActions": [{"action": "add", "destination": f"{{{{ContactList[{number}]}}}}"}],
    }
    for path, body in (("/contacts/exports", export), ("/contacts/imports", load)):
        answer = eloqua.post(path, body)
        shown = answer.json()
        meta = {key: shown.pop(key) for key in ("uri", "createdBy", "createdAt", "updatedBy", "updatedAt")}
        assert (answer.status_code, shown) == (201, body)
        assert STAMP.fullmatch(meta["createdAt"]) and meta["createdBy"] == "API.User" and meta["uri"].startswith(path)


def test_sync_logs_and_rejects_have_the_shape_of_the_examples(sandbox, eloqua):
    uri = eloqua.define_import("/contacts", {"Email": EMAIL, "First": "{{Contact.Field(C_FirstName)}}"}, "Email")
    eloqua.post(uri + "/data", [{"Email": "ana@example.com", "First": "Ana"}, {"Email": "bad", "First": "Bo"}])

    made = eloqua.post("/syncs", {"syncedInstanceUri": uri}).json()
    done = eloqua.get(made["uri"]).json()
    logs, rejects = (eloqua.get(f"{made['uri']}/{what}").json() for what in ("logs", "rejects"))

    assert made.keys() == {"syncedInstanceUri", "status", "createdAt", "createdBy", "uri"}
    assert done.keys() == made.keys() | {"syncStartedAt", "syncEndedAt"} and done["status"] == "warning"
    line = {"syncUri": str, "count": int, "severity": str, "statusCode": str, "message": str, "createdAt": str}
    assert shape(logs) == {"items": [line], **TAIL}
    assert rejects.pop("items") == [
        {
            "fieldValues": {"Email": "bad", "First": "Bo"},
            "message": "Invalid email address.",
            "statusCode": "ELQ-00002",
            "recordIndex": 2,
            "invalidFields": ["Email"],
        }
    ]
    assert shape(rejects) == TAIL


def test_opportunities_come_in_two_steps(sandbox, eloqua):
    ana = sandbox.eloqua.add_contact("ana@example.com")
    names = ("Name", "Stage", "Amount")
    fields = {"Id": "{{Opportunity.Id}}", **{n: f"{{{{Opportunity.Field({n})}}}}" for n in names}}
    good = {"Id": "006A", "Name": "Big one", "Stage": "Proposal", "Amount": "10.50"}

    first = eloqua.import_rows("/opportunities", fields, "Id", [good, {**good, "Id": "006B", "Stage": "Lunch"}])
    second = eloqua.import_rows(
        "/opportunities/contacts",
        {"Id": "{{Opportunity.Id}}", "Email": EMAIL},
        "Id",
        [
            {"Id": "006A", "Email": "ana@example.com"},
            {"Id": "006X", "Email": "ana@example.com"},
            {"Id": "006A", "Email": "nobody@example.com"},
        ],
    )

    assert [r["statusCode"] for r in first["rejects"]] == ["ELQ-00039"]
    assert [r["statusCode"] for r in second["rejects"]] == ["ELQ-00084", "ELQ-00085"]
    assert sandbox.store.rows("""SELECT OpportunityId, Amount, contact_id FROM eloqua.opportunity
        JOIN eloqua.opportunity_contact ON opportunity_id = Id""") == [("006A", "10.5", ana)]
    missing = eloqua.post(
        "/opportunities/imports", {"name": "x", "fields": {"Id": fields["Id"]}, "identifierFieldName": "Id"}
    )
    assert missing.status_code == 400
