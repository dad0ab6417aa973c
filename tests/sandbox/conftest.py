"""Clients of a few lines, so that the sandbox is tested over real HTTP and by nobody's client but these."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from scc.sandbox import Sandbox

NOW = "2026-11-22T06:15:00Z"


class EloquaCaller:
    """Bulk API of one user, with the shortest way from a definition to rows."""

    def __init__(self, sandbox: Sandbox, user: str = "API.User") -> None:
        self.sandbox, self.base = sandbox, sandbox.url + "/api/bulk/2.0"
        self.http = requests.Session()
        self.http.auth = (f"{sandbox.env['ELOQUA_SITE']}\\{user}", sandbox.env["ELOQUA_PASSWORD"])

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.http.get(self.base + path, params=query)

    def post(self, path: str, body: Any) -> requests.Response:
        return self.http.post(self.base + path, json=body)

    def delete(self, path: str) -> requests.Response:
        return self.http.delete(self.base + path)

    def path_of(self, name: str) -> str:
        return self.get("/customObjects", q=f"name={name.replace(' ', '*')}").json()["items"][0]["uri"]

    def statements(self, path: str) -> dict[str, str]:
        return {item["internalName"]: item["statement"] for item in self.get(path + "/fields").json()["items"]}

    def define_export(self, path: str, fields: dict[str, str], **properties: Any) -> str:
        answer = self.post(
            path + "/exports", {"name": "test", "fields": fields, "areSystemTimestampsInUTC": True, **properties}
        )
        assert answer.status_code == 201, answer.text
        return answer.json()["uri"]

    def define_import(self, path: str, fields: dict[str, str], identifier: str | None, **properties: Any) -> str:
        answer = self.post(
            path + "/imports",
            {
                "name": "test",
                "fields": fields,
                "identifierFieldName": identifier,
                "isSyncTriggeredOnImport": False,
                **properties,
            },
        )
        assert answer.status_code == 201, answer.text
        return answer.json()["uri"]

    def sync(self, uri: str) -> dict[str, Any]:
        """Sync until it is final; the sync as its last GET shows it."""
        sync = self.post("/syncs", {"syncedInstanceUri": uri}).json()
        for _ in range(5):
            sync = self.get(sync["uri"]).json()
            if sync["status"] in ("success", "warning", "error"):
                return sync
        raise AssertionError(f"sync never ends: {sync}")

    def export(self, path: str, fields: dict[str, str], **properties: Any) -> list[dict[str, str]]:
        sync = self.sync(self.define_export(path, fields, **properties))
        assert sync["status"] == "success"
        return self.get(sync["uri"] + "/data", limit=50_000).json().get("items", [])

    def import_rows(
        self, path: str, fields: dict[str, str], identifier: str | None, rows: list[dict[str, Any]], **properties: Any
    ) -> dict[str, Any]:
        """Define, stage, sync; the final sync with its logs as {code: count} and its rejects."""
        uri = self.define_import(path, fields, identifier, **properties)
        assert self.post(uri + "/data", rows).status_code == 204
        sync = self.sync(uri)
        sync["codes"] = {line["statusCode"]: line["count"] for line in self.get(sync["uri"] + "/logs").json()["items"]}
        sync["rejects"] = self.get(sync["uri"] + "/rejects").json()["items"]
        return sync


class RestCaller:
    """Eloqua's Application API of one user; answers are responses, paths begin after the version."""

    def __init__(self, sandbox: Sandbox, version: str = "2.0", user: str = "API.User") -> None:
        self.sandbox, self.base = sandbox, f"{sandbox.url}/API/REST/{version}"
        self.http = requests.Session()
        self.http.auth = (f"{sandbox.env['ELOQUA_SITE']}\\{user}", sandbox.env["ELOQUA_PASSWORD"])

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        return self.http.request(method, self.base + path, json=body, **more)

    def get(self, path: str, **query: Any) -> requests.Response:
        return self.call("GET", path, params=query)

    def found(self, path: str, search: str, **query: Any) -> list[str]:
        """The ids that a search finds, in the order of the answer."""
        answer = self.get(path, search=search, **query)
        assert answer.status_code == 200, answer.text
        return [element["id"] for element in answer.json()["elements"]]

    def create(self, path: str, body: Any) -> dict[str, Any]:
        answer = self.call("POST", path, body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def put(self, path: str, body: Any) -> dict[str, Any]:
        answer = self.call("PUT", path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()


class SalesforceCaller:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.http = sandbox, requests.Session()
        self.base = sandbox.url + "/services/data/v59.0"
        self.login()

    def login(self) -> None:
        env = self.sandbox.env
        token = requests.post(
            self.sandbox.url + "/services/oauth2/token",
            {"grant_type": "client_credentials"},
            auth=(env["SALESFORCE_CLIENT_ID"], env["SALESFORCE_CLIENT_SECRET"]),
        ).json()
        self.http.headers["Authorization"] = f"Bearer {token['access_token']}"

    def query(self, soql: str) -> requests.Response:
        return self.http.get(self.base + "/query", params={"q": soql})

    def records(self, soql: str) -> list[dict[str, Any]]:
        answer = self.query(soql)
        assert answer.status_code == 200, answer.text
        return [without_attributes(r) for r in answer.json()["records"]]

    def refusal(self, soql: str) -> tuple[int, str]:
        answer = self.query(soql)
        return answer.status_code, answer.json()[0]["errorCode"]


def without_attributes(record: Any) -> Any:
    if not isinstance(record, dict):
        return record
    return {name: without_attributes(value) for name, value in record.items() if name != "attributes"}


@pytest.fixture
def sandbox():
    """An own small company for one test: state may be changed."""
    with Sandbox(contacts=40, seed=1, now=NOW, sync_polls=1) as running:
        yield running


@pytest.fixture(scope="module")
def shared():
    """One company for the tests of a module that only read, or change what no other test looks at."""
    with Sandbox(contacts=200, seed=1, now=NOW, sync_polls=1) as running:
        yield running


@pytest.fixture
def eloqua(sandbox):
    return EloquaCaller(sandbox)


@pytest.fixture
def rest(sandbox):
    return RestCaller(sandbox)


@pytest.fixture
def salesforce(sandbox):
    return SalesforceCaller(sandbox)


@pytest.fixture
def shared_eloqua(shared):
    return EloquaCaller(shared)
