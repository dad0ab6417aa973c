"""Updates by ingest jobs of the Bulk API 2.0, driven step by step, so that a killed run goes on with the job it made.

simple-salesforce aborts a running job when one poll fails (salesforce.md 5.5); here a failed poll only ends the run, and the
next one polls on. Nothing is written before a job is closed, so that until then a new one may take its place.
"""

import csv
import io
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scc.config import salesforce as settings
from scc.errors import Refused, Unavailable
from scc.outputs import JsonTarget, names, remove
from scc.salesforce.client import Salesforce, Verdict, error_code
from scc.transport import SALESFORCE, Response

log = logging.getLogger(__name__)

JOBS = "/services/data/{version}/jobs/ingest/{id}"
CALLS_OF_A_JOB = 8  # create, fill, close, some polls, failed rows
FINAL = {"JobComplete", "Failed", "Aborted"}
TRIES = 3
Progress = Callable[[str], None]


def pays(rows: int) -> bool:
    """Whether a job needs fewer calls for so many records than collections do."""
    return -(-rows // settings().records_per_call) > CALLS_OF_A_JOB


def update(
    salesforce: Salesforce,
    name: str,
    rows: Sequence[Mapping[str, str]],
    state: JsonTarget,
    pointer: JsonTarget,
    progress: Progress,
) -> list[Verdict]:
    """Update records of one object, each with its `Id`, by one job; the verdict on each, in no order.

    state: where this job is remembered; one that is finished is not made again. pointer: tells runs of other slots of it,
    see settle.
    An empty value leaves a field alone. Raises Unavailable when the job is not done in time, Refused when it failed.
    """
    if not (state.exists() and "failed" in state.read()):
        if not _is_closed(salesforce, state):
            _close(salesforce, name, rows, state, pointer)
        _finish(salesforce, state, len(rows), progress)
    failed = state.read()["failed"]
    remove(pointer.path)
    return [Verdict(row["Id"], failed.get(row["Id"], "")) for row in rows]


def settle(salesforce: Salesforce, unfinished: Path, progress: Progress) -> None:
    """Wait for the jobs that earlier runs, of whatever slot, closed and left behind; what they wrote is read thereafter."""
    for file in sorted(name for name in names(unfinished) if name.endswith(".json")):
        pointer = JsonTarget(unfinished / file)
        job = pointer.read()["job"]
        log.info("looking at the job that an earlier run left: %s", file)
        if _state(salesforce, job) == "Open":
            _abort(salesforce, job)
        else:
            _wait(salesforce, job, progress)
        remove(pointer.path)


def _is_closed(salesforce: Salesforce, state: JsonTarget) -> bool:
    """Whether an earlier run closed this job, also when it never heard so."""
    if not state.exists() or not state.read().get("filled"):
        return False
    if not state.read().get("closed"):
        if _state(salesforce, state.read()["job"]) in ("Open", "Aborted", "gone"):
            return False
        state.write({**state.read(), "closed": True})
    return True


def _close(
    salesforce: Salesforce, name: str, rows: Sequence[Mapping[str, str]], state: JsonTarget, pointer: JsonTarget
) -> None:
    """Make a job, fill it, and close it, which sets it to work."""
    body = _csv(rows)
    for left in reversed(range(TRIES)):
        if state.exists():
            _abort(salesforce, state.read()["job"])
        job = _create(salesforce, name)
        state.write({"job": job})
        try:
            salesforce.call("PUT", f"jobs/ingest/{job}/batches", data=body, headers={"Content-Type": "text/csv"})
        except Unavailable:  # filled twice, it could not be closed (3.1)
            if not left:
                raise
            continue
        state.write({"job": job, "filled": True})
        pointer.write({"job": job})
        _start(salesforce, job)
        state.write({"job": job, "filled": True, "closed": True})
        return


def _create(salesforce: Salesforce, name: str) -> str:
    """A new job. One that was made twice because an answer was lost stays empty, and goes by itself in a day (3.2)."""
    document = {
        "object": name,
        "operation": "update",
        "contentType": "CSV",
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
    }
    answer = _object(salesforce.call("POST", "jobs/ingest", json=document, idempotent=True))
    job = answer.get("id")
    if not isinstance(job, str) or not job.isalnum():
        raise Refused(SALESFORCE, "POST", "/services/data/{version}/jobs/ingest", 200, problem="the answer holds no id")
    return job


def _start(salesforce: Salesforce, job: str) -> None:
    for left in reversed(range(TRIES)):
        try:
            salesforce.call("PATCH", f"jobs/ingest/{job}", json={"state": "UploadComplete"})
            return
        except Unavailable:  # a lost answer: has it begun?
            if _state(salesforce, job) != "Open":
                return
            if not left:
                raise


def _abort(salesforce: Salesforce, job: str) -> None:
    """Give up a job that was not closed."""
    try:
        salesforce.call("PATCH", f"jobs/ingest/{job}", json={"state": "Aborted"}, idempotent=True)
    except Refused as error:  # it was aborted before, or has gone by itself
        log.info("a job that was never started could not be aborted: %s", error)


def _finish(salesforce: Salesforce, state: JsonTarget, rows: int, progress: Progress) -> None:
    job = state.read()["job"]
    answer = _wait(salesforce, job, progress)
    if answer is None or answer.get("state") != "JobComplete":
        remove(state.path)  # the next run looks which records still need it
        problem = "the job vanished" if answer is None else f"the job ended as {answer.get('state')}"
        raise Refused(SALESFORCE, "GET", JOBS, 200, error_code(str((answer or {}).get("errorMessage"))), problem)
    processed, failed = int(answer["numberRecordsProcessed"]), int(answer["numberRecordsFailed"])
    codes = _failed_rows(salesforce, job, failed) if failed else {}
    if processed != rows:
        codes |= dict.fromkeys(_unprocessed(salesforce, job, rows - processed), "UNPROCESSED")
    state.write({**state.read(), "failed": codes})


def _wait(salesforce: Salesforce, job: str, progress: Progress) -> dict[str, Any] | None:
    """The job when it is final; None when Salesforce no longer knows it."""
    limits = settings()
    began, pause = time.monotonic(), limits.first_poll
    while True:
        time.sleep(pause)
        answer = _get(salesforce, job)
        if answer is None or answer.get("state") in FINAL:
            return answer
        progress(f"{answer.get('state')}, {answer.get('numberRecordsProcessed', 0)} records")
        if time.monotonic() - began > limits.job_deadline:
            problem = f"the job is still {answer.get('state')} after {limits.job_deadline:,.0f} s"
            raise Unavailable(SALESFORCE, "GET", JOBS, None, problem=problem)
        pause = min(pause * 2, limits.longest_poll)


def _get(salesforce: Salesforce, job: str) -> dict[str, Any] | None:
    try:
        return _object(salesforce.call("GET", f"jobs/ingest/{job}"))
    except Refused as error:
        if error.status != 404:
            raise
        return None


def _state(salesforce: Salesforce, job: str) -> str:
    answer = _get(salesforce, job)
    return "gone" if answer is None else str(answer.get("state"))


def _failed_rows(salesforce: Salesforce, job: str, expected: int) -> dict[str, str]:
    """Record id -> error code of the rows that were refused."""
    return {row["Id"]: error_code(row["sf__Error"]) for row in _results(salesforce, job, "failedResults", expected)}


def _unprocessed(salesforce: Salesforce, job: str, expected: int) -> Iterator[str]:
    return (row["Id"] for row in _results(salesforce, job, "unprocessedrecords", expected))


def _results(salesforce: Salesforce, job: str, which: str, expected: int) -> list[dict[str, str]]:
    """The rows of a result file. It is asked for again while rows are missing: nothing marks the end of a CSV."""
    for _ in range(TRIES):
        text = salesforce.call("GET", f"jobs/ingest/{job}/{which}").content.decode()
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        if len(rows) == expected and all(row.get("Id") for row in rows):
            return rows
    problem = f"{len(rows):,} rows came instead of {expected:,}"
    raise Unavailable(SALESFORCE, "GET", f"{JOBS}/{{results}}", 200, problem=problem)


def _csv(rows: Sequence[Mapping[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _object(response: Response) -> dict[str, Any]:
    answer = response.json()
    if not isinstance(answer, dict):
        raise Refused(SALESFORCE, "GET", JOBS, response.status_code, problem="the answer is not an object")
    return answer
