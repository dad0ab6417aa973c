"""What ingest and query jobs share: identity, states, the way they are shown (salesforce.md 3.1, 3.2)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from scc.sandbox.http import Fate

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce

DELIMITERS = {"COMMA": ",", "BACKQUOTE": "`", "CARET": "^", "PIPE": "|", "SEMICOLON": ";", "TAB": "\t"}
LINE_ENDINGS = {"LF": "\n", "CRLF": "\r\n"}


class Job:
    """One job. Subclasses say what a part of its work is, and keep its results."""

    kind = ""

    def __init__(
        self,
        salesforce: Salesforce,
        object_name: str,
        id: str,
        version: str,
        operation: str,
        delimiter: str,
        line_ending: str,
        created: datetime,
        created_by: str,
    ) -> None:
        self.salesforce, self.object_name, self.id, self.version = salesforce, object_name, id, version
        self.operation, self.delimiter, self.line_ending = operation, delimiter, line_ending
        self.created = self.modified = created
        self.created_by, self.state, self.error = created_by, "Open", ""
        self.fate = Fate()  # by a fault
        self.polls, self.total = 0, 0
        self.cause = ""  # the request that started it: its changes are put down to that one
        self.started: datetime | None = None
        self.ended: datetime | None = None

    # -- states -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.started = self.salesforce.clock.now
        self._enter("UploadComplete")

    def poll(self) -> None:
        """A GET of the job: it goes on by one step."""
        if self.state not in ("UploadComplete", "InProgress"):
            return
        self.polls += 1
        if self.fate.outcome == "stuck":
            self._enter("InProgress")
        elif self.polls >= self.salesforce.limits.job_polls:
            self.finish()
        else:
            self._enter("InProgress")
            self.advance(self.polls, self.salesforce.limits.job_polls)

    def finish(self) -> None:
        """Do what is left, and end."""
        self._enter("InProgress")
        self.advance(1, 1)
        if self.state == "InProgress" and self.fate.outcome == "error":
            self.fail(f"{self.fate.code or 'InternalError'} : the job failed as it was told to")
        elif self.state == "InProgress":
            self._end("JobComplete")

    def abort(self) -> None:
        self._end("Aborted")

    def fail(self, message: str) -> None:
        self.error = message
        self._end("Failed")

    def _end(self, state: str) -> None:
        self.ended = self.salesforce.clock.now
        self._enter(state)
        self.close()

    def _enter(self, state: str) -> None:
        self.state, self.modified = state, self.salesforce.clock.now

    # -- what subclasses do -----------------------------------------------------------------------------------------

    def advance(self, part: int, parts: int) -> None:
        """Do the work up to this share of it."""

    def close(self) -> None:
        """The job has ended: keep the results, drop the rest."""

    def forget(self) -> None:
        """The job is deleted or past its retention."""

    # -- how it looks -----------------------------------------------------------------------------------------------

    def shown(self, full: bool = False) -> dict[str, Any]:
        return {
            "id": self.id,
            "operation": self.operation,
            "object": self.object_name,
            "createdById": self.created_by,
            "createdDate": stamp(self.created),
            "systemModstamp": stamp(self.modified),
            "state": self.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(self.version),
            "lineEnding": self.line_ending,
            "columnDelimiter": self.delimiter,
        }

    def took(self) -> int:
        """Milliseconds of work, made up from its size."""
        return 100 + self.total // 100 if self.started else 0


def stamp(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def csv_line(values: list[str], delimiter: str) -> str:
    """Every value quoted, as Salesforce writes its result files."""
    return delimiter.join('"' + value.replace('"', '""') + '"' for value in values)
