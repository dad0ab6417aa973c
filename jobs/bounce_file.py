"""The file that declares the rules of BounceCleanup: read, checked as a whole, and every mistake named with its line."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scc.config import read_toml
from scc.errors import ConfigError
from scc.salesforce import soql

SHIPPED = Path(__file__).with_name("bounce_cleanup.toml")
VALUES = ("status", "reason", "date", "code")  # what a configured field may get
LONGEST = 365  # days that a rule may look back
MOST_BOUNCES = 30  # a rule may count; each costs an expression
# written by people and laws, never by this process (salesforce.md 8.1)
CONSENT = {"hasoptedoutofemail", "donotcall", "hasoptedoutoffax", "individualid", "c_sfdc_emailoptout1"}
IDENTITY = {"email", "id", "c_emailaddress"}


@dataclass(frozen=True)
class Codes:
    """Codes by what they mean, before the first digit decides: prefixes of statuses ("5.7"), or whole reply codes."""

    policy: tuple[str, ...]
    soft: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Streak:
    """So many bounces within so many days."""

    bounces: int
    days: int


@dataclass(frozen=True)
class Rules:
    """What the file says. Spans are in days."""

    look_back: int
    opened_within: int
    retry: int
    hard: Streak
    soft: Streak
    status: Codes
    reply: Codes
    eloqua_fields: Mapping[str, str]
    salesforce_fields: Mapping[str, str]
    providers: tuple[str, ...]
    domain_addresses: int
    pattern_addresses: int
    fingerprint: str

    @property
    def span(self) -> int:
        """Days before the slot that have to be read: the look-back, or the longest span that a rule looks at."""
        return max(self.look_back, self.hard.days, self.soft.days)


Check = Callable[[Any], str | None]  # what is wrong with a value; None when nothing is


def read(path: Path) -> Rules:
    """The rules. Raises ConfigError with the line of each mistake."""
    document, text = read_toml(path, "`rules` in [bounce_cleanup]")
    mistakes = _mistakes(document)
    if mistakes:
        told = [f"line {_line(text, table, key)}: {mistake}" for table, key, mistake in mistakes]
        raise ConfigError(f"{path}: {'; '.join(told)}")
    reading, report = document["reading"], document["report"]
    return Rules(
        **reading,
        hard=Streak(**document["hard"]),
        soft=Streak(**document["soft"]),
        status=_codes(document["status"]),
        reply=_codes(document["reply"]),
        eloqua_fields=document["eloqua"]["fields"],
        salesforce_fields=document["salesforce"]["fields"],
        providers=tuple(domain.lower() for domain in report["providers"]),
        domain_addresses=report["domain_addresses"],
        pattern_addresses=report["pattern_addresses"],
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
    )


def _codes(table: Mapping[str, list[str]]) -> Codes:
    return Codes(**{name: tuple(codes) for name, codes in table.items()})


def _number(least: int, most: int) -> Check:
    def check(value: Any) -> str | None:
        fits = type(value) is int and least <= value <= most
        return None if fits else f"must be a whole number from {least} to {most:,}"

    return check


def _list_of(pattern: str, what: str) -> Check:
    def check(value: Any) -> str | None:
        fits = isinstance(value, list) and all(isinstance(one, str) and re.fullmatch(pattern, one) for one in value)
        return None if fits else f"must be a list of {what}"

    return check


def _fields(name_pattern: re.Pattern[str], least: int) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, dict) or len(value) < least:
            return f"must name {'at least one field' if least else 'fields'} and what each gets"
        for name, gets in value.items():
            if not name_pattern.fullmatch(name):
                return f"{name} is not the name of a field"
            if name.lower() in CONSENT:
                return f"{name} is about consent, which a bounce does not change"
            if name.lower() in IDENTITY:
                return f"{name} says who somebody is, and is never written"
            if gets not in VALUES:
                return f"{name} must get one of {', '.join(VALUES)}"
        names = [name.lower() for name in value]
        return None if len(set(names)) == len(names) else "names a field twice"

    return check


_days, _bounces = _number(1, LONGEST), _number(1, MOST_BOUNCES)
_statuses = _list_of(r"[245](\.\d{1,3}){1,2}", 'statuses like "5.7" or "5.2.2"')
_replies = _list_of(r"[245]\d\d", 'reply codes like "552"')
TABLES: dict[str, dict[str, Check]] = {
    "reading": {"look_back": _days, "opened_within": _number(0, LONGEST), "retry": _number(0, LONGEST)},
    "hard": {"bounces": _bounces, "days": _days},
    "soft": {"bounces": _bounces, "days": _days},
    "status": dict.fromkeys(("policy", "soft", "unknown"), _statuses),
    "reply": dict.fromkeys(("policy", "soft", "unknown"), _replies),
    "eloqua": {"fields": _fields(re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}"), least=0)},
    "salesforce": {"fields": _fields(soql.NAME, least=1)},
    "report": {
        "providers": _list_of(r"[a-z0-9-]+(\.[a-z0-9-]+)+", "domains in small letters"),
        "domain_addresses": _number(1, 1_000_000),
        "pattern_addresses": _number(5, 1_000_000),  # fewer would point at people
    },
}


def _mistakes(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(table, key, what is wrong), in the order of the declared tables; the unknown ones last."""
    found = []
    for table, keys in TABLES.items():
        given = document.get(table)
        if not isinstance(given, dict):
            found.append((table, "", f"the table [{table}] is missing"))
            continue
        for key, check in keys.items():
            problem = "is missing" if key not in given else check(given[key])
            if problem:
                found.append((table, key, f"[{table}] {key} {problem}"))
        found += [(table, key, f"[{table}] {key} is unknown") for key in given if key not in keys]
    found += [(table, "", f"{table} is unknown") for table in document if table not in TABLES]
    if found:
        return found
    for table in ("status", "reply"):
        codes = [code for listed in document[table].values() for code in listed]
        twice = sorted({code for code in codes if codes.count(code) > 1})
        found += [(table, "", f"[{table}] lists {code} under two meanings") for code in twice]
    return found


def _line(text: str, table: str, key: str) -> int:
    """The line that holds the key, or that of its table; 1 where neither stands on a line of its own."""
    within, found = False, 1
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\s*([\w.\"' -]+?)\s*\]", line)
        if header:
            within = header[1] == table
            found = number if within else found
        elif re.match(rf"\s*{re.escape(key if within and key else table)}\s*[.=]", line) and (within or not key):
            return number
    return found
