"""Contact lists over REST (eloqua.md 2.5)."""

from __future__ import annotations

import pytest

from tests.sandbox.conftest import RestCaller

UNIX_NOW = 1795328100  # 2026-11-22T06:15:00Z


def test_a_list_is_made_found_filled_emptied_and_deleted(rest, sandbox):
    first, second = (sandbox.eloqua.add_contact(f"{name}@example.com") for name in ("ana", "bo"))

    made = rest.create("/assets/contact/list", {"name": "Spec list 2026", "description": "monthly"})
    path = f"/assets/contact/list/{made['id']}"
    assert rest.found("/assets/contact/lists", "name='Spec list 2026'") == [made["id"]]
    assert (made["count"], made["description"]) == ("0", "monthly")

    body = {"id": made["id"], "name": made["name"], "membershipAdditions": [str(first), str(second)]}
    assert rest.put(path, body)["count"] == "2"
    assert sandbox.eloqua.lists()["Spec list 2026"] == [first, second]

    body = {"id": made["id"], "name": made["name"], "membershipDeletions": [str(first)]}
    assert rest.put(path, body)["count"] == "1"
    assert rest.get(path).json()["count"] == "1"

    answer = rest.call("DELETE", path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert rest.get(path).status_code == 404
    assert "Spec list 2026" not in sandbox.eloqua.lists()
    assert sandbox.eloqua.contact("bo@example.com")["Id"] == second  # members stay contacts


def test_adding_a_member_twice_or_removing_a_stranger_is_silent_and_moves_updated_at(rest, sandbox):
    contact = sandbox.eloqua.add_contact("ana@example.com")
    number = sandbox.eloqua.add_list("Spec list", [contact])
    before = len(sandbox.mutations)
    sandbox.clock.advance(60)

    shown = rest.put(
        f"/assets/contact/list/{number}",
        {"name": "Spec list", "membershipAdditions": [str(contact), contact], "membershipDeletions": ["2001", "9"]},
    )

    assert (shown["count"], shown["updatedAt"]) == ("1", str(UNIX_NOW + 60))
    assert shown["createdAt"] == str(UNIX_NOW)
    assert len(sandbox.mutations) == before


def test_a_put_keeps_what_it_does_not_send(rest):
    made = rest.create("/assets/contact/list", {"name": "Spec list", "description": "monthly"})
    path = f"/assets/contact/list/{made['id']}"

    assert rest.put(path, {"description": "weekly"})["name"] == "Spec list"
    shown = rest.put(path, {"name": "News"})
    assert (shown["name"], shown["description"]) == ("News", "weekly")


def test_who_made_and_changed_a_list_is_told_by_user_id(rest, sandbox):
    made = rest.create("/assets/contact/list", {"name": "Spec list"})

    shown = RestCaller(sandbox, user="Other.User").put(f"/assets/contact/list/{made['id']}", {"name": "News"})

    assert (shown["createdBy"], shown["updatedBy"]) == ("77", "78")


def test_permissions_are_a_text_in_1_0_and_an_array_in_2_0(rest, sandbox):
    number = sandbox.eloqua.add_list("Spec list")

    assert RestCaller(sandbox, "1.0").get(f"/assets/contact/list/{number}").json()["permissions"] == "fullControl"
    assert isinstance(rest.get(f"/assets/contact/list/{number}").json()["permissions"], list)


@pytest.mark.parametrize(
    ("body", "status", "wanted"),
    [
        ({}, 400, "NotNullRequirement"),
        ({"name": "  "}, 400, "NotNullRequirement"),
        ({"name": "x" * 101}, 400, "ValidTextLengthRequirement"),
        ({"name": ["x"]}, 400, "ContentRequirement"),
        ({"name": "taken"}, 409, "UniquenessRequirement"),
        ({"name": "n", "membershipAdditions": ["x"]}, 400, "IdRequirement"),
        ({"name": "n", "membershipAdditions": "2001"}, 400, "ContentRequirement"),
    ],
)
def test_a_list_that_cannot_be_is_refused_as_a_whole(shared, body, status, wanted):
    if "Taken" not in shared.eloqua.lists():
        shared.eloqua.add_list("Taken")
    rest, before = RestCaller(shared), shared.eloqua.lists()

    answer = rest.call("POST", "/assets/contact/list", body)

    assert (answer.status_code, answer.json()[0]["requirement"]["type"]) == (status, wanted)
    assert shared.eloqua.lists() == before


def test_lists_are_ordered_and_paged(rest, sandbox):
    for name in ("Spec b", "Spec c", "Spec a"):
        sandbox.eloqua.add_list(name)

    page = rest.get("/assets/contact/lists", search="Spec *", orderBy="name DESC", count=2).json()

    assert [e["name"] for e in page["elements"]] == ["Spec c", "Spec b"]
    assert page["total"] == 3
    assert {e["depth"] for e in page["elements"]} == {"minimal"}
    assert rest.get(f"/assets/contact/list/{page['elements'][0]['id']}/dependencies").json() == []


def test_last_updated_at_brings_deleted_lists_too(rest, sandbox):
    number = sandbox.eloqua.add_list("Spec list")
    sandbox.clock.advance(60)
    rest.call("DELETE", f"/assets/contact/list/{number}")

    assert rest.found("/assets/contact/lists", "Spec list") == []
    assert rest.found("/assets/contact/lists", "Spec list", lastUpdatedAt=UNIX_NOW + 60) == [str(number)]
    assert rest.found("/assets/contact/lists", "Spec list", lastUpdatedAt=UNIX_NOW + 61) == []
