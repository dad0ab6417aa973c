"""The real components that tests run against: Debian packages, which bin/test installs where it can.

    pushgateway = require("prometheus-pushgateway")        # a path; the test skips if there is none

With CI=true a missing component fails the test: a skipped test proves nothing.
"""

import os
from collections.abc import Iterator

import pytest

from tests import stack


def require(command: str, package: str | None = None) -> str:
    """The path of a command. package: the Debian package it comes in, where that has another name."""
    try:
        return stack.program(command, package)
    except stack.Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def database() -> Iterator[stack.Daemon]:
    """PostgreSQL for a task history, one for all tests. Who stops or pauses it, starts it again."""
    require("postgres", "postgresql")
    with stack.postgresql() as running:
        yield running
