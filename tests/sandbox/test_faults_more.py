"""Faults beyond the answer's status: connections, tokens, pods, syncs, rows, time, and a mix of all."""

from __future__ import annotations

import csv
import io
import json
import socket
import subprocess
import sys
import time

import pytest
import requests

from scc.sandbox import Sandbox
from scc.sandbox.faults import MIX
from tests.sandbox.conftest import NOW, EloquaCaller
from tests.sandbox.raw import Process, Wire, message

EVENTS = "Event Registration"


def fault(sandbox, *rules):
    answer = requests.post(sandbox.url + "/_sandbox/faults", json=list(rules))
    assert answer.status_code == 201, answer.text
    return answer.json()


def export_of(eloqua):
    """The URI of an export definition, and the field it exports."""
    path = eloqua.path_of(EVENTS)
    return eloqua.define_export(path, {"Key": eloqua.statements(path)["Record_Key1"]})


def import_of(eloqua, rows, identifier="K"):
    path = eloqua.path_of(EVENTS)
    statements = eloqua.statements(path)
    return eloqua.import_rows(path, {"K": statements["Record_Key1"]}, identifier, [{"K": key} for key in rows])


# -- the connection ---------------------------------------------------------------------------------------------------


def test_an_answer_that_never_comes_has_had_its_effect(sandbox, eloqua):
    fault(sandbox, {"what": "silence", "method": "POST", "path": "/exports$"})
    path = eloqua.path_of(EVENTS)
    body = {"name": "x", "fields": {"K": eloqua.statements(path)["Record_Key1"]}}

    with pytest.raises(requests.ReadTimeout):
        eloqua.http.post(eloqua.base + path + "/exports", json=body, timeout=0.3)

    assert len(sandbox.eloqua.definitions()) == 1


def test_a_body_drips_at_the_rate_that_was_asked_for_and_is_whole(sandbox, eloqua):
    whole = eloqua.get("/customObjects").json()
    fault(sandbox, {"what": "drip", "rate": 4000, "path": "/customObjects$"})
    started = time.monotonic()

    answer = eloqua.get("/customObjects")

    assert answer.json() == whole
    assert time.monotonic() - started >= len(answer.content) / 4000 * 0.9


def test_a_truncated_body_of_a_download_ends_in_the_middle(sandbox, salesforce):
    fault(sandbox, {"what": "truncate", "system": "salesforce"})

    with pytest.raises(requests.RequestException):
        salesforce.query("SELECT Id FROM Campaign")


def test_a_damaged_page_of_csv_loses_its_last_row(sandbox, eloqua):
    sandbox.eloqua.clear_records(EVENTS)
    for key in "abc":
        sandbox.eloqua.add_record(EVENTS, {"Record Key": key})
    data = eloqua.base + eloqua.sync(export_of(eloqua))["uri"] + "/data"
    fault(sandbox, {"what": "missing_row", "nth": 1}, {"what": "duplicate_row", "nth": 1})

    pages = [eloqua.http.get(data, headers={"Accept": "text/csv"}).text.split() for _ in range(3)]

    assert pages == [["Key", "a", "b"], ["Key", "a", "b", "a"], ["Key", "a", "b", "c"]]


# -- who calls --------------------------------------------------------------------------------------------------------


def test_a_token_expires_at_the_very_request_that_uses_it(sandbox, salesforce):
    fault(sandbox, {"what": "expired_token", "path": "/query", "nth": 2})

    statuses = [salesforce.query("SELECT Id FROM Campaign").status_code for _ in range(3)]
    salesforce.login()

    assert statuses == [200, 401, 401]
    assert salesforce.query("SELECT Id FROM Campaign").status_code == 200


def test_a_moved_pod_answers_401_at_the_old_base_and_discovery_names_the_new_one(sandbox, eloqua):
    fault(sandbox, {"what": "pod_move", "path": "/customObjects$", "nth": 2})

    statuses = [eloqua.get("/customObjects").status_code for _ in range(3)]
    discovered = eloqua.http.get(sandbox.url + "/id").json()["urls"]
    bulk = discovered["apis"]["rest"]["bulk"].format(version="2.0")

    assert statuses == [200, 401, 401]
    assert discovered["base"] != sandbox.url
    assert eloqua.http.get(bulk + "customObjects").status_code == 200


