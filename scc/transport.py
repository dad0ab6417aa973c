"""The only HTTP: one session for both systems, with timeouts, retries, one table from status to error, and call counts.

Every request SCC makes stands in ROUTES: its path template (errors and counts carry that, never the URL), its operation,
and whether it is a read. A request outside of the table is not sent. In a dry run only reads are; every other request
first asks the lease whether enough of it is left.

A request that never arrived, or was turned away with 429, is repeated. One that may have taken effect (a lost answer, 5xx)
is repeated only if it is a GET or its caller declares it idempotent: neither system knows idempotency keys (eloqua.md 4.2).
"""

import email.utils
import json
import logging
import random
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from scc.config import transport as settings
from scc.errors import DryRunWrite, Refused, RemoteError, SccError, Unavailable

Response = requests.Response  # for those who only name the type

log = logging.getLogger(__name__)
# urllib3's loggers name whole URLs, queries included, on retries and broken connections
logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)

SYSTEMS = ELOQUA, SALESFORCE = "Eloqua", "Salesforce"
# of a request: 2xx; the system said no; it was busy, or no whole answer came
OUTCOMES = OK, REFUSED, FAILED = "ok", "refused", "failed"
CHUNK = 1 << 16
SHORTEST_TRY = 0.1  # seconds


@dataclass(frozen=True)
class Route:
    """One request SCC may make. path: a template whose {} stand for one segment each. answers: what a 2xx has to be."""

    system: str
    method: str
    path: str
    operation: str
    reads: Callable[[Any, "Transport"], bool]
    answers: str = "json"  # "csv", or "nothing": an empty body is a whole answer

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(self.path)))


def _always(body: Any, transport: "Transport") -> bool:
    return True


def _never(body: Any, transport: "Transport") -> bool:
    return False


def _without_sync_actions(body: Any, transport: "Transport") -> bool:
    """An export with sync actions changes the contacts it exports (eloqua.md 3.5)."""
    return isinstance(body, dict) and not body.get("syncActions")


def _of_own_export(body: Any, transport: "Transport") -> bool:
    """A sync of an export that this run, in this dry run, defined itself."""
    return isinstance(body, dict) and body.get("syncedInstanceUri") in transport.own_exports


def _only_queries(body: Any, transport: "Transport") -> bool:
    """A composite call whose every part is a query."""
    parts = body.get("compositeRequest") if isinstance(body, dict) else None
    return bool(parts) and all(
        part.get("method") == "GET" and re.match(r"/services/data/v[\d.]+/query(All)?/?\?q=", part.get("url", ""))
        for part in parts or []
    )


