"""What a handler sees of HTTP: requests, responses and the table of routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from scc.sandbox.store import compact


@dataclass
class Request:
    """One request as it came in. `path` is decoded, without query; `raw_target` is what stood in the request line."""

    method: str
    raw_target: str
    headers: Mapping[str, str]  # looked up without regard to case
    body: bytes = b""
    system: str = "sandbox"
    sync_fate: str | None = None  # set by a fault: how a sync that this request creates will end

    def __post_init__(self) -> None:
        path, _, query = self.raw_target.partition("?")
        self.path = unquote(path)
        self.query_text = query
        self.query = dict(parse_qsl(query, keep_blank_values=True))

    @property
    def cause(self) -> str:
        """How the mutation log names this request."""
        return f"{self.method} {self.path}"


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


def json_response(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(status, compact(document), headers=headers or {})


def text_response(message: str, status: int) -> Response:
    return Response(status, message.encode(), "text/plain; charset=utf-8")


Handler = Callable[..., Response]


class Router:
    """Routes by method and path pattern; `{name}` stands for one path segment and reaches the handler as a text."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, pattern: str, handler: Handler) -> None:
        expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self._prefix + pattern)
        self._routes.append((method, re.compile(expression + "/*", re.IGNORECASE), handler))

    def find(self, method: str, path: str) -> tuple[Handler | None, dict[str, str], list[str]]:
        """The handler and its arguments; without one, the methods that this path would take."""
        allowed = []
        for known, pattern, handler in self._routes:
            if match := pattern.fullmatch(path):
                if known == method:
                    return handler, match.groupdict(), []
                allowed.append(known)
        return None, {}, allowed
