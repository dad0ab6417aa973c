import pytest

EMAIL, FIRST, LAST = (f"{{{{Contact.Field({name})}}}}" for name in ("C_EmailAddress", "C_FirstName", "C_LastName"))
FIELDS = {"Email": EMAIL, "First": FIRST, "Last": LAST}


def upload(eloqua, rows, fields=FIELDS, identifier="Email", **properties):
    return eloqua.import_rows("/contacts", fields, identifier, rows, **properties)


def row(email, first="", last=""):
    return {"Email": email, "First": first, "Last": last}


def test_an_export_shows_id_stamps_state_account_and_score(sandbox, eloqua):
    account = sandbox.eloqua.add_account("Acme, Inc.")
    number = sandbox.eloqua.add_contact("ana@example.com", created_at="2026-11-01T10:00:00Z", account_id=account)
    sandbox.eloqua.set_bounced("ana@example.com")

    rows = eloqua.export(
        "/contacts",
        {
            "Id": "{{Contact.Id}}",
            "Born": "{{Contact.CreatedAt}}",
            "Touched": "{{Contact.UpdatedAt}}",
            "Mail": EMAIL,
            "On": "{{Contact.Email.IsSubscribed}}",
            "Out": "{{Contact.Email.IsBounced}}",
            "Format": "{{Contact.Email.Format}}",
            "AccountId": "{{Contact.Account.Id}}",
            "Account": "{{Contact.Account.Field(M_CompanyName)}}",
            "Rating": "{{Contact.LeadScore.Model[1].Rating}}",
        },
        filter=f"'{EMAIL}' = 'ANA@example.com'",
    )

    assert len(rows) == 1 and len(rows[0].pop("Rating")) == 2
    assert rows[0] == {
        "Id": str(number),
        "Born": "2026-11-01 10:00:00",
        "Touched": "2026-11-01 10:00:00",
        "Mail": "ana@example.com",
        "On": "True",
        "Out": "True",
        "Format": "unspecified",
        "AccountId": str(account),
        "Account": "Acme, Inc.",
    }


def test_the_text_of_booleans_is_a_switch(sandbox, eloqua):
    sandbox.eloqua.limits.boolean_texts = ("true", "false")
    sandbox.eloqua.add_contact("ana@example.com")

    rows = eloqua.export("/contacts", {"On": "{{Contact.Email.IsSubscribed}}"}, filter=f"'{EMAIL}' = 'ana@example.com'")

    assert rows == [{"On": "true"}]


def test_an_import_creates_and_updates_contacts_by_address_without_case(sandbox, eloqua):
    known = sandbox.eloqua.add_contact("ana@example.com", {"C_FirstName": "Ana"})
    sandbox.clock.advance(60)

    sync = upload(eloqua, [row(" ANA@example.com ", "Anna", "Lima"), row("bo@example.com", "Bo")])

    assert (sync["status"], sync["codes"]["ELQ-00004"], sync["codes"]["ELQ-00022"]) == ("success", 1, 1)
    ana, bo = sandbox.eloqua.contact("ana@example.com"), sandbox.eloqua.contact("bo@example.com")
    assert (ana["Id"], ana["C_EmailAddress"], ana["C_FirstName"]) == (known, "ana@example.com", "Anna")
    assert ana["C_DateModified"] == bo["C_DateCreated"] == "2026-11-22 06:16:00"
    assert bo["ContactIDExt"].startswith("CMEC") and bo["C_Company"] == ""
    assert {m["id"]: m["kind"] for m in sandbox.mutations if "/syncs" in m["request"]} == {
        str(known): "update",
        str(bo["Id"]): "create",
    }


def test_an_address_that_is_none_rejects_its_row_and_no_other(sandbox, eloqua):
    sync = upload(eloqua, [row("nobody"), row("bo@example.com"), row("")])

    assert [(r["recordIndex"], r["statusCode"], r["invalidFields"]) for r in sync["rejects"]] == [
        (1, "ELQ-00002", ["Email"]),
        (3, "ELQ-00002", ["Email"]),
    ]
    assert sync["status"] == "warning" and sandbox.eloqua.contact("bo@example.com")


