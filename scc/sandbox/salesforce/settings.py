"""Every limit and switch of the org, each settable for a test: sandbox.salesforce.limits.daily_requests = 5."""

from __future__ import annotations

from dataclasses import dataclass

from scc.sandbox.salesforce.ids import make_id

MB = 1024 * 1024
USERNAME = "integration@example.com"
USER_ID, SALES_DESK_ID = make_id("005", 1), make_id("005", 2)


@dataclass(frozen=True)
class AssignmentRule:
    """An active Lead assignment rule: whoever creates or updates a Lead over REST finds it owned by `owner`."""

    id: str
    name: str
    owner: str


ASSIGNMENT_RULE = AssignmentRule(make_id("01Q", 1), "Standard", SALES_DESK_ID)


@dataclass
class Limits:
    daily_requests: int = 100_000
    daily_batches: int = 15_000  # of Bulk, one per 10,000 ingested rows (salesforce.md 3.4)
    daily_query_jobs: int = 10_000
    uri_bytes: int = 16_384  # URI plus headers (salesforce.md 2.2)
    collection: int = 200  # records
    type_runs: int = 10  # of one type within a collection
    # Bulk API 2.0
    job_polls: int = 2  # the GET of a job that finds it done; 0: done at once
    job_seconds: int = 60  # of the clock, after which a job that nobody polls is done
    job_days: int = 7  # that a finished job and its results are kept
    open_hours: int = 24  # that a job may stay open
    jobs_listed: int = 1000
    upload_bytes: int = 100 * MB
    batch_rows: int = 10_000
    result_rows: int = 50_000  # of a page of query results without maxRecords: not verified (salesforce.md 10)
    hard_delete: bool = True  # the permission "Bulk API Hard Delete"
    empty_result_header: bool = True  # a query without rows answers the header row: not verified
    # Logins
    soap_login: bool = True  # retired for all with Summer '27 (salesforce.md 1.1)
    password_grant: bool = True  # blocked by default in newer orgs
    token_seconds: int = 7200  # of idleness
    token_calls: int | None = None  # a token dies after so many
    # Rules
    edit_converted_leads: bool = False  # the permission "View and Edit Converted Leads"
    charset: bool = True  # in Content-Type
