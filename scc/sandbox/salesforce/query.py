"""SOQL to DuckDB: names looked up in the schema, values bound, rows shaped as REST shows them (salesforce.md 2.2)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from scc.sandbox.salesforce import dates, ids, soql
from scc.sandbox.salesforce.schema import Schema, SField, SObject
from scc.sandbox.salesforce.soql import Comparison, Literal, Logic, Select, SoqlError
from scc.sandbox.store import quoted

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_LENGTH = 100_000
MAX_STRING = 4000
MAX_OFFSET = 2000
MAX_SEMI_JOINS = 2
MAX_FIELDS_ROWS = 200
DEEPEST_PATH = 5  # relationships


@dataclass
class Column:
    """One selected value: `path` is the relationships that lead to it ([] for the object itself)."""

    path: tuple[str, ...]
    field: SField


@dataclass
class Compiled:
    """A statement ready to run. Its rows: id, then one value a column, then one id a parent."""

    object: SObject
    sql: str
    values: list[Any]
    tree: Select
    columns: list[Column] = field(default_factory=list)
    parents: dict[tuple[str, ...], SObject] = field(default_factory=dict)  # selected relationships and their objects
    keys: list[str] = field(default_factory=list)  # of an aggregate: the names of its values

    @property
    def names(self) -> str:
        """Names for the columns of its rows: c0 is the id, c1 the first selected value."""
        return ", ".join(f"c{i}" for i in range(1 + len(self.columns) + len(self.parents)))

    @property
    def count(self) -> bool:
        return self.tree.count


class Compiler:
    """One statement against the schema that its caller may see.

    hidden: (object, field) in lower case that field-level security hides. now: UTC without zone, for date literals.
    """

    def __init__(
        self,
        schema: Schema,
        hidden: Collection[tuple[str, str]] = (),
        deleted_too: bool = False,
        now: datetime | None = None,
        inner: bool = False,
    ) -> None:
        self._schema, self._hidden, self._deleted_too, self._now = schema, hidden, deleted_too, now or datetime.min
        self._inner, self._semi_joins = inner, 0
        self._joins: dict[tuple[str, ...], tuple[str, SObject, SField]] = {}
        self._values: list[Any] = []

    def compile(self, text: str) -> Compiled:
        """Raises SoqlError with Salesforce's code: MALFORMED_QUERY, INVALID_TYPE, INVALID_FIELD ..."""
        if len(text) > MAX_LENGTH:
            raise SoqlError("MALFORMED_QUERY", f"SOQL statement is longer than {MAX_LENGTH} characters")
        return self.compile_tree(soql.parse(text))

    def compile_tree(self, tree: Select) -> Compiled:
        known = self._schema.find(tree.object)
        if known is None:
            raise SoqlError("INVALID_TYPE", f"sObject type '{tree.object}' is not supported.")
        self._object, self._name = known, tree.alias.lower()
        if tree.groups or any(item.function in soql.FUNCTIONS for item in tree.items):
            return self._aggregate(tree)
        columns = self._select(self._expand(tree))
        where, order = self._where(tree), self._order(tree.order)
        body = f"FROM {known.table} t0{self._from()} {where}"
        if tree.count:
            return Compiled(known, f"SELECT count(*) FROM (SELECT 1 {body}{tail(tree)})", self._values, tree)
        parents = {
            path: joined
            for path, (_, joined, _) in self._joins.items()
            if any(c.path[: len(path)] == path for c in columns)
        }
        selected = [self._sql(c) for c in columns] + [f"{self._alias(p)}.Id" for p in parents]
        sql = f"SELECT t0.Id, {', '.join(selected)} {body}{order}{tail(tree)}"
        return Compiled(known, sql, self._values, tree, columns, parents)

    def _where(self, tree: Select) -> str:
        where = self._condition(tree.where) if tree.where is not None else "true"
        gone = "" if self._deleted_too else "AND NOT t0.IsDeleted"
        if tree.offset > MAX_OFFSET:
            raise SoqlError("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MAX_OFFSET}")
        return f"WHERE NOT t0.hidden_ {gone} AND {where}"

    def _aggregate(self, tree: Select) -> Compiled:
        """GROUP BY and aggregate functions: rows are AggregateResults, named by alias, field or expr0, expr1 ..."""
        groups = [self._column(path) for path in tree.groups]
        columns: list[Column] = []
        keys: list[str] = []
        selected: list[str] = []
        for item in tree.items:
            column = self._column(item.path)
            if item.function == "FIELDS" or (not item.function and column not in groups):
                raise SoqlError("MALFORMED_QUERY", f"Field must be grouped or aggregated: {item.path}")
            if item.function:
                keys.append(item.alias or f"expr{sum(k.startswith('expr') for k in keys)}")
            else:
                keys.append(item.alias or column.field.name)
            columns.append(Column((), result_field(item.function, column.field)))
            selected.append(self._aggregated(item, column))
        if len({k.lower() for k in keys}) != len(keys):
            raise SoqlError("MALFORMED_QUERY", "duplicate alias")
        where = self._where(tree)
        order = [
            direction(self._aggregated(o.item, self._column(o.item.path)), o)
            for o in tree.order
            if o.item.function or self._column(o.item.path) in groups or self._ungrouped(o.item.path)
        ]
        grouped = [self._sql(c) for c in groups]
        by = f" GROUP BY {', '.join(grouped)}" if grouped else ""
        sort = f" ORDER BY {', '.join(order or grouped)}" if grouped else ""
        sql = f"SELECT NULL, {', '.join(selected)} FROM {self._object.table} t0{self._from()} {where}{by}{sort}{tail(tree)}"
        return Compiled(self._object, sql, self._values, tree, columns, {}, keys)

    def _ungrouped(self, path: str) -> bool:
        raise SoqlError("MALFORMED_QUERY", f"Ordered field must be grouped or aggregated: {path}")

    def _aggregated(self, item: soql.Item, column: Column) -> str:
        sql = self._sql(column)
        if item.function in ("SUM", "AVG") and column.field.sql_type not in ("DOUBLE", "BIGINT"):
            raise SoqlError("MALFORMED_QUERY", f"field {item.path} does not support aggregate operator {item.function}")
        if item.function == "COUNT_DISTINCT":
            return f"count(DISTINCT {sql})"
        return f"{item.function.lower()}({sql})" if item.function else sql

    # -- names ------------------------------------------------------------------------------------------------------

    def _expand(self, tree: Select) -> list[str]:
        """The selected paths, FIELDS() replaced by what it stands for."""
        paths: list[str] = []
        for item in tree.items:
            if item.function != "FIELDS":
                if item.alias:
                    raise SoqlError("MALFORMED_QUERY", f"only aggregate expressions use field aliasing: {item.alias}")
                paths.append(item.path)
                continue
            wanted = item.path.upper()
            if wanted != "STANDARD" and (tree.limit is None or tree.limit > MAX_FIELDS_ROWS):
                shown = f"The SOQL FIELDS function must have a LIMIT of at most {MAX_FIELDS_ROWS}"
                raise SoqlError("MALFORMED_QUERY", shown)
            paths += [
                f.name
                for f in self._object.fields.values()
                if not self._is_hidden(self._object, f) and wanted in ("ALL", "CUSTOM" if f.is_custom else "STANDARD")
            ]
        return paths

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
        if relations and relations[0].lower() in (known.name.lower(), self._name):
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
            parent = self._schema.find(link.parent[1])
            if parent is None or len(walked) > DEEPEST_PATH:
                raise SoqlError("INVALID_FIELD", f"Didn't understand relationship '{relation}' in field path.")
            known = parent
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
            return f"(NOT coalesce({parts[0]}, false))" if node.op == "NOT" else balanced(parts, node.op)
        return self._comparison(node)

    def _comparison(self, node: Comparison) -> str:
        column = self._column(node.path)
        sql = self._sql(column)
        if isinstance(node.value, Select):
            return self._semi_join(sql, column.field, node)
        if isinstance(node.value, list):
            return self._membership(sql, column.field, node)
        if node.value.kind == "period":
            return self._period(sql, column.field, node)
        if node.op == "LIKE":
            if node.value.kind != "string" or not folded(column.field):
                raise SoqlError("INVALID_QUERY_FILTER_OPERATOR", f"invalid operator on {column.field.name} field")
            if len(node.value.value) > MAX_STRING:
                raise SoqlError("MALFORMED_QUERY", f"string literals are limited to {MAX_STRING} characters")
            self._values.append(node.value.value)
            return f"({sql} ILIKE ? ESCAPE '\\')"
        value = self._bound(column.field, node.value)
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

    def _semi_join(self, sql: str, found: SField, node: Comparison) -> str:
        """Id IN (SELECT ContactId FROM ...): two a statement, none within another."""
        self._semi_joins += 1
        if self._inner:
            raise SoqlError("MALFORMED_QUERY", "Nesting of semi join sub-selects is not supported")
        if self._semi_joins > MAX_SEMI_JOINS:
            raise SoqlError("MALFORMED_QUERY", f"at most {MAX_SEMI_JOINS} semi join sub-selects are allowed")
        if not found.is_id:
            shown = f"The left operand '{node.path}' of a semi join must be an id or a reference"
            raise SoqlError("MALFORMED_QUERY", shown)
        tree: Select = node.value
        inner = Compiler(self._schema, self._hidden, self._deleted_too, self._now, inner=True)
        compiled = inner.compile_tree(tree)
        if len(compiled.columns) != 1 or compiled.keys or not compiled.columns[0].field.is_id:
            raise SoqlError("MALFORMED_QUERY", "A semi join sub-select must select one id or reference field")
        self._values += compiled.values
        inside = f"coalesce({sql} IN (SELECT c1 FROM ({compiled.sql}) s({compiled.names}) WHERE c1 IS NOT NULL), false)"
        return f"(NOT {inside} AND {sql} IS NOT NULL)" if node.op == "NOT IN" else f"({inside})"

    def _period(self, sql: str, found: SField, node: Comparison) -> str:
        """A date literal: a stretch of days, so `=` means within and `>` means after it."""
        if found.type not in ("date", "datetime") or node.op == "LIKE":
            raise SoqlError(
                "INVALID_FIELD", f"value of filter criterion for field '{found.name}' must be of another type"
            )
        try:
            first, after = dates.period(node.value.value[0], node.value.value[1], self._now.date())
        except (OverflowError, ValueError):
            raise SoqlError("MALFORMED_QUERY", f"invalid date literal: {node.value.value[0]}") from None
        cast = found.sql_type
        inside = f"{sql} >= CAST(? AS {cast}) AND {sql} < CAST(? AS {cast})"
        if node.op in ("=", "!="):
            self._values += [first, after]
            return f"({inside})" if node.op == "=" else f"(NOT coalesce({inside}, false))"
        self._values.append(after if node.op in (">", "<=") else first)
        return f"({sql} {'>=' if node.op in ('>', '>=') else '<'} CAST(? AS {cast}))"

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
            known = ids.normal(str(literal.value)) if literal.kind == "string" else None
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
        if literal.kind == "period" or literal.kind not in wanted:
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
            if ordering.item.function:
                raise SoqlError("MALFORMED_QUERY", "an aggregate in ORDER BY needs GROUP BY")
            column = self._column(ordering.item.path)
            parts.append(
                direction(f"lower({self._sql(column)})" if folded(column.field) else self._sql(column), ordering)
            )
        return " ORDER BY " + ", ".join([*parts, "t0.Id"])


