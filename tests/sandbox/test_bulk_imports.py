import pytest

EVENTS = "Event Registration"


@pytest.fixture
def events(sandbox, eloqua):
    sandbox.eloqua.clear_records(EVENTS)
    path = eloqua.path_of(EVENTS)
    statements = eloqua.statements(path)
    return path, {
        "Key": statements["Record_Key1"],
        "Name": statements["Campaign_Name1"],
        "Status": statements["Enrichment_Status1"],
    }


def by_key(sandbox):
    return {row["Record_Key1"]: row for row in sandbox.eloqua.records(EVENTS)}


def test_an_import_updates_what_it_knows_and_creates_the_rest(sandbox, eloqua, events):
    path, fields = events
    known = sandbox.eloqua.add_record(EVENTS, {"Record Key": "k1", "Campaign Name": "old", "Campaign Type": "Webinar"})

    sync = eloqua.import_rows(
        path,
        fields,
        "Key",
        [{"Key": "K1", "Name": "new", "Status": "Done"}, {"Key": "k2", "Name": "Zoë", "Status": ""}],
    )

    assert sync["status"] == "success" and sync["rejects"] == []
    assert sync["codes"]["ELQ-00130"] == 2 and sync["codes"]["ELQ-00012"] == 1 and sync["codes"]["ELQ-00007"] == 1
    rows = sandbox.eloqua.records(EVENTS)
    assert [(r["Id"] == known, r["Campaign_Name1"], r["Campaign_Type1"]) for r in rows] == [
        (True, "new", "Webinar"),
        (False, "Zoë", ""),
    ]


def test_an_import_that_changes_nothing_leaves_updated_at_and_the_mutation_log_alone(sandbox, eloqua, events):
    path, fields = events
    rows = [{"Key": "same", "Name": "x", "Status": "Done"}, {"Key": "other", "Name": "y", "Status": "Done"}]
    for row in rows:
        sandbox.eloqua.add_record(
            EVENTS, {"Record Key": row["Key"], "Campaign Name": row["Name"], "Enrichment Status": "Done"}
        )
    before, logged = by_key(sandbox), len(sandbox.mutations)
    sandbox.clock.advance(3600)

    eloqua.import_rows(path, fields, "Key", [rows[0], {**rows[1], "Name": "changed"}])

    after = by_key(sandbox)
    assert after["same"] == before["same"]
    assert (after["other"]["UpdatedAt"] - before["other"]["UpdatedAt"]).total_seconds() == 3600
    assert [(m["kind"], m["changed"]) for m in sandbox.mutations[logged:]] == [
        ("update", {"Campaign_Name1": {"old": "y", "new": "changed"}})
    ]


def test_an_empty_text_clears_a_field(sandbox, eloqua, events):
    path, fields = events
    sandbox.eloqua.add_record(EVENTS, {"Record Key": "k", "Campaign Name": "old", "Enrichment Status": "Waiting"})

    eloqua.import_rows(path, fields, "Key", [{"Key": "k", "Name": "", "Status": None}])

    assert by_key(sandbox)["k"]["Campaign_Name1"] == "" == by_key(sandbox)["k"]["Enrichment_Status1"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("always", ("", "new")), ("ifNewIsNotNull", ("old", "new")), ("ifExistingIsNull", ("old", "new"))],
)
def test_update_rules_decide_field_by_field(sandbox, eloqua, events, rule, expected):
    path, fields = events
    sandbox.eloqua.add_record(EVENTS, {"Record Key": "k", "Campaign Name": "old", "Enrichment Status": ""})

    eloqua.import_rows(path, fields, "Key", [{"Key": "k", "Name": "", "Status": "new"}], updateRule=rule)

    assert (by_key(sandbox)["k"]["Campaign_Name1"], by_key(sandbox)["k"]["Enrichment_Status1"]) == expected


def test_of_equal_identifiers_the_last_row_wins_and_the_sync_warns(sandbox, eloqua, events):
    path, fields = events

    sync = eloqua.import_rows(
        path, fields, "Key", [{"Key": "k", "Name": n, "Status": ""} for n in ("first", "second", "last")]
    )

    assert (sync["status"], sync["codes"]["ELQ-00026"], sync["codes"]["ELQ-00003"]) == ("warning", 2, 1)
    assert [r["Campaign_Name1"] for r in sandbox.eloqua.records(EVENTS)] == ["last"]


