import csv
import io

import pytest

from tests.sandbox.conftest import EloquaCaller

EVENTS = "Event Registration"


@pytest.fixture
def events(sandbox, eloqua):
    """The path of an emptied custom object, and its statements."""
    sandbox.eloqua.clear_records(EVENTS)
    path = eloqua.path_of(EVENTS)
    return path, eloqua.statements(path)


def keys(rows):
    return {row["Key"] for row in rows}


def test_fields_are_listed_with_type_statement_and_uri(sandbox, eloqua):
    path = eloqua.path_of(EVENTS)
    fields = {item["internalName"]: item for item in eloqua.get(path + "/fields").json()["items"]}

    assert fields["Campaign_Budget1"]["dataType"] == "number"
    assert fields["Record_Key1"]["hasUniquenessConstraint"] is True
    assert fields["Campaign_Name1"]["name"] == "Campaign Name"
    uri = fields["Campaign_Name1"]["uri"]
    assert eloqua.get(uri).json() == fields["Campaign_Name1"]
    assert fields["Campaign_Name1"]["statement"] == f"{{{{CustomObject[{path[-1]}].Field[{uri.split('/')[-1]}]}}}}"


def test_an_export_carries_every_value_as_text(sandbox, eloqua, events):
    path, field = events
    number = sandbox.eloqua.add_record(
        EVENTS,
        {"Record Key": 'K "1", ä', "Campaign Budget": "12000.50", "Campaign Start Date": "2026-01-02"},
        created_at="2026-11-01T10:00:00Z",
    )
    root = field["Record_Key1"].split(".")[0]

    rows = eloqua.export(
        path,
        {
            "Key": field["Record_Key1"],
            "Budget": field["Campaign_Budget1"],
            "Start": field["Campaign_Start_Date1"],
            "Status": field["Enrichment_Status1"],
            "Id": root + ".Id}}",
            "Born": root + ".CreatedAt}}",
        },
    )

    assert rows == [
        {
            "Key": 'K "1", ä',
            "Budget": "12000.5",
            "Start": "2026-01-02 00:00:00",
            "Status": "",
            "Id": str(number),
            "Born": "2026-11-01 10:00:00",
        }
    ]


def test_system_stamps_are_eastern_time_unless_utc_is_asked_for(sandbox, eloqua, events):
    path, field = events
    sandbox.eloqua.add_record(EVENTS, {"Record Key": "a"}, created_at="2026-11-20T10:00:00Z")
    born = field["Record_Key1"].split(".")[0] + ".CreatedAt}}"

    rows = eloqua.export(
        path, {"Born": born}, areSystemTimestampsInUTC=False, filter=f"'{born}' = '2026-11-20 05:00:00'"
    )

    assert rows == [{"Born": "2026-11-20 05:00:00"}]


def test_a_field_is_reached_by_internal_name_too_and_contacts_through_the_link(sandbox, eloqua, events):
    path, field = events
    contact = sandbox.eloqua.records("Contact")[0]
    sandbox.eloqua.add_record(EVENTS, {"Record Key": "linked"}, contact_id=contact["Id"])
    sandbox.eloqua.add_record(EVENTS, {"Record Key": "alone"})
    root = field["Record_Key1"].split(".")[0]

    rows = eloqua.export(
        path, {"Key": root + ".Field(Record_Key1)}}", "Mail": root + ".Contact.Field(C_EmailAddress)}}"}
    )

    assert rows == [{"Key": "linked", "Mail": contact["C_EmailAddress"]}, {"Key": "alone", "Mail": ""}]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("'{status}' = 'waiting'", {"a", "b"}),
        ("'{status}' != 'Waiting'", {"c", "d"}),
        ("'{status}' = ''", {"d"}),
        ("'{status}' = 'Waiting' AND '{budget}' > '9'", {"b"}),
        ("'{budget}' >= '5' OR '{status}' = ''", {"a", "b", "c", "d"}),
        ("NOT ('{status}' = 'Waiting' OR '{status}' = 'Done')", {"d"}),
        ("NOT '{status}' = 'Waiting' AND '{key}' ~ 'c%'", {"c"}),
        ("'{start}' < '2026-06-01 00:00:00'", {"a"}),
        ("'{start}' >= '2026-06-01'", {"b", "c"}),
        ("'{created}' >= '2026-11-20 00:00:00' AND ('{status}' = 'Done' OR '{status}' = '')", {"d"}),
    ],
)
def test_a_filter_keeps_what_it_says(sandbox, eloqua, events, condition, expected):
    path, field = events
    for key, status, budget, start, born in (
        ("a", "Waiting", "5", "2026-01-01", "2026-11-19"),
        ("b", "Waiting", "10", "2026-06-01", "2026-11-20"),
        ("c", "Done", "7.5", "2026-07-01", "2026-11-01"),
        ("d", "", "", "", "2026-11-21"),
    ):
        sandbox.eloqua.add_record(
            EVENTS,
            {"Record Key": key, "Enrichment Status": status, "Campaign Budget": budget, "Campaign Start Date": start},
            created_at=born,
        )
    names = {
        "status": field["Enrichment_Status1"],
        "budget": field["Campaign_Budget1"],
        "start": field["Campaign_Start_Date1"],
        "key": field["Record_Key1"],
        "created": field["Record_Key1"].split(".")[0] + ".CreatedAt}}",
    }
    for name, statement in names.items():
        condition = condition.replace("{" + name + "}", statement)

    assert keys(eloqua.export(path, {"Key": field["Record_Key1"]}, filter=condition)) == expected