def direction(sql: str, ordering: soql.Ordering) -> str:
    return f"{sql} {'DESC' if ordering.descending else 'ASC'} NULLS {'LAST' if ordering.nulls_last else 'FIRST'}"


def tail(tree: Select) -> str:
    limit = f" LIMIT {tree.limit}" if tree.limit is not None else ""
    return limit + (f" OFFSET {tree.offset}" if tree.offset else "")


def balanced(parts: list[str], op: str) -> str:
    """Conditions joined as a balanced tree: a long chain would pass DuckDB's limit on depth."""
    if len(parts) <= 2:
        return "(" + f" {op} ".join(parts) + ")"
    middle = len(parts) // 2
    return f"({balanced(parts[:middle], op)} {op} {balanced(parts[middle:], op)})"


def result_field(function: str, found: SField) -> SField:
    """What an aggregate of a field is."""
    kind = {"COUNT": "int", "COUNT_DISTINCT": "int", "SUM": "double", "AVG": "double"}.get(function)
    return SField(found.name, kind) if kind else found


def folded(found: SField) -> bool:
    """Whether texts of this field compare without case; ids have one spelling in the store."""
    return found.sql_type == "VARCHAR" and not found.is_id


def record(compiled: Compiled, row: tuple[Any, ...], version: str) -> dict[str, Any]:
    """One row as REST shows it: attributes first, parents nested or null."""
    if compiled.keys:
        values = zip(compiled.keys, row[1:], compiled.columns, strict=True)
        return {"attributes": {"type": "AggregateResult"}, **{k: shown(v, c.field) for k, v, c in values}}
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
