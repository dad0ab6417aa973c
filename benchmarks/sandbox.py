"""How fast the sandbox is, and how much memory it takes: python -m benchmarks.sandbox [--quick]

Starts `python -m scc.sandbox serve` as a process of its own, asks it as one client with the shortest client there is
(http.client, bodies read and thrown away), and prints a table. --quick leaves the million contacts out.
"""

import argparse
import base64
import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import Row, sandbox, table

BULK = "/api/bulk/2.0"
PAGE = 50_000
FILE_ROWS = 50_000
FILES = 4
# 20 fields of a contact, as full and as empty as they are
EXPORTED = [
    *("C_EmailAddress", "C_FirstName", "C_LastName", "C_Company", "C_Title", "C_Country", "C_City", "C_BusPhone"),
    *("C_MobilePhone", "C_Salutation", "C_Address1", "C_Address2", "C_State_Prov", "C_Zip_Postal", "C_Salesperson"),
    *("C_SFDCContactID", "C_SFDCLeadID", "C_DateCreated"),
]
IMPORTED = [*EXPORTED[:8], "C_Address1", "C_Zip_Postal"]


class Client:
    """One connection with Basic login."""

    def __init__(self, port: int, environment: dict[str, str]) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        login = f"{environment['ELOQUA_SITE']}\\{environment['ELOQUA_USER']}:{environment['ELOQUA_PASSWORD']}"
        self._headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        self._http.request(method, path, body or None, {**self._headers, "Content-Type": "application/json", **headers})
        answer = self._http.getresponse()
        content = answer.read()
        if answer.status >= 400:
            sys.exit(f"{method} {path}: {answer.status} {content[:500]!r}")
        return content

    def document(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(self.ask(method, path, b"" if body is None else json.dumps(body).encode()))

    def sync(self, uri: str) -> tuple[str, float]:
        """Sync a definition until it is final; its uri and the seconds it took."""
        began = time.perf_counter()
        sync = self.document("POST", BULK + "/syncs", {"syncedInstanceUri": uri})
        while sync["status"] in ("pending", "active"):
            sync = self.document("GET", BULK + sync["uri"])
        if sync["status"] == "error":
            sys.exit(f"sync ended in error: {self.document('GET', BULK + sync['uri'] + '/logs')}")
        return sync["uri"], time.perf_counter() - began


def main() -> int:
    """Print the table; 1 when a figure misses its target."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="leave the million contacts out")
    options = arguments.parse_args()
    rows: list[Row] = [("start with 200 contacts, s", started(), "<= 0.5")]
    with serving(200) as (client, process, _):
        # The pages are those of the contacts that the imports have made.
        rows += imports(client) + pages(client) + memory(client, process)
    if not options.quick:
        # Asked for a little more: a company has "about" so many activities.
        with serving(1_000_000, "--activities", "3100000") as (client, process, seconds):
            activities = client.document("GET", "/_sandbox/summary")["activities"]
            rows.append(("start with 1,000,000 contacts, s", [seconds], "<= 60"))
            rows.append(("their activities", [sum(activities.values())], ">= 3,000,000"))
            rows.append(("their memory, MiB", [resident(process)], ""))
    return table(rows)


def started() -> list[float]:
    """Seconds from the start of the process to its ready line."""
    found = []
    for _ in range(5):
        with serving(200) as (_, _, seconds):
            found.append(seconds)
    return found


def pages(client: Client) -> list[Row]:
    """Rows a second of the pages of an export, as JSON and as CSV."""
    fields = {name: f"{{{{Contact.Field({name})}}}}" for name in EXPORTED}
    fields |= {"Id": "{{Contact.Id}}", "IsBounced": "{{Contact.Email.IsBounced}}"}
    uri = client.document("POST", BULK + "/contacts/exports", {"name": "benchmark", "fields": fields})["uri"]
    sync, seconds = client.sync(uri)
    total = client.document("GET", f"{BULK}{sync}/data?limit=1")["totalResults"]
    found: list[Row] = [("export sync of 20 fields, rows/s", [total / seconds], "")]
    for name, accept, target in (("JSON", "application/json", 300_000), ("CSV", "text/csv", 600_000)):
        rates, sizes = [], []
        for turn in range(3):
            for offset in range(0, total - PAGE, PAGE):
                began = time.perf_counter()
                body = client.ask("GET", f"{BULK}{sync}/data?limit={PAGE}&offset={offset}", Accept=accept)
                if turn:  # the first turn warms up
                    rates.append(PAGE / (time.perf_counter() - began))
                sizes.append(len(body))
        found.append((f"{name} pages of {PAGE:,} rows, 20 fields, rows/s", rates, f">= {target:,}"))
        found.append((f"{name} bytes a row", [statistics.mean(sizes) / PAGE], ""))
    client.ask("DELETE", BULK + uri)
    return found


def imports(client: Client) -> list[Row]:
    """Rows a second that uploads take, and uploads with their sync: new contacts, then the same with other values."""
    fields = {name: f"{{{{Contact.Field({name})}}}}" for name in IMPORTED}
    properties = {"identifierFieldName": "C_EmailAddress", "isSyncTriggeredOnImport": False}
    found: list[Row] = []
    for kind, texts in (("JSON", as_json), ("CSV", as_csv)):
        taken, whole = [], []
        for value in ("first", "second"):
            body = {"name": "benchmark", "fields": fields, **properties}
            uri = client.document("POST", BULK + "/contacts/imports", body)["uri"]
            seconds = 0.0
            for number in range(FILES):
                rows = [row(kind, number * FILE_ROWS + i, value) for i in range(FILE_ROWS)]
                content = texts(rows)
                began = time.perf_counter()
                client.ask("POST", BULK + uri + "/data", content, **{"Content-Type": CONTENT[kind]})
                taken.append(FILE_ROWS / (time.perf_counter() - began))
                seconds += time.perf_counter() - began
            whole.append(FILES * FILE_ROWS / (seconds + client.sync(uri)[1]))
        found.append((f"{kind} uploads of {FILE_ROWS:,} rows, 10 fields, rows/s", taken, ">= 150,000"))
        found.append((f"{kind} uploads with sync, new contacts, rows/s", whole[:1], ""))
        found.append((f"{kind} uploads with sync, changed contacts, rows/s", whole[1:], ""))
    return found


CONTENT = {"JSON": "application/json", "CSV": "text/csv"}


def row(kind: str, i: int, value: str) -> dict[str, str]:
    values = dict.fromkeys(IMPORTED, f"{value} {i % 5000}")
    return {**values, "C_EmailAddress": f"{kind.lower()}.{i}@example.com", "C_LastName": f"Müller-{i}"}


def as_json(rows: list[dict[str, str]]) -> bytes:
    return json.dumps(rows, ensure_ascii=False).encode()


def as_csv(rows: list[dict[str, str]]) -> bytes:
    lines = [",".join(rows[0]), *(",".join(one.values()) for one in rows)]
    return "\r\n".join(lines).encode()


def memory(client: Client, process: subprocess.Popen[str]) -> list[Row]:
    """What 300 exports that are read and deleted leave behind, in MiB."""
    fields = {"Email": "{{Contact.Field(C_EmailAddress)}}"}
    body = {"name": "benchmark", "fields": fields, "filter": "'{{Contact.Id}}' < '3000'"}

    def once() -> None:
        uri = client.document("POST", BULK + "/contacts/exports", body)["uri"]
        sync, _ = client.sync(uri)
        client.ask("GET", f"{BULK}{sync}/data?limit={PAGE}")
        client.ask("DELETE", BULK + uri)

    for _ in range(50):
        once()
    before = resident(process)
    for _ in range(300):
        once()
    return [
        ("memory after all that, MiB", [before], ""),
        ("300 exports more add, MiB", [resident(process) - before], "<= 20"),
    ]


def resident(process: subprocess.Popen[str]) -> float:
    """Resident memory of a process in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@contextmanager
def serving(contacts: int, *more: str) -> Iterator[tuple[Client, subprocess.Popen[str], float]]:
    """A sandbox process: a client of it, the process, and the seconds that it took to be ready."""
    with sandbox(contacts, "--sync-polls", "1", *more) as served:
        yield Client(served.port, served.environment), served.process, served.seconds


if __name__ == "__main__":
    sys.exit(main())
