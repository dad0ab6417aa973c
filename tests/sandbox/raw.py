"""HTTP by hand: what no well-behaved client sends, and a process that can be killed in the middle of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

NOW = "2026-11-22T06:15:00Z"
ROOT = Path(__file__).resolve().parents[2]
READY = "sandbox ready on http://127.0.0.1:"


class Process:
    """`python -m scc.sandbox serve` as its own process, with what it writes to standard error."""

    def __init__(self, folder: Path, *options: str, contacts: int = 40) -> None:
        self.errors = folder / "stderr"
        with self.errors.open("wb") as stderr:
            self.child = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "scc.sandbox",
                    "serve",
                    "--port",
                    "0",
                    "--contacts",
                    str(contacts),
                    "--now",
                    NOW,
                    *options,
                ],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=folder,  # whatever it is told to write stays there
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        assert self.child.stdout is not None
        line = self.child.stdout.readline().strip()
        if not line.startswith(READY):
            self.child.kill()
            raise AssertionError(f"no ready line: {line!r} {self.said()}")
        self.port = int(line.removeprefix(READY))
        self.url = f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        return self.errors.read_text(errors="replace")

    def stop(self, by: int = signal.SIGTERM) -> int:
        """Send the signal and return the exit code."""
        self.child.send_signal(by)
        try:
            code = self.child.wait(timeout=30)
        finally:
            self.child.kill()
        assert self.child.stdout is not None
        self.child.stdout.close()
        return code


class Answer:
    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise AssertionError(f"no JSON: {self.status} {self.body[:300]!r}") from None


class Wire:
    """One keep-alive connection that sends any bytes; a new one when the server has closed it."""

    def __init__(self, port: int) -> None:
        self.port, self._socket = port, None

    def call(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        fresh = self._socket is None
        try:
            return self._call(method, target, headers or {}, body)
        except (OSError, http.client.HTTPException):
            self.close()
            if fresh:
                raise
            return self._call(method, target, headers or {}, body)  # the server had closed an idle connection

    def _call(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(message(method, target, headers, body))
        response = http.client.HTTPResponse(self._socket, method=method)
        response.begin()
        answer = Answer(response.status, response.headers, response.read())
        if response.will_close:
            self.close()
        response.close()
        return answer

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def message(method: str, target: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """The request as bytes; Content-Length and Host are added where they are missing."""
    lines = {"Host": "127.0.0.1", **headers}
    if body or method in ("POST", "PUT", "PATCH"):
        lines.setdefault("Content-Length", str(len(body)))
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode("latin-1", "replace") + b"\r\n" + body
