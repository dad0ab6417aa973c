"""Salesforce as the sandbox plays it: one org, its endpoints and limits."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from scc.sandbox.http import Failed, Request, Response, Router
from scc.sandbox.salesforce.answers import error
from scc.sandbox.salesforce.auth import CLIENT_ID, CLIENT_SECRET, PASSWORD, SECURITY_TOKEN, Auth
from scc.sandbox.salesforce.bulk_v1 import BulkV1
from scc.sandbox.salesforce.composite import composite
from scc.sandbox.salesforce.jobs import Jobs
from scc.sandbox.salesforce.query import Compiler, record
from scc.sandbox.salesforce.record_collections import Collections
from scc.sandbox.salesforce.records import Records
from scc.sandbox.salesforce.rest import VERSIONS, Rest
from scc.sandbox.salesforce.schema import Schema, SField, SObject
from scc.sandbox.salesforce.settings import ASSIGNMENT_RULE, USERNAME, AssignmentRule, Limits
from scc.sandbox.salesforce.soql import SoqlError
from scc.sandbox.salesforce.write import Writer

if TYPE_CHECKING:
    from scc.sandbox.clock import Clock
    from scc.sandbox.store import Store

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "PASSWORD", "SECURITY_TOKEN", "USERNAME", "Salesforce"]

DATA = re.compile(r"/services/data/v(?P<version>\d+\.\d)(?P<rest>/.*|)", re.IGNORECASE)
ASYNC = re.compile(r"/services/async/.*", re.IGNORECASE)
DAY = timedelta(days=1)
METHODS = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE")


@dataclass
class Used:
    """Calls at one instant of the clock."""

    at: datetime
    calls: int


class Salesforce:
    """One Salesforce org."""

    def __init__(self, store: Store, clock: Clock, seed: int, page_size: int) -> None:
        self.store, self.clock, self.seed, self.page_size = store, clock, seed, page_size
        self.limits, self.schema, self.base_url = Limits(), Schema(), ""
        self._used: deque[Used] = deque()
        self._depth = 0  # of units: only the outermost is a transaction
        self.hidden: set[tuple[str, str]] = set()  # by field-level security: (object, field) in lower case
        self.locked_fields: set[tuple[str, str]] = set()  # readable, not writable
        self.locks: dict[str, int] = {}  # record id -> how many more writes find it locked
        self.duplicate_rules: dict[str, str] = {}  # object -> "alert" or "block"
        self.assignment_rule: AssignmentRule | None = ASSIGNMENT_RULE
        self.writer, self.auth, self.rest, self.jobs = Writer(self), Auth(self), Rest(self), Jobs(self)
        self._open, self._data, self._async = Router(), Router(), Router()
        BulkV1(self).routes(self._async)
        self.auth.routes(self._open)
        self._open.add("GET", "/services/data", self.rest.versions)
        self.rest.routes(self._data)
        Collections(self).routes(self._data)
        self.jobs.routes(self._data)
        Records(self).routes(self._data)

    # -- requests ---------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Response:
        try:
            self._check_size(request)
            unpack(request)
            with self.store.lock, self.store.caused_by(request.cause):
                self.jobs.settle()
                handler, arguments, _ = self._open.find(request.method, request.path)
                response = handler(request, **arguments) if handler else self._call(request)
        except Failed as failure:
            response = failure.response
        if response.content_type == "application/json":
            response.content_type = "application/json;charset=UTF-8"
        if not self.limits.charset and response.content_type:
            response.content_type = response.content_type.partition(";")[0]
        return response

    def _check_size(self, request: Request) -> None:
        """414 for the URI alone, 431 for URI plus headers."""
        target = len(request.raw_target)
        if target > self.limits.uri_bytes:
            raise error("URI_TOO_LONG", "The URI is too long", 414)
        if target + sum(len(k) + len(v) + 4 for k, v in request.headers.items()) > self.limits.uri_bytes:
            raise error("REQUEST_HEADERS_TOO_LARGE", "The request headers are too large", 431)

    def _call(self, request: Request) -> Response:
        """An API call: needs a token, counts, and says so in Sforce-Limit-Info."""
        v1 = ASYNC.fullmatch(request.path) is not None
        if v1:
            self.auth.require_async(request)
        else:
            self.auth.require(request)
        if self.calls >= self.limits.daily_requests:
            raise error("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", 403)
        self._count()
        try:
            response = self._resource_v1(request) if v1 else self.resource(request)
        except Failed as failure:
            response = failure.response
        response.headers = {
            **response.headers,
            "Sforce-Limit-Info": f"api-usage={self.calls}/{self.limits.daily_requests}",
        }
        return response

    def _resource_v1(self, request: Request) -> Response:
        handler, arguments, _ = self._async.find(request.method, request.path)
        if handler is None:
            raise error("NOT_FOUND", "The requested resource does not exist", 404)
        return handler(request, **arguments)

    @property
    def calls(self) -> int:
        """API calls of the last 24 hours of the clock."""
        while self._used and self._used[0].at <= self.clock.now - DAY:
            self._used.popleft()
        return sum(used.calls for used in self._used)

    def _count(self) -> None:
        minute = self.clock.now.replace(second=0, microsecond=0)
        if not self._used or self._used[-1].at != minute:
            self._used.append(Used(minute, 0))
        self._used[-1].calls += 1

    def resource(self, request: Request) -> Response:
        """The answer to one request below /services/data, or to one subrequest of a composite."""
        match = DATA.fullmatch(request.path)
        if not match:
            raise error("NOT_FOUND", "The requested resource does not exist", 404)
        major = int(match["version"].split(".")[0])
        if 20 < major < VERSIONS.start:
            raise error("UNSUPPORTED_API_VERSION", "The API version is retired", 410)
        if major not in VERSIONS:
            raise error("NOT_FOUND", "The requested resource does not exist", 404)
        method = request.method
        if method == "POST" and request.query.get("_HttpMethod", "").upper() in METHODS:
            method = request.query["_HttpMethod"].upper()  # for clients that cannot send PATCH
        path = match["rest"].rstrip("/")
        if path.lower() == "/composite" and method == "POST":
            return composite(request, self)
        handler, arguments, allowed = self._data.find("GET" if method == "HEAD" else method, path)
        if handler is None and allowed:
            known = ",".join(dict.fromkeys(allowed))
            raise error("METHOD_NOT_ALLOWED", f"HTTP Method '{method}' not allowed. Allowed are {known}", 405)
        if handler is None:
            raise error("NOT_FOUND", "The requested resource does not exist", 404)
        return handler(request, match["version"], **arguments)

    # -- what the resources share -----------------------------------------------------------------------------------

    @contextmanager
    def unit(self) -> Iterator[None]:
        """A transaction, or part of the one that is open already. Call it with the store's lock held."""
        with self.store.lock:
            if self._depth:
                yield
                return
            self._depth += 1
            try:
                with self.store.transaction():
                    yield
            finally:
                self._depth -= 1

    def all_or_none(self, run: Callable[[], bool]) -> bool:
        """Run something that writes; when it says False, nothing of it stays."""
        try:
            with self.unit():
                if not run():
                    raise _Undo
        except _Undo:
            return False
        return True

    def object(self, name: str) -> SObject:
        """Raises the 404."""
        known = self.schema.find(name)
        if known is None:
            raise error("NOT_FOUND", "The requested resource does not exist", 404)
        return known

    def is_hidden(self, known: SObject, found: SField) -> bool:
        return (known.name.lower(), found.name.lower()) in self.hidden

    def is_locked(self, known: SObject, found: SField) -> bool:
        return (known.name.lower(), found.name.lower()) in self.locked_fields

    def visible_fields(self, known: SObject) -> list[SField]:
        return [f for f in known.fields.values() if not self.is_hidden(known, f)]

    def compiler(self, deleted_too: bool = False) -> Compiler:
        return Compiler(self.schema, self.hidden, deleted_too, self.clock.naive)

    def read_records(
        self, known: SObject, names: list[str], ids: list[str | None], version: str
    ) -> list[dict[str, Any] | None]:
        """Records by id, in the order of the ids, None for what nobody can see. Raises the 400 of an unknown field."""
        wanted = sorted({i for i in ids if i})
        inside = ", ".join(f"'{i}'" for i in wanted) or "null"
        names = [name.strip() for name in dict.fromkeys(names)]
        try:
            if not all(re.fullmatch(r"\w+(\.\w+)*", name) for name in names):
                raise SoqlError("INVALID_FIELD", f"No such column '{', '.join(names)[:200]}' on entity '{known.name}'")
            compiled = self.compiler().compile(f"SELECT {', '.join(names)} FROM {known.name} WHERE Id IN ({inside})")
        except SoqlError as refusal:
            raise error(refusal.code, refusal.message) from None
        found = {row[0]: record(compiled, row, version) for row in self.store.rows(compiled.sql, compiled.values)}
        return [found.get(i or "") for i in ids]


class _Undo(Exception):
    """Leaves a unit so that it is rolled back."""


def unpack(request: Request) -> None:
    """A gzipped body becomes a plain one. Raises the 400."""
    if request.headers.get("Content-Encoding", "").strip().lower() == "gzip" and request.body:
        try:
            request.body = gzip.decompress(request.body)
        except (OSError, EOFError, zlib.error):
            raise error("JSON_PARSER_ERROR", "The request body is not valid gzip") from None
