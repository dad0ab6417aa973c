"""Records that wait and addresses that bounced, as the tests of the processes make them."""

from tests.jobs.bounces import company  # noqa: F401 (a fixture)
from tests.jobs.test_enrichment import add, campaign, configure  # noqa: F401 (fixtures)
