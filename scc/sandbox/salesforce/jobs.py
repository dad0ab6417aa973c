"""Bulk API 2.0: jobs, their states and their ends (salesforce.md 3.1, 3.2). What a job does is in ingest.py and
bulk_query.py.

A job ends at the GET that limits.job_polls says, or limits.job_seconds of the clock after it was started. An ingest job
writes its rows in equal parts, poll by poll, so that one that is aborted in between has written some of them.
"""

from __future__ import annotations

import gzip
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from scc.sandbox.http import Request, Response, Router, json_response
from scc.sandbox.salesforce.answers import error, json_document
from scc.sandbox.salesforce.bulk_query import QueryJob
from scc.sandbox.salesforce.ids import make_id, normal
from scc.sandbox.salesforce.ingest import OPERATIONS, IngestJob
from scc.sandbox.salesforce.job import DELIMITERS, LINE_ENDINGS, Job
from scc.sandbox.salesforce.settings import USER_ID
from scc.sandbox.salesforce.soql import SoqlError

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce

FIRST_JOB_NUMBER = 1000
RUNNING = ("UploadComplete", "InProgress")
PAGES_LISTED = 5


class Jobs:
    def __init__(self, salesforce: Salesforce) -> None:
        self._salesforce = salesforce
        self._jobs: dict[str, Job] = {}

    def routes(self, router: Router) -> None:
        for kind in ("ingest", "query"):
            router.add("GET", f"/jobs/{kind}", self._bound(self.list, kind))
            router.add("GET", f"/jobs/{kind}/{{job_id}}", self._bound(self.get, kind))
            router.add("PATCH", f"/jobs/{kind}/{{job_id}}", self._bound(self.patch, kind))
            router.add("DELETE", f"/jobs/{kind}/{{job_id}}", self._bound(self.delete, kind))
        router.add("POST", "/jobs/ingest", self.create_ingest)
        router.add("POST", "/jobs/query", self.create_query)
        router.add("PUT", "/jobs/ingest/{job_id}/batches", self.upload)
        for result in ("successfulResults", "failedResults", "unprocessedRecords"):
            router.add("GET", f"/jobs/ingest/{{job_id}}/{result}", self._bound(self.ingest_results, result))
        router.add("GET", "/jobs/query/{job_id}/results", self.query_results)
        router.add("GET", "/jobs/query/{job_id}/resultPages", self.result_pages)

    @staticmethod
    def _bound(handler: Any, word: str) -> Any:
        return lambda request, version, **arguments: handler(request, version, word, **arguments)

    def shown(self) -> list[dict[str, Any]]:
        return [job.shown(full=True) for job in self._jobs.values()]

    # -- life -------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """End the jobs whose time has come, and forget those past their retention."""
        limits, now = self._salesforce.limits, self._salesforce.clock.now
        for job in list(self._jobs.values()):
            due = (job.started or now) + timedelta(seconds=limits.job_seconds)
            if job.state in RUNNING and job.fate.outcome != "stuck" and now >= due:
                job.finish()
            if job.state == "Open" and now >= job.created + timedelta(hours=limits.open_hours):
                job.abort()
            if job.ended is not None and now >= job.ended + timedelta(days=limits.job_days):
                job.forget()
                del self._jobs[job.id]

    def _find(self, kind: str, job_id: str) -> Job:
        job = self._jobs.get(normal(job_id) or "")
        if job is None or job.kind != kind:
            raise error("NOT_FOUND", "The requested resource does not exist", 404)
        return job

    def _ingest(self, job_id: str) -> IngestJob:
        job = self._find("ingest", job_id)
        assert isinstance(job, IngestJob)
        return job

    def _query(self, job_id: str) -> QueryJob:
        job = self._find("query", job_id)
        assert isinstance(job, QueryJob)
        return job

    def batches_today(self) -> int:
        """Batches of 10,000 rows that were ingested in the last 24 hours."""
        rows = self._salesforce.limits.batch_rows
        return sum(-(-job.total // rows) for job in self._recent() if isinstance(job, IngestJob))

    def queries_today(self) -> int:
        return sum(isinstance(job, QueryJob) for job in self._recent())

    def _recent(self) -> list[Job]:
        since = self._salesforce.clock.now - timedelta(days=1)
        return [job for job in self._jobs.values() if job.created > since]

    # -- all jobs ---------------------------------------------------------------------------------------------------

    def list(self, request: Request, version: str, kind: str) -> Response:
        """Up to 1,000 jobs a page, the newest last."""
        most = self._salesforce.limits.jobs_listed
        sent = request.query.get("queryLocator", "0")
        if not sent.isdecimal() or len(sent) > 9:
            raise error("INVALID_QUERY_LOCATOR", "invalid query locator")
        found, first = [job for job in self._jobs.values() if job.kind == kind], int(sent)
        more = len(found) > first + most
        after = f"/services/data/v{version}/jobs/{kind}?queryLocator={first + most}" if more else None
        records = [job.shown() for job in found[first : first + most]]
        return json_response({"done": not more, "records": records, "nextRecordsUrl": after})

    def get(self, request: Request, version: str, kind: str, job_id: str) -> Response:
        job = self._find(kind, job_id)
        job.poll()
        return json_response(job.shown(full=True))

    def patch(self, request: Request, version: str, kind: str, job_id: str) -> Response:
        job, wanted = self._find(kind, job_id), json_document(request).get("state")
        if wanted == "UploadComplete" and isinstance(job, IngestJob):
            if job.state != "Open":
                raise error("INVALIDJOBSTATE", f"Job is in state {job.state}; only an open job can be closed")
            if job.uploads > 1:
                raise error("INVALIDJOB", "InvalidJob : Data was uploaded more than once; only one upload is allowed")
            job.cause = request.cause
            job.start()
        elif wanted == "Aborted":
            if job.state not in ("Open", *RUNNING):
                raise error("INVALIDJOBSTATE", f"Job is in state {job.state} and cannot be aborted")
            job.abort()
        else:
            raise error("INVALIDJOBSTATE", f"A job's state cannot be set to {str(wanted)[:50]}")
        shown = job.shown()
        if self._salesforce.limits.job_polls == 0 and job.state in RUNNING:
            job.poll()
        return json_response(shown)

    def delete(self, request: Request, version: str, kind: str, job_id: str) -> Response:
        job = self._find(kind, job_id)
        if job.state in ("Open", "InProgress"):
            raise error("INVALIDJOBSTATE", f"Job is in state {job.state}; abort it before it is deleted")
        job.forget()
        del self._jobs[job.id]
        return Response(204, b"", None)

    def _created(self, job: Job, request: Request) -> Response:
        job.fate = request.fate
        self._jobs[job.id] = job
        return json_response(job.shown())

    def _properties(self, body: dict[str, Any], version: str) -> dict[str, Any]:
        """What every job has. Raises the 400."""
        delimiter, ending = body.get("columnDelimiter") or "COMMA", body.get("lineEnding") or "LF"
        if not isinstance(delimiter, str) or delimiter not in DELIMITERS:
            raise error("INVALIDJOB", f"InvalidJob : unknown columnDelimiter {str(delimiter)[:50]}")
        if not isinstance(ending, str) or ending not in LINE_ENDINGS:
            raise error("INVALIDJOB", f"InvalidJob : unknown lineEnding {str(ending)[:50]}")
        if body.get("contentType") not in (None, "CSV"):
            raise error("INVALIDJOB", f"InvalidJob : unknown contentType {str(body['contentType'])[:50]}")
        number = self._salesforce.store.next_number("salesforce job", FIRST_JOB_NUMBER)
        return {
            "id": make_id("750", number),
            "version": version,
            "operation": str(body.get("operation")),
            "delimiter": delimiter,
            "line_ending": ending,
            "created": self._salesforce.clock.now,
            "created_by": USER_ID,
        }

    # -- ingest -----------------------------------------------------------------------------------------------------

    def create_ingest(self, request: Request, version: str) -> Response:
        body = json_document(request)
        known = self._salesforce.schema.find(str(body.get("object")))
        operation = body.get("operation")
        if known is None:
            raise error("INVALIDENTITY", f"InvalidEntity : Unable to find object: {str(body.get('object'))[:80]}")
        if operation not in OPERATIONS:
            raise error("INVALIDJOB", f"InvalidJob : unknown operation {str(operation)[:50]}")
        if operation == "hardDelete" and not self._salesforce.limits.hard_delete:
            raise error("FEATURENOTENABLED", "hardDelete operation requires special user profile permission")
        key = None
        if operation == "upsert":
            key = known.field(str(body.get("externalIdFieldName") or ""))
            if key is None or not (key.external_id or key.type == "id") or self._salesforce.is_hidden(known, key):
                raise error("INVALIDJOB", f"InvalidJob : External ID must be specified for upsert of {known.name}")
        rule = body.get("assignmentRuleId")
        if rule and (
            self._salesforce.assignment_rule is None or normal(str(rule)) != self._salesforce.assignment_rule.id
        ):
            raise error("INVALIDJOB", f"InvalidJob : unknown assignmentRuleId {str(rule)[:50]}")
        if self.batches_today() >= self._salesforce.limits.daily_batches:
            raise error("EXCEEDEDQUOTA", "ExceededQuota : too many batches in 24 hours")
        job = IngestJob(self._salesforce, known, key, bool(rule), **self._properties(body, version))
        return self._created(job, request)

    def upload(self, request: Request, version: str, job_id: str) -> Response:
        """201 without a body. A second upload is taken too, but then the job cannot be closed (salesforce.md 3.1)."""
        job = self._ingest(job_id)
        kind = request.headers.get("Content-Type", "text/csv").partition(";")[0].strip().lower()
        if kind != "text/csv":
            raise error("UNSUPPORTED_MEDIA_TYPE", "Only text/csv is supported", 415)
        if job.state != "Open":
            raise error("INVALIDJOBSTATE", f"Job is in state {job.state}; only an open job takes data")
        if len(request.body) > self._salesforce.limits.upload_bytes:
            raise error("INVALIDJOB", "InvalidJob : the uploaded data is too large")
        job.uploads += 1
        job.content = request.body
        return Response(201, b"", None)

    def ingest_results(self, request: Request, version: str, which: str, job_id: str) -> Response:
        job = self._ingest(job_id)
        if job.ended is None:
            raise error("INVALIDJOBSTATE", f"Job is in state {job.state} and has no results yet")
        return csv_response(job.results(which), request)

    # -- query ------------------------------------------------------------------------------------------------------

    def create_query(self, request: Request, version: str) -> Response:
        body = json_document(request)
        operation, text = body.get("operation"), body.get("query")
        if operation not in ("query", "queryAll"):
            raise error("INVALIDJOB", f"InvalidJob : unknown operation {str(operation)[:50]}")
        if not isinstance(text, str):
            raise error("INVALIDJOB", "InvalidJob : query is missing")
        if self.queries_today() >= self._salesforce.limits.daily_query_jobs:
            raise error("EXCEEDEDQUOTA", "ExceededQuota : too many query jobs in 24 hours")
        job = QueryJob(self._salesforce, text, **self._properties(body, version))
        try:
            job.compile()
        except SoqlError as refusal:
            raise error(refusal.code, refusal.message) from None
        job.start()
        answer = self._created(job, request)
        if self._salesforce.limits.job_polls == 0:
            job.poll()
        return answer

    def _page(self, request: Request, version: str, job_id: str) -> tuple[QueryJob, int, int]:
        """The job, and the first row and the number of rows that are asked for."""
        job = self._query(job_id)
        if version != job.version:
            raise error("CONFLICT", f"The job was created with API version {job.version}", 409)
        if job.state != "JobComplete":
            raise error("INVALIDJOBSTATE", f"Job is in state {job.state} and has no results")
        rows = request.query.get("maxRecords", str(self._salesforce.limits.result_rows))
        if not rows.isdecimal() or len(rows) > 9 or int(rows) == 0:
            raise error("INVALID_PARAMETER", "maxRecords must be a positive number")
        first = job.offset(request.query.get("locator"))
        if first is None:
            raise error("INVALID_QUERY_LOCATOR", "invalid query locator")
        return job, first, int(rows)

    def query_results(self, request: Request, version: str, job_id: str) -> Response:
        job, first, rows = self._page(request, version, job_id)
        response = csv_response(job.page(first, rows), request)
        response.headers["Sforce-NumberOfRecords"] = str(max(0, min(rows, job.total - first)))
        response.headers["Sforce-Locator"] = job.locator(first + rows) or "null"
        return response

    def result_pages(self, request: Request, version: str, job_id: str) -> Response:
        """Up to five result URLs, which may be read in parallel; since version 58."""
        if float(version) < 58:
            raise error("NOT_FOUND", "The requested resource does not exist", 404)
        job, first, rows = self._page(request, version, job_id)
        base = f"/services/data/v{version}/jobs/query/{job.id}"
        starts = [at for at in range(first, first + PAGES_LISTED * rows, rows) if at < job.total or at == 0]
        after = job.locator(first + PAGES_LISTED * rows)
        links = [f"{base}/results?maxRecords={rows}" + (f"&locator={job.locator(at)}" if at else "") for at in starts]
        return json_response(
            {
                "resultPages": [{"resultUrl": link} for link in links],
                "nextRecordUrl": f"{base}/resultPages?maxRecords={rows}&locator={after}" if after else None,
                "done": after is None,
            }
        )


def csv_response(body: bytes, request: Request) -> Response:
    """Result bodies are gzipped for whoever takes that (salesforce.md 3.4)."""
    response = Response(200, body, "text/csv; charset=UTF-8")
    if "gzip" in request.headers.get("Accept-Encoding", "").lower():
        response.body, response.headers["Content-Encoding"] = gzip.compress(body, 1, mtime=0), "gzip"
    return response
