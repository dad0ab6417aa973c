import re
import time

import pytest
import requests

from tests.sandbox.conftest import EloquaCaller

EVENTS = "Event Registration"


def fault(sandbox, **rule):
    answer = requests.post(sandbox.url + "/_sandbox/faults", json=rule)
    assert answer.status_code == 201, answer.text


def test_a_status_comes_at_the_nth_request_that_fits(sandbox, eloqua):
    fault(sandbox, what="status", method="GET", path="/customObjects$", nth=2, status=503, retry_after=7, body="busy")

    answers = [eloqua.get("/customObjects") for _ in range(3)]

    assert [a.status_code for a in answers] == [200, 503, 200]
    assert (answers[1].headers["Retry-After"], answers[1].text) == ("7", "busy")


def test_faults_end_when_they_are_taken_back(sandbox, eloqua):
    fault(sandbox, what="status", status=500)
    assert eloqua.get("/customObjects").status_code == 500

    assert requests.delete(sandbox.url + "/_sandbox/faults").status_code == 204

    assert eloqua.get("/customObjects").status_code == 200


def test_a_fault_of_one_system_leaves_the_other_alone(sandbox, eloqua, salesforce):
    fault(sandbox, what="status", system="salesforce", status=503)

    assert eloqua.get("/customObjects").status_code == 200
    assert salesforce.query("SELECT Id FROM Campaign").status_code == 503


@pytest.mark.parametrize(("what", "definitions"), [("reset_before", 0), ("reset_after", 1)])
def test_a_reset_comes_before_or_after_the_effect(sandbox, eloqua, what, definitions):
    path = eloqua.path_of(EVENTS)
    statement = eloqua.statements(path)["Record_Key1"]
    fault(sandbox, what=what, method="POST", path="/exports$")

    with pytest.raises(requests.ConnectionError, match="reset"):
        eloqua.post(path + "/exports", {"name": "x", "fields": {"K": statement}})

    assert len(sandbox.eloqua.definitions()) == definitions


def test_a_truncated_body_is_shorter_than_its_content_length(sandbox, eloqua):
    fault(sandbox, what="truncate", path="/customObjects$")

    with pytest.raises(requests.RequestException):
        eloqua.get("/customObjects")


def export_with(sandbox, eloqua, **rule):
    sandbox.eloqua.clear_records(EVENTS)
    for key in "abc":
        sandbox.eloqua.add_record(EVENTS, {"Record Key": key})
    path = eloqua.path_of(EVENTS)
    data = eloqua.sync(eloqua.define_export(path, {"Key": eloqua.statements(path)["Record_Key1"]}))["uri"] + "/data"
    fault(sandbox, path="/data$", **rule)
    return eloqua.get(data)


@pytest.mark.parametrize(
    ("rule", "keys"),
    [
        ({"what": "drop_field", "field": "Key"}, [None, None, None]),
        ({"what": "missing_row"}, ["a", "b"]),
        ({"what": "duplicate_row"}, ["a", "b", "a"]),
    ],
)
def test_a_page_is_spoiled_as_told(sandbox, eloqua, rule, keys):
    page = export_with(sandbox, eloqua, **rule).json()

    assert ([row.get("Key") for row in page["items"]], page["totalResults"], page["count"]) == (keys, 3, 3)


def test_a_wrong_content_type_comes_with_the_right_body(sandbox, eloqua):
    answer = export_with(sandbox, eloqua, what="wrong_type")

    assert answer.headers["Content-Type"].startswith("text/html") and len(answer.json()["items"]) == 3


@pytest.mark.parametrize(
    ("what", "status"), [("sync_error", "error"), ("sync_warning", "warning"), ("stuck", "active")]
)
def test_a_sync_ends_as_told_or_not_at_all(sandbox, eloqua, what, status):
    path = eloqua.path_of(EVENTS)
    uri = eloqua.define_export(path, {"Key": eloqua.statements(path)["Record_Key1"]})
    fault(sandbox, what=what, method="POST", path="/syncs$")
    sync = eloqua.post("/syncs", {"syncedInstanceUri": uri}).json()["uri"]
    sandbox.clock.advance(3600)

    assert [eloqua.get(sync).json()["status"] for _ in range(3)] == [status] * 3


def test_a_delay_holds_up_one_client_and_not_the_next(sandbox, eloqua):
    fault(sandbox, what="delay", delay=0.3, nth=1)
    started = time.monotonic()

    eloqua.get("/customObjects")
    slow, started = time.monotonic() - started, time.monotonic()
    eloqua.get("/customObjects")

    assert slow >= 0.3 > time.monotonic() - started


def test_a_chance_of_a_half_hits_some_and_spares_some(sandbox, eloqua):
    fault(sandbox, what="status", probability=0.5, status=429)

    assert {eloqua.get("/customObjects").status_code for _ in range(30)} == {200, 429}


@pytest.mark.parametrize(
    "rule",
    [
        {"what": "earthquake"},
        {"what": "status", "path": "("},
        {"what": "drop_field"},
        {"what": "status", "colour": 1},
        [1],
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(sandbox, rule):
    assert requests.post(sandbox.url + "/_sandbox/faults", json=rule).status_code == 400


def test_a_hook_changes_the_world_in_the_middle_of_a_run(sandbox, eloqua):
    sandbox.eloqua.clear_records(EVENTS)
    record = sandbox.eloqua.add_record(EVENTS, {"Record Key": "k"})
    sandbox.on("POST", r"/customObjects/\d+/exports$", lambda request: sandbox.eloqua.delete_record(EVENTS, record))
    path = eloqua.path_of(EVENTS)

    assert eloqua.export(path, {"Key": eloqua.statements(path)["Record_Key1"]}) == []


def test_the_request_log_holds_what_was_received(sandbox, eloqua):
    EloquaCaller(sandbox).get("/customObjects", limit=1)
    requests.get(sandbox.url + "/_sandbox/summary")

    assert [(r.system, r.method, r.path, r.query, r.status) for r in sandbox.requests] == [
        ("eloqua", "GET", "/api/bulk/2.0/customObjects", "limit=1", 200)
    ]
    assert re.search('"response_bytes":[1-9]', requests.get(sandbox.url + "/_sandbox/requests").text)
