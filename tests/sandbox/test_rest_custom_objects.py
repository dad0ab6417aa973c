"""Custom objects and their records over REST (eloqua.md 2.6)."""

from __future__ import annotations

import pytest

from tests.sandbox.conftest import RestCaller


@pytest.fixture
def parent(rest):
    """The path of the object that the tests fill, and its fields: name -> id."""
    [number] = rest.found("/assets/customObjects", "name='Event Registration'")
    shown = rest.get(f"/assets/customObject/{number}").json()
    return f"/data/customObject/{number}", {field["name"]: field["id"] for field in shown["fields"]}


def test_a_definition_shows_fields_and_their_parts_and_counts_its_records(rest, sandbox):
    page = rest.get("/assets/customObjects").json()
    assert [e["name"] for e in page["elements"]] == ["Event Registration", "Content Download"]

    shown = rest.get(f"/assets/customObject/{page['elements'][0]['id']}").json()
    by_name = {field["name"]: field for field in shown["fields"]}
    assert shown["recordCount"] == str(len(sandbox.eloqua.records("Event Registration")))
    assert shown["uniqueCodeFieldId"] == by_name["Record Key"]["id"]
    assert shown["emailAddressFieldId"] == by_name["Email Address"]["id"]
    assert by_name["Campaign Budget"]["dataType"] == "numeric"
    assert by_name["Campaign Start Date"]["dataType"] == "date"
    assert rest.get("/assets/customObject/999").status_code == 404


def test_a_record_is_made_changed_linked_and_deleted(rest, sandbox, parent):
    base, fields = parent
    contact = sandbox.eloqua.add_contact("ana@example.com")
    values = {"Record Key": "ER-1", "Campaign Start Date": "1767225600", "Campaign Budget": "10.0"}

    made = rest.create(
        f"{base}/instance",
        {"contactId": str(contact), "fieldValues": [{"id": fields[n], "value": v} for n, v in values.items()]},
    )
    path = f"{base}/instance/{made['id']}"
    record = sandbox.eloqua.record("Event Registration", int(made["id"]))
    assert record["Campaign_Start_Date1"] == "2026-01-01 00:00:00"
    assert (record["ContactId"], record["Campaign_Budget1"]) == (contact, "10")
    shown = {e["id"]: e.get("value") for e in made["fieldValues"]}
    assert shown[fields["Campaign Start Date"]] == "1767225600" and shown[fields["Campaign Name"]] is None
    assert made["uniqueCode"] == f"DCTET{int(made['id']):012d}"

    sandbox.clock.advance(60)
    changed = rest.put(path, {"contactId": "", "fieldValues": [{"id": fields["Record Key"], "value": "ER-2"}]})
    assert "contactId" not in changed
    record = sandbox.eloqua.record("Event Registration", int(made["id"]))
    assert (record["Record_Key1"], record["Campaign_Budget1"], record["ContactId"]) == ("ER-2", "10", None)
    assert int(changed["updatedAt"]) == int(made["updatedAt"]) + 60
    assert rest.put(path, {"id": made["id"]}) == changed

    answer = rest.call("DELETE", path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert rest.get(path).status_code == 404
    assert [m["kind"] for m in sandbox.mutations if m["object"] == "Event Registration"] == [
        "create",
        "update",
        "delete",
    ]


def test_bulk_and_rest_see_the_same_records(rest, eloqua, sandbox, parent):
    base, fields = parent
    path = eloqua.path_of("Event Registration")
    names = eloqua.statements(path)
    columns = {"Key": names["Record_Key1"], "City": names["Campaign_Name1"]}

    eloqua.import_rows(path, columns, "Key", [{"Key": "new-1", "City": "Berlin"}])
    [number] = rest.found(f"{base}/instances", "Record_Key1='new-1'")
    rest.put(f"{base}/instance/{number}", {"fieldValues": [{"id": fields["Campaign Name"], "value": "Bonn"}]})

    statement = names["Record_Key1"]
    assert eloqua.export(path, columns, filter=f"'{statement}' = 'new-1'") == [{"Key": "new-1", "City": "Bonn"}]


def test_records_are_searched_ordered_and_paged(rest, sandbox, parent):
    base, _ = parent
    for number, budget in enumerate(("9", "10", "100")):
        values = {"Record Key": f"x-{number}", "Campaign Budget": budget, "Email Address": f"x{number}@example.com"}
        sandbox.eloqua.add_record("Event Registration", values)

    page = rest.get(f"{base}/instances", search="Record_Key1='x-*'Campaign_Budget1>9", depth="complete").json()
    assert [e["name"] for e in page["elements"]] == ["x1@example.com", "x2@example.com"]
    assert rest.found(f"{base}/instances", "x2@example.com") == [page["elements"][1]["id"]]  # the default: the name
    assert "fieldValues" not in rest.get(f"{base}/instances", count=1).json()["elements"][0]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"contactId": "999999"}, "RelationshipRequirement"),
        ({"contactId": "x"}, "IdRequirement"),
        ({"fieldValues": [{"id": "1", "value": "x"}]}, "RelationshipRequirement"),
        ({"fieldValues": [{"id": "{Campaign Start Date}", "value": "soon"}]}, "DateRequirement"),
        ({"fieldValues": [{"id": "{Campaign Budget}", "value": "much"}]}, "IntegerRequirement"),
        ({"fieldValues": [{"id": "{Record Key}", "value": "x" * 251}]}, "ValidTextLengthRequirement"),
    ],
)
def test_what_no_record_can_hold_is_refused(shared, body, wanted):
    rest = RestCaller(shared)
    entity = shared.eloqua.entity("Event Registration")
    for entry in body.get("fieldValues", []):
        if entry["id"].startswith("{"):
            entry["id"] = str(entity.field_by(entry["id"].strip("{}")).id)
    before = len(shared.eloqua.records("Event Registration"))

    answer = rest.call("POST", f"/data/customObject/{entity.id}/instance", body)

    assert (answer.status_code, answer.json()[0]["requirement"]["type"]) == (400, wanted)
    assert len(shared.eloqua.records("Event Registration")) == before


