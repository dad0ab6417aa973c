"""What BounceCleanup asks of Eloqua: exports of activities, an import that may only update; and what that came to."""

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobs.bounce_rows import EMAIL, IS_BOUNCED
from jobs.bounce_rules import OPENED
from scc.eloqua import statements, syncs, values
from scc.receipts import Counts
from scc.tables import Engine

if TYPE_CHECKING:
    import narwhals as nw

    Frame = nw.LazyFrame[Any]

# columns of the raw tables, see bounce_rows
BOUNCEBACK = {
    "activity_id": "{{Activity.Id}}",
    "created_at": "{{Activity.CreatedAt}}",
    "contact_id": "{{Activity.Contact.Id}}",
    "contact_address": "{{Activity.Contact.Field(C_EmailAddress)}}",
    "address": "{{Activity.Field(EmailAddress)}}",
    "status": "{{Activity.Field(SmtpStatusCode)}}",
    "reply": "{{Activity.Field(SmtpErrorCode)}}",
    "message": "{{Activity.Field(SmtpMessage)}}",
}
OPEN = {"address": "{{Activity.Field(EmailAddress)}}", "created_at": "{{Activity.CreatedAt}}"}
# ELQ codes that count contacts created, updated and not found (eloqua.md 3.10)
CREATED, UPDATED, UNMATCHED = "ELQ-00004", "ELQ-00022", "ELQ-00034"


def activities(
    process: str, kind: str, names: Mapping[str, str], start: dt.datetime, end: dt.datetime
) -> dict[str, Any]:
    """The definition of an export of activities. kind: "Bounceback" or "EmailOpen". From start on, to before end, UTC."""
    created = "{{Activity.CreatedAt}}"
    conditions = [
        statements.equals("{{Activity.Type}}", kind),
        statements.at_least(created, start.strftime(values.MOMENT)),
        f"'{created}' < '{end.strftime(values.MOMENT)}'",
    ]
    return {
        "name": f"SCC {process} {kind}",
        "fields": dict(names),
        "filter": statements.checked(" AND ".join(conditions)),
        "areSystemTimestampsInUTC": True,
    }


def marking(process: str, fields: Mapping[str, str]) -> syncs.Import:
    """The import. fields: internal name -> statement of the configured contact fields."""
    return syncs.Import(
        parent="/contacts/imports",
        definition={
            "name": f"SCC {process}",
            "fields": {
                EMAIL: "{{Contact.Field(C_EmailAddress)}}",
                IS_BOUNCED: "{{Contact.Email.IsBounced}}",
                **fields,
            },
            "identifierFieldName": EMAIL,  # so only a contact that has the address at this moment is written
            "isSyncTriggeredOnImport": False,
            "isUpdatingMultipleMatchedRecords": False,
            "importRule": "updateOnly",
            "updateRule": "always",
        },
        created=CREATED,
        updated=UPDATED,
        unmatched=UNMATCHED,
    )


def counted(engine: Engine, decided: "Frame", refused: "Frame", outcome: syncs.Outcome | None) -> Counts:
    """What became of every decided address. refused: those that Eloqua refused, with reason. outcome: None in a rehearsal."""
    import narwhals as nw

    counts = Counts(planned=0)
    for row in engine.rows(decided.group_by("outcome", "in_eloqua").agg(addresses=nw.len())):
        counts.planned += row["addresses"]
        why = "opened mail after the bounce" if row["outcome"] == OPENED else f"contact {row['in_eloqua']}"
        if row["outcome"] == OPENED or row["in_eloqua"] in ("renamed", "deleted"):
            counts.unchanged += row["addresses"]
            key = f"unchanged: {why}"
            counts.reasons[key] = counts.reasons.get(key, 0) + row["addresses"]
    if outcome is None:
        counts.updated = counts.planned - counts.unchanged
        return counts
    if outcome.unmatched:
        counts.unchanged += outcome.unmatched
        counts.reasons["unchanged: no contact has the address"] = outcome.unmatched
    for row in engine.rows(refused.group_by("reason").agg(addresses=nw.len())):
        counts.rejected += row["addresses"]
        counts.reasons[f"rejected: {row['reason']}"] = row["addresses"]
    counts.updated = outcome.updated
    return counts
