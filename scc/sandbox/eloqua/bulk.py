"""The endpoints of the Bulk API 2.0 (eloqua.md 3.2)."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from scc.sandbox.eloqua.auth import User
from scc.sandbox.eloqua.definitions import Definition, failures, understood
from scc.sandbox.eloqua.entities import Entity, Field
from scc.sandbox.eloqua.syncs import Sync, csv_line
from scc.sandbox.http import Failed, Request, Response, Router, json_response, text_response
from scc.sandbox.store import literal, quoted

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua

MAX_ROW = 64 * 1024 * 1024  # bytes: DuckDB wants a bound; the upload's own is lower


class Bulk:
    def __init__(self, eloqua: Eloqua) -> None:
        self._eloqua, self._store, self._clock = eloqua, eloqua.store, eloqua.clock

    def routes(self, router: Router) -> None:
        add = router.add
        add("GET", "/customObjects", self.list_custom_objects)
        add("GET", "/customObjects/{parent}", self.get_custom_object)
        for base in ("/contacts", "/customObjects/{parent}"):
            add("GET", base + "/fields", self.list_fields)
            add("GET", base + "/fields/{number}", self.get_field)
            for kind in ("exports", "imports"):
                path = f"{base}/(?P<kind>{kind})"
                add("GET", path, self.list_definitions)
                add("POST", path, self.create_definition)
                add("GET", path + "/{number}", self.get_definition)
                add("PUT", path + "/{number}", self.change_definition)
                add("DELETE", path + "/{number}", self.delete_definition)
                add("DELETE", path + "/{number}/data", self.delete_data)
            add("GET", base + "/(?P<kind>exports)/{number}/data", self.read_definition_data)
            add("POST", base + "/(?P<kind>imports)/{number}/data", self.stage)
        add("GET", "/(?P<kind>exports|imports)", self.list_definitions)
        add("GET", "/syncs", self.list_syncs)
        add("POST", "/syncs", self.create_sync)
        add("GET", "/syncs/{number}", self.get_sync)
        add("GET", "/syncs/{number}/data", self.read_sync_data)
        add("DELETE", "/syncs/{number}/data", self.delete_sync_data)
        add("GET", "/syncs/{number}/logs", self.read_logs)
        add("GET", "/syncs/{number}/rejects", self.read_rejects)

    # -- custom objects and fields ----------------------------------------------------------------------------------

    def list_custom_objects(self, request: Request, user: User) -> Response:
        return listing(
            request, [custom_object(e) for e in self._eloqua.custom_objects()], self._eloqua.limits.list_rows
        )

    def get_custom_object(self, request: Request, user: User, parent: str) -> Response:
        return json_response(custom_object(self._entity(parent)))

    def list_fields(self, request: Request, user: User, parent: str | None = None) -> Response:
        entity = self._entity(parent)
        return listing(request, [field_item(entity, f) for f in entity.fields], self._eloqua.limits.list_rows)

    def get_field(self, request: Request, user: User, number: str, parent: str | None = None) -> Response:
        entity = self._entity(parent)
        for known in entity.fields:
            if str(known.id) == number:
                return json_response(field_item(entity, known))
        raise not_found()

    def _entity(self, parent: str | None) -> Entity:
        entity = self._eloqua.contacts if parent is None else self._eloqua.custom_object_by_id(parent)
        if entity is None:
            raise not_found()
        return entity

    # -- definitions ------------------------------------------------------------------------------------------------

    def list_definitions(self, request: Request, user: User, kind: str, parent: str | None = None) -> Response:
        everywhere = request.path.rstrip("/").lower().endswith(("2.0/exports", "2.0/imports"))
        entity = None if everywhere else self._entity(parent)
        found = [
            d.shown()
            for d in self._eloqua.definitions.values()
            if d.kind == kind.lower() and (entity is None or d.entity is entity)
        ]
        return listing(request, found, self._eloqua.limits.list_rows)

    def create_definition(self, request: Request, user: User, kind: str, parent: str | None = None) -> Response:
        kind, entity = kind.lower(), self._entity(parent)
        body = self._checked(request, kind, entity)
        now = self._clock.now
        definition = Definition(
            self._store.next_number("eloqua definition", 310), kind, entity, body, user.name, now, now
        )
        self._eloqua.definitions[definition.id] = definition
        return json_response(definition.shown(), 201)

    def _checked(self, request: Request, kind: str, entity: Entity) -> dict[str, Any]:
        body = understood(json_body(request), kind, entity)
        if found := failures(body, kind, entity, self._eloqua.limits):
            raise invalid(found)
        return body

    def get_definition(
        self, request: Request, user: User, kind: str, number: str, parent: str | None = None
    ) -> Response:
        return json_response(self._definition(kind, number, parent).shown())

    def change_definition(
        self, request: Request, user: User, kind: str, number: str, parent: str | None = None
    ) -> Response:
        definition = self._definition(kind, number, parent)
        definition.body = self._checked(request, definition.kind, definition.entity)
        definition.updated = self._clock.now
        self._empty_staging(definition)  # rows that were staged for other fields fit no more
        return json_response(definition.shown())

    def delete_definition(
        self, request: Request, user: User, kind: str, number: str, parent: str | None = None
    ) -> Response:
        self._eloqua.drop_definition(self._definition(kind, number, parent))
        return no_content()

    def _definition(self, kind: str, number: str, parent: str | None) -> Definition:
        entity = self._entity(parent)
        definition = self._eloqua.definitions.get(int(number)) if number.isdecimal() else None
        if definition is None or definition.kind != kind.lower() or definition.entity is not entity:
            raise not_found()
        return definition

    # -- staged data of imports -------------------------------------------------------------------------------------

    def stage(self, request: Request, user: User, kind: str, number: str, parent: str | None = None) -> Response:
        """POST .../imports/{id}/data: one file. 404 above 32 MB, 400 from the 501st file on (eloqua.md 3.8)."""
        definition, limits = self._definition(kind, number, parent), self._eloqua.limits
        if len(request.body) > limits.upload_bytes:
            raise not_found()
        if len(definition.files) >= limits.files_per_sync:
            raise invalid(
                [
                    {
                        "field": "data",
                        "value": None,
                        "constraint": f"Must not exceed {limits.files_per_sync} files per sync.",
                    }
                ]
            )
        if definition.staged_until and self._clock.now >= definition.staged_until:
            self._empty_staging(definition)
        rows = self._load(request, definition)
        definition.files.append(rows)
        definition.staged_bytes += len(request.body)
        definition.staged_until = self._clock.now + definition.retention()
        if definition.body["isSyncTriggeredOnImport"]:
            sync = self._eloqua.syncs.create(definition, user.name, request.sync_fate, None)
            return json_response(sync.shown(new=True), 201)
        return no_content()

    def _load(self, request: Request, definition: Definition) -> int:
        """Append the uploaded rows to the definition's staging table; return how many. DuckDB reads the file."""
        names = list(definition.fields)
        is_csv = "csv" in request.headers.get("Content-Type", "").lower()
        table = definition.staging_table
        columns = ", ".join(f"c{i} VARCHAR" for i in range(len(names)))  # any name may come: rowid, too
        self._store.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
        before = self._store.value(f"SELECT count(*) FROM {table}")
        handle, path = tempfile.mkstemp(suffix=".csv" if is_csv else ".json")
        try:
            with os.fdopen(handle, "wb") as upload:
                upload.write(request.body)
            found = self._copy_csv(path, table, names) if is_csv else self._copy_json(path, table, names, request.body)
        except duckdb.Error:
            raise invalid(
                [{"field": "data", "value": None, "constraint": "Must be a valid file of records."}]
            ) from None
        finally:
            Path(path).unlink()
        definition.unknown_keys |= found - set(names)
        definition.missing_keys |= set(names) - found
        return self._store.value(f"SELECT count(*) FROM {table}") - before

    def _copy_json(self, path: str, table: str, names: list[str], body: bytes) -> set[str]:
        """Copy a JSON array of flat objects; return the keys that occur in it."""
        if not body.lstrip().startswith(b"["):
            raise invalid([{"field": "data", "value": None, "constraint": "Must be an array of records."}])
        if re.fullmatch(rb"\s*\[\s*\]\s*", body):
            return set(names)
        source = (
            f"read_json({literal(path)}, format = 'array', records = true, "
            f"maximum_object_size = {MAX_ROW}, columns = {{%s}})"
        )
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
        self._store.execute(f"INSERT INTO {table} SELECT * FROM " + source.replace("%s", columns))
        keys = f"""SELECT DISTINCT unnest(json_keys(json)) FROM
                   read_json({literal(path)}, format = 'array', records = false, maximum_object_size = {MAX_ROW},
                             columns = {{json: 'JSON'}})"""
        return {row[0] for row in self._store.rows(keys)}

    def _copy_csv(self, path: str, table: str, names: list[str]) -> set[str]:
        source = (
            f"read_csv({literal(path)}, header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"')"
        )
        found = [row[0] for row in self._store.rows(f"DESCRIBE SELECT * FROM {source}")]
        picked = ", ".join(quoted(name) if name in found else "NULL" for name in names)
        self._store.execute(f"INSERT INTO {table} SELECT {picked} FROM {source}")
        return set(found)

    def delete_data(self, request: Request, user: User, kind: str, number: str, parent: str | None = None) -> Response:
        definition = self._definition(kind, number, parent)
        if self._eloqua.syncs.running(definition):
            raise Failed(text_response("The data cannot be deleted while a sync is running.", 409))
        self._empty_staging(definition)
        for sync in self._eloqua.syncs.all.values():
            if sync.definition is definition and definition.kind == "exports":
                self._eloqua.syncs.drop_rows(sync)
        return no_content()

    def _empty_staging(self, definition: Definition) -> None:
        self._store.execute(f"DROP TABLE IF EXISTS {definition.staging_table}")
        definition.files, definition.staged_bytes = [], 0

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
        if found := failures(definition.body, definition.kind, definition.entity, self._eloqua.limits):
            raise invalid(found)
        sync = self._eloqua.syncs.create(definition, user.name, request.sync_fate, body.get("callbackUrl"))
        return json_response(sync.shown(new=True), 201)

    def get_sync(self, request: Request, user: User, number: str) -> Response:
        sync = self._sync(number)
        self._eloqua.syncs.poll(sync)
        return json_response(sync.shown())

    def _sync(self, number: str) -> Sync:
        sync = self._eloqua.syncs.all.get(int(number)) if number.isdecimal() else None
        if sync is None:
            raise not_found()
        return sync

    def read_sync_data(self, request: Request, user: User, number: str) -> Response:
        return self._rows(request, user, self._sync(number))

    def read_definition_data(
        self, request: Request, user: User, kind: str, number: str, parent: str | None = None
    ) -> Response:
        definition = self._definition(kind, number, parent)
        done = [s for s in self._eloqua.syncs.all.values() if s.definition is definition and s.ended]
        if not done:
            raise not_found()
        return self._rows(request, user, done[-1])

    def _rows(self, request: Request, user: User, sync: Sync) -> Response:
        if sync.definition.kind == "imports":
            raise invalid([{"field": "syncUri", "value": sync.uri, "constraint": "Must be the sync of an export."}])
        if sync.user != user.name:  # only the creator may read (eloqua.md 3.8); status by eloqua.md 6, point 31
            raise Failed(text_response("Forbidden.", 403))
        if not self._eloqua.exists(sync.definition) or sync.dropped or not sync.columns:
            raise not_found()
        if self._eloqua.syncs.expired(sync):
            raise Failed(text_response("The data is no longer available.", 410))
        limit, offset = window(request, 1000, self._eloqua.limits.page_rows)
        if "csv" in request.headers.get("Accept", "").lower():
            lines = [csv_line(sync.columns), *self._eloqua.syncs.page_csv(sync, limit, offset)]
            return Response(200, "".join(line + "\r\n" for line in lines).encode(), "text/csv; charset=utf-8")
        return rows_page(self._eloqua.syncs.page(sync, limit, offset), sync.rows, limit, offset)

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