def test_version_1_0_lists_and_creates_and_offers_no_single_records(rest, sandbox, parent):
    base, fields = parent
    old = RestCaller(sandbox, "1.0")

    made = old.create(base, {"contactId": "2001", "fieldValues": [{"id": fields["Record Key"], "value": "old"}]})

    assert "contactId" not in made  # writable in 2.0
    for path in (base, base.replace("customObject", "customObjects")):
        assert old.found(path, "Record_Key1='old'") == [made["id"]]
    assert old.call("PUT", f"{base}/instance/{made['id']}", {}).status_code == 404
    assert old.call("DELETE", f"{base}/instance/{made['id']}").status_code == 404
    assert rest.get(f"{base}/instance/{made['id']}").status_code == 200


def test_a_deleted_record_s_id_and_unique_code_do_not_come_back(rest, sandbox, parent):
    base, _ = parent
    last = sandbox.eloqua.records("Event Registration")[-1]
    rest.call("DELETE", f"{base}/instance/{last['Id']}")

    made = rest.create(f"{base}/instance", {})

    assert int(made["id"]) > last["Id"] and made["uniqueCode"] != last["ExternalId"]


def test_a_custom_object_made_over_rest_takes_records_of_both_apis(rest, eloqua):
    made = rest.create(
        "/assets/customObject",
        {
            "name": "Webinar Seats",
            "fields": [{"id": "-1", "name": "Seat Key", "dataType": "text"}, {"name": "Seen At", "dataType": "date"}],
            "uniqueCodeFieldId": "-1",
        },
    )
    key, seen = made["fields"]
    assert (made["recordCount"], made["uniqueCodeFieldId"]) == ("0", key["id"])
    assert [(f["internalName"], f["dataType"]) for f in made["fields"]] == [("Seat_Key1", "text"), ("Seen_At1", "date")]

    rest.create(f"/data/customObject/{made['id']}/instance", {"fieldValues": [{"id": key["id"], "value": "a"}]})
    columns = eloqua.statements(path := eloqua.path_of("Webinar Seats"))
    eloqua.import_rows(path, columns, "Seat_Key1", [{"Seat_Key1": "b", "Seen_At1": "2026-01-01 00:00:00"}])
    page = rest.get(f"/data/customObject/{made['id']}/instances", depth="complete").json()
    shown = [{e["id"]: e.get("value") for e in element["fieldValues"]} for element in page["elements"]]
    assert shown == [{key["id"]: "a", seen["id"]: None}, {key["id"]: "b", seen["id"]: "1767225600"}]


