"""Enrichment: fill custom-object records that wait for Salesforce data.

    CheckDefinition -> ExportWaiting -> NormaliseKeys -> LookUp -> Decide -> Fill        for each enrichment of the file

Reads the waiting records of a custom object, and from Salesforce the objects (Campaign by default) whose ids they hold.
Changes only the mapped fields, the status and its reason, and only of records that wait and are identified uniquely.
Running the same slot again changes nothing.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import luigi

from jobs import enrichment_file
from jobs.enrichment_file import Definition
from scc.eloqua import statements, syncs, values
from scc.errors import ConfigError, SafetyStop, Unaccounted
from scc.outputs import JsonTarget
from scc.receipts import REJECTS, Counts, Receipt
from scc.salesforce import soql
from scc.tables import Engine, Table, arrow_schema, in_batches
from scc.tasks.step import BULK, SLOT, Process, Step

if TYPE_CHECKING:
    import narwhals as nw

    Frame = nw.LazyFrame[Any]

# ELQ codes that count custom-object records created and updated (eloqua.md 3.10)
CREATED, UPDATED = "ELQ-00007", "ELQ-00012"


class enrichment(luigi.Config):
    """[enrichment] in luigi.cfg: which file names the enrichments, and how much one run may change or reject."""

    definitions = luigi.OptionalParameter(default="", description="the TOML file; empty: jobs/enrichment.toml")
    max_unknown_share = luigi.FloatParameter(default=0.2, description="of the keys looked up, see max_unknown_count")
    max_unknown_count = luigi.IntParameter(
        default=100, description="above both, the run stops: permissions may be lost"
    )
    max_error_share = luigi.FloatParameter(default=0.5, description="of the waiting records, see max_error_count")
    max_error_count = luigi.IntParameter(
        default=100, description="above both, the run stops: the key field may be wrong"
    )
    max_rejected_share = luigi.FloatParameter(
        default=0.05, description="of the waiting records; above it the run fails"
    )


def definitions() -> dict[str, Definition]:
    """The enrichments by name."""
    path = enrichment().definitions
    return enrichment_file.read(Path(path) if path else enrichment_file.SHIPPED)


class EnrichmentStep(Step):
    """A step of one enrichment. enrichment: its name in the file."""

    enrichment = luigi.Parameter(description="name of the enrichment in the TOML file")

    @property
    def definition(self) -> Definition:
        known = definitions()
        if self.enrichment not in known:
            raise ConfigError(f"no enrichment is named so; the file has {', '.join(sorted(known))}")
        return known[self.enrichment]


class CheckDefinition(EnrichmentStep):
    """The custom object's id and, by internal name, statement and kind of the fields in use, as both systems know them now.

    Fails before anything is read when either system does not know what the file names.
    """

    def output(self) -> JsonTarget:
        return self.document()

    def run(self) -> None:
        definition = self.definition
        object_id = self.bulk.custom_object_id(definition.custom_object)
        known = statements.by_internal_name(self.bulk.custom_object_fields(object_id))
        missing = [name for name in definition.eloqua_fields if name not in known]
        if missing:
            raise ConfigError(
                f'[{definition.name}] "{definition.custom_object}" has no field {", ".join(missing)}: give internal names'
            )
        read_only = [name for name in written(definition) if known[name].read_only]
        if read_only:
            raise ConfigError(f"[{definition.name}] Eloqua does not let anybody write {', '.join(read_only)}")
        condition = soql.parenthesised(definition.condition)
        self.salesforce.check(soql.select(definition.source_fields, definition.source, condition, limit=0))
        fields = {
            name: {"statement": known[name].statement, "kind": known[name].kind} for name in definition.eloqua_fields
        }
        self.output().write({"object_id": object_id, "fields": fields})


class ExportWaiting(EnrichmentStep):
    """The records that wait: record_id, created_at (UTC), identifier, key, status, old_<field> for each mapped field."""

    resources = BULK

    def requires(self) -> CheckDefinition:
        return self.clone(CheckDefinition)

    def output(self) -> Table:
        return self.table(dict.fromkeys(exported(self.definition), "string"))

    def run(self) -> None:
        definition, catalogue = self.definition, self.input().read()
        object_id, fields = catalogue["object_id"], catalogue["fields"]
        names = {
            "record_id": statements.custom_object_statement(object_id, "Id"),
            "created_at": statements.custom_object_statement(object_id, "CreatedAt"),
            "identifier": fields[definition.identifier]["statement"],
            "key": fields[definition.key]["statement"],
            "status": fields[definition.status]["statement"],
            **{f"old_{name}": fields[name]["statement"] for name in definition.fields},
        }
        export = {
            "name": f"SCC {self.process} {definition.name}",
            "fields": names,
            "filter": statements.equals(names["status"], definition.waiting),
            "areSystemTimestampsInUTC": True,
        }
        syncs.export(self.bulk, f"/customObjects/{object_id}/exports", export, self.output(), self.progress())


class NormaliseKeys(EnrichmentStep):
    """Each distinct key of the waiting records, with the 18-character id it stands for, null when it is no id."""

    def requires(self) -> ExportWaiting:
        return self.clone(ExportWaiting)

    def output(self) -> Table:
        return self.table({"key": "string", "salesforce_id": "string"})

    def run(self) -> None:
        import pyarrow as pa

        with self.engine() as engine, self.output().writer() as write:
            for batch in engine.batches(engine.read(self.input()).select("key").unique()):
                keys = batch.column("key").to_pylist()
                write(
                    pa.RecordBatch.from_pydict(
                        {"key": keys, "salesforce_id": [soql.record_id(key.strip()) for key in keys]},
                        schema=arrow_schema(self.output().schema),
                    )
                )


class LookUp(EnrichmentStep):
    """What Salesforce has for those ids: salesforce_id, new_<field> as Eloqua would hold it, problem (null when none).

    Written only when every chunk of ids was answered whole: an id that is not in it is unknown to Salesforce.
    """

    def requires(self) -> Mapping[str, Step]:
        return {"catalogue": self.clone(CheckDefinition), "keys": self.clone(NormaliseKeys)}

    def output(self) -> Table:
        names = ["salesforce_id", "problem", *(f"new_{name}" for name in self.definition.fields)]
        return self.table(dict.fromkeys(names, "string"))

    def run(self) -> None:
        definition = self.definition
        kinds = {name: field["kind"] for name, field in self.input()["catalogue"].read()["fields"].items()}
        show, found = self.progress(), 0
        with self.engine() as engine, self.output().writer() as write:
            records = self.salesforce.lookup(
                definition.source,
                definition.source_fields,
                "Id",
                ids(engine, self.input()["keys"]),
                definition.condition,
            )
            for batch in in_batches((brought(record, definition, kinds) for record in records), self.output().schema):
                write(batch)
                found += batch.num_rows
                show(f"{found:,} found in Salesforce")


class Decide(EnrichmentStep):
    """One row per waiting record: record_id, created_at, salesforce_id, outcome, reason, clears, and what the import sends.

    outcome: "filled", "error", "deferred" or "rejected". clears: whether a value becomes empty.
    """

    def requires(self) -> Mapping[str, Step]:
        return {
            "catalogue": self.clone(CheckDefinition),
            "records": self.clone(ExportWaiting),
            "keys": self.clone(NormaliseKeys),
            "sources": self.clone(LookUp),
        }

    def output(self) -> Table:
        names = [*enrichment_file.PLANNED, self.definition.identifier, *written(self.definition)]
        return self.table({**dict.fromkeys(names, "string"), "clears": "boolean"})

    def run(self) -> None:
        inputs = self.input()
        kinds = {name: field["kind"] for name, field in inputs["catalogue"].read()["fields"].items()}
        with self.engine() as engine:
            records, keys, sources = (engine.read(inputs[name]) for name in ("records", "keys", "sources"))
            engine.write(decide(records, keys, sources, self.definition, kinds, self.slot), self.output())


class Fill(EnrichmentStep):
    """The receipt: what became of every waiting record. Rejected ones lie beside it, with their reasons."""

    resources = BULK

    def requires(self) -> Mapping[str, Step]:
        return {"catalogue": self.clone(CheckDefinition), "plan": self.clone(Decide)}

    def output(self) -> Receipt:
        return self.receipt()

    def run(self) -> None:
        plan, rejects = self.input()["plan"], self.table(REJECTS, "rejects")
        with self.engine() as engine:
            tally = counted(engine, plan)
            check_limits(self.enrichment, tally, enrichment())
            outcomes = [] if self.dry_run else [self._import(engine, clears) for clears in (False, True)]
            refused = [table for outcome in outcomes for table in outcome.rejects]
            engine.write(rejected(engine, plan, self.definition, refused), rejects)
            left = left_waiting(engine, plan, rejects)
        created = sum(outcome.created for outcome in outcomes)
        if created:
            raise Unaccounted(self._created(created, outcomes))
        self._account(tally, left, outcomes)

    def _account(self, tally: "Tally", left: "Left", outcomes: list[syncs.Outcome]) -> None:
        written_rows = tally.filled + tally.in_error - left.refused_fills - left.refused_errors
        refused = sum(outcome.rejected for outcome in outcomes)
        counts = Counts(
            planned=tally.total,
            updated=written_rows if self.dry_run else sum(outcome.updated for outcome in outcomes),
            rejected=tally.rejected + refused,
            deferred=tally.deferred,
            reasons=tally.reasons | ({"rejected by Eloqua": refused} if refused else {}),
        )
        about = {
            "process": self.process,
            "enrichment": self.enrichment,
            "slot": f"{self.slot:{SLOT}}",
            "dry_run": self.dry_run,
            "custom_object": self.definition.custom_object,
            "filled": tally.filled - left.refused_fills,
            "in_error": tally.in_error - left.refused_errors,
            "oldest_waiting_before_seconds": age(tally.oldest, self.slot),
            "oldest_waiting_after_seconds": age(left.oldest, self.slot),
            "syncs": [uri for outcome in outcomes for uri in outcome.syncs],
            "api_calls": self.api_calls(),
        }
        self.settle(counts, enrichment().max_rejected_share, about)

    def _import(self, engine: Engine, clears: bool) -> syncs.Outcome:
        """Import the rows that empty a field, or those that do not: only the former may write an empty value.

        A record that ends in the error status must keep its values; Eloqua leaves a field alone under `ifNewIsNotNull`
        when the value sent is empty (eloqua.md 3.4).
        """
        import narwhals as nw

        definition, catalogue = self.definition, self.input()["catalogue"].read()
        name = "clearing" if clears else "filling"
        columns = [definition.identifier, *written(definition)]
        rows = self.table(dict.fromkeys(columns, "string"), name)
        if not rows.exists():
            to_send = nw.col("outcome").is_in(["filled", "error"]) & (nw.col("clears") == clears)
            engine.write(engine.read(self.input()["plan"]).filter(to_send).select(columns), rows)
        what = syncs.Import(
            parent=f"/customObjects/{catalogue['object_id']}/imports",
            definition={
                "name": f"SCC {self.process} {definition.name}",
                "fields": {column: catalogue["fields"][column]["statement"] for column in columns},
                "identifierFieldName": definition.identifier,
                "isSyncTriggeredOnImport": False,
                "isUpdatingMultipleMatchedRecords": False,
                "updateRule": "always",
                **({} if clears else {"updateRuleByField": dict.fromkeys(definition.fields, "ifNewIsNotNull")}),
            },
            created=CREATED,
            updated=UPDATED,
        )
        return syncs.import_table(self.bulk, what, rows, self.parts(name), self.progress())

    def _created(self, created: int, outcomes: list[syncs.Outcome]) -> str:
        """Find the records that the import created, because theirs vanished after the export, and say so."""
        import narwhals as nw

        definition, catalogue = self.definition, self.input()["catalogue"].read()
        object_id = catalogue["object_id"]
        since = min(one.began for one in outcomes if one.began)[:19].replace("T", " ")
        created_at = statements.custom_object_statement(object_id, "CreatedAt")
        names = {
            "record_id": statements.custom_object_statement(object_id, "Id"),
            "identifier": catalogue["fields"][definition.identifier]["statement"],
        }
        export = {
            "name": f"SCC {self.process} {definition.name} created",
            "fields": names,
            "filter": statements.at_least(created_at, since),
            "areSystemTimestampsInUTC": True,
        }
        recent = self.table(dict.fromkeys(names, "string"), "created")
        syncs.export(self.bulk, f"/customObjects/{object_id}/exports", export, recent, self.progress())
        with self.engine() as engine:
            sent = engine.read(self.input()["plan"]).filter(nw.col("outcome").is_in(["filled", "error"]))
            ours = engine.read(recent).join(
                sent.select(identifier=nw.col(definition.identifier)), on="identifier", how="semi"
            )
            ids = sorted(row["record_id"] for row in engine.rows(ours.head(50)))
        return (
            f"[{definition.name}] {created:,} records were created instead of updated: theirs vanished after the export. "
            f"Look at and remove these records of {definition.custom_object}: {', '.join(ids)}"
        )


def written(definition: Definition) -> list[str]:
    """The fields that a run may change."""
    return [definition.status, definition.reason, *definition.fields]


def exported(definition: Definition) -> list[str]:
    """The columns of ExportWaiting."""
    return ["record_id", "created_at", "identifier", "key", "status", *(f"old_{name}" for name in definition.fields)]


def ids(engine: Engine, keys: Table) -> Iterator[str]:
    """The distinct ids among the keys: an id in its short and its long form is one id."""
    import narwhals as nw

    frame = engine.read(keys).filter(~nw.col("salesforce_id").is_null()).select("salesforce_id").unique()
    for batch in engine.batches(frame):
        yield from batch.column("salesforce_id").to_pylist()


def brought(record: Mapping[str, Any], definition: Definition, kinds: Mapping[str, str]) -> dict[str, str | None]:
    """A Salesforce record as LookUp's row: its values in the form of their Eloqua fields, or the problem with one."""
    row: dict[str, str | None] = {"salesforce_id": record["Id"], "problem": None}
    for name, mapped in definition.fields.items():
        value = reached(record, mapped.source)
        text = values.text_of(value, kinds[name])
        row[f"new_{name}"] = text
        if text is None:
            row["problem"] = f"not a {kinds[name]}: {name}"
        elif len(text) > mapped.width:
            row["problem"] = f"too long: {name}"
    return row


