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
    sync_seconds: float = 60
    password_grant_throttled: bool = False  # eloqua.md 1.3: whether the 429 holds for the password grant
    missing_key_clears: bool = True  # eloqua.md 6, point 16
    duplicates_in_rejects: bool = True  # eloqua.md 3.4: "counted/rejected" under ELQ-00026
    # REST. Eloqua's own sandbox instances hold 10,000 contacts and answer 409 beyond (eloqua.md 2.3); None: no limit.
    contacts: int | None = None
    rest_duplicate_status: int = 409  # or 400: eloqua.md 6, point 1
    rest_writes_address_state: bool = False  # isSubscribed, isBounceback in POST and PUT: eloqua.md 6, point 23
    rest_put_always_touches: bool = False  # whether a PUT of a record that changes nothing moves updatedAt
    rest_all_field_values: bool = True  # False: fieldValues leave out the fields that are properties
    filter_length: int = 1000
    activity_rows: int = 5_000_000  # an export of activities is cut there without a word (eloqua.md 3.11)
    activity_contact_fields: int = 10
    activity_fields_by_type: bool = False  # whether a field that the type lacks is a 400; else it is empty
    external_type_names: bool = False  # whether {{Activity.Type}} of an External activity is its own, such as Attended
    multiple_matches: int = 1000  # eloqua.md 6, point 22
    contact_id_identifies: bool = False  # eloqua.md 6, point 19
    boolean_texts: tuple[str, str] = ("True", "False")  # eloqua.md 6, point 11
    # Staging of the instance in bytes: 413 for an upload above, ELQ-00136 for an export (eloqua.md 4.1); None: boundless.
    storage_bytes: int | None = None
    # Syncs at work at a time; further ones wait in pending (eloqua.md 6, point 2). None: any number.
    parallel_syncs: int | None = None
    # Syncs an hour; more are slowed down, not refused (eloqua.md 4.1).
    export_syncs_an_hour: int = 2000
    import_syncs_an_hour: int = 2000
    sync_action_syncs_an_hour: int = 4000
    kept_syncs: int = 5_000  # the oldest beyond are forgotten as after a year, so that a long run does not grow
    slow_down_polls: int = 3  # further polls that a sync beyond the quota takes
