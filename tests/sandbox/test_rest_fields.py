"""Fields of contacts and accounts over REST (eloqua.md 2.4)."""

from __future__ import annotations

import pytest

from scc.sandbox import Sandbox
from tests.sandbox.conftest import RestCaller


def test_fields_are_listed_found_and_shown(rest):
    [number] = rest.found("/assets/contact/fields", "internalName='C_EmailAddress'")
    shown = rest.get(f"/assets/contact/field/{number}").json()

    assert number == "100001"
    assert {k: shown[k] for k in ("type", "dataType", "displayType", "isRequired", "isStandard", "updateType")} == {
        "type": "ContactField",
        "dataType": "text",
        "displayType": "text",
        "isRequired": "true",
        "isStandard": "true",
        "updateType": "always",
    }
    created = rest.get("/assets/contact/field/100026").json()
    assert (created["dataType"], created["isReadOnly"]) == ("date", "true")
    account = rest.get("/assets/account/fields", search="Company Name").json()["elements"][0]
    assert (account["type"], account["id"], account["internalName"]) == ("AccountField", "100084", "M_CompanyName")


def test_a_new_field_holds_values_for_rest_and_bulk(rest, eloqua, sandbox):
    made = rest.create(
        "/assets/contact/field",
        {"name": "edm playlist name", "dataType": "text", "displayType": "text", "isProtected": "true"},
    )
    assert made["internalName"] == "C_edm_playlist_name1"
    assert (made["isProtected"], made["isStandard"], made["isReadOnly"]) == ("true", "false", "false")
    assert int(made["id"]) > 100_200

    contact = rest.create(
        "/data/contact", {"emailAddress": "ana@example.com", "fieldValues": [{"id": made["id"], "value": "Summer"}]}
    )
    assert rest.found("/data/contacts", "C_edm_playlist_name1='Sum*'") == [contact["id"]]
    statements = eloqua.statements("/contacts")
    assert statements["C_edm_playlist_name1"] == "{{Contact.Field(C_edm_playlist_name1)}}"
    rows = eloqua.export(
        "/contacts", {"P": statements["C_edm_playlist_name1"]}, filter="'{{Contact.Id}}' = '" + contact["id"] + "'"
    )
    assert rows == [{"P": "Summer"}]
    assert {c["C_edm_playlist_name1"] for c in sandbox.eloqua.records("Contact")} == {"", "Summer"}


def test_a_second_field_whose_name_reads_alike_gets_the_next_number(rest):
    first = rest.create("/assets/contact/field", {"name": "a b"})
    second = rest.create("/assets/contact/field", {"name": "A-B"})

    assert (first["internalName"], second["internalName"]) == ("C_a_b1", "C_A_B2")


def test_an_odd_name_breaks_no_list(rest):
    made = rest.create("/assets/contact/field", {"name": "a\0b ' \" \\"})

    elements = rest.get("/assets/contact/fields").json()["elements"]
    [element] = [e for e in elements if e["id"] == made["id"]]
    assert element["name"] == "a\0b ' \" \\"


def test_a_field_is_renamed_but_never_changes_its_type(rest):
    made = rest.create("/assets/contact/field", {"name": "Score", "dataType": "numeric"})
    path = f"/assets/contact/field/{made['id']}"

    shown = rest.put(path, {**made, "name": "Points", "defaultValue": "0", "updateType": "newNotBlank"})
    assert (shown["name"], shown["internalName"], shown["dataType"]) == ("Points", "C_Score1", "numeric")
    assert (shown["defaultValue"], shown["updateType"]) == ("0", "newNotBlank")
    assert rest.get(path).json() == shown

    answer = rest.call("PUT", path, {"dataType": "date"})
    assert (answer.status_code, answer.json()[0]["requirement"]["type"]) == (400, "ImmutabilityRequirement")


def test_a_field_that_a_bulk_definition_maps_cannot_be_deleted(rest, eloqua):
    made = rest.create("/assets/contact/field", {"name": "Score"})
    path = f"/assets/contact/field/{made['id']}"
    exports = eloqua.define_export("/contacts", {"S": "{{Contact.Field(C_Score1)}}"})
    number = next(d for d in eloqua.get("/exports").json()["items"] if d["uri"] == exports)["uri"].split("/")[-1]

    assert rest.call("DELETE", path).status_code == 412
    [dependency] = rest.get(path + "/dependencies").json()
    assert (dependency["id"], dependency["name"]) == (number, "test")

    assert eloqua.delete(exports).status_code == 204
    assert rest.get(path + "/dependencies").json() == []
    assert (answer := rest.call("DELETE", path)).status_code == 200 and answer.content == b""
    assert rest.get(path).status_code == 404
    assert "C_Score1" not in eloqua.statements("/contacts")


