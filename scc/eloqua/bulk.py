"""The Bulk API 2.0: definition -> sync -> rows, logs, rejects (eloqua.md 3).

Callers see rows, never pages. Nothing is remembered from one call to the next: what a killed run needs in order to go on
is kept by scc/eloqua/syncs.py.
"""

import datetime as dt
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from scc.config import eloqua as settings
from scc.eloqua.client import Eloqua
from scc.eloqua.statements import Field
from scc.errors import ConfigError, Refused, RemoteError, Unavailable
from scc.transport import ELOQUA

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

LIST_PAGE = 1000  # Eloqua's limit for everything but export rows
FINAL = {"success", "warning", "error", "errored"}  # the prose page spells "errored", the schema "error" (3.9)
RETENTION = {"dataRetentionDuration": "P3D", "autoDeleteDuration": "P7D"}
# "temporary fault: retry after one hour", "failed, Eloqua retries by itself" (3.10)
PASSING_CODES = {"ELQ-00145", "ELQ-00146"}


class Definition(NamedTuple):
    """An export or import definition. created_at: Eloqua's ISO stamp, UTC."""

    uri: str
    created_at: str


class SyncFailed(Refused):
    """A sync ended in error."""


class SyncPostponed(Unavailable):
    """A sync ended in error, with a code that says to try again later."""