@pytest.mark.parametrize(
    "broken",
    [
        "'{{Nope.Field[1]}}' = 'x'",
        "'{key}' = x",
        "'{key}' = 'x' AND",
        "('{key}' = 'x'",
        "'{key}' LIKE 'x'",
        "'{created}' > 'soon'",
        "'{key}' = 'x' OR EXISTS('{{ContactList[1]}}')",
        "'{key}' = '" + "x" * 1000 + "'",
    ],
)
def test_a_bad_filter_is_a_400_that_names_the_filter(sandbox, eloqua, events, broken):
    path, field = events
    text = broken.replace("{key}", field["Record_Key1"]).replace(
        "{created}", field["Record_Key1"].split(".")[0] + ".CreatedAt}}"
    )

    answer = eloqua.post(path + "/exports", {"name": "x", "fields": {"Key": field["Record_Key1"]}, "filter": text})

    assert answer.status_code == 400
    assert [failure["field"] for failure in answer.json()["failures"]] == ["filter"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fields": {"Key": "{{CustomObject[9].Field[1]}}"}}, "fields"),
        ({"fields": {}}, "fields"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"dataRetentionDuration": "PT10M"}, "dataRetentionDuration"),
        ({"dataRetentionDuration": "P15D"}, "dataRetentionDuration"),
        ({"autoDeleteDuration": "soon"}, "autoDeleteDuration"),
        ({"maxRecords": 5_000_001}, "maxRecords"),
    ],
)
def test_a_bad_definition_is_a_400_that_names_the_property(sandbox, eloqua, events, change, named):
    path, field = events

    answer = eloqua.post(path + "/exports", {"name": "x", "fields": {"Key": field["Record_Key1"]}, **change})

    assert answer.status_code == 400
    assert [failure["field"] for failure in answer.json()["failures"]] == [named]


def test_an_export_takes_250_fields_and_not_one_more(sandbox, eloqua, events):
    path, field = events
    fields = {f"f{i}": field["Record_Key1"] for i in range(251)}

    assert eloqua.post(path + "/exports", {"name": "x", "fields": fields}).status_code == 400
    fields.popitem()
    assert eloqua.post(path + "/exports", {"name": "x", "fields": fields}).status_code == 201


def test_a_definition_is_echoed_with_defaults_and_without_what_is_unknown(sandbox, eloqua, events):
    path, field = events

    body = eloqua.post(path + "/exports", {"name": "x", "fields": {"Key": field["Record_Key1"]}, "nonsense": 1}).json()

    assert (
        body["dataRetentionDuration"] == "PT12H"
        and body["areSystemTimestampsInUTC"] is False
        and "nonsense" not in body
    )
    assert body["createdAt"] == "2026-11-22T06:15:00.0000000Z" and body["createdBy"] == "API.User"
    assert eloqua.get(body["uri"]).json() == body