def test_a_definition_of_another_object_that_reaches_the_field_counts_too(rest, eloqua):
    made = rest.create("/assets/contact/field", {"name": "Score"})
    path = eloqua.path_of("Event Registration")
    number = path.split("/")[-1]

    eloqua.define_export(path, {"S": f"{{{{CustomObject[{number}].Contact.Field(C_Score1)}}}}"})

    assert rest.call("DELETE", f"/assets/contact/field/{made['id']}").status_code == 412


def test_the_number_of_a_deleted_field_does_not_come_back(rest):
    first = rest.create("/assets/contact/field", {"name": "Score"})
    rest.call("DELETE", f"/assets/contact/field/{first['id']}")

    assert int(rest.create("/assets/account/field", {"name": "Score"})["id"]) > int(first["id"])


def test_fields_made_over_rest_are_of_this_instance_alone(rest, shared):
    rest.create("/assets/contact/field", {"name": "Only here"})
    rest.put("/assets/contact/field/100002", {"name": "Given Name"})

    other = RestCaller(shared)
    assert other.found("/assets/contact/fields", "Only here") == []
    assert other.get("/assets/contact/field/100002").json()["name"] == "First Name"


def test_fields_made_over_rest_are_in_a_saved_state(rest, sandbox, tmp_path):
    made = rest.create("/assets/contact/field", {"name": "Score", "isProtected": "true"})
    sandbox.save(tmp_path / "state")

    with Sandbox.load(tmp_path / "state") as copy:
        assert RestCaller(copy).get(f"/assets/contact/field/{made['id']}").json() == made


def test_the_update_type_is_the_rule_of_imports_that_use_the_field_s(rest, eloqua, sandbox):
    made = rest.create("/assets/contact/field", {"name": "Score", "updateType": "newNotBlank"})
    sandbox.eloqua.add_contact("ana@example.com", {"Score": "7", "C_City": "Porto"})
    names = {"Email": "C_EmailAddress", "Score": made["internalName"], "City": "C_City"}
    fields = {name: f"{{{{Contact.Field({internal})}}}}" for name, internal in names.items()}

    row = {"Email": "ana@example.com", "Score": "", "City": ""}
    eloqua.import_rows("/contacts", fields, "Email", [row], updateRule="useFieldRule")

    contact = sandbox.eloqua.contact("ana@example.com")
    assert (contact["C_Score1"], contact["C_City"]) == ("7", "")


def test_a_default_value_is_that_of_new_contacts(rest, sandbox):
    old = sandbox.eloqua.add_contact("old@example.com")
    made = rest.create("/assets/contact/field", {"name": "Score", "dataType": "numeric", "defaultValue": "5.0"})

    rest.create("/data/contact", {"emailAddress": "a@example.com"})
    rest.create("/data/contact", {"emailAddress": "b@example.com", "fieldValues": [{"id": made["id"], "value": "9"}]})

    assert sandbox.eloqua.record("Contact", old)["C_Score1"] == ""
    assert [sandbox.eloqua.contact(f"{name}@example.com")["C_Score1"] for name in "ab"] == ["5", "9"]


@pytest.mark.parametrize(
    ("body", "status", "wanted"),
    [
        ({}, 400, "NotNullRequirement"),
        ({"name": "\0"}, 400, "NotNullRequirement"),
        ({"name": "x" * 101}, 400, "ValidTextLengthRequirement"),
        ({"name": "first name"}, 409, "UniquenessRequirement"),
        ({"name": "x", "dataType": "blob"}, 400, "EnumRequirement"),
        ({"name": "x", "updateType": "never"}, 400, "EnumRequirement"),
        ({"name": "x", "dataType": "date", "defaultValue": "soon"}, 400, "ContentRequirement"),
        ({"name": "x", "isRequired": "perhaps"}, 400, "BooleanRequirement"),
    ],
)
def test_a_field_that_cannot_be_is_refused(shared, body, status, wanted):
    answer = RestCaller(shared).call("POST", "/assets/contact/field", body)

    assert (answer.status_code, answer.json()[0]["requirement"]["type"]) == (status, wanted)


def test_standard_fields_stay(shared):
    assert RestCaller(shared).call("DELETE", "/assets/contact/field/100002").status_code == 412
