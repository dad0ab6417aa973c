"""One record at a time: sObject CRUD and upsert by external id (salesforce.md 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scc.sandbox.http import Failed, Request, Response, Router, json_response
from scc.sandbox.salesforce.answers import error, fault, json_document, not_found
from scc.sandbox.salesforce.ids import normal
from scc.sandbox.salesforce.schema import SField, SObject
from scc.sandbox.salesforce.values import RowError
from scc.sandbox.salesforce.write import Options, Verdict

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce

# Refusals of a single record that are not a plain 400.
STATUS = {
    "ENTITY_IS_DELETED": 404,
    "NOT_FOUND": 404,
    "INSUFFICIENT_ACCESS_OR_READONLY": 403,
}
UPDATES_ANSWER_200 = 46  # from this version on an upsert that updates says so; before, 204


class Records:
    def __init__(self, salesforce: Salesforce) -> None:
        self._salesforce, self._store, self._writer = salesforce, salesforce.store, salesforce.writer

    def routes(self, router: Router) -> None:
        router.add("POST", "/sobjects/{name}", self.create)
        router.add("POST", "/sobjects/{name}/Id", self.create)
        for method, handler in (("GET", self.get), ("PATCH", self.update), ("DELETE", self.delete)):
            router.add(method, "/sobjects/{name}/{record_id}", handler)
        # The value of an external id may hold slashes, which reach us decoded.
        for method, by_key in (("GET", self.get_by), ("PATCH", self.upsert), ("DELETE", self.delete_by)):
            router.add(method, r"/sobjects/{name}/{key}/(?P<value>.+)", by_key)

    # -- by id ------------------------------------------------------------------------------------------------------

    def create(self, request: Request, version: str, name: str) -> Response:
        known = self._salesforce.object(name)
        (verdict,) = self._writer.insert(known, [json_document(request)], options(request))
        if not verdict.success:
            raise refusal(verdict)
        return created(known, verdict, version)

    def get(self, request: Request, version: str, name: str, record_id: str) -> Response:
        known = self._salesforce.object(name)
        return self._show(request, version, known, normal(record_id), record_id)

    def _show(self, request: Request, version: str, known: SObject, found: str | None, sent: str) -> Response:
        wanted = request.query.get("fields")
        names = wanted.split(",") if wanted else [f.name for f in self._salesforce.visible_fields(known)]
        shown = self._salesforce.read_records(known, names, [found], version) if found else [None]
        if shown[0] is None:
            if found and found[:3] == known.prefix and self._is_deleted(known, found):
                raise error("ENTITY_IS_DELETED", "entity is deleted", 404)
            raise not_found(sent)
        return json_response(shown[0])

    def update(self, request: Request, version: str, name: str, record_id: str) -> Response:
        known = self._salesforce.object(name)
        body = json_document(request)
        refuse_keys(body, "Id")
        found = self._existing(known, record_id)
        (verdict,) = self._writer.update(known, [(found, body)], options(request))
        if not verdict.success:
            raise refusal(verdict)
        return Response(204, b"", None)

    def delete(self, request: Request, version: str, name: str, record_id: str) -> Response:
        known = self._salesforce.object(name)
        (verdict,) = self._writer.delete(known, [self._existing(known, record_id)])
        if not verdict.success:
            raise refusal(verdict)
        return Response(204, b"", None)

    def _existing(self, known: SObject, record_id: str) -> str:
        """The id, if the object ever had such a record. Raises the 404."""
        found = normal(record_id)
        if not found or not self._store.value(f"SELECT count(*) FROM {known.table} WHERE Id = ?", [found]):
            raise not_found(record_id)
        return found

    def _is_deleted(self, known: SObject, record_id: str) -> bool:
        return bool(self._store.value(f"SELECT IsDeleted FROM {known.table} WHERE Id = ?", [record_id]))

    # -- by external id ---------------------------------------------------------------------------------------------

    def get_by(self, request: Request, version: str, name: str, key: str, value: str) -> Response:
        known, found = self._key(name, key)
        return self._show(request, version, known, self._one(known, found, value, version), value)

    def delete_by(self, request: Request, version: str, name: str, key: str, value: str) -> Response:
        known, found = self._key(name, key)
        matched = self._one(known, found, value, version)
        if matched is None:
            raise not_found(value)
        return self.delete(request, version, name, matched)

    def upsert(self, request: Request, version: str, name: str, key: str, value: str) -> Response:
        known, found = self._key(name, key)
        body = json_document(request)
        refuse_keys(body, "Id", found.name)
        if found.name == "Id":
            return self.update(request, version, name, value)
        (verdict,) = self._writer.upsert(known, found, [(value, body)], options(request))
        if verdict.matches:
            raise ambiguous(known, verdict.matches, version)
        if not verdict.success:
            raise refusal(verdict)
        if verdict.created:
            return created(known, verdict, version, upserted=True)
        if float(version) < UPDATES_ANSWER_200:
            return Response(204, b"", None)
        return json_response({"id": verdict.id, "success": True, "errors": [], "created": False})

    def _key(self, name: str, key: str) -> tuple[SObject, SField]:
        known = self._salesforce.object(name)
        found = known.field(key)
        if found is None or not (found.external_id or found.type == "id") or self._salesforce.is_hidden(known, found):
            raise not_found(key)
        return known, found

    def _one(self, known: SObject, key: SField, value: str, version: str) -> str | None:
        try:
            matches = self._writer.matches(known, key, value)
        except RowError:
            matches = []
        if len(matches) > 1:
            raise ambiguous(known, matches, version)
        return matches[0] if matches else None


def options(request: Request) -> Options:
    """The request headers that change what a write does (salesforce.md 2.5)."""
    assign = request.headers.get("Sforce-Auto-Assign", "TRUE").strip().lower() != "false"
    duplicates = request.headers.get("Sforce-Duplicate-Rule-Header", "").replace(" ", "").lower()
    return Options(assign=assign, save_duplicates="allowsave=true" in duplicates)


def refuse_keys(body: dict[str, Any], *names: str) -> None:
    """The key of the path must not stand in the body again."""
    lowered = {name.lower() for name in body}
    for name in names:
        if name.lower() in lowered:
            raise error("INVALID_FIELD", f"The {name} field should not be specified in the sobject data.")


def created(known: SObject, verdict: Verdict, version: str, upserted: bool = False) -> Response:
    body: dict[str, Any] = {"id": verdict.id, "success": True, "errors": []}
    if upserted:
        body["created"] = True
    location = f"/services/data/v{version}/sobjects/{known.name}/{verdict.id}"
    return json_response(body, 201, {"Location": location})


def refusal(verdict: Verdict) -> Failed:
    """A refused record as the answer to a request of its own."""
    refused = [{"message": str(e), "errorCode": e.code, "fields": e.fields, **e.extra} for e in verdict.errors]
    return fault(refused, STATUS.get(verdict.errors[0].code, 400))


def ambiguous(known: SObject, matches: list[str], version: str) -> Failed:
    """300: the records that the external id fits; nothing was written."""
    return fault([f"/services/data/v{version}/sobjects/{known.name}/{i}" for i in matches], 300)
