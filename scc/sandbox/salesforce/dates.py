"""Date literals of SOQL: TODAY, LAST_N_DAYS:n, THIS_MONTH ... as days from the first to before the last.

Days are UTC's: the integration user's time zone is UTC. Weeks begin on Sunday, fiscal years on 1 January.
"""

from __future__ import annotations

from datetime import date, timedelta

DAY = timedelta(days=1)
MOST = 100_000  # of whatever is counted

FIXED = {
    "YESTERDAY": ("DAY", -1, 0),
    "TODAY": ("DAY", 0, 1),
    "TOMORROW": ("DAY", 1, 2),
    "LAST_90_DAYS": ("DAY", -90, 1),
    "NEXT_90_DAYS": ("DAY", 1, 91),
    **{
        f"{when}_{fiscal}{unit}": (unit, first, first + 1)
        for unit in ("WEEK", "MONTH", "QUARTER", "YEAR")
        for when, first in (("LAST", -1), ("THIS", 0), ("NEXT", 1))
        for fiscal in (("", "FISCAL_") if unit in ("QUARTER", "YEAR") else ("",))
    },
}
COUNTED = {
    # LAST_N_DAYS includes today; the longer units do not include the current one.
    "LAST_N_DAYS": lambda n: ("DAY", -n, 1),
    "NEXT_N_DAYS": lambda n: ("DAY", 1, n + 1),
    "N_DAYS_AGO": lambda n: ("DAY", -n, -n + 1),
    **{
        f"{pattern.format(fiscal + unit)}": span(unit)
        for unit in ("WEEK", "MONTH", "QUARTER", "YEAR")
        for fiscal in (("", "FISCAL_") if unit in ("QUARTER", "YEAR") else ("",))
        for pattern, span in (
            ("LAST_N_{}S", lambda unit: lambda n: (unit, -n, 0)),
            ("NEXT_N_{}S", lambda unit: lambda n: (unit, 1, n + 1)),
            ("N_{}S_AGO", lambda unit: lambda n: (unit, -n, -n + 1)),
        )
    },
}


def period(name: str, count: int | None, today: date) -> tuple[date, date]:
    """The first day of a literal and the first day after it. Raises KeyError, OverflowError, ValueError."""
    unit, first, after = FIXED[name] if count is None else COUNTED[name](count)
    return start(unit, first, today), start(unit, after, today)


def start(unit: str, number: int, today: date) -> date:
    """The first day of the unit that lies `number` units after today's."""
    if unit == "DAY":
        return today + number * DAY
    if unit == "WEEK":
        return today - (today.weekday() + 1) % 7 * DAY + 7 * number * DAY
    months = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}[unit]
    index = (today.year * 12 + today.month - 1) // months + number
    return date(index * months // 12, index * months % 12 + 1, 1)
