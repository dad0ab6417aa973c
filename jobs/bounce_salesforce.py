"""What BounceCleanup asks of Salesforce: which fields it may write, which Leads and Contacts carry an address; and what a
write of them came to.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jobs import bounce_rows, bounce_rules
from jobs.bounce_file import Rules
from scc.errors import ConfigError
from scc.receipts import Counts
from scc.salesforce import soql
from scc.salesforce.client import Salesforce
from scc.tables import Engine, Schema, Table

if TYPE_CHECKING:
    import narwhals as nw

    Frame = nw.LazyFrame[Any]

FOUND: Schema = dict.fromkeys(("object", "record_id", "parent", "address", "marked"), "string")
ENTITIES = ("Lead", "Contact")
# Leads that were converted live on as Contacts, and cannot be written (salesforce.md 8.1)
CONDITIONS = {"Lead": "IsConverted = false", "Contact": ""}
# rows that somebody else holds, or that a job did not get to: for the next slot
BUSY = {"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "QUERY_TIMEOUT", "UNPROCESSED"}
# deleted, merged or converted since it was found: nothing is left to mark
VANISHED = {"ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY", "CANNOT_UPDATE_CONVERTED_LEAD"}
# nobody gives up on these
PASSING = BUSY | VANISHED


def writable(salesforce: Salesforce, rules: Rules) -> dict[str, dict[str, Any]]:
    """By object: the configured "fields" that this user may write, those "left_out", and the "parent" that a write locks.

    Raises ConfigError when there is none at all, or when the address itself is hidden.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in ENTITIES:
        fields = salesforce.describe(name)
        if "email" not in fields:
            raise ConfigError(f"Salesforce hides {name}.Email from this user; grant the permission to read it")
        known = {wanted: fields[wanted.lower()] for wanted in rules.salesforce_fields if wanted.lower() in fields}
        written = {wanted: field for wanted, field in known.items() if field.updateable}
        found[name] = {
            "fields": {
                field.name: {"gets": rules.salesforce_fields[wanted], "kind": field.kind, "length": field.length}
                for wanted, field in written.items()
            },
            "left_out": [wanted for wanted in rules.salesforce_fields if wanted not in written],
            "parent": "AccountId" if "accountid" in fields else "",
        }
    if not any(entity["fields"] for entity in found.values()):
        raise ConfigError(
            "[salesforce] fields: this user may write none of them on Lead or Contact; grant the permission"
        )
    return found


def carriers(
    salesforce: Salesforce, name: str, entity: Mapping[str, Any], addresses: Table
) -> Iterator[dict[str, str]]:
    """The records of an object that carry one of the addresses, as rows of FOUND. entity: see writable."""
    if not entity["fields"]:
        return
    wanted = ["Id", "Email", *entity["fields"], *([entity["parent"]] if entity["parent"] else [])]
    texts = (text for batch in addresses.batches() for text in batch.column("address").to_pylist())
    for record in salesforce.lookup(name, wanted, "Email", texts, CONDITIONS[name], soql.STATEMENT_BYTES):
        filled = all(record.get(field) not in (None, "") for field in entity["fields"])
        yield {
            "object": name,
            "record_id": record["Id"],
            "parent": record.get(entity["parent"]) or "",
            "address": bounce_rules.address(record["Email"]),
            "marked": "yes" if filled else "no",
        }


def changes(plan: Table, name: str, fields: Mapping[str, Any], size: int) -> Iterator[list[dict[str, str]]]:
    """What to send of one object, in lists of so many, in the plan's order."""
    records: list[dict[str, str]] = []
    for batch in plan.batches():
        for row in batch.to_pylist():
            if row["object"] == name:
                records.append({"Id": row["record_id"], **bounce_rows.for_salesforce(row, fields)})
            if len(records) == size:
                yield records
                records = []
    if records:
        yield records


def with_outcome(failed: "Frame") -> "Frame":
    """Adds the outcome of rows that were not written, by their code: "unchanged", "deferred" or "rejected"."""
    import narwhals as nw

    code = nw.col("code")
    passing = nw.when(code.is_in(sorted(BUSY))).then(nw.lit("deferred")).otherwise(nw.lit("rejected"))
    return failed.with_columns(
        outcome=nw.when(code.is_in(sorted(VANISHED))).then(nw.lit("unchanged")).otherwise(passing)
    )


def counted(engine: Engine, failed: "Frame", total: int, marked: int) -> Counts:
    """What became of every record. failed: with outcome and reason. marked: were so already."""
    import narwhals as nw

    counts = Counts(planned=total, unchanged=marked, reasons={"unchanged: marked already": marked} if marked else {})
    for row in engine.rows(failed.group_by("outcome", "reason").agg(records=nw.len())):
        outcome = row["outcome"]
        setattr(counts, outcome, getattr(counts, outcome) + row["records"])
        counts.reasons[f"{outcome}: {row['reason']}"] = row["records"]
    counts.updated = total - counts.unchanged - counts.deferred - counts.rejected
    return counts
