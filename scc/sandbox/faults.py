"""Faults on demand: which request, and what goes wrong with it.

A rule as JSON: {"system": "eloqua", "method": "GET", "path": "/syncs/\\d+$", "nth": 2, "what": "status", "status": 503}.
system, method, path  what the rule looks at; each may be absent. path is a regular expression, searched without case.
nth                   only the n-th request that fits (counted since the rule was made); a list of numbers is allowed.
probability           each request that fits, by this chance. Without either: every one.
times                 stop after so many.
what                  one of WHATS. delay (seconds) goes with any of them, or alone.
Two shorter forms: {"mix": 0.02} hits that share of all requests with a fault of MIX; {"latency": 0.05} holds up every one.

Chance depends on the seed, the rule, the request's method and path and how often that was asked before, not on what other
clients do meanwhile: the same requests meet the same faults.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from scc.sandbox.http import Fate, Request, Response, compact, json_response

WHATS = {
    "status": "answer `status`, with `retry_after` (seconds) and `body` (text or JSON) if given, and no effect",
    "reset_before": "TCP reset, no effect",
    "reset_after": "effect, then TCP reset",
    "silence_before": "no effect and no answer: the connection stays open until the client gives up",
    "silence": "effect, then no answer at all: the connection stays open until the client gives up",
    "drip": "effect, then the body at `rate` bytes a second",
    "truncate": "effect, then half of the body and a closed connection, though Content-Length says the whole",
    "drop_field": "rows of the page lack `field`",
    "wrong_type": "the right body as text/html",
    "duplicate_row": "the page's first row stands twice, its last row is missing for it",
    "missing_row": "the page's last row is missing, counts unchanged",
    "expired_token": "every access token of this system dies just before the request is looked at",
    "pod_move": "Eloqua moves to another base (`port`: where, default any free one) just before the request is looked at",
    "sync_error": "the sync that this POST /syncs creates ends in error, with `code` in its log; Bulk 2.0 jobs likewise",
    "sync_warning": "... ends in warning, with `code` in its log; of Eloqua only",
    "sync_rejects": "... rejects `share` of the rows with `code`; collections of Salesforce likewise",
    "stuck": "... never ends",
    "delay": "nothing but the delay",
    "mix": "one of `kinds`, by turns of chance",
}
# Only what a real system does to a client that behaves well, and what such a client can notice.
MIX: tuple[dict[str, Any], ...] = (
    {"what": "status", "status": 429},
    {"what": "status", "status": 429, "retry_after": 1},
    {"what": "status", "status": 500},
    {"what": "status", "status": 503, "retry_after": 1},
    {"what": "reset_before"},
    {"what": "reset_after"},
    {"what": "truncate"},
    {"what": "wrong_type"},
    {"what": "expired_token"},
    {"what": "drip", "rate": 65_536},
    {"what": "delay", "delay": 0.2},
    {"what": "sync_error"},
    {"what": "sync_warning"},
)
OF_SYNCS = ("sync_error", "sync_warning", "sync_rejects", "stuck")
# What these can be told of: a sync, a job of the Bulk API 2.0, a collection of records.
JOB_START = re.compile(r"/(syncs|jobs/(ingest|query))/*$", re.IGNORECASE)
WRITTEN_ROWS = re.compile(
    r"POST .*/(syncs|jobs/ingest)/*$|(POST|PATCH|DELETE) .*/composite/sobjects(/\w+/\w+)?/*$", re.IGNORECASE
)
CODE = re.compile(r"[A-Za-z0-9_-]{1,100}")
PAGE_DAMAGE = ("drop_field", "duplicate_row", "missing_row")
LONGEST_DELAY = 3600.0  # seconds


class BadFault(ValueError):
    """A fault rule that says nothing sensible."""


@dataclass
class Fault:
    """One rule. Raises BadFault when it makes no sense."""

    what: str = "delay"
    system: str | None = None
    method: str | None = None
    path: str | None = None
    nth: int | list[int] | None = None
    probability: float | None = None
    times: int | None = None
    delay: float = 0.0
    status: int = 503
    retry_after: int | str | None = None
    body: Any = None
    field: str | None = None
    code: str | None = None
    share: float = 0.1
    rate: int = 1024
    port: int = 0
    kinds: list[dict[str, Any]] | None = None
    number: int = 0
    seen: int = dataclasses.field(default=0, repr=False)
    fired: int = dataclasses.field(default=0, repr=False)

    def __post_init__(self) -> None:
        self._check_words()
        self._check_numbers()
        self._met: Counter[str] = Counter()
        self._parts: list[Fault] = []
        if self.what == "mix":
            kinds = MIX if self.kinds is None else self.kinds
            if not isinstance(kinds, (list, tuple)) or not all(isinstance(k, dict) for k in kinds) or not kinds:
                raise BadFault("kinds is a list of rules")
            self._parts = [made(kind) for kind in kinds]
            if any(part.what == "mix" for part in self._parts):
                raise BadFault("a mix holds no mix")

    def _check_words(self) -> None:
        if not isinstance(self.what, str) or self.what not in WHATS:
            raise BadFault(f"what is one of {', '.join(WHATS)}; not {self.what!r:.80}")
        for name in ("system", "method", "path", "field", "code"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or len(value) > 500):
                raise BadFault(f"{name} is a short text")
        if self.system not in (None, "eloqua", "salesforce", "slack"):
            raise BadFault("system is eloqua, salesforce or slack")
        if self.code is not None and not CODE.fullmatch(self.code):
            raise BadFault("code is letters, digits, - and _")
        if self.what == "drop_field" and not self.field:
            raise BadFault("drop_field needs field")
        if isinstance(self.retry_after, str) and not (self.retry_after.isascii() and self.retry_after.isprintable()):
            raise BadFault("retry_after is a number of seconds or the text of a header")
        try:
            self.pattern = re.compile(self.path or "", re.IGNORECASE)
        except (re.error, OverflowError, RecursionError) as error:
            raise BadFault(f"path is no regular expression: {error}") from None

    def _check_numbers(self) -> None:
        if not isinstance(self.retry_after, str):
            self._number("retry_after", 0, 10**9, whole=True)
        self._number("probability", 0, 1)
        self._number("times", 0, 10**12, whole=True)
        self._number("delay", 0, LONGEST_DELAY)
        self._number("status", 200, 599, whole=True)
        self._number("share", 0, 1)
        self._number("rate", 1, 10**12, whole=True)
        self._number("port", 0, 65_535, whole=True)
        turns = self.nth if isinstance(self.nth, list) else [self.nth]
        if any(n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1) for n in turns):
            raise BadFault("nth is a number from 1, or a list of such")

    def _number(self, name: str, low: float, high: float, whole: bool = False) -> None:
        value = getattr(self, name)
        if value is None and name in ("retry_after", "probability", "times"):
            return
        right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not right or not low <= value <= high:
            raise BadFault(f"{name} is a number from {low:g} to {high:g}")

    def fits(self, request: Request) -> bool:
        return (
            self.system in (None, request.system)
            and (self.method or request.method).upper() == request.method
            and self.pattern.search(request.path) is not None
        )

    def fires(self, request: Request, seed: int) -> Fault | None:
        """Count a request that fits; the fault that hits it, if any."""
        self.seen += 1
        if self.times is not None and self.fired >= self.times:
            return None
        what = f"{request.method} {request.path}"
        if self.probability is not None or self._parts:
            self._met[what] += 1
        luck = Luck(f"{seed} {self.number} {what} {self._met[what]}")
        if self.nth is not None and self.seen not in (self.nth if isinstance(self.nth, list) else [self.nth]):
            return None
        if self.probability is not None and luck.share >= self.probability:
            return None
        hit: Fault | None = self
        if self._parts:
            parts = [part for part in self._parts if part.fits(request) and part.suits(request)]
            hit = parts[luck.turn % len(parts)] if parts else None
        if hit is not None:
            self.fired += 1
            hit.fired += hit is not self
        return hit

    def suits(self, request: Request) -> bool:
        """Whether the fault can show at this request at all; a mix chooses among those."""
        if self.what == "sync_rejects":
            return WRITTEN_ROWS.search(f"{request.method} {request.path}") is not None
        return self.what not in OF_SYNCS or (request.method == "POST" and JOB_START.search(request.path) is not None)

    def fate(self) -> Fate:
        """How the work that the request starts will end."""
        return Fate(self.what.removeprefix("sync_"), self.code or "", self.share)

    def response(self) -> Response:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.body is None or isinstance(self.body, str):
            body = (self.body or "").encode("utf-8", "replace")
            return Response(self.status, body, "text/plain; charset=utf-8", headers)
        return json_response(self.body, self.status, headers)

    def shown(self) -> dict[str, Any]:
        """The rule as JSON, with how many requests fitted and how many were hit."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        always = ("what", "number", "seen", "fired")
        rule = {name: getattr(self, name) for name in defaults}
        result = {name: v for name, v in rule.items() if name in always or v != defaults[name]}
        if self.what == "status":
            result["status"] = self.status
        if self._parts:
            result["kinds"] = [part.shown() for part in self._parts]
        return result


