"""`search`, `orderBy`, `sort`, `dir`, `count`, `page`, `lastUpdatedAt` of list requests (eloqua.md 2.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from scc.sandbox.eloqua.rest.errors import parameter_error
from scc.sandbox.http import Request, Response, json_response
from scc.sandbox.store import Store

# A value with blanks stands in single quotes, a quote in it doubled; without quotes it ends at the next blank.
TERM = re.compile(
    r"\s*(?P<name>[A-Za-z_][\w.]*)\s*(?P<operator>!=|>=|<=|=|>|<)\s*(?:'(?P<quoted>(?:[^']|'')*)'|(?P<plain>[^\s']*))"
)
OPERATOR = re.compile(r"!=|>=|<=|=|>|<")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Property:
    """Something that a search can name: SQL over the row `r`.

    kind: "text"; "id" (BIGINT); "time" (TIMESTAMP in UTC); "date" and "number" (canonical texts of entities.py).
    """

    sql: str
    kind: str = "text"


@dataclass(frozen=True)
class Listed:
    """What a list request reads: FROM ... WHERE with `r` as the row's name, and searchable properties by lower-case name."""

    source: str
    properties: Mapping[str, Property]
    default: str = "name"
    parameters: tuple[Any, ...] = ()


def listing(
    store: Store, request: Request, listed: Listed, shown: Callable[[list[dict[str, Any]]], list[Any]]
) -> Response:
    """Answer a list request; `shown` turns rows (dicts of the source's columns) into elements."""
    query = {name.lower(): value for name, value in request.query.items()}
    count, page = whole(query, "count", 1000, most=1000), whole(query, "page", 1, most=10**9)
    condition, parameters = where(query, listed)
    parameters = [*listed.parameters, *parameters]
    total = store.value(f"SELECT count(*) FROM {listed.source} AND {condition}", parameters)
    rows = store.dicts(
        f"SELECT r.* FROM {listed.source} AND {condition} ORDER BY {order(query, listed)} LIMIT ? OFFSET ?",
        [*parameters, count, (page - 1) * count],
    )
    return envelope(shown(rows), page, count, total)


def envelope(elements: list[Any], page: int, count: int, total: int) -> Response:
    return json_response({"elements": elements, "page": page, "pageSize": count, "total": total})


