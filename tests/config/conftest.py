"""An environment that names two made-up systems."""

from tests.canned import credentials  # noqa: F401 (a fixture)