def test_pages_end_with_has_more_false_and_an_empty_page_has_no_items(sandbox, eloqua, events):
    path, field = events
    for key in "abc":
        sandbox.eloqua.add_record(EVENTS, {"Record Key": key})
    data = eloqua.sync(eloqua.define_export(path, {"Key": field["Record_Key1"]}))["uri"] + "/data"

    first, second = eloqua.get(data, limit=2).json(), eloqua.get(data, limit=2, offset=2).json()

    assert first == {
        "items": [{"Key": "a"}, {"Key": "b"}],
        "totalResults": 3,
        "limit": 2,
        "offset": 0,
        "count": 2,
        "hasMore": True,
    }
    assert second == {"items": [{"Key": "c"}], "totalResults": 3, "limit": 2, "offset": 2, "count": 1, "hasMore": False}
    assert "items" not in eloqua.get(data, offset=3).json()
    assert eloqua.get(data, limit=50_001).status_code == 400


def test_rows_are_offered_as_csv(sandbox, eloqua, events):
    path, field = events
    sandbox.eloqua.add_record(EVENTS, {"Record Key": 'say "hi", all\nof you', "Campaign Name": "x"})
    data = (
        eloqua.sync(eloqua.define_export(path, {"Key": field["Record_Key1"], "The Name": field["Campaign_Name1"]}))[
            "uri"
        ]
        + "/data"
    )

    text = eloqua.http.get(eloqua.base + data, headers={"Accept": "text/csv"}).content.decode()

    assert list(csv.reader(io.StringIO(text, newline=""))) == [["Key", "The Name"], ['say "hi", all\nof you', "x"]]


def test_an_export_shows_the_state_at_the_end_of_its_sync(sandbox, eloqua, events):
    path, field = events
    data = eloqua.sync(eloqua.define_export(path, {"Key": field["Record_Key1"]}))["uri"] + "/data"
    sandbox.eloqua.add_record(EVENTS, {"Record Key": "late"})

    assert eloqua.get(data).json()["totalResults"] == 0


def test_only_the_user_who_created_the_sync_reads_its_rows(sandbox, eloqua, events):
    path, field = events
    data = eloqua.sync(eloqua.define_export(path, {"Key": field["Record_Key1"]}))["uri"] + "/data"

    assert EloquaCaller(sandbox, "Other.User").get(data).status_code == 403
    assert eloqua.get(data).status_code == 200


def test_rows_are_gone_after_their_retention(sandbox, eloqua, events):
    path, field = events
    data = (
        eloqua.sync(eloqua.define_export(path, {"Key": field["Record_Key1"]}, dataRetentionDuration="PT1H"))["uri"]
        + "/data"
    )
    sandbox.clock.advance(3599)
    assert eloqua.get(data).status_code == 200

    sandbox.clock.advance(1)

    assert eloqua.get(data).status_code == 410


def test_a_definition_leaves_after_its_auto_delete_duration(sandbox, eloqua, events):
    path, field = events
    uri = eloqua.define_export(path, {"Key": field["Record_Key1"]}, autoDeleteDuration="PT2H")

    sandbox.clock.advance(7200)

    assert eloqua.get(uri).status_code == 404
    assert sandbox.eloqua.definitions() == []


def test_a_sync_is_pending_then_active_then_final(sandbox, eloqua, events):
    sandbox.systems["eloqua"].sync_polls = 3
    path, field = events
    sync = eloqua.post("/syncs", {"syncedInstanceUri": eloqua.define_export(path, {"Key": field["Record_Key1"]})})

    seen = [eloqua.get(sync.json()["uri"]).json() for _ in range(4)]

    assert (sync.status_code, sync.json()["status"]) == (201, "pending")
    assert [s["status"] for s in seen] == ["active", "active", "success", "success"]
    assert ["syncEndedAt" in s for s in seen] == [False, False, True, True]


def test_a_sync_that_nobody_asks_about_ends_by_the_clock(sandbox, eloqua, events):
    sandbox.systems["eloqua"].sync_polls = 100
    path, field = events
    eloqua.post("/syncs", {"syncedInstanceUri": eloqua.define_export(path, {"Key": field["Record_Key1"]})})

    sandbox.clock.advance(60)

    assert [s["status"] for s in eloqua.get("/syncs").json()["items"]] == ["success"]


def test_a_sync_whose_definition_has_vanished_ends_in_error(sandbox, eloqua, events):
    path, field = events
    uri = eloqua.define_export(path, {"Key": field["Record_Key1"]})
    sync = eloqua.post("/syncs", {"syncedInstanceUri": uri}).json()["uri"]

    assert eloqua.delete(uri).status_code == 204

    assert eloqua.get(sync).json()["status"] == "error"
    assert "ELQ-00143" in [line["statusCode"] for line in eloqua.get(sync + "/logs").json()["items"]]
