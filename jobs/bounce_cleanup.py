"""Bounce cleanup: an address that hard-bounced is known in Eloqua and Salesforce within one run.

    CheckFields -> ExportBouncebacks -> FindDead -> ExportOpens -> DecideBounces -> MarkInEloqua
                                                                              -> FindInSalesforce -> MarkInSalesforce -> Report

Reads Eloqua's Bounceback and EmailOpen activities, and Salesforce's Leads and Contacts with the dead addresses. Changes the
bounced state and the configured fields of Eloqua's contacts, and the configured fields of Leads and Contacts; never an
address, an owner or a consent. The rules stand in jobs/bounce_cleanup.toml, what is remembered in jobs/bounce_state.py.

A second run of a slot changes nothing: both receipts are there. A run reads bouncebacks from the longest span that a rule
looks at before the slot, or from the last finished slot less the look-back, whichever is earlier, to an hour before the slot;
so a missed slot or a late bounceback is covered by the next one, and in overlapping windows, in whatever order they run, an
activity that a receipt names is evidence but no reason to act again. A run that was killed leaves its syncs and jobs on the
volume: the same slot goes on with them; another slot first finishes the write in Eloqua that the killed one had begun, waits
for the end of its jobs, and reads anew. While Salesforce is away, the decisions wait in its owed files; they are not taken
again, so that both systems end with the same.
"""

import datetime as dt
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import (
    bounce_eloqua,
    bounce_file,
    bounce_limits,
    bounce_report,
    bounce_rows,
    bounce_rules,
    bounce_salesforce,
    bounce_state,
)
from jobs.bounce_file import Rules
from jobs.bounce_limits import bounce_cleanup
from jobs.bounce_rows import BOUNCEBACKS, EMAIL, IS_BOUNCED, OPENS, length, moment_of
from jobs.bounce_rules import MARK
from jobs.bounce_salesforce import ENTITIES, FOUND
from jobs.bounce_state import ELOQUA, FAILED, HANDLED, OWED, SALESFORCE, State
from scc import outputs
from scc.config import salesforce as salesforce_settings
from scc.eloqua import statements, syncs, values
from scc.errors import (
    ConfigError,
    LeaseHeld,
    LeaseLost,
    QuotaReached,
    Superseded,
    Unaccounted,
    Unavailable,
    VolumeUnavailable,
)
from scc.outputs import JsonTarget, remove
from scc.receipts import REJECTS, Receipt
from scc.salesforce import ingest
from scc.salesforce.client import Verdict
from scc.tables import Engine, Schema, Table, in_batches
from scc.tasks.step import BULK, SLOT, Process, Step

if TYPE_CHECKING:
    import narwhals as nw

    Frame = nw.LazyFrame[Any]

log = logging.getLogger(__name__)

