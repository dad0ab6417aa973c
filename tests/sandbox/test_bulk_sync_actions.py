import pytest

EMAIL = "{{Contact.Field(C_EmailAddress)}}"
GLOBAL = "{{GlobalSubscribe}}"


@pytest.fixture
def people(sandbox):
    """Ids of three contacts by name."""
    return {name: sandbox.eloqua.add_contact(f"{name}@example.com") for name in ("ana", "bo", "cy")}


def act(eloqua, actions, rows, path="/contacts", fields=None, identifier="Email"):
    """A stand-alone sync action: define, stage, sync; the sync with the counts of its logs."""
    body = {"name": "x", "fields": fields or {"Email": EMAIL}, "identifierFieldName": identifier}
    answer = eloqua.post(path + "/syncActions", {**body, "isSyncTriggeredOnImport": False, "syncActions": actions})
    assert answer.status_code == 201, answer.text
    assert eloqua.post(answer.json()["uri"] + "/data", rows).status_code == 204
    sync = eloqua.sync(answer.json()["uri"])
    sync["codes"] = {line["statusCode"]: line["count"] for line in eloqua.get(sync["uri"] + "/logs").json()["items"]}
    return sync


def to_list(number, action="add"):
    return [{"action": action, "destination": f"{{{{ContactList[{number}]}}}}"}]


def test_contacts_are_put_on_a_list_and_taken_off_without_touching_their_fields(sandbox, eloqua, people):
    number = sandbox.eloqua.add_list("Ours", [people["cy"]])
    before = sandbox.eloqua.records("Contact")
    sandbox.clock.advance(60)

    added = act(eloqua, to_list(number), [{"Email": "ANA@example.com"}, {"Email": "nobody@example.com"}])
    removed = act(
        eloqua, to_list(number, "remove"), [{"Id": str(people["cy"])}], fields={"Id": "{{Contact.Id}}"}, identifier="Id"
    )

    assert (added["status"], added["codes"]["ELQ-00119"], added["codes"]["ELQ-00034"]) == ("warning", 1, 1)
    assert (removed["status"], removed["codes"]["ELQ-00118"]) == ("success", 1)
    assert sandbox.eloqua.lists()["Ours"] == [people["ana"]]
    assert sandbox.eloqua.records("Contact") == before


def test_a_subscription_is_set_for_the_address(sandbox, eloqua, people):
    off, on = ([{"action": "setStatus", "destination": GLOBAL, "status": s}] for s in ("unsubscribed", "subscribed"))

    act(eloqua, off, [{"Email": "ana@example.com"}, {"Email": "bo@example.com"}])
    done = act(eloqua, on, [{"Email": "bo@example.com"}])

    assert sandbox.eloqua.unsubscribed() & {f"{n}@example.com" for n in people} == {"ana@example.com"}
    assert sandbox.eloqua.contact("ana@example.com")["IsSubscribed"] == "False" and done["codes"]["ELQ-00138"] == 1


def test_an_e_mail_group_is_left_alone_by_all_but_its_own_action(sandbox, eloqua, people):
    group = sandbox.eloqua.add_email_group("News")
    action = [{"action": "setStatus", "destination": f"{{{{EmailGroup[{group}]}}}}", "status": "unsubscribed"}]

    sync = act(eloqua, action, [{"Email": "ana@example.com"}])

    subscribed = sandbox.systems["eloqua"].people.group_subscribed
    assert [subscribed(group, f"{n}@example.com") for n in ("ana", "bo")] == [False, True]
    assert sync["codes"]["ELQ-00116"] == 1 and "ana@example.com" not in sandbox.eloqua.unsubscribed()


def test_an_import_acts_on_the_contacts_that_it_updated_or_created(sandbox, eloqua, people):
    number = sandbox.eloqua.add_list("Ours")

    eloqua.import_rows(
        "/contacts",
        {"Email": EMAIL},
        "Email",
        [{"Email": "ana@example.com"}, {"Email": "new@example.com"}, {"Email": "broken"}],
        syncActions=to_list(number),
    )

    assert set(sandbox.eloqua.lists()["Ours"]) == {people["ana"], sandbox.eloqua.contact("new@example.com")["Id"]}


def test_an_export_acts_on_the_contacts_that_it_exported(sandbox, eloqua, people):
    number = sandbox.eloqua.add_list("Ours")

    rows = eloqua.export(
        "/contacts", {"Email": EMAIL}, filter=f"'{EMAIL}' = 'bo@example.com'", syncActions=to_list(number)
    )

    assert rows == [{"Email": "bo@example.com"}] and sandbox.eloqua.lists()["Ours"] == [people["bo"]]


