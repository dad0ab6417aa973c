"""Values as Eloqua's fields hold them: Bulk rows are texts whatever the field's kind (eloqua.md 3.6, 3.16)."""

import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import narwhals as nw

MOMENT = "%Y-%m-%d %H:%M:%S"


def text_of(value: Any, kind: str) -> str | None:
    """A JSON value, such as Salesforce sends, as the text that an Eloqua field of this kind holds; None when it cannot be one.

    "" stands for none. Dates become "YYYY-MM-DD HH:MM:SS" in UTC, numbers plain decimals without superfluous zeros,
    booleans true or false (1 or 0 in a number field).
    """
    if value is None or value == "":
        return ""
    if kind == "date":
        return _moment(str(value))
    if kind == "number":
        return _decimal(value)
    if isinstance(value, dict | list):  # an address, say: Salesforce's compound fields
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return _decimal(value)
    return str(value)


def _moment(text: str) -> str | None:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo:
        moment = moment.astimezone(dt.UTC)
    return moment.strftime(MOMENT)


def _decimal(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(int(value))
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    if not number.is_finite():
        return None
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def same(old: str, new: str, kind: str) -> "nw.Expr":
    """Whether two columns hold the same value of a kind, written alike or not ("10.0" and "10" are one number)."""
    import narwhals as nw

    if kind == "date":
        return nw.col(old).str.slice(0, 19) == nw.col(new)
    if kind == "number":
        # 15 digits are what a float holds exactly; a longer number is compared as text
        number = r"^[+-]?[0-9]+(\.[0-9]+)?$"
        both = nw.all_horizontal(
            *(nw.col(name).str.contains(number) & (nw.col(name).str.len_chars() <= 15) for name in (old, new)),
            ignore_nulls=True,
        )
        value = {name: nw.when(both).then(nw.col(name)).otherwise(nw.lit("0")).cast(nw.Float64) for name in (old, new)}
        return (both & (value[old] == value[new])) | (nw.col(old) == nw.col(new))
    return nw.col(old) == nw.col(new)
