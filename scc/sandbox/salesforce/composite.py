"""POST /composite: up to 25 subrequests in one call (salesforce.md 2.1)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from scc.sandbox.http import Failed, Request, Response, json_response
from scc.sandbox.salesforce.answers import error, json_document

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce

MOST = 25
MOST_QUERIES = 5  # queries and collections calls
REFERENCE = re.compile(r"@\{(\w+)(?:\.([^}]+))?\}")
EXPENSIVE = re.compile(r"/services/data/v[\d.]+/(query|queryAll|composite/sobjects)\b", re.IGNORECASE)
NESTED = re.compile(r"/services/data/v[\d.]+/(composite(?!/sobjects)|jobs)\b", re.IGNORECASE)
HALTED = {
    "errorCode": "PROCESSING_HALTED",
    "message": "The transaction was rolled back since another operation in the same transaction failed.",
}


def composite(request: Request, salesforce: Salesforce) -> Response:
    """Run the subrequests in order; HTTP is 200 whatever they did. With allOrNone the first failure undoes all."""
    body = json_document(request)
    subrequests = checked(body.get("compositeRequest"))
    results: dict[str, Any] = {}
    answers: list[dict[str, Any]] = []
    all_or_none = body.get("allOrNone") is True

    def run_all() -> bool:
        for subrequest in subrequests:
            answers.append(run(subrequest, request, salesforce, results))
            if all_or_none and failed(answers[-1]):
                return False
        return True

    if not all_or_none:
        run_all()
    elif not salesforce.all_or_none(run_all):
        halted = {"body": [HALTED], "httpHeaders": {}, "httpStatusCode": 400}
        answers = [
            answers[i] if i < len(answers) and failed(answers[i]) else {**halted, "referenceId": s["referenceId"]}
            for i, s in enumerate(subrequests)
        ]
    return json_response({"compositeResponse": answers})


def failed(answer: dict[str, Any]) -> bool:
    return answer["httpStatusCode"] >= 300


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


def run(subrequest: dict[str, Any], outer: Request, salesforce: Salesforce, results: dict[str, Any]) -> dict[str, Any]:
    reference = subrequest["referenceId"]
    try:
        url = REFERENCE.sub(lambda m: quote(str(looked_up(m, results)), safe=""), str(subrequest.get("url", "")))
        if NESTED.match(url):
            raise error("INVALID_INPUT", "This resource cannot be used in a composite request")
        sent = subrequest.get("body")
        payload = json.dumps(resolved(sent, results)).encode() if sent is not None else b""
        headers = {**dict(outer.headers.items()), **(subrequest.get("httpHeaders") or {})}
        method = str(subrequest.get("method", "GET")).upper()
        response = salesforce.resource(Request(method, url, Headers(headers), payload, "salesforce"))
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


def resolved(value: Any, results: dict[str, Any]) -> Any:
    """A body with every `@{ref.field}` replaced; a text that is nothing but a reference takes the value's type."""
    if isinstance(value, dict):
        return {name: resolved(item, results) for name, item in value.items()}
    if isinstance(value, list):
        return [resolved(item, results) for item in value]
    if not isinstance(value, str):
        return value
    if whole := REFERENCE.fullmatch(value):
        return looked_up(whole, results)
    return REFERENCE.sub(lambda m: str(looked_up(m, results)), value)


def looked_up(match: re.Match[str], results: dict[str, Any]) -> Any:
    """What an earlier subrequest answered under `ref.field`, e.g. `ref.records[0].Id`."""
    value: Any = results.get(match[1])
    for part in re.findall(r"[^.\[\]]+", match[2] or ""):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise error(
                "PROCESSING_HALTED", f"Invalid reference specified. No value for {match[1]}.{match[2]} found"
            ) from None
    return value
