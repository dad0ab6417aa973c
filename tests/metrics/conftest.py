"""Records that wait, as the tests of Enrichment make them."""

from tests.jobs.test_enrichment import add, campaign, configure  # noqa: F401 (fixtures)