def test_bad_rows_are_rejected_by_number_from_one_and_the_others_go_in(sandbox, eloqua, events):
    path, fields = events
    statements = eloqua.statements(path)
    fields = {
        **fields,
        "Mail": statements["Email_Address1"],
        "Budget": statements["Campaign_Budget1"],
        "Start": statements["Campaign_Start_Date1"],
    }
    good = {"Key": "good", "Name": "n", "Status": "", "Mail": "a@example.com", "Budget": "1.50", "Start": "12/31/2026"}

    sync = eloqua.import_rows(
        path,
        fields,
        "Key",
        [
            {**good, "Key": "mail", "Mail": "nobody"},
            {**good, "Key": "budget", "Budget": "much"},
            good,
            {**good, "Key": "start", "Start": "soon"},
            {**good, "Key": ""},
            {**good, "Key": "wide", "Name": "x" * 251},
        ],
    )

    assert sync["status"] == "warning"
    assert [(r["recordIndex"], r["statusCode"], r["invalidFields"]) for r in sync["rejects"]] == [
        (1, "ELQ-00002", ["Mail"]),
        (2, "ELQ-00125", ["Budget"]),
        (4, "ELQ-00125", ["Start"]),
        (5, "ELQ-00061", ["Key"]),
        (6, "ELQ-00125", ["Name"]),
    ]
    assert sync["rejects"][0]["fieldValues"]["Key"] == "mail"
    assert [
        (r["Record_Key1"], r["Campaign_Budget1"], r["Campaign_Start_Date1"]) for r in sandbox.eloqua.records(EVENTS)
    ] == [("good", "1.5", "2026-12-31 00:00:00")]


def test_rejects_come_in_pages(sandbox, eloqua, events):
    path, fields = events
    sync = eloqua.import_rows(path, fields, "Key", [{"Key": "", "Name": str(i), "Status": ""} for i in range(5)])

    page = eloqua.get(sync["uri"] + "/rejects", limit=2, offset=4).json()

    assert (page["totalResults"], page["count"], page["hasMore"], page["items"][0]["recordIndex"]) == (5, 1, False, 5)
    assert eloqua.get(sync["uri"] + "/rejects", limit=1001).status_code == 400


def test_a_record_told_to_be_rejected_is_rejected_with_that_code(sandbox, eloqua, events):
    path, fields = events
    sandbox.eloqua.add_record(EVENTS, {"Record Key": "k", "Campaign Name": "old"})
    sandbox.eloqua.reject(EVENTS, "k", "ELQ-00032")

    sync = eloqua.import_rows(path, fields, "Key", [{"Key": "k", "Name": "new", "Status": ""}])

    assert [r["statusCode"] for r in sync["rejects"]] == ["ELQ-00032"]
    assert by_key(sandbox)["k"]["Campaign_Name1"] == "old"


def test_a_key_that_the_definition_lacks_warns_without_rejects(sandbox, eloqua, events):
    path, fields = events

    sync = eloqua.import_rows(path, fields, "Key", [{"Key": "k", "Name": "n", "Status": "", "extra": 1}])

    assert (sync["status"], sync["rejects"], "ELQ-00111" in sync["codes"]) == ("warning", [], True)
    assert by_key(sandbox)["k"]["Campaign_Name1"] == "n"


def test_a_key_that_the_file_lacks_is_named_in_the_logs(sandbox, eloqua, events):
    path, fields = events

    assert "ELQ-00121" in eloqua.import_rows(path, fields, "Key", [{"Key": "k", "Name": "n"}])["codes"]


def test_several_files_make_one_sync(sandbox, eloqua, events):
    path, fields = events
    uri = eloqua.define_import(path, fields, "Key")
    for key in "abc":
        eloqua.post(uri + "/data", [{"Key": key, "Name": "", "Status": ""}])

    eloqua.sync(uri)

    assert set(by_key(sandbox)) == {"a", "b", "c"}


def test_staged_rows_are_used_up_by_their_sync(sandbox, eloqua, events):
    path, fields = events
    uri = eloqua.define_import(path, fields, "Key")
    eloqua.post(uri + "/data", [{"Key": "a", "Name": "", "Status": ""}])
    eloqua.sync(uri)

    assert eloqua.sync(uri)["status"] == "warning"
    assert len(sandbox.eloqua.records(EVENTS)) == 1


def test_csv_is_taken_as_well(sandbox, eloqua, events):
    path, fields = events
    uri = eloqua.define_import(path, fields, "Key")

    eloqua.http.post(
        eloqua.base + uri + "/data",
        data=b'Key,Name,Status\r\nk,"a ""b"", c",Done\r\n',
        headers={"Content-Type": "text/csv"},
    )
    eloqua.sync(uri)

    assert by_key(sandbox)["k"]["Campaign_Name1"] == 'a "b", c'


def test_an_import_without_a_field_for_its_identifier_is_refused(sandbox, eloqua, events):
    path, fields = events

    answer = eloqua.post(path + "/imports", {"name": "x", "fields": fields, "identifierFieldName": "Id"})

    assert answer.status_code == 400 and "ELQ-00112" in answer.json()["failures"][0]["constraint"]


def test_an_import_takes_100_fields_and_not_one_more(sandbox, eloqua, events):
    path, fields = events
    many = {f"f{i}": fields["Name"] for i in range(101)}

    assert eloqua.post(path + "/imports", {"name": "x", "fields": many}).status_code == 400
    many.popitem()
    assert eloqua.post(path + "/imports", {"name": "x", "fields": many}).status_code == 201


