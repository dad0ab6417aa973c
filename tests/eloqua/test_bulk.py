"""The Bulk API as rows: no pages, no missing rows, no free text of Eloqua's."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from scc.eloqua.bulk import Bulk, Definition, SyncFailed, counts
from scc.eloqua.client import Eloqua
from scc.errors import ConfigError, Refused, Unavailable
from tests.canned import Clock, bodies
from tests.eloqua.conftest import CREATED, Instance, line, page

Settings = Callable[[str, str, object], None]
EXPORT = Definition("/customObjects/9/exports/3", "2026-11-22T06:15:00.1234567Z")


def custom_object(number: int, name: str) -> dict[str, str]:
    return {"name": name, "uri": f"/customObjects/{number}"}


def rows(batches: Any) -> list[dict[str, str]]:
    return [row for batch in batches for row in batch.to_pylist()]


# custom objects


def test_a_custom_object_is_found_by_exactly_its_name(bulk: Bulk, instance: Instance) -> None:
    found = [
        custom_object(8, "Event Registrations"),
        custom_object(9, "Event Registration"),
        custom_object(10, "event registration"),
    ]
    instance.answers("GET", "/customObjects", page(found))

    assert bulk.custom_object_id("Event Registration") == "9"
    (request,) = instance.requests("GET", "/customObjects")
    assert request.params["q"] == '"name=Event*Registration"'


def test_a_custom_object_is_looked_for_on_all_pages(bulk: Bulk, instance: Instance) -> None:
    others = [custom_object(number, f"Registration {number}") for number in range(1000)]
    instance.answers("GET", "/customObjects", page(others, more=True), page([custom_object(2000, "Registration")]))

    assert bulk.custom_object_id("Registration") == "2000"
    assert [request.params["offset"] for request in instance.requests("GET", "/customObjects")] == ["0", "1000"]


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ([], 'no custom object is named "Registration"'),
        ([custom_object(8, "Registrations")], 'no custom object is named "Registration"'),
        ([custom_object(8, "Registration"), custom_object(9, "Registration")], "several custom objects are named"),
    ],
    ids=["none", "only one like it", "two"],
)
def test_a_name_must_name_one_custom_object(bulk: Bulk, instance: Instance, found: list[Any], problem: str) -> None:
    instance.answers("GET", "/customObjects", page(found))

    with pytest.raises(ConfigError, match=problem):
        bulk.custom_object_id("Registration")


def test_fields_of_all_pages_come_with_their_statements(bulk: Bulk, instance: Instance) -> None:
    def field(name: str, **more: Any) -> dict[str, Any]:
        statement = f"{{{{CustomObject[9].Field({name}1)}}}}"
        return {"name": name, "internalName": f"{name}1", "dataType": "string", "statement": statement, **more}

    instance.answers(
        "GET",
        "/customObjects/9/fields",
        page([field("Name", hasReadOnlyConstraint=False), field("Code", hasReadOnlyConstraint=True)], more=True),
        page([field("Status")]),
    )

    fields = bulk.custom_object_fields("9")

    assert [(one.internal_name, one.read_only) for one in fields] == [
        ("Name1", False),
        ("Code1", True),
        ("Status1", False),
    ]
    assert fields[0].statement == "{{CustomObject[9].Field(Name1)}}"
    assert fields[0].kind == "string"


# definitions and syncs


def test_a_definition_is_made_with_limits_to_its_life(bulk: Bulk, instance: Instance) -> None:
    definition = bulk.define("/customObjects/9/exports", {"name": "SCC", "fields": {"Id": "{{CustomObject[9].Id}}"}})

    assert definition == ("/customObjects/9/exports/1", CREATED)
    (body,) = bodies(instance.requests("POST", "/customObjects/9/exports"))
    assert {"dataRetentionDuration", "autoDeleteDuration"} < set(body)
    assert body["name"] == "SCC"


def test_a_definition_whose_answer_was_lost_is_made_again(bulk: Bulk, instance: Instance) -> None:
    instance.once("POST", "/customObjects/9/exports", 503)

    assert bulk.define("/customObjects/9/exports", {"name": "SCC"}).uri == "/customObjects/9/exports/1"


def test_an_import_that_an_older_instance_would_let_create_is_refused(bulk: Bulk, instance: Instance) -> None:
    known = {"uri": "/contacts/imports/1", "createdAt": CREATED}
    instance.answers("POST", "/contacts/imports", (201, known), (201, {**known, "importRule": "updateOnly"}))

    with pytest.raises(Refused, match="does not know importRule"):
        bulk.define("/contacts/imports", {"name": "SCC", "importRule": "updateOnly"})

    assert bulk.define("/contacts/imports", {"name": "SCC", "importRule": "updateOnly"}).uri == "/contacts/imports/1"


@pytest.mark.parametrize("answer", [{}, {"uri": None}, {"uri": "https://elsewhere.example.com"}, []])
def test_an_answer_without_a_uri_is_refused(bulk: Bulk, instance: Instance, answer: Any) -> None:
    instance.answers("POST", "/syncs", (201, answer))

    with pytest.raises(Refused):
        bulk.start_sync("/customObjects/9/exports/3")


@pytest.mark.parametrize("answer", [{}, []])
def test_a_definition_without_a_uri_is_refused(bulk: Bulk, instance: Instance, answer: Any) -> None:
    instance.answers("POST", "/customObjects/9/exports", (201, answer))

    with pytest.raises(Refused):
        bulk.define("/customObjects/9/exports", {"name": "SCC"})


def test_a_sync_is_asked_for_once_even_if_the_answer_is_lost(bulk: Bulk, instance: Instance) -> None:
    instance.answers("POST", "/syncs", 503)

    with pytest.raises(Unavailable):
        bulk.start_sync("/customObjects/9/exports/3")
    assert bodies(instance.requests("POST", "/syncs")) == [{"syncedInstanceUri": "/customObjects/9/exports/3"}]


def test_a_sync_that_was_turned_away_is_asked_for_again(bulk: Bulk, instance: Instance) -> None:
    instance.once("POST", "/syncs", 429)

    assert bulk.start_sync("/customObjects/9/exports/3") == "/syncs/1"


def sync(number: int, definition: str, created: str = "2026-11-22T06:15:09Z") -> dict[str, str]:
    return {"uri": f"/syncs/{number}", "syncedInstanceUri": definition, "createdAt": created}


def test_the_newest_sync_of_a_definition_is_found(bulk: Bulk, instance: Instance) -> None:
    others = [sync(9, "/customObjects/9/exports/33"), sync(8, "/contacts/exports/3")]
    instance.answers("GET", "/syncs", page([*others, sync(7, "/customobjects/9/exports/3"), sync(6, EXPORT.uri)]))

    assert bulk.find_sync(EXPORT) == "/syncs/7"
    assert instance.requests("GET", "/syncs")[0].params["orderBy"] == '"createdAt DESC"'


def test_a_sync_is_looked_for_on_all_pages(bulk: Bulk, instance: Instance) -> None:
    others = [sync(5000 - number, "/customObjects/9/exports/99") for number in range(1000)]
    instance.answers("GET", "/syncs", page(others, more=True), page([sync(7, EXPORT.uri)]))

    assert bulk.find_sync(EXPORT) == "/syncs/7"


def test_a_sync_that_seems_older_than_its_definition_is_found(bulk: Bulk, instance: Instance) -> None:
    """What is read back may be a second earlier (eloqua.md 3.9)."""
    other = sync(8, "/customObjects/9/exports/99", "2026-11-22T06:14:59.9000000Z")
    instance.answers("GET", "/syncs", page([other, sync(7, EXPORT.uri, "2026-11-22T06:14:59.5000000Z")]))

    assert bulk.find_sync(EXPORT) == "/syncs/7"


def test_the_search_for_a_sync_ends_at_the_day_of_its_definition(bulk: Bulk, instance: Instance) -> None:
    day_before = sync(7, "/customObjects/9/exports/99", "2026-11-21T23:00:00Z")
    instance.answers("GET", "/syncs", page([day_before] * 1000, more=True))

    assert bulk.find_sync(EXPORT) is None
    assert len(instance.requests("GET", "/syncs")) == 1


def test_a_definition_without_a_sync_has_none(bulk: Bulk, instance: Instance) -> None:
    instance.answers("GET", "/syncs", {"hasMore": False})

    assert bulk.find_sync(EXPORT) is None


# waiting


@pytest.mark.parametrize("final", ["success", "warning"])
def test_a_sync_is_waited_for_until_it_is_final(bulk: Bulk, instance: Instance, clock: Clock, final: str) -> None:
    seen: list[str] = []
    instance.answers("GET", "/syncs/7", *[{"status": status} for status in ("pending", "active", "active", final)])
    instance.answers("GET", "/syncs/7/logs", page([]))

    assert bulk.wait("/syncs/7", seen.append) == final
    assert seen == ["pending", "active", "active", final]


def test_questions_become_rarer_up_to_a_cap(
    eloqua: Eloqua, instance: Instance, clock: Clock, settings: Settings
) -> None:
    settings("eloqua", "first_poll", 1)
    settings("eloqua", "longest_poll", 8)
    instance.answers("GET", "/syncs/7", *[{"status": "active"}] * 6, {"status": "success"})

    Bulk(eloqua).wait("/syncs/7")

    assert clock.pauses == [1, 2, 4, 8, 8, 8, 8]


def test_a_sync_that_does_not_end_is_given_up_at_the_deadline(
    eloqua: Eloqua, instance: Instance, clock: Clock, settings: Settings
) -> None:
    settings("eloqua", "first_poll", 1)
    settings("eloqua", "longest_poll", 8)
    settings("eloqua", "sync_deadline", 60)
    instance.answers("GET", "/syncs/7", {"status": "active"})

    with pytest.raises(Unavailable, match="the sync is still active after 60 s"):
        Bulk(eloqua).wait("/syncs/7")
    assert 60 <= sum(clock.pauses) <= 70


@pytest.mark.parametrize("status", ["error", "errored"])
def test_a_failed_sync_says_its_code(bulk: Bulk, instance: Instance, clock: Clock, status: str) -> None:
    instance.answers("GET", "/syncs/7", {"status": status})
    lines = [line("ELQ-00130", count=3), line("ELQ-00101", "error"), line("ELQ-00122", "error", message="Jane Doe")]
    instance.answers("GET", "/syncs/7/logs", page(lines))

    with pytest.raises(SyncFailed, match=r"sync 7 ended in error.*ELQ-00122") as raised:
        bulk.wait("/syncs/7")
    assert raised.value.code == "ELQ-00122"
    assert "Jane" not in str(raised.value)


@pytest.mark.parametrize("code", ["ELQ-00145", "ELQ-00146"])
def test_a_sync_that_failed_for_the_moment_is_for_later(
    bulk: Bulk, instance: Instance, clock: Clock, code: str
) -> None:
    instance.answers("GET", "/syncs/7", {"status": "error"})
    instance.answers("GET", "/syncs/7/logs", page([line(code, "error")]))

    with pytest.raises(Unavailable, match=code):
        bulk.wait("/syncs/7")


def test_a_failed_sync_without_a_log_is_a_failed_sync(bulk: Bulk, instance: Instance, clock: Clock) -> None:
    instance.answers("GET", "/syncs/7", {"status": "error"})
    instance.answers("GET", "/syncs/7/logs", page([line("ELQ-00101", "error")]))

    with pytest.raises(SyncFailed, match="sync 7 ended in error"):
        bulk.wait("/syncs/7")


def test_warnings_are_logged_by_code_and_never_by_text(
    bulk: Bulk, instance: Instance, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    lines = [line("ELQ-00111", "warning", message="Jane Doe"), line("ELQ-00130"), line("Jane Doe", "warning")]
    instance.answers("GET", "/syncs/7", {"status": "warning"})
    instance.answers("GET", "/syncs/7/logs", page(lines))

    bulk.wait("/syncs/7")

    assert "sync 7 ended with warnings: ELQ-00111" in caplog.text
    assert "ELQ-00130" not in caplog.text
    assert "Jane" not in caplog.text


def test_a_failed_sync_never_says_a_text_in_place_of_a_code(bulk: Bulk, instance: Instance, clock: Clock) -> None:
    instance.answers("GET", "/syncs/7", {"status": "error"})
    instance.answers("GET", "/syncs/7/logs", page([line("no such person: Jane Doe", "error")]))

    with pytest.raises(SyncFailed) as raised:
        bulk.wait("/syncs/7")
    assert "Jane" not in str(raised.value)


# rows


def test_rows_of_all_pages_come_as_texts(eloqua: Eloqua, instance: Instance, settings: Settings) -> None:
    settings("eloqua", "page_size", 2)
    first = [{"Id": "1", "Name": "Größe"}, {"Id": 2, "Name": None}]
    instance.answers(
        "GET", "/syncs/7/data", page(first, more=True, total=3), page([{"Name": True, "Id": "3"}], total=3)
    )

    batches = list(Bulk(eloqua).read_sync("/syncs/7", ["Id", "Name"]))

    assert rows(batches) == [{"Id": "1", "Name": "Größe"}, {"Id": "2", "Name": ""}, {"Id": "3", "Name": "True"}]
    asked = [request.params for request in instance.requests("GET", "/syncs/7/data")]
    assert asked == [{"limit": "2", "offset": "0"}, {"limit": "2", "offset": "2"}]


def test_a_page_without_items_has_no_rows(bulk: Bulk, instance: Instance) -> None:
    instance.answers("GET", "/syncs/7/data", {"totalResults": 0, "hasMore": False})

    assert list(bulk.read_sync("/syncs/7", ["Id"])) == []


def test_a_page_that_lacks_a_field_is_refused_by_its_name(bulk: Bulk, instance: Instance) -> None:
    instance.answers("GET", "/syncs/7/data", page([{"Id": "1", "Name": "Jane Doe"}, {"Id": "2"}]))

    with pytest.raises(Refused, match="lacks the field Name") as raised:
        list(bulk.read_sync("/syncs/7", ["Id", "Name"]))
    assert "Jane" not in str(raised.value)


@pytest.mark.parametrize(
    "pages",
    [[page([{"Id": "1"}], total=2)], [page([{"Id": "1"}], more=True, total=3), page([{"Id": "2"}], total=3)]],
    ids=["one page", "a short page amid others"],
)
def test_missing_rows_are_noticed(bulk: Bulk, instance: Instance, pages: list[Any]) -> None:
    instance.answers("GET", "/syncs/7/data", *pages)

    with pytest.raises(Refused, match="rows came instead of"):
        list(bulk.read_sync("/syncs/7", ["Id"]))


@pytest.mark.parametrize("answer", ['[{"Id": "1"}]', '"Not authenticated."'])
def test_an_answer_that_is_no_page_is_refused(bulk: Bulk, instance: Instance, answer: str) -> None:
    instance.answers("GET", "/syncs/7/data", answer)

    with pytest.raises(Refused):
        list(bulk.read_sync("/syncs/7", ["Id"]))


@pytest.mark.parametrize("status", [404, 410])
def test_rows_that_eloqua_dropped_are_told_as_such(bulk: Bulk, instance: Instance, status: int) -> None:
    instance.answers("GET", "/syncs/7/data", status)

    with pytest.raises(Refused) as raised:
        list(bulk.read_sync("/syncs/7", ["Id"]))
    assert raised.value.status == status


@pytest.mark.parametrize("what", ["rejects", "logs"])
def test_rejects_and_logs_come_from_all_pages(bulk: Bulk, instance: Instance, what: str) -> None:
    items = [{"statusCode": f"ELQ-{number:05}"} for number in range(1001)]
    instance.answers(
        "GET", f"/syncs/7/{what}", page(items[:1000], more=True, total=1001), page(items[1000:], total=1001)
    )

    assert list(getattr(bulk, what)("/syncs/7")) == items


def test_a_sync_without_rejects_has_none(bulk: Bulk, instance: Instance) -> None:
    instance.answers("GET", "/syncs/7/rejects", page([]))

    assert list(bulk.rejects("/syncs/7")) == []


def test_rows_are_uploaded_to_their_definition(bulk: Bulk, instance: Instance) -> None:
    bulk.upload("/customObjects/9/imports/4", b'[{"Id":"1"}]')

    assert bodies(instance.requests("POST", "/customObjects/9/imports/4/data")) == [[{"Id": "1"}]]


def test_counts_of_a_code_add_up() -> None:
    lines = [
        line("ELQ-00012", count=3),
        line("ELQ-00012", count=4),
        {"statusCode": "ELQ-00007"},
        line("ELQ-00130", count=7),
    ]

    assert counts(lines) == {"ELQ-00012": 7, "ELQ-00007": 0, "ELQ-00130": 7}
