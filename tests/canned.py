"""What the tests of the clients share: canned HTTP answers, and a clock that moves only when somebody sleeps.

A folder's conftest.py imports the fixtures it wants.
"""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from requests.exceptions import ConnectionError
from responses import RequestsMock

from scc import outputs


@pytest.fixture
def http() -> Iterator[RequestsMock]:
    """Canned answers. In the end: whatever was sent was expected, and had a time limit to connect and to read."""
    with RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock
        for call in mock.calls:
            assert not isinstance(call.response, ConnectionError), f"no answer to {call.request.url}"
            assert all(0 < limit <= 3600 for limit in call.request.req_kwargs["timeout"])


def sent(http: RequestsMock, method: str = "", path: str = "") -> list[Any]:
    """The requests so far, those with this method and with path in their URL."""
    requests = [call.request for call in http.calls]
    return [request for request in requests if method in ("", request.method) and path in str(request.url)]


def bodies(requests: list[Any]) -> list[Any]:
    """Their JSON bodies."""
    return [json.loads(request.body) for request in requests]


class Clock:
    """Stands in for the module `time`. drift: seconds that pass at each look; oversleep: what each sleep takes longer."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.drift = 0.0
        self.oversleep = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        self.now += self.drift
        return self.now

    def clock_gettime(self, clock: int) -> float:
        return self.monotonic()

    def time(self) -> float:
        return 1_800_000_000 + self.monotonic()

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds + self.oversleep


@pytest.fixture
def clock_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Clock]:
    """clock_of("scc.transport"): the clock that this module sees from now on."""

    def replace(module: str) -> Clock:
        clock = Clock()
        monkeypatch.setattr(f"{module}.time", clock)
        return clock

    return replace


CREDENTIALS = {
    "ELOQUA_LOGIN_URL": "https://login.example.com",
    "ELOQUA_SITE": "Acme",
    "ELOQUA_USER": "Batch",
    "ELOQUA_PASSWORD": "pa55-word",
    "SALESFORCE_URL": "https://acme.example.com",
    "SALESFORCE_CLIENT_ID": "key",
    "SALESFORCE_CLIENT_SECRET": "s3cret",
}


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment that names two made-up systems, and nothing else of ours."""
    for name in [name for name in os.environ if name.startswith(("ELOQUA_", "SALESFORCE_", "SCC_"))]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    outputs._root.cache_clear()
    yield monkeypatch
    outputs._root.cache_clear()
