"""Errors of the Application API: typed objects in an array for 400 and 409, a short text otherwise (eloqua.md 2.2, 5.5)."""

from __future__ import annotations

from typing import Any

from scc.sandbox.http import Failed, json_response, text_response


def parameter_error(parameter: str, requirement: str, value: Any, **details: Any) -> Failed:
    """400: a parameter of the path, the query or the body of a search is not as it must be."""
    error = {
        "type": "EndpointParameterError",
        "parameter": parameter,
        "requirement": {"type": requirement, **details},
        "value": value,
    }
    return Failed(json_response([error], 400))


def object_error(
    object_type: str,
    object_id: int | None,
    property_: str,
    requirement: str,
    value: Any,
    status: int = 400,
    **details: Any,
) -> Failed:
    """400, or 409 for what exists already: a property of the object that was sent is not as it must be."""
    error = {
        "type": "ObjectValidationError",
        "container": {"type": "ObjectKey", "objectType": object_type, "objectId": str(object_id or 0)},
        "property": property_,
        "requirement": {"type": requirement, **details},
        "value": value,
    }
    return Failed(json_response([error], status))


def bad_id(value: Any, parameter: str = "id") -> Failed:
    return parameter_error(parameter, "IdRequirement", value, isRelativeAllowed=False)


def not_found() -> Failed:
    """The body of a 404 is not described anywhere: a short text (eloqua.md 6, point 5)."""
    return Failed(text_response("Not found.", 404))


def refused(message: str, status: int) -> Failed:
    return Failed(text_response(message, status))
