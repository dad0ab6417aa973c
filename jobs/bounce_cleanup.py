"""Bounce cleanup: an address that hard-bounced is known in Eloqua and Salesforce within one run.

    CheckFields -> ExportBouncebacks -> FindDead -> ExportOpens -> Decide -> MarkInEloqua
                                                                              -> FindInSalesforce -> MarkInSalesforce -> Report

Reads Eloqua's Bounceback and EmailOpen activities, and Salesforce's Leads and Contacts with the dead addresses. Changes the
bounced state and the configured fields of Eloqua's contacts, and the configured fields of Leads and Contacts; never an
address, an owner or a consent. The rules stand in jobs/bounce_cleanup.toml, what is remembered in jobs/bounce_state.py.

A second run of a slot changes nothing: both receipts are there. A run reads bouncebacks from the longest span that a rule
looks at before the slot, or from the last finished slot less the look-back, whichever is earlier, to an hour before the slot;
so a missed slot or a late bounceback is covered by the next one, and in overlapping windows, in whatever order they run, an
activity that a receipt names is evidence but no reason to act again. A run that was killed leaves its syncs and jobs on the
volume: the same slot goes on with them, another slot waits for their end and reads anew. While Salesforce is away, the
decisions wait in its owed files; they are not taken again, so that both systems end with the same.
"""

import datetime as dt
import itertools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import luigi

from jobs import bounce_file, bounce_report, bounce_rows, bounce_rules, bounce_state
from jobs.bounce_file import Rules
from jobs.bounce_rows import BOUNCEBACKS, EMAIL, IS_BOUNCED, OPENS, moment_of
from jobs.bounce_rules import MARK, OPENED
from jobs.bounce_state import ELOQUA, OWED, SALESFORCE, State
from scc import outputs
from scc.config import salesforce as salesforce_settings
from scc.eloqua import statements, syncs, values
from scc.errors import ConfigError, SafetyStop, Unaccounted, Unavailable
from scc.outputs import JsonTarget, remove
from scc.receipts import REJECTS, Counts, Receipt
from scc.salesforce import ingest, soql
from scc.salesforce.client import Salesforce, Verdict
from scc.tables import Engine, Schema, Table, arrow_schema
from scc.tasks.step import BULK, SLOT, Process, Step

if TYPE_CHECKING:
    import narwhals as nw
    import pyarrow as pa

    Frame = nw.LazyFrame[Any]

log = logging.getLogger(__name__)