ROUTES = [
    Route(ELOQUA, "GET", "/id", "discovery", _always),
    Route(ELOQUA, "POST", "/auth/oauth2/token", "token", _always),
    Route(ELOQUA, "GET", "/customObjects", "custom objects", _always),
    Route(ELOQUA, "GET", "/customObjects/{id}/fields", "fields", _always),
    Route(ELOQUA, "POST", "/customObjects/{id}/exports", "export definition", _without_sync_actions),
    Route(ELOQUA, "DELETE", "/customObjects/{id}/exports/{id}", "export definition deleted", _never),
    Route(ELOQUA, "POST", "/customObjects/{id}/imports", "import definition", _never),
    Route(ELOQUA, "POST", "/customObjects/{id}/imports/{id}/data", "upload", _never),
    Route(ELOQUA, "DELETE", "/customObjects/{id}/imports/{id}", "import definition deleted", _never),
    Route(ELOQUA, "GET", "/data/contacts", "contact search", _always),
    Route(ELOQUA, "GET", "/contacts/fields", "fields", _always),
    Route(ELOQUA, "POST", "/contacts/imports", "import definition", _never),
    Route(ELOQUA, "POST", "/contacts/imports/{id}/data", "upload", _never),
    Route(ELOQUA, "DELETE", "/contacts/imports/{id}", "import definition deleted", _never),
    Route(ELOQUA, "POST", "/activities/exports", "export definition", _without_sync_actions),
    Route(ELOQUA, "DELETE", "/activities/exports/{id}", "export definition deleted", _never),
    Route(ELOQUA, "GET", "/syncs", "recent syncs", _always),
    Route(ELOQUA, "POST", "/syncs", "sync", _of_own_export),
    Route(ELOQUA, "GET", "/syncs/{id}", "poll", _always),
    Route(ELOQUA, "GET", "/syncs/{id}/data", "rows", _always),
    Route(ELOQUA, "GET", "/syncs/{id}/logs", "logs", _always),
    Route(ELOQUA, "GET", "/syncs/{id}/rejects", "rejects", _always),
    Route(SALESFORCE, "POST", "/services/oauth2/token", "token", _always),
    Route(SALESFORCE, "GET", "/services/data/{version}/query", "query", _always),
    Route(SALESFORCE, "GET", "/services/data/{version}/query/{locator}", "query page", _always),
    Route(SALESFORCE, "POST", "/services/data/{version}/composite", "composite query", _only_queries),
    Route(SALESFORCE, "GET", "/services/data/{version}/sobjects/{object}/describe", "describe", _always),
    Route(SALESFORCE, "PATCH", "/services/data/{version}/composite/sobjects", "records updated", _never),
    Route(SALESFORCE, "POST", "/services/data/{version}/jobs/ingest", "job created", _never),
    Route(SALESFORCE, "PUT", "/services/data/{version}/jobs/ingest/{id}/batches", "job filled", _never, "nothing"),
    Route(SALESFORCE, "PATCH", "/services/data/{version}/jobs/ingest/{id}", "job closed", _never),
    Route(SALESFORCE, "GET", "/services/data/{version}/jobs/ingest/{id}", "job polled", _always),
    Route(SALESFORCE, "GET", "/services/data/{version}/jobs/ingest/{id}/{results}", "job results", _always, "csv"),
]


@dataclass(eq=False)
class _Fault(Exception):
    """A try that failed. passing: worth repeating, if that is safe; never_arrived: repeating is safe in any case."""

    error: RemoteError
    passing: bool = False
    never_arrived: bool = False
    retry_after: float = 0.0


# these prepare or tidy up what is ours, and change no record
STAGING = {
    *("export definition", "export definition deleted", "import definition", "import definition deleted"),
    *("upload", "job created", "job filled"),
}
RETRIED = {429, 502, 503, 504}
# what the operator should make of a status, where the standard "was refused" is not enough
PROBLEMS = {
    401: "the credentials were refused",
    403: "the user lacks a permission",
    404: "was not found",
    410: "is gone",
    414: "the request is too long",
    429: "too many requests",
}


