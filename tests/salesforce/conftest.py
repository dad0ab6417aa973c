"""An org of canned answers."""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from requests import PreparedRequest

from scc.config import SalesforceCredentials
from scc.salesforce.client import Salesforce
from scc.transport import Transport
from tests.canned import RequestsMock, http, sent  # noqa: F401 (a fixture)

URL, INSTANCE = "https://acme.example.com", "https://acme--eu7.example.com"
TOKEN, DATA = f"{URL}/services/oauth2/token", f"{INSTANCE}/services/data/v62.0"
CLIENT = SalesforceCredentials(URL, "consumer-key", "s3cret")


def page(records: list[dict[str, Any]], total: int | None = None, more: str = "") -> dict[str, Any]:
    """A page of a query's result. more: the number of the next."""
    following = {"nextRecordsUrl": f"/services/data/v62.0/query/0r8xx{more}-2000"} if more else {}
    rows = [{"attributes": {"type": "Campaign", "url": "/services/data/…"}, **record} for record in records]
    return {"totalSize": len(records) if total is None else total, "done": not more, "records": rows, **following}


@pytest.fixture
def org(http: RequestsMock) -> RequestsMock:  # noqa: F811
    """The org lets us in, and lives at an instance of its own."""
    http.post(TOKEN, json={"access_token": "00D!first", "instance_url": INSTANCE, "token_type": "Bearer"})
    return http


@pytest.fixture
def salesforce(settings: Callable[..., None]) -> Salesforce:
    settings("salesforce", "api_version", "62.0")
    return Salesforce(Transport(), CLIENT)


class Composite:
    """Answers composite calls: each query with the records whose key was asked for. fail: status and code of one part."""

    def __init__(self, http: RequestsMock, records: dict[str, dict[str, Any]]):  # noqa: F811
        self.fail: tuple[int, str] | None = None
        self._records = records
        self._http = http
        http.add_callback("POST", f"{DATA}/composite", self._answer, content_type="application/json")

    @property
    def calls(self) -> list[list[str]]:
        """The inner URLs, by call."""
        requests = sent(self._http, "POST", "/composite")
        return [[part["url"] for part in json.loads(request.body)["compositeRequest"]] for request in requests]

    @property
    def statements(self) -> list[str]:
        return [parse_qs(urlsplit(url).query)["q"][0] for call in self.calls for url in call]

    @property
    def asked(self) -> list[str]:
        """The values of all IN lists."""
        return [value for statement in self.statements for value in literals(statement)]

    def _answer(self, request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        parts = []
        for part in json.loads(request.body)["compositeRequest"]:
            statement = parse_qs(urlsplit(part["url"]).query)["q"][0]
            found = [self._records[value] for value in literals(statement) if value in self._records]
            parts.append({"httpStatusCode": 200, "body": page(found), "referenceId": part["referenceId"]})
        if self.fail:
            status, code = self.fail
            body = [{"errorCode": code, "message": "no such column: jane@example.com"}]
            parts[-1] |= {"httpStatusCode": status, "body": body}
        return 200, {}, json.dumps({"compositeResponse": parts})


def literals(statement: str) -> list[str]:
    """What the string literals of a statement mean."""
    escaped = re.findall(r"'((?:\\.|[^'\\])*)'", statement, re.DOTALL)
    return [re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), text) for text in escaped]