def test_accounts_have_lists_of_their_own(sandbox, eloqua):
    acme, number = sandbox.eloqua.add_account("Acme Alone"), sandbox.eloqua.add_account_list("Ours")
    name = {"Name": "{{Account.Field(M_CompanyName)}}"}
    actions = [{"action": "add", "destination": f"{{{{AccountList[{number}]}}}}"}]

    act(eloqua, actions, [{"Name": "acme alone"}], "/accounts", name, "Name")

    assert sandbox.eloqua.account_list(number) == [acme]
    assert eloqua.get(f"/accounts/lists/{number}").json()["count"] == 1


def test_records_of_a_custom_object_answer_a_step_of_a_canvas(sandbox, eloqua):
    path, step = eloqua.path_of("Event Registration"), "11111111222233334444555555555555"
    number = sandbox.eloqua.add_record("Event Registration", {"Record Key": "k"})
    fields = {"Id": f"{{{{CustomObject[{path.split('/')[-1]}].Id}}}}"}
    actions = [{"action": "setStatus", "destination": f"{{{{ActionInstance({step})}}}}", "status": "complete"}]

    act(eloqua, actions, [{"Id": str(number)}], path, fields, "Id")

    assert sandbox.eloqua.step(step) == {number: "complete"}


@pytest.mark.parametrize(
    ("status", "holder", "code"), [("unsubscribed", "unsubscribed", 17), ("bounced", "bounced", 16)]
)
def test_addresses_are_marked_without_making_contacts(sandbox, eloqua, status, holder, code):
    before = len(sandbox.eloqua.records("Contact"))

    sync = eloqua.import_rows(
        "/emailAddresses",
        {"Email": "{{EmailAddress.Field(EmailAddress)}}"},
        "Email",
        [{"Email": "Never@example.com"}, {"Email": "broken"}],
        syncActions=[{"action": "setStatus", "destination": GLOBAL, "status": status}],
    )

    assert "never@example.com" in getattr(sandbox.eloqua, holder)()
    assert len(sandbox.eloqua.records("Contact")) == before
    assert sync["codes"][f"ELQ-000{code}"] == 1 and [r["statusCode"] for r in sync["rejects"]] == ["ELQ-00002"]


def test_a_contact_that_is_made_later_starts_unsubscribed(sandbox, eloqua):
    eloqua.import_rows(
        "/emailAddresses",
        {"Email": "{{EmailAddress.Field(EmailAddress)}}"},
        "Email",
        [{"Email": "later@example.com"}],
        syncActions=[{"action": "setStatus", "destination": GLOBAL, "status": "unsubscribed"}],
    )

    eloqua.import_rows("/contacts", {"Email": EMAIL}, "Email", [{"Email": "later@example.com"}])

    assert sandbox.eloqua.contact("later@example.com")["IsSubscribed"] == "False"


@pytest.mark.parametrize(
    "actions",
    [
        [{"action": "add", "destination": "{{ContactList[99999]}}"}],
        [{"action": "add", "destination": "{{AccountList[1]}}"}],
        [{"action": "throw", "destination": "{{ContactList[501]}}"}],
        [{"action": "setStatus", "destination": GLOBAL, "status": "happy"}],
        [{"action": "setStatus", "destination": GLOBAL}],
        [{"action": "setStatus", "destination": GLOBAL, "status": "unsubscribed"}] * 11,
        ["add"],
        "add",
    ],
)
def test_a_bad_sync_action_is_a_400(shared_eloqua, actions):
    body = {"name": "x", "fields": {"Email": EMAIL}, "identifierFieldName": "Email", "syncActions": actions}

    for path in ("/contacts/imports", "/contacts/syncActions", "/contacts/exports"):
        answer = shared_eloqua.post(path, body)
        assert answer.status_code == 400 and answer.json()["failures"][0]["field"] == "syncActions"


def test_addresses_alone_are_never_subscribed(shared_eloqua):
    body = {
        "name": "x",
        "fields": {"Email": "{{EmailAddress.Field(EmailAddress)}}"},
        "identifierFieldName": "Email",
        "syncActions": [{"action": "setStatus", "destination": GLOBAL, "status": "subscribed"}],
    }

    assert shared_eloqua.post("/emailAddresses/imports", body).status_code == 400


def test_a_sync_action_takes_one_identifying_field_only(shared_eloqua):
    actions = [{"action": "setStatus", "destination": GLOBAL, "status": "unsubscribed"}]
    for fields in ({"First": "{{Contact.Field(C_FirstName)}}"}, {"Email": EMAIL, "Id": "{{Contact.Id}}"}):
        body = {"name": "x", "fields": fields, "identifierFieldName": next(iter(fields)), "syncActions": actions}
        assert shared_eloqua.post("/contacts/syncActions", body).status_code == 400
