"""SOQL as text to a tree: tokenizer and parser. What the names mean is decided in query.py.

query      := SELECT (COUNT() | item (, item)*) FROM name [alias] [WHERE condition] [GROUP BY path (, path)*]
              [ORDER BY item ...] [LIMIT n] [OFFSET n]
item       := path [alias] | function '(' path ')' [alias] | FIELDS '(' ALL | STANDARD | CUSTOM ')'
condition  := test ((AND test)* | (OR test)*)      mixing both needs parentheses, as in the real SOQL
test       := NOT test | '(' condition ')' | path op value | path [NOT] IN '(' value, ... | query ')'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from scc.sandbox.salesforce import dates

TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<string>'(?:\\.|[^'\\])*')
  | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
  | (?P<date>\d{4}-\d\d-\d\d)
  | (?P<number>[+-]?\d+(?:\.\d+)?)
  | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)
  | (?P<op><>|!=|<=|>=|=|<|>)
  | (?P<mark>[(),:])
""",
    re.VERBOSE,
)
ESCAPES = {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "b": "\b",
    "f": "\f",
    "'": "'",
    '"': '"',
    "\\": "\\",
    "_": "\\_",
    "%": "\\%",
}
FUNCTIONS = ("COUNT", "COUNT_DISTINCT", "MIN", "MAX", "SUM", "AVG")
FIELD_SETS = ("ALL", "STANDARD", "CUSTOM")
DEEPEST = 50  # parentheses within each other
LONGEST_NUMBER = 30  # digits
CLAUSES = {"FROM", "WHERE", "ORDER", "LIMIT", "OFFSET", "FOR", "GROUP", "HAVING", "WITH", "USING"}