@pytest.mark.parametrize(
    ("rule", "names", "created", "counted"),
    [
        ("createAndUpdate", "new", True, {}),
        ("updateOnly", "new", False, {"ELQ-00034": 1}),
        ("createOnly", "old", True, {"ELQ-00048": 1}),
    ],
)
def test_the_import_rule_says_who_is_created_and_who_updated(sandbox, eloqua, rule, names, created, counted):
    sandbox.eloqua.add_contact("ana@example.com", {"C_FirstName": "old"})

    sync = upload(eloqua, [row("ana@example.com", "new"), row("bo@example.com")], importRule=rule)

    assert sandbox.eloqua.contact("ana@example.com")["C_FirstName"] == names
    assert (sandbox.eloqua.contact("bo@example.com") is not None) == created
    assert sync["status"] == "success" and sync["rejects"] == []
    assert {c: n for c, n in sync["codes"].items() if c in ("ELQ-00034", "ELQ-00048")} == counted


def test_rules_by_field_override_the_rule_of_the_import(sandbox, eloqua):
    sandbox.eloqua.add_contact("ana@example.com", {"C_FirstName": "old", "C_LastName": "old"})

    upload(
        eloqua,
        [row("ana@example.com", "new", "new")],
        updateRule="ifExistingIsNull",
        updateRuleByField={"Last": "always"},
    )

    ana = sandbox.eloqua.contact("ana@example.com")
    assert (ana["C_FirstName"], ana["C_LastName"]) == ("old", "new")


def test_the_rule_of_a_field_holds_when_the_import_says_so(sandbox, eloqua):
    sandbox.eloqua.entity("Contact").field_by("C_FirstName").update_type = "newNotBlank"
    try:
        sandbox.eloqua.add_contact("ana@example.com", {"C_FirstName": "old", "C_LastName": "old"})
        upload(eloqua, [row("ana@example.com")], updateRule="useFieldRule")
    finally:
        sandbox.eloqua.entity("Contact").field_by("C_FirstName").update_type = "always"

    ana = sandbox.eloqua.contact("ana@example.com")
    assert (ana["C_FirstName"], ana["C_LastName"]) == ("old", "")


def test_bounce_and_subscription_can_be_imported_and_are_the_address_s(sandbox, eloqua):
    for name in ("ana", "bo", "cy"):
        sandbox.eloqua.add_contact(f"{name}@example.com")
    fields = {"Email": EMAIL, "Out": "{{Contact.Email.IsBounced}}", "On": "{{Contact.Email.IsSubscribed}}"}

    sync = upload(
        eloqua,
        [
            {"Email": "ana@example.com", "Out": "true", "On": ""},
            {"Email": "bo@example.com", "Out": "", "On": "0"},
            {"Email": "cy@example.com", "Out": "maybe", "On": "False"},
        ],
        fields,
    )

    assert "ana@example.com" in sandbox.eloqua.bounced() and "ana@example.com" not in sandbox.eloqua.unsubscribed()
    assert "bo@example.com" in sandbox.eloqua.unsubscribed() and "cy@example.com" not in sandbox.eloqua.unsubscribed()
    assert (sync["codes"]["ELQ-00016"], sync["codes"]["ELQ-00017"]) == (1, 1)
    assert [r["invalidFields"] for r in sync["rejects"]] == [["Out"]]


def test_a_contact_that_comes_back_by_import_has_the_state_of_its_address_and_a_new_id(sandbox, eloqua):
    old = sandbox.eloqua.add_contact("ana@example.com")
    sandbox.eloqua.set_subscribed("ana@example.com", False)
    sandbox.eloqua.set_bounced("ana@example.com")
    sandbox.eloqua.delete_record("Contact", old)

    upload(eloqua, [row("Ana@example.com")])

    ana = sandbox.eloqua.contact("ana@example.com")
    assert (ana["IsSubscribed"], ana["IsBounced"]) == ("False", "True") and ana["Id"] != old