def test_ids_and_time_stamps_cannot_be_imported(sandbox, eloqua, events):
    path, fields = events
    own = fields["Key"].split(".")[0] + ".UpdatedAt}}"

    assert (
        eloqua.post(
            path + "/imports", {"name": "x", "fields": {**fields, "U": own}, "identifierFieldName": "Key"}
        ).status_code
        == 400
    )


def test_a_file_above_32_mb_is_not_found(sandbox, eloqua, events):
    path, fields = events
    uri = eloqua.define_import(path, fields, "Key")

    answer = eloqua.http.post(eloqua.base + uri + "/data", data=b"[" + b" " * 32 * 1024 * 1024 + b"]")

    assert answer.status_code == 404


def test_one_file_too_many_is_a_400(sandbox, eloqua, events):
    sandbox.eloqua.limits.files_per_sync = 2
    path, fields = events
    uri = eloqua.define_import(path, fields, "Key")

    assert [eloqua.post(uri + "/data", []).status_code for _ in range(3)] == [204, 204, 400]


@pytest.mark.parametrize("body", ["{", "{}", "[1]", '[{"Key": ', "nonsense"])
def test_a_broken_file_is_a_400(sandbox, eloqua, events, body):
    path, fields = events
    uri = eloqua.define_import(path, fields, "Key")

    assert eloqua.http.post(eloqua.base + uri + "/data", data=body).status_code == 400


def test_staged_data_cannot_be_deleted_while_a_sync_runs(sandbox, eloqua, events):
    sandbox.systems["eloqua"].sync_polls = 2
    path, fields = events
    uri = eloqua.define_import(path, fields, "Key")
    eloqua.post(uri + "/data", [{"Key": "k", "Name": "", "Status": ""}])
    sync = eloqua.post("/syncs", {"syncedInstanceUri": uri}).json()["uri"]

    assert eloqua.delete(uri + "/data").status_code == 409
    [eloqua.get(sync) for _ in range(2)]
    assert eloqua.delete(uri + "/data").status_code == 204


def test_an_import_takes_effect_when_its_sync_ends_not_before(sandbox, eloqua, events):
    sandbox.systems["eloqua"].sync_polls = 2
    path, fields = events
    uri = eloqua.define_import(path, fields, "Key")
    eloqua.post(uri + "/data", [{"Key": "k", "Name": "", "Status": ""}])
    sync = eloqua.post("/syncs", {"syncedInstanceUri": uri}).json()["uri"]

    seen = [len(sandbox.eloqua.records(EVENTS)) for _ in range(2) if eloqua.get(sync)]

    assert seen == [0, 1]


def test_the_sync_of_an_import_has_no_rows_to_read(sandbox, eloqua, events):
    path, fields = events
    sync = eloqua.import_rows(path, fields, "Key", [{"Key": "k", "Name": "", "Status": ""}])

    assert eloqua.get(sync["uri"] + "/data").status_code == 400


def test_imported_rows_are_linked_to_contacts_by_address(sandbox, eloqua, events):
    path, fields = events
    contact = sandbox.eloqua.records("Contact")[0]
    mapping = {
        "mapDataCards": True,
        "mapDataCardsEntityType": "Contact",
        "mapDataCardsSourceField": "Mail",
        "mapDataCardsEntityField": "{{Contact.Field(C_EmailAddress)}}",
        "mapDataCardsCaseSensitiveMatch": False,
    }
    fields = {**fields, "Mail": eloqua.statements(path)["Email_Address1"]}

    sync = eloqua.import_rows(
        path,
        fields,
        "Key",
        [
            {"Key": "a", "Name": "", "Status": "", "Mail": contact["C_EmailAddress"].upper()},
            {"Key": "b", "Name": "", "Status": "", "Mail": "stranger@example.com"},
        ],
        **mapping,
    )

    assert (sync["codes"]["ELQ-00025"], sync["codes"]["ELQ-00034"]) == (1, 1)
    assert (by_key(sandbox)["a"]["ContactId"], by_key(sandbox)["b"]["ContactId"]) == (contact["Id"], None)


def test_a_row_may_be_as_long_as_a_file(sandbox, eloqua, events):
    path, fields = events

    sync = eloqua.import_rows(path, fields, "Key", [{"Key": "k", "Name": "n", "Status": "", "more": "x" * 9_000_000}])

    assert (sync["status"], by_key(sandbox)["k"]["Campaign_Name1"]) == ("warning", "n")


def test_colons_in_values_are_no_keys_and_a_rare_key_is_noticed(sandbox, eloqua, events):
    path, fields = events
    rows = [{"Key": f"k:{i}", "Name": "a: b", "Status": "::"} for i in range(50)]

    clean = eloqua.import_rows(path, fields, "Key", rows)
    odd = eloqua.import_rows(path, fields, "Key", [*rows, {"Key": "last", "Name": "", "Status": "", "extra": None}])

    assert (clean["status"], odd["status"], odd["codes"]["ELQ-00111"]) == ("success", "warning", 51)