class Bulk:
    """The Bulk API as one user of one instance sees it.

    before_sync: called with a definition's uri before each request for its sync; raises when none may be asked for.
    """

    def __init__(self, eloqua: Eloqua, before_sync: Callable[[str], None] = lambda definition_uri: None):
        self._eloqua = eloqua
        self._before_sync = before_sync
        self._limits = settings()

    def custom_object_id(self, name: str) -> str:
        """The id of the custom object with exactly this name. Raises ConfigError when there is none, or several."""
        query = f"name={name.replace(' ', '*')}"  # q knows no blanks (3.1)
        found = {
            item["uri"].rsplit("/", 1)[-1]
            for item in self._items("/customObjects", q=f'"{query}"')
            if item.get("name") == name
        }
        if len(found) != 1:
            problem = "several custom objects are" if found else "no custom object is"
            raise ConfigError(f'in Eloqua, {problem} named "{name}": check the name, and that the user may see it')
        return found.pop()

    def custom_object_fields(self, object_id: str) -> list[Field]:
        """The fields of a custom object, with the statements that name them in definitions and filters."""
        return self._fields(f"/customObjects/{object_id}/fields")

    def contact_fields(self) -> list[Field]:
        """The fields of contacts; the list leaves out what a contact's address has (IsBounced, IsSubscribed)."""
        return self._fields("/contacts/fields")

    def _fields(self, path: str) -> list[Field]:
        return [
            Field(
                name=item["name"],
                internal_name=item["internalName"],
                kind=item["dataType"],
                statement=item["statement"],
                read_only=item.get("hasReadOnlyConstraint") is True,
            )
            for item in self._items(path)
        ]

    def contact_count(self) -> int:
        """How many contacts the database holds."""
        return self._eloqua.contact_count()

    def define(self, parent: str, definition: Mapping[str, Any]) -> Definition:
        """Create an export or import definition below parent ("/customObjects/9/exports").

        A definition that was made twice because an answer was lost is a spare one, which Eloqua removes by itself.
        """
        answer = self._eloqua.post(parent, {**RETENTION, **definition}, idempotent=True)
        if definition.get("importRule") != answer.get("importRule"):
            # an instance that does not know the rule drops it in silence, and would create records (3.1, 3.4)
            problem = "the instance does not know importRule, which came with release 26B"
            raise Refused(ELOQUA, "POST", re.sub("[0-9]+", "{id}", parent), 201, problem=problem)
        return Definition(_uri(answer, parent), str(answer.get("createdAt", "")))

    def adopt_export(self, uri: str) -> None:
        """Let a dry run go on with the export definition that an earlier process of it made."""
        self._eloqua.transport.adopt_export(uri)

    def delete_definition(self, uri: str) -> None:
        """Delete a definition after use: each one that maps a field blocks the field's deletion (4.4).

        The work it was made for is done or given up, so a failure is only a warning: Eloqua removes it by itself in a week.
        """
        try:
            self._eloqua.delete(uri)
        except RemoteError as error:
            log.warning("a definition was not deleted and goes by itself: %s", error)

    def start_sync(self, definition_uri: str) -> str:
        """Ask for the sync of a definition; its uri. Unavailable means that it may have been asked for: see find_sync."""
        self._before_sync(definition_uri)
        answer = self._eloqua.post("/syncs", {"syncedInstanceUri": definition_uri})
        return _uri(answer, "/syncs")

    def find_sync(self, definition: Definition) -> str | None:
        """The uri of the newest sync of this definition; None when no sync since it was created is one of its."""
        # a sync's createdAt may be read up to a second earlier than it was told (3.9)
        oldest = _minute_before(definition.created_at)
        for item in self._items("/syncs", orderBy='"createdAt DESC"'):
            if item.get("syncedInstanceUri", "").lower() == definition.uri.lower():
                return _uri(item, "/syncs")
            if str(item.get("createdAt", "9"))[:19] < oldest:
                return None
        return None

    def wait(self, sync_uri: str, progress: Callable[[str], None] = lambda status: None) -> str:
        """Ask, with growing pauses, until the sync is final: "success" or "warning".

        Raises SyncFailed or SyncPostponed with the ELQ code when it ended in error, and Unavailable when it is not final
        within [eloqua] sync_deadline.
        """
        began, pause = time.monotonic(), self._limits.first_poll
        while True:
            time.sleep(pause)
            status = str(self._eloqua.get(sync_uri).get("status"))
            progress(status)
            if status in FINAL:
                break
            if time.monotonic() - began > self._limits.sync_deadline:
                problem = f"the sync is still {status} after {self._limits.sync_deadline:,.0f} s"
                raise Unavailable(ELOQUA, "GET", "/syncs/{id}", None, problem=problem)
            pause = min(pause * 2, self._limits.longest_poll)
        if status == "success":
            return status
        number = sync_uri.rsplit("/", 1)[-1]
        codes = [elq_code(line) for line in self.logs(sync_uri) if line.get("severity") != "information"]
        if status == "warning":
            log.warning("Eloqua's sync %s ended with warnings: %s", number, ", ".join(sorted(set(codes))) or "no code")
            return status
        code = next((code for code in codes if code != "ELQ-00101"), None)  # 00101 only repeats the status
        kind = SyncPostponed if code in PASSING_CODES else SyncFailed
        raise kind(ELOQUA, "POST", "/syncs", None, code, problem=f"sync {number} ended in error")

    def read_sync(self, sync_uri: str, columns: Sequence[str]) -> "Iterator[pa.RecordBatch]":
        """Yield the rows of a finished export sync as Arrow record batches, one per page.

        columns: the names chosen in the export definition; all strings, "" where Eloqua has none.
        Raises Refused (404 or 410) once Eloqua has dropped the rows, and when a page lacks a column or rows are missing.

        GET /syncs/{id}/data, not the definition's own /data, which Oracle warns can be incomplete (3.8).
        """
        offset = seen = 0
        while True:
            page = self._eloqua.get(f"{sync_uri}/data", limit=self._limits.page_size, offset=offset)
            rows = page.get("items") or []  # the key is absent on an empty page (3.1)
            seen += len(rows)
            if rows:
                yield _batch(rows, columns)
            if not page.get("hasMore"):
                break
            if not rows:
                raise _bad_page("an empty page says that more rows follow")
            offset += self._limits.page_size
        if page.get("totalResults", seen) != seen:
            raise _bad_page(f"{seen:,} rows came instead of {page['totalResults']:,}")

    def upload(self, import_uri: str, body: bytes) -> None:
        """Stage rows for an import: a JSON array of objects keyed by the definition's names, below 32 MB."""
        self._eloqua.upload(f"{import_uri}/data", body)

    def logs(self, sync_uri: str) -> list[dict[str, Any]]:
        """The log lines of a sync: statusCode, severity, count, message."""
        return list(self._items(f"{sync_uri}/logs"))

    def rejects(self, sync_uri: str) -> Iterator[dict[str, Any]]:
        """The rows that a sync refused: statusCode, fieldValues, recordIndex (from 1), invalidFields."""
        return self._items(f"{sync_uri}/rejects")

    def _items(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self._eloqua.get(path, limit=LIST_PAGE, offset=offset, **params)
            items = page.get("items") or []
            yield from items
            if not page.get("hasMore") or not items:
                return
            offset += LIST_PAGE


def _minute_before(stamp: str) -> str:
    """A minute before an ISO stamp, to the second; "" when it is none: then no sync is older."""
    try:
        return (dt.datetime.fromisoformat(stamp[:19]) - dt.timedelta(minutes=1)).isoformat()
    except ValueError:
        return ""


def elq_code(line: Mapping[str, Any]) -> str:
    """The ELQ code of a log line or a reject; "no code" for anything that is none, because codes are shown."""
    code = str(line.get("statusCode"))
    return code if re.fullmatch(r"ELQ-[0-9]{5}", code) else "no code"


def counts(log_lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """ELQ code -> sum of its counts; a code that Eloqua did not log counts nothing (eloqua.md 6, 29)."""
    totals: dict[str, int] = {}
    for line in log_lines:
        code = elq_code(line)
        totals[code] = totals.get(code, 0) + int(line.get("count") or 0)
    return totals


def _uri(answer: Mapping[str, Any], path: str) -> str:
    uri = answer.get("uri")
    if not isinstance(uri, str) or not uri.startswith("/"):
        raise Refused(ELOQUA, "POST", path, 201, problem="the answer holds no uri")
    return uri


def _batch(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> "pa.RecordBatch":
    import pyarrow as pa

    try:
        arrays = [pa.array([_text(row[name]) for row in rows], pa.string()) for name in columns]
    except KeyError as missing:
        raise _bad_page(f"a row lacks the field {missing.args[0]} that was asked for") from None
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _text(value: Any) -> str:
    """Eloqua sends strings; numbers, booleans and null are accepted as well (3.8)."""
    if isinstance(value, str):
        return value
    return "" if value is None else str(value)


def _bad_page(problem: str) -> Refused:
    return Refused(ELOQUA, "GET", "/syncs/{id}/data", 200, problem=problem)
