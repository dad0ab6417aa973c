"""HTTP as real clients speak it: kept connections, HEAD, chunks, gzip, big uploads; and an end that is always clean."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from tests.sandbox.conftest import EloquaCaller
from tests.sandbox.raw import Process, Wire, message


def basic(sandbox):
    return requests.Request("GET", sandbox.url, auth=EloquaCaller(sandbox).http.auth).prepare().headers["Authorization"]


@pytest.fixture
def staged(sandbox, eloqua):
    """Path of an import's data, and how many rows it then holds."""
    fields = {"E": "{{Contact.Field(C_EmailAddress)}}", "F": "{{Contact.Field(C_FirstName)}}"}
    uri = eloqua.define_import("/contacts", fields, "E")

    def rows():
        sync = eloqua.sync(uri)
        codes = {line["statusCode"]: line["count"] for line in eloqua.get(sync["uri"] + "/logs").json()["items"]}
        return codes.get("ELQ-00130", 0)

    return f"/api/bulk/2.0{uri}/data", rows


def test_one_connection_serves_many_requests(sandbox):
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.server.port)
    connection.connect()
    own = connection.sock.getsockname()

    for _ in range(5):
        connection.request("GET", "/id", headers={"Authorization": basic(sandbox)})
        assert connection.getresponse().read()

    assert connection.sock.getsockname() == own
    connection.close()


def test_head_is_get_without_its_body(sandbox):
    url, headers = (
        sandbox.url + "/api/bulk/2.0/customObjects",
        {"Authorization": basic(sandbox), "Accept-Encoding": "identity"},
    )
    whole, head = requests.get(url, headers=headers), requests.head(url, headers=headers)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole.content)) != "0"
    assert [logged.method for logged in sandbox.requests] == ["GET", "HEAD"]


def test_an_upload_in_chunks_without_a_length_is_taken(sandbox, staged):
    path, rows = staged
    pieces = (
        json.dumps([{"E": f"c{i}@example.com"} for i in range(300)])[i : i + 997].encode() for i in range(0, 10**5, 997)
    )
    headers = {"Authorization": basic(sandbox), "Content-Type": "application/json"}

    answer = requests.post(sandbox.url + path, data=(piece for piece in pieces if piece), headers=headers)

    assert (answer.request.headers["Transfer-Encoding"], answer.status_code, rows()) == ("chunked", 204, 300)


def test_a_gzipped_upload_is_taken(sandbox, staged):
    path, rows = staged
    body = gzip.compress(json.dumps([{"E": f"z{i}@example.com"} for i in range(50)]).encode())
    headers = {"Authorization": basic(sandbox), "Content-Type": "application/json", "Content-Encoding": "gzip"}

    assert (requests.post(sandbox.url + path, data=body, headers=headers).status_code, rows()) == (204, 50)


def test_an_upload_that_is_no_gzip_though_it_says_so_harms_nobody(sandbox, staged):
    path, rows = staged
    headers = {"Authorization": basic(sandbox), "Content-Type": "application/json", "Content-Encoding": "gzip"}

    # A 400, or the end of the connection.
    with contextlib.suppress(OSError, http.client.HTTPException):
        assert Wire(sandbox.server.port).call("POST", path, headers, b"[]").status == 400

    assert rows() == 0


def test_answers_are_gzipped_for_those_who_ask(sandbox, eloqua):
    wire, headers = Wire(sandbox.server.port), {"Authorization": basic(sandbox)}
    path = "/api/bulk/2.0/contacts/fields"

    plain, packed, refused = (
        wire.call("GET", path, headers | {"Accept-Encoding": coding})
        for coding in ("identity", "gzip, deflate", "gzip;q=0")
    )

    assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.body) == plain.body == refused.body
    assert len(packed.body) < len(plain.body) / 2 and "Content-Encoding" not in refused.headers


def test_a_client_that_waits_for_100_continue_gets_it(sandbox, staged):
    path, rows = staged
    body = b'[{"E": "patient@example.com"}]'
    headers = {"Authorization": basic(sandbox), "Content-Type": "application/json", "Expect": "100-continue"}
    head = message("POST", path, headers | {"Content-Length": str(len(body))}, b"")

    with socket.create_connection(("127.0.0.1", sandbox.server.port), timeout=10) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert connection.recv(100).startswith(b"HTTP/1.1 204 ")
    assert rows() == 1


