"""What a handler sees of HTTP: requests, responses and the table of routes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote

from scc.sandbox.store import compact


@dataclass(frozen=True)
class Fate:
    """How a fault wants the work of a request to end: "error", "warning", "rejects", "stuck", or "" as it should.

    The work is a sync of Eloqua, a Bulk 2.0 job or a collection of records of Salesforce. code: what its log or its
    rejects show, "" for the usual one. share: of the rows that are rejected.
    """

    outcome: str = ""
    code: str = ""
    share: float = 0.0

    def rejects(self, number: int) -> bool:
        """Whether the row of this number, from 1, is rejected: the first one is, and the others evenly spread."""
        if self.outcome != "rejects":
            return False
        return math.ceil(number * self.share) > math.ceil((number - 1) * self.share)


@dataclass
class Request:
    """One request as it came in. `path` is decoded, without query; `raw_target` is what stood in the request line."""

    method: str
    raw_target: str
    headers: Mapping[str, str]  # looked up without regard to case
    body: bytes = b""
    system: str = "sandbox"
    fate: Fate = Fate()  # set by a fault
    port: int = 0  # that it came in by

    def __post_init__(self) -> None:
        target = ABSOLUTE.sub("", self.raw_target, count=1)
        path, _, query = target.partition("#")[0].partition("?")
        self.path = unquote(path)
        self.query_text = query
        self.query = dict(parse_qsl(query, keep_blank_values=True))

    @property
    def cause(self) -> str:
        """How the mutation log names this request."""
        return f"{self.method} {self.path}"


# A request line may name the whole address (RFC 9112, 3.2.2).
ABSOLUTE = re.compile(r"^https?://[^/?#]*", re.IGNORECASE)


@dataclass
class Response:
    status: int = 200
    body: bytes | Iterator[bytes] = b""
    content_type: str | None = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class Failed(Exception):
    """A handler gives up and answers this instead."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def load_json(body: bytes | str) -> Any:
    """The document in a body. Raises ValueError for all that is no JSON of RFC 8259, also where Python's parser is lax.

    That is: NaN and Infinity, half of a surrogate pair (no UTF-8 can hold it), nesting without end.
    """
    try:
        document = json.loads(body, parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if b"\\u" in body if isinstance(body, bytes) else "\\u" in body:
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError):
            raise ValueError("half of a surrogate pair") from None
    return document


def refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def json_response(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(status, compact(document), headers=headers or {})


def text_response(message: str, status: int) -> Response:
    return Response(status, message.encode(), "text/plain; charset=utf-8")


Handler = Callable[..., Response]


class Pattern:
    """A regular expression that is compiled when first asked for: a sandbox has hundreds, and most starts need few."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._start = PLAIN.match(expression)[0].lower()  # type: ignore[index]  # it matches the empty text, too

    def fullmatch(self, path: str) -> re.Match[str] | None:
        return self._compiled.fullmatch(path) if path.lower().startswith(self._start) else None

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self._expression, re.IGNORECASE)


# What every path that fits an expression begins with; a character before a quantifier is not sure to be there.
PLAIN = re.compile(r"(?:[\w/ -](?![*?+{|]))*")


@cache  # the same in each of thousands of copies of a sandbox
def path_pattern(template: str) -> Pattern:
    return Pattern(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template) + "/*")


class Router:
    """Routes by method and path pattern; `{name}` stands for one path segment and reaches the handler as a text."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._routes: list[tuple[str, Pattern, Handler]] = []
        self.templates: list[tuple[str, str]] = []  # method and path pattern of every route, for whoever tests them all

    def add(self, method: str, pattern: str, handler: Handler) -> None:
        self.templates.append((method, self._prefix + pattern))
        self._routes.append((method, path_pattern(self._prefix + pattern), handler))

    def find(self, method: str, path: str) -> tuple[Handler | None, dict[str, str], list[str]]:
        """The handler and its arguments; without one, the methods that this path would take."""
        allowed = []
        for known, pattern, handler in self._routes:
            if match := pattern.fullmatch(path):
                if known == method:
                    return handler, match.groupdict(), []
                allowed.append(known)
        return None, {}, allowed