def reached(record: Mapping[str, Any], path: str) -> Any:
    """The value of a field or, over dots, of a parent's field; None where there is no parent. Names ignore case."""
    value: Any = record
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = next((found for key, found in value.items() if key.lower() == name.lower()), None)
    return value


def decide(
    records: "Frame",
    keys: "Frame",
    sources: "Frame",
    definition: Definition,
    kinds: Mapping[str, str],
    slot: dt.datetime,
) -> "Frame":
    """What becomes of each waiting record, and the values to send. See Decide for the columns.

    The first rule that applies decides: no or a double identifier is rejected; a key that is no id is an error; an id
    unknown to Salesforce waits, then is an error; a value that does not fit is rejected; the rest is filled. A field that has
    the same value already, written in another way, is sent as it is.
    """
    import narwhals as nw

    is_waiting = nw.col("status").str.to_lowercase() == definition.waiting.lower()  # Eloqua's filter may know no case
    waiting = records.filter(is_waiting).with_columns(
        same=nw.col("identifier").str.strip_chars().str.to_lowercase()  # Eloqua matches identifiers without case
    )
    double = waiting.group_by("same").agg(twins=nw.len()).filter(nw.col("twins") > 1)
    joined = (
        waiting.join(double, on="same", how="left")
        .join(keys, on="key", how="left")
        .join(sources.with_columns(known=nw.lit(value=True)), on="salesforce_id", how="left")
    )
    too_old = nw.col("created_at").str.slice(0, 19) <= nw.lit(
        (slot - dt.timedelta(days=definition.give_up_after)).strftime(values.MOMENT)
    )
    empties = nw.any_horizontal(
        *((nw.col(f"new_{name}") == "") & (nw.col(f"old_{name}") != "") for name in definition.fields),
        ignore_nulls=True,
    )
    rules: list[tuple[nw.Expr, str, Any]] = [
        (nw.col("same") == "", "rejected", "no identifier"),
        (~nw.col("twins").is_null(), "rejected", "double identifier"),
        (nw.col("key").str.strip_chars() == "", "error", "empty key"),
        (nw.col("salesforce_id").is_null(), "error", "malformed key"),
        (nw.col("known").is_null() & too_old, "error", "unknown key"),
        (nw.col("known").is_null(), "deferred", "unknown key"),
        (~nw.col("problem").is_null(), "rejected", nw.col("problem")),
    ]
    outcome: Any = nw.lit("filled")
    reason: Any = nw.lit("")
    for condition, word, cause in reversed(rules):
        outcome = nw.when(condition).then(nw.lit(word)).otherwise(outcome)
        reason = nw.when(condition).then(cause if isinstance(cause, nw.Expr) else nw.lit(cause)).otherwise(reason)
    decided = joined.with_columns(outcome=outcome, reason=reason)
    filled, failed = nw.col("outcome") == "filled", nw.col("outcome") == "error"

    def sent(when_filled: nw.Expr, when_failed: nw.Expr) -> nw.Expr:
        """Null in the rows that are not sent."""
        return nw.when(filled).then(when_filled).when(failed).then(when_failed)

    def value(name: str) -> nw.Expr:
        same = values.same(f"old_{name}", f"new_{name}", kinds[name])
        return nw.when(same).then(nw.col(f"old_{name}")).otherwise(nw.col(f"new_{name}"))

    return decided.select(
        "record_id",
        "created_at",
        "salesforce_id",
        "outcome",
        "reason",
        nw.col("identifier").alias(definition.identifier),
        sent(nw.lit(definition.done), nw.lit(definition.error)).alias(definition.status),
        sent(nw.lit(""), why(definition)).alias(definition.reason),
        *(sent(value(name), nw.lit("")).alias(name) for name in definition.fields),
        clears=filled & empties,
    )