class Transport(requests.Session):
    """A requests session, so that simple-salesforce can run over it.

    bases: (base URL, system) pairs; a request to any other place is not sent.
    lease_check: called before every request that may change something; raises when too little of the lease is left.
    before_change: called before the first request that may change a record.
    """

    def __init__(
        self,
        dry_run: bool = False,
        lease_check: Callable[[], None] = lambda: None,
        before_change: Callable[[], None] = lambda: None,
    ):
        super().__init__()
        self.dry_run = dry_run
        self.lease_check = lease_check
        self._before_change: Callable[[], None] | None = before_change
        self.bases: list[tuple[str, str]] = []
        self.own_exports: set[str] = set()
        self.calls: Counter[tuple[str, str, str]] = Counter()
        self._limits = settings()
        # without an auth of its own, requests lets a .netrc overrule the Authorization header
        self.auth = lambda request: request

    def add_base(self, system: str, url: str) -> None:
        """Let requests below url pass, as requests to system."""
        if (url.rstrip("/"), system) not in self.bases:
            self.bases.append((url.rstrip("/"), system))

    def request(  # type: ignore[override]  # simple-salesforce passes keywords only; ours narrows the rest
        self, method: str, url: str, *, idempotent: bool = False, **keywords: Any
    ) -> requests.Response:
        """The answer to one call, retries included: always 2xx, with its whole body read.

        Raises Unavailable or Refused by status, DryRunWrite, or what the lease check raises. A GET is idempotent by itself.
        """
        url = self._with_scheme(url)
        route = self._route(method, url)
        body = _json_body(keywords)
        reads = route.reads(body, self) or self._drops_own_export(route, url)
        if self.dry_run and not reads:
            raise DryRunWrite(f"a dry run may not call {route.system}: {method} {route.path}; nothing was sent")
        if not reads and route.operation not in STAGING and self._before_change:
            self._before_change()
            self._before_change = None
        keywords["allow_redirects"] = False  # a redirect would carry the Authorization header to another place
        response = self._until_done(route, url, method == "GET" or idempotent, reads, keywords)
        if route.operation == "export definition" and reads:
            document = response.json()
            self.own_exports.add(str(document.get("uri")) if isinstance(document, dict) else "")
        return response

    def adopt_export(self, uri: str) -> None:
        """An export definition that an earlier process of this same dry run made, as the outputs folder says."""
        self.own_exports.add(uri)

    def call_counts(self) -> dict[str, int]:
        """Requests sent so far, by system: each try counts, as it does in the systems' quotas."""
        totals: Counter[str] = Counter()
        for (system, _, _), count in self.calls.items():
            totals[system] += count
        return dict(totals)

    def _until_done(
        self, route: Route, url: str, repeatable: bool, reads: bool, keywords: dict[str, Any]
    ) -> requests.Response:
        began = time.monotonic()
        pause = self._limits.first_pause
        while True:
            if not reads:
                self.lease_check()
            left = max(self._limits.deadline - (time.monotonic() - began), SHORTEST_TRY)
            try:
                response = self._attempt(route, url, left, keywords)
            except _Fault as fault:
                error = fault.error
                outcome = REFUSED if isinstance(error, Refused) else FAILED
                wait = max(fault.retry_after, pause * random.uniform(0.5, 1))  # noqa: S311 (jitter)
                may_repeat = fault.never_arrived or (fault.passing and repeatable)
            else:
                self.calls[route.system, route.operation, OK] += 1
                return response
            self.calls[route.system, route.operation, outcome] += 1
            if not may_repeat or time.monotonic() - began + wait >= self._limits.deadline:
                raise error
            log.info(
                "%s: %s %s: %s; again in %.1f s",
                route.system,
                route.method,
                route.path,
                error.status or "no answer",
                wait,
            )
            time.sleep(wait)
            pause = min(pause * 2, self._limits.longest_pause)

    def _attempt(self, route: Route, url: str, left: float, keywords: dict[str, Any]) -> requests.Response:
        """One try. Raises _Fault."""
        limits = (min(self._limits.connect_timeout, left), min(self._limits.read_timeout, left))
        try:
            response = super().request(route.method, url, **{**keywords, "timeout": limits, "stream": True})
            read_whole(response, time.monotonic() + left)
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as broken:
            never_arrived = _never_arrived(broken)
            problem = "could not be reached" if never_arrived else "no whole answer came"
            error = Unavailable(route.system, route.method, route.path, None, problem=problem)
            raise _Fault(error, passing=True, never_arrived=never_arrived) from None
        if response.status_code >= 300:
            raise _refusal(route, response)
        if not _whole(response, route.answers):
            problem = "the answer is not whole, or not what was asked for"
            error = Unavailable(route.system, route.method, route.path, response.status_code, problem=problem)
            raise _Fault(error, passing=True)
        return response

    def _route(self, method: str, url: str) -> Route:
        known = False
        for base, system in self.bases:
            if url != base and not url.startswith(base + "/"):
                continue
            known = True
            path = urlsplit(url).path[len(urlsplit(base).path) :].rstrip("/")
            for route in ROUTES:
                if (route.system, route.method) == (system, method) and route.pattern.fullmatch(path):
                    return route
        if known:
            raise SccError(f"a {method} that scc/transport.py does not list was not sent")
        raise SccError(f"a {method} to a place that is neither Eloqua nor Salesforce was not sent")

    def _with_scheme(self, url: str) -> str:
        """simple-salesforce always says https; a sandbox on loopback speaks http (salesforce.md 5.8)."""
        for base, _ in self.bases:
            if base.startswith("http://") and url.startswith("https" + base.removeprefix("http")):
                return "http" + url.removeprefix("https")
        return url

    def _drops_own_export(self, route: Route, url: str) -> bool:
        return route.operation == "export definition deleted" and any(
            url.endswith(uri) for uri in self.own_exports if uri
        )


