"""Answers that all resources of Salesforce share: errors as arrays, bodies as JSON (salesforce.md 2.3)."""

from __future__ import annotations

from typing import Any

from scc.sandbox.http import Failed, Request, json_response, load_json


def error(code: str, message: str, status: int = 400) -> Failed:
    """An error as the REST API answers it: an array."""
    return fault([{"message": message, "errorCode": code}], status)


def fault(body: list[Any], status: int = 400) -> Failed:
    return Failed(json_response(body, status))


def not_found(sent: str) -> Failed:
    return error("NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {sent}", 404)


def json_body(request: Request) -> Any:
    """The body as JSON, None when it is empty. Raises the 400."""
    try:
        return load_json(request.body or b"null")
    except ValueError:
        raise error("JSON_PARSER_ERROR", "The request body is not valid JSON") from None


def json_document(request: Request) -> dict[str, Any]:
    body = json_body(request)
    if not isinstance(body, dict):
        raise error("JSON_PARSER_ERROR", "The request body is not a valid JSON object")
    return body
