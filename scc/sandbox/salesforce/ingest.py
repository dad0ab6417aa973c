"""Ingest jobs of the Bulk API 2.0: CSV in, rows written, three result files out (salesforce.md 3.2, 3.3)."""

from __future__ import annotations

import contextlib
import csv
import io
import random
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scc.sandbox.salesforce.job import DELIMITERS, LINE_ENDINGS, Job, csv_line
from scc.sandbox.salesforce.schema import SField, SObject
from scc.sandbox.salesforce.write import UPSERT_CHUNK, Options, Verdict, spared

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce

OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
ID_SINCE = 53  # failedResults fill sf__Id from this version on


class InvalidBatch(Exception):
    """The file as a whole is refused; the job fails with this message."""


class IngestJob(Job):
    kind = "ingest"

    def __init__(self, salesforce: Salesforce, known: SObject, key: SField | None, assign: bool, **shared: Any) -> None:
        super().__init__(salesforce, known.name, **shared)
        self._known, self._key, self._assign = known, key, assign
        self.content, self.uploads = b"", 0
        self.failed = 0
        self._header: list[str] | None = None
        self._rows: list[list[str]] = []
        self._verdicts: list[Verdict] = []
        self._files: dict[str, bytes] = {}
        self._processed = 0

    # -- work -------------------------------------------------------------------------------------------------------

    def advance(self, part: int, parts: int) -> None:
        try:
            self._read()
        except InvalidBatch as refusal:
            self.fail(str(refusal))
            return
        until = self.total * part // parts
        if self.operation == "upsert" and part < parts:
            until -= until % UPSERT_CHUNK  # what repeats within a transaction is refused there
        for at in range(len(self._verdicts), until, self.salesforce.limits.batch_rows):
            chunk = self._rows[at : min(until, at + self.salesforce.limits.batch_rows)]
            verdicts = self._write(chunk, at + 1)
            self._verdicts += verdicts
            self._processed += len(chunk)
            self.failed += sum(not v.success for v in verdicts)

    def _read(self) -> None:
        """Parse and check the file, once. Raises InvalidBatch."""
        if self._header is not None:
            return
        self._header = []
        try:
            text = self.content.decode()
        except UnicodeDecodeError:
            raise InvalidBatch("InvalidBatch : the data is not valid UTF-8") from None
        first, _, rest = text.partition("\n")
        if (rest or text.endswith("\n")) and first.endswith("\r") is not (self.line_ending == "CRLF"):
            raise InvalidBatch(
                "ClientInputError : LineEnding is invalid on user data. "
                f"Current LineEnding setting is {self.line_ending}"
            )
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=DELIMITERS[self.delimiter], strict=True)
            rows = [row for row in reader if row]
        except csv.Error as refusal:
            raise InvalidBatch(f"InvalidBatch : the data is not valid CSV: {refusal}") from None
        if not rows:
            return
        self._header, self._rows = rows[0], rows[1:]
        self.total = len(self._rows)
        self._check_header(self._header)
        for number, row in enumerate(self._rows, 1):
            if len(row) != len(self._header):
                shown = f"InvalidBatch : row {number} has {len(row)} fields, the header has {len(self._header)}"
                raise InvalidBatch(shown)

    def _check_header(self, header: list[str]) -> None:
        """Names are exact; every operation needs its key."""
        for name in header:
            if not self._is_known(name):
                raise InvalidBatch(f"InvalidBatch : Field name not found : {name[:200]}")
            if header.count(name) > 1:
                raise InvalidBatch(f"InvalidBatch : Duplicate field name : {name}")
        key = self._key.name if self._key else "" if self.operation == "insert" else "Id"
        if key and key not in header:
            raise InvalidBatch(f"InvalidBatch : Field name not found : {key}")
        if self.operation in ("delete", "hardDelete") and header != ["Id"]:
            raise InvalidBatch(f"InvalidBatch : The '{self.operation}' batch must contain only ids")

    def _is_known(self, name: str) -> bool:
        relation, _, key = name.rpartition(".")
        known = self._known
        if relation:
            link = known.relationship(relation)
            parent = self.salesforce.schema.find(link.parent[1]) if link and link.parent else None
            if link is None or link.parent is None or link.parent[0] != relation or parent is None:
                return False
            known = parent
        found = known.field(key)
        if found is None or found.name != key or self.salesforce.is_hidden(known, found):
            return False
        return not relation or found.external_id or found.type == "id"

    def _write(self, rows: list[list[str]], first: int) -> list[Verdict]:
        """Write rows; `first` is the first one's number in the file."""
        records = [dict(zip(self._header or [], row, strict=True)) for row in rows]
        with self.salesforce.store.caused_by(self.cause):
            return spared(self.fate, first, records, self._write_records)

    def _write_records(self, records: Sequence[dict[str, str]]) -> list[Verdict]:
        writer, known, options = self.salesforce.writer, self._known, Options(csv=True, assign=self._assign)
        if self.operation == "insert":
            return writer.insert(known, records, options)
        if self.operation == "update":
            return writer.update(known, [(r.pop("Id"), r) for r in records], options)
        if self.operation == "upsert" and self._key:
            return writer.upsert(known, self._key, [(r[self._key.name], r) for r in records], options)
        return writer.delete(known, [r["Id"] for r in records], hard=self.operation == "hardDelete")

    # -- results ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Render the result files, in no order at all, and keep them compressed; the rows themselves go."""
        if not self._header and self.content and self.state == "Aborted":
            with contextlib.suppress(InvalidBatch):
                self._read()
        header, order = self._header or [], list(range(len(self._rows)))
        random.Random(f"{self.salesforce.seed} {self.id}").shuffle(order)
        lines: dict[str, list[list[str]]] = {
            "successfulResults": [["sf__Id", "sf__Created", *header]],
            "failedResults": [["sf__Id", "sf__Error", *header]],
            "unprocessedRecords": [header],
        }
        for i in order:
            verdict = self._verdicts[i] if i < len(self._verdicts) else None
            row = self._rows[i]
            if verdict is None:
                lines["unprocessedRecords"].append(row)
            elif verdict.success:
                created = "true" if verdict.created else "false"
                lines["successfulResults"].append([verdict.id or "", created, *row])
            else:
                record_id = (verdict.id or "") if float(self.version) >= ID_SINCE else ""
                lines["failedResults"].append([record_id, told(verdict), *row])
        delimiter, ending = DELIMITERS[self.delimiter], LINE_ENDINGS[self.line_ending]
        for name, found in lines.items():
            text = "".join(csv_line(line, delimiter) + ending for line in found if line)
            self._files[name] = zlib.compress(text.encode(), 1)
        self._rows, self._verdicts, self.content = [], [], b""

    def results(self, which: str) -> bytes:
        return zlib.decompress(self._files[which])

    def shown(self, full: bool = False) -> dict[str, Any]:
        shown = super().shown()
        if self._key:
            shown["externalIdFieldName"] = self._key.name
        if self._assign and self.salesforce.assignment_rule:
            shown["assignmentRuleId"] = self.salesforce.assignment_rule.id
        if self.state == "Open":
            shown["contentUrl"] = f"services/data/v{self.version}/jobs/ingest/{self.id}/batches"
        if full:
            shown |= {
                "jobType": "V2Ingest",
                "numberRecordsProcessed": self._processed,
                "numberRecordsFailed": self.failed,
                "retries": 0,
                "totalProcessingTime": self.took(),
                "apiActiveProcessingTime": self.took(),
                "apexProcessingTime": 0,
            }
            if self.state == "Failed":
                shown["errorMessage"] = self.error
        return shown


def told(verdict: Verdict) -> str:
    """sf__Error: `CODE:message:fields --`."""
    return " ".join(f"{e.code}:{e}:{','.join(e.fields)} --" for e in verdict.errors)
