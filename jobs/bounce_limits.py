"""How much one run of BounceCleanup may change or reject: a broken mail gateway must not suppress the whole list."""

import luigi

from jobs import output_cleanup
from jobs.bounce_file import Rules
from scc.errors import ConfigError, SafetyStop
from scc.receipts import Counts


class bounce_cleanup(luigi.Config):
    """[bounce_cleanup] in luigi.cfg: which file holds the rules, and how much one run may change or reject."""

    rules = luigi.OptionalParameter(default="", description="the TOML file; empty: jobs/bounce_cleanup.toml")
    max_share = luigi.FloatParameter(default=0.02, description="of all contacts; above it the run stops")
    max_count = luigi.IntParameter(default=20_000, description="addresses to mark; above it the run stops")
    max_records = luigi.IntParameter(default=50_000, description="Leads and Contacts to mark; above it the run stops")
    max_rejected_share = luigi.FloatParameter(default=0.05, description="of a system's rows, see max_rejected_count")
    max_rejected_count = luigi.IntParameter(default=100, description="above both, the run fails")
    activity_rows = luigi.IntParameter(
        default=5_000_000, description="rows at which Eloqua cuts an export of activities"
    )


def check_contacts(count: int, contacts: int) -> None:
    """Raises SafetyStop when so many of all contacts are too many to mark."""
    limits = bounce_cleanup()
    if count > limits.max_count or count > limits.max_share * contacts:
        limit = f"{limits.max_share:.1%} or {limits.max_count:,}"
        raise SafetyStop("bounce cleanup", "contacts would be marked as bounced", count, contacts, limit)


def check_records(count: int, found: int) -> None:
    """Raises SafetyStop when so many of the Leads and Contacts found are too many to mark."""
    limit = bounce_cleanup().max_records
    if count > limit:
        what = "Leads and Contacts would be marked"
        raise SafetyStop("bounce cleanup in Salesforce", what, count, found, f"{limit:,}")


def check_memory(process: str, rules: Rules) -> None:
    """Raises ConfigError when OutputCleanup removes what says that a bounceback is done while the rules still look at it."""
    kept = output_cleanup.rules(now=0).kept_days(process)
    if kept <= rules.span:
        raise ConfigError(
            f"[output_cleanup] keeps slots of {process} for {kept:,} days, and with them which bouncebacks are done; "
            f"[reading], [hard] and [soft] of the rules look back {rules.span:,} days: keep them for longer"
        )


def rejected_share(counts: Counts) -> float:
    """The share of rejected rows that a run may end well with: a few always may."""
    limits = bounce_cleanup()
    return 1.0 if counts.rejected <= limits.max_rejected_count else limits.max_rejected_share
