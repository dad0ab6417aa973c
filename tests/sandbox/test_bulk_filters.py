"""Filters that name containers, and the limits of a filter (eloqua.md 3.7); comparisons are in test_bulk_exports.py."""

import pytest

EMAIL = "{{Contact.Field(C_EmailAddress)}}"
OURS = f"'{EMAIL}' ~ '%@filter.example.com'"


@pytest.fixture
def people(sandbox):
    return {name: sandbox.eloqua.add_contact(f"{name}@filter.example.com") for name in ("ana", "bo", "cy")}


def names(eloqua, text):
    rows = eloqua.export("/contacts", {"Email": EMAIL}, filter=text)
    return {row["Email"].split("@")[0] for row in rows}


def test_members_of_a_list_a_segment_and_a_filter_are_found(sandbox, eloqua, people):
    members = sandbox.eloqua.add_list("Ours", [people["ana"], people["bo"]])
    segment = sandbox.eloqua.add_segment("S", f"'{EMAIL}' = 'cy@filter.example.com'")
    chosen = sandbox.eloqua.add_filter("F", OURS)

    assert names(eloqua, f"EXISTS('{{{{ContactList[{members}]}}}}')") == {"ana", "bo"}
    assert names(eloqua, f"{OURS} AND NOT EXISTS('{{{{ContactList[{members}]}}}}')") == {"cy"}
    assert names(eloqua, f"EXISTS('{{{{ContactSegment[{segment}]}}}}')") == {"cy"}
    assert names(eloqua, f"EXISTS('{{{{ContactFilter[{chosen}]}}}}') AND '{EMAIL}' < 'b'") == {"ana"}


def test_contacts_in_a_step_of_a_canvas_are_found_by_status(sandbox, eloqua, people):
    step = "1" * 32
    sandbox.eloqua.put_in_step(step, [people["ana"]])
    sandbox.eloqua.put_in_step(step, [people["bo"]], "complete")

    assert names(eloqua, f"STATUS('{{{{ActionInstance({step})}}}}') = 'pending'") == {"ana"}


def test_state_and_account_of_a_contact_can_be_asked_for(sandbox, eloqua, people):
    sandbox.eloqua.set_bounced("ana@filter.example.com")
    sandbox.eloqua.add_contact("di@filter.example.com", account_id=sandbox.eloqua.add_account("Acme Alone"))

    assert names(eloqua, f"{OURS} AND '{{{{Contact.Email.IsBounced}}}}' = 'true'") == {"ana"}
    assert names(eloqua, "'{{Contact.Account.Field(M_CompanyName)}}' = 'Acme Alone'") == {"di"}


@pytest.mark.parametrize(
    "broken",
    [
        "EXISTS('{{ContactList[99999]}}')",
        "EXISTS('{{ContactSegment[99999]}}')",
        "EXISTS('{{AccountList[1]}}')",
        "EXISTS('nonsense')",
        "EXISTS '{{ContactList[1]}}'",
        "EXISTS('{{ContactList[one]}}') AND EXISTS('{{ContactList[one]}}')",
        "STATUS('{{ActionInstance(short)}}') = 'pending'",
        "STATUS('{{ActionInstance(11111111111111111111111111111111)}}') > 'pending'",
        "(" * 400 + "'{{Contact.Id}}' = '1'" + ")" * 400,
        "'{{Contact.CreatedAt}}' = ''",
        "'{{Contact.LeadScore.Model[1].Luck}}' = 'A'",
        "'",
        "AND",
        " ",
    ],
)
def test_a_bad_filter_is_a_400(shared, shared_eloqua, broken):
    answer = shared_eloqua.post("/contacts/exports", {"name": "x", "fields": {"Email": EMAIL}, "filter": broken})

    assert answer.status_code == 400
    assert [failure["field"] for failure in answer.json()["failures"]] == ["filter"]


def test_one_exists_is_the_most(sandbox, eloqua):
    one = f"EXISTS('{{{{ContactList[{sandbox.eloqua.add_list('Ours')}]}}}}')"

    def status(text):
        return eloqua.post("/contacts/exports", {"name": "x", "fields": {"E": EMAIL}, "filter": text}).status_code

    assert (status(one), status(f"{one} OR {one}")) == (201, 400)


def test_a_thousand_characters_are_the_most(shared_eloqua):
    def status(length):
        text = f"'{EMAIL}' = '"
        body = {"name": "x", "fields": {"E": EMAIL}, "filter": text + "x" * (length - len(text) - 1) + "'"}
        return shared_eloqua.post("/contacts/exports", body).status_code

    assert (status(1000), status(1001)) == (201, 400)


def test_a_list_that_is_gone_fails_the_sync_before_it_starts(sandbox, eloqua):
    number = sandbox.eloqua.add_list("Ours")
    uri = eloqua.define_export("/contacts", {"E": EMAIL}, filter=f"EXISTS('{{{{ContactList[{number}]}}}}')")
    people = sandbox.systems["eloqua"].people
    with sandbox.store.transaction():
        people.delete_list(number)

    answer = eloqua.post("/syncs", {"syncedInstanceUri": uri})

    assert answer.status_code == 400 and answer.json()["failures"][0]["field"] == "filter"
