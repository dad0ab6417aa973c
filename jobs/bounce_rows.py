"""Rows of BounceCleanup as they enter from Eloqua and leave to both systems: the one place where values are read and made."""

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobs import bounce_rules
from scc.eloqua import values
from scc.tables import Engine, Schema, arrow_schema
from scc.tasks.step import SLOT

if TYPE_CHECKING:
    import narwhals as nw
    import pyarrow as pa

    Frame = nw.LazyFrame[Any]

TEXTS = ("activity_id", "contact_id", "contact_address", "address", "domain", "status", "reply", "pattern")
BOUNCEBACKS: Schema = {**dict.fromkeys(TEXTS, "string"), "moment": "integer"}
OPENS: Schema = {"address": "string", "moment": "integer"}
EMAIL, IS_BOUNCED = "EmailAddress", "IsBounced"


def bouncebacks(batch: "pa.RecordBatch") -> "pa.RecordBatch":
    """Raw bouncebacks as ExportBouncebacks has them: the one place where addresses, codes and times are read."""
    import pyarrow as pa

    raw = batch.to_pydict()
    addresses = [bounce_rules.address(text) for text in raw["address"]]
    codes = [bounce_rules.smtp_codes(*fields) for fields in zip(raw["status"], raw["reply"], strict=True)]
    return pa.RecordBatch.from_pydict(
        {
            "activity_id": raw["activity_id"],
            "contact_id": raw["contact_id"],
            "contact_address": [bounce_rules.address(text) for text in raw["contact_address"]],
            "address": addresses,
            "domain": [address.rpartition("@")[2] for address in addresses],
            "status": [status for status, _ in codes],
            "reply": [reply for _, reply in codes],
            "pattern": [bounce_rules.pattern(text) for text in raw["message"]],
            "moment": [bounce_rules.seconds(text) for text in raw["created_at"]],
        },
        schema=arrow_schema(BOUNCEBACKS),
    )


def opens(batch: "pa.RecordBatch") -> "pa.RecordBatch":
    """Raw opens as ExportOpens has them."""
    import pyarrow as pa

    raw = batch.to_pydict()
    columns = {
        "address": [bounce_rules.address(text) for text in raw["address"]],
        "moment": [bounce_rules.seconds(text) for text in raw["created_at"]],
    }
    return pa.RecordBatch.from_pydict(columns, schema=arrow_schema(OPENS))


def for_eloqua(batch: "pa.RecordBatch", fields: Mapping[str, str], schema: Schema) -> "pa.RecordBatch":
    """Decided addresses as the import sends them."""
    import pyarrow as pa

    rows = [
        {
            EMAIL: row["address"],
            IS_BOUNCED: "true",
            **{
                field: moment_of(row["moment"]).strftime(values.MOMENT) if gets == "date" else _text(row, gets)
                for field, gets in fields.items()
            },
        }
        for row in batch.to_pylist()
    ]
    return pa.RecordBatch.from_pylist(rows, schema=arrow_schema(schema))


def for_salesforce(row: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, str]:
    """What a record's fields get, in the form of their kind."""
    moment = moment_of(row["moment"])
    return {
        name: (moment.strftime("%Y-%m-%d" if field["kind"] == "date" else "%Y-%m-%dT%H:%M:%SZ"))
        if field["gets"] == "date"
        else _text(row, field["gets"])[: field["length"] or None]
        for name, field in fields.items()
    }


def _text(row: Mapping[str, Any], gets: str) -> str:
    """What a text field gets."""
    return bounce_rules.written(gets, row["kind"], row["status"], row["reply"])


def moment_of(seconds: int) -> dt.datetime:
    """A UTC moment without its zone, as slots are."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None)


def length(engine: Engine, frame: "Frame") -> int:
    """How many rows a frame has."""
    import narwhals as nw

    return int(engine.rows(frame.select(rows=nw.len()))[0]["rows"])


def oldest_age(engine: Engine, frame: "Frame", slot: dt.datetime) -> int | None:
    """Seconds from the oldest `since` of a frame to the slot; None where it has no rows."""
    import narwhals as nw

    (row,) = engine.rows(frame.select(since=nw.col("since").min()))
    return int((slot - dt.datetime.strptime(row["since"], SLOT)).total_seconds()) if row["since"] else None
