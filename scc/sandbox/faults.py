"""Faults on demand: which request, and what goes wrong with it.

A rule as JSON: {"system": "eloqua", "method": "GET", "path": "/syncs/\\d+$", "nth": 2, "what": "status", "status": 503}.
system, method, path  what the rule looks at; each may be absent. path is a regular expression, searched without case.
nth                   only the n-th request that fits (counted since the rule was made); a list of numbers is allowed.
probability           each request that fits, by this chance (from the sandbox's seed). Without either: every one.
times                 stop after so many.
what                  one of WHATS. delay (seconds) goes with any of them, or alone.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
import threading
from dataclasses import dataclass
from typing import Any

from scc.sandbox.http import Request, Response, json_response
from scc.sandbox.store import compact

WHATS = {
    "status": "answer `status`, with `retry_after` (seconds) and `body` (text or JSON) if given, and no effect",
    "reset_before": "TCP reset, no effect",
    "reset_after": "effect, then TCP reset",
    "truncate": "effect, then half of the body and a closed connection, though Content-Length says the whole",
    "drop_field": "rows of the page lack `field`",
    "wrong_type": "the right body as text/html",
    "duplicate_row": "the page's first row stands twice, its last row is missing for it",
    "missing_row": "the page's last row is missing, counts unchanged",
    "sync_error": "the sync that this POST /syncs creates ends in error",
    "sync_warning": "... ends in warning",
    "stuck": "... never ends",
    "delay": "nothing but the delay",
}


class BadFault(ValueError):
    """A fault rule that says nothing sensible."""


@dataclass
class Fault:
    what: str = "delay"
    system: str | None = None
    method: str | None = None
    path: str | None = None
    nth: int | list[int] | None = None
    probability: float | None = None
    times: int | None = None
    delay: float = 0.0
    status: int = 503
    retry_after: int | None = None
    body: Any = None
    field: str | None = None
    seen: int = dataclasses.field(default=0, repr=False)
    fired: int = dataclasses.field(default=0, repr=False)

    def __post_init__(self) -> None:
        if self.what not in WHATS:
            raise BadFault(f"what is one of {', '.join(WHATS)}; not {self.what!r}")
        if self.what == "drop_field" and not self.field:
            raise BadFault("drop_field needs field")
        try:
            self.pattern = re.compile(self.path or "", re.IGNORECASE)
        except re.error as error:
            raise BadFault(f"path is no regular expression: {error}") from None

    def fits(self, request: Request) -> bool:
        return (
            self.system in (None, request.system)
            and (self.method or request.method).upper() == request.method
            and self.pattern.search(request.path) is not None
        )

    def fires(self, chance: random.Random) -> bool:
        """Count a request that fits; say whether it is hit."""
        self.seen += 1
        if self.times is not None and self.fired >= self.times:
            return False
        if self.nth is not None:
            hit = self.seen in (self.nth if isinstance(self.nth, list) else [self.nth])
        else:
            hit = self.probability is None or chance.random() < self.probability
        self.fired += hit
        return hit

    def response(self) -> Response:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.body is None or isinstance(self.body, str):
            return Response(self.status, (self.body or "").encode(), "text/plain; charset=utf-8", headers)
        return json_response(self.body, self.status, headers)

    def shown(self) -> dict[str, Any]:
        """The rule as JSON, with how many requests fitted and how many were hit."""
        names = (
            "what",
            "system",
            "method",
            "path",
            "nth",
            "probability",
            "times",
            "delay",
            "status",
            "retry_after",
            "body",
            "field",
            "seen",
            "fired",
        )
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


class Faults:
    """The rules in force. The first that fits and fires is taken."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(f"faults {seed}")
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def add(self, what: str = "delay", **rule: Any) -> Fault:
        """Put a rule in force, e.g. add("status", path="/id$", nth=1, status=503). Raises BadFault."""
        rule = {name: value for name, value in rule.items() if name not in ("seen", "fired")}
        if rule.pop("every", None) is False:
            raise BadFault("every is true or absent")
        try:
            fault = Fault(what, **rule)
        except TypeError as error:
            raise BadFault(str(error).replace("Fault.__init__() ", "")) from None
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def __iter__(self):
        return iter(list(self._rules))

    def take(self, request: Request) -> Fault | None:
        with self._lock:
            for fault in self._rules:
                if fault.fits(request) and fault.fires(self._chance):
                    return fault
        return None


def spoil(response: Response, fault: Fault) -> Response:
    """The right answer, damaged as the fault says."""
    if fault.what == "wrong_type":
        response.content_type = "text/html; charset=utf-8"
    elif fault.what in ("drop_field", "duplicate_row", "missing_row") and isinstance(response.body, bytes):
        try:
            page = json.loads(response.body)
        except ValueError:
            return response
        rows: list[dict[str, Any]] = next(
            (page[key] for key in ("items", "records", "elements") if isinstance(page, dict) and page.get(key)), []
        )
        damage_rows(rows, fault)
        response.body = compact(page)
    return response


def damage_rows(rows: list[dict[str, Any]], fault: Fault) -> None:
    if fault.what == "drop_field":
        for row in rows:
            row.pop(fault.field or "", None)
    elif rows and fault.what == "missing_row":
        rows.pop()
    elif len(rows) > 1:
        rows[-1] = rows[0]