@pytest.mark.parametrize(
    ("body", "status", "wanted"),
    [
        ({"name": ""}, 400, "ValidTextLengthRequirement"),
        ({"name": "event registration"}, 409, "UniquenessRequirement"),
        ({"name": "x", "fields": "y"}, 400, "ContentRequirement"),
        ({"name": "x", "fields": [{"name": "--"}]}, 400, "NotNullRequirement"),
        ({"name": "x", "fields": [{"name": "a b"}, {"name": "A_B"}]}, 400, "NoDuplicatesRequirement"),
        ({"name": "x", "fields": [{"name": "a", "dataType": "blob"}]}, 400, "EnumRequirement"),
    ],
)
def test_a_custom_object_that_cannot_be_is_refused(shared, body, status, wanted):
    answer = RestCaller(shared).call("POST", "/assets/customObject", body)

    assert (answer.status_code, answer.json()[0]["requirement"]["type"]) == (status, wanted)
    assert "x" not in [e.name for e in shared.systems["eloqua"].custom_objects()]


def test_a_definition_is_renamed_and_gets_fields_and_keeps_what_is_not_sent(rest, eloqua, sandbox, parent):
    base, fields = parent
    path = base.replace("/data/", "/assets/")
    number, before = path.rsplit("/", 1)[1], rest.get(path).json()
    sandbox.clock.advance(60)

    changed = rest.put(
        path,
        {
            "id": number,
            "name": "Registrations",
            "fields": [{"id": fields["Campaign Name"], "name": "Campaign"}, {"name": "Seat", "dataType": "text"}],
            "displayNameFieldId": fields["Campaign Name"],
        },
    )
    by_name = {f["name"]: f for f in changed["fields"]}

    assert len(changed["fields"]) == len(before["fields"]) + 1
    assert by_name["Campaign"]["internalName"] == "Campaign_Name1" and by_name["Seat"]["internalName"] == "Seat1"
    assert changed["displayNameFieldId"] == fields["Campaign Name"]
    assert changed["uniqueCodeFieldId"] == before["uniqueCodeFieldId"]
    assert int(changed["updatedAt"]) == int(changed["createdAt"]) + 60
    assert rest.get(path).json() == changed and rest.found("/assets/customObjects", "name=Registrations") == [number]
    statements = eloqua.statements(eloqua.path_of("Registrations"))
    rows = eloqua.export(f"/customObjects/{number}", {"Seat": statements["Seat1"]})
    assert rows and {row["Seat"] for row in rows} == {""}
    made = rest.create(f"{base}/instance", {"fieldValues": [{"id": by_name["Seat"]["id"], "value": "7"}]})
    assert sandbox.eloqua.record("Registrations", int(made["id"]))["Seat1"] == "7"


