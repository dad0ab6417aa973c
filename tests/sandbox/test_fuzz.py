"""Whatever is sent to whichever endpoint: no 500 that nobody asked for, no traceback, and the next client is served.

The endpoints come from the routers, so that new ones are in at once; bodies come from examples that are bent in many
ways, and from the words that the sandbox's own source knows. SCC_FUZZ_EXAMPLES=500 tries more, and other ones each time.
"""

from __future__ import annotations

import base64
import json
import os
import random
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scc.sandbox import Sandbox
from scc.sandbox.http import Router
from tests.sandbox.oddities import DATA, FIELDS, METHODS, TYPES, odd_body, odd_headers, odd_target
from tests.sandbox.raw import NOW, Answer, Process, Wire

MORE = os.environ.get("SCC_FUZZ_EXAMPLES")
EXAMPLES = int(MORE or 6)
EVERY = 16  # endpoints after which all is looked over, and what they have used up is made anew
OBJECTS = ["Lead", "Campaign", "Contact", "CampaignMember", "Account", "Opportunity"]
BULK, REST = "/api/bulk/2.0", "/api/rest/2.0"


def routers(thing: Any, depth: int = 2) -> list[Router]:
    """All routers that an object holds, or that the objects it holds hold."""
    found = [value for value in vars(thing).values() if isinstance(value, Router)]
    if depth:
        for value in vars(thing).values():
            if type(value).__module__.startswith("scc.sandbox") and hasattr(value, "__dict__"):
                found += [router for router in routers(value, depth - 1) if router not in found]
    return found


def endpoints() -> list[tuple[str, str]]:
    """Method and path pattern of every endpoint."""
    with Sandbox(contacts=40, seed=1, now=NOW) as sandbox:
        sandbox._control.open_window()
        things = (*sandbox.systems.values(), sandbox._control)
        own = {id(router): router for thing in things for router in routers(thing)}
    found = {("POST", DATA + "/composite")}
    for router in own.values():
        for method, template in router.templates:
            template = template.replace("/*", "") or "/"
            absolute = re.match(r"/(services|api|id\b|auth|_sandbox)", template, re.IGNORECASE)
            found.add((method, template if absolute else DATA + template))
    return sorted(found, key=lambda endpoint: (endpoint[1], endpoint[0]))


ENDPOINTS = endpoints()


