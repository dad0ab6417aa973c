"""sObject collections: up to 200 records a call, a verdict for each in the order of the request (salesforce.md 2.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from scc.sandbox.http import Request, Response, Router, json_response
from scc.sandbox.salesforce.answers import error, json_document, not_found
from scc.sandbox.salesforce.ids import normal
from scc.sandbox.salesforce.records import options
from scc.sandbox.salesforce.schema import SObject
from scc.sandbox.salesforce.values import RowError
from scc.sandbox.salesforce.write import Verdict, spared

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce


class Collections:
    def __init__(self, salesforce: Salesforce) -> None:
        self._salesforce, self._writer = salesforce, salesforce.writer

    def routes(self, router: Router) -> None:
        router.add("POST", "/composite/sobjects", self.create)
        router.add("PATCH", "/composite/sobjects", self.update)
        router.add("DELETE", "/composite/sobjects", self.delete)
        router.add("GET", "/composite/sobjects/{name}", self.get)
        router.add("POST", "/composite/sobjects/{name}", self.get_many)
        router.add("PATCH", "/composite/sobjects/{name}/{key}", self.upsert)

    def create(self, request: Request, version: str) -> Response:
        records, all_or_none = self._records(request)
        chosen = options(request)
        return self._run(request, records, all_or_none, lambda known, part: self._writer.insert(known, part, chosen))

    def update(self, request: Request, version: str) -> Response:
        records, all_or_none = self._records(request)
        chosen = options(request)
        return self._run(
            request,
            records,
            all_or_none,
            lambda known, part: self._writer.update(known, [(taken(r, "id"), r) for r in part], chosen),
        )

    def upsert(self, request: Request, version: str, name: str, key: str) -> Response:
        known = self._salesforce.object(name)
        found = known.field(key)
        if found is None or not (found.external_id or found.type == "id") or self._salesforce.is_hidden(known, found):
            raise not_found(key)
        records, all_or_none = self._records(request)
        if any(r["attributes"]["type"].lower() != known.name.lower() for r in records):
            raise error("INVALID_INPUT", f"All records must be of type {known.name}")
        chosen = options(request)
        return self._run(
            request,
            records,
            all_or_none,
            lambda known, part: self._writer.upsert(known, found, [(taken(r, found.name), r) for r in part], chosen),
            upserted=True,
        )

    def delete(self, request: Request, version: str) -> Response:
        ids = [i.strip() for i in request.query.get("ids", "").split(",") if i.strip()]
        if not ids:
            raise error("MISSING_ARGUMENT", "The ids parameter is required")
        self._check_size(ids)
        records = [{"attributes": {"type": self._type_of(i)}, "id": i} for i in ids]
        all_or_none = request.query.get("allOrNone", "").lower() == "true"
        return self._run(
            request,
            records,
            all_or_none,
            lambda known, part: self._writer.delete(known, [r["id"] for r in part]),
        )

    def _type_of(self, record_id: str) -> str:
        """An id of no object is refused by whichever object is asked; Lead will do."""
        known = self._salesforce.schema.owner_of(normal(record_id) or "")
        return known.name if known else "Lead"

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, request: Request, version: str, name: str) -> Response:
        return self._read(
            version, name, request.query.get("ids", "").split(","), request.query.get("fields", "").split(",")
        )

    def get_many(self, request: Request, version: str, name: str) -> Response:
        body = json_document(request)
        ids, fields = body.get("ids"), body.get("fields")
        if not isinstance(ids, list) or not isinstance(fields, list):
            raise error("JSON_PARSER_ERROR", "ids and fields must be arrays")
        if len(ids) > 2000:
            raise error(
                "EXCEEDED_ID_LIMIT", "record limit reached. cannot submit more than 2000 records into this call"
            )
        return self._read(version, name, [str(i) for i in ids], [str(f) for f in fields])

    def _read(self, version: str, name: str, ids: list[str], fields: list[str]) -> Response:
        """The records in the order of the ids, null where there is none."""
        known, fields = self._salesforce.object(name), [f.strip() for f in fields if f.strip()]
        if not fields:
            raise error("MISSING_ARGUMENT", "The fields parameter is required")
        return json_response(self._salesforce.read_records(known, fields, [normal(i.strip()) for i in ids], version))

    # -- writing ----------------------------------------------------------------------------------------------------

    def _records(self, request: Request) -> tuple[list[dict[str, Any]], bool]:
        """The records and allOrNone. Raises the 400 of a malformed request."""
        body = json_document(request)
        records, all_or_none = body.get("records"), body.get("allOrNone", False)
        if not isinstance(records, list) or not records or not all(isinstance(r, dict) for r in records):
            raise error("JSON_PARSER_ERROR", "records must be an array of objects")
        if not isinstance(all_or_none, bool):
            raise error("JSON_PARSER_ERROR", "allOrNone must be true or false")
        self._check_size(records)
        for r in records:
            attributes = r.get("attributes")
            kind = attributes.get("type") if isinstance(attributes, dict) else None
            if not isinstance(kind, str):
                raise error("INVALID_INPUT", "Every record must name its type in attributes")
            if self._salesforce.schema.find(kind) is None:
                raise error("INVALID_TYPE", f"sObject type '{kind}' is not supported.")
        runs = len(list(groupby(r["attributes"]["type"].lower() for r in records)))
        if runs > self._salesforce.limits.type_runs:
            raise error(
                "LIMIT_EXCEEDED",
                f"Cannot have more than {self._salesforce.limits.type_runs} chunks in a single operation. "
                "Please rearrange the data to reduce chunking.",
            )
        return records, all_or_none

    def _check_size(self, records: list[Any]) -> None:
        most = self._salesforce.limits.collection
        if len(records) > most:
            shown = f"record limit reached. cannot submit more than {most} records into this call"
            raise error("EXCEEDED_ID_LIMIT", shown)

    def _run(
        self,
        request: Request,
        records: list[dict[str, Any]],
        all_or_none: bool,
        write: Callable[[SObject, Sequence[dict[str, Any]]], list[Verdict]],
        upserted: bool = False,
    ) -> Response:
        """Write run by run of one type; HTTP is 200 even if every record is refused."""
        verdicts: list[Verdict] = []

        def run_all() -> bool:
            for kind, part in groupby(records, key=lambda r: r["attributes"]["type"].lower()):
                known = self._salesforce.object(kind)
                verdicts.extend(spared(request.fate, len(verdicts) + 1, list(part), partial(write, known)))
            return all(v.success for v in verdicts)

        if not all_or_none:
            run_all()
        elif not self._salesforce.all_or_none(run_all):
            rolled = RowError(
                "ALL_OR_NONE_OPERATION_ROLLED_BACK",
                "Record rolled back because not all records were valid and the request was using AllOrNone header",
            )
            verdicts = [Verdict(errors=[rolled]) if v.success else v for v in verdicts]
        return json_response([shown(v, upserted) for v in verdicts])


def taken(sent: dict[str, Any], name: str) -> Any:
    """Take a key's value out of a record, its name in any case."""
    value = None
    for known in [n for n in sent if n.lower() == name.lower()]:
        value = sent.pop(known)
    return value


def shown(verdict: Verdict, upserted: bool) -> dict[str, Any]:
    """{id?, success, errors}; of an upsert also `created`. Error items say statusCode, not errorCode."""
    body: dict[str, Any] = {"id": verdict.id} if verdict.success else {}
    body["success"] = verdict.success
    body["errors"] = [{"statusCode": e.code, "message": str(e), "fields": e.fields, **e.extra} for e in verdict.errors]
    if upserted:
        body["created"] = verdict.created
    return body
