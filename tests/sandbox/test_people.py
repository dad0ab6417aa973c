"""Contacts, addresses and lists below the endpoints: what outlives what, and that all of it is logged."""

from __future__ import annotations

ADDRESS = "Ana@Example.com"


def test_the_state_of_an_address_outlives_the_contact_and_comes_back_with_the_person(sandbox):
    first = sandbox.eloqua.add_contact(ADDRESS)
    sandbox.eloqua.set_subscribed("ana@example.com", False)
    sandbox.eloqua.set_bounced("ana@example.com")

    sandbox.eloqua.delete_record("Contact", first)
    assert (sandbox.eloqua.unsubscribed() & {"ana@example.com"}) == {"ana@example.com"}
    second = sandbox.eloqua.add_contact("ana@EXAMPLE.com")

    contact = sandbox.eloqua.record("Contact", second)
    assert second > first
    assert (contact["IsSubscribed"], contact["IsBounced"]) == ("False", "True")


def test_an_address_without_contact_can_be_unsubscribed_and_the_contact_that_comes_later_starts_so(sandbox):
    sandbox.eloqua.set_subscribed("later@example.com", False)

    contact = sandbox.eloqua.record("Contact", sandbox.eloqua.add_contact("later@example.com"))

    assert contact["IsSubscribed"] == "False"


def test_a_contact_that_changes_its_address_gets_the_state_of_the_new_one(sandbox):
    sandbox.eloqua.set_bounced("dead@example.com")
    contact = sandbox.eloqua.add_contact("alive@example.com")

    sandbox.eloqua.update_record("Contact", contact, {"C_EmailAddress": "dead@example.com"})
    assert sandbox.eloqua.record("Contact", contact)["IsBounced"] == "True"

    sandbox.eloqua.update_record("Contact", contact, {"C_EmailAddress": "alive@example.com"})
    assert sandbox.eloqua.record("Contact", contact)["IsBounced"] == "False"


def test_an_id_is_never_given_twice(sandbox):
    people = sandbox.systems["eloqua"].people
    last = max(row["Id"] for row in sandbox.eloqua.records("Contact"))

    sandbox.eloqua.delete_record("Contact", last)
    assert sandbox.eloqua.add_contact(ADDRESS) == last + 1

    with sandbox.store.transaction():
        list_ids = []
        for name in ("first", "second"):
            list_ids.append(people.create_list(name))
            people.delete_list(list_ids[-1])
    assert len(set(list_ids)) == 2


def test_a_deleted_contact_leaves_its_lists_and_its_records_lose_the_link(sandbox):
    contact = sandbox.eloqua.add_contact(ADDRESS)
    other = sandbox.eloqua.add_contact("bo@example.com")
    sandbox.eloqua.add_list("Spec list", [contact, other])
    record = sandbox.eloqua.add_record("Event Registration", {"Record Key": "k"}, contact_id=contact)

    sandbox.eloqua.delete_record("Contact", contact)

    assert sandbox.eloqua.lists()["Spec list"] == [other]
    assert sandbox.eloqua.record("Event Registration", record)["ContactId"] is None


def test_only_what_changes_is_logged_and_counted(sandbox):
    people, contact = sandbox.systems["eloqua"].people, sandbox.eloqua.add_contact(ADDRESS)
    number = sandbox.eloqua.add_list("Spec list", [contact])
    before = len(sandbox.mutations)

    with sandbox.store.transaction():
        assert people.add_members(number, f"SELECT {contact}") == 0
        assert people.add_members(number, "SELECT 999999999") == 0  # no contact
        assert people.remove_members(number, "SELECT 999999999") == 0
        assert people.set_subscribed(f"SELECT '{ADDRESS}'", True) == 0
        assert people.update_contact(contact, {"C_EmailAddress": ADDRESS}) is False
    assert len(sandbox.mutations) == before

    with sandbox.store.transaction():
        assert people.remove_members(number, f"SELECT {contact}") == 1
        assert people.set_subscribed(f"SELECT '{ADDRESS}' UNION ALL SELECT ' ana@example.com '", False) == 1
    changes = [(m["object"], m["id"], m["changed"]) for m in sandbox.mutations[before:]]
    assert changes == [
        ("ContactList", str(number), {"member": {"old": str(contact), "new": None}}),
        ("Address", "ana@example.com", {"subscribed": {"old": "true", "new": "false"}}),
    ]


def test_every_seeded_contact_shows_the_state_of_its_address(shared):
    states = shared.store.rows("""
        SELECT c.IsSubscribed, c.IsBounced, coalesce(a.subscribed, true), coalesce(a.bounced, false)
        FROM eloqua.contact c LEFT JOIN eloqua.address a ON a.address = lower(trim(c.C_EmailAddress))""")

    assert {row[0] for row in states} == {row[1] for row in states} == {"True", "False"}
    assert all((sub == "True", bounced == "True") == state for sub, bounced, *pair in states for state in [tuple(pair)])


def test_group_subscriptions_belong_to_the_address(sandbox):
    people, group = sandbox.systems["eloqua"].people, sandbox.eloqua.add_email_group("Product News")

    with sandbox.store.transaction():
        assert people.group_subscribed(group, ADDRESS)
        assert people.set_group_subscribed(group, f"SELECT '{ADDRESS}'", False) == 1
        assert people.set_group_subscribed(group, f"SELECT '{ADDRESS}'", False) == 0

    assert not people.group_subscribed(group, "ana@example.com")