def test_a_moved_pod_keeps_everything_and_leaves_salesforce_where_it_was(sandbox, eloqua, salesforce):
    uri = export_of(eloqua)
    base = requests.post(sandbox.url + "/_sandbox/pod-move").json()["base"]

    assert eloqua.http.get(f"{base}/api/bulk/2.0{uri}").json()["uri"] == uri
    assert salesforce.query("SELECT Id FROM Campaign").status_code == 200


# -- syncs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "status", "severity"), [("sync_error", "error", "error"), ("sync_warning", "warning", "warning")]
)
def test_a_sync_ends_with_the_code_that_was_chosen(sandbox, eloqua, what, status, severity):
    fault(sandbox, {"what": what, "code": "ELQ-00146"})

    sync = eloqua.sync(export_of(eloqua))

    logs = eloqua.get(sync["uri"] + "/logs").json()["items"]
    assert sync["status"] == status
    assert [line["severity"] for line in logs if line["statusCode"] == "ELQ-00146"] == [severity]


def test_a_sync_in_error_has_no_rows_and_changes_nothing(sandbox, eloqua):
    before = sandbox.eloqua.records(EVENTS)
    fault(sandbox, {"what": "sync_error"})

    sync = import_of(eloqua, ["new"])

    assert sync["status"] == "error" and sandbox.eloqua.records(EVENTS) == before


def test_a_share_of_the_rows_is_rejected_with_the_chosen_code_and_the_others_go_in(sandbox, eloqua):
    sandbox.eloqua.clear_records(EVENTS)
    fault(sandbox, {"what": "sync_rejects", "share": 0.25, "code": "ELQ-00146"})

    sync = import_of(eloqua, [f"k{i}" for i in range(8)])

    rejected = [(item["recordIndex"], item["statusCode"]) for item in sync["rejects"]]
    assert (sync["status"], rejected) == ("warning", [(1, "ELQ-00146"), (5, "ELQ-00146")])
    assert sorted(row["Record_Key1"] for row in sandbox.eloqua.records(EVENTS)) == ["k1", "k2", "k3", "k5", "k6", "k7"]


def ingest(salesforce, rows, operation="insert", header="LastName,Company"):
    """A Bulk 2.0 job over leads; its last GET, and the lines of its failed rows."""
    jobs = salesforce.base + "/jobs/ingest"
    job = salesforce.http.post(jobs, json={"object": "Lead", "operation": operation}).json()["id"]
    data = "\n".join([header, *rows]) + "\n"
    assert (
        salesforce.http.put(f"{jobs}/{job}/batches", data=data, headers={"Content-Type": "text/csv"}).status_code == 201
    )
    salesforce.http.patch(f"{jobs}/{job}", json={"state": "UploadComplete"})
    shown = {}
    for _ in range(3):
        shown = salesforce.http.get(f"{jobs}/{job}").json()
    failed = list(csv.DictReader(io.StringIO(salesforce.http.get(f"{jobs}/{job}/failedResults").text)))
    return shown, failed


def test_a_share_of_the_rows_of_an_ingest_job_fails_with_the_chosen_code_and_the_others_are_written(
    sandbox, salesforce
):
    sandbox.salesforce.clear("Lead")
    fault(sandbox, {"what": "sync_rejects", "system": "salesforce", "share": 0.25, "code": "STRING_TOO_LONG"})

    job, failed = ingest(salesforce, [f"n{i},Hooli" for i in range(8)])

    assert (job["state"], job["numberRecordsProcessed"], job["numberRecordsFailed"]) == ("JobComplete", 8, 2)
    assert {row["LastName"]: row["sf__Error"].split(":")[0] for row in failed} == {
        "n0": "STRING_TOO_LONG",
        "n4": "STRING_TOO_LONG",
    }
    held = {row["LastName"] for row in sandbox.salesforce.rows("Lead")}
    assert held == {"n1", "n2", "n3", "n5", "n6", "n7"}


