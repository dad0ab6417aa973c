"""State in a file: whatever was going on goes on in the copy, and copies do not see each other."""

import pickle
import re
import signal
import subprocess
import sys

import duckdb
import pytest
import requests

from scc.sandbox import Sandbox
from scc.sandbox.state import BadState, State
from tests.sandbox.conftest import NOW, EloquaCaller, SalesforceCaller
from tests.sandbox.test_company_people import fingerprints

OBJECT = "Event Registration"


def test_all_tables_and_the_clock_survive(sandbox, tmp_path):
    sandbox.clock.advance(3600)
    sandbox.eloqua.add_record(OBJECT, {"Record Key": "k"})
    sandbox.save(tmp_path / "state")
    loaded = Sandbox.load(tmp_path / "state")

    assert fingerprints(loaded) == fingerprints(sandbox)
    assert loaded.mutations == sandbox.mutations != []
    assert loaded.clock.now == sandbox.clock.now and loaded.seed == sandbox.seed
    assert loaded.eloqua.add_record(OBJECT, {"Record Key": "l"}) == sandbox.eloqua.add_record(
        OBJECT, {"Record Key": "l"}
    )


def test_a_sync_that_was_saved_in_the_middle_goes_on(tmp_path):
    """Saved with rows staged and the sync active; the definition and its rows are another process's by then."""
    with Sandbox(contacts=40, now=NOW, sync_polls=3) as first:
        first.eloqua.clear_records(OBJECT)
        caller = EloquaCaller(first)
        path = caller.path_of(OBJECT)
        key = caller.statements(path)["Record_Key1"]
        waiting = caller.define_import(path, {"K": key}, "K")
        assert caller.post(waiting + "/data", [{"K": "a"}, {"K": "b"}]).status_code == 204
        sync = caller.post("/syncs", {"syncedInstanceUri": waiting}).json()["uri"]
        assert caller.get(sync).json()["status"] == "active"
        first.save(tmp_path / "state")
        assert first.eloqua.records(OBJECT) == []

    with State.load(tmp_path / "state").start() as second:
        caller = EloquaCaller(second)
        assert [caller.get(sync).json()["status"] for _ in range(2)] == ["active", "success"]
        assert [r["Record_Key1"] for r in second.eloqua.records(OBJECT)] == ["a", "b"]
        assert caller.get(waiting).json()["name"] == "test"
        assert [m["kind"] for m in second.mutations][-2:] == ["create", "create"]


def test_rows_of_a_finished_export_and_its_log_are_read_from_the_copy(sandbox, eloqua):
    path = eloqua.path_of(OBJECT)
    sync = eloqua.sync(eloqua.define_export(path, {"K": eloqua.statements(path)["Record_Key1"]}))["uri"]

    with sandbox.copy() as copy:
        caller = EloquaCaller(copy)
        for part in ("/data", "/logs"):
            assert caller.get(sync + part).json() == eloqua.get(sync + part).json()
        assert len(caller.get(sync + "/data").json()["items"]) == 28


def test_a_pod_that_moved_is_away_in_the_copy_too(tmp_path):
    def asked(running):
        http = EloquaCaller(running).http
        answers = [http.get(f"{url}/api/bulk/2.0/customObjects") for url in (running.url, discovered(running))]
        return [answer.status_code for answer in answers]

    def discovered(running):
        return EloquaCaller(running).http.get(running.url + "/id").json()["urls"]["base"]

    with Sandbox(contacts=40, now=NOW) as first:
        base = first.move_pod()
        first.save(tmp_path / "state")
        with State.load(tmp_path / "state").start() as copy:
            assert asked(copy) == [401, 200] and discovered(copy) not in (base, copy.url)

    with State.load(tmp_path / "state").start() as later:
        assert asked(later) == [401, 200] and discovered(later) == base


def test_tokens_limits_and_faults_hold_in_the_copy_too(sandbox, salesforce):
    sandbox.salesforce.limits.daily_requests = 5
    sandbox.eloqua.limits.page_rows = 7
    sandbox.salesforce.hide_field("Campaign", "BudgetedCost")
    sandbox.faults.add("status", path="/id$", nth=2, status=503)
    requests.get(sandbox.url + "/id")
    salesforce.records("SELECT Id FROM Campaign LIMIT 1")

    with sandbox.copy() as copy:
        salesforce.base = copy.url + "/services/data/v59.0"
        assert salesforce.refusal("SELECT BudgetedCost FROM Campaign") == (400, "INVALID_FIELD")
        assert copy.eloqua.limits.page_rows == 7
        assert [requests.get(copy.url + "/id").status_code for _ in range(2)] == [503, 200]
        for _ in range(3):
            salesforce.query("SELECT Id FROM Campaign LIMIT 1")
        assert salesforce.refusal("SELECT Id FROM Campaign LIMIT 1") == (403, "REQUEST_LIMIT_EXCEEDED")


def test_a_salesforce_query_goes_on_with_its_next_page(tmp_path):
    with Sandbox(contacts=40, now=NOW, page_size=25) as first:
        caller = SalesforceCaller(first)
        page = caller.query("SELECT Id FROM Campaign").json()
        with first.copy() as second:
            caller.http.get(first.url + page["nextRecordsUrl"])
            rest = caller.http.get(second.url + page["nextRecordsUrl"]).json()

    assert not page["done"] and rest["done"] and len(page["records"]) + len(rest["records"]) == rest["totalSize"]