class Luck:
    """Chance that follows from a text: `share` in [0, 1), `turn` a big number independent of it."""

    def __init__(self, text: str) -> None:
        digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
        self.share = int.from_bytes(digest[:8], "big") / 2**64
        self.turn = int.from_bytes(digest[8:], "big")


class Faults:
    """The rules in force. The first that fits and fires is taken."""

    def __init__(self, seed: int) -> None:
        self._seed, self._lock, self._last = seed, threading.Lock(), 0
        self._rules: list[Fault] = []
        self.latency = 0.0  # seconds that every request to Eloqua and Salesforce waits before it is looked at

    def add(self, what: str = "delay", **rule: Any) -> Fault:
        """Put a rule in force, e.g. add("status", path="/id$", nth=1, status=503). Raises BadFault."""
        return self._enter([made({"what": what, **rule})])[0]

    def add_document(self, document: Any) -> list[Fault]:
        """Put the rules of a JSON document in force, all or none: one rule, a list, {"mix": share}, {"latency": seconds}.

        Returns the rules made; a latency is none. Raises BadFault.
        """
        latency, rules = None, []
        for rule in document if isinstance(document, list) else [document]:
            if not isinstance(rule, dict):
                raise BadFault("a rule is a JSON object")
            if "latency" in rule:
                latency = seconds(rule)
            else:
                rules.append(made(rule))
        if latency is not None:
            self.latency = latency
        return self._enter(rules)

    def _enter(self, rules: list[Fault]) -> list[Fault]:
        with self._lock:
            for fault in rules:
                self._last += 1
                fault.number = self._last
            self._rules += rules
        return rules

    def remove(self, number: int) -> bool:
        """Take one rule back; false when there is none of this number."""
        with self._lock:
            kept = [fault for fault in self._rules if fault.number != number]
            found = len(kept) < len(self._rules)
            self._rules = kept
        return found

    def clear(self) -> None:
        """No rules, no latency. Syncs that are stuck stay so."""
        with self._lock:
            self._rules, self.latency = [], 0.0

    def __iter__(self) -> Iterator[Fault]:
        return iter(list(self._rules))

    def take(self, request: Request) -> Fault | None:
        with self._lock:
            for fault in self._rules:
                if fault.fits(request) and (hit := fault.fires(request, self._seed)):
                    return hit
        return None


