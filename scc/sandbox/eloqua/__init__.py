"""Eloqua as the sandbox plays it: state, and endpoints."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.auth import CLIENT_ID, CLIENT_SECRET, SITE, USERS, Auth
from scc.sandbox.eloqua.bulk import Bulk
from scc.sandbox.eloqua.definitions import Definition
from scc.sandbox.eloqua.door import Door
from scc.sandbox.eloqua.entities import CONTACT_FIELDS, Entity
from scc.sandbox.eloqua.settings import Limits
from scc.sandbox.eloqua.syncs import Syncs
from scc.sandbox.http import Failed, Request, Response, Router, text_response

if TYPE_CHECKING:
    from scc.sandbox.clock import Clock
    from scc.sandbox.store import Store

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "SITE", "USERS", "Eloqua"]

BULK = "/api/bulk/2.0"


class Eloqua:
    """One Eloqua instance."""

    def __init__(self, store: Store, clock: Clock, seed: int, sync_polls: int) -> None:
        self.store, self.clock, self.seed, self.sync_polls = store, clock, seed, sync_polls
        self.limits = Limits()
        self.base_url = ""
        self.contacts = Entity("Contact", None, "Contact", "eloqua.contact", CONTACT_FIELDS)
        self.entities: dict[str, Entity] = {}
        self.definitions: dict[int, Definition] = {}
        self.refusals: dict[str, dict[str, str]] = {}
        self.syncs = Syncs(self)
        self.auth = Auth(self)
        self.door = Door(self)
        self._open, self._bulk = Router(), Router(BULK + "/*")
        self.auth.routes(self._open)
        Bulk(self).routes(self._bulk)

    def answer(self, request: Request) -> Response:
        response = self._answer(request)
        number = self.store.next_number("eloqua request")
        response.headers = {
            **response.headers,
            "X-Request-Id": f"{uuid.uuid5(uuid.NAMESPACE_OID, f'{self.seed} {number}').hex}/{number}",
        }
        return response

    def _answer(self, request: Request) -> Response:
        try:
            with self.store.lock, self.store.caused_by(request.cause):
                self._age()
                handler, arguments, allowed = self._open.find(request.method, request.path)
                if handler:
                    return handler(request)
                user = self.auth.require(request)
                handler, arguments, allowed = self._bulk.find(request.method, request.path)
                if handler is None:
                    return text_response("Method not allowed.", 405) if allowed else text_response("Not found.", 404)
                return handler(request, user, **arguments)
        except Failed as failure:
            return failure.response

    def _age(self) -> None:
        """What time has done since the last request: syncs end, definitions with an autoDeleteDuration go."""
        self.syncs.settle()
        now = self.clock.now
        for definition in [d for d in self.definitions.values() if d.gone(now)]:
            self.drop_definition(definition)

    # -- what the endpoints look up ---------------------------------------------------------------------------------

    def custom_objects(self) -> list[Entity]:
        return list(self.entities.values())

    def custom_object_by_id(self, number: str) -> Entity | None:
        return next((e for e in self.entities.values() if str(e.id) == number), None)

    def exists(self, definition: Definition) -> bool:
        return self.definitions.get(definition.id) is definition

    def definition_by_uri(self, uri: Any) -> Definition | None:
        wanted = str(uri).lower()
        return next((d for d in self.definitions.values() if d.uri.lower() == wanted), None)

    def drop_definition(self, definition: Definition) -> None:
        """The definition goes, and with it the rows staged for it."""
        self.definitions.pop(definition.id, None)
        self.store.execute(f"DROP TABLE IF EXISTS {definition.staging_table}")
        for sync in self.syncs.all.values():
            if sync.definition is definition and definition.kind == "exports":
                self.syncs.drop_rows(sync)
