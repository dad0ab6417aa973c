"""/_sandbox/: what the sandbox holds and saw, and how to interfere, over HTTP."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from scc.sandbox.clock import iso
from scc.sandbox.faults import BadFault
from scc.sandbox.http import Failed, Request, Response, Router, json_response, load_json, text_response
from scc.sandbox.salesforce.schema import OBJECTS
from scc.sandbox.store import compact, quoted

if TYPE_CHECKING:
    from scc.sandbox.sandbox import Sandbox

LINES_A_PIECE = 2000


class Control:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._router = Router("/_sandbox")
        for method, path, handler in (
            ("GET", "/summary", self.summary),
            ("GET", "/quota", self.quota),
            ("GET", "/mutations", self.mutations),
            ("GET", "/requests", self.requests),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("DELETE", "/faults/{number}", self.clear_fault),
            ("POST", "/pod-move", self.move_pod),
            ("GET", "/clock", self.clock),
            ("POST", "/clock", self.advance),
            ("POST", "/state/save", self.save_state),
            ("POST", "/jwt-key", self.jwt_key),
            ("POST", "/expire-tokens", self.expire_tokens),
            ("GET", "/custom-objects/{name}", self.custom_object),
            ("GET", "/crm/{name}", self.crm_object),
            ("GET", "/slack", self.slack),
        ):
            self._router.add(method, path, handler)
        self._window: Any = None

    def answer(self, request: Request) -> Response:
        self.open_window()
        self._sandbox.systems["eloqua"].catch_up(wait=False)  # with the real clock time passes without an advance
        handler, arguments, allowed = self._router.find(request.method, request.path)
        if handler is None:
            return text_response("Method not allowed.", 405) if allowed else text_response("Not found.", 404)
        return handler(request, **arguments)

    def open_window(self) -> None:
        """Add the window's pages: not before somebody looks, for a start would wait for their modules."""
        if self._window is None:
            from scc.sandbox.window import Window

            window = Window(self._sandbox, self.summarize)
            window.routes(self._router)
            self._window = window

    # -- looking ----------------------------------------------------------------------------------------------------

    def summary(self, request: Request) -> Response:
        return json_response(self.summarize())

    def summarize(self) -> dict[str, Any]:
        sandbox, store = self._sandbox, self._sandbox.store
        sandbox.systems["eloqua"].catch_up(wait=False)
        status = quoted("Enrichment_Status1")
        objects = {}
        for entity in sandbox.systems["eloqua"].entities.values():
            has_status = entity.field_by("Enrichment_Status1") is not None
            column = status if has_status else "''"
            objects[entity.name] = dict(
                store.rows(f"SELECT {column}, count(*) FROM {entity.table} GROUP BY 1 ORDER BY 1")
            )
        crm = {
            known.name: store.value(f"SELECT count(*) FROM {known.table} WHERE NOT IsDeleted")
            for known in OBJECTS.values()
            if known.name not in ("User", "Organization")
        }
        calls = {name: sandbox.server.calls[name] for name in sandbox.systems}
        return {
            "contacts": store.value("SELECT count(*) FROM eloqua.contact"),
            "activities": dict(store.rows("SELECT Type, count(*) FROM eloqua.activity GROUP BY Type ORDER BY Type")),
            "custom_object_records": objects,
            "crm": crm,
            "calls": calls,
            "mutations": store.count_mutations(),
            "now": iso(sandbox.clock.now),
            "seed": sandbox.seed,
        }

    def quota(self, request: Request) -> Response:
        """Bulk syncs made in the last hour by kind, and Eloqua's soft quotas."""
        return json_response(self._sandbox.systems["eloqua"].syncs.usage())

    def mutations(self, request: Request) -> Response:
        return Response(
            200, pieces(line.encode() + b"\n" for line in self._sandbox.store.mutations()), "application/x-ndjson"
        )

    def requests(self, request: Request) -> Response:
        return ndjson(logged.shown() for logged in self._sandbox.requests)

    def custom_object(self, request: Request, name: str) -> Response:
        try:
            self._sandbox.eloqua.entity(name)
        except KeyError:
            return text_response("No such custom object.", 404)
        return ndjson(self._sandbox.eloqua.records(name))

    def crm_object(self, request: Request, name: str) -> Response:
        if name.lower() not in OBJECTS:
            return text_response("No such object.", 404)
        return ndjson(self._sandbox.salesforce.rows(name))

    def slack(self, request: Request) -> Response:
        return ndjson(self._sandbox.slack.messages)

    # -- interfering ------------------------------------------------------------------------------------------------

    def faults(self, request: Request) -> Response:
        shown: list[dict[str, Any]] = [fault.shown() for fault in self._sandbox.faults]
        if self._sandbox.faults.latency:
            shown.append({"latency": self._sandbox.faults.latency})
        return json_response(shown)

    def add_fault(self, request: Request) -> Response:
        """One rule, or a list of rules, {"mix": share} and {"latency": seconds} among them: see faults.py."""
        rules = document(request)
        try:
            added = self._sandbox.faults.add_document(rules)
        except BadFault as error:
            return text_response(f"{error}\n", 400)
        return json_response([fault.shown() for fault in added], 201)

    def clear_fault(self, request: Request, number: str) -> Response:
        found = number.isdecimal() and len(number) < 19 and self._sandbox.faults.remove(int(number))
        return Response(204, b"", None) if found else text_response("No such rule.\n", 404)

    def clear_faults(self, request: Request) -> Response:
        self._sandbox.faults.clear()
        return Response(204, b"", None)

    def clock(self, request: Request) -> Response:
        return json_response({"now": iso(self._sandbox.clock.now)})

    def advance(self, request: Request) -> Response:
        body = document(request)
        seconds = body.get("advance") if isinstance(body, dict) else None
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < 10**10:
            return text_response('Send {"advance": seconds}.\n', 400)
        try:
            return json_response({"now": iso(self._sandbox.clock.advance(seconds))})
        except OverflowError:
            return text_response("The clock ends with the year 9000.\n", 400)

    def move_pod(self, request: Request) -> Response:
        """Move Eloqua to another port: {"port": number}, or without a body to any free one."""
        body = document(request) if request.body else {}
        port = body.get("port", 0) if isinstance(body, dict) else None
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65_535:
            return text_response('Send {"port": number}.\n', 400)
        try:
            return json_response({"base": self._sandbox.move_pod(port)})
        except OSError as error:
            return text_response(f"Cannot listen on port {port}: {error.strerror}\n", 409)

    def save_state(self, request: Request) -> Response:
        """Write the whole state to {"path": ...}, a file on this machine."""
        body = document(request)
        path = body.get("path") if isinstance(body, dict) else None
        if not isinstance(path, str) or not path or "\0" in path:
            return text_response('Send {"path": file}.\n', 400)
        try:
            self._sandbox.save(path)
        except OSError as error:
            return text_response(f"{error.strerror}\n", 400)
        return json_response({"path": path}, 201)

    def jwt_key(self, request: Request) -> Response:
        """Register the public key (PEM, as the body) whose assertions the JWT flow accepts."""
        pem = request.body.decode("utf-8", "replace").strip()
        if not pem.startswith("-----BEGIN"):
            return text_response("Send a public key as PEM.\n", 400)
        self._sandbox.salesforce.register_jwt_key(pem)
        return Response(204, b"", None)

    def expire_tokens(self, request: Request) -> Response:
        for door in (self._sandbox.eloqua, self._sandbox.salesforce):
            door.expire_tokens()
        return Response(204, b"", None)


def document(request: Request) -> Any:
    try:
        return load_json(request.body)
    except ValueError:
        raise Failed(text_response("The body is not JSON.\n", 400)) from None


def ndjson(rows: Iterable[dict[str, Any]]) -> Response:
    """One JSON document a line, sent as it is made."""
    return Response(200, pieces(compact(row) + b"\n" for row in rows), "application/x-ndjson")


def pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines joined to pieces that are worth a write."""
    lines = iter(lines)
    while piece := b"".join(itertools.islice(lines, LINES_A_PIECE)):
        yield piece