DEAD: Schema = {
    **dict.fromkeys(("address", "contact_id", "kind", "status", "reply"), "string"),
    **dict.fromkeys(("moment", "last_at"), "integer"),
}
DECIDED: Schema = {**OWED, "outcome": "string", "in_eloqua": "string"}
# errors that running again cures
PASSING = (Unavailable, VolumeUnavailable, LeaseHeld, LeaseLost, Superseded, QuotaReached)
FRESH = dt.timedelta(hours=1)  # activities younger than that may still be on their way (eloqua.md 3.11)


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

    @property
    def tried_since(self) -> str:
        """The oldest slot whose rejected rows are still tried again."""
        return f"{self.slot - dt.timedelta(days=self.rules.retry):{SLOT}}"

    def handled(self, engine: Engine) -> "Frame":
        """The activities of the window that receipts name: activity_id, each once."""
        return bounce_state.handled(engine, self.state.handled(f"{self.window[0]:{SLOT}}"))

    def owe(self, engine: Engine, system: str, frame: "Frame") -> None:
        """Leave rows for a later step or slot to write to a system. A try after a killed one replaces what that one left."""
        if length(engine, frame):
            note = self.document(f"owes.{system}")
            engine.write(frame.select(*OWED), self.state.owe(system, self.slot_name, note))

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
            export = bounce_eloqua.activities(self.process, kind, names, start, end)
            syncs.export(self.bulk, "/activities/exports", export, table, self.progress())
        if sum(batch.num_rows for batch in table.batches()) < limit:
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

    Fails before anything is read when a field of Eloqua is unknown, when Salesforce lets no configured field be written, or
    when OutputCleanup would remove what says that a bounceback is done while the rules still look at it.
    "salesforce" is null when Salesforce was away.
    """

    def requires(self) -> "list[MarkInEloqua]":
        """What another slot's run began to write in Eloqua and was killed over: it is finished before anything is read.

        By its own rules and inputs, so that its rows are in its receipt, and not sent by this slot as well. Unless these
        are gone, or too old because another slot has written since: then it is only settled (scc/eloqua/syncs.py).
        """
        if self.dry_run:
            return []
        others = [name for name in self.state.begun() if name != self.slot_name]
        steps = [self.clone(MarkInEloqua, slot=dt.datetime.strptime(name, SLOT)) for name in others]
        return [step for step in steps if all(one.complete() for one in step.requires().values())]

    def output(self) -> JsonTarget:
        return self.document()

    def run(self) -> None:
        rules = self.rules
        bounce_limits.check_memory(self.process, rules)
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
            return bounce_salesforce.writable(self.salesforce, self.rules)
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
        raw = self.activities("Bounceback", bounce_eloqua.BOUNCEBACK, *self.window)
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
            engine.write(bounce_rules.dead(evidence, self.handled(engine)), self.output())


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
        within = dt.timedelta(days=self.rules.opened_within, seconds=1)
        start, end = moment_of(first), min(moment_of(last) + within, self.slot)
        return self.activities("EmailOpen", bounce_eloqua.OPEN, start, end) if start < end else []


class DecideBounces(BounceStep):
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
            again = bounce_state.owed(engine, self.state.owed(ELOQUA))
            again = again.join(decided.select("address"), on="address", how="anti").with_columns(
                outcome=nw.lit(MARK), in_eloqua=nw.lit("carried")
            )
            engine.write(nw.concat([frame.select(*DECIDED) for frame in (decided, again)]), self.output())


class MarkInEloqua(BounceStep):
    """Eloqua's receipt: what became of every address of DecideBounces. Beside it what it handled, rejects, counts.

    After a failure that running again does not cure, MarkInEloqua.failed.json lies there.
    """

    resources = BULK

    def requires(self) -> Mapping[str, Step]:
        return {
            "catalogue": self.clone(CheckFields),
            "bouncebacks": self.clone(ExportBouncebacks),
            "decided": self.clone(DecideBounces),
        }

    def output(self) -> Receipt:
        return self.receipt()

    def run(self) -> None:
        failed = self.document(FAILED)
        remove(failed.path)
        try:
            self._mark()
        except Exception as error:
            # what fails each time must not hold up all later slots; counts that do not add up lie there already
            if not (isinstance(error, PASSING) or failed.exists()):
                failed.write({**self.about(ELOQUA), "outcome": "failed"})
            raise

    def _mark(self) -> None:
        import narwhals as nw

        taken = self._taken()
        with self.engine() as engine:
            decided = engine.read(self.input()["decided"])
            self._check_limits(engine, decided)
            outcome = None if self.dry_run else self._import(engine, decided)
            refused = self._refused(engine, decided, outcome)
            engine.write(
                refused.select("reason", record_id=nw.col("contact_id"), identifier=nw.col("address")),
                self.table(REJECTS, "rejects"),
            )
            bouncebacks = bounce_rules.with_kind(engine.read(self.input()["bouncebacks"]), self.rules)
            fresh = bouncebacks.join(self.handled(engine), on="activity_id", how="anti")
            self.document("report").write(bounce_report.counted(engine, bouncebacks, fresh, decided, self.rules))
            engine.write(fresh.select("activity_id").unique(), self.table(HANDLED, "handled"))
            tried = refused.filter(bounce_rules.still_tried(self.tried_since))
            self._owe(engine, decided, tried)
            counts = bounce_eloqua.counted(engine, decided, refused, outcome)
            waiting = bounce_rows.oldest_age(engine, tried, self.slot)
        about = {
            **self.about(ELOQUA),
            "window": [moment.strftime(values.MOMENT) for moment in self.window],
            "contacts": self.input()["catalogue"].read()["contacts"],
            "syncs": outcome.syncs if outcome else [],
            "settles": taken,
            "oldest_waiting_after_seconds": waiting,
        }
        self.settle(counts, bounce_limits.rejected_share(counts), about)
        if not self.dry_run:
            self.state.forget(ELOQUA)

    def _taken(self) -> list[str]:
        """The files that DecideBounces took up: all that there are, but for what a killed try of this step left."""
        note = self.document(f"owes.{ELOQUA}")
        own = note.read()["file"] if note.exists() else ""
        return [table.path.name for table in self.state.owed(ELOQUA) if table.path.name != own]

    def _check_limits(self, engine: Engine, decided: "Frame") -> None:
        import narwhals as nw

        fresh = decided.filter((nw.col("outcome") == MARK) & (nw.col("since") == self.slot_name))
        bounce_limits.check_contacts(length(engine, fresh), self.input()["catalogue"].read()["contacts"])

    def _import(self, engine: Engine, decided: "Frame") -> syncs.Outcome:
        import narwhals as nw

        fields = self.rules.eloqua_fields
        rows = self.table(dict.fromkeys([EMAIL, IS_BOUNCED, *fields], "string"), "rows")
        if not rows.exists():
            sent = decided.filter((nw.col("outcome") == MARK) & nw.col("in_eloqua").is_in(["carried", "unknown"]))
            with rows.writer() as write:
                for batch in engine.batches(sent):
                    write(bounce_rows.for_eloqua(batch, fields, rows.schema))
        what = bounce_eloqua.marking(self.process, self.input()["catalogue"].read()["eloqua"])
        outcome = syncs.import_table(self.bulk, what, rows, self.parts(), self.progress())
        if outcome.created:
            raise Unaccounted(
                f"Eloqua created {outcome.created:,} contacts in an import that may only update: look at its sync "
                f"{', '.join(outcome.syncs)}, and remove them"
            )
        return outcome

    def _refused(self, engine: Engine, decided: "Frame", outcome: syncs.Outcome | None) -> "Frame":
        """The rows of DecideBounces that Eloqua refused, with its code and a reason."""
        refused = engine.read_all(outcome.rejects if outcome else [], syncs.REJECTS)
        coded = decided.drop("code").join(refused.rename({"identifier": "address"}), on="address", how="inner")
        return coded.with_columns(reason=bounce_rules.reason(self.tried_since))

    def _owe(self, engine: Engine, decided: "Frame", tried: "Frame") -> None:
        """What Salesforce has to follow, and what Eloqua is to be asked for again."""
        import narwhals as nw

        mark = decided.filter(nw.col("outcome") == MARK)
        if self.dry_run:
            engine.write(mark.select(*OWED), self.planned)
            return
        self.owe(engine, SALESFORCE, mark.filter(nw.col("since") == self.slot_name))
        self.owe(engine, ELOQUA, tried)

    @property
    def planned(self) -> Table:
        """What Salesforce would be owed, had this been no rehearsal."""
        return self.table(OWED, "owed")


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
        entities = self.input()["catalogue"].read()["salesforce"]
        entities = entities or bounce_salesforce.writable(self.salesforce, self.rules)
        planned = [self.clone(MarkInEloqua).planned] if self.dry_run else []
        with self.engine() as engine:
            engine.write(bounce_state.owed(engine, [*files, *planned]), addresses)
        self.takes.write({"settles": [table.path.name for table in files], "entities": entities})
        show, count = self.progress(), 0
        with self.output().writer() as write:
            for name in ENTITIES:
                carriers = bounce_salesforce.carriers(self.salesforce, name, entities[name], addresses)
                for batch in in_batches(carriers, FOUND):
                    write(batch)
                    count += batch.num_rows
                    show(f"{count:,} Leads and Contacts found")

    @property
    def addresses(self) -> Table:
        """The addresses that Salesforce is owed, each once."""
        return self.table(OWED, "addresses")

    @property
    def takes(self) -> JsonTarget:
        """ "settles": the files that these addresses come from. "entities": see bounce_salesforce.writable."""
        return self.document("takes")


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
            bounce_limits.check_records(total - marked, total)
            plan = self.table({**FOUND, **OWED}, "plan")
            if not plan.exists():
                to_write = found.filter(nw.col("marked") == "no").join(addresses, on="address", how="inner")
                engine.write(to_write.sort("object", "parent", "record_id"), plan)
            refused = [] if self.dry_run else self._write(engine, plan)
            self._account(engine, plan, refused, total, marked, length(engine, addresses))
        if not self.dry_run:
            self.state.forget(SALESFORCE)

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
            for number, records in enumerate(bounce_salesforce.changes(plan, name, entities[name]["fields"], size), 1):
                part = self.document(f"{name}.{'job' if by_job else 'calls'}-of-{size}-{number:04}")
                verdicts = self._by_job(name, records, part) if by_job else self._by_call(name, records, part)
                refused += [one for one in verdicts if one.code]
                self.progress()(f"{name}: part {number} written")
        return refused

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

        failed = self._failed(engine, plan, refused)
        counts = bounce_salesforce.counted(engine, failed, total, marked)
        lasting = failed.filter(nw.col("outcome") != "unchanged")
        engine.write(
            lasting.select("record_id", "reason", identifier=nw.col("address")), self.table(REJECTS, "rejects")
        )
        left = lasting.filter((nw.col("outcome") == "deferred") | bounce_rules.still_tried(self.tried_since))
        left = left.select(*OWED).unique(["address"], keep="first", order_by=["code"])
        self.owe(engine, SALESFORCE, left)
        takes = self.requires().takes.read()
        about = {
            **self.about(SALESFORCE),
            "addresses": addresses,
            "left_out": {name: entity["left_out"] for name, entity in takes["entities"].items() if entity["left_out"]},
            "settles": [] if self.dry_run else takes["settles"],
            "oldest_waiting_after_seconds": bounce_rows.oldest_age(engine, left, self.slot),
        }
        self.settle(counts, bounce_limits.rejected_share(counts), about)

    def _failed(self, engine: Engine, plan: Table, refused: list[Verdict]) -> "Frame":
        """The rows of the plan that were refused (none in a rehearsal), with code, outcome and reason."""
        codes = self.table({"record_id": "string", "code": "string"}, "refused")
        with codes.writer() as write:
            for batch in in_batches((one._asdict() for one in refused), codes.schema):
                write(batch)
        failed = engine.read(plan).drop("code").join(engine.read(codes), on="record_id", how="inner")
        reason = bounce_rules.reason(self.tried_since, bounce_salesforce.PASSING)
        return bounce_salesforce.with_outcome(failed).with_columns(reason=reason)


class Report(BounceStep):
    """The run in numbers, for people: this JSON, and one HTML page beside it that needs nothing else."""

    tells = True

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