@pytest.mark.parametrize(
    ("body", "status", "wanted"),
    [
        ({"name": "content download"}, 409, "UniquenessRequirement"),
        ({"name": " "}, 400, "ValidTextLengthRequirement"),
        ({"id": "1"}, 400, "ImmutabilityRequirement"),
        ({"fields": ["x"]}, 400, "ContentRequirement"),
        ({"fields": [{"name": "Record Key", "dataType": "text"}]}, 400, "NoDuplicatesRequirement"),
        ({"fields": [{"name": "x", "dataType": "blob"}]}, 400, "EnumRequirement"),
        ({"uniqueCodeFieldId": "1"}, 400, "RelationshipRequirement"),
    ],
)
def test_a_change_of_a_definition_that_cannot_be_is_refused(rest, parent, body, status, wanted):
    path = parent[0].replace("/data/", "/assets/")
    before = rest.get(path).json()
    answer = rest.call("PUT", path, body)

    assert (answer.status_code, answer.json()[0]["requirement"]["type"]) == (status, wanted)
    assert rest.get(path).json() == before
    changed = {"fields": [{"id": before["fields"][0]["id"], "dataType": "date"}]}
    assert rest.call("PUT", path, changed).status_code == 400


def test_a_definition_is_deleted_with_its_records_but_not_while_bulk_maps_it(rest, eloqua, sandbox, parent):
    base, _ = parent
    path = base.replace("/data/", "/assets/")
    number = path.rsplit("/", 1)[1]
    records = sandbox.eloqua.records("Event Registration")
    export = eloqua.define_export(
        f"/customObjects/{number}", {"K": eloqua.statements(f"/customObjects/{number}")["Record_Key1"]}
    )

    assert rest.call("DELETE", path).status_code == 412 and rest.get(path).status_code == 200
    assert eloqua.delete(export).status_code == 204
    answer = rest.call("DELETE", path)
    assert (answer.status_code, answer.content) == (200, b"")

    gone = [rest.get(path), rest.get(f"{base}/instances"), eloqua.get(f"/customObjects/{number}/fields")]
    assert [a.status_code for a in gone] == [404, 404, 404]
    assert rest.found("/assets/customObjects", "name='Event Registration'") == []
    deleted = [m for m in sandbox.mutations if m["kind"] == "delete" and m["object"] == "Event Registration"]
    assert {m["id"] for m in deleted} == {str(r["Id"]) for r in records}
    assert deleted[0]["changed"]["Record_Key1"] == {"old": records[0]["Record_Key1"], "new": None}
    again = rest.create("/assets/customObject", {"name": "Event Registration", "fields": [{"name": "K"}]})
    assert again["recordCount"] == "0" and again["id"] not in (number, rest.found("/assets/customObjects", "")[0])


def test_a_record_shows_the_account_that_an_import_linked_it_to(rest, eloqua, sandbox, parent):
    """mapDataCards to Company: by the account's name, and as accountId over REST, which cannot be written there."""
    base, _ = parent
    path = eloqua.path_of("Event Registration")
    sandbox.eloqua.clear_records("Event Registration")
    account = sandbox.eloqua.add_account("Acme Rockets")
    statements = eloqua.statements(path)

    sync = eloqua.import_rows(
        path,
        {"Key": statements["Record_Key1"], "Company": statements["Campaign_Name1"]},
        "Key",
        [{"Key": "a", "Company": "ACME rockets"}, {"Key": "b", "Company": "Nobody"}],
        mapDataCards=True,
        mapDataCardsEntityType="Company",
        mapDataCardsEntityField="{{Account.Field(M_CompanyName)}}",
        mapDataCardsSourceField="Company",
        mapDataCardsCaseSensitiveMatch=False,
    )

    assert (sync["codes"]["ELQ-00025"], sync["codes"]["ELQ-00034"]) == (1, 1)
    first, second = rest.get(f"{base}/instances").json()["elements"]
    assert first["accountId"] == str(account) and "accountId" not in second and "contactId" not in first
    name = statements["Record_Key1"].split(".")[0] + ".Account.Field(M_CompanyName)}}"
    exported = eloqua.export(path, {"Key": statements["Record_Key1"], "Account": name})
    assert exported == [{"Key": "a", "Account": "Acme Rockets"}, {"Key": "b", "Account": ""}]
    rest.put(f"{base}/instance/{first['id']}", {"accountId": "1"})
    assert rest.get(f"{base}/instance/{first['id']}").json()["accountId"] == str(account)
