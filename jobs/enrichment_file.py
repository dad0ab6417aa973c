"""The file that names the enrichments: read, checked as a whole, and every mistake named at once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scc.config import read_toml
from scc.errors import ConfigError
from scc.salesforce import soql

SHIPPED = Path(__file__).with_name("enrichment.toml")
# of a custom object's text field; Bulk does not tell large text fields (32,000) from it (eloqua.md 3.6)
TEXT_WIDTH = 250
LARGE_TEXT_WIDTH = 32_000
LONGEST_WAIT = 3650  # days
LONGEST_CONDITION = 2_000  # characters
KEYS = {"custom_object", "identifier", "key", "source", "condition", "give_up_after", "status", "fields"}
# the columns of a plan that are no fields of Eloqua (jobs.enrichment.Decide)
PLANNED = ("record_id", "created_at", "salesforce_id", "outcome", "reason", "clears")
STATUS_KEYS = {"field", "waiting", "done", "error", "reason"}


@dataclass(frozen=True)
class Mapped:
    """A field that is filled: from which Salesforce field, and how many characters it takes."""

    source: str
    width: int = TEXT_WIDTH


@dataclass(frozen=True)
class Definition:
    """One enrichment. Eloqua fields are given by internal name, Salesforce fields by API name; give_up_after in days."""

    name: str
    custom_object: str
    identifier: str
    key: str
    status: str
    waiting: str
    done: str
    error: str
    reason: str
    fields: Mapping[str, Mapped]
    source: str = "Campaign"
    condition: str = ""
    give_up_after: float = 14

    @property
    def eloqua_fields(self) -> list[str]:
        """Every Eloqua field that it reads or writes."""
        return [self.identifier, self.key, self.status, self.reason, *self.fields]

    @property
    def source_fields(self) -> list[str]:
        """Every Salesforce field that it reads, the id first."""
        names = ["Id", *(mapped.source for mapped in self.fields.values())]
        distinct: dict[str, str] = {}
        for name in names:
            distinct.setdefault(name.lower(), name)  # Salesforce refuses a double, and knows no case
        return list(distinct.values())


def read(path: Path) -> dict[str, Definition]:
    """The enrichments by name. Raises ConfigError with the line of a syntax error, or with every mistake found."""
    document, _ = read_toml(path, "`definitions` in [enrichment]")
    mistakes = [] if document else ["it names no enrichment"]
    definitions = {}
    for name, table in document.items():
        found = _mistakes(name, table)
        mistakes += [f"[{name}] {mistake}" for mistake in found]
        if not found:
            definitions[name] = _definition(name, table)
    if mistakes:
        raise ConfigError(f"{path}: {'; '.join(mistakes)}")
    return definitions


def _definition(name: str, table: Mapping[str, Any]) -> Definition:
    status = table["status"]
    return Definition(
        name=name,
        custom_object=table["custom_object"],
        identifier=table["identifier"],
        key=table["key"],
        status=status["field"],
        waiting=status["waiting"],
        done=status["done"],
        error=status["error"],
        reason=status["reason"],
        fields={
            field: Mapped(mapped) if isinstance(mapped, str) else Mapped(**mapped)
            for field, mapped in table["fields"].items()
        },
        **{key: table[key] for key in ("source", "condition", "give_up_after") if key in table},
    )


def _mistakes(name: str, table: Any) -> list[str]:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
        return ["the name must be made of small letters, digits and _: it becomes a folder's name"]
    if not isinstance(table, dict):
        return ["is not a table"]
    mistakes = [f"`{key}` is unknown" for key in table.keys() - KEYS]
    mistakes += [
        f"`{key}` must be a text" for key in ("custom_object", "identifier", "key") if not _text(table.get(key))
    ]
    mistakes += _status_mistakes(table.get("status"))
    mistakes += _field_mistakes(table.get("fields"))
    mistakes += _source_mistakes(table)
    return mistakes or _role_mistakes(_definition(name, table))


def _status_mistakes(status: Any) -> list[str]:
    if (
        not isinstance(status, dict)
        or status.keys() != STATUS_KEYS
        or not all(_text(value) for value in status.values())
    ):
        return [f"`status` must give these texts: {', '.join(sorted(STATUS_KEYS))}"]
    values = [status["waiting"], status["done"], status["error"]]
    if len({value.lower() for value in values}) < 3:
        return ["the waiting, done and error values of `status` must differ"]
    return ["a value of `status` holds a single quote, which Eloqua's filters cannot"] if "'" in "".join(values) else []


def _field_mistakes(fields: Any) -> list[str]:
    if not isinstance(fields, dict) or not fields:
        return ["`fields` must map at least one Eloqua field to a Salesforce field"]
    mistakes = []
    for field, mapped in fields.items():
        table = {"source": mapped} if isinstance(mapped, str) else mapped
        if not isinstance(table, dict) or not table.keys() <= {"source", "width"} or not _text(table.get("source")):
            mistakes.append(f"field {field} must name its Salesforce field, or be {{ source = …, width = … }}")
        elif not soql.NAME.fullmatch(table["source"]):
            mistakes.append(f"field {field}: its source is not the name of a Salesforce field")
        elif type(table.get("width", 1)) is not int or not 1 <= table.get("width", 1) <= LARGE_TEXT_WIDTH:
            mistakes.append(f"field {field}: `width` must be between 1 and {LARGE_TEXT_WIDTH}")
    return mistakes


def _source_mistakes(table: Mapping[str, Any]) -> list[str]:
    mistakes = []
    if not _text(table.get("source", "Campaign")) or not soql.NAME.fullmatch(table.get("source", "Campaign")):
        mistakes.append("`source` must be the name of a Salesforce object")
    days = table.get("give_up_after", 14)
    if isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days <= LONGEST_WAIT:
        mistakes.append(f"`give_up_after` must be a number of days above 0, at most {LONGEST_WAIT}")
    condition = table.get("condition", "")
    if not isinstance(condition, str):
        return [*mistakes, "`condition` must be a text"]
    if len(condition) > LONGEST_CONDITION:
        mistakes.append(f"`condition` must be at most {LONGEST_CONDITION:,} characters long: it goes with every query")
    try:
        soql.parenthesised(condition)
    except ValueError as error:
        mistakes.append(f"`condition`: {error}")
    return mistakes


def _role_mistakes(definition: Definition) -> list[str]:
    """One field, one role: an import maps each statement once, and must not overwrite its own key.

    Case does not tell two fields apart, neither in Eloqua nor among the columns of a plan.
    """
    roles = [role.lower() for role in definition.eloqua_fields]
    return [
        *(f"{field} has more than one role" for field in definition.eloqua_fields if roles.count(field.lower()) > 1),
        *(
            f"{field} is the name of a column of the plan"
            for field in definition.eloqua_fields
            if field.lower() in PLANNED
        ),
    ]


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
