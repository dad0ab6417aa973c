"""Salesforce record ids: key prefix, instance, number, and the checksum that makes 15 characters case-safe as 18."""

from __future__ import annotations

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
INSTANCE = "5j0"
ORG_ID = "00D5j000000SAND0EA"
CAPITALS = str.maketrans({mark: "1" if "A" <= mark <= "Z" else "0" for mark in BASE62})


def suffix(id15: str) -> str:
    """The three checksum characters: one per five, its bits telling which of them are capitals."""
    bits = id15.translate(CAPITALS)
    return "".join(ALPHABET[int(part[::-1], 2)] for part in (bits[:5], bits[5:10], bits[10:]))


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
    if suffix(text[:15]) == text[15:]:
        return text
    try:
        bits = [ALPHABET.index(mark) for mark in text[15:].upper()]
    except ValueError:
        return None
    restored = "".join(c.upper() if bits[i // 5] >> (i % 5) & 1 else c.lower() for i, c in enumerate(text[:15]))
    return restored + suffix(restored) if suffix(restored) == text[15:].upper() else None
