"""HTTP on loopback: tornado takes requests, a few threads answer them, faults interfere as they were told to.

The event loop only moves bytes. Handlers run in threads, because DuckDB's work would otherwise hold up the other clients.
Keep-alive, chunked and gzipped request bodies and `Expect: 100-continue` are tornado's; HEAD is a GET without its body.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import http.client
import re
import socket
import struct
import sys
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

from scc.sandbox.clock import Clock, iso
from scc.sandbox.faults import OF_SYNCS, Fault, Faults, spoil, whole
from scc.sandbox.http import Failed, Request, Response, text_response

# Above the 32 MB that Eloqua takes, so that the sandbox itself can answer what Eloqua answers (eloqua.md 3.8).
MAX_BODY = 300 * 1024 * 1024
MAX_HEADERS = 4 * 1024 * 1024
KEPT_REQUESTS = 50_000  # some 350 bytes each
# Smaller answers gain nothing; bigger ones would cost more time than loopback gives back.
GZIPPED_BYTES = range(1024, 1024 * 1024)
DRIPS_A_SECOND = 20
LINGER_ZERO = struct.pack("ii", 1, 0)  # close() then sends RST instead of FIN


@dataclass(slots=True)
class LoggedRequest:
    """One received request. status is None where a fault kept the answer back; sizes in bytes.

    It is in the log before its answer leaves; response_bytes and seconds are final when the answer has left.
    """

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

    def shown(self) -> dict[str, Any]:
        """For JSON: by the names of the attributes."""
        return {name: getattr(self, name) for name in self.__slots__} | {"time": iso(self.time)}


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
        # What a fault does to a system before the request is looked at, by the fault's `what`.
        self.effects: dict[str, Callable[[Request, Fault], Any]] = {}
        self.port = 0
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="sandbox")
        # Bodies made piece by piece have threads of their own: a reader that is slow to take them holds up no one.
        self._makers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="sandbox-body")

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self, port: int = 0) -> None:
        """Listen (port 0: any free one) and serve in the background. Raises OSError when the port is taken."""
        sockets = bind_sockets(port, "127.0.0.1", family=socket.AF_INET)
        self.port = sockets[0].getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(sockets, ready), name="sandbox-http", daemon=True)
        self._thread.start()
        ready.wait()

    def listen(self, port: int = 0) -> int:
        """Listen on one port more and return it. Raises OSError when the port is taken."""
        sockets = bind_sockets(port, "127.0.0.1", family=socket.AF_INET)
        self._loop.call_soon_threadsafe(self._http.add_sockets, sockets)
        return sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Cut all connections. Handlers that still run are left to themselves: nobody waits for their answer."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout=10)
        for pool in (self._threads, self._makers):
            pool.shutdown(wait=False, cancel_futures=True)

    def _serve(self, sockets: list[socket.socket], ready: threading.Event) -> None:
        asyncio.run(self._main(sockets, ready))

    async def _main(self, sockets: list[socket.socket], ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._http = HTTPServer(
            self._receive,
            max_body_size=MAX_BODY,
            max_buffer_size=MAX_BODY + MAX_HEADERS,
            max_header_size=MAX_HEADERS,
            decompress_request=True,
        )
        self._http.add_sockets(sockets)
        ready.set()
        await self._stopping.wait()
        self._http.stop()
        for task in self._tasks:
            task.cancel()
        await self._http.close_all_connections()

    # -- one request ------------------------------------------------------------------------------------------------

    def _receive(self, incoming: HTTPServerRequest) -> None:
        task = self._loop.create_task(self._serve_one(incoming))
        self._tasks.add(task)  # asyncio itself keeps only weak references
        task.add_done_callback(self._tasks.discard)

    async def _serve_one(self, incoming: HTTPServerRequest) -> None:
        request = Request(incoming.method or "", incoming.uri or "/", incoming.headers, incoming.body)
        request.system = self._system_of(request.path)
        request.port = port_of(incoming)
        if request.system != "sandbox":
            self._number += 1
            self.calls[request.system] += 1
        number, started, clock_time = self._number, time.monotonic(), self._clock.now
        fault = self._faults.take(request) if request.system != "sandbox" else None
        try:
            response = await self._respond(request, fault)
            entry = LoggedRequest(
                number,
                request.system,
                sys.intern(request.method),
                request.path,
                request.query_text,
                response.status if response else None,
                clock_time,
                len(request.body),
                0,
                time.monotonic() - started,
                fault.what if fault else None,
            )
            if request.system != "sandbox":
                self.requests.append(entry)  # before the answer leaves: whoever has it finds its request in the log
            if response is None:
                await self._leave_unanswered(incoming, fault)
            else:
                entry.response_bytes = len(response.body) if isinstance(response.body, bytes) else 0
                entry.response_bytes = await self._send(incoming, response, fault)
                entry.seconds = time.monotonic() - started
        except StreamClosedError:
            pass  # the client went away; the effect stays
        except Exception:  # noqa: BLE001  # a body that could not be made: the client must not take it for whole
            traceback.print_exc()
            reset(incoming)

    async def _respond(self, request: Request, fault: Fault | None) -> Response | None:
        """The answer, or None where a fault wants none."""
        wait = (fault.delay if fault else 0.0) + (self._faults.latency if request.system != "sandbox" else 0.0)
        if wait:
            await asyncio.sleep(wait)
        if fault is None:
            return await self._loop.run_in_executor(self._threads, self._handle, request)
        if fault.what in ("reset_before", "silence_before"):
            return None
        if fault.what == "status":
            return fault.response()
        if fault.what in OF_SYNCS:
            request.fate = fault.fate()
        response = await self._loop.run_in_executor(self._threads, self._handle, request, fault)
        return None if fault.what in ("reset_after", "silence") else response

    def _handle(self, request: Request, fault: Fault | None = None) -> Response:
        try:
            if fault and (effect := self.effects.get(fault.what)):
                effect(request, fault)
            for hook in list(self.hooks):
                hook.arrive(request)
            response = self._handled(request)
            return packed(request, spoil(response, fault) if fault else response)
        except Exception:  # noqa: BLE001  # whatever it is, the client gets an answer and the next request is served
            traceback.print_exc()  # a defect of the sandbox: loud here, and no traceback over the wire
            return text_response("The sandbox failed to answer; see its standard error.", 500)

    def _handled(self, request: Request) -> Response:
        try:
            return self._answer(dataclasses.replace(request, method="GET") if request.method == "HEAD" else request)
        except Failed as failure:
            return failure.response

    async def _leave_unanswered(self, incoming: HTTPServerRequest, fault: Fault | None) -> None:
        if fault is None or fault.what not in ("silence_before", "silence"):
            return reset(incoming)
        gone, connection = asyncio.Event(), tornado_connection(incoming)
        connection.set_close_callback(gone.set)
        await gone.wait()
        return None

    # -- the answer on the wire ---------------------------------------------------------------------------------------

    async def _send(self, incoming: HTTPServerRequest, response: Response, fault: Fault | None) -> int:
        """Write the response and return the size of its body in bytes."""
        headers = HTTPHeaders(response.headers)
        if response.content_type:
            headers["Content-Type"] = response.content_type
        start = ResponseStartLine("HTTP/1.1", response.status, http.client.responses.get(response.status, "Unknown"))
        if fault is not None and fault.what in ("truncate", "drip"):
            body = await self._loop.run_in_executor(self._makers, whole, response.body)
            headers["Content-Length"] = str(len(body))
            return await (cut_short if fault.what == "truncate" else drip)(incoming, start, headers, body, fault.rate)
        connection = tornado_connection(incoming)
        if not isinstance(response.body, bytes):
            return await self._stream(incoming, start, headers, response.body)
        if response.status not in (204, 304):
            headers["Content-Length"] = str(len(response.body))
        body = b"" if incoming.method == "HEAD" else response.body
        await connection.write_headers(start, headers, body)
        connection.finish()
        return len(body)

    async def _stream(
        self, incoming: HTTPServerRequest, start: ResponseStartLine, headers: HTTPHeaders, body: Iterator[bytes]
    ) -> int:
        """Write a body that is made piece by piece, each only when the one before has left."""
        connection, pieces, sent = tornado_connection(incoming), iter(body), 0
        if incoming.version == "HTTP/1.0":
            headers["Connection"] = "close"  # such a client knows no chunks: the end of the connection is the body's
        else:
            headers["Transfer-Encoding"] = "chunked"
        await connection.write_headers(start, headers)
        if incoming.method != "HEAD":
            while piece := await self._loop.run_in_executor(self._makers, next_piece, pieces):
                await connection.write(piece)
                sent += len(piece)
        connection.finish()
        return sent


def next_piece(pieces: Iterator[bytes]) -> bytes:
    """The next piece, nothing at the end. (StopIteration cannot cross into a coroutine.)"""
    return next(pieces, b"")


def tornado_connection(incoming: HTTPServerRequest) -> Any:
    return incoming.connection  # tornado's HTTP1Connection, whose stream its interface does not name


def port_of(incoming: HTTPServerRequest) -> int:
    """The port that a request came in by; 0 when its connection is gone already."""
    try:
        return tornado_connection(incoming).stream.socket.getsockname()[1]
    except (AttributeError, OSError):
        return 0


def packed(request: Request, response: Response) -> Response:
    """The response gzipped, where the client takes that and it pays."""
    body = response.body
    if not isinstance(body, bytes) or len(body) not in GZIPPED_BYTES or "Content-Encoding" in response.headers:
        return response
    if not accepts_gzip(request.headers.get("Accept-Encoding", "")):
        return response
    response.body = gzip.compress(body, compresslevel=1, mtime=0)
    response.headers = {**response.headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return response


def accepts_gzip(header: str) -> bool:
    """Whether Accept-Encoding names gzip, and not with q=0."""
    for part in header.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() == "gzip":
            return re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", weight) is None
    return False


async def write_raw(incoming: HTTPServerRequest, start: ResponseStartLine, headers: HTTPHeaders, body: bytes) -> Any:
    """Write head and the first bytes of a body past tornado, which would hold the sizes to account."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.get_all())
    stream = tornado_connection(incoming).stream
    await stream.write(f"HTTP/1.1 {start.code} {start.reason}\r\n{lines}\r\n".encode("latin-1") + body)
    return stream


async def cut_short(
    incoming: HTTPServerRequest, start: ResponseStartLine, headers: HTTPHeaders, body: bytes, rate: int
) -> int:
    half = body[: len(body) // 2]
    (await write_raw(incoming, start, headers, half)).close()
    return len(half)


async def drip(
    incoming: HTTPServerRequest, start: ResponseStartLine, headers: HTTPHeaders, body: bytes, rate: int
) -> int:
    """The whole body, at `rate` bytes a second, then the end of the connection."""
    stream = await write_raw(incoming, start, headers, b"")
    step = max(1, rate // DRIPS_A_SECOND)
    for at in range(0, len(body), step):
        await asyncio.sleep(step / rate)
        await stream.write(body[at : at + step])
    stream.close()
    return len(body)


def reset(incoming: HTTPServerRequest) -> None:
    """Cut the connection with a TCP reset."""
    stream = tornado_connection(incoming).stream
    if stream.socket is not None:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    stream.close()