def made(rule: dict[str, Any]) -> Fault:
    """The fault that a JSON object describes. Raises BadFault."""
    rule = {name: value for name, value in rule.items() if name not in ("seen", "fired", "number")}
    if "mix" in rule:
        rule = {"what": "mix", "probability": rule.pop("mix"), **rule}
    if rule.pop("every", None) is False:
        raise BadFault("every is true or absent")
    try:
        return Fault(**rule)
    except TypeError as error:
        raise BadFault(str(error).replace("Fault.__init__() ", "")) from None


def seconds(rule: dict[str, Any]) -> float:
    value = rule["latency"]
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 <= value <= LONGEST_DELAY
        or len(rule) > 1
    ):
        raise BadFault(f'latency stands alone: {{"latency": seconds}}, from 0 to {LONGEST_DELAY:g}')
    return float(value)


def read_rules(text: str) -> list[Any]:
    """The rules of a file: one JSON document, or one a line. Raises ValueError."""
    try:
        document = json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return document if isinstance(document, list) else [document]


def spoil(response: Response, fault: Fault) -> Response:
    """The right answer, damaged as the fault says."""
    if fault.what == "wrong_type":
        response.content_type = "text/html; charset=utf-8"
    elif fault.what in PAGE_DAMAGE:
        response.body = body = whole(response.body)
        kind = (response.content_type or "").lower()
        if "csv" in kind:
            response.body = damaged_csv(body, fault)
        elif "json" in kind:
            response.body = damaged_json(body, fault)
    return response


def whole(body: bytes | Iterable[bytes]) -> bytes:
    return body if isinstance(body, bytes) else b"".join(body)


def damaged_json(body: bytes, fault: Fault) -> bytes:
    try:
        page = json.loads(body)
    except ValueError:
        return body
    rows: list[dict[str, Any]] = next(
        (page[key] for key in ("items", "records", "elements") if isinstance(page, dict) and page.get(key)), []
    )
    if fault.what == "drop_field":
        for row in rows:
            row.pop(fault.field or "", None)
    elif rows and fault.what == "missing_row":
        rows.pop()
    elif len(rows) > 1:
        rows[-1] = rows[0]
    return compact(page)


def damaged_csv(body: bytes, fault: Fault) -> bytes:
    """A page of CSV with header: whole lines are moved, so that cells with line breaks in them stay out of it."""
    lines = body.splitlines(keepends=True)
    if b'"' in body or len(lines) < 2 or fault.what == "drop_field":
        return body
    if fault.what == "missing_row":
        return b"".join(lines[:-1])
    return b"".join([*lines[:-1], lines[1]])