def why(definition: Definition) -> "nw.Expr":
    """The sentence that the reason field gets."""
    import narwhals as nw

    sentences = {
        "empty key": f"No Salesforce {definition.source} id",
        "malformed key": f"Not a Salesforce {definition.source} id",
        "unknown key": f"Salesforce has no such {definition.source}; gave up after {definition.give_up_after:g} days",
    }
    text: Any = nw.lit("")
    for reason, meaning in sentences.items():
        text = nw.when(nw.col("reason") == reason).then(nw.lit(meaning)).otherwise(text)
    return text


@dataclass
class Tally:
    """Waiting records by what was decided; keys are distinct Salesforce ids; oldest is a created_at, "" for none."""

    total: int = 0
    filled: int = 0
    in_error: int = 0
    deferred: int = 0
    rejected: int = 0
    keys: int = 0
    unknown_keys: int = 0
    oldest: str = ""
    reasons: dict[str, int] = field(default_factory=dict)


def counted(engine: Engine, plan: Table) -> Tally:
    """Count a plan."""
    import narwhals as nw

    tally = Tally()
    by_reason = engine.read(plan).group_by("outcome", "reason").agg(records=nw.len(), oldest=nw.col("created_at").min())
    for row in engine.rows(by_reason):
        name = {"error": "in_error"}.get(row["outcome"], row["outcome"])
        setattr(tally, name, getattr(tally, name) + row["records"])
        tally.total += row["records"]
        if row["reason"]:
            tally.reasons[f"{row['outcome']}: {row['reason']}"] = row["records"]
        tally.oldest = min(tally.oldest or row["oldest"], row["oldest"])
    keys = engine.read(plan).filter(~nw.col("salesforce_id").is_null())
    unknown = keys.filter(nw.col("reason") == "unknown key")
    tally.keys, tally.unknown_keys = (
        engine.rows(frame.select(keys=nw.col("salesforce_id").n_unique()))[0]["keys"] or 0 for frame in (keys, unknown)
    )
    return tally


