"""Chance and other building blocks of the statements that make the company.

Chance is arithmetic on row numbers, neither Python's nor DuckDB's hash, because those may change with a version. For a
small company planning a statement costs more than running it: so a statement draws all its chances in one list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from scc.sandbox.salesforce.ids import ALPHABET, BASE62, INSTANCE, suffix
from scc.sandbox.salesforce.settings import USER_ID
from scc.sandbox.store import literal

PRIME = 2147483647
FIRST_CONTACT = 2001
FIRST_ACCOUNT = 1001
HOUR, DAY = 3_600, 86_400
WINDOW = 730 * DAY  # activities reach this far back

# Numbers behind the ids: apart from each other, with gaps, so that ids look grown and show capitals and small letters.
CAMPAIGN_NUMBER = "(9000000 + ({}) * 37)"
UNKNOWN_CAMPAIGN_NUMBER = "(200000000 + ({}) * 37)"
ACCOUNT_NUMBER = "(1000000 + ({}) * 41)"
CONTACT_NUMBER = "(2000000 + ({}) * 13)"
LEAD_NUMBER = "(3000000 + ({}) * 17)"
OPPORTUNITY_NUMBER = "(5000000 + ({}) * 19)"


@dataclass(frozen=True)
class Size:
    """How many of everything."""

    contacts: int
    waiting: int
    activities: int = 0

    @property
    def campaigns(self) -> int:
        return min(5000, max(40, self.contacts // 100))

    @property
    def records(self) -> int:
        return max(self.contacts, self.waiting)

    @property
    def accounts(self) -> int:
        return max(5, self.contacts // 20)

    @property
    def crm_contacts(self) -> int:
        return self.contacts // 4

    @property
    def leads(self) -> int:
        return self.contacts // 8

    @property
    def opportunities(self) -> int:
        return self.contacts // 40

    @property
    def unknown_campaigns(self) -> int:
        """How many campaigns that Salesforce has lost are asked for: each is wanted by many records."""
        return min(200, max(20, self.waiting // 1000))


class Dice:
    """The chances of one statement.

        dice = Dice(seed)
        f"SELECT {dice.front(WORDS, 1)}, {dice.roll(2)} % 7 FROM {dice.over('SELECT i FROM staging.numbers')}"

    A salt tells apart what is drawn for the same row. `over` comes last: it has to know all salts. row: SQL of the
    number that is drawn for, in the columns of what `over` is given.
    """

    def __init__(self, seed: int, row: str = "i", name: str = "u") -> None:
        self._seed, self._row, self._name = seed, row, name
        self._salts: list[int] = []
        self._skewed = False

    def roll(self, salt: int) -> str:
        """SQL: a number from 0 to PRIME - 1."""
        if salt not in self._salts:
            self._salts.append(salt)
        return f"{self._name}[{self._salts.index(salt) + 1}]"

    def share(self, salt: int) -> str:
        """SQL: a number from 0 to below 1."""
        return f"({self.roll(salt)} / {PRIME}.0)"

    def pick(self, values: Iterable[str], salt: int) -> str:
        """SQL: one of the texts, each as likely as another."""
        values = list(values)
        return f"{choices(values)}[1 + {self.roll(salt)} % {len(values)}]"

    def front(self, values: Iterable[str], salt: int) -> str:
        """SQL: one of the texts, those in front more often."""
        values = list(values)
        return f"{choices(values)}[1 + floor({len(values)} * {self.skewed(salt)})::INT]"

    def skewed(self, salt: int) -> str:
        """SQL: a number from 0 to below 1, small ones more often."""
        self._skewed = True
        return self.roll(salt).replace(self._name, self._name + "_skewed", 1)

    def over(self, source: str) -> str:
        """SQL: the rows of the SELECT `source` with their chances, for a FROM."""
        salts = "[" + ", ".join(map(str, self._salts)) + "]::BIGINT[]"
        slope = f"(1 + (salt_ * 48271 * 69621 + {self._seed % 1_000_003 * 104729}) % {PRIME - 1})"
        # The salt chooses the line, squaring bends it.
        line = f"list_transform({salts}, lambda salt_: (({self._row} + 1) * {slope} + salt_ * 7919 + 12345) % {PRIME})"
        drawn = (
            f"(SELECT *, list_transform({line}, lambda line_: line_ * line_ % {PRIME}) AS {self._name} FROM ({source}))"
        )
        if not self._skewed:
            return drawn
        # x ** 2.5, by operations that are exact on every machine; pow() is not.
        skew = f"list_transform({self._name}, lambda x_: (x_ / {PRIME}.0) * (x_ / {PRIME}.0) * sqrt(x_ / {PRIME}.0))"
        return f"(SELECT *, {skew} AS {self._name}_skewed FROM {drawn})"


def choices(values: Iterable[str]) -> str:
    return "[" + ", ".join(literal(value) for value in values) + "]"


def instant(now: datetime) -> str:
    """SQL of an instant in UTC without zone."""
    return f"TIMESTAMP '{now.isoformat(sep=' ')}'"


def before(moment: str, seconds: str) -> str:
    return f"({moment} - to_seconds(CAST({seconds} AS BIGINT)))"


def after(moment: str, seconds: str) -> str:
    return f"({moment} + to_seconds(CAST({seconds} AS BIGINT)))"


def sf_id(prefix: str, number: str) -> str:
    """SQL of the 18-character Salesforce id with this number; as salesforce.ids.make_id. The number stands in it once."""
    head = f"{prefix}{INSTANCE}0000"
    tail = suffix(head + "00000")[:2]  # the checksum of the first ten characters, which are always the same
    digits = f"list_transform([14776336, 238328, 3844, 62, 1]::BIGINT[], lambda power_: ({number}) // power_ % 62)"
    bits = (
        "list_sum(list_transform(digits_, lambda x_, k_: CASE WHEN x_ BETWEEN 10 AND 35 THEN 1 << (k_ - 1) ELSE 0 END))"
    )
    return (
        f"list_transform([{digits}], lambda digits_: '{head}' || "
        f"array_to_string(list_transform(digits_, lambda x_: substr('{BASE62}', 1 + x_, 1)), '') || "
        f"'{tail}' || substr('{ALPHABET}', 1 + {bits}::BIGINT, 1))[1]"
    )


def stamps(moment: str) -> str:
    """SQL: the system fields of a CRM record."""
    return f"{moment} AS CreatedDate, {moment} AS LastModifiedDate, {moment} AS SystemModstamp, false AS IsDeleted"


def owner(names: Iterable[str] = ("OwnerId", "CreatedById", "LastModifiedById")) -> str:
    return ", ".join(f"{literal(USER_ID)} AS {name}" for name in names)