def read_whole(response: requests.Response, deadline: float) -> None:
    """Read the body now, so that a broken one fails inside the retry; a dripping one ends at deadline (monotonic).

    read1 gives what has come so far, where read and iter_content wait for a full buffer.
    """
    pieces = []
    while piece := response.raw.read1(CHUNK, decode_content=True):
        pieces.append(piece)
        if time.monotonic() > deadline:
            response.close()
            raise requests.exceptions.ReadTimeout
    response._content = b"".join(pieces)
    response.raw.release_conn()


def remote_code(response: requests.Response) -> str | None:
    """The error code of an answer, where it has the form of one: Salesforce's errorCode, OAuth's error, Eloqua's field."""
    try:
        document = response.json()
    except ValueError:
        return None
    first = document[0] if isinstance(document, list) and document else document
    if not isinstance(first, dict):
        return None
    failures = first.get("failures")
    if isinstance(failures, list) and failures and isinstance(failures[0], dict):
        first = failures[0]
    for key in ("errorCode", "error", "field", "type"):
        code = first.get(key)
        if isinstance(code, str) and re.fullmatch(r"[A-Za-z][A-Za-z_0-9]{1,60}", code):
            return code
    return None


def _refusal(route: Route, response: requests.Response) -> _Fault:
    """What a status of 300 or more means."""
    status, code = response.status_code, remote_code(response)
    if status == 403 and code == "REQUEST_LIMIT_EXCEEDED":
        status = 429  # Salesforce's way of saying so (salesforce.md 2.3)
    busy = status == 429 or status >= 500
    problem = PROBLEMS.get(status, "failed" if busy else "was refused")
    kind = Unavailable if busy else Refused
    error = kind(route.system, route.method, route.path, response.status_code, code, problem)
    return _Fault(error, status in RETRIED, never_arrived=status == 429, retry_after=_retry_after(response))


def _never_arrived(error: Exception) -> bool:
    """Whether the connection was not even made: refused, unknown host, timed out, bad certificate."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    cause = reason.args[0] if isinstance(reason, urllib3.exceptions.SSLError) and reason.args else reason
    return isinstance(cause, urllib3.exceptions.NewConnectionError | ssl.SSLCertVerificationError)


def _whole(response: requests.Response, answers: str) -> bool:
    """Whether a 2xx is what we asked for: JSON to its end, CSV, or nothing where nothing is due.

    The document is kept for `response.json()`: a page of 50,000 rows is parsed once.
    """
    if not response.content:
        return response.status_code == 204 or response.request.method == "DELETE" or answers != "json"
    if answers == "csv":  # its end is nowhere marked: whoever reads it counts the rows
        return "csv" in response.headers.get("Content-Type", "")
    if "json" not in response.headers.get("Content-Type", ""):
        return False  # the page of a proxy or of a maintenance window
    try:
        document = json.loads(response.content)
    except ValueError:
        return False
    response.json = lambda **_: document  # type: ignore[method-assign]
    return True


def _json_body(keywords: Mapping[str, Any]) -> Any:
    if keywords.get("json") is not None:
        return keywords["json"]
    data = keywords.get("data")
    if isinstance(data, str):
        try:
            return json.loads(data)
        except ValueError:
            return None
    return None


def _retry_after(response: requests.Response) -> float:
    """Seconds to wait as the server says, in either form that HTTP allows; 0 when it says nothing."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
