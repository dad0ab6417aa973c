"""The real components that tests run against: Debian packages, which bin/test installs where it can.

    pushgateway = require("prometheus-pushgateway")        # a path; the test skips if there is none

With CI=true a missing component fails the test: a skipped test proves nothing.
"""

import os
import shutil

import pytest


def require(command: str, package: str | None = None) -> str:
    """The path of a command. package: the Debian package it comes in, where that has another name."""
    path = shutil.which(command)
    if path:
        return path
    sentence = f"needs {command}: install the Debian package {package or command}"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)
