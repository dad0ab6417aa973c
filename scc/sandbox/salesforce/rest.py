"""The REST API: versions, describe, query and its pages, composite (salesforce.md 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from scc.sandbox.clock import parse_instant
from scc.sandbox.http import Request, Response, Router, json_response
from scc.sandbox.salesforce.answers import error
from scc.sandbox.salesforce.ids import make_id, normal
from scc.sandbox.salesforce.query import Compiled, record
from scc.sandbox.salesforce.schema import SField, SObject
from scc.sandbox.salesforce.soql import SoqlError
from scc.sandbox.salesforce.values import label, zoned
from scc.sandbox.salesforce.write import CLOSED

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
        router.add("GET", "/sobjects/{name}/deleted", self.deleted)
        router.add("GET", "/sobjects/{name}/updated", self.updated)
        router.add("GET", "/sobjects/{name}", self.sobject)

    def versions(self, request: Request) -> Response:
        """GET /services/data: needs no token."""
        return json_response(
            [{"label": f"Release {v}", "url": f"/services/data/v{v}.0", "version": f"{v}.0"} for v in VERSIONS]
        )

    def resources(self, request: Request, version: str) -> Response:
        base = f"/services/data/v{version}"
        return json_response(
            {name: f"{base}/{name}" for name in ("composite", "jobs", "limits", "query", "queryAll", "sobjects")}
        )

    def limits(self, request: Request, version: str) -> Response:
        """Max and Remaining of what is allotted; only calls and Bulk jobs are counted."""
        salesforce = self._salesforce
        most, jobs = salesforce.limits, salesforce.jobs
        allotted = {
            "DailyApiRequests": (most.daily_requests, salesforce.calls),
            "DailyBulkApiBatches": (most.daily_batches, jobs.batches_today()),
            "DailyBulkV2QueryJobs": (most.daily_query_jobs, jobs.queries_today()),
            "DailyBulkV2QueryFileStorageMB": (976_562, 0),
            "DailyAsyncApexExecutions": (250_000, 0),
            "DailyStreamingApiEvents": (10_000, 0),
            "DataStorageMB": (1024, 0),
            "FileStorageMB": (1024, 0),
            "SingleEmail": (5000, 0),
        }
        return json_response(
            {name: {"Max": top, "Remaining": max(0, top - used)} for name, (top, used) in allotted.items()}
        )

    # -- describe ---------------------------------------------------------------------------------------------------

    def sobjects(self, request: Request, version: str) -> Response:
        found = [sobject(known, version) for known in self._salesforce.schema]
        return json_response({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": found})

    def sobject(self, request: Request, version: str, name: str) -> Response:
        known = self._salesforce.object(name)
        return json_response({"objectDescribe": sobject(known, version), "recentItems": []})

    def describe(self, request: Request, version: str, name: str) -> Response:
        known = self._salesforce.object(name)
        fields = [
            described(f, known, self._salesforce.is_locked(known, f)) for f in self._salesforce.visible_fields(known)
        ]
        return json_response(
            {**sobject(known, version), "fields": fields, "childRelationships": [], "recordTypeInfos": []}
        )

    # -- what changed -----------------------------------------------------------------------------------------------

    def deleted(self, request: Request, version: str, name: str) -> Response:
        rows = self._changed(request, name, "IsDeleted")
        records = [{"id": i, "deletedDate": shown_moment(at)} for i, at in rows]
        start, end = self._between(request)
        return json_response(
            {
                "deletedRecords": records,
                "earliestDateAvailable": shown_moment(start),
                "latestDateCovered": shown_moment(end),
            }
        )

    def updated(self, request: Request, version: str, name: str) -> Response:
        rows = self._changed(request, name, "NOT IsDeleted")
        return json_response(
            {"ids": [i for i, _ in rows], "latestDateCovered": shown_moment(self._between(request)[1])}
        )

    def _changed(self, request: Request, name: str, kind: str) -> list[tuple[str, datetime]]:
        known = self._salesforce.object(name)
        return self._store.rows(
            f"SELECT Id, SystemModstamp FROM {known.table} WHERE {kind} AND NOT hidden_ "
            "AND SystemModstamp BETWEEN ? AND ? ORDER BY SystemModstamp, Id",
            list(self._between(request)),
        )

    def _between(self, request: Request) -> tuple[datetime, datetime]:
        """start and end, UTC without zone; a + that stands for itself has become a blank. Raises the 400."""
        try:
            start, end = (
                parse_instant(zoned(request.query.get(name, "").strip().replace(" ", "+"))).replace(tzinfo=None)
                for name in ("start", "end")
            )
        except (ValueError, OverflowError):
            raise error("INVALID_REPLICATION_DATE", "start and end must be dates with a time and a zone") from None
        return start, end

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
        if request.query.get("columns", "").lower() == "true":
            return json_response(column_metadata(compiled))
        if compiled.count:
            total = self._store.value(compiled.sql, compiled.values)
            return json_response({"totalSize": total, "done": True, "records": []})
        page = self._page_size(request)
        number = self._store.next_number("salesforce cursor")
        table = f"staging.cursor_{number}"
        self._store.execute(f"CREATE TABLE {table}({compiled.names}) AS {compiled.sql}", compiled.values)
        total = self._store.value(f"SELECT count(*) FROM {table}")
        cursor = Cursor(compiled, table, total, page, self._salesforce.clock.now + LOCATOR_LIFE)
        locator = make_id("0r8", number)
        self._cursors[locator] = cursor
        return self._page(locator, cursor, 0, version)

    def _compile(self, text: str, deleted_too: bool = False) -> Compiled:
        try:
            return self._salesforce.compiler(deleted_too).compile(text)
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


def column_metadata(compiled: Compiled) -> dict[str, Any]:
    """What the official command line asks for before a query: the columns, parents as columns with their own."""
    shown: list[dict[str, Any]] = []
    for column, name in zip(compiled.columns, compiled.keys or [c.field.name for c in compiled.columns], strict=True):
        place = shown
        for relation in column.path:
            found = next((c for c in place if c["columnName"] == relation), None)
            if found is None:
                found = column_of(relation, None)
                place.append(found)
            place = found["joinColumns"]
        place.append(column_of(name, column.field, bool(compiled.keys)))
    return {
        "columnMetadata": shown,
        "entityName": compiled.object.name,
        "groupBy": bool(compiled.tree.groups),
        "idSelected": any(c.field.type == "id" and not c.path for c in compiled.columns),
        "keyPrefix": compiled.object.prefix,
    }


def column_of(name: str, found: SField | None, aggregate: bool = False) -> dict[str, Any]:
    return {
        "aggregate": aggregate,
        "apexType": found.type.capitalize() if found else None,
        "booleanType": found is not None and found.type == "boolean",
        "columnName": name,
        "custom": name.endswith("__c"),
        "displayName": name,
        "foreignKeyName": None,
        "insertable": found is not None and "C" in found.rights,
        "joinColumns": [],
        "numberType": found is not None and found.sql_type in ("DOUBLE", "BIGINT"),
        "textType": found is not None and found.sql_type == "VARCHAR",
        "updatable": found is not None and "U" in found.rights,
    }


def shown_moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def sobject(known: SObject, version: str) -> dict[str, Any]:
    base = f"/services/data/v{version}/sobjects/{known.name}"
    open_ = known.name not in CLOSED
    return {
        "name": known.name,
        "label": known.name,
        "labelPlural": known.name + "s",
        "keyPrefix": known.prefix,
        "custom": False,
        "activateable": False,
        "createable": open_,
        "updateable": open_,
        "deletable": open_,
        "undeletable": open_,
        "layoutable": open_,
        "mergeable": known.name in ("Account", "Contact", "Lead"),
        "queryable": True,
        "retrieveable": True,
        "replicateable": True,
        "searchable": open_,
        "triggerable": open_,
        "urls": {"sobject": base, "describe": base + "/describe", "rowTemplate": base + "/{ID}"},
    }


SOAP_TYPES = {
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


def described(found: SField, known: SObject, read_only: bool) -> dict[str, Any]:
    """One field as describe shows it."""
    number, text = found.sql_type == "DOUBLE", found.sql_type == "VARCHAR"
    default = (known.name, found.name) in DEFAULTED or found.type == "boolean"
    return {
        "name": found.name,
        "label": label(found),
        "type": found.type,
        "length": found.length if text else 0,
        "byteLength": found.length * 3 if text else 0,
        "digits": 9 if found.type == "int" else 0,
        "precision": 18 if number else 0,
        "scale": 2 if found.type == "currency" else 0,
        "soapType": SOAP_TYPES.get(found.type, "xsd:string"),
        "createable": "C" in found.rights and not read_only,
        "updateable": "U" in found.rights and not read_only,
        "nillable": not found.required and found.type not in ("id", "boolean") and not default,
        "defaultedOnCreate": default,
        "calculated": False,
        "autoNumber": False,
        "caseSensitive": False,
        "custom": found.name.endswith("__c"),
        "deprecatedAndHidden": False,
        "externalId": found.external_id,
        "idLookup": found.external_id or found.type == "id",
        "unique": found.unique,
        "filterable": found.type != "textarea",
        "groupable": found.type not in ("textarea", "datetime", "double", "currency", "percent"),
        "sortable": found.type != "textarea",
        "nameField": found.name == "Name",
        "restrictedPicklist": found.restricted,
        "referenceTo": [found.parent[1]] if found.parent else [],
        "relationshipName": found.parent[0] if found.parent else None,
        "inlineHelpText": None,
        "defaultValue": False if found.type == "boolean" else None,
        "picklistValues": [
            {"active": True, "defaultValue": i == 0, "label": v, "validFor": None, "value": v}
            for i, v in enumerate(found.picklist)
        ],
    }


# Not nullable, but Salesforce fills them in.
DEFAULTED = {
    ("Lead", "Status"),
    *((name, "OwnerId") for name in ("Lead", "Contact", "Account", "Campaign", "Opportunity")),
}
