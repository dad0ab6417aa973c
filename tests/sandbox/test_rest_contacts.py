"""REST contacts: read, created, changed, deleted; what survives a deletion (eloqua.md 2.3)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sandbox.conftest import RestCaller

UNIX_NOW = "1795328100"  # 2026-11-22T06:15:00Z
STATES = {"Email": "{{Contact.Field(C_EmailAddress)}}", "First": "{{Contact.Field(C_FirstName)}}"}


def address(number: int) -> str:
    return f"person{number}@example.com"


@pytest.fixture(scope="module")
def standing(shared):
    """REST of the company that all tests of this module share: for what changes nothing."""
    return RestCaller(shared)


def requirement(answer) -> tuple[int, str, str]:
    """Status, property or parameter, and requirement of a refusal."""
    error = answer.json()[0]
    return answer.status_code, error.get("property") or error["parameter"], error["requirement"]["type"]


@pytest.mark.parametrize("depth", ["minimal", "partial", "complete"])
def test_each_depth_shows_more_than_the_one_before(standing, shared, depth):
    contact = shared.eloqua.add_contact(f"{depth}@example.com", {"C_FirstName": "Ana"})

    shown = standing.get(f"/data/contact/{contact}", depth=depth).json()

    assert shown["depth"] == depth
    assert shown["name"] == shown["emailAddress"] == f"{depth}@example.com"
    assert shown["createdAt"] == shown["updatedAt"] == UNIX_NOW
    assert ("firstName" in shown) == (depth != "minimal")
    assert ("fieldValues" in shown) == (depth == "complete")


def test_an_unknown_depth_is_the_default(rest, sandbox):
    contact = sandbox.eloqua.add_contact("ana@example.com")

    assert rest.get(f"/data/contact/{contact}", depth="deep").json()["depth"] == "complete"
    assert rest.get("/data/contacts", depth="deep", count=1).json()["elements"][0]["depth"] == "minimal"


def test_all_is_text_and_what_is_empty_is_left_out(rest, sandbox):
    contact = sandbox.eloqua.add_contact("ana@example.com", {"C_FirstName": "Ana"})

    shown = rest.get(f"/data/contact/{contact}").json()

    assert {type(value) for name, value in shown.items() if name != "fieldValues"} == {str}
    assert "lastName" not in shown and "" not in shown.values()
    values = {entry["id"]: entry for entry in shown["fieldValues"]}
    assert values["100026"]["value"] == UNIX_NOW
    assert values["100003"] == {"type": "FieldValue", "id": "100003"}
    assert shown["isSubscribed"] == "true" and shown["isBounceback"] == "false"


def test_field_values_have_every_field_or_only_those_that_are_no_property(rest, sandbox):
    contact = sandbox.eloqua.add_contact("ana@example.com", {"C_FirstName": "Ana"})
    everything = {str(known.id) for known in sandbox.eloqua.entity("Contact").fields}

    assert {e["id"] for e in rest.get(f"/data/contact/{contact}").json()["fieldValues"]} == everything

    sandbox.eloqua.limits.rest_all_field_values = False
    ids = {e["id"] for e in rest.get(f"/data/contact/{contact}").json()["fieldValues"]}
    assert ids < everything and "100005" in ids and not ids & {"100001", "100002", "100016"}


def test_a_created_contact_is_there_for_the_bulk_api_at_once(rest, eloqua, sandbox):
    made = rest.create(
        "/data/contact",
        {"emailAddress": "bo@example.com", "firstName": "Bo", "fieldValues": [{"id": "100017", "value": "Dr."}]},
    )

    assert made["depth"] == "complete"
    rows = eloqua.export(
        "/contacts", {"Id": "{{Contact.Id}}", **STATES}, filter="'{{Contact.Field(C_Salutation)}}' = 'Dr.'"
    )
    assert rows == [{"Id": made["id"], "Email": "bo@example.com", "First": "Bo"}]
    mutation = sandbox.mutations[-1]
    assert (mutation["object"], mutation["id"], mutation["kind"]) == ("Contact", made["id"], "create")
    assert mutation["request"] == "POST /API/REST/2.0/data/contact"


def test_what_bulk_imports_is_seen_by_rest_at_once_with_its_times(rest, eloqua, sandbox):
    sandbox.clock.advance(3600)
    eloqua.import_rows("/contacts", STATES, "Email", [{"Email": "new@example.com", "First": "Neo"}])

    [number] = rest.found("/data/contacts", "new@example.com")
    shown = rest.get(f"/data/contact/{number}").json()
    assert shown["firstName"] == "Neo"
    assert shown["createdAt"] == shown["updatedAt"] == str(int(UNIX_NOW) + 3600)

    sandbox.clock.advance(3600)
    eloqua.import_rows("/contacts", STATES, "Email", [{"Email": "new@example.com", "First": "Neo"}])
    assert rest.get(f"/data/contact/{number}").json()["updatedAt"] == shown["updatedAt"]  # nothing changed

    eloqua.import_rows("/contacts", STATES, "Email", [{"Email": "new@example.com", "First": "Trinity"}])
    again = rest.get(f"/data/contact/{number}").json()
    assert (again["firstName"], again["createdAt"]) == ("Trinity", shown["createdAt"])
    assert again["updatedAt"] == str(int(UNIX_NOW) + 7200)


@pytest.mark.parametrize("status", [409, 400])
def test_a_second_contact_with_the_address_is_refused(rest, sandbox, status):
    sandbox.eloqua.limits.rest_duplicate_status = status
    rest.create("/data/contact", {"emailAddress": "bo@example.com"})
    before = len(sandbox.mutations)

    answer = rest.call("POST", "/data/contact", {"emailAddress": " BO@example.com"})

    assert requirement(answer) == (status, "emailAddress", "UniquenessRequirement")
    assert len(sandbox.mutations) == before


@pytest.mark.parametrize("given", [None, "", "not-an-address", "a b@example.com", "a@b", {"x": 1}, ["a@example.com"]])
def test_a_contact_needs_a_valid_address(standing, given):
    answer = standing.call("POST", "/data/contact", {"emailAddress": given})

    assert answer.status_code == 400
    assert answer.json()[0]["type"] == "ObjectValidationError"
    if not isinstance(given, (dict, list)):
        assert requirement(answer) == (400, "emailAddress", "EmailAddressRequirement")


def test_a_put_blanks_standard_properties_that_it_does_not_send_and_no_other_field(rest, sandbox):
    contact = sandbox.eloqua.add_contact(
        "ana@example.com", {"C_FirstName": "Ana", "C_LastName": "Lima", "C_Salutation": "Ms", "C_SFDCLeadID": "00Q1"}
    )

    shown = rest.put(
        f"/data/contact/{contact}",
        {
            "id": str(contact),
            "emailAddress": "ana@example.com",
            "firstName": "Anna",
            "fieldValues": [{"id": "100017", "value": "Dr."}],
        },
    )

    held = sandbox.eloqua.record("Contact", contact)
    assert shown["firstName"] == held["C_FirstName"] == "Anna"
    assert "lastName" not in shown and held["C_LastName"] == ""
    assert (held["C_Salutation"], held["C_SFDCLeadID"]) == ("Dr.", "00Q1")


def test_reading_all_changing_one_thing_and_writing_all_changes_just_that(rest, sandbox):
    contact = sandbox.eloqua.add_contact(
        "ana@example.com", {"C_FirstName": "Ana", "C_LastName": "Lima", "C_City": "Porto", "C_SFDCLeadID": "00Q1"}
    )
    before = sandbox.eloqua.record("Contact", contact)
    sandbox.clock.advance(60)

    body = rest.get(f"/data/contact/{contact}").json()
    rest.put(f"/data/contact/{contact}", {**body, "city": "Lisboa"})
    changed = [n for n, v in sandbox.eloqua.record("Contact", contact).items() if before[n] != v]
    assert changed == ["UpdatedAt", "C_City", "C_DateModified", "UpdatedBy"]

    body = rest.get(f"/data/contact/{contact}").json()
    for entry in body["fieldValues"]:
        if entry["id"] == "100009":
            entry["value"] = "Faro"  # the same field by its number
    assert rest.put(f"/data/contact/{contact}", body)["city"] == "Faro"


def test_a_put_that_changes_nothing_leaves_updated_at_alone_unless_switched(rest, sandbox):
    contact = sandbox.eloqua.add_contact("ana@example.com")
    body = rest.get(f"/data/contact/{contact}").json()
    sandbox.clock.advance(60)

    assert rest.put(f"/data/contact/{contact}", body)["updatedAt"] == body["updatedAt"]

    sandbox.eloqua.limits.rest_put_always_touches = True
    assert rest.put(f"/data/contact/{contact}", body)["updatedAt"] == str(int(body["updatedAt"]) + 60)


def test_subscription_and_bounce_state_are_not_written_over_rest_unless_switched(rest, sandbox):
    contact = sandbox.eloqua.add_contact("ana@example.com")
    body = {**rest.get(f"/data/contact/{contact}").json(), "isSubscribed": "false", "isBounceback": "true"}

    shown = rest.put(f"/data/contact/{contact}", body)
    assert (shown["isSubscribed"], shown["isBounceback"]) == ("true", "false")

    sandbox.eloqua.limits.rest_writes_address_state = True
    shown = rest.put(f"/data/contact/{contact}", body)
    assert (shown["isSubscribed"], shown["isBounceback"]) == ("false", "true")
    assert shown["unsubscriptionDate"] == shown["bouncebackDate"] == UNIX_NOW
    assert "ana@example.com" in sandbox.eloqua.unsubscribed() & sandbox.eloqua.bounced()


def test_changing_to_the_address_of_another_is_refused_and_nothing_is_changed(rest, sandbox):
    contact = sandbox.eloqua.add_contact("ana@example.com")
    sandbox.eloqua.add_contact("bo@example.com")

    answer = rest.call("PUT", f"/data/contact/{contact}", {"emailAddress": "bo@example.com", "firstName": "X"})

    assert requirement(answer) == (409, "emailAddress", "UniquenessRequirement")
    assert answer.json()[0]["container"]["objectId"] == str(contact)
    assert sandbox.eloqua.record("Contact", contact)["C_FirstName"] == ""


def test_delete_answers_200_without_a_body_and_the_contact_leaves_its_lists(rest, sandbox):
    contact = sandbox.eloqua.add_contact("ana@example.com")
    sandbox.eloqua.add_list("Spec list", [contact])

    answer = rest.call("DELETE", f"/data/contact/{contact}")

    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", "0")
    assert rest.get(f"/data/contact/{contact}").status_code == 404
    assert rest.call("DELETE", f"/data/contact/{contact}").status_code == 404
    assert sandbox.eloqua.lists()["Spec list"] == []


@pytest.mark.parametrize("way", ["rest", "bulk"])
def test_a_person_who_returns_has_a_new_id_and_the_old_consent(rest, eloqua, sandbox, way):
    first = rest.create("/data/contact", {"emailAddress": "ana@example.com"})
    sandbox.eloqua.set_subscribed("ana@example.com", False)
    sandbox.eloqua.set_bounced("ana@example.com")
    sandbox.clock.advance(86_400)
    rest.call("DELETE", f"/data/contact/{first['id']}")

    if way == "rest":
        rest.create("/data/contact", {"emailAddress": "Ana@example.com"})
    else:
        eloqua.import_rows("/contacts", STATES, "Email", [{"Email": "Ana@example.com", "First": "Ana"}])

    [number] = rest.found("/data/contacts", "ana@example.com")
    shown = rest.get(f"/data/contact/{number}").json()
    assert int(number) > int(first["id"])
    assert (shown["isSubscribed"], shown["isBounceback"]) == ("false", "true")
    assert int(shown["subscriptionDate"]) < int(shown["createdAt"])  # it belongs to the address
    assert shown["unsubscriptionDate"] == UNIX_NOW


def test_the_subscription_date_survives_delete_and_return_though_nobody_ever_touched_it(rest, sandbox):
    first = rest.create("/data/contact", {"emailAddress": "ana@example.com"})
    sandbox.clock.advance(86_400)
    rest.call("DELETE", f"/data/contact/{first['id']}")

    second = rest.create("/data/contact", {"emailAddress": "ana@example.com"})

    assert second["subscriptionDate"] == first["subscriptionDate"] == UNIX_NOW
    assert second["createdAt"] == str(int(UNIX_NOW) + 86_400)


def test_a_search_by_ids_answers_those_that_exist_in_the_order_asked(rest, sandbox):
    ids = [sandbox.eloqua.add_contact(address(i)) for i in range(3)]

    answer = rest.call(
        "POST",
        "/data/contacts",
        {"ids": [str(ids[2]), ids[0], 999_999_999]},
        headers={"X-HTTP-Method-Override": "SEARCH"},
    )

    assert answer.status_code == 200
    assert [e["id"] for e in answer.json()["elements"]] == [str(ids[2]), str(ids[0])]
    assert {e["depth"] for e in answer.json()["elements"]} == {"minimal"}


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        (list(range(1, 202)), "ContentRequirement"),
        ([1, 2, 1], "NoDuplicatesRequirement"),
        ([1, "1"], "NoDuplicatesRequirement"),
        (["x"], "IdRequirement"),
        (None, "NotNullRequirement"),
    ],
)
def test_a_search_by_ids_takes_200_different_ones(standing, ids, wanted):
    answer = standing.call("POST", "/data/contacts", {"ids": ids}, headers={"X-HTTP-Method-Override": "SEARCH"})

    assert requirement(answer) == (400, "ids", wanted)


def test_200_ids_are_taken_and_other_depths_too(standing):
    answer = standing.call(
        "POST",
        "/data/contacts",
        {"ids": list(range(2001, 2201)), "depth": "partial"},
        headers={"X-HTTP-Method-Override": "SEARCH"},
    )

    assert len(answer.json()["elements"]) == 200
    assert answer.json()["elements"][0]["depth"] == "partial"


def test_membership_names_the_lists(rest, sandbox):
    contact = sandbox.eloqua.add_contact("ana@example.com")
    number = sandbox.eloqua.add_list("Spec list", [contact])
    sandbox.eloqua.add_list("Other")

    assert rest.get(f"/data/contact/{contact}/membership").json() == [
        {"type": "ContactList", "id": str(number), "name": "Spec list"}
    ]
    assert rest.get("/data/contact/999999999/membership").status_code == 404


def test_the_contacts_of_a_list_can_be_read(rest, sandbox):
    ids = [sandbox.eloqua.add_contact(address(i)) for i in range(3)]
    number = sandbox.eloqua.add_list("Spec list", ids[:2])

    assert rest.found(f"/data/contacts/list/{number}", "") == [str(i) for i in ids[:2]]
    assert rest.found(f"/data/contacts/list/{number}", address(1)) == [str(ids[1])]
    assert rest.get("/data/contacts/list/999").status_code == 404


def test_the_contacts_of_a_segment_and_of_a_filter_are_those_that_fit_now(rest, sandbox):
    condition = "'{{Contact.Field(C_Fax)}}' = 'spec'"
    numbers = {
        "segment": sandbox.eloqua.add_segment("Spec", condition),
        "filter": sandbox.eloqua.add_filter("Spec", condition),
    }
    contact = sandbox.eloqua.add_contact("ana@example.com", {"C_Fax": "spec"})

    for kind, number in numbers.items():
        assert rest.found(f"/data/contacts/{kind}/{number}", "") == [str(contact)]
        assert rest.found(f"/data/contacts/{kind}/{number}", "nobody") == []
        assert rest.get(f"/data/contacts/{kind}/999").status_code == 404


def test_an_email_group_subscription_is_read_and_written(rest, sandbox):
    contact, group = sandbox.eloqua.add_contact("ana@example.com"), sandbox.eloqua.add_email_group("News")
    path = f"/data/contact/{contact}/email/group/{group}/subscription"

    assert rest.get(path).json()["isSubscribed"] == "true"
    assert rest.put(path, {"isSubscribed": "false"})["isSubscribed"] == "false"

    listed = rest.get(f"/data/contact/{contact}/email/groups/subscription").json()
    [element] = [e for e in listed["elements"] if e["emailGroup"]["id"] == str(group)]
    assert element["isSubscribed"] == "false"
    assert rest.get(f"/data/contact/{contact}/email/group/999/subscription").status_code == 404
    assert requirement(rest.call("PUT", path, {"isSubscribed": "maybe"}))[2] == "BooleanRequirement"


def add_activity(sandbox, contact: int, kind: str, at: str, visible: str | None = None) -> None:
    sandbox.store.execute(
        """INSERT INTO eloqua.activity BY NAME SELECT 1 + (SELECT coalesce(max(Id), 0) FROM eloqua.activity) AS Id,
           ? AS Type, ?::TIMESTAMP AS CreatedAt, ?::TIMESTAMP AS VisibleAt, ? AS ContactId, 'Email' AS AssetType,
           '310' AS AssetId, 'Jan Newsletter' AS AssetName""",
        [kind, at, visible or at, contact],
    )


def test_activities_of_one_contact(rest, sandbox):
    contact = sandbox.eloqua.add_contact("ana@example.com")
    add_activity(sandbox, contact, "EmailOpen", "2026-01-01 00:00:00")
    add_activity(sandbox, contact, "EmailOpen", "2026-02-01 00:00:00")
    add_activity(sandbox, contact, "EmailSend", "2026-01-01 00:00:00")
    add_activity(sandbox, contact, "Bounceback", "2026-11-22 06:00:00", "2026-11-22 09:00:00")
    old = RestCaller(sandbox, "1.0")

    array = old.get(f"/data/activities/contact/{contact}", type="emailOpen", startDate=1767225600, endDate=1768000000)
    assert [a["activityDate"] for a in array.json()] == ["1767225600"]
    assert array.json()[0]["details"] == [{"Key": "AssetName", "Value": "Jan Newsletter"}]
    assert len(old.get(f"/data/activities/contact/{contact}", count=2).json()) == 2

    page = rest.get(f"/data/activities/contact/{contact}/emailOpen").json()
    assert [a["activityDate"] for a in page["elements"]] == ["1769904000", "1767225600"]
    assert rest.get(f"/data/activities/contact/{contact}/bounceback").json()["total"] == 0  # nobody knows of it yet
    sandbox.clock.advance(4 * 3600)
    assert rest.get(f"/data/activities/contact/{contact}/bounceback").json()["total"] == 1
    assert rest.get(f"/data/activities/contact/{contact}/nothing").status_code == 400


def test_a_limit_of_contacts_can_be_set_and_answers_409(rest, sandbox):
    sandbox.eloqua.limits.contacts = 41

    rest.create("/data/contact", {"emailAddress": "a@example.com"})
    answer = rest.call("POST", "/data/contact", {"emailAddress": "b@example.com"})

    assert (answer.status_code, answer.text) == (409, "Sandbox Limit Exceeded")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"fieldValues": [{"id": "999", "value": "x"}]}, (400, "fieldValues", "RelationshipRequirement")),
        ({"fieldValues": {"id": "100002"}}, (400, "fieldValues", "ContentRequirement")),
        ({"fieldValues": [{"id": "100002", "value": ["x"]}]}, (400, "fieldValues", "ContentRequirement")),
        ({"firstName": "x" * 40_000}, (400, "firstName", "ValidTextLengthRequirement")),
        ({"id": "1"}, (400, "id", "ImmutabilityRequirement")),
        ({"emailFormatPreference": "pdf"}, (400, "emailFormatPreference", "EnumRequirement")),
    ],
)
def test_what_no_contact_can_hold_is_refused_by_name(standing, body, wanted):
    assert requirement(standing.call("PUT", "/data/contact/2001", body)) == wanted


def test_two_clients_that_create_the_same_person_at_once_make_one(rest, sandbox):
    body, callers = {"emailAddress": "ana@example.com"}, [RestCaller(sandbox) for _ in range(6)]

    with ThreadPoolExecutor(len(callers)) as threads:
        statuses = list(threads.map(lambda caller: caller.call("POST", "/data/contact", body).status_code, callers))

    assert sorted(statuses) == [201, 409, 409, 409, 409, 409]
    assert len(rest.found("/data/contacts", "ana@example.com")) == 1