def test_an_address_changes_only_by_another_identifier_and_never_to_a_taken_one(sandbox, eloqua):
    fields = {"Crm": "{{Contact.Field(C_SFDCContactID)}}", "Email": EMAIL}
    sandbox.eloqua.add_contact("old@example.com", {"C_SFDCContactID": "003A"})
    sandbox.eloqua.add_contact("taken@example.com", {"C_SFDCContactID": "003B"})
    sandbox.eloqua.set_subscribed("old@example.com", False)

    sync = upload(
        eloqua,
        [{"Crm": "003A", "Email": "new@example.com"}, {"Crm": "003B", "Email": "taken@example.com"}],
        fields,
        "Crm",
    )
    again = upload(eloqua, [{"Crm": "003A", "Email": "TAKEN@example.com"}], fields, "Crm")
    many = upload(
        eloqua, [{"Crm": "003A", "Email": "x@example.com"}], fields, "Crm", isUpdatingMultipleMatchedRecords=True
    )

    assert sync["status"] == "success" and [r["statusCode"] for r in again["rejects"]] == ["ELQ-00011"]
    contact = sandbox.eloqua.contact("new@example.com")
    assert contact["C_SFDCContactID"] == "003A" and contact["IsSubscribed"] == "True"
    assert "old@example.com" in sandbox.eloqua.unsubscribed()
    assert many["status"] == "success" and sandbox.eloqua.contact("x@example.com") is None


def test_all_records_of_a_key_are_updated_only_when_told_and_not_too_many(sandbox, eloqua):
    fields = {"Company": "{{Contact.Field(C_Company)}}", "Last": LAST}
    for name in ("ana", "bo"):
        sandbox.eloqua.add_contact(f"{name}@example.com", {"C_Company": "Acme Twins"})
    rows = [{"Company": "Acme Twins", "Last": "Twin"}]

    refused = upload(eloqua, rows, fields, "Company")
    done = upload(eloqua, rows, fields, "Company", isUpdatingMultipleMatchedRecords=True)
    sandbox.eloqua.limits.multiple_matches = 1
    too_many = upload(eloqua, rows, fields, "Company", isUpdatingMultipleMatchedRecords=True)

    assert [[r["statusCode"] for r in s["rejects"]] for s in (refused, done, too_many)] == [
        ["ELQ-00135"],
        [],
        ["ELQ-00135"],
    ]
    assert done["codes"]["ELQ-00022"] == 2
    assert {sandbox.eloqua.contact(f"{n}@example.com")["C_LastName"] for n in ("ana", "bo")} == {"Twin"}


def test_the_external_id_identifies_but_creates_nobody(sandbox, eloqua):
    sandbox.eloqua.add_contact("ana@example.com")
    own = sandbox.eloqua.contact("ana@example.com")["ContactIDExt"]
    before = len(sandbox.eloqua.records("Contact"))

    sync = upload(
        eloqua,
        [{"Own": own, "First": "Ana"}, {"Own": "CMEC999999999999", "First": "Nobody"}],
        {"Own": "{{Contact.Field(ContactIDExt)}}", "First": FIRST},
        "Own",
    )

    assert sandbox.eloqua.contact("ana@example.com")["C_FirstName"] == "Ana"
    assert sync["codes"]["ELQ-00034"] == 1 and len(sandbox.eloqua.records("Contact")) == before


def test_the_id_identifies_only_when_switched_on(sandbox, eloqua):
    number = sandbox.eloqua.add_contact("ana@example.com")
    body = {"name": "x", "fields": {"Id": "{{Contact.Id}}", "First": FIRST}, "identifierFieldName": "Id"}
    refused = eloqua.post("/contacts/imports", body)

    sandbox.eloqua.limits.contact_id_identifies = True
    upload(eloqua, [{"Id": str(number), "First": "Ana"}], body["fields"], "Id")

    assert refused.status_code == 400 and refused.json()["failures"][0]["field"] == "fields"
    assert sandbox.eloqua.contact("ana@example.com")["C_FirstName"] == "Ana"


