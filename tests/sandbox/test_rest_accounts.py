"""Accounts and users over REST (eloqua.md 2.7)."""

from __future__ import annotations


def test_an_account_is_made_found_changed_and_deleted(rest, sandbox):
    made = rest.create(
        "/data/account",
        {"name": "Acme", "city": "Porto", "country": "PT", "fieldValues": [{"id": "100096", "value": "12.50"}]},
    )
    path = f"/data/account/{made['id']}"
    assert (made["type"], made["depth"], made["city"]) == ("Account", "complete", "Porto")
    assert {"type": "FieldValue", "id": "100096", "value": "12.5"} in made["fieldValues"]
    assert rest.found("/data/accounts", "Acme") == [made["id"]]
    assert rest.found("/data/accounts", "M_City='Porto'M_Employees1>12") == [made["id"]]

    sandbox.clock.advance(60)
    shown = rest.put(path, {"id": made["id"], "name": "Acme Ltd"})
    assert shown["name"] == "Acme Ltd" and "city" not in shown  # a PUT replaces the standard properties
    assert {"type": "FieldValue", "id": "100096", "value": "12.5"} in shown["fieldValues"]
    assert int(shown["updatedAt"]) == int(made["updatedAt"]) + 60

    answer = rest.call("DELETE", path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert rest.get(path).status_code == 404
    kinds = [(m["object"], m["kind"]) for m in sandbox.mutations]
    assert kinds == [("Account", "create"), ("Account", "update"), ("Account", "delete")]


def test_a_contact_shows_its_account_until_that_is_deleted(rest, sandbox):
    account = sandbox.eloqua.add_account("Acme")
    contact = sandbox.eloqua.add_contact("ana@example.com", account_id=account)

    assert rest.get(f"/data/contact/{contact}").json()["accountId"] == str(account)
    assert rest.found("/data/contacts", f"accountId={account}") == [str(contact)]

    rest.call("DELETE", f"/data/account/{account}")
    assert "accountId" not in rest.get(f"/data/contact/{contact}").json()


def test_an_account_needs_a_name_and_names_may_repeat(rest):
    rest.create("/data/account", {"name": "Acme"})
    rest.create("/data/account", {"name": "Acme"})

    answer = rest.call("POST", "/data/account", {"city": "Porto"})
    [error] = answer.json()
    assert (answer.status_code, error["property"], error["requirement"]["type"]) == (400, "name", "NotNullRequirement")


def test_users_are_those_that_can_log_in(rest):
    page = rest.get("/system/users", search="loginName='API*'").json()
    assert [(u["type"], u["id"], u["loginName"]) for u in page["elements"]] == [("User", "77", "API.User")]

    user = rest.get("/system/user/78").json()
    assert (user["loginName"], user["depth"]) == ("Other.User", "complete")
    assert user["emailAddress"].endswith("@example.com")
    assert isinstance(user["securityGroups"], list)
    assert rest.get("/system/user/1").status_code == 404
