"""A transport that knows one host of each system, and canned answers."""

from collections.abc import Callable

import pytest

from scc.transport import ELOQUA, SALESFORCE, Transport
from tests.canned import Clock, clock_of, http  # noqa: F401 (fixtures)

ELOQUA_HOST, SALESFORCE_HOST = "https://eloqua.example.com", "https://salesforce.example.com"


@pytest.fixture
def transport(settings: object) -> Transport:
    """With the short pauses of tests/conftest.py."""
    transport = Transport()
    transport.add_base(ELOQUA, ELOQUA_HOST)
    transport.add_base(SALESFORCE, SALESFORCE_HOST)
    return transport


@pytest.fixture
def clock(clock_of: Callable[[str], Clock], settings: Callable[..., None]) -> Clock:  # noqa: F811
    """The transport's clock, with pauses of 1 s, doubling to 8 s, and 60 s for a call in all."""
    for name, value in {"first_pause": 1, "longest_pause": 8, "deadline": 60}.items():
        settings("transport", name, value)
    return clock_of("scc.transport")