class Client:
    """Sends requests with credentials that are mostly right, and remembers the ids that it sees."""

    def __init__(self, process: Process) -> None:
        self.process, self.wire, self.token = process, Wire(process.port), ""
        self.pod: Wire | None = None
        self.basic = basic(rb"AcmeTest\API.User:sandbox-eloqua-password")
        self.app = basic(b"6a1b2c3d-0000-4000-8000-5c0c5c0c5c0c:sandbox-eloqua-client-secret")
        self.ids: dict[str, list[str]] = {
            "any": ["1", "11", "310", "1201", "501", "77", "Contact", "Lead", "Id", "003000000000001AAA"],
            "custom-objects": ["Event Registration", "Contact"],
            "crm": OBJECTS,
            "sobjects": OBJECTS,
            "version": ["59.0", "60.0", "59.0", "40.0"],
            "key": ["Id", "Email", "Eloqua_Contact_ID__c", "Name"],
            "value": ["1", "a@example.com", "003000000000001AAA"],
            "type_": ["emailOpen", "webVisit", "emailSend"],
            "result_id": ["1", "x"],
            "group": ["1", "2"],
        }

    def login(self) -> None:
        form = {"grant_type": "client_credentials", "client_id": "3MVG9SandboxConsumerKey.SCC"}
        body = urlencode(form | {"client_secret": "sandbox-salesforce-client-secret"}).encode()
        answer = self.wire.call("POST", "/services/oauth2/token", {"Content-Type": TYPES[5]}, body)
        self.token = "Bearer " + answer.json()["access_token"]

    def send(self, method: str, target: str, headers: dict[str, str], body: bytes, honest: bool = True) -> Answer:
        salesforce = target.lower().startswith("/services")
        if honest:
            right = self.token if salesforce else self.app if target.startswith("/auth") else self.basic
            headers = {"Authorization": right, **headers}
        login = target.startswith(("/_sandbox", "/auth", "/id")) or salesforce
        wire = self.wire if login or self.pod is None else self.pod
        answer = wire.call(method, target, headers, body)
        if answer.status == 401 and salesforce and honest:
            self.login()
            answer = wire.call(method, target, {**headers, "Authorization": self.token}, body)
        self.learn(target, answer)
        return answer

    def learn(self, target: str, answer: Answer) -> None:
        """Keep the ids in an answer, by what stands before them in a path."""
        if answer.status not in (200, 201) or len(answer.body) > 20_000:
            return
        try:
            document = answer.json()
        except AssertionError:
            return
        if not isinstance(document, dict):
            return
        items = [document]
        for key in ("items", "elements", "records", "fields"):
            items += document[key][:3] if isinstance(document.get(key), list) else []
        for item in items:
            if isinstance(item, dict) and isinstance(item.get("uri"), str):
                words = item["uri"].strip("/").lower().split("/")
                kinds = [word for word in words if not word.isdigit()]
                self.ids.setdefault("uri", []).append(item["uri"])
                if words[-1].isdigit():
                    self.ids.setdefault("/".join(kinds[-2:]), []).append(words[-1])
            if not isinstance(item, dict):
                continue
            words = [word.lower() for word in re.split(r"[/?]", target.split("?")[0]) if word.isalpha()]
            for key in ("id", "Id"):
                if isinstance(item.get(key), str) and words:
                    self.ids.setdefault(words[-1].rstrip("s"), []).append(item[key])
                    self.ids.setdefault("job_id" if "job" in target else "record_id", []).append(item[key])
            if isinstance(item.get("nextRecordsUrl"), str):
                self.ids.setdefault("locator", []).append(item["nextRecordsUrl"].rpartition("/")[2])

    def ask(self, method: str, target: str, document: Any = None) -> Answer:
        body = b"" if document is None else json.dumps(document).encode()
        return self.send(method, target, {"Content-Type": "application/json"}, body)

    def follow_pod(self) -> None:
        self.pod = Wire(int(self.ask("GET", "/id").json()["urls"]["base"].rpartition(":")[2]))


def basic(credentials: bytes) -> str:
    return "Basic " + base64.b64encode(credentials).decode()


def stage(client: Client) -> None:
    """Definitions, syncs, lists and records for the odd requests to hit; made anew, as they may be gone."""
    objects = [item["uri"] for item in client.ask("GET", BULK + "/customObjects").json()["items"]]
    for path in ("/contacts", *objects):
        items = client.ask("GET", f"{BULK}{path}/fields").json()["items"]
        if len(items) < 2:
            continue  # an odd request has made such an object
        fields = {"F": items[0]["statement"], "G": items[1]["statement"]}
        client.ask("POST", f"{BULK}{path}/exports", {"name": "x", "fields": fields})
        body = {"name": "x", "fields": fields, "identifierFieldName": "F", "isSyncTriggeredOnImport": False}
        if uri := client.ask("POST", f"{BULK}{path}/imports", body).json().get("uri"):
            client.ask("POST", f"{BULK}{uri}/data", [{"F": "a@example.com", "G": "1"}, {"F": "bad"}])
            client.ask("POST", BULK + "/syncs", {"syncedInstanceUri": uri})
    client.ask("POST", REST + "/assets/contact/list", {"name": "L"})
    client.ask("POST", REST + "/data/contact", {"emailAddress": f"n{len(client.ids['any'])}@example.com"})
    for path in (
        "/data/contacts",
        "/assets/contact/lists",
        "/assets/contact/fields",
        "/data/accounts",
        "/assets/customObjects",
    ):
        client.ask("GET", f"{REST}{path}?count=3")
    number = client.ids["customobject"][-1]
    client.ask("GET", f"{REST}/data/customObject/{number}/instances?count=3")
    for name in ("Campaign", "Lead", "Contact", "CampaignMember"):
        query(client, " ".join(["SELECT Id FROM", name, "LIMIT 2"]))