def check_limits(name: str, tally: Tally, limits: enrichment) -> None:
    """Raise SafetyStop where a fault elsewhere is likelier than so many bad records.

    Lost permissions look exactly like missing campaigns, a wrong key field like malformed keys.
    """
    checks = [
        (
            "keys are unknown to Salesforce",
            tally.unknown_keys,
            tally.keys,
            limits.max_unknown_share,
            limits.max_unknown_count,
        ),
        ("records would end in error", tally.in_error, tally.total, limits.max_error_share, limits.max_error_count),
    ]
    for what, count, total, share, least in checks:
        if count > least and count > share * total:
            raise SafetyStop(f"enrichment {name}", what, count, total, f"{share:.0%} and {least:,}")


def rejected(engine: Engine, plan: Table, definition: Definition, refused: list[Table]) -> "Frame":
    """The rows that were not written: those the rules rejected, and those Eloqua refused, as receipts.REJECTS."""
    import narwhals as nw

    rows = engine.read(plan).with_columns(identifier=nw.col(definition.identifier))
    frames = [rows.filter(nw.col("outcome") == "rejected").select(*REJECTS)]
    for table in refused:
        codes = engine.read(table)
        frames.append(
            codes.join(rows.drop("reason"), on="identifier", how="left").select(
                "record_id", "identifier", nw.col("code").alias("reason")
            )
        )
    return nw.concat(frames)