def whole(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number from 1 to `most`; anything else is refused (eloqua.md 6, point 26)."""
    text = query.get(name, "").strip()
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,12}", text) or not 1 <= int(text) <= most:
        raise parameter_error(name, "IntegerRequirement", text, minimum=1, maximum=most)
    return int(text)


def where(query: Mapping[str, str], listed: Listed) -> tuple[str, list[Any]]:
    """SQL condition of `search` and `lastUpdatedAt`, and its parameters."""
    conditions, parameters = ["true"], []
    for found, values in searched(query.get("search", ""), listed):
        conditions.append(found)
        parameters += values
    if since := query.get("lastupdatedat", "").strip():
        moment = instant(since)
        if moment is None:
            raise parameter_error("lastUpdatedAt", "DateRequirement", since)
        conditions.append(f"{listed.properties['updatedat'].sql} >= ?")
        parameters.append(moment)
    return " AND ".join(conditions), parameters


def searched(text: str, listed: Listed) -> list[tuple[str, list[Any]]]:
    """The conditions of a search, to be joined by AND; repeated equality tests of one property are one of them (OR).

    Recorded for one property; between different ones AND is a choice (eloqua.md 6, point 25).
    """
    equal: dict[str, list[tuple[str, list[Any]]]] = {}
    result = []
    for name, operator, value in terms(text, listed.default):
        known = listed.properties.get(name.lower())
        if known is None:
            raise parameter_error("search", "SyntaxRequirement", text)
        condition = compare(known, operator, value)
        if condition is None:
            raise parameter_error("search", "SyntaxRequirement", text)
        if operator == "=":
            equal.setdefault(name.lower(), []).append(condition)
        else:
            result.append(condition)
    for alternatives in equal.values():
        result.append(
            (
                "(" + " OR ".join(condition for condition, _ in alternatives) + ")",
                [value for _, values in alternatives for value in values],
            )
        )
    return result


def terms(text: str, default: str) -> list[tuple[str, str, str]]:
    """(property, operator, value) each. Without an operator the whole text is the value of the default property."""
    if not text.strip():
        return []
    match = TERM.match(text)
    if match is None:
        bare = text.strip()
        if bare.startswith("'") and bare.endswith("'") and len(bare) > 1:
            return [(default, "=", bare[1:-1].replace("''", "'"))]
        if OPERATOR.search(bare):
            raise parameter_error("search", "SyntaxRequirement", text)
        return [(default, "=", bare)]
    found, position = [], 0
    while position < len(text) and text[position:].strip():
        match = TERM.match(text, position)
        if match is None:
            raise parameter_error("search", "SyntaxRequirement", text)
        quoted = match["quoted"]
        value = match["plain"] if quoted is None else quoted.replace("''", "'")
        found.append((match["name"], match["operator"], value))
        position = match.end()
    return found


def compare(known: Property, operator: str, value: str) -> tuple[str, list[Any]] | None:
    """SQL of one term and its parameters; None when the value is nothing that can be compared with the property."""
    text = f"coalesce(CAST({known.sql} AS VARCHAR), '')"
    if value == "" and operator in ("=", "!="):
        return f"{text} {operator} ''", []
    if "*" in value and operator in ("=", "!="):
        pattern = re.sub(r"([\\%_])", r"\\\1", value.lower()).replace("*", "%")
        return f"lower({text}) {'NOT ' if operator == '!=' else ''}LIKE ? ESCAPE '\\'", [pattern]
    if known.kind == "id":
        number = value.strip()
        if re.fullmatch(r"-?[0-9]{1,18}", number):
            return f"coalesce({known.sql} {operator} ?, {word(operator)})", [int(number)]
        return (word(operator), []) if operator in ("=", "!=") else None
    if known.kind == "number":
        try:
            return f"coalesce(TRY_CAST({known.sql} AS DOUBLE) {operator} ?, {word(operator)})", [float(value)]
        except ValueError:
            return None
    if known.kind in ("time", "date"):
        moment = instant(value)
        if moment is None:
            return None
        if known.kind == "time":
            # Stamps are compared by the second, as they are shown.
            return f"coalesce(date_trunc('second', {known.sql}) {operator} ?, {word(operator)})", [moment]
        return f"coalesce(nullif({known.sql}, '') {operator} ?, {word(operator)})", [f"{moment:%Y-%m-%d %H:%M:%S}"]
    if operator == "=" and value.isascii():  # lengths first: that spares folding a million texts
        return f"(strlen({known.sql}) = {len(value)} AND lower({known.sql}) = ?)", [value.lower()]
    return f"lower({text}) {operator} lower(?)", [value]


def word(operator: str) -> str:
    """What comparing with nothing gives."""
    return "true" if operator == "!=" else "false"


def instant(text: str) -> datetime | None:
    """Unix seconds or a date as people write it, UTC, without zone; None for anything else."""
    text = text.strip()
    try:
        if re.fullmatch(r"-?[0-9]{1,11}", text):
            return (EPOCH + timedelta(seconds=int(text))).replace(tzinfo=None)
        for form in ("%m/%d/%Y", "%m/%d/%Y %H:%M:%S"):
            if re.fullmatch(r"[0-9/]{6,10}( [0-9:]{5,8})?", text) and text.count(":") == form.count(":"):
                return datetime.strptime(text, form)
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return None


def order(query: Mapping[str, str], listed: Listed) -> str:
    """`orderBy=createdAt DESC` or `sort=createdAt&dir=desc`; rows that are equal in it stand by id."""
    by, direction = query.get("orderby", "").strip(), "ASC"
    if by:
        name, _, given = by.partition(" ")
        given = given.strip() or "ASC"
    else:
        name, given = query.get("sort", "").strip(), query.get("dir", "").strip() or "ASC"
        by = name
    if not name:
        return "r.Id"
    known, direction = listed.properties.get(name.lower()), given.upper()
    if known is None or direction not in ("ASC", "DESC"):
        raise parameter_error("orderBy", "SyntaxRequirement", by)
    text = f"lower(coalesce({known.sql}, ''))" if known.kind == "text" else known.sql
    return f"{text} {direction} NULLS FIRST, r.Id"
