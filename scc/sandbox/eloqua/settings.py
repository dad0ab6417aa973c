"""The limits of Eloqua (eloqua.md 4.1) and the switches for what is not verified (eloqua.md 6): all settable lower."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Limits:
    definition_name: int = 100
    export_fields: int = 250
    import_fields: int = 100
    max_records: int = 5_000_000
    page_rows: int = 50_000
    list_rows: int = 1000
    upload_bytes: int = 32 * 1024 * 1024
    files_per_sync: int = 500
    token_seconds: int = 28_800
    # A sync that nobody asks about ends all the same, this many seconds after its start.
    sync_seconds: int = 60
    password_grant_throttled: bool = False  # eloqua.md 1.3: whether the 429 holds for the password grant
    missing_key_clears: bool = True  # eloqua.md 6, point 16
    duplicates_in_rejects: bool = True  # eloqua.md 3.4: "counted/rejected" under ELQ-00026