def test_numbers_go_on_where_they_were(sandbox, eloqua):
    """Ids of definitions, syncs and records that the original gave are not given again."""
    path = eloqua.path_of(OBJECT)
    field = {"K": eloqua.statements(path)["Record_Key1"]}

    def given(where):
        caller = EloquaCaller(where)
        definition = caller.define_export(path, field)
        return {definition, caller.sync(definition)["uri"], where.salesforce.add("Campaign", {"Name": "x"})}

    first = given(sandbox)
    with sandbox.copy() as copy:
        second = given(copy)

    assert len(first | second) == 6 and given(sandbox) == second


def test_copies_do_not_see_each_other(sandbox):
    state = State.of(sandbox)
    with state.start() as one, state.start() as two:
        one.eloqua.clear_records(OBJECT)
        one.eloqua.limits.page_rows = 1
        one.clock.advance(60)

        assert [len(s.eloqua.records(OBJECT)) for s in (one, two, sandbox)] == [0, 28, 28]
        assert two.eloqua.limits.page_rows == sandbox.eloqua.limits.page_rows > 1
        assert two.clock.now == sandbox.clock.now


def test_what_still_runs_for_a_copy_that_was_stopped_reaches_no_later_one(sandbox):
    state = State.of(sandbox)
    with state.start() as stopped:
        stopped.eloqua.clear_records(OBJECT)

    with state.start() as later:
        with pytest.raises(duckdb.Error):
            stopped.store.execute("DELETE FROM eloqua.contact")

        assert fingerprints(later) == fingerprints(sandbox)


def test_a_copy_of_a_copy_is_whole(sandbox):
    sandbox.eloqua.add_record(OBJECT, {"Record Key": "k"})

    assert fingerprints(sandbox.copy().copy()) == fingerprints(sandbox)


def test_the_state_is_saved_over_http_and_served_by_the_command(sandbox, tmp_path):
    sandbox.eloqua.add_record(OBJECT, {"Record Key": "kept"})
    path = tmp_path / "state"
    answer = requests.post(sandbox.url + "/_sandbox/state/save", json={"path": str(path)})
    command = [sys.executable, "-m", "scc.sandbox", "serve", "--port", "0", "--state", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = re.fullmatch(r"sandbox ready on (http://127\.0\.0\.1:\d+)\n", process.stdout.readline())[1]
        kept = requests.get(f"{url}/_sandbox/custom-objects/{OBJECT}").text
        summary = requests.get(url + "/_sandbox/summary").json()
        process.send_signal(signal.SIGTERM)

        assert answer.status_code == 201 and process.wait(timeout=10) == 0
        assert '"kept"' in kept and summary["now"] == NOW and summary["mutations"] == 1
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("body", [b"", b"[]", b'{"path": 7}', b'{"path": ""}', b'{"path": "/nowhere/at/all"}'])
def test_a_place_where_nothing_can_be_saved_is_a_400(sandbox, body):
    assert requests.post(sandbox.url + "/_sandbox/state/save", data=body).status_code == 400


def test_a_file_that_is_no_state_is_said_in_one_sentence(tmp_path):
    (tmp_path / "state").write_text("hello")
    for name, sentence in (("state", "is no state of a sandbox"), ("none", "No such file")):
        command = [sys.executable, "-m", "scc.sandbox", "serve", "--port", "0", "--state", str(tmp_path / name)]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode not in (0, -6) and sentence in run.stderr and "Traceback" not in run.stderr


def test_a_state_calls_nothing_but_the_sandbox(sandbox, tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("called",)

    sandbox.save(tmp_path / "state")
    with duckdb.connect(str(tmp_path / "state")) as database:
        database.execute("UPDATE staging.sandbox_state SET parts = ?", [pickle.dumps(Evil())])

    with pytest.raises(BadState):
        Sandbox.load(tmp_path / "state")


def test_the_seconds_of_a_sync_go_on_in_a_process_that_counts_from_elsewhere(tmp_path, monkeypatch):
    """The real clock of a process counts from when its machine was started."""
    now = {"seconds": 1000.0}
    monkeypatch.setattr("scc.sandbox.eloqua.syncs.monotonic", lambda: now["seconds"])
    with Sandbox(contacts=40, now=NOW, sync_seconds=30) as first:
        caller = EloquaCaller(first)
        path = caller.path_of(OBJECT)
        uri = caller.define_export(path, {"K": caller.statements(path)["Record_Key1"]})
        sync = caller.post("/syncs", {"syncedInstanceUri": uri}).json()["uri"]
        now["seconds"] += 20
        assert caller.get(sync).json()["status"] == "active"
        first.save(tmp_path / "state")

    for start in (5.0, 1_000_000.0):
        now["seconds"] = start
        with State.load(tmp_path / "state").start() as second:
            caller, seen = EloquaCaller(second), []
            for later in (0, 9, 11):
                now["seconds"] = start + later
                seen.append(caller.get(sync).json()["status"])
            assert seen == ["active", "active", "success"]