@dataclass
class Left:
    """What still waits after a run: planned fills and errors that Eloqua refused, and the oldest created_at, "" for none."""

    refused_fills: int = 0
    refused_errors: int = 0
    oldest: str = ""


def left_waiting(engine: Engine, plan: Table, rejects: Table) -> Left:
    """Compare the plan with what was rejected."""
    import narwhals as nw

    refused = engine.read(rejects).select("record_id").unique()
    waiting = nw.concat(
        [
            engine.read(plan).filter(nw.col("outcome") == "deferred").select("outcome", "created_at"),
            engine.read(plan).join(refused, on="record_id", how="semi").select("outcome", "created_at"),
        ]
    )
    left = Left()
    for row in engine.rows(waiting.group_by("outcome").agg(records=nw.len(), oldest=nw.col("created_at").min())):
        left.refused_fills += row["records"] if row["outcome"] == "filled" else 0
        left.refused_errors += row["records"] if row["outcome"] == "error" else 0
        left.oldest = min(left.oldest or row["oldest"], row["oldest"])
    return left


def age(created_at: str, slot: dt.datetime) -> int | None:
    """Seconds from a created_at to the slot; None for ""."""
    if not created_at:
        return None
    return int((slot - dt.datetime.strptime(created_at[:19], values.MOMENT)).total_seconds())


class Enrichment(Process):
    """All enrichments of the file. Output: their receipts."""

    def requires(self) -> list[Fill]:
        return [self.clone(Fill, enrichment=name) for name in definitions()]
