"""Salesforce as the sandbox plays it: one org, its endpoints and limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scc.sandbox.http import Failed, Request, Response, Router
from scc.sandbox.salesforce.auth import CLIENT_ID, CLIENT_SECRET, USERNAME, Auth
from scc.sandbox.salesforce.composite import composite
from scc.sandbox.salesforce.rest import VERSIONS, Rest, error

if TYPE_CHECKING:
    from scc.sandbox.clock import Clock
    from scc.sandbox.store import Store

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "USERNAME", "Salesforce"]

DATA = re.compile(r"/services/data/v(?P<version>\d+\.\d)(?P<rest>/.*|)", re.IGNORECASE)


@dataclass
class Limits:
    daily_requests: int = 100_000
    uri_bytes: int = 16_384  # URI plus headers (salesforce.md 2.2)


class Salesforce:
    """One Salesforce org."""

    def __init__(self, store: Store, clock: Clock, seed: int, page_size: int) -> None:
        self.store, self.clock, self.seed, self.page_size = store, clock, seed, page_size
        self.limits = Limits()
        self.base_url = ""
        self.calls = 0
        self.hidden: set[tuple[str, str]] = set()
        self.auth, self.rest = Auth(self), Rest(self)
        self._open, self._data = Router(), Router()
        self.auth.routes(self._open)
        self._open.add("GET", "/services/data", self.rest.versions)
        self.rest.routes(self._data)

    def answer(self, request: Request) -> Response:
        try:
            self._check_size(request)
            with self.store.lock, self.store.caused_by(request.cause):
                handler, _, _ = self._open.find(request.method, request.path)
                response = handler(request) if handler else self._call(request)
        except Failed as failure:
            response = failure.response
        if response.content_type == "application/json":
            response.content_type = "application/json;charset=UTF-8"
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
        self.auth.require(request)
        if self.calls >= self.limits.daily_requests:
            raise error("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", 403)
        self.calls += 1
        try:
            response = self._resource(request)
        except Failed as failure:
            response = failure.response
        response.headers = {
            **response.headers,
            "Sforce-Limit-Info": f"api-usage={self.calls}/{self.limits.daily_requests}",
        }
        return response

    def _resource(self, request: Request) -> Response:
        match = DATA.fullmatch(request.path)
        if not match:
            raise error("NOT_FOUND", "The requested resource does not exist", 404)
        major = int(match["version"].split(".")[0])
        if 20 < major < VERSIONS.start:
            raise error("UNSUPPORTED_API_VERSION", "The API version is retired", 410)
        if major not in VERSIONS:
            raise error("NOT_FOUND", "The requested resource does not exist", 404)
        if match["rest"].rstrip("/").lower() == "/composite" and request.method == "POST":
            return composite(request, self._resource)
        handler, arguments, allowed = self._data.find(request.method, match["rest"].rstrip("/"))
        if handler is None and allowed:
            raise error(
                "METHOD_NOT_ALLOWED",
                f"HTTP Method '{request.method}' not allowed. Allowed are {','.join(allowed)}",
                405,
            )
        if handler is None:
            raise error("NOT_FOUND", "The requested resource does not exist", 404)
        return handler(request, match["version"], **arguments)
