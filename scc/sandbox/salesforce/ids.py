"""Salesforce record ids: key prefix, instance, number, and the checksum that makes 15 characters case-safe as 18."""

from __future__ import annotations

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
INSTANCE = "5j0"
ORG_ID = "00D5j000000SAND0EA"

# The same in SQL, for seeding: sf_id(prefix, number). The number is bound once, by a lambda: an expression that stands
# ten times in a statement is planned ten times, and planning costs more than running.
SQL_MACROS = f"""
CREATE MACRO sf_bits(t) AS substr('{ALPHABET}', 1
    + (substr(t, 1, 1) BETWEEN 'A' AND 'Z')::INT + 2 * (substr(t, 2, 1) BETWEEN 'A' AND 'Z')::INT
    + 4 * (substr(t, 3, 1) BETWEEN 'A' AND 'Z')::INT + 8 * (substr(t, 4, 1) BETWEEN 'A' AND 'Z')::INT
    + 16 * (substr(t, 5, 1) BETWEEN 'A' AND 'Z')::INT, 1);
CREATE MACRO sf_digit(n) AS substr('{BASE62}', 1 + (n % 62)::INT, 1);
CREATE MACRO sf_digits(number) AS list_transform([(number)::BIGINT], lambda n:
    sf_digit(n // 14776336) || sf_digit(n // 238328) || sf_digit(n // 3844) || sf_digit(n // 62) || sf_digit(n))[1];
CREATE MACRO sf_id(prefix, number) AS list_transform([sf_digits(number)], lambda digits:
    prefix || '{INSTANCE}0000' || digits || sf_bits(prefix || '{INSTANCE[:2]}') || 'A' || sf_bits(digits))[1];
"""


def suffix(id15: str) -> str:
    """The three checksum characters: one per five, its bits telling which of them are capitals."""
    return "".join(
        ALPHABET[sum(1 << i for i, c in enumerate(id15[at : at + 5]) if "A" <= c <= "Z")] for at in (0, 5, 10)
    )


def make_id(prefix: str, number: int) -> str:
    """The 18-character id with this number."""
    digits = ""
    for _ in range(5):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    id15 = f"{prefix}{INSTANCE}0000{digits}"
    return id15 + suffix(id15)


def normal(text: str) -> str | None:
    """The 18-character form of a 15- or 18-character id, None when it is none.

    Of 18 characters the last three say what case the others have, so any spelling of them is the same id.
    """
    if not (text.isascii() and text.isalnum()):
        return None
    if len(text) == 15:
        return text + suffix(text)
    if len(text) != 18:
        return None
    try:
        bits = [ALPHABET.index(mark) for mark in text[15:].upper()]
    except ValueError:
        return None
    restored = "".join(c.upper() if bits[i // 5] >> (i % 5) & 1 else c.lower() for i, c in enumerate(text[:15]))
    return restored + suffix(restored) if suffix(restored) == text[15:].upper() else None