# -- shapes -------------------------------------------------------------------------------------------------------


def custom_object(entity: Entity) -> dict[str, Any]:
    item: dict[str, Any] = {"name": entity.name}
    for key, name in (
        ("displayNameFieldUri", entity.display_field),
        ("emailAddressFieldUri", entity.email_field),
        ("uniqueFieldUri", entity.unique_field),
    ):
        known = entity.field_by(name) if name else None
        if known:
            item[key] = f"{entity.path}/fields/{known.id}"
    return {
        **item,
        "uri": entity.path,
        "createdBy": "API.User",
        "createdAt": entity.created_at,
        "updatedBy": "API.User",
        "updatedAt": entity.created_at,
    }


def field_item(entity: Entity, known: Field) -> dict[str, Any]:
    item: dict[str, Any] = {
        "name": known.name,
        "internalName": known.internal_name,
        "dataType": known.data_type,
        "hasReadOnlyConstraint": known.read_only,
        "hasNotNullConstraint": known.not_null,
        "hasUniquenessConstraint": known.unique,
        "statement": entity.field_statement(known),
        "uri": f"{entity.path}/fields/{known.id}",
    }
    if known.default is not None:
        item["defaultValue"] = known.default
    if not known.created_at.startswith("1900"):
        item.update(createdBy="API.User", updatedBy="API.User")
    return {**item, "createdAt": known.created_at, "updatedAt": known.created_at}


