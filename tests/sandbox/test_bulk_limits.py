"""Limits, quotas, queues and call-backs (eloqua.md 4.1, 4.2, 6)."""

import http.server
import json
import queue
import threading

import pytest

EMAIL = "{{Contact.Field(C_EmailAddress)}}"


def statuses(eloqua, sync, times):
    return [eloqua.get(sync).json()["status"] for _ in range(times)]


def started(eloqua, **body):
    uri = eloqua.define_export("/contacts", {"Email": EMAIL})
    return eloqua.post("/syncs", {"syncedInstanceUri": uri, **body}).json()["uri"]


def test_over_the_hourly_quota_syncs_are_slow_but_not_refused(sandbox, eloqua):
    sandbox.eloqua.limits.export_syncs_an_hour = 1
    sandbox.eloqua.limits.slow_down_polls = 2

    first, second = started(eloqua), started(eloqua)

    assert statuses(eloqua, first, 1) == ["success"]
    assert statuses(eloqua, second, 3) == ["active", "active", "success"]
    sandbox.clock.advance(3600)
    assert statuses(eloqua, started(eloqua), 1) == ["success"]


def test_the_use_of_the_hour_is_told_by_kind(sandbox, eloqua):
    started(eloqua)

    usage = eloqua.http.get(sandbox.url + "/_sandbox/quota").json()

    assert usage == {
        "exports": {"used": 1, "quota": 2000},
        "imports": {"used": 0, "quota": 2000},
        "syncActions": {"used": 0, "quota": 4000},
    }


def test_syncs_beyond_the_parallel_ones_wait_in_pending(sandbox, eloqua):
    sandbox.eloqua.limits.parallel_syncs = 1

    first, second = started(eloqua), started(eloqua)

    assert statuses(eloqua, second, 2) == ["pending", "pending"]
    assert statuses(eloqua, first, 1) == ["success"]
    assert statuses(eloqua, second, 1) == ["success"]


def test_a_full_storage_refuses_uploads_and_fails_exports(sandbox, eloqua):
    uri = eloqua.define_import("/contacts", {"Email": EMAIL}, "Email")
    assert eloqua.post(uri + "/data", [{"Email": "ana@example.com"}]).status_code == 204
    assert eloqua.get("/imports/data").json() == {"kbUsed": 1} and eloqua.get(uri).json()["kbUsed"] == 1

    sandbox.eloqua.limits.storage_bytes = 40

    assert eloqua.post(uri + "/data", [{"Email": "bo@example.com"}]).status_code == 413
    sync = eloqua.sync(eloqua.define_export("/contacts", {"Email": EMAIL}))
    assert sync["status"] == "error"
    assert "ELQ-00136" in [line["statusCode"] for line in eloqua.get(sync["uri"] + "/logs").json()["items"]]


def test_storage_is_given_back_with_the_rows(sandbox, eloqua):
    sync = eloqua.sync(eloqua.define_export("/contacts", {"Email": EMAIL}))
    used = eloqua.get("/exports/data").json()["kbUsed"]

    eloqua.delete(sync["uri"] + "/data")

    assert used > 0 and eloqua.get("/exports/data").json() == {"kbUsed": 0}


def test_rows_past_their_retention_leave_the_memory_too(sandbox, eloqua):
    sync = eloqua.sync(eloqua.define_export("/contacts", {"Email": EMAIL}, dataRetentionDuration="PT1H"))

    sandbox.clock.advance(3600)

    assert eloqua.get(sync["uri"] + "/data").status_code == 410
    assert sandbox.store.rows("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'export%'") == []


def test_a_page_is_read_while_somebody_writes(sandbox, eloqua):
    data = eloqua.sync(eloqua.define_export("/contacts", {"Email": EMAIL}))["uri"] + "/data"
    read: queue.Queue[int] = queue.Queue()

    with sandbox.store.transaction():
        reader = threading.Thread(target=lambda: read.put(eloqua.get(data).json()["totalResults"]))
        reader.start()
        assert read.get(timeout=30) >= 40
    reader.join()


