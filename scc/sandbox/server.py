"""HTTP on loopback: tornado takes requests, a few threads answer them, faults interfere as they were told to.

The event loop only moves bytes. Handlers run in threads, because DuckDB's work would otherwise hold up the other clients.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import socket
import struct
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets

from scc.sandbox.clock import Clock
from scc.sandbox.faults import Fault, Faults, spoil
from scc.sandbox.http import Failed, Request, Response, text_response

# Above the 32 MB that Eloqua takes, so that the sandbox itself can answer what Eloqua answers (eloqua.md 3.8).
MAX_BODY = 300 * 1024 * 1024
MAX_HEADERS = 4 * 1024 * 1024
KEPT_REQUESTS = 200_000
LINGER_ZERO = struct.pack("ii", 1, 0)  # close() then sends RST instead of FIN


@dataclass
class LoggedRequest:
    """One received request. status is None when the connection was cut before an answer; sizes in bytes."""

    number: int
    system: str
    method: str
    path: str
    query: str
    status: int | None
    time: datetime
    request_bytes: int
    response_bytes: int
    seconds: float
    fault: str | None


class Hook:
    """A Python callable that runs when a given request arrives, before it is answered."""

    def __init__(self, method: str, path: str, call: Callable[[Request], Any], nth: int | None) -> None:
        self.method, self.path, self.call, self.nth = method.upper(), re.compile(path, re.IGNORECASE), call, nth
        self._seen = 0

    def arrive(self, request: Request) -> None:
        if self.method not in ("*", request.method) or not self.path.search(request.path):
            return
        self._seen += 1
        if self.nth in (None, self._seen):
            self.call(request)


class Server:
    """Serves `answer` (request -> response) on 127.0.0.1 in a thread of its own."""

    def __init__(
        self, answer: Callable[[Request], Response], system_of: Callable[[str], str], clock: Clock, faults: Faults
    ) -> None:
        self._answer, self._system_of, self._clock, self._faults = answer, system_of, clock, faults
        self.requests: deque[LoggedRequest] = deque(maxlen=KEPT_REQUESTS)
        self.calls: Counter[str] = Counter()
        self.hooks: list[Hook] = []
        self.port = 0
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="sandbox")

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self, port: int = 0) -> None:
        """Listen (port 0: any free one) and serve in the background. Raises OSError when the port is taken."""
        sockets = bind_sockets(port, "127.0.0.1", family=socket.AF_INET)
        self.port = sockets[0].getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(sockets, ready), name="sandbox-http", daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout=10)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _serve(self, sockets: list[socket.socket], ready: threading.Event) -> None:
        asyncio.run(self._main(sockets, ready))

    async def _main(self, sockets: list[socket.socket], ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = HTTPServer(
            self._receive, max_body_size=MAX_BODY, max_buffer_size=MAX_BODY + MAX_HEADERS, max_header_size=MAX_HEADERS
        )
        server.add_sockets(sockets)
        ready.set()
        await self._stopping.wait()
        server.stop()
        for task in self._tasks:
            task.cancel()
        await server.close_all_connections()

    # -- one request ------------------------------------------------------------------------------------------------

    def _receive(self, incoming: HTTPServerRequest) -> None:
        task = self._loop.create_task(self._serve_one(incoming))
        self._tasks.add(task)  # asyncio itself keeps only weak references
        task.add_done_callback(self._tasks.discard)

    async def _serve_one(self, incoming: HTTPServerRequest) -> None:
        request = Request(incoming.method or "", incoming.uri or "/", incoming.headers, incoming.body)
        request.system = self._system_of(request.path)
        if request.system != "sandbox":
            self._number += 1
            self.calls[request.system] += 1
        number, started, clock_time = self._number, time.monotonic(), self._clock.now
        fault = self._faults.take(request) if request.system != "sandbox" else None
        sent, status = 0, None
        try:
            response = await self._respond(request, fault)
            if response is None:
                reset(incoming)
            else:
                status = response.status
                sent = await send(incoming, response, cut=fault is not None and fault.what == "truncate")
        except StreamClosedError:
            pass  # the client went away; the effect stays
        finally:
            if request.system != "sandbox":
                self.requests.append(
                    LoggedRequest(
                        number,
                        request.system,
                        request.method,
                        request.path,
                        request.query_text,
                        status,
                        clock_time,
                        len(request.body),
                        sent,
                        time.monotonic() - started,
                        fault.what if fault else None,
                    )
                )

    async def _respond(self, request: Request, fault: Fault | None) -> Response | None:
        """The answer, or None where a fault wants the connection reset."""
        if fault is None:
            return await self._loop.run_in_executor(self._threads, self._handle, request)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.what == "reset_before":
            return None
        if fault.what == "status":
            return fault.response()
        if fault.what.startswith("sync_") or fault.what == "stuck":
            request.sync_fate = fault.what.removeprefix("sync_")
        response = await self._loop.run_in_executor(self._threads, self._handle, request)
        if fault.what == "reset_after":
            return None
        return spoil(response, fault)

    def _handle(self, request: Request) -> Response:
        try:
            for hook in list(self.hooks):
                hook.arrive(request)
            return self._answer(request)
        except Failed as failure:
            return failure.response
        except Exception:  # noqa: BLE001  # whatever it is, the client gets an answer and the next request is served
            traceback.print_exc()  # a defect of the sandbox: loud here, and no traceback over the wire
            return text_response("The sandbox failed to answer; see its standard error.", 500)


async def send(incoming: HTTPServerRequest, response: Response, cut: bool = False) -> int:
    """Write the response and return the size of its body in bytes; `cut` closes in the middle of the body."""
    connection: Any = incoming.connection  # tornado's HTTP1Connection, whose stream its interface does not name
    headers = HTTPHeaders(response.headers)
    if response.content_type:
        headers["Content-Type"] = response.content_type
    start = ResponseStartLine("HTTP/1.1", response.status, http.client.responses.get(response.status, "Unknown"))
    if not isinstance(response.body, bytes):
        return await stream(connection, start, headers, response)
    if response.status not in (204, 304):
        headers["Content-Length"] = str(len(response.body))
    if cut:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.get_all())
        head = f"HTTP/1.1 {start.code} {start.reason}\r\n{lines}\r\n".encode("latin-1")
        half = response.body[: len(response.body) // 2]
        await connection.stream.write(head + half)
        connection.stream.close()
        return len(half)
    body = b"" if incoming.method == "HEAD" else response.body
    await connection.write_headers(start, headers, body)
    connection.finish()
    return len(body)


async def stream(connection: Any, start: ResponseStartLine, headers: HTTPHeaders, response: Response) -> int:
    """Write a body that is made piece by piece, each only when the one before has left."""
    loop, sent = asyncio.get_running_loop(), 0
    pieces: Iterator[Any] = iter(response.body)
    headers["Transfer-Encoding"] = "chunked"
    await connection.write_headers(start, headers)
    while piece := await loop.run_in_executor(None, next, pieces, b""):
        await connection.write(piece)
        sent += len(piece)
    connection.finish()
    return sent


def reset(incoming: HTTPServerRequest) -> None:
    """Cut the connection with a TCP reset."""
    connection: Any = incoming.connection
    stream = connection.stream
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    stream.close()
