"""What the tests of processes share beyond tests/conftest.py."""

from tests.jobs.bounces import company  # noqa: F401 (a fixture)
