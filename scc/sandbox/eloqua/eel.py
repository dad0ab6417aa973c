"""Eloqua expression language: the filter of an export, compiled to SQL with bound values (eloqua.md 3.7).

filter     := term (OR term)*
term       := factor (AND factor)*
factor     := NOT factor | '(' filter ')' | comparison | EXISTS('...') | STATUS('...') = '...'
comparison := '<statement>' (= | != | > | >= | < | <= | ~) '<value>'
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.entities import Entity, Statement
from scc.sandbox.store import literal

if TYPE_CHECKING:
    from scc.sandbox.eloqua.containers import Containers

MAX_DEPTH = 50
TOKEN = re.compile(r"\s*(?:'(?P<text>(?:[^']|'')*)'|(?P<op>!=|>=|<=|=|>|<|~)|(?P<par>[()])|(?P<word>\w+))")
DATES = ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ")
EASTERN = "America/New_York"  # eloqua.md 6, point 9


class BadFilter(ValueError):
    """The filter breaks a rule; the text says which."""


@dataclass
class Condition:
    """SQL over the record `r` and what its statements join in, with the values for its question marks.

    types: the values that {{Activity.Type}} is compared with for equality.
    """

    sql: str
    values: list[Any]
    joins: frozenset[str] = frozenset()
    types: tuple[str, ...] = ()


def compile_filter(text: str, entity: Entity, utc: bool, containers: Containers, longest: int = 1000) -> Condition:
    """Compile a filter. utc: whether date literals and system time stamps are UTC; longest: characters allowed.

    Raises BadFilter.
    """
    if len(text) > longest:
        raise BadFilter(f"Must not be longer than {longest} characters.")
    return _Parser(text, entity, utc, containers).parse()


class _Parser:
    def __init__(self, text: str, entity: Entity, utc: bool, containers: Containers) -> None:
        self._entity, self._utc, self._containers = entity, utc, containers
        self._tokens = list(tokens(text))
        self._at = 0
        self._depth = 0
        self._memberships = 0
        self._joins: set[str] = set()
        self._types: list[str] = []

    def parse(self) -> Condition:
        condition = self._either()
        if self._peek()[0] != "end":
            raise BadFilter(f"Unexpected {self._peek()[1]!r}.")
        return Condition(condition.sql, condition.values, frozenset(self._joins), tuple(self._types))

    def _either(self) -> Condition:
        return self._chain("OR", self._both)

    def _both(self) -> Condition:
        return self._chain("AND", self._factor)

    def _chain(self, word: str, part: Callable[[], Condition]) -> Condition:
        parts = [part()]
        while self._accept("word", word):
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        return Condition("(" + f" {word} ".join(p.sql for p in parts) + ")", [v for p in parts for v in p.values])

    def _factor(self) -> Condition:
        if self._accept("word", "NOT"):
            inner = self._nested(self._factor)
            return Condition(f"(NOT {inner.sql})", inner.values)
        if self._accept("par", "("):
            inner = self._nested(self._either)
            self._expect("par", ")")
            return inner
        if self._peek()[0] == "word" and self._peek()[1].upper() in ("EXISTS", "STATUS"):
            return self._membership()
        statement = self._expect("text")
        operator = self._expect("op")
        value = self._expect("text")
        return self._compare(statement, operator, value)

    def _nested(self, part: Callable[[], Condition]) -> Condition:
        self._depth += 1
        if self._depth > MAX_DEPTH:  # neither this parser nor DuckDB's is made for hundreds
            raise BadFilter(f"Must not be nested deeper than {MAX_DEPTH}.")
        inner = part()
        self._depth -= 1
        return inner

    def _membership(self) -> Condition:
        """EXISTS('{{ContactList[1]}}') and STATUS('{{ActionInstance(guid)}}') = 'pending': at most one in a filter."""
        word = self._next()[1].upper()
        self._memberships += 1
        if self._memberships > 1:
            raise BadFilter("At most one EXISTS or STATUS operator is allowed.")
        self._expect("par", "(")
        container = self._expect("text")
        self._expect("par", ")")
        if word == "EXISTS":
            members = self._containers.members(container, self._entity)
            if members is None:
                raise BadFilter(f"EXISTS names {container!r}, which does not exist or does not fit the entity.")
            return Condition(f"(r.Id IN ({members.sql}))", members.values)
        operator, status = self._expect("op"), self._expect("text")
        instance = self._containers.instance(container)
        if instance is None or operator not in ("=", "!="):
            raise BadFilter(f"STATUS names {container!r}, or compares by {operator!r}: it takes an instance, = and !=.")
        sql = f"r.Id IN (SELECT record_id FROM eloqua.step_status WHERE instance = {literal(instance)} AND status = ?)"
        return Condition(f"({'NOT ' if operator == '!=' else ''}{sql})", [status.lower()])

    def _compare(self, text: str, operator: str, value: str) -> Condition:
        statement = self._entity.resolve(text)
        if statement is None:
            raise BadFilter(f"Unknown statement {text!r}.")
        if self._entity.kind == "Activity":
            if statement.of_contact:  # eloqua.md 3.11
                raise BadFilter(f"{text!r}: contact fields are not allowed in the filter of activities.")
            if statement.sql == "r.Type" and operator == "=":
                self._types.append(value)
        self._joins |= statement.joins
        return compare(statement, operator, value, self._utc)

    # -- tokens -----------------------------------------------------------------------------------------------------

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "end of filter")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _accept(self, kind: str, word: str) -> bool:
        found_kind, found = self._peek()
        if found_kind == kind and found.upper() == word:
            self._at += 1
            return True
        return False

    def _expect(self, kind: str, word: str | None = None) -> str:
        found_kind, found = self._next()
        if found_kind != kind or (word and found != word):
            wanted = word or {"text": "a quoted text", "op": "an operator"}[kind]
            raise BadFilter(f"Expected {wanted}, found {found!r}.")
        return found


def tokens(text: str):
    at, end = 0, len(text.rstrip())
    while at < end:
        match = TOKEN.match(text, at)
        if not match:
            raise BadFilter(f"Cannot be read from character {at + 1} on.")
        kind = match.lastgroup or "end"
        found = match[kind]
        yield kind, found.replace("''", "'") if kind == "text" else found
        at = match.end()


def compare(statement: Statement, operator: str, value: str, utc: bool) -> Condition:
    """One comparison. Texts compare without case, dates and numbers as such; an empty value is the test for blank."""
    sql_operator = "<>" if operator == "!=" else operator
    if operator == "~":
        return Condition(f"(coalesce(CAST({statement.sql} AS VARCHAR), '') ILIKE ?)", [value])
    if statement.kind == "system":
        # The zone is DuckDB's to know: a slim container has no zone files for Python.
        mark = "?" if utc else f"timezone('UTC', timezone('{EASTERN}', CAST(? AS TIMESTAMP)))"
        return Condition(f"({statement.sql} {sql_operator} {mark})", [instant(value)])
    column = f"coalesce(CAST({statement.sql} AS VARCHAR), '')"
    if statement.kind == "boolean" and value:
        value = {"1": "True", "0": "False", "yes": "True", "no": "False"}.get(value.lower(), value)
    if value == "":
        return Condition(f"({column} {sql_operator} '')", [])
    if statement.kind == "date":
        day = instant(value).strftime("%Y-%m-%d %H:%M:%S")
        blank = f"{column} = '' OR " if operator == "!=" else f"{column} <> '' AND "
        return Condition(f"({blank}{column} {sql_operator} ?)", [day])
    if statement.kind in ("number", "id"):
        try:
            number = float(value)
        except ValueError:
            raise BadFilter(f"{value!r} is not a number.") from None
        compared = f"coalesce(TRY_CAST({column} AS DOUBLE) {sql_operator} ?, {'true' if operator == '!=' else 'false'})"
        return Condition(f"({compared})", [number])
    return Condition(f"(lower({column}) {sql_operator} lower(?))", [value])


def instant(value: str) -> datetime:
    """A date literal, without a zone. Raises BadFilter."""
    for form in DATES:
        try:
            return datetime.strptime(value.strip(), form)
        except ValueError:
            continue
    raise BadFilter(f"{value!r} is not a date (YYYY-MM-DD HH:MM:SS).")
