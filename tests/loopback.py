"""A server on loopback that behaves as badly as a test asks: what canned answers cannot show.

    with Loopback(reset, answer(200, b"{}")) as server: ...

Each request gets the next act of the script; when the script is over, its last act is repeated.
"""

import http.client
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

Act = Callable[[socket.socket], None]


@dataclass
class Received:
    """A request as it came over the wire."""

    method: str
    path: str
    headers: http.client.HTTPMessage
    body: bytes


class Loopback:
    """The server; `received` holds the whole requests so far. tls: speak TLS. port: a certain one, not any."""

    def __init__(self, *script: Act, tls: ssl.SSLContext | None = None, port: int = 0):
        self.received: list[Received] = []
        self._script = list(script)
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Loopback":
        return self

    def __exit__(self, *exception: object) -> None:
        for one in (self._listener, *self._connections):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while request := _request(stream):
                    self.received.append(request)
                    (self._script.pop(0) if len(self._script) > 1 else self._script[0])(connection)


def _request(stream: BinaryIO) -> Received | None:
    line = stream.readline().decode()
    if not line:
        return None
    method, path, _ = line.split(" ")
    headers = http.client.parse_headers(stream)
    return Received(method, path, headers, stream.read(int(headers.get("Content-Length", 0))))


def answer(status: int = 200, body: bytes = b"{}", length: int | None = None, **headers: str) -> Act:
    """A whole answer, unless length promises more than the body holds."""
    fields = {"Content_Type": "application/json", "Content_Length": str(len(body) if length is None else length)}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in {**fields, **headers}.items())

    def act(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {status} Some Reason\r\n{lines}\r\n".encode() + body)
        if length is not None:
            connection.shutdown(socket.SHUT_RDWR)

    return act


def raw(content: bytes) -> Act:
    """These bytes, then the end of the connection."""

    def act(connection: socket.socket) -> None:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_RDWR)

    return act


def silence(connection: socket.socket) -> None:
    """Nothing, until the other side gives up."""
    connection.recv(1)


def reset(connection: socket.socket) -> None:
    """The connection breaks (RST) once the request has come."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(connection.detach())  # close() would wait for the stream that reads from it


def dripping(connection: socket.socket) -> None:
    """An answer that keeps coming, a byte at a time, and never ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.01)


@contextmanager
def unreachable() -> Iterator[str]:
    """The base URL of a host that does not take connections: the queue of its port is full."""
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
