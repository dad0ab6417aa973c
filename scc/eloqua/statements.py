"""Eloqua's markup and filter language, as text: no HTTP, no state (eloqua.md 3.6, 3.7)."""

from collections.abc import Iterable
from dataclasses import dataclass

from scc.errors import ConfigError

FILTER_LIMIT = 1000  # characters


@dataclass(frozen=True)
class Field:
    """A field of an Eloqua entity. kind: "string", "number", "date" or "emailAddress"."""

    name: str
    internal_name: str
    kind: str
    statement: str
    read_only: bool = False


def custom_object_statement(object_id: str, attribute: str) -> str:
    """A system attribute of a custom object's record: Id, ExternalId, CreatedAt, UpdatedAt (the fields call omits them)."""
    return f"{{{{CustomObject[{object_id}].{attribute}}}}}"


def equals(statement: str, value: str) -> str:
    """A filter for the records whose field holds value.

    Raises ConfigError for a value that holds a quote: the language documents no way to write one.
    """
    if "'" in value:
        raise ConfigError("Eloqua's filters cannot hold a value with a single quote")
    return checked(f"'{statement}' = '{value}'")


def at_least(statement: str, moment: str) -> str:
    """A filter for the records whose date is moment ("YYYY-MM-DD HH:MM:SS", UTC) or later."""
    return checked(f"'{statement}' >= '{moment}'")


def checked(text: str) -> str:
    """The filter itself. Raises ConfigError above Eloqua's limit of 1,000 characters."""
    if len(text) > FILTER_LIMIT:
        raise ConfigError(f"a filter for Eloqua is {len(text):,} characters long, limit {FILTER_LIMIT:,}")
    return text


def by_internal_name(fields: Iterable[Field]) -> dict[str, Field]:
    """The catalogue as a look-up."""
    return {field.internal_name: field for field in fields}
