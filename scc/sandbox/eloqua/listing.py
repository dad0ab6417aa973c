"""What the lists and bodies of the Bulk API have in common (eloqua.md 3.1)."""

from __future__ import annotations

import re
from typing import Any

from scc.sandbox.http import Failed, Request, Response, json_response, load_json, text_response


def envelope(total: int, limit: int, offset: int, count: int) -> dict[str, Any]:
    return {"totalResults": total, "limit": limit, "offset": offset, "count": count, "hasMore": offset + count < total}


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
        body = load_json(request.body or b"null")
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