def test_a_request_line_with_the_whole_address_is_understood(sandbox):
    answer = Wire(sandbox.server.port).call("GET", sandbox.url + "/id", {"Authorization": basic(sandbox)})

    assert answer.json()["site"]["name"] == "AcmeTest"


def test_an_old_client_gets_a_stream_that_ends_with_its_connection(sandbox):
    sandbox.eloqua.add_record("Event Registration", {"Record Key": "k"})
    with socket.create_connection(("127.0.0.1", sandbox.server.port), timeout=10) as connection:
        connection.sendall(b"GET /_sandbox/mutations HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head and json.loads(body)["kind"] == "create"


def test_a_32_mb_upload_that_crawls_holds_up_nobody(sandbox, staged):
    path, _ = staged
    size = 32 * 1024 * 1024
    headers = {"Authorization": basic(sandbox), "Content-Type": "application/json", "Content-Length": str(size)}
    with socket.create_connection(("127.0.0.1", sandbox.server.port), timeout=30) as connection:
        connection.sendall(message("POST", path, headers) + b"[" + b" " * (size - 100))

        assert Wire(sandbox.server.port).call("GET", "/id", {"Authorization": basic(sandbox)}).status == 200

        connection.sendall(b" " * 98 + b"]")
        assert connection.recv(100).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("load", ["requests", "a silent answer", "a dripping answer", "a half-sent body"])
def test_sigterm_ends_it_with_0_under_load(tmp_path, load):
    process = Process(tmp_path)
    wires, over = [Wire(process.port) for _ in range(4)], threading.Event()
    rules = {"a silent answer": {"what": "silence"}, "a dripping answer": {"what": "drip", "rate": 1}}
    if load in rules:
        wires[0].call("POST", "/_sandbox/faults", body=json.dumps(rules[load]).encode())

    def press(wire):
        while not over.is_set():
            try:
                wire.call("GET", "/services/data")
            except (OSError, http.client.HTTPException):
                return

    threads = [threading.Thread(target=press, args=(wire,)) for wire in wires]
    [thread.start() for thread in threads]
    if load == "a half-sent body":
        half = socket.create_connection(("127.0.0.1", process.port))
        half.sendall(message("POST", "/auth/oauth2/token", {"Content-Length": "999"}, b"half"))
    while b'"salesforce":0' in Wire(process.port).call("GET", "/_sandbox/summary").body.replace(b" ", b""):
        time.sleep(0.01)

    code = process.stop()
    over.set()
    [thread.join() for thread in threads]

    assert (code, process.said()) == (0, "")


def test_sigterm_while_the_company_is_made_ends_it_with_0():
    command = [sys.executable, "-u", "-m", "scc.sandbox", "serve", "--port", "0", "--contacts", "300000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        while child.poll() is None and not heeds_sigterm(child.pid):
            time.sleep(0.005)
        child.terminate()
        out, errors = child.communicate(timeout=30)

    assert (child.returncode, out, errors) == (0, b"", b"")


def test_ctrl_c_with_a_sigterm_right_behind_it_ends_it_and_never_hangs():
    program = "import os; from scc.sandbox.__main__ import Stop; s = Stop(); print(flush=True); s.wait(); os._exit(0)"
    children = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(30)]
    try:
        for child in children:
            child.stdout.readline()
        for child in children:
            child.send_signal(signal.SIGINT)
            child.send_signal(signal.SIGTERM)
        assert {child.wait(timeout=30) for child in children} == {0}
    finally:
        for child in children:
            child.kill()
            child.communicate()


def heeds_sigterm(pid):
    """Whether the process has a handler for it."""
    mask = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[1]
    return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)


def test_a_taken_port_is_one_sentence_and_exit_code_78(sandbox):
    port = str(sandbox.server.port)
    command = [sys.executable, "-m", "scc.sandbox", "serve", "--port", port, "--contacts", "40"]
    run = subprocess.run(command, capture_output=True, text=True)

    assert (run.returncode, run.stdout) == (78, "")
    assert run.stderr.startswith(f"cannot listen on port {port}: ") and len(run.stderr.splitlines()) == 1