def query(client: Client, soql: str) -> Answer:
    return client.ask("GET", DATA + "/query?" + urlencode({"q": soql}))


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    process = Process(tmp_path_factory.mktemp("fuzz"), "--sync-polls", "0")
    client = Client(process)
    client.login()
    stage(client)
    yield client
    code = process.stop()
    assert (code, process.said()) == (0, "")


@pytest.mark.parametrize(("method", "template"), ENDPOINTS, ids=[f"{m} {t}" for m, t in ENDPOINTS])
def test_no_odd_request_makes_the_sandbox_fail(client, method, template):
    turn = ENDPOINTS.index((method, template))
    if turn % EVERY == 0:
        stage(client)
    heard = client.process.said()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=MORE is None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**48))
    def run(number: int) -> None:
        dice = random.Random(f"{method} {template} {number}")
        headers, honest = odd_headers(dice)
        verb = method if dice.random() < 0.95 else dice.choice(METHODS)
        target = odd_target(template, client.ids, dice)
        body = b"" if verb in ("GET", "HEAD") else odd_body(template, client.ids, dice)
        answer = client.send(verb, target, headers, body, honest)
        tidy(client, target)
        said = client.process.said()[len(heard) :]
        shown = f"{verb} {target} {headers} {body[:2000]!r} -> {answer.status} {answer.body[:500]!r} {said}"
        fault = b"<faultcode>" in answer.body  # which SOAP sends with status 500
        assert (answer.status < 500 or fault) and b"Traceback" not in answer.body and said == "", shown

    run()
    if turn % EVERY == EVERY - 1 or turn == len(ENDPOINTS) - 1:
        assert_all_is_well(client)


def tidy(client: Client, target: str) -> None:
    """Take back what an odd request to /_sandbox may have asked for."""
    lowered = target.lower()
    if "_sandbox" in lowered and "faults" in lowered:
        client.wire.call("DELETE", "/_sandbox/faults")
    if "pod-move" in lowered:
        client.follow_pod()


def assert_all_is_well(client: Client) -> None:
    """A valid export, import and query are answered as ever."""
    address = "steady@example.com"
    body = {"name": "x", "fields": FIELDS, "identifierFieldName": "Email", "isSyncTriggeredOnImport": False}
    made = client.ask("POST", BULK + "/contacts/imports", body)
    assert made.status == 201, made.body
    uri = made.json()["uri"]
    assert client.ask("POST", f"{BULK}{uri}/data", [{"Email": address, "Name": "S"}]).status == 204
    sync = client.ask("POST", BULK + "/syncs", {"syncedInstanceUri": uri}).json()["uri"]
    assert client.ask("GET", BULK + sync).json()["status"] == "success"
    body = {"name": "x", "fields": FIELDS, "filter": f"'{FIELDS['Email']}' = '{address}'"}
    uri = client.ask("POST", BULK + "/contacts/exports", body).json()["uri"]
    sync = client.ask("POST", BULK + "/syncs", {"syncedInstanceUri": uri}).json()["uri"]
    assert client.ask("GET", f"{BULK}{sync}/data").json()["items"] == [{"Email": address, "Name": "S"}]
    answer = query(client, "SELECT Id FROM User LIMIT 1")
    assert answer.status == 200 and answer.json()["totalSize"] == 1, answer.body


def test_the_log_of_mutations_can_be_read_to_its_end_after_all_that(client):
    lines = [json.loads(line) for line in client.wire.call("GET", "/_sandbox/mutations").body.splitlines()]

    assert lines and all(
        {"time", "system", "object", "id", "kind", "changed", "request"} == set(line) for line in lines
    )
    assert {line["kind"] for line in lines} <= {"create", "update", "delete"}
