"""The REST API: versions, describe, query and its pages, composite (salesforce.md 2)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from scc.sandbox.http import Failed, Request, Response, Router, json_response
from scc.sandbox.salesforce.ids import make_id, normal
from scc.sandbox.salesforce.query import Compiled, Compiler, record
from scc.sandbox.salesforce.schema import OBJECTS, SField, SObject
from scc.sandbox.salesforce.soql import SoqlError

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce

VERSIONS = range(31, 68)  # 21 to 30 are gone, 67.0 is Summer '26 (salesforce.md 1.1)
LOCATOR_LIFE = timedelta(days=2)


@dataclass
class Cursor:
    """A query whose rows wait behind a locator, in a table of their own."""

    compiled: Compiled
    table: str
    total: int
    page: int
    until: datetime


class Rest:
    def __init__(self, salesforce: Salesforce) -> None:
        self._salesforce, self._store = salesforce, salesforce.store
        self._cursors: dict[str, Cursor] = {}

    def routes(self, router: Router) -> None:
        router.add("GET", "", self.resources)
        router.add("GET", "/query", self.query)
        router.add("GET", "/queryAll", self.query_all)
        router.add("GET", "/query/{locator}", self.query_more)
        router.add("GET", "/limits", self.limits)
        router.add("GET", "/sobjects", self.sobjects)
        router.add("GET", "/sobjects/{name}/describe", self.describe)
        router.add("GET", "/sobjects/{name}/{record_id}", self.get_record)

    def versions(self, request: Request) -> Response:
        """GET /services/data: needs no token."""
        return json_response(
            [{"label": f"Release {v}", "url": f"/services/data/v{v}.0", "version": f"{v}.0"} for v in VERSIONS]
        )

    def resources(self, request: Request, version: str) -> Response:
        base = f"/services/data/v{version}"
        return json_response(
            {name: f"{base}/{name}" for name in ("composite", "limits", "query", "queryAll", "sobjects")}
        )

    def limits(self, request: Request, version: str) -> Response:
        most, used = self._salesforce.limits.daily_requests, self._salesforce.calls
        return json_response({"DailyApiRequests": {"Max": most, "Remaining": max(0, most - used)}})

    # -- describe ---------------------------------------------------------------------------------------------------

    def sobjects(self, request: Request, version: str) -> Response:
        found = [sobject(known, version) for known in OBJECTS.values()]
        return json_response({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": found})

    def describe(self, request: Request, version: str, name: str) -> Response:
        known = self._object(name)
        fields = [
            described(f)
            for f in known.fields.values()
            if (known.name.lower(), f.name.lower()) not in self._salesforce.hidden
        ]
        return json_response({**sobject(known, version), "fields": fields})

    def _object(self, name: str) -> SObject:
        known = OBJECTS.get(name.lower())
        if known is None:
            raise error("NOT_FOUND", "The requested resource does not exist", 404)
        return known

    def get_record(self, request: Request, version: str, name: str, record_id: str) -> Response:
        known = self._object(name)
        wanted = request.query.get("fields")
        names = (
            wanted.split(",")
            if wanted
            else [
                f.name
                for f in known.fields.values()
                if (known.name.lower(), f.name.lower()) not in self._salesforce.hidden
            ]
        )
        found = normal(record_id)
        compiled = self._compile(f"SELECT {', '.join(names)} FROM {known.name} WHERE Id = '{found}'") if found else None
        rows = self._store.rows(compiled.sql, compiled.values) if compiled else []
        if not rows or compiled is None:
            raise error(
                "NOT_FOUND", "Provided external ID field does not exist or is not accessible: " + record_id, 404
            )
        return json_response(record(compiled, rows[0], version))

    # -- queries ----------------------------------------------------------------------------------------------------

    def query(self, request: Request, version: str) -> Response:
        return self._query(request, version, deleted_too=False)

    def query_all(self, request: Request, version: str) -> Response:
        return self._query(request, version, deleted_too=True)

    def _query(self, request: Request, version: str, deleted_too: bool) -> Response:
        text = request.query.get("q")
        if text is None:
            raise error("MALFORMED_QUERY", "SOQL statement is missing")
        compiled = self._compile(text, deleted_too)
        if compiled.count:
            total = self._store.value(compiled.sql, compiled.values)
            return json_response({"totalSize": total, "done": True, "records": []})
        page = self._page_size(request)
        number = self._store.next_number("salesforce cursor")
        table = f"staging.cursor_{number}"
        names = ", ".join(f"c{i}" for i in range(1 + len(compiled.columns) + len(compiled.parents)))
        self._store.execute(f"CREATE TABLE {table}({names}) AS {compiled.sql}", compiled.values)
        total = self._store.value(f"SELECT count(*) FROM {table}")
        cursor = Cursor(compiled, table, total, page, self._salesforce.clock.now + LOCATOR_LIFE)
        locator = make_id("0r8", number)
        self._cursors[locator] = cursor
        return self._page(locator, cursor, 0, version)

    def _compile(self, text: str, deleted_too: bool = False) -> Compiled:
        try:
            return Compiler(self._salesforce.hidden, deleted_too).compile(text)
        except SoqlError as refusal:
            raise error(refusal.code, refusal.message) from None

    def _page_size(self, request: Request) -> int:
        """Rows a page: the org's, or fewer by header; the header knows 200 to 2,000 (salesforce.md 2.5)."""
        hint = re.search(r"batchSize\s*=\s*(\d+)", request.headers.get("Sforce-Query-Options", ""), re.IGNORECASE)
        return min(max(int(hint[1]), 200), self._salesforce.page_size) if hint else self._salesforce.page_size

    def query_more(self, request: Request, version: str, locator: str) -> Response:
        name, _, offset = locator.rpartition("-")
        cursor = self._cursors.get(normal(name) or "")
        if (
            cursor is None
            or not offset.isdecimal()
            or int(offset) >= cursor.total
            or self._salesforce.clock.now >= cursor.until
        ):
            raise error("INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(name, cursor, int(offset), version)

    def _page(self, locator: str, cursor: Cursor, offset: int, version: str) -> Response:
        end = offset + cursor.page
        rows = self._store.rows(f"SELECT * FROM {cursor.table} WHERE rowid >= {offset} AND rowid < {end}")
        done = end >= cursor.total
        body: dict[str, Any] = {"totalSize": cursor.total, "done": done}
        if not done:
            body["nextRecordsUrl"] = f"/services/data/v{version}/query/{locator}-{end}"
        body["records"] = [record(cursor.compiled, row, version) for row in rows]
        if done and offset == 0:  # nobody has a locator of it
            self._store.execute(f"DROP TABLE {cursor.table}")
            del self._cursors[locator]
        return json_response(body)


def sobject(known: SObject, version: str) -> dict[str, Any]:
    base = f"/services/data/v{version}/sobjects/{known.name}"
    return {
        "name": known.name,
        "label": known.name,
        "labelPlural": known.name + "s",
        "keyPrefix": known.prefix,
        "custom": False,
        "queryable": True,
        "createable": True,
        "updateable": True,
        "deletable": True,
        "urls": {"sobject": base, "describe": base + "/describe", "rowTemplate": base + "/{ID}"},
    }


def described(known: SField) -> dict[str, Any]:
    soap = {
        "id": "tns:ID",
        "reference": "tns:ID",
        "boolean": "xsd:boolean",
        "date": "xsd:date",
        "datetime": "xsd:dateTime",
        "int": "xsd:int",
        "double": "xsd:double",
        "currency": "xsd:double",
        "percent": "xsd:double",
    }
    return {
        "name": known.name,
        "label": known.label or known.name,
        "type": known.type,
        "length": known.length,
        "soapType": soap.get(known.type, "xsd:string"),
        "createable": "C" in known.rights,
        "updateable": "U" in known.rights,
        "nillable": not known.required and known.type not in ("id", "boolean"),
        "custom": known.name.endswith("__c"),
        "externalId": known.external_id,
        "unique": False,
        "filterable": known.type != "textarea",
        "sortable": known.type != "textarea",
        "precision": 18 if known.sql_type == "DOUBLE" else 0,
        "scale": 2 if known.type == "currency" else 0,
        "referenceTo": [known.parent[1]] if known.parent else [],
        "relationshipName": known.parent[0] if known.parent else None,
        "picklistValues": [
            {"active": True, "defaultValue": i == 0, "label": v, "value": v} for i, v in enumerate(known.picklist)
        ],
    }


def error(code: str, message: str, status: int = 400) -> Failed:
    """An error as the REST API answers it: an array (salesforce.md 2.3)."""
    return Failed(json_response([{"message": message, "errorCode": code}], status))


def json_document(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body or b"null")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise error("JSON_PARSER_ERROR", "The request body is not a valid JSON object")
    return body
