"""Eloqua's Application API, REST 1.0 and 2.0 (eloqua.md 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scc.sandbox.eloqua.accounts import Accounts as AccountChanges
from scc.sandbox.eloqua.auth import User
from scc.sandbox.eloqua.rest.accounts import Accounts
from scc.sandbox.eloqua.rest.activities import Activities
from scc.sandbox.eloqua.rest.contacts import Contacts
from scc.sandbox.eloqua.rest.custom_objects import CustomObjects
from scc.sandbox.eloqua.rest.errors import not_found, refused
from scc.sandbox.eloqua.rest.fields import Fields
from scc.sandbox.eloqua.rest.lists import Lists
from scc.sandbox.eloqua.rest.users import Users
from scc.sandbox.http import Failed, Request, Response, Router

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

PREFIX = "/api/rest/(?P<version>1\\.0|2\\.0)/*"
READS = ("GET", "SEARCH")


class Rest:
    def __init__(self, eloqua: Eloqua) -> None:
        self._store, self.router = eloqua.store, Router(PREFIX)
        self.accounts = AccountChanges(eloqua)
        for part in (Contacts, Lists, Accounts, CustomObjects, Fields, Users, Activities):
            part(eloqua).routes(self.router)

    def owns(self, path: str) -> bool:
        return path.lower().startswith("/api/rest/")

    def answer(self, request: Request, user: User) -> Response:
        """Answer; call it while holding the store's lock. A request that writes takes effect as a whole or not at all."""
        method = request.method
        if method in ("GET", "POST"):  # these may carry another verb (eloqua.md 2.1)
            method = request.headers.get("X-HTTP-Method-Override", method).strip().upper() or method
        try:
            response = self._answer(request, user, method)
        except Failed as failure:
            response = failure.response
        return with_forced_status(request, response)

    def _answer(self, request: Request, user: User, method: str) -> Response:
        handler, arguments, allowed = self.router.find(method, request.path)
        if handler is None:
            raise refused("Method not allowed.", 405) if allowed else not_found()
        if method in READS:
            return handler(request, user, **arguments)
        with self._store.transaction():
            return handler(request, user, **arguments)


def with_forced_status(request: Request, response: Response) -> Response:
    """X-HTTP-Status-Code-Override: the status that the caller wants; the true one goes into a header (eloqua.md 2.1)."""
    wanted = request.headers.get("X-HTTP-Status-Code-Override", "").strip()
    if not (wanted.isascii() and wanted.isdigit() and 200 <= int(wanted[:4]) <= 599):
        return response
    headers = {**response.headers, "X-HTTP-Original-Status-Code": str(response.status)}
    body = b"" if int(wanted) in (204, 205, 304) else response.body
    return Response(int(wanted), body, response.content_type, headers)