def test_a_failed_row_of_an_update_names_its_record(sandbox, salesforce):
    sandbox.salesforce.clear("Lead")
    ids = [sandbox.salesforce.add("Lead", {"LastName": "old", "Company": "Hooli"}) for _ in range(3)]
    fault(sandbox, {"what": "sync_rejects", "path": "/jobs/ingest$", "share": 0.01})

    _, failed = ingest(salesforce, [f"{i},new" for i in ids], "update", "Id,LastName")

    assert [(row["sf__Id"], row["sf__Error"].split(":")[0]) for row in failed] == [(ids[0], "UNABLE_TO_LOCK_ROW")]
    assert [row["LastName"] for row in sandbox.salesforce.rows("Lead")] == ["old", "new", "new"]


def test_a_share_of_a_collection_is_refused_record_by_record(sandbox, salesforce):
    sandbox.salesforce.clear("Lead")
    fault(sandbox, {"what": "sync_rejects", "path": "/composite/sobjects", "share": 0.4, "times": 1})
    leads = [{"attributes": {"type": "Lead"}, "LastName": f"n{i}", "Company": "Hooli"} for i in range(5)]
    leads[1:1] = [{"attributes": {"type": "Account"}, "Name": "Zorg"}]  # counted with the others
    collections = salesforce.base + "/composite/sobjects"

    answer = salesforce.http.post(collections, json={"records": leads})
    again = salesforce.http.post(collections, json={"records": leads[:1]})

    verdicts = answer.json()
    assert answer.status_code == 200 and [v["success"] for v in verdicts] == [False, True, False, True, True, False]
    assert verdicts[0]["errors"][0]["statusCode"] == "UNABLE_TO_LOCK_ROW" and "id" not in verdicts[0]
    held = [row["LastName"] for row in sandbox.salesforce.rows("Lead")]
    assert (held, again.json()[0]["success"]) == (["n2", "n3", "n0"], True)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_records_that_a_fault_refuses_are_neither_changed_nor_deleted(sandbox, salesforce, method):
    sandbox.salesforce.clear("Lead")
    ids = [sandbox.salesforce.add("Lead", {"LastName": "old", "Company": "Hooli"}) for _ in range(2)]
    fault(sandbox, {"what": "sync_rejects", "method": method, "share": 0.5})
    collections = salesforce.base + "/composite/sobjects"

    if method == "DELETE":
        answer = salesforce.http.delete(collections, params={"ids": ",".join(ids)})
    else:
        records = [{"attributes": {"type": "Lead"}, "id": i, "LastName": "new"} for i in ids]
        answer = salesforce.http.patch(collections, json={"records": records})

    assert [v["success"] for v in answer.json()] == [False, True]
    rows = [(r["Id"], r["LastName"]) for r in sandbox.salesforce.rows("Lead") if not r["IsDeleted"]]
    assert rows == [(ids[0], "old")] + ([(ids[1], "new")] if method == "PATCH" else [])


def test_all_or_none_writes_nothing_when_a_fault_refuses_one_record(sandbox, salesforce):
    sandbox.salesforce.clear("Lead")
    fault(sandbox, {"what": "sync_rejects", "share": 0.1})
    leads = [{"attributes": {"type": "Lead"}, "LastName": f"n{i}", "Company": "Hooli"} for i in range(3)]

    answer = salesforce.http.post(salesforce.base + "/composite/sobjects", json={"records": leads, "allOrNone": True})

    codes = [v["errors"][0]["statusCode"] for v in answer.json()]
    assert codes == ["UNABLE_TO_LOCK_ROW"] + ["ALL_OR_NONE_OPERATION_ROLLED_BACK"] * 2
    assert sandbox.salesforce.rows("Lead") == []


