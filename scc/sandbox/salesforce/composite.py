"""POST /composite: up to 25 subrequests in one call (salesforce.md 2.1)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from scc.sandbox.http import Failed, Request, Response, json_response
from scc.sandbox.salesforce.rest import error, json_document

MOST = 25
MOST_QUERIES = 5  # queries and collections calls
REFERENCE = re.compile(r"@\{(\w+)(?:\.([^}]+))?\}")
EXPENSIVE = re.compile(r"/services/data/v[\d.]+/(query|queryAll|composite/sobjects)\b", re.IGNORECASE)


def composite(request: Request, answer: Callable[[Request], Response]) -> Response:
    """Run the subrequests in order; HTTP is 200 whatever they did."""
    body = json_document(request)
    subrequests = checked(body.get("compositeRequest"))
    results: dict[str, Any] = {}
    answers: list[dict[str, Any]] = []
    for subrequest in subrequests:
        answers.append(run(subrequest, request, answer, results))
    if body.get("allOrNone") is True and any(a["httpStatusCode"] >= 400 for a in answers):
        answers = [a if a["httpStatusCode"] >= 400 else halted(a) for a in answers]
    return json_response({"compositeResponse": answers})


def checked(subrequests: Any) -> list[dict[str, Any]]:
    """The subrequests, if they keep the rules. Raises a 400."""
    if not isinstance(subrequests, list) or not subrequests or not all(isinstance(s, dict) for s in subrequests):
        raise error("JSON_PARSER_ERROR", "compositeRequest must be an array of subrequests")
    if len(subrequests) > MOST:
        raise error("LIMIT_EXCEEDED", f"Limit exceeded: at most {MOST} subrequests, found {len(subrequests)}")
    if sum(bool(EXPENSIVE.match(str(s.get("url", "")))) for s in subrequests) > MOST_QUERIES:
        raise error("LIMIT_EXCEEDED", f"Limit exceeded: at most {MOST_QUERIES} query and collections subrequests")
    if not all(isinstance(s.get("httpHeaders") or {}, dict) for s in subrequests):
        raise error("JSON_PARSER_ERROR", "httpHeaders must be an object")
    references = [s.get("referenceId") for s in subrequests]
    if not all(isinstance(r, str) and re.fullmatch(r"[A-Za-z0-9_]+", r) for r in references):
        raise error("INVALID_FIELD", "referenceId must consist of letters, digits and underscores")
    if len(set(references)) != len(references):
        raise error("INVALID_FIELD", "referenceId must be unique within a composite request")
    return subrequests


def run(
    subrequest: dict[str, Any], outer: Request, answer: Callable[[Request], Response], results: dict[str, Any]
) -> dict[str, Any]:
    reference = subrequest["referenceId"]
    try:
        url = resolved(str(subrequest.get("url", "")), results)
        sent = subrequest.get("body")
        payload = resolved(json.dumps(sent), results).encode() if sent is not None else b""
        headers = {**dict(outer.headers.items()), **(subrequest.get("httpHeaders") or {})}
        response = answer(
            Request(str(subrequest.get("method", "GET")).upper(), url, Headers(headers), payload, "salesforce")
        )
    except Failed as failure:
        response = failure.response
    body = json.loads(response.body) if isinstance(response.body, bytes) and response.body else None
    results[reference] = body
    return {"body": body, "httpHeaders": response.headers, "httpStatusCode": response.status, "referenceId": reference}


class Headers(dict):
    """Header look-up without regard to case, as on the outer request."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__({name.lower(): str(value) for name, value in headers.items()})

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


def resolved(text: str, results: dict[str, Any]) -> str:
    """`@{ref.field}` replaced by what an earlier subrequest answered."""

    def one(match: re.Match[str]) -> str:
        value: Any = results.get(match[1])
        for part in re.findall(r"[^.\[\]]+", match[2] or ""):
            try:
                value = value[int(part)] if isinstance(value, list) else value[part]
            except (KeyError, IndexError, TypeError, ValueError):
                raise error(
                    "PROCESSING_HALTED", f"Invalid reference specified. No value for {match[1]}.{match[2]} found"
                ) from None
        return str(value)

    return REFERENCE.sub(one, text)


def halted(answer: dict[str, Any]) -> dict[str, Any]:
    body = [
        {
            "errorCode": "PROCESSING_HALTED",
            "message": "The transaction was rolled back since another operation in the same transaction failed.",
        }
    ]
    return {**answer, "body": body, "httpStatusCode": 400}
