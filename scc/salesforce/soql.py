"""SOQL as text, and Salesforce's record ids: no HTTP, no state (salesforce.md 2.2)."""

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote_plus

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*")
# of the 16,384 that URI and headers may have together; the rest is left to the token and the other headers
URL_BYTES = 12_000
# of the 100,000 characters of a statement; one in the body of a composite call is under no other limit (2.1, 2.2)
STATEMENT_BYTES = 90_000
_ALPHABET = string.ascii_uppercase + "012345"


def select(fields: Sequence[str], from_object: str, *conditions: str, limit: int | None = None) -> str:
    """A statement. Raises ValueError for a name that is none; conditions are joined by AND."""
    for name in (*fields, from_object):
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a Salesforce field or object name")
    where = " AND ".join(condition for condition in conditions if condition)
    return (
        f"SELECT {', '.join(fields)} FROM {from_object}"  # noqa: S608 (names were checked, values are quoted)
        + (f" WHERE {where}" if where else "")
        + (f" LIMIT {limit}" if limit is not None else "")
    )


def one_of(field: str, values: Sequence[str]) -> str:
    """field IN ('a','b'), quoted. Raises ValueError for no values: Salesforce calls `IN ()` malformed."""
    from simple_salesforce.format import format_soql

    if not values:
        raise ValueError("IN needs at least one value")
    return format_soql("{field:literal} IN {values}", field=field, values=list(values))


def parenthesised(condition: str) -> str:
    """A configured condition, in parentheses that it cannot leave. "" stays "". Raises ValueError when it tries to."""
    if not condition.strip():
        return ""
    depth = 0
    for piece in re.findall(r"'(?:\\.|[^'\\])*'|.", condition, flags=re.DOTALL):
        if piece == "'":
            raise ValueError("a quote is not closed")
        depth += (piece == "(") - (piece == ")")
        if depth < 0:
            raise ValueError("a parenthesis is closed that was not opened")
    if depth:
        raise ValueError("a parenthesis is not closed")
    return f"({condition.strip()})"


def chunks(values: Iterable[str], room: int) -> Iterator[list[str]]:
    """Cut values into lists whose quoted, URL-encoded IN list stays below room bytes."""
    from simple_salesforce.format import quote_soql_value

    chunk: list[str] = []
    size = 0
    for value in values:
        length = len(quote_plus(f"{quote_soql_value(value)},"))
        if chunk and size + length > room:
            yield chunk
            chunk, size = [], 0
        chunk.append(value)
        size += length
    if chunk:
        yield chunk


def record_id(text: str) -> str | None:
    """The 18-character form of a record id in either form, or None when it is no id.

    The last three characters of the long form say which of the first fifteen are capitals, so a long id that a
    spreadsheet turned to one case is still the same id.
    """
    if not re.fullmatch(r"[A-Za-z0-9]{15}([A-Za-z0-5]{3})?", text):
        return None
    if len(text) == 15:
        return text + _suffix(text)
    body, suffix = text[:15], text[15:].upper()
    if _suffix(body) == suffix:
        return body + suffix
    restored = "".join(
        character.upper() if _ALPHABET.index(suffix[index // 5]) >> index % 5 & 1 else character.lower()
        for index, character in enumerate(body)
    )
    one_case = body in (body.lower(), body.upper())
    return restored + suffix if one_case and _suffix(restored) == suffix else None


def _suffix(body: str) -> str:
    """Three characters; each encodes, bit by bit, which of five characters are capitals."""
    return "".join(
        _ALPHABET[sum(character.isupper() << position for position, character in enumerate(body[start : start + 5]))]
        for start in (0, 5, 10)
    )