DEAD: Schema = {
    **dict.fromkeys(("address", "contact_id", "kind", "status", "reply"), "string"),
    **dict.fromkeys(("moment", "last_at"), "integer"),
}
DECIDED: Schema = {**OWED, "outcome": "string", "in_eloqua": "string"}
FOUND: Schema = dict.fromkeys(("object", "record_id", "parent", "address", "marked"), "string")
# ELQ codes that count contacts created, updated and not found (eloqua.md 3.10)
CREATED, UPDATED, UNMATCHED = "ELQ-00004", "ELQ-00022", "ELQ-00034"
ENTITIES = ("Lead", "Contact")
# Leads that were converted live on as Contacts, and cannot be written (salesforce.md 8.1)
CONDITIONS = {"Lead": "IsConverted = false", "Contact": ""}
# rows that somebody else holds, or that a job did not get to: for the next slot
BUSY = {"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "QUERY_TIMEOUT", "UNPROCESSED"}
# deleted, merged or converted since it was found: nothing is left to mark
VANISHED = {"ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY", "CANNOT_UPDATE_CONVERTED_LEAD"}
ROWS = 10_000
FRESH = dt.timedelta(hours=1)  # activities younger than that may still be on their way (eloqua.md 3.11)


class bounce_cleanup(luigi.Config):
    """[bounce_cleanup] in luigi.cfg: which file holds the rules, and how much one run may change or reject."""

    rules = luigi.OptionalParameter(default="", description="the TOML file; empty: jobs/bounce_cleanup.toml")
    max_share = luigi.FloatParameter(default=0.02, description="of all contacts; above it the run stops")
    max_count = luigi.IntParameter(default=20_000, description="addresses to mark; above it the run stops")
    max_records = luigi.IntParameter(default=50_000, description="Leads and Contacts to mark; above it the run stops")
    max_rejected_share = luigi.FloatParameter(default=0.05, description="of a system's rows, see max_rejected_count")
    max_rejected_count = luigi.IntParameter(default=100, description="above both, the run fails")
    activity_rows = luigi.IntParameter(
        default=5_000_000, description="rows at which Eloqua cuts an export of activities"
    )


class BounceStep(Step):
    """What the steps share."""

    @property
    def rules(self) -> Rules:
        path = bounce_cleanup().rules
        return bounce_file.read(Path(path) if path else bounce_file.SHIPPED)

    @property
    def state(self) -> State:
        return State(outputs.root() / self.process)

    @property
    def slot_name(self) -> str:
        return f"{self.slot:{SLOT}}"

    @property
    def window(self) -> tuple[dt.datetime, dt.datetime]:
        """From when to when bouncebacks are read, UTC."""
        rules = self.rules
        starts = [self.slot - dt.timedelta(days=rules.span)]
        last = self.state.last_before(self.slot_name)
        if last:
            starts.append(dt.datetime.strptime(last, SLOT) - FRESH - dt.timedelta(days=rules.look_back))
        return min(starts), self.slot - FRESH

    def about(self, system: str) -> dict[str, Any]:
        """What every receipt says."""
        return {
            "process": self.process,
            "system": system,
            "slot": self.slot_name,
            "dry_run": self.dry_run,
            "rules": self.rules.fingerprint,
            "api_calls": self.api_calls(),
        }

    def activities(self, kind: str, names: Mapping[str, str], start: dt.datetime, end: dt.datetime) -> list[Table]:
        """Tables of raw activities that together hold the window, each below Eloqua's cut.

        Eloqua cuts an export without a word (eloqua.md 3.11): a window that is full is read again in halves.
        """
        limit = bounce_cleanup().activity_rows
        table = self.table(dict.fromkeys(names, "string"), f"{kind}-{start:%Y%m%dT%H%M%S}-{end:%Y%m%dT%H%M%S}")
        if not table.exists():
            created = "{{Activity.CreatedAt}}"
            conditions = [
                statements.equals("{{Activity.Type}}", kind),
                statements.at_least(created, start.strftime(values.MOMENT)),
                f"'{created}' < '{end.strftime(values.MOMENT)}'",
            ]
            export = {
                "name": f"SCC {self.process} {kind}",
                "fields": dict(names),
                "filter": statements.checked(" AND ".join(conditions)),
                "areSystemTimestampsInUTC": True,
            }
            syncs.export(self.bulk, "/activities/exports", export, table, self.progress())
        if rows(table) < limit:
            return [table]
        middle = (start + (end - start) / 2).replace(microsecond=0)
        if middle in (start, end):
            raise Unaccounted(f"Eloqua has {limit:,} activities of one second: they cannot be read whole")
        return [
            *self.activities(kind, names, start, middle),
            *self.activities(kind, names, middle, end),
        ]


class CheckFields(BounceStep):
    """How many contacts there are, and the fields that both systems let this user write: "contacts", "eloqua", "salesforce".

    Fails before anything is read when a field of Eloqua is unknown, or when Salesforce lets no configured field be written.
    "salesforce" is null when Salesforce was away.
    """

    def output(self) -> JsonTarget:
        return self.document()

    def run(self) -> None:
        rules = self.rules
        known = statements.by_internal_name(self.bulk.contact_fields())
        for name in rules.eloqua_fields:
            if name not in known or known[name].read_only:
                what = "is read-only" if name in known else "does not exist: give its internal name"
                raise ConfigError(f"[eloqua] fields: Eloqua's contact field {name} {what}")
        self.output().write(
            {
                "contacts": self.bulk.contact_count(),
                "eloqua": {name: known[name].statement for name in rules.eloqua_fields},
                "salesforce": self._salesforce(),
            }
        )

    def _salesforce(self) -> dict[str, Any] | None:
        """What Salesforce lets us write; None while it is away: Eloqua need not wait for that."""
        try:
            return writable(self.salesforce, self.rules)
        except Unavailable as error:
            log.warning("%s; Eloqua goes first, and the run will fail until Salesforce is back", error)
            return None


class ExportBouncebacks(BounceStep):
    """The bouncebacks of the window: activity_id, moment (seconds since 1970), contact_id, contact_address (today's),
    address, domain, status, reply, pattern (of the message). Addresses are normalised, "" where there is none.
    """

    resources = BULK

    def requires(self) -> CheckFields:
        return self.clone(CheckFields)

    def output(self) -> Table:
        return self.table(BOUNCEBACKS)

    def run(self) -> None:
        names = {
            "activity_id": "{{Activity.Id}}",
            "created_at": "{{Activity.CreatedAt}}",
            "contact_id": "{{Activity.Contact.Id}}",
            "contact_address": "{{Activity.Contact.Field(C_EmailAddress)}}",
            "address": "{{Activity.Field(EmailAddress)}}",
            "status": "{{Activity.Field(SmtpStatusCode)}}",
            "reply": "{{Activity.Field(SmtpErrorCode)}}",
            "message": "{{Activity.Field(SmtpMessage)}}",
        }
        raw = self.activities("Bounceback", names, *self.window)
        with self.output().writer() as write:
            for table in raw:
                for batch in table.batches():
                    write(bounce_rows.bouncebacks(batch))
        for table in raw:
            remove(table.path)


class FindDead(BounceStep):
    """One row per dead address with a bounceback that no receipt names yet: see bounce_rules.dead."""

    def requires(self) -> ExportBouncebacks:
        return self.clone(ExportBouncebacks)

    def output(self) -> Table:
        return self.table(DEAD)

    def run(self) -> None:
        with self.engine() as engine:
            bouncebacks = bounce_rules.with_kind(engine.read(self.input()), self.rules)
            evidence = bounce_rules.evidence(bouncebacks, self.rules)
            engine.write(bounce_rules.dead(evidence, handled(engine, self)), self.output())


class ExportOpens(BounceStep):
    """When the dead addresses opened mail in the time in which that would prove them alive: address, moment."""

    resources = BULK

    def requires(self) -> FindDead:
        return self.clone(FindDead)

    def output(self) -> Table:
        return self.table(OPENS)

    def run(self) -> None:
        import narwhals as nw

        with self.engine() as engine:
            (span,) = engine.rows(
                engine.read(self.input()).select(first=nw.col("last_at").min(), last=nw.col("last_at").max())
            )
            raw = [] if span["first"] is None else self._raw(span["first"], span["last"])
            everyone = self.table(OPENS, "all")
            with everyone.writer() as write:
                for table in raw:
                    for batch in table.batches():
                        write(bounce_rows.opens(batch))
            dead = engine.read(self.input()).select("address")
            engine.write(engine.read(everyone).join(dead, on="address", how="semi"), self.output())
        for table in [*raw, everyone]:
            remove(table.path)

    def _raw(self, first: int, last: int) -> list[Table]:
        names = {"address": "{{Activity.Field(EmailAddress)}}", "created_at": "{{Activity.CreatedAt}}"}
        within = dt.timedelta(days=self.rules.opened_within, seconds=1)
        start, end = moment_of(first), min(moment_of(last) + within, self.slot)
        return self.activities("EmailOpen", names, start, end) if start < end else []


class Decide(BounceStep):
    """One row per address that this slot decides on or tries again: see bounce_rules.decide, and bounce_state.OWED."""

    def requires(self) -> Mapping[str, Step]:
        return {
            "bouncebacks": self.clone(ExportBouncebacks),
            "dead": self.clone(FindDead),
            "opens": self.clone(ExportOpens),
        }

    def output(self) -> Table:
        return self.table(DECIDED)

    def run(self) -> None:
        import narwhals as nw

        with self.engine() as engine:
            bouncebacks, dead, opens = (engine.read(self.input()[name]) for name in ("bouncebacks", "dead", "opens"))
            carriers = bouncebacks.select("address", "contact_id", "contact_address")
            decided = bounce_rules.decide(dead, opens, carriers, self.rules).with_columns(
                since=nw.lit(self.slot_name), code=nw.lit("")
            )
            again = owed(engine, self.state.owed(ELOQUA)).join(decided.select("address"), on="address", how="anti")
            again = again.with_columns(outcome=nw.lit(MARK), in_eloqua=nw.lit("carried"))
            engine.write(nw.concat([frame.select(*DECIDED) for frame in (decided, again)]), self.output())


class MarkInEloqua(BounceStep):
    """Eloqua's receipt: what became of every address of Decide. Beside it what it handled, rejects, counts for the report."""

    resources = BULK

    def requires(self) -> Mapping[str, Step]:
        return {
            "catalogue": self.clone(CheckFields),
            "bouncebacks": self.clone(ExportBouncebacks),
            "decided": self.clone(Decide),
        }

    def output(self) -> Receipt:
        return self.receipt()

    def run(self) -> None:
        import narwhals as nw

        rejects = self.table(REJECTS, "rejects")
        taken = self.state.owed(ELOQUA)
        with self.engine() as engine:
            decided = engine.read(self.input()["decided"])
            self._check_limits(engine, decided)
            outcome = syncs.Outcome() if self.dry_run else self._import(engine, decided)
            if outcome.created:
                raise Unaccounted(
                    f"Eloqua created {outcome.created:,} contacts in an import that may only update: look at its sync "
                    f"{', '.join(outcome.syncs)}, and remove them"
                )
            refused = self._refused(engine, decided, outcome)
            engine.write(self._rejected(engine, refused), rejects)
            bouncebacks = bounce_rules.with_kind(engine.read(self.input()["bouncebacks"]), self.rules)
            fresh = bouncebacks.join(handled(engine, self), on="activity_id", how="anti")
            self.document("report").write(bounce_report.counted(engine, bouncebacks, fresh, decided, self.rules))
            engine.write(fresh.select("activity_id").unique(), self.table(bounce_state.HANDLED, "handled"))
            if not self.dry_run:
                self._owe(engine, decided, refused)
            else:
                mark = decided.filter(nw.col("outcome") == MARK)
                engine.write(mark.select(*OWED), self.table(OWED, "owed"))
            self._account(engine, decided, refused, outcome, [table.path.name for table in taken])
        if not self.dry_run:
            self.state.forget(ELOQUA)

    def _check_limits(self, engine: Engine, decided: "Frame") -> None:
        import narwhals as nw

        limits, contacts = bounce_cleanup(), self.input()["catalogue"].read()["contacts"]
        fresh = decided.filter((nw.col("outcome") == MARK) & (nw.col("since") == self.slot_name))
        count = length(engine, fresh)
        if count > limits.max_count or count > limits.max_share * contacts:
            limit = f"{limits.max_share:.1%} or {limits.max_count:,}"
            raise SafetyStop("bounce cleanup", "contacts would be marked as bounced", count, contacts, limit)

    def _import(self, engine: Engine, decided: "Frame") -> syncs.Outcome:
        import narwhals as nw

        fields = self.rules.eloqua_fields
        rows = self.table(dict.fromkeys([EMAIL, IS_BOUNCED, *fields], "string"), "rows")
        if not rows.exists():
            sent = decided.filter((nw.col("outcome") == MARK) & nw.col("in_eloqua").is_in(["carried", "unknown"]))
            with rows.writer() as write:
                for batch in engine.batches(sent):
                    write(bounce_rows.for_eloqua(batch, fields, rows.schema))
        what = syncs.Import(
            parent="/contacts/imports",
            definition={
                "name": f"SCC {self.process}",
                "fields": {
                    EMAIL: "{{Contact.Field(C_EmailAddress)}}",
                    IS_BOUNCED: "{{Contact.Email.IsBounced}}",
                    **self.input()["catalogue"].read()["eloqua"],
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
        return syncs.import_table(self.bulk, what, rows, self.parts(), self.progress())

    def _refused(self, engine: Engine, decided: "Frame", outcome: syncs.Outcome) -> "Frame":
        """The rows of Decide that Eloqua refused, with its code."""
        refused = engine.read_all(outcome.rejects, syncs.REJECTS)
        return decided.drop("code").join(refused.rename({"identifier": "address"}), on="address", how="inner")

    def _rejected(self, engine: Engine, refused: "Frame") -> "Frame":
        import narwhals as nw

        return refused.select(
            record_id=nw.col("contact_id"), identifier=nw.col("address"), reason=given_up(self, nw.col("code"))
        )

    def _owe(self, engine: Engine, decided: "Frame", refused: "Frame") -> None:
        """What Salesforce has to follow, and what Eloqua is to be asked for again."""
        import narwhals as nw

        mark = decided.filter((nw.col("outcome") == MARK) & (nw.col("since") == self.slot_name))
        for system, frame in ((SALESFORCE, mark), (ELOQUA, refused.filter(still_tried(self)))):
            if length(engine, frame):
                engine.write(frame.select(*OWED), self.state.owe(system, self.slot_name))

    def _account(
        self, engine: Engine, decided: "Frame", refused: "Frame", outcome: syncs.Outcome, taken: list[str]
    ) -> None:
        import narwhals as nw

        counts = Counts(planned=0)
        for row in engine.rows(decided.group_by("outcome", "in_eloqua").agg(addresses=nw.len())):
            counts.planned += row["addresses"]
            why = "opened mail after the bounce" if row["outcome"] == OPENED else f"contact {row['in_eloqua']}"
            if row["outcome"] == OPENED or row["in_eloqua"] in ("renamed", "deleted"):
                counts.unchanged += row["addresses"]
                key = f"unchanged: {why}"
                counts.reasons[key] = counts.reasons.get(key, 0) + row["addresses"]
        if outcome.unmatched:
            counts.unchanged += outcome.unmatched
            counts.reasons["unchanged: no contact has the address"] = outcome.unmatched
        coded = refused.select(reason=given_up(self, nw.col("code"))).group_by("reason").agg(addresses=nw.len())
        for row in engine.rows(coded):
            counts.rejected += row["addresses"]
            counts.reasons[f"rejected: {row['reason']}"] = row["addresses"]
        counts.updated = counts.planned - counts.unchanged if self.dry_run else outcome.updated
        about = {
            **self.about(ELOQUA),
            "window": [moment.strftime(values.MOMENT) for moment in self.window],
            "contacts": self.input()["catalogue"].read()["contacts"],
            "syncs": outcome.syncs,
            "settles": taken,
        }
        self.settle(counts, rejected_limit(counts), about)


class FindInSalesforce(BounceStep):
    """The Leads and Contacts that carry an address that Salesforce is owed: object, record_id, parent, address, marked.

    parent: the Account, whose row a write locks. marked: "yes" when all the fields are filled already. The addresses
    themselves, with what is to be written, lie beside it.
    """

    def requires(self) -> Mapping[str, Step]:
        return {"catalogue": self.clone(CheckFields), "eloqua": self.clone(MarkInEloqua)}

    def output(self) -> Table:
        return self.table(FOUND)

    def run(self) -> None:
        if not self.dry_run:
            ingest.settle(self.salesforce, self.state.jobs(), self.progress())
        files, addresses = self.state.owed(SALESFORCE), self.addresses
        entities = self.input()["catalogue"].read()["salesforce"] or writable(self.salesforce, self.rules)
        with self.engine() as engine:
            planned = [Table(self.input()["eloqua"].path.with_name("MarkInEloqua.owed.parquet"), OWED)]
            engine.write(owed(engine, [*files, *(planned if self.dry_run else [])]), addresses)
        self.takes.write({"settles": [table.path.name for table in files], "entities": entities})
        with self.output().writer() as write:
            for name in ENTITIES:
                for batch in in_batches(self._found(name, entities[name], addresses), FOUND):
                    write(batch)

    @property
    def addresses(self) -> Table:
        """The addresses that Salesforce is owed, each once."""
        return self.table(OWED, "addresses")

    @property
    def takes(self) -> JsonTarget:
        """ "settles": the files that these addresses come from. "entities": see writable."""
        return self.document("takes")

    def _found(self, name: str, entity: Mapping[str, Any], addresses: Table) -> Iterator[dict[str, str]]:
        if not entity["fields"]:
            return
        wanted = ["Id", "Email", *entity["fields"], *([entity["parent"]] if entity["parent"] else [])]
        owed_addresses = (text for batch in addresses.batches() for text in batch.column("address").to_pylist())
        show = self.progress()
        records = self.salesforce.lookup(name, wanted, "Email", owed_addresses, CONDITIONS[name], soql.STATEMENT_BYTES)
        for number, record in enumerate(records, 1):
            filled = all(record.get(field) not in (None, "") for field in entity["fields"])
            yield {
                "object": name,
                "record_id": record["Id"],
                "parent": record.get(entity["parent"]) or "",
                "address": bounce_rules.address(record["Email"]),
                "marked": "yes" if filled else "no",
            }
            show(f"{number:,} {name}s found")


class MarkInSalesforce(BounceStep):
    """Salesforce's receipt: what became of every record of FindInSalesforce."""

    def requires(self) -> FindInSalesforce:
        return self.clone(FindInSalesforce)

    def output(self) -> Receipt:
        return self.receipt()

    def run(self) -> None:
        import narwhals as nw

        with self.engine() as engine:
            found, addresses = engine.read(self.input()), engine.read(self.requires().addresses)
            total, marked = length(engine, found), length(engine, found.filter(nw.col("marked") == "yes"))
            self._check_limits(total - marked, total)
            plan = self.table({**FOUND, **OWED}, "plan")
            if not plan.exists():
                to_write = found.filter(nw.col("marked") == "no").join(addresses, on="address", how="inner")
                engine.write(to_write.sort("object", "parent", "record_id"), plan)
            refused = [] if self.dry_run else self._write(engine, plan)
            self._account(engine, plan, refused, total, marked, length(engine, addresses))
        if not self.dry_run:
            self.state.forget(SALESFORCE)

    def _check_limits(self, count: int, total: int) -> None:
        limit = bounce_cleanup().max_records
        if count > limit:
            raise SafetyStop(
                "bounce cleanup in Salesforce", "Leads and Contacts would be marked", count, total, f"{limit:,}"
            )

    def _write(self, engine: Engine, plan: Table) -> list[Verdict]:
        """Write the plan, object by object; the verdicts on the records that were refused."""
        import narwhals as nw

        refused: list[Verdict] = []
        limits = salesforce_settings()
        entities = self.requires().takes.read()["entities"]
        for name in ENTITIES:
            count = length(engine, engine.read(plan).filter(nw.col("object") == name))
            by_job = ingest.pays(count)
            size = limits.job_rows if by_job else limits.records_per_call
            for number, records in enumerate(self._records(plan, name, entities[name]["fields"], size), 1):
                part = self.document(f"{name}.{'job' if by_job else 'calls'}-of-{size}-{number:04}")
                verdicts = self._by_job(name, records, part) if by_job else self._by_call(name, records, part)
                refused += [one for one in verdicts if one.code]
                self.progress()(f"{name}: part {number} written")
        return refused

    def _records(self, plan: Table, name: str, fields: Mapping[str, Any], size: int) -> Iterator[list[dict[str, str]]]:
        """What to send of one object, in lists of so many, in the plan's order."""
        batch: list[dict[str, str]] = []
        for rows in plan.batches():
            for row in rows.to_pylist():
                if row["object"] == name:
                    batch.append({"Id": row["record_id"], **bounce_rows.for_salesforce(row, fields)})
                if len(batch) == size:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _by_job(self, name: str, records: list[dict[str, str]], part: JsonTarget) -> list[Verdict]:
        pointer = JsonTarget(self.state.jobs() / f"{self.slot_name}.{part.path.name}")
        return ingest.update(self.salesforce, name, records, part, pointer, self.progress())

    def _by_call(self, name: str, records: list[dict[str, str]], part: JsonTarget) -> list[Verdict]:
        if not part.exists():
            verdicts = self.salesforce.update(name, records)
            part.write({"failed": {one.record_id: one.code for one in verdicts if one.code}})
        failed = part.read()["failed"]
        return [Verdict(record["Id"], failed.get(record["Id"], "")) for record in records]

    def _account(
        self, engine: Engine, plan: Table, refused: list[Verdict], total: int, marked: int, addresses: int
    ) -> None:
        import narwhals as nw

        codes = self.table({"record_id": "string", "code": "string"}, "refused")
        with codes.writer() as write:
            for batch in in_batches((one._asdict() for one in refused), codes.schema):
                write(batch)
        failed = engine.read(plan).drop("code").join(engine.read(codes), on="record_id", how="inner")
        lasting = failed.filter(~nw.col("code").is_in(sorted(VANISHED)))
        rejected = lasting.filter(~nw.col("code").is_in(sorted(BUSY)))
        deferred = lasting.filter(nw.col("code").is_in(sorted(BUSY)))
        engine.write(
            lasting.select("record_id", identifier=nw.col("address"), reason=given_up(self, nw.col("code"))),
            self.table(REJECTS, "rejects"),
        )
        counts = Counts(
            planned=total, unchanged=marked, reasons={"unchanged: marked already": marked} if marked else {}
        )
        for outcome, frame in (
            ("unchanged", failed.filter(nw.col("code").is_in(sorted(VANISHED)))),
            ("deferred", deferred),
            ("rejected", rejected),
        ):
            reasons = frame.select(reason=given_up(self, nw.col("code"))).group_by("reason").agg(records=nw.len())
            for row in engine.rows(reasons):
                setattr(counts, outcome, getattr(counts, outcome) + row["records"])
                counts.reasons[f"{outcome}: {row['reason']}"] = row["records"]
        counts.updated = total - counts.unchanged - counts.deferred - counts.rejected
        if not self.dry_run:
            left = nw.concat([deferred, rejected.filter(still_tried(self))])
            left = left.select(*OWED).unique(["address"], keep="first", order_by=["code"])
            if length(engine, left):
                engine.write(left, self.state.owe(SALESFORCE, self.slot_name))
        takes = self.requires().takes.read()
        about = {
            **self.about(SALESFORCE),
            "addresses": addresses,
            "left_out": {name: entity["left_out"] for name, entity in takes["entities"].items() if entity["left_out"]},
            "settles": [] if self.dry_run else takes["settles"],
        }
        self.settle(counts, rejected_limit(counts), about)


class Report(BounceStep):
    """The run in numbers, for people: this JSON, and one HTML page beside it that needs nothing else."""

    def requires(self) -> Mapping[str, Step]:
        return {ELOQUA: self.clone(MarkInEloqua), SALESFORCE: self.clone(MarkInSalesforce)}

    def output(self) -> JsonTarget:
        return self.document()

    def run(self) -> None:
        receipts = self.input()
        report = {
            "slot": self.slot_name,
            "dry_run": self.dry_run,
            **JsonTarget(receipts[ELOQUA].path.with_suffix(".report.json")).read(),
            **{name: receipts[name].read() for name in (ELOQUA, SALESFORCE)},
        }
        rejects = {name: Table(receipts[name].path.with_suffix(".rejects.parquet"), REJECTS) for name in receipts}
        bounce_report.write_page(report, rejects, self.output().path.with_suffix(".html"))
        self.output().write(report)


class BounceCleanup(Process):
    """The whole process. Output: the report."""

    def requires(self) -> Report:
        return self.clone(Report)


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


def rejected_limit(counts: Counts) -> float:
    """The share of rejected rows that a run may end well with: a few always may."""
    limits = bounce_cleanup()
    return 1.0 if counts.rejected <= limits.max_rejected_count else limits.max_rejected_share


def in_batches(rows: Iterator[Mapping[str, Any]], schema: Schema) -> "Iterator[pa.RecordBatch]":
    """Rows as record batches of the schema."""
    import pyarrow as pa

    while batch := list(itertools.islice(rows, ROWS)):
        yield pa.RecordBatch.from_pylist([dict(row) for row in batch], schema=arrow_schema(schema))


def rows(table: Table) -> int:
    """How many rows a table has."""
    return sum(batch.num_rows for batch in table.batches())


def length(engine: Engine, frame: "Frame") -> int:
    """How many rows a frame has."""
    import narwhals as nw

    return int(engine.rows(frame.select(rows=nw.len()))[0]["rows"])


def handled(engine: Engine, step: BounceStep) -> "Frame":
    """The activities of the step's window that receipts name: activity_id, each once."""
    since = f"{step.window[0]:{SLOT}}"
    return engine.read_all(step.state.handled(since), bounce_state.HANDLED).unique()


def owed(engine: Engine, tables: list[Table]) -> "Frame":
    """What a system is owed, each address once: the first decision stands."""
    return engine.read_all(tables, OWED).unique(["address"], keep="first", order_by=["since", "code"])


def still_tried(step: BounceStep) -> "nw.Expr":
    """Whether a rejected row is tried again by the next slot."""
    import narwhals as nw

    return nw.col("since") >= f"{step.slot - dt.timedelta(days=step.rules.retry):{SLOT}}"


def given_up(step: BounceStep, code: "nw.Expr") -> "nw.Expr":
    """The reason of a rejected row: its code, and whether it was tried for the last time."""
    import narwhals as nw

    passing = nw.col("code").is_in(sorted(BUSY | VANISHED))
    return nw.when(still_tried(step) | passing).then(code).otherwise(nw.concat_str(nw.lit("given up: "), code))
