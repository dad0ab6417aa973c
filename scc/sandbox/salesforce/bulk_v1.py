"""Bulk API v1 with JSON: jobs, explicit batches, results in request order (salesforce.md 3.5, 5.3).

Only what clients of the older kind still call; XML and CSV are not imitated. A batch is done at the GET that
limits.job_polls says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scc.sandbox.http import Failed, Request, Response, Router, json_response, load_json
from scc.sandbox.salesforce.ids import make_id, normal
from scc.sandbox.salesforce.query import record
from scc.sandbox.salesforce.schema import SField, SObject
from scc.sandbox.salesforce.settings import USER_ID
from scc.sandbox.salesforce.soql import SoqlError
from scc.sandbox.salesforce.write import Options

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce

QUERIES = ("query", "queryAll")
OPERATIONS = (*QUERIES, "insert", "update", "upsert", "delete", "hardDelete")
MOST_ROWS = 10_000  # a batch
BASE = r"/services/async/(?P<version>\d+\.\d)/job"


@dataclass
class Batch:
    id: str
    sent: Any  # records, or the text of a query
    state: str = "Queued"
    message: str | None = None
    polls: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Job:
    id: str
    version: str
    operation: str
    known: SObject
    key: SField | None
    created: str
    state: str = "Open"
    batches: dict[str, Batch] = field(default_factory=dict)


class BulkV1:
    def __init__(self, salesforce: Salesforce) -> None:
        self._salesforce = salesforce
        self._jobs: dict[str, Job] = {}

    def routes(self, router: Router) -> None:
        router.add("POST", BASE, self.create)
        router.add("GET", BASE + "/{job_id}", self.get)
        router.add("POST", BASE + "/{job_id}", self.set_state)
        router.add("POST", BASE + "/{job_id}/batch", self.add_batch)
        router.add("GET", BASE + "/{job_id}/batch/{batch_id}", self.get_batch)
        router.add("GET", BASE + "/{job_id}/batch/{batch_id}/request", self.get_request)
        router.add("GET", BASE + "/{job_id}/batch/{batch_id}/result", self.get_result)
        router.add("GET", BASE + "/{job_id}/batch/{batch_id}/result/{result_id}", self.get_query_result)

    # -- jobs -------------------------------------------------------------------------------------------------------

    def create(self, request: Request, version: str) -> Response:
        body = parsed(request)
        if not isinstance(body, dict) or body.get("operation") not in OPERATIONS:
            raise refused("InvalidJob", "Unknown operation")
        if body.get("contentType") != "JSON":
            raise refused("InvalidJob", "The sandbox takes contentType JSON only")
        known = self._salesforce.schema.find(str(body.get("object")))
        if known is None:
            raise refused("InvalidJob", f"Unable to find object: {str(body.get('object'))[:80]}")
        key = known.field(str(body.get("externalIdFieldName"))) if body["operation"] == "upsert" else None
        if body["operation"] == "upsert" and (key is None or not (key.external_id or key.type == "id")):
            raise refused("InvalidJob", "External ID was blank or unknown")
        number = self._salesforce.store.next_number("salesforce job", 1000)
        created = self._salesforce.clock.now.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
        job = Job(make_id("750", number), version, body["operation"], known, key, created)
        self._jobs[job.id] = job
        return json_response(self._shown(job), 201)

    def get(self, request: Request, version: str, job_id: str) -> Response:
        return json_response(self._shown(self._find(job_id)))

    def set_state(self, request: Request, version: str, job_id: str) -> Response:
        job, body = self._find(job_id), parsed(request)
        state = body.get("state") if isinstance(body, dict) else None
        if state not in ("Closed", "Aborted") or job.state != "Open":
            raise refused("InvalidJobState", f"Job is {job.state}")
        job.state = state
        return json_response(self._shown(job))

    def _find(self, job_id: str) -> Job:
        job = self._jobs.get(normal(job_id) or "")
        if job is None:
            raise refused("InvalidJob", f"Unable to find job: {job_id[:80]}")
        return job

    def _shown(self, job: Job) -> dict[str, Any]:
        done = sum(batch.state == "Completed" for batch in job.batches.values())
        return {
            "id": job.id,
            "operation": job.operation,
            "object": job.known.name,
            "createdById": USER_ID,
            "createdDate": job.created,
            "systemModstamp": job.created,
            "state": job.state,
            "externalIdFieldName": job.key.name if job.key else None,
            "concurrencyMode": "Parallel",
            "contentType": "JSON",
            "apiVersion": float(job.version),
            "numberBatchesTotal": len(job.batches),
            "numberBatchesCompleted": done,
            "numberBatchesQueued": len(job.batches) - done,
        }

    # -- batches ----------------------------------------------------------------------------------------------------

    def add_batch(self, request: Request, version: str, job_id: str) -> Response:
        job = self._find(job_id)
        if job.state != "Open":
            raise refused("InvalidJobState", f"Job is {job.state}")
        sent: Any = request.body.decode("utf-8", "replace")
        if job.operation not in QUERIES:
            sent = parsed(request)
            if not isinstance(sent, list) or not all(isinstance(row, dict) for row in sent):
                raise refused("InvalidBatch", "A batch must be an array of records")
            if len(sent) > MOST_ROWS:
                raise refused("ExceededQuota", f"A batch holds at most {MOST_ROWS} records")
        batch = Batch(make_id("751", self._salesforce.store.next_number("salesforce batch", 1000)), sent)
        job.batches[batch.id] = batch
        return json_response(self._shown_batch(job, batch), 201)

    def get_batch(self, request: Request, version: str, job_id: str, batch_id: str) -> Response:
        job, batch = self._find_batch(job_id, batch_id)
        if batch.state in ("Queued", "InProgress"):
            batch.polls += 1
            batch.state = "InProgress"
            if batch.polls >= self._salesforce.limits.job_polls:
                self._run(job, batch)
        return json_response(self._shown_batch(job, batch))

    def get_request(self, request: Request, version: str, job_id: str, batch_id: str) -> Response:
        return json_response(self._find_batch(job_id, batch_id)[1].sent)

    def get_result(self, request: Request, version: str, job_id: str, batch_id: str) -> Response:
        """Of a query the ids of its results, else a verdict for each row."""
        job, batch = self._done(job_id, batch_id)
        return json_response([batch.id.replace("751", "752", 1)] if job.operation in QUERIES else batch.results)

    def get_query_result(self, request: Request, version: str, job_id: str, batch_id: str, result_id: str) -> Response:
        return json_response(self._done(job_id, batch_id)[1].results)

    def _find_batch(self, job_id: str, batch_id: str) -> tuple[Job, Batch]:
        job = self._find(job_id)
        batch = job.batches.get(normal(batch_id) or "")
        if batch is None:
            raise refused("InvalidBatch", f"Unable to find batch: {batch_id[:80]}")
        return job, batch

    def _done(self, job_id: str, batch_id: str) -> tuple[Job, Batch]:
        job, batch = self._find_batch(job_id, batch_id)
        if batch.state != "Completed":
            raise refused("InvalidBatch", "Batch not completed")
        return job, batch

    def _shown_batch(self, job: Job, batch: Batch) -> dict[str, Any]:
        return {
            "id": batch.id,
            "jobId": job.id,
            "state": batch.state,
            "stateMessage": batch.message,
            "createdDate": job.created,
            "systemModstamp": job.created,
            "numberRecordsProcessed": len(batch.results),
            "numberRecordsFailed": sum(not row.get("success", True) for row in batch.results),
        }

    def _run(self, job: Job, batch: Batch) -> None:
        batch.state = "Completed"
        if job.operation in QUERIES:
            try:
                compiled = self._salesforce.compiler(job.operation == "queryAll").compile(batch.sent)
            except SoqlError as refusal:
                batch.state, batch.message = "Failed", f"InvalidBatch : {refusal.code}: {refusal.message}"
                return
            if compiled.count:
                batch.state, batch.message = "Failed", "InvalidBatch : FeatureNotEnabled: aggregate queries"
                return
            rows = self._salesforce.store.rows(compiled.sql, compiled.values)
            batch.results = [record(compiled, row, job.version) for row in rows]
            return
        writer, known, options = self._salesforce.writer, job.known, Options(assign=False)
        if job.operation == "insert":
            verdicts = writer.insert(known, batch.sent, options)
        elif job.operation == "update":
            verdicts = writer.update(known, [(row.get("Id") or row.get("id"), row) for row in batch.sent], options)
        elif job.key is not None:
            verdicts = writer.upsert(known, job.key, [(row.get(job.key.name), row) for row in batch.sent], options)
        else:
            ids = [row.get("Id") or row.get("id") for row in batch.sent]
            verdicts = writer.delete(known, ids, hard=job.operation == "hardDelete")
        batch.results = [
            {
                "success": v.success,
                "created": v.created,
                "id": v.id if v.success else None,
                "errors": [{"statusCode": e.code, "message": str(e), "fields": e.fields} for e in v.errors],
            }
            for v in verdicts
        ]


def parsed(request: Request) -> Any:
    try:
        return load_json(request.body)
    except ValueError:
        raise refused("InvalidBatch", "The request body is not valid JSON") from None


def refused(code: str, message: str) -> Failed:
    """Errors of this API are an object, not an array."""
    return Failed(json_response({"exceptionCode": code, "exceptionMessage": message}, 400))