def test_a_job_fails_with_the_code_that_was_chosen(sandbox, salesforce):
    fault(sandbox, {"what": "sync_error", "path": "/jobs/ingest$", "code": "TXN_SECURITY_METERING_ERROR"})

    job, _ = ingest(salesforce, ["n,Hooli"])

    assert job["state"] == "Failed" and job["errorMessage"].startswith("TXN_SECURITY_METERING_ERROR")


def test_a_mix_keeps_partial_rejects_for_requests_that_write_rows(sandbox, salesforce):
    fault(sandbox, {"mix": 1, "system": "salesforce", "kinds": [{"what": "sync_rejects", "share": 1}]})

    salesforce.query("SELECT Id FROM Campaign")
    lead = {"attributes": {"type": "Lead"}, "LastName": "n", "Company": "Hooli"}
    salesforce.http.post(salesforce.base + "/composite/sobjects", json={"records": [lead]})

    assert [logged.fault for logged in sandbox.requests if logged.system == "salesforce"][-2:] == [None, "sync_rejects"]


def test_syncs_by_time_end_on_the_sandboxs_clock_and_not_by_polls():
    with Sandbox(contacts=40, seed=1, now=NOW, sync_seconds=600) as sandbox:
        eloqua = EloquaCaller(sandbox)
        uri = eloqua.post("/syncs", {"syncedInstanceUri": export_of(eloqua)}).json()["uri"]

        before = [eloqua.get(uri).json()["status"] for _ in range(4)]
        sandbox.clock.advance(600)

        assert (set(before), eloqua.get(uri).json()["status"]) == ({"active"}, "success")


def test_syncs_by_time_end_in_real_time_when_the_clock_stands_still():
    with Sandbox(contacts=40, seed=1, now=NOW, sync_seconds=0.3) as sandbox:
        eloqua = EloquaCaller(sandbox)
        uri = eloqua.post("/syncs", {"syncedInstanceUri": export_of(eloqua)}).json()["uri"]

        statuses = [eloqua.get(uri).json()["status"]]
        deadline = time.monotonic() + 20
        while statuses[-1] == "active" and time.monotonic() < deadline:
            time.sleep(0.05)
            statuses.append(eloqua.get(uri).json()["status"])

        assert (statuses[0], statuses[-1]) == ("active", "success")


# -- rules ------------------------------------------------------------------------------------------------------------


def test_a_mix_meets_the_same_requests_with_the_same_faults():
    def met(seed):
        with Sandbox(contacts=40, seed=seed, now=NOW) as sandbox:
            fault(sandbox, {"mix": 0.3})
            wire = Wire(sandbox.server.port)
            for i in range(60):
                try:
                    wire.call("GET", f"/api/bulk/2.0/contacts/fields/{i % 7}")
                except OSError:
                    pass
                except Exception as error:  # noqa: BLE001  # half an answer
                    assert "IncompleteRead" in repr(error) or "RemoteDisconnected" in repr(error)
            return [logged.fault for logged in sorted(sandbox.requests, key=lambda logged: logged.number)]

    first = met(1)

    assert first == met(1) != met(2)
    assert len({what for what in first if what}) > 3 and first.count(None) > 20


def test_the_list_says_what_is_in_force_and_how_often_it_hit(sandbox, eloqua):
    made = fault(sandbox, {"what": "status", "status": 429, "nth": [1, 3]}, {"mix": 0.0}, {"latency": 0.01})
    for _ in range(4):
        eloqua.get("/customObjects")

    rules = requests.get(sandbox.url + "/_sandbox/faults").json()

    assert [(rule["number"], rule["what"], rule["seen"], rule["fired"]) for rule in rules[:2]] == [
        (made[0]["number"], "status", 4, 2),
        (made[1]["number"], "mix", 2, 0),
    ]
    assert len(rules[1]["kinds"]) == len(MIX) and rules[2] == {"latency": 0.01}