class Ear(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.heard.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def ear():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ear)
    server.heard = queue.Queue()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_end_of_a_sync_is_told_to_a_callback_on_this_machine(sandbox, eloqua, ear):
    sync = started(eloqua, callbackUrl=f"http://127.0.0.1:{ear.server_port}/done?x=1")

    eloqua.get(sync)

    heard = ear.heard.get(timeout=30)
    assert (heard["uri"], heard["status"]) == (sync, "success")


def test_nothing_is_ever_sent_to_another_machine():
    from scc.sandbox.eloqua.callbacks import is_loopback

    elsewhere = (
        "http://example.com/",
        "http://10.0.0.1/",
        "http://127.0.0.1.example.com/",
        "https://127.0.0.1/",
        "x",
        7,
    )
    assert [is_loopback(url) for url in elsewhere] == [False] * 6
    assert is_loopback("http://127.0.0.1:80/") and is_loopback("http://localhost/")


def test_odd_texts_survive_both_formats(sandbox, eloqua):
    odd = ['say "hi"', "back\\slash", "a,b", "line\nend", "tab\there", "Zoë 東京", "{}", "'"]
    for i, text in enumerate(odd):
        sandbox.eloqua.add_contact(f"odd{i}@odd.example.com", {"C_FirstName": text})
    fields = {'na"me': "{{Contact.Field(C_FirstName)}}", "Id": "{{Contact.Id}}"}
    sync = eloqua.sync(eloqua.define_export("/contacts", fields, filter=f"'{EMAIL}' ~ '%@odd.example.com'"))

    rows = eloqua.get(sync["uri"] + "/data").json()["items"]

    assert [row['na"me'] for row in rows] == odd


def test_a_csv_file_goes_through_import_and_export(sandbox, eloqua):
    fields = {"Email": EMAIL, "First": "{{Contact.Field(C_FirstName)}}"}
    uri = eloqua.define_import("/contacts", fields, "Email")
    sent = 'First,Email\r\n"Ana ""A"", Zoë",ana@example.com\r\n'.encode()

    answer = eloqua.http.post(eloqua.base + uri + "/data", data=sent, headers={"Content-Type": "text/csv"})
    eloqua.sync(uri)
    sync = eloqua.sync(eloqua.define_export("/contacts", fields, filter=f"'{EMAIL}' = 'ana@example.com'"))
    page = eloqua.http.get(eloqua.base + sync["uri"] + "/data", headers={"Accept": "text/csv"})

    assert answer.status_code == 204
    assert page.content == 'Email,First\r\nana@example.com,"Ana ""A"", Zoë"\r\n'.encode()


def test_a_data_post_starts_its_sync_when_the_definition_says_nothing(sandbox, eloqua):
    body = {"name": "x", "fields": {"Email": EMAIL}, "identifierFieldName": "Email"}
    uri = eloqua.post("/contacts/imports", body).json()["uri"]

    answer = eloqua.post(uri + "/data", [{"Email": "ana@example.com"}])

    assert (answer.status_code, answer.json()["status"]) == (201, "pending")
    eloqua.get(answer.json()["uri"])
    assert sandbox.eloqua.contact("ana@example.com")


def test_a_big_page_is_whole_and_in_order(sandbox, eloqua, monkeypatch):
    monkeypatch.setattr("scc.sandbox.eloqua.pages.WORTH_HALVING", 2)
    ids = [str(contact["Id"]) for contact in sandbox.eloqua.records("Contact")]
    data = eloqua.sync(eloqua.define_export("/contacts", {"Id": "{{Contact.Id}}"}))["uri"] + "/data"

    as_json = eloqua.get(data, limit=len(ids) - 1).json()["items"]
    as_csv = eloqua.http.get(eloqua.base + data, params={"offset": 1}, headers={"Accept": "text/csv"}).text

    assert [row["Id"] for row in as_json] == ids[:-1]
    assert as_csv.split() == ["Id", *ids[1:]]
