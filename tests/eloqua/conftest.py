"""An Eloqua instance of canned answers, and the clients that talk to it."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from requests import PreparedRequest

from scc import outputs
from scc.config import EloquaCredentials
from scc.eloqua.bulk import Bulk
from scc.eloqua.client import Eloqua
from scc.transport import Transport
from tests.canned import Clock, RequestsMock, clock_of, credentials, http  # noqa: F401 (fixtures)

LOGIN, HOST = "https://login.example.com", "https://secure.p01.example.com"
BASE = f"{HOST}/API/Bulk/2.0"
BASIC = EloquaCredentials(LOGIN, "Acme", "Batch", "pa55-word")
OAUTH = EloquaCredentials(LOGIN, "Acme", "Batch", "pa55-word", "app", "app-s3cret")
CREATED = "2026-11-22T06:15:00.1234567Z"


def discovered(host: str = HOST) -> dict[str, Any]:
    """What GET /id answers."""
    return {"site": {"name": "Acme"}, "urls": {"base": host, "apis": {"rest": {"bulk": host + "/API/Bulk/{version}/"}}}}


def page(items: list[Any], more: bool = False, total: int | None = None) -> dict[str, Any]:
    """A page of a list."""
    return {"items": items, "totalResults": len(items) if total is None else total, "hasMore": more}


class Killed(BaseException):
    """The run ends here and now."""


class Instance:
    """Bulk API answers by method and path. Definitions and syncs are numbered from 1, and all goes well at once.

    answers(method, path, first, second, …): what comes instead, in this order, the last again and again. An answer is a
    body, a status, a pair of both, an error, or a function of the request that gives one of these.
    """

    def __init__(self, http: RequestsMock):  # noqa: F811
        self.rows: list[dict[str, Any]] = []
        self.syncs: list[tuple[str, str, list[Any]]] = []
        self.defined: list[str] = []
        self.deleted: list[str] = []
        self.kill_at: tuple[int, str] | None = None
        self._staged: dict[str, list[Any]] = {}
        self._canned: dict[tuple[str, str], list[Any]] = {}
        self._http = http
        for method in ("GET", "POST", "DELETE"):
            http.add_callback(
                method, re.compile(re.escape(BASE)), self._answer_or_kill, content_type="application/json"
            )

    def answers(self, method: str, path: str, *answers: Any) -> None:
        self._canned[method, path] = list(answers)

    def once(self, method: str, path: str, *answers: Any) -> None:
        """Answers that come first; then all goes well."""
        self._canned[method, path] = [*answers, self._well]

    def requests(self, method: str, path: str = "") -> list[PreparedRequest]:
        """The requests with this method so far; path: of these, without query."""
        found = [call.request for call in self._http.calls if str(call.request.url).startswith(BASE)]
        return [request for request in found if request.method == method and path in ("", _path(request))]

    def flow(self) -> list[str]:
        """Method and path of every request so far, discovery apart."""
        requests = [call.request for call in self._http.calls]
        return [f"{request.method} {_path(request)}" for request in requests if str(request.url).startswith(BASE)]

    def _answer_or_kill(self, request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        now = (len(self.flow()) + 1, "before"), (len(self.flow()) + 1, "after")
        if self.kill_at == now[0]:
            raise Killed
        answer = self._answer(request)
        if self.kill_at == now[1]:
            raise Killed
        return answer

    def _answer(self, request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        canned = self._canned.get((str(request.method), _path(request)), [self._well])
        answer = canned.pop(0) if len(canned) > 1 else canned[0]
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, int):
            answer = answer, None
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return status, {}, body if isinstance(body, str) else "" if body is None else json.dumps(body)

    def _well(self, request: PreparedRequest) -> Any:
        path = _path(request)
        if request.method == "GET":
            return self._read(path)
        if request.method == "DELETE":
            self.deleted.append(path)
            return 204
        body = json.loads(request.body)
        if path == "/syncs":
            definition = body["syncedInstanceUri"]
            self.syncs.append((f"/syncs/{len(self.syncs) + 1}", definition, self._staged.get(definition, [])))
            return 201, {"uri": self.syncs[-1][0], "status": "pending", "createdAt": CREATED}
        if path.endswith("/data"):
            self._staged.setdefault(path.removesuffix("/data"), []).extend(body)
            return 204
        self.defined.append(f"{path}/{len(self.defined) + 1}")
        return 201, {**body, "uri": self.defined[-1], "createdAt": CREATED}

    def _read(self, path: str) -> Any:
        if path == "/syncs":
            newest = reversed(self.syncs)
            return page([{"uri": u, "syncedInstanceUri": d, "createdAt": CREATED} for u, d, _ in newest])
        uri, _, part = path.removeprefix("/syncs/").partition("/")
        staged = {sync: rows for sync, _, rows in self.syncs}.get(f"/syncs/{uri}", [])
        return {
            "": {"status": "success"},
            "data": page(self.rows),
            "logs": page([line("ELQ-00130", count=len(staged)), line("ELQ-00012", count=len(staged))]),
            "rejects": page([]),
        }[part]


def line(code: str, severity: str = "information", count: int = 0, message: str = "") -> dict[str, Any]:
    """A line of a sync's log."""
    return {"statusCode": code, "severity": severity, "count": count, "message": message}


def _path(request: PreparedRequest) -> str:
    return str(request.url).removeprefix(BASE).partition("?")[0]


@pytest.fixture
def login(http: RequestsMock) -> RequestsMock:  # noqa: F811
    """The login host knows us and our instance."""
    http.get(f"{LOGIN}/id", json=discovered())
    return http


@pytest.fixture
def instance(login: RequestsMock) -> Instance:
    return Instance(login)


@pytest.fixture
def eloqua(settings: object) -> Eloqua:
    return Eloqua(Transport(), BASIC)


@pytest.fixture
def bulk(instance: Instance, eloqua: Eloqua) -> Bulk:
    return Bulk(eloqua)


@pytest.fixture
def clock(clock_of: Callable[[str], Clock]) -> Clock:  # noqa: F811
    """The clock by which syncs are waited for."""
    return clock_of("scc.eloqua.bulk")


@pytest.fixture
def folder(credentials: object, outputs_folder: Path) -> Path:  # noqa: F811
    """A step's folder on the outputs volume."""
    return outputs.root() / "enrichment"


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """That content reaches the disk is the subject of tests/outputs; here it would only take time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