def test_one_rule_can_be_taken_back_and_the_others_stay(sandbox, eloqua):
    first, _ = fault(sandbox, {"what": "status", "status": 500}, {"what": "status", "status": 503})

    assert requests.delete(f"{sandbox.url}/_sandbox/faults/{first['number']}").status_code == 204

    assert eloqua.get("/customObjects").status_code == 503
    assert requests.delete(f"{sandbox.url}/_sandbox/faults/{first['number']}").status_code == 404


def test_latency_holds_up_both_systems_and_not_the_sandbox_itself(sandbox, eloqua):
    requests.post(sandbox.url + "/_sandbox/faults", json={"latency": 0.15})

    eloqua.get("/customObjects")
    requests.get(sandbox.url + "/services/data")

    assert all(logged.seconds >= 0.15 for logged in sandbox.requests) and len(sandbox.requests) == 2
    assert requests.delete(sandbox.url + "/_sandbox/faults").status_code == 204
    assert sandbox.faults.latency == 0


@pytest.mark.parametrize(
    "rule",
    [
        {"what": ["status"]},
        {"what": "status", "status": "503"},
        {"what": "status", "status": 99},
        {"what": "status", "retry_after": "1\r\nX: y"},
        {"what": "delay", "delay": -1},
        {"what": "sync_rejects", "code": "ELQ'00125"},
        {"what": "delay", "nth": 0},
        {"what": "delay", "method": 5},
        {"what": "delay", "system": "marketo"},
        {"mix": 2},
        {"mix": 0.1, "kinds": []},
        {"mix": 0.1, "kinds": [{"mix": 1}]},
        {"latency": -1},
        {"latency": 1, "path": "x"},
        5,
    ],
)
def test_a_rule_of_the_wrong_shape_is_refused_and_nothing_of_its_list_is_in_force(sandbox, rule):
    answer = requests.post(sandbox.url + "/_sandbox/faults", json=[{"what": "status"}, rule])

    assert answer.status_code == 400 and len(answer.text.splitlines()) == 1
    assert requests.get(sandbox.url + "/_sandbox/faults").json() == []


# -- from the command line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["list", "lines"])
def test_rules_come_from_a_file(tmp_path, form):
    rules = [
        {"what": "status", "status": 429, "path": "^/id$"},
        {"what": "status", "status": 503, "path": "^/services"},
    ]
    file = tmp_path / "faults"
    file.write_text(json.dumps(rules) if form == "list" else "\n\n".join(map(json.dumps, rules)))
    process = Process(tmp_path, "--faults", str(file))
    wire = Wire(process.port)

    statuses = [wire.call("GET", path).status for path in ("/id", "/services/data", "/_sandbox/clock")]

    assert (statuses, process.stop(), process.said()) == ([429, 503, 200], 0, "")


def test_chaos_and_latency_come_from_options(tmp_path):
    process = Process(tmp_path, "--chaos", "0.02", "--latency", "0.001", "--sync-seconds", "1")
    rules = Wire(process.port).call("GET", "/_sandbox/faults").json()

    assert process.stop() == 0
    assert (rules[0]["what"], rules[0]["probability"], rules[1]) == ("mix", 0.02, {"latency": 0.001})


@pytest.mark.parametrize("text", ["{", '{"what": "earthquake"}', "[5]", None])
def test_a_faults_file_that_makes_no_sense_is_said_in_one_sentence(tmp_path, text):
    file = tmp_path / "faults"
    if text is not None:
        file.write_text(text)
    run = subprocess.run(
        [sys.executable, "-m", "scc.sandbox", "serve", "--port", "0", "--contacts", "40", "--faults", str(file)],
        capture_output=True,
        text=True,
    )

    assert (run.returncode, run.stdout, len(run.stderr.splitlines())) == (78, "", 1), run.stderr
    assert run.stderr.startswith("--faults: ")


def test_a_connection_that_is_cut_by_a_fault_is_cut_with_a_reset(sandbox):
    fault(sandbox, {"what": "reset_before"})
    with socket.create_connection(("127.0.0.1", sandbox.server.port), timeout=10) as connection:
        connection.sendall(message("GET", "/id", {}))
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
