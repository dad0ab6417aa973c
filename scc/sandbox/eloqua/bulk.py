"""The endpoints of the Bulk API 2.0 (eloqua.md 3.2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import duckdb

from scc.sandbox.eloqua.auth import User
from scc.sandbox.eloqua.catalogue import Catalogue
from scc.sandbox.eloqua.definitions import Definition, failures, understood
from scc.sandbox.eloqua.entities import Entity
from scc.sandbox.eloqua.listing import envelope, invalid, json_body, listing, no_content, not_found, window
from scc.sandbox.eloqua.pages import csv_header, csv_rows, json_rows
from scc.sandbox.eloqua.staging import Staging
from scc.sandbox.eloqua.syncs import Sync
from scc.sandbox.http import Failed, Request, Response, Router, json_response, text_response
from scc.sandbox.store import compact

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

NUMBER = re.compile(r"[0-9]{1,18}")
KINDS = {"exports": "exports", "imports": "imports", "syncactions": "syncActions"}
# Which kinds of definition an object has (eloqua.md 3.2); campaign responses and phone numbers are not imitated.
WORK = {
    "/contacts": ("exports", "imports", "syncActions"),
    "/accounts": ("exports", "imports", "syncActions"),
    "/customObjects/{parent}": ("exports", "imports", "syncActions"),
    "/events/{parent}": ("exports", "imports"),
    "/activities": ("exports", "imports"),
    "/emailAddresses": ("imports",),
    "/opportunities": ("imports",),
    "/opportunities/contacts": ("imports",),
}


class Bulk:
    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store, self._clock = eloqua, eloqua.store, eloqua.clock
        self.catalogue, self.staging = Catalogue(eloqua), Staging(eloqua)

    def routes(self, router: Router) -> None:
        add = router.add
        self.catalogue.routes(router)
        add("GET", "/(?P<kind>exports|imports)/data", self.used_storage)
        for base, kinds in WORK.items():
            for kind in kinds:
                path = f"{base}/(?P<kind>{kind})"
                add("GET", path, self.list_definitions)
                add("POST", path, self.create_definition)
                add("GET", path + "/{number}", self.get_definition)
                add("PUT", path + "/{number}", self.change_definition)
                add("DELETE", path + "/{number}", self.delete_definition)
                add("DELETE", path + "/{number}/data", self.delete_data)
                if kind == "exports":
                    add("GET", path + "/{number}/data", self.read_definition_data)
                else:
                    add("POST", path + "/{number}/data", self.stage)
        add("GET", "/(?P<kind>exports|imports|syncActions)", self.list_all_definitions)
        add("GET", "/syncs", self.list_syncs)
        add("POST", "/syncs", self.create_sync)
        add("GET", "/syncs/{number}", self.get_sync)
        add("GET", "/syncs/{number}/data", self.read_sync_data)
        add("DELETE", "/syncs/{number}/data", self.delete_sync_data)
        add("GET", "/syncs/{number}/logs", self.read_logs)
        add("GET", "/syncs/{number}/rejects", self.read_rejects)

    def _entity(self, request: Request, parent: str | None) -> Entity:
        """The entity that a path is about: by its number, or by the words before the kind of definition."""
        words = request.path.lower().split("/2.0", 1)[-1].strip("/").split("/")
        if parent is not None:
            known = self._eloqua.event_by_id if words[0] == "events" else self._eloqua.custom_object_by_id
            entity = known(parent)
            if entity is None:
                raise not_found()
            return entity
        found = [
            e for e in self._eloqua.standard_entities() if words[: e.path.count("/")] == e.path.lower().split("/")[1:]
        ]
        return max(found, key=lambda e: len(e.path))  # /opportunities/contacts is not /opportunities

    # -- definitions ------------------------------------------------------------------------------------------------

    def list_all_definitions(self, request: Request, user: User, kind: str) -> Response:
        return self._listed(request, KINDS[kind.lower()], None)

    def list_definitions(self, request: Request, user: User, kind: str, parent: str | None = None) -> Response:
        return self._listed(request, KINDS[kind.lower()], self._entity(request, parent))

    def _listed(self, request: Request, kind: str, entity: Entity | None) -> Response:
        found = [
            d.shown()
            for d in self._eloqua.definitions.values()
            if d.kind == kind and (entity is None or d.entity is entity)
        ]
        return listing(request, found, self._eloqua.limits.list_rows)

    def create_definition(self, request: Request, user: User, kind: str, parent: str | None = None) -> Response:
        kind, entity = KINDS[kind.lower()], self._entity(request, parent)
        body = self._checked(request, kind, entity)
        now = self._clock.now
        definition = Definition(
            self._store.next_number("eloqua definition", 310), kind, entity, body, user.name, now, now
        )
        self._eloqua.definitions[definition.id] = definition
        return json_response(definition.shown(), 201)

    def _checked(self, request: Request, kind: str, entity: Entity) -> dict[str, Any]:
        body = understood(json_body(request), kind, entity)
        if found := failures(body, kind, entity, self._eloqua):
            raise invalid(found)
        return body

    def get_definition(
        self, request: Request, user: User, kind: str, number: str, parent: str | None = None
    ) -> Response:
        return json_response(self._definition(kind, number, parent, request).shown())

    def change_definition(
        self, request: Request, user: User, kind: str, number: str, parent: str | None = None
    ) -> Response:
        definition = self._definition(kind, number, parent, request)
        definition.body = self._checked(request, definition.kind, definition.entity)
        definition.updated = self._clock.now
        if definition.kind != "exports":
            self.staging.empty(definition)  # rows that were staged for other fields fit no more
        return json_response(definition.shown())

    def delete_definition(
        self, request: Request, user: User, kind: str, number: str, parent: str | None = None
    ) -> Response:
        self._eloqua.drop_definition(self._definition(kind, number, parent, request))
        return no_content()

    def _definition(self, kind: str, number: str, parent: str | None, request: Request) -> Definition:
        entity = self._entity(request, parent)
        definition = self._eloqua.definitions.get(int(number)) if NUMBER.fullmatch(number) else None
        if definition is None or definition.kind != KINDS[kind.lower()] or definition.entity is not entity:
            raise not_found()
        return definition

    # -- staged data of imports -------------------------------------------------------------------------------------

    def stage(self, request: Request, user: User, kind: str, number: str, parent: str | None = None) -> Response:
        """POST .../data: one file; with isSyncTriggeredOnImport its sync at once (eloqua.md 3.8)."""
        definition = self._definition(kind, number, parent, request)
        self.staging.take(request, definition)
        if definition.body["isSyncTriggeredOnImport"]:
            sync = self._eloqua.syncs.create(definition, user.name, request.fate, None)
            return json_response(sync.shown(new=True), 201)
        return no_content()

    def delete_data(self, request: Request, user: User, kind: str, number: str, parent: str | None = None) -> Response:
        definition = self._definition(kind, number, parent, request)
        if self._eloqua.syncs.running(definition):
            raise Failed(text_response("The data cannot be deleted while a sync is running.", 409))
        self.staging.empty(definition)
        for sync in self._eloqua.syncs.all.values():
            if sync.definition is definition and definition.kind == "exports":
                self._eloqua.syncs.drop_rows(sync)
        return no_content()

    def used_storage(self, request: Request, user: User, kind: str) -> Response:
        """GET /imports/data, /exports/data: staging in use, in kB as in a definition's kbUsed."""
        return json_response({"kbUsed": -(-self._eloqua.syncs.used_bytes()[KINDS[kind.lower()]] // 1024)})

    # -- syncs ------------------------------------------------------------------------------------------------------

    def list_syncs(self, request: Request, user: User) -> Response:
        syncs = [sync.shown() for sync in self._eloqua.syncs.all.values()]
        return listing(request, syncs, self._eloqua.limits.list_rows)

    def create_sync(self, request: Request, user: User) -> Response:
        body = json_body(request)
        uri = body.get("syncedInstanceUri")
        definition = self._eloqua.definition_by_uri(uri)
        if definition is None:
            raise invalid(
                [
                    {
                        "field": "syncedInstanceUri",
                        "value": uri,
                        "constraint": "Must be a reference to an existing object.",
                    }
                ]
            )
        if found := failures(definition.body, definition.kind, definition.entity, self._eloqua):
            raise invalid(found)
        callback = body.get("callbackUrl")
        if not isinstance(callback, (str, type(None))):
            raise invalid([{"field": "callbackUrl", "value": None, "constraint": "Must be a valid URL."}])
        sync = self._eloqua.syncs.create(definition, user.name, request.fate, callback)
        return json_response(sync.shown(new=True), 201)

    def get_sync(self, request: Request, user: User, number: str) -> Response:
        sync = self._sync(number)
        self._eloqua.syncs.poll(sync)
        return json_response(sync.shown())

    def _sync(self, number: str) -> Sync:
        sync = self._eloqua.syncs.all.get(int(number)) if NUMBER.fullmatch(number) else None
        if sync is None:
            raise not_found()
        return sync

    def read_sync_data(self, request: Request, user: User, number: str) -> Response:
        return self._rows(request, user, self._sync(number))

    def read_definition_data(
        self, request: Request, user: User, kind: str, number: str, parent: str | None = None
    ) -> Response:
        definition = self._definition(kind, number, parent, request)
        done = [s for s in self._eloqua.syncs.all.values() if s.definition is definition and s.ended]
        if not done:
            raise not_found()
        return self._rows(request, user, done[-1])

    def _rows(self, request: Request, user: User, sync: Sync) -> Response:
        if sync.definition.kind != "exports":
            raise invalid([{"field": "syncUri", "value": sync.uri, "constraint": "Must be the sync of an export."}])
        if sync.user != user.name:  # only the creator may read (eloqua.md 3.8); status by eloqua.md 6, point 31
            raise Failed(text_response("Forbidden.", 403))
        rows = sync.rows
        if not self._eloqua.exists(sync.definition) or sync.dropped or sync.ended is None:
            raise not_found()
        if sync.status != "error" and self._eloqua.syncs.expired(sync):
            raise Failed(text_response("The data is no longer available.", 410))
        if rows is None:
            raise not_found()
        limit, offset = window(request, 1000, self._eloqua.limits.page_rows)
        count = max(0, min(limit, rows.count - offset))
        try:
            if "csv" in request.headers.get("Accept", "").lower():
                body = csv_header(rows.names) + (csv_rows(self._store, rows, limit, offset) if count else b"")
                return Response(200, body, "text/csv; charset=utf-8")
            tail = compact(envelope(rows.count, limit, offset, count))
            if not count:  # without rows the key `items` is absent (eloqua.md 3.1)
                return Response(200, tail)
            items = json_rows(self._store, rows, limit, offset)
        except duckdb.CatalogException:
            raise not_found() from None  # dropped by another request while this one looked
        return Response(200, b"".join((b'{"items":[', items, b"],", tail[1:])))

    def delete_sync_data(self, request: Request, user: User, number: str) -> Response:
        sync = self._sync(number)
        if not sync.final:
            raise Failed(text_response("The data cannot be deleted while a sync is running.", 409))
        self._eloqua.syncs.drop_rows(sync)
        return no_content()

    def read_logs(self, request: Request, user: User, number: str) -> Response:
        return listing(request, self._sync(number).logs, self._eloqua.limits.list_rows)

    def read_rejects(self, request: Request, user: User, number: str) -> Response:
        limit, offset = window(request, 1000, self._eloqua.limits.list_rows)
        items, total = self._eloqua.syncs.rejects(self._sync(number), limit, offset)
        return json_response({"items": items, **envelope(total, limit, offset, len(items))})