def test_accounts_are_exported_and_imported_like_contacts(sandbox, eloqua):
    name, country = "{{Account.Field(M_CompanyName)}}", "{{Account.Field(M_Country)}}"
    known = sandbox.eloqua.add_account("Acme Alone", {"M_Country": "France"})

    sync = eloqua.import_rows(
        "/accounts",
        {"Name": name, "Country": country},
        "Name",
        [{"Name": "acme alone", "Country": "Spain"}, {"Name": "Acme New", "Country": "Italy"}],
    )
    rows = eloqua.export("/accounts", {"Id": "{{Account.Id}}", "Country": country}, filter=f"'{name}' ~ 'Acme %'")

    assert (sync["codes"]["ELQ-00005"], sync["codes"]["ELQ-00023"]) == (1, 1)
    countries = {r["Id"]: r["Country"] for r in rows}
    assert countries[str(known)] == "Spain" and "Italy" in countries.values()


@pytest.mark.parametrize(
    "change",
    [
        {"importRule": "never"},
        {"updateRule": "sometimes"},
        {"updateRuleByField": {"First": "sometimes"}},
        {"importPriorityUri": "/imports/priorities/9"},
        {"identifierFieldName": None},
        {"identifierFieldName": ["Email"]},
        {"fields": {"Email": EMAIL, "Account": "{{Contact.Account.Field(M_CompanyName)}}"}},
        {"fields": {"Email": EMAIL, "Born": "{{Contact.CreatedAt}}"}},
        {"fields": {"Email": EMAIL, "Own": "{{Contact.Field(ContactIDExt)}}"}},
    ],
)
def test_a_bad_import_is_a_400_that_says_why(shared_eloqua, change):
    body = {"name": "x", "fields": FIELDS, "identifierFieldName": "Email", **change}

    answer = shared_eloqua.post("/contacts/imports", body)

    assert answer.status_code == 400
    assert {"field", "value", "constraint"} == answer.json()["failures"][0].keys()


def test_contacts_beyond_the_limit_are_rejected_and_known_ones_are_still_updated(sandbox, eloqua):
    known = sandbox.eloqua.records("Contact")
    sandbox.eloqua.limits.contacts = len(known) + 2
    fields = {"Email": "{{Contact.Field(C_EmailAddress)}}", "City": "{{Contact.Field(C_City)}}"}
    rows = [{"Email": f"new.{i}@example.com", "City": "x"} for i in range(5)]
    rows.insert(3, {"Email": known[0]["C_EmailAddress"], "City": "Moved"})

    sync = eloqua.import_rows("/contacts", fields, "Email", rows)

    assert (sync["status"], sync["codes"]["ELQ-00004"], sync["codes"]["ELQ-00022"]) == ("warning", 2, 1)
    assert [(r["recordIndex"], r["statusCode"]) for r in sync["rejects"]] == [
        (3, "ELQ-00125"),
        (5, "ELQ-00125"),
        (6, "ELQ-00125"),
    ]
    assert len(sandbox.eloqua.records("Contact")) == len(known) + 2
    assert sandbox.eloqua.record("Contact", known[0]["Id"])["C_City"] == "Moved"
    again = eloqua.import_rows("/contacts", fields, "Email", rows[4:], importRule="updateOnly")
    assert (again["rejects"], len(sandbox.eloqua.records("Contact"))) == ([], len(known) + 2)


def test_a_contact_made_by_an_import_has_the_default_of_each_field_that_is_not_mapped(sandbox, eloqua, rest):
    body = {"name": "Consent", "dataType": "text", "displayType": "text", "updateType": "always", "defaultValue": "no"}
    made = rest.create("/assets/contact/field", body)
    fields = {"Email": "{{Contact.Field(C_EmailAddress)}}"}
    mapped = {**fields, "Consent": f"{{{{Contact.Field({made['internalName']})}}}}"}

    eloqua.import_rows("/contacts", fields, "Email", [{"Email": "ana@example.com"}])
    eloqua.import_rows("/contacts", mapped, "Email", [{"Email": "bo@example.com", "Consent": ""}])

    kept = [sandbox.eloqua.contact(f"{name}@example.com")[made["internalName"]] for name in ("ana", "bo")]
    assert kept == ["no", ""]
    logged = [m["changed"] for m in sandbox.mutations if m["object"] == "Contact" and m["kind"] == "create"]
    assert logged[0][made["internalName"]] == {"old": None, "new": "no"}
