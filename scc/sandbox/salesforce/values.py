"""Values as they are sent, JSON or CSV, to values as the store keeps them: types, lengths, picklists (salesforce.md 8)."""

from __future__ import annotations

import math
import re
from datetime import UTC, date
from typing import Any

from scc.sandbox.clock import parse_instant
from scc.sandbox.salesforce.ids import normal
from scc.sandbox.salesforce.schema import SField

# What Salesforce takes for an address is its secret; this refuses what certainly is none.
EMAIL = re.compile(r"[^@\s,;<>()\[\]\"\\]+@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
TEXTS = ("string", "textarea", "phone", "url", "email", "picklist")
NULL = "#N/A"  # in CSV (salesforce.md 3.3)
WHOLE = range(-(2**31), 2**31)


class RowError(Exception):
    """One reason why one record is refused: Salesforce's code, its message, the fields it blames."""

    def __init__(self, code: str, message: str, *fields: str, **extra: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.fields, self.extra = code, message, list(fields), extra


def from_json(found: SField, value: Any) -> Any:
    """A JSON value in the field's type; null and blank texts are None, for booleans False. Raises RowError."""
    if value is None or value == "":
        return False if found.type == "boolean" else None
    if found.type == "boolean":
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise misfit(found, value)
    if found.sql_type in ("DOUBLE", "BIGINT"):
        return number(found, value)
    if not isinstance(value, str) and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        raise misfit(found, value)
    return from_text(found, str(value))


def from_csv(found: SField, value: str) -> Any:
    """A CSV value in the field's type; #N/A is None. Raises RowError."""
    if value == NULL:
        return False if found.type == "boolean" else None
    if found.type == "boolean":
        if value.strip().lower() not in ("true", "false", "1", "0"):
            raise RowError("INVALID_TYPE_ON_FIELD_IN_RECORD", f"invalid boolean value: {cut(value)}", found.name)
        return value.strip().lower() in ("true", "1")
    if found.sql_type in ("DOUBLE", "BIGINT"):
        return number(found, value.strip())
    return from_text(found, value)


def from_text(found: SField, value: str) -> Any:
    """Blanks around a text are not kept, and a text of blanks is null."""
    value = value.replace("\0", "").strip()
    if not value:
        return None
    if found.type == "date":
        return moment(found, value[:10] if re.match(r"\d{4}-\d\d-\d\dT", value) else value, date.fromisoformat)
    if found.type == "datetime":
        instant = moment(found, zoned(value), parse_instant)
        return instant.astimezone(UTC).replace(tzinfo=None, microsecond=instant.microsecond // 1000 * 1000)
    if found.is_id:
        known = normal(value)
        if known is None:
            raise RowError("MALFORMED_ID", f"{label(found)}: id value of incorrect type: {cut(value)}", found.name)
        return known
    if found.length and len(value) > found.length:
        shown = f"{label(found)}: data value too large: {cut(value)} (max length={found.length})"
        raise RowError("STRING_TOO_LONG", shown, found.name)
    if found.type == "email" and not EMAIL.fullmatch(value):
        raise RowError("INVALID_EMAIL_ADDRESS", f"{label(found)}: invalid email address: {cut(value)}", found.name)
    if found.restricted and found.picklist:
        for choice in found.picklist:
            if choice.lower() == value.lower():
                return choice
        shown = f"{label(found)}: bad value for restricted picklist field: {cut(value)}"
        raise RowError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", shown, found.name)
    return value


def number(found: SField, value: Any) -> float | int | None:
    if value == "":
        return None
    try:
        if isinstance(value, (bool, list, dict)):
            raise ValueError(value)
        parsed = float(value)
        if not math.isfinite(parsed) or "_" in str(value):
            raise ValueError(value)
    except (ValueError, OverflowError):
        raise misfit(found, value) from None
    if found.sql_type == "DOUBLE":
        if abs(parsed) >= 1e16:
            raise RowError("NUMBER_OUTSIDE_VALID_RANGE", f"{label(found)}: value outside of valid range", found.name)
        return parsed
    if parsed != int(parsed) or int(parsed) not in WHOLE:
        raise RowError("NUMBER_OUTSIDE_VALID_RANGE", f"{label(found)}: value outside of valid range", found.name)
    return int(parsed)


def moment(found: SField, value: str, read: Any) -> Any:
    try:
        return read(value)
    except (ValueError, OverflowError):
        raise misfit(found, value) from None


def zoned(value: str) -> str:
    """+0000, as Salesforce writes it, in the form Python 3.11 reads."""
    return re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", value)


def misfit(found: SField, value: Any) -> RowError:
    kind = "NUMBER" if isinstance(value, (int, float)) and not isinstance(value, bool) else "STRING"
    shown = f"Cannot deserialize instance of {found.type} from VALUE_{kind} value {cut(str(value))}"
    return RowError("JSON_PARSER_ERROR", shown, found.name)


def label(found: SField) -> str:
    """A field's label: `LastName` is Last Name, `OwnerId` is Owner ID."""
    if found.label:
        return found.label
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", found.name.removesuffix("__c").replace("_", " "))
    return re.sub(r" Id$", " ID", words)


def cut(value: str) -> str:
    return value if len(value) <= 200 else value[:200] + "..."