class SoqlError(Exception):
    """The statement is refused: code is Salesforce's errorCode."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class Token:
    kind: str
    text: str
    at: int


@dataclass
class Comparison:
    path: str
    op: str  # = != < <= > >= LIKE IN "NOT IN"
    value: Any  # a Literal, a list of them, or the Select of a semi-join


@dataclass
class Literal:
    kind: str  # string, number, date, datetime, boolean, null, period
    value: Any  # of a period: (name, count or None)


@dataclass
class Logic:
    op: str  # AND, OR, NOT
    parts: list[Any]


@dataclass
class Item:
    """One thing selected: a field, an aggregate of one, or FIELDS with its set as path."""

    path: str
    function: str = ""
    alias: str = ""


@dataclass
class Ordering:
    item: Item
    descending: bool = False
    nulls_last: bool = False


@dataclass
class Select:
    items: list[Item]
    object: str
    count: bool = False  # SELECT COUNT()
    alias: str = ""  # of the object
    where: Any = None
    groups: list[str] = field(default_factory=list)
    order: list[Ordering] = field(default_factory=list)
    limit: int | None = None
    offset: int = 0


def parse(text: str) -> Select:
    """Parse a statement. Raises SoqlError (MALFORMED_QUERY)."""
    parser = _Parser(text)
    query = parser.select()
    parser.end()
    return query


def tokenize(text: str) -> list[Token]:
    tokens, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise SoqlError("MALFORMED_QUERY", f"unexpected token: {text[at : at + 20]!r} at position {at}")
        if match.lastgroup != "space":
            tokens.append(Token(match.lastgroup or "", match[0], at))
        at = match.end()
    return tokens


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens, self._at, self._depth = tokenize(text), 0, 0

    def select(self) -> Select:
        self._word("SELECT")
        items, count = self._items()
        self._word("FROM")
        query = Select(items, self._kind("name"), count)
        if self._peek_name() and self._peek_name() not in CLAUSES:
            query.alias = self._next().text
        if self._is("WHERE"):
            query.where = self._condition()
        if self._is("GROUP"):
            self._word("BY")
            query.groups = self._list(lambda: self._kind("name"))
        if self._is("ORDER"):
            self._word("BY")
            query.order = self._list(self._ordering)
        if self._is("LIMIT"):
            query.limit = self._whole()
        if self._is("OFFSET"):
            query.offset = self._whole()
        return query

    def end(self) -> None:
        if self._at < len(self._tokens):
            self._unexpected()

    def _items(self) -> tuple[list[Item], bool]:
        token, after = self._peek(), self._tokens[self._at + 1 : self._at + 3]
        if token and token.text.upper() == "COUNT" and [t.text for t in after] == ["(", ")"]:
            self._at += 3
            return [], True
        return self._list(self._item), False

    def _item(self, aliased: bool = True) -> Item:
        if (token := self._peek()) and token.text == "(":
            raise SoqlError("MALFORMED_QUERY", "the sandbox knows no parent-to-child subqueries")
        item = Item(self._kind("name"))
        if self._mark("("):
            item.function, item.path = item.path.upper(), self._kind("name")
            if item.function not in (*FUNCTIONS, "FIELDS"):
                raise SoqlError("MALFORMED_QUERY", f"the sandbox knows no function {item.function}")
            if item.function == "FIELDS" and item.path.upper() not in FIELD_SETS:
                raise SoqlError("MALFORMED_QUERY", f"FIELDS takes one of {', '.join(FIELD_SETS)}")
            self._close()
        if aliased and self._peek_name() and self._peek_name() not in CLAUSES:
            item.alias = self._next().text
        return item

    def _condition(self) -> Any:
        parts = [self._test()]
        joined = None
        while self._peek_name() in ("AND", "OR"):
            word = self._next().text.upper()
            if joined and word != joined:
                raise SoqlError("MALFORMED_QUERY", f"unexpected token: {word} (AND and OR need parentheses)")
            joined = word
            parts.append(self._test())
        return Logic(joined, parts) if joined else parts[0]

    def _test(self) -> Any:
        if self._is("NOT"):
            with self._deeper():
                return Logic("NOT", [self._test()])
        if self._mark("("):
            with self._deeper():
                condition = self._condition()
            self._close()
            return condition
        path = self._kind("name")
        if self._is("NOT"):
            self._word("IN")
            return Comparison(path, "NOT IN", self._values())
        if self._is("IN"):
            return Comparison(path, "IN", self._values())
        if self._is("LIKE"):
            return Comparison(path, "LIKE", self._value())
        op = self._kind("op")
        return Comparison(path, "!=" if op == "<>" else op, self._value())

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > DEEPEST:
            raise SoqlError(
                "QUERY_TOO_COMPLICATED", "Query is either selecting too many fields or the filter is nested"
            )
        yield
        self._depth -= 1

    def _values(self) -> Any:
        if not self._mark("("):
            self._unexpected()
        if self._peek_name() == "SELECT":
            with self._deeper():
                query = self.select()
            self._close()
            return query
        values = self._list(self._value)
        self._close()
        return values

    def _value(self) -> Literal:
        token = self._next()
        if token.kind == "string":
            return Literal("string", unescape(token.text[1:-1]))
        if token.kind == "number":
            if len(token.text) > LONGEST_NUMBER:
                raise SoqlError("MALFORMED_QUERY", "number is too long")
            return Literal("number", float(token.text) if "." in token.text else int(token.text))
        if token.kind == "date":
            return Literal("date", self._moment(token, date.fromisoformat))
        if token.kind == "datetime":
            moment = self._moment(token, lambda t: datetime.fromisoformat(iso_zone(t)).astimezone(UTC))
            return Literal("datetime", moment.replace(tzinfo=None))
        word = token.text.lower()
        if token.kind == "name" and word in ("true", "false"):
            return Literal("boolean", word == "true")
        if token.kind == "name" and word == "null":
            return Literal("null", None)
        if token.kind == "name" and token.text.upper() in dates.FIXED:
            return Literal("period", (token.text.upper(), None))
        if token.kind == "name" and token.text.upper() in dates.COUNTED:
            if not self._mark(":"):
                self._unexpected()
            count = self._whole()
            if count > dates.MOST:
                raise SoqlError("MALFORMED_QUERY", f"invalid date literal: {token.text}:{count}")
            return Literal("period", (token.text.upper(), count))
        self._at -= 1
        return self._unexpected()

    def _moment(self, token: Token, read: Callable[[str], Any]) -> Any:
        try:
            return read(token.text)
        except (ValueError, OverflowError):
            raise SoqlError("MALFORMED_QUERY", f"invalid date: {token.text}") from None

    def _ordering(self) -> Ordering:
        ordering = Ordering(self._item(aliased=False))
        if self._is("DESC"):
            ordering.descending = True
        else:
            self._is("ASC")
        if self._is("NULLS"):
            ordering.nulls_last = self._is("LAST")
            if not ordering.nulls_last:
                self._word("FIRST")
        return ordering

    def _whole(self) -> int:
        token = self._next()
        if token.kind != "number" or not token.text.isdecimal() or len(token.text) > 10:
            self._at -= 1
            self._unexpected()
        return int(token.text)

    # -- tokens -----------------------------------------------------------------------------------------------------

    def _list(self, read: Callable[[], Any]) -> list[Any]:
        found = [read()]
        while self._mark(","):
            found.append(read())
        return found

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _peek_name(self) -> str:
        token = self._peek()
        return token.text.upper() if token and token.kind == "name" else ""

    def _next(self) -> Token:
        token = self._peek()
        if token is None:
            raise SoqlError("MALFORMED_QUERY", "unexpected token: <EOF>")
        self._at += 1
        return token

    def _is(self, word: str) -> bool:
        if self._peek_name() == word:
            self._at += 1
            return True
        return False

    def _word(self, word: str) -> None:
        if not self._is(word):
            self._unexpected()

    def _kind(self, kind: str) -> str:
        token = self._peek()
        if token is None or token.kind != kind:
            self._unexpected()
        return self._next().text

    def _mark(self, mark: str) -> bool:
        token = self._peek()
        if token and token.kind == "mark" and token.text == mark:
            self._at += 1
            return True
        return False

    def _close(self) -> None:
        if not self._mark(")"):
            self._unexpected()

    def _unexpected(self) -> Any:
        token = self._peek()
        raise SoqlError("MALFORMED_QUERY", f"unexpected token: {token.text if token else '<EOF>'}")


def iso_zone(text: str) -> str:
    """A zone as Python 3.11 reads it: +0000 and Z become +00:00."""
    text = text.replace("Z", "+00:00")
    return text if text[-3] == ":" else text[:-2] + ":" + text[-2:]


def unescape(text: str) -> str:
    """The value of a string literal. Escaped wildcards keep their backslash: LIKE needs it, `plain` removes it."""

    def one(match: re.Match[str]) -> str:
        if match[1] not in ESCAPES:
            raise SoqlError("MALFORMED_QUERY", f"Illegal character escape: \\{match[1]}")
        return ESCAPES[match[1]]

    return re.sub(r"\\(.)", one, text, flags=re.DOTALL)


def plain(text: str) -> str:
    """A string value outside LIKE."""
    return text.replace("\\_", "_").replace("\\%", "%")