def envelope(total: int, limit: int, offset: int, count: int) -> dict[str, Any]:
    return {"totalResults": total, "limit": limit, "offset": offset, "count": count, "hasMore": offset + count < total}


def rows_page(rows: list[str], total: int, limit: int, offset: int) -> Response:
    """One page of export rows; without rows the key `items` is absent (eloqua.md 3.1)."""
    tail = json.dumps(envelope(total, limit, offset, len(rows)), separators=(",", ":"))
    if not rows:
        return Response(200, tail.encode())
    return Response(200, ('{"items":[' + ",".join(rows) + "]," + tail[1:]).encode())


def listing(request: Request, items: list[dict[str, Any]], most: int) -> Response:
    """A list endpoint: q, orderBy, limit, offset, totalResults=false."""
    if query := request.query.get("q"):
        items = [item for item in items if matches(item, query)]
    if order := request.query.get("orderBy"):
        term, _, direction = order.strip('" ').partition(" ")
        items = sorted(items, key=lambda item: str(item.get(term, "")), reverse=direction.strip().upper() == "DESC")
    limit, offset = window(request, most, most)
    page = items[offset : offset + limit]
    tail = envelope(len(items), limit, offset, len(page))
    if request.query.get("totalResults", "").lower() == "false":
        del tail["totalResults"]
    return json_response({"items": page, **tail})


