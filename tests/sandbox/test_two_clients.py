"""Two clients at once, and one that is killed in the middle of a request: what the systems hold afterwards is consistent.

A request has all of its effect or none. Killed while it was sending its body, a client has changed nothing; killed after
that, it has changed everything that it asked for, and nobody waits for it.
"""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from scc.sandbox import Sandbox
from tests.sandbox.conftest import NOW, EloquaCaller, SalesforceCaller
from tests.sandbox.raw import Wire, message

DATA, BULK, REST = "/services/data/v59.0", "/api/bulk/2.0", "/api/rest/2.0"
EVENTS = "Event Registration"
ROWS = 200
# Sends what comes on standard input, the first `cut` bytes of it, says so, and waits for its death.
VICTIM = """
import socket, sys
port, cut = int(sys.argv[1]), int(sys.argv[2])
data = sys.stdin.buffer.read()
connection = socket.create_connection(("127.0.0.1", port))
connection.sendall(data[:cut] if cut else data)
print("sent", flush=True)
connection.recv(1) if cut else sys.stdin.close()
import time; time.sleep(60)
"""


@pytest.fixture(scope="module")
def world():
    with Sandbox(contacts=40, seed=1, now=NOW, sync_polls=1) as sandbox:
        yield World(sandbox)


class World:
    """One company, with a client for each system."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.store = sandbox, sandbox.store
        self.eloqua, self.salesforce = EloquaCaller(sandbox), SalesforceCaller(sandbox)
        self.number = 0

    def fresh(self) -> str:
        """A word that nobody has used."""
        self.number += 1
        return f"word{self.number}"

    def changes(self) -> int:
        return self.store.count_mutations()

    def bytes_of(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> bytes:
        caller = self.salesforce if path.startswith("/services") else self.eloqua
        prepared = caller.http.prepare_request(requests.Request(method, self.sandbox.url + path))
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": prepared.headers["Authorization"], "Content-Type": kind}
        return message(method, path, headers, data)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        caller = self.salesforce if path.startswith("/services") else self.eloqua
        answer = caller.http.request(method, self.sandbox.url + path, json=body)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None


# -- each kind of request: what must be there first, the request, and the changes that it makes when it is whole ------


def contact_import(world: World) -> tuple[str, list[dict[str, str]]]:
    fields = {"E": "{{Contact.Field(C_EmailAddress)}}", "F": "{{Contact.Field(C_FirstName)}}"}
    body = {"name": "x", "fields": fields, "identifierFieldName": "E", "isSyncTriggeredOnImport": False}
    word = world.fresh()
    rows = [{"E": f"{word}.{i}@example.com", "F": "x"} for i in range(ROWS)]
    return world.ask("POST", BULK + "/contacts/imports", body)["uri"], rows


def staging(world: World) -> tuple[bytes, Callable[[], int]]:
    """Rows staged, counted by what a sync then makes of them."""
    uri, rows = contact_import(world)

    def made() -> int:
        before = world.changes()
        world.eloqua.sync(uri)
        return world.changes() - before

    return world.bytes_of("POST", f"{BULK}{uri}/data", rows), made


def import_that_syncs(world: World) -> tuple[bytes, Callable[[], int]]:
    """The GET of the sync that finds it final is the one that takes effect."""
    uri, rows = contact_import(world)
    world.ask("POST", f"{BULK}{uri}/data", rows)
    sync = world.ask("POST", BULK + "/syncs", {"syncedInstanceUri": uri})["uri"]
    return world.bytes_of("GET", BULK + sync), difference(world)


def difference(world: World) -> Callable[[], int]:
    before = world.changes()
    return lambda: world.changes() - before


def contact_creation(world: World) -> tuple[bytes, Callable[[], int]]:
    body = {"emailAddress": f"{world.fresh()}@example.com", "firstName": "A"}
    return world.bytes_of("POST", REST + "/data/contact", body), difference(world)


def contact_deletion(world: World) -> tuple[bytes, Callable[[], int]]:
    made = world.ask("POST", REST + "/data/contact", {"emailAddress": f"{world.fresh()}@example.com"})
    return world.bytes_of("DELETE", f"{REST}/data/contact/{made['id']}"), difference(world)


def list_change(world: World) -> tuple[bytes, Callable[[], int]]:
    made = world.ask("POST", REST + "/assets/contact/list", {"name": world.fresh()})
    contacts = [str(row[0]) for row in world.store.rows("SELECT Id FROM eloqua.contact ORDER BY Id LIMIT 30")]
    body = {"id": made["id"], "name": made["name"], "membershipAdditions": contacts, "membershipDeletions": []}

    def members() -> int:
        return world.store.value("SELECT count(*) FROM eloqua.list_member WHERE list_id = ?", [int(made["id"])])

    return world.bytes_of("PUT", f"{REST}/assets/contact/list/{made['id']}", body), members


def lead(word: str) -> dict[str, Any]:
    return {"LastName": word, "Company": "Two Clients", "Email": f"{word}@example.com"}


def lead_creation(world: World) -> tuple[bytes, Callable[[], int]]:
    return world.bytes_of("POST", DATA + "/sobjects/Lead", lead(world.fresh())), difference(world)


def lead_update(world: World) -> tuple[bytes, Callable[[], int]]:
    made = world.ask("POST", DATA + "/sobjects/Lead", lead(world.fresh()))
    return world.bytes_of("PATCH", f"{DATA}/sobjects/Lead/{made['id']}", {"Title": "Changed"}), difference(world)


def lead_deletion(world: World) -> tuple[bytes, Callable[[], int]]:
    made = world.ask("POST", DATA + "/sobjects/Lead", lead(world.fresh()))
    return world.bytes_of("DELETE", f"{DATA}/sobjects/Lead/{made['id']}"), difference(world)


def collection(world: World) -> tuple[bytes, Callable[[], int]]:
    word = world.fresh()
    records = [{"attributes": {"type": "Lead"}, **lead(f"{word}{i}")} for i in range(ROWS)]
    return world.bytes_of("POST", DATA + "/composite/sobjects", {"allOrNone": True, "records": records}), difference(
        world
    )


def ingest_close(world: World) -> tuple[bytes, Callable[[], int]]:
    """The request that closes an ingest job, after which its rows go in."""
    word = world.fresh()
    body = {"object": "Lead", "operation": "insert", "contentType": "CSV", "lineEnding": "LF"}
    job = world.ask("POST", DATA + "/jobs/ingest", body)["id"]
    rows = "LastName,Company,Email\n" + "".join(f"{word}{i},C,{word}{i}@example.com\n" for i in range(ROWS))
    url = f"{world.sandbox.url}{DATA}/jobs/ingest/{job}"
    answer = world.salesforce.http.put(url + "/batches", data=rows, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 201, answer.text
    before = world.changes()

    def made() -> int:
        for _ in range(10):
            world.salesforce.http.get(url)
        return world.changes() - before

    return world.bytes_of("PATCH", f"{DATA}/jobs/ingest/{job}", {"state": "UploadComplete"}), made


KINDS = {
    "rows staged": (staging, ROWS),
    "a sync's end": (import_that_syncs, ROWS),
    "a contact created": (contact_creation, 1),
    "a contact deleted": (contact_deletion, 1),
    "a list changed": (list_change, 30),
    "a lead created": (lead_creation, 1),
    "a lead updated": (lead_update, 1),
    "a lead deleted": (lead_deletion, 1),
    "200 records": (collection, ROWS),
    "an ingest job closed": (ingest_close, ROWS),
}


def kill(world: World, data: bytes, cut: int) -> None:
    """A client of its own process sends the first `cut` bytes (0: all) and dies by SIGKILL."""
    command = [sys.executable, "-S", "-c", VICTIM, str(world.sandbox.server.port), str(cut)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as victim:
        assert victim.stdin and victim.stdout
        victim.stdin.write(data)
        victim.stdin.close()
        assert victim.stdout.readline() == b"sent\n"
        victim.send_signal(signal.SIGKILL)


def served(world: World, data: bytes) -> int:
    """How many requests with this method and path have been done with."""
    method, target, _ = data.split(b"\r\n", 1)[0].decode().split(" ")
    return sum((done.method, done.path) == (method, target) for done in world.sandbox.requests)


def settled(world: World, data: bytes, times: int) -> None:
    """Wait until the server is done with the request for the n-th time."""
    deadline = time.monotonic() + 20
    while served(world, data) < times and time.monotonic() < deadline:
        time.sleep(0.005)
    assert served(world, data) >= times


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_killed_while_it_was_sending_has_changed_nothing(world, kind):
    prepare, whole = KINDS[kind]
    data, made = prepare(world)
    head = data.index(b"\r\n\r\n") + 4

    kill(world, data, cut=(head + len(data)) // 2 if len(data) > head else head - 3)
    if kind != "rows staged":
        assert made() == 0

    assert_served(world, data, made, whole)


def assert_served(world: World, data: bytes, made: Callable[[], int], whole: int) -> None:
    """The same request from the next client goes through."""
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    method, target, _ = line.split(" ")
    answer = Wire(world.sandbox.server.port).call(method, target, dict(each.split(": ", 1) for each in lines), body)
    assert answer.status < 300, answer.body
    assert made() == whole


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_killed_before_the_answer_has_changed_all_that_it_asked_for(world, kind):
    prepare, whole = KINDS[kind]
    data, made = prepare(world)
    before = served(world, data)

    kill(world, data, cut=0)
    settled(world, data, before + 1)

    assert made() == whole


def together(calls: list[Callable[[], Any]]) -> list[Any]:
    """Run the calls at the same time, each in a thread of its own; their results."""
    results: list[Any] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(i: int) -> None:
        start.wait()
        try:
            results[i] = calls[i]()
        except Exception as error:  # noqa: BLE001  # the test judges
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return results


@pytest.mark.parametrize("kind", KINDS)
def test_two_clients_at_once_have_each_their_whole_effect(world, kind):
    prepare, whole = KINDS[kind]
    if kind in ("rows staged", "a list changed"):
        first, second = prepare(world), prepare(world)
        together([lambda: send(world, first[0]), lambda: send(world, second[0])])
        assert [first[1](), second[1]()] == [whole, whole]
        return
    (first_data, _), (second_data, made) = prepare(world), prepare(world)

    answers = together([lambda: send(world, first_data), lambda: send(world, second_data)])

    assert [answer.status < 300 for answer in answers] == [True, True]
    assert made() in (2 * whole, whole)  # an ingest job of the first may have gone in while the second was made
    assert made() == 2 * whole or kind == "an ingest job closed"


def send(world: World, data: bytes) -> Any:
    with socket.create_connection(("127.0.0.1", world.sandbox.server.port), timeout=30) as connection:
        connection.sendall(data)
        response = http.client.HTTPResponse(connection, method=data.split(b" ", 1)[0].decode())
        response.begin()
        response.read()
        return response


def test_two_clients_that_create_the_same_contact_make_one(world):
    addresses = [f"{world.fresh()}@example.com" for _ in range(8)]

    def create(address: str) -> int:
        return world.eloqua.http.post(
            f"{world.sandbox.url}{REST}/data/contact", json={"emailAddress": address}
        ).status_code

    for address in addresses:
        statuses = together([lambda a=address: create(a)] * 2)
        assert sorted(statuses)[0] == 201 and sorted(statuses)[1] in (400, 409), statuses
    count = world.store.value(
        "SELECT count(*) FROM eloqua.contact WHERE list_contains(?, lower(C_EmailAddress))", [addresses]
    )
    assert count == len(addresses)


def test_two_imports_of_the_same_identifiers_make_each_record_once(world):
    fields = {"E": "{{Contact.Field(C_EmailAddress)}}", "F": "{{Contact.Field(C_FirstName)}}"}
    word = world.fresh()
    rows = [{"E": f"{word}.{i}@example.com", "F": "x"} for i in range(ROWS)]

    results = together([lambda: EloquaCaller(world.sandbox).import_rows("/contacts", fields, "E", rows)] * 2)

    assert [result["status"] for result in results] == ["success", "success"], results
    found = world.store.rows(
        "SELECT Id, C_EmailAddress FROM eloqua.contact WHERE starts_with(C_EmailAddress, ?)", [word + "."]
    )
    assert len(found) == len({row[0] for row in found}) == len({row[1] for row in found}) == ROWS


def test_ids_stay_unique_however_many_create_at_once(world):
    def create(word: str) -> Callable[[], Any]:
        return lambda: [world.ask("POST", DATA + "/sobjects/Lead", lead(f"{word}{i}"))["id"] for i in range(10)]

    results = together([create(world.fresh()) for _ in range(4)])

    ids = [number for result in results for number in result]
    assert len(set(ids)) == 40
    assert world.store.value('SELECT count(*) = count(DISTINCT Id) FROM sf."Lead"')


def test_a_reader_sees_an_import_whole_or_not_at_all(world):
    uri, rows = contact_import(world)
    world.ask("POST", f"{BULK}{uri}/data", rows)
    sync = world.ask("POST", BULK + "/syncs", {"syncedInstanceUri": uri})["uri"]
    word = rows[0]["E"].split(".")[0]
    seen: set[int] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            query = {"search": f"{word}.*", "count": 1000}
            answer = world.eloqua.http.get(f"{world.sandbox.url}{REST}/data/contacts", params=query)
            seen.add(answer.json()["total"])

    reader = threading.Thread(target=watch)
    reader.start()
    world.ask("GET", BULK + sync)
    done.set()
    reader.join()

    assert seen <= {0, ROWS}
