"""One Eloqua instance: its state, and who answers which request."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.accounts import ACCOUNT_FIELDS
from scc.sandbox.eloqua.activities import Activities
from scc.sandbox.eloqua.arrivals import Arrivals
from scc.sandbox.eloqua.auth import Auth
from scc.sandbox.eloqua.bulk import Bulk
from scc.sandbox.eloqua.containers import Containers
from scc.sandbox.eloqua.definitions import Definition
from scc.sandbox.eloqua.door import Door
from scc.sandbox.eloqua.entities import CONTACT_FIELDS, Entity, Field
from scc.sandbox.eloqua.opportunities import opportunity_entities
from scc.sandbox.eloqua.people import People
from scc.sandbox.eloqua.rest import Rest
from scc.sandbox.eloqua.settings import Limits
from scc.sandbox.eloqua.syncs import Syncs
from scc.sandbox.http import Failed, Request, Response, Router, text_response

if TYPE_CHECKING:
    from scc.sandbox.clock import Clock
    from scc.sandbox.store import Store

BULK = "/api/bulk/2.0"
# Rows of a finished export do not change any more: reading them waits for no writer.
PAGE = re.compile(r"/syncs/\d+/data/*", re.IGNORECASE)
ADDRESS = Field(0, "Email Address", "EmailAddress", "emailAddress", not_null=True)


class Eloqua:
    """One Eloqua instance."""

    def __init__(self, store: Store, clock: Clock, seed: int, sync_polls: int | None) -> None:
        self.store, self.clock, self.seed, self.sync_polls = store, clock, seed, sync_polls
        self.limits = Limits()
        self.base_url = ""
        self.pod_port = 0  # where the API lives since the pod moved; 0: with the rest
        self.contacts = Entity("Contact", None, "Contact", "eloqua.contact", list(CONTACT_FIELDS))
        self.accounts = Entity("Account", None, "Account", "eloqua.account", list(ACCOUNT_FIELDS))
        self.contacts.account = self.accounts
        self.addresses = Entity("EmailAddress", None, "Address", "eloqua.address", [ADDRESS])
        self.opportunities, self.opportunity_contacts = opportunity_entities()
        self.people = People(self)
        self.arrivals = Arrivals(self)
        self.containers = Containers(self)
        self.activities = Activities(self)
        self.entities: dict[str, Entity] = {}  # custom objects by name
        self.events: dict[str, Entity] = {}
        self.definitions: dict[int, Definition] = {}
        self.objects_made = 0  # custom objects so far, deleted ones too: their numbers do not come back
        self.refusals: dict[str, dict[str, str]] = {}
        self.syncs = Syncs(self)
        self.auth = Auth(self)
        self.door = Door(self)
        self._open, self._bulk = Router(), Router(BULK + "/*")
        self.auth.routes(self._open)
        Bulk(self).routes(self._bulk)
        self.rest = Rest(self)
        clock.advanced_hook = self.catch_up

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
            with self._turn(request), self.store.caused_by(request.cause):
                handler, arguments, allowed = self._open.find(request.method, request.path)
                if handler:
                    return handler(request)
                user = self.auth.require(request)
                if self.rest.owns(request.path):
                    return self.rest.answer(request, user)
                handler, arguments, allowed = self._bulk.find(request.method, request.path)
                if handler is None:
                    return text_response("Method not allowed.", 405) if allowed else text_response("Not found.", 404)
                return handler(request, user, **arguments)
        except Failed as failure:
            return failure.response

    @contextmanager
    def _turn(self, request: Request) -> Iterator[None]:
        """One request at a time, but for those that read a page: they wait for nobody."""
        if request.method == "GET" and PAGE.search(request.path):
            self.catch_up(wait=False)
            yield
            return
        with self.store.lock:
            self._age()
            yield

    def catch_up(self, wait: bool = True) -> None:
        """Let time take its effect, for those who look without asking Eloqua.

        wait: False passes it over while somebody writes: that request has brought all up to date.
        """
        if self.store.lock.acquire(blocking=wait):
            try:
                self._age()
            finally:
                self.store.lock.release()

    def _age(self) -> None:
        """What time has done since the last request: syncs end, definitions with an autoDeleteDuration go."""
        self.syncs.settle()
        self.arrivals.settle()
        now = self.clock.now
        for definition in [d for d in self.definitions.values() if d.gone(now)]:
            self.drop_definition(definition)

    # -- what the endpoints look up ---------------------------------------------------------------------------------

    def standard_entities(self) -> list[Entity]:
        """What there is in every instance; each has its path."""
        return [
            self.contacts,
            self.accounts,
            self.activities.entity,
            self.addresses,
            self.opportunities,
            self.opportunity_contacts,
        ]

    def custom_objects(self) -> list[Entity]:
        return list(self.entities.values())

    def declared(self) -> list[Entity]:
        """Custom objects and events."""
        return [*self.entities.values(), *self.events.values()]

    def custom_object_by_id(self, number: str) -> Entity | None:
        return next((e for e in self.entities.values() if str(e.id) == number), None)

    def event_by_id(self, number: str) -> Entity | None:
        return next((e for e in self.events.values() if str(e.id) == number), None)

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
        # Its syncs still name it for a year; of its fields, up to 250, nobody hears any more.
        kept = ("name", "dataRetentionDuration")
        definition.body = {name: value for name, value in definition.body.items() if name in kept} | {"fields": {}}
