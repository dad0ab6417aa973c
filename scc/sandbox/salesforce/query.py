"""SOQL to DuckDB: names looked up in the schema, values bound, rows shaped as REST shows them (salesforce.md 2.2)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from scc.sandbox.salesforce import ids, soql
from scc.sandbox.salesforce.schema import OBJECTS, SField, SObject
from scc.sandbox.salesforce.soql import Comparison, Literal, Logic, SoqlError
from scc.sandbox.store import quoted

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_LENGTH = 100_000
MAX_STRING = 4000
MAX_OFFSET = 2000


@dataclass
class Column:
    """One selected value: `path` is the relationships that lead to it ([] for the object itself)."""

    path: tuple[str, ...]
    field: SField


@dataclass
class Compiled:
    object: SObject
    sql: str
    values: list[Any]
    count: bool
    columns: list[Column] = field(default_factory=list)
    parents: dict[tuple[str, ...], SObject] = field(default_factory=dict)  # selected relationships and their objects


class Compiler:
    """One statement against the schema that its caller may see.

    hidden: (object, field) in lower case that field-level security hides.
    """

    def __init__(self, hidden: Collection[tuple[str, str]] = (), deleted_too: bool = False) -> None:
        self._hidden, self._deleted_too = hidden, deleted_too
        self._joins: dict[tuple[str, ...], tuple[str, SObject, SField]] = {}
        self._values: list[Any] = []

    def compile(self, text: str) -> Compiled:
        """Raises SoqlError with Salesforce's code: MALFORMED_QUERY, INVALID_TYPE, INVALID_FIELD ..."""
        if len(text) > MAX_LENGTH:
            raise SoqlError("MALFORMED_QUERY", f"SOQL statement is longer than {MAX_LENGTH} characters")
        tree = soql.parse(text)
        known = OBJECTS.get(tree.object.lower())
        if known is None:
            raise SoqlError("INVALID_TYPE", f"sObject type '{tree.object}' is not supported.")
        self._object = known
        columns = self._select(tree.paths)
        where = self._condition(tree.where) if tree.where is not None else "true"
        order = self._order(tree.order)
        if tree.offset > MAX_OFFSET:
            raise SoqlError("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MAX_OFFSET}")
        tail = (f" LIMIT {tree.limit}" if tree.limit is not None else "") + (
            f" OFFSET {tree.offset}" if tree.offset else ""
        )
        gone = "" if self._deleted_too else "AND NOT t0.IsDeleted"
        body = f"FROM {known.table} t0{self._from()} WHERE NOT t0.hidden_ {gone} AND {where}"
        parents = {
            path: joined
            for path, (_, joined, _) in self._joins.items()
            if any(c.path[: len(path)] == path for c in columns)
        }
        if tree.count:
            return Compiled(known, f"SELECT count(*) FROM (SELECT 1 {body}{tail})", self._values, True)
        selected = [self._sql(c) for c in columns] + [f"{self._alias(p)}.Id" for p in parents]
        sql = f"SELECT t0.Id, {', '.join(selected)} {body}{order}{tail}"
        return Compiled(known, sql, self._values, False, columns, parents)

    # -- names ------------------------------------------------------------------------------------------------------

    def _select(self, paths: list[str]) -> list[Column]:
        columns, seen = [], set()
        for path in paths:
            column = self._column(path)
            key = (column.path, column.field.name)
            if key in seen:
                raise SoqlError("MALFORMED_QUERY", f"duplicate field selected: {path}")
            seen.add(key)
            columns.append(column)
        return columns

    def _column(self, path: str) -> Column:
        *relations, name = path.split(".")
        known = self._object
        walked: tuple[str, ...] = ()
        if relations and relations[0].lower() == known.name.lower():
            relations = relations[1:]  # `Campaign.Name FROM Campaign` is the object itself
        for relation in relations:
            link = known.relationship(relation)
            if link is None or link.parent is None or self._is_hidden(known, link):
                raise SoqlError(
                    "INVALID_FIELD",
                    f"Didn't understand relationship '{relation}' in field path. If you are "
                    "attempting to use a custom relationship, be sure to append the '__r' after the custom "
                    "relationship name.",
                )
            walked = (*walked, link.parent[0])
            known = OBJECTS[link.parent[1].lower()]
            self._joins.setdefault(walked, (f"t{len(self._joins) + 1}", known, link))
        found = known.field(name)
        if found is None or self._is_hidden(known, found):
            raise SoqlError(
                "INVALID_FIELD",
                f"No such column '{name}' on entity '{known.name}'. If you are attempting to use "
                "a custom field, be sure to append the '__c' after the custom field name. Please reference your "
                "WSDL or the describe call for the appropriate names.",
            )
        return Column(walked, found)

    def _is_hidden(self, known: SObject, found: SField) -> bool:
        return (known.name.lower(), found.name.lower()) in self._hidden

    def _alias(self, path: tuple[str, ...]) -> str:
        return self._joins[path][0] if path else "t0"

    def _sql(self, column: Column) -> str:
        return f"{self._alias(column.path)}.{quoted(column.field.name)}"

    def _from(self) -> str:
        return "".join(
            f" LEFT JOIN {known.table} {alias} ON {alias}.Id = {self._alias(path[:-1])}.{quoted(link.name)}"
            for path, (alias, known, link) in self._joins.items()
        )

    # -- conditions -------------------------------------------------------------------------------------------------

    def _condition(self, node: Any) -> str:
        if isinstance(node, Logic):
            parts = [self._condition(part) for part in node.parts]
            return f"(NOT coalesce({parts[0]}, false))" if node.op == "NOT" else "(" + f" {node.op} ".join(parts) + ")"
        return self._comparison(node)

    def _comparison(self, node: Comparison) -> str:
        column = self._column(node.path)
        sql = self._sql(column)
        if isinstance(node.value, list):
            return self._membership(sql, column.field, node)
        value = self._bound(column.field, node.value)
        if node.op == "LIKE":
            if node.value.kind != "string":
                raise SoqlError("INVALID_QUERY_FILTER_OPERATOR", f"invalid operator on {column.field.name} field")
            self._values.append(node.value.value)
            return f"({sql} ILIKE ? ESCAPE '\\')"
        if value is None:
            if node.op not in ("=", "!="):
                raise SoqlError("MALFORMED_QUERY", "null can only be compared with = and !=")
            return f"({sql} IS {'NOT ' if node.op == '!=' else ''}NULL)"
        self._values.append(value)
        if folded(column.field):
            sql, mark = f"lower({sql})", "lower(?)"
        else:
            mark = "?"
        if node.op == "!=":
            return f"({sql} IS DISTINCT FROM {mark})"
        return f"({sql} {node.op} {mark})"

    def _membership(self, sql: str, found: SField, node: Comparison) -> str:
        values = [self._bound(found, literal) for literal in node.value]
        blank = any(value is None for value in values)
        given = [v.lower() if folded(found) else v for v in values if v is not None]
        # One JSON text: binding a list costs DuckDB a fifth of a millisecond for each of its values.
        self._values.append(json.dumps(given, default=str))
        left = f"lower({sql})" if folded(found) else sql
        inside = (
            f"(coalesce({left} IN (SELECT CAST(v AS {found.sql_type}) FROM "
            "(SELECT unnest(from_json(?, '[\"VARCHAR\"]')) AS v)), false)" + (f" OR {sql} IS NULL)" if blank else ")")
        )
        return f"(NOT {inside})" if node.op == "NOT IN" else inside

    def _bound(self, found: SField, literal: Literal) -> Any:
        """The value to compare with, in the field's type. Raises SoqlError where the types do not fit."""
        if literal.kind == "null":
            return None
        if literal.kind == "string" and len(literal.value) > MAX_STRING:
            raise SoqlError("MALFORMED_QUERY", f"string literals are limited to {MAX_STRING} characters")
        if found.is_id:
            known = ids.normal(literal.value) if literal.kind == "string" else None
            if literal.kind == "string" and literal.value == "":
                return None
            if known is None:
                raise SoqlError("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {literal.value}")
            return known
        wanted = {
            "boolean": ("boolean",),
            "date": ("date",),
            "datetime": ("datetime",),
            "double": ("number",),
            "currency": ("number",),
            "percent": ("number",),
            "int": ("number",),
        }.get(found.type, ("string",))
        if literal.kind not in wanted:
            raise SoqlError(
                "INVALID_FIELD",
                f"value of filter criterion for field '{found.name}' must be of type "
                f"{found.type} and should {'' if wanted == ('string',) else 'not '}be enclosed in quotes",
            )
        if literal.kind == "string":
            # An empty text is null in Salesforce: it stores no blanks.
            return soql.plain(literal.value) or None
        return literal.value

    def _order(self, orderings: list[soql.Ordering]) -> str:
        parts = []
        for ordering in orderings:
            column = self._column(ordering.path)
            sql = f"lower({self._sql(column)})" if folded(column.field) else self._sql(column)
            parts.append(
                f"{sql} {'DESC' if ordering.descending else 'ASC'} NULLS {'LAST' if ordering.nulls_last else 'FIRST'}"
            )
        return " ORDER BY " + ", ".join([*parts, "t0.Id"])