def matches(item: dict[str, Any], query: str) -> bool:
    """`q`: one test such as name=Email* or createdAt<2025-07-01, quotes round it allowed; * stands for any text."""
    match = re.fullmatch(r"(\w+)\s*(!=|>=|<=|=|>|<)\s*(.*)", query.strip('" '), re.DOTALL)
    if not match:
        raise invalid([{"field": "q", "value": query, "constraint": "Must be a valid search."}])
    term, operator, value = match[1], match[2], match[3].strip("'\"")
    found = str(item.get(term, ""))
    if operator in ("=", "!="):
        pattern = ".*".join(re.escape(part) for part in value.split("*"))
        return bool(re.fullmatch(pattern, found, re.IGNORECASE | re.DOTALL)) == (operator == "=")
    return {"<": found < value, ">": found > value, "<=": found <= value, ">=": found >= value}[operator]


def window(request: Request, default: int, most: int) -> tuple[int, int]:
    """limit and offset of a request. Raises a 400 outside their bounds."""
    numbers = []
    for name, value, low, high in (("limit", default, 1, most), ("offset", 0, 0, 2**62)):
        sent = request.query.get(name, str(value))
        if not sent.isdecimal() or not low <= int(sent) <= high:
            raise invalid(
                [
                    {
                        "field": name,
                        "value": sent,
                        "constraint": f"Must be an integer value, within the range {low}-{high}.",
                    }
                ]
            )
        numbers.append(int(sent))
    return numbers[0], numbers[1]


def json_body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body or b"null")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise invalid([{"field": "", "value": None, "constraint": "Must be a valid JSON object."}])
    return body


def invalid(found: list[dict[str, Any]]) -> Failed:
    return Failed(json_response({"failures": found}, 400))


def no_content() -> Response:
    return Response(204, b"", None)


def not_found() -> Failed:
    return Failed(text_response("Not found.", 404))