def folded(found: SField) -> bool:
    """Whether texts of this field compare without case; ids have one spelling in the store."""
    return found.sql_type == "VARCHAR" and not found.is_id


def record(compiled: Compiled, row: tuple[Any, ...], version: str) -> dict[str, Any]:
    """One row as REST shows it: attributes first, parents nested or null."""
    result: dict[str, Any] = {"attributes": attributes(compiled.object, row[0], version)}
    parent_ids = dict(zip(compiled.parents, row[1 + len(compiled.columns) :], strict=True))
    for column, value in zip(compiled.columns, row[1 : 1 + len(compiled.columns)], strict=True):
        place = result
        for depth in range(1, len(column.path) + 1):
            path = column.path[:depth]
            if parent_ids[path] is None:
                place[path[-1]] = None
                break
            if place.get(path[-1]) is None:
                place[path[-1]] = {"attributes": attributes(compiled.parents[path], parent_ids[path], version)}
            place = place[path[-1]]
        else:
            place[column.field.name] = shown(value, column.field)
    return result


def attributes(known: SObject, record_id: str, version: str) -> dict[str, str]:
    return {"type": known.name, "url": f"/services/data/v{version}/sobjects/{known.name}/{record_id}"}


def shown(value: Any, found: SField) -> Any:
    """A value as JSON shows it: datetimes `2026-01-02T03:04:05.000+0000`, dates ISO, numbers as numbers."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}+0000"
    if isinstance(value, date):
        return value.isoformat()
    return value
