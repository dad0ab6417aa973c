"""Writing records, by whichever API they come: insert, update, upsert, delete, with a verdict for each row.

Rows are taken in order, a chunk at a time: read what the chunk needs, decide row by row, write all that passed in a few
statements. A row that is refused leaves the others alone; whoever wants all or none rolls the whole unit back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scc.sandbox.http import Fate
from scc.sandbox.salesforce import members, rows, values
from scc.sandbox.salesforce.ids import make_id, normal
from scc.sandbox.salesforce.rules import Context, Draft, check
from scc.sandbox.salesforce.schema import SField, SObject
from scc.sandbox.salesforce.settings import USER_ID
from scc.sandbox.salesforce.values import RowError
from scc.sandbox.store import quoted

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce

CHUNK = 2000
UPSERT_CHUNK = 200  # the transaction of Salesforce, in which an external id may stand once (salesforce.md 3.2)
# Numbers of new ids start here, above every seeded record.
FIRST_NUMBER = 62**5 // 2
CLOSED = ("User", "Organization")


@dataclass(frozen=True)
class Options:
    """How rows are meant. csv: texts, where "" changes nothing and #N/A is null. assign: run the Lead assignment rule.
    save_duplicates: override duplicate rules that only alert."""

    csv: bool = False
    assign: bool = True
    save_duplicates: bool = False


@dataclass
class Verdict:
    """What became of a row; `matches` are the ids when an external id fits several records."""

    id: str | None = None
    created: bool = False
    errors: list[RowError] = field(default_factory=list)
    matches: list[str] = field(default_factory=list)

    @property
    def success(self) -> bool:
        return not self.errors


class Writer:
    def __init__(self, salesforce: Salesforce) -> None:
        self._salesforce, self._store, self._clock = salesforce, salesforce.store, salesforce.clock

    # -- the four operations ----------------------------------------------------------------------------------------

    def insert(self, known: SObject, given: Sequence[Mapping[str, Any]], options: Options) -> list[Verdict]:
        return [v for chunk in chunks(given, CHUNK) for v in self._insert(known, chunk, options)]

    def update(self, known: SObject, given: Sequence[tuple[Any, Mapping[str, Any]]], options: Options) -> list[Verdict]:
        """given: (id, values) each."""
        return [v for chunk in chunks(given, CHUNK) for v in self._update(known, chunk, options)]

    def upsert(
        self, known: SObject, key: SField, given: Sequence[tuple[Any, Mapping[str, Any]]], options: Options
    ) -> list[Verdict]:
        """given: (value of the external id field, values) each; key may be Id."""
        verdicts: list[Verdict] = []
        for chunk in chunks(given, CHUNK):
            # A key that comes again in a later transaction must find what the earlier one wrote.
            group = {fold(value): i // UPSERT_CHUNK for i, (value, _) in enumerate(chunk)}
            apart = any(group[fold(value)] != i // UPSERT_CHUNK for i, (value, _) in enumerate(chunk) if value)
            for part in chunks(chunk, UPSERT_CHUNK if apart else CHUNK):
                verdicts += self._upsert(known, key, part, options)
        return verdicts

    def delete(self, known: SObject, ids: Sequence[Any], hard: bool = False) -> list[Verdict]:
        """To the recycle bin, or for good."""
        return [v for chunk in chunks(ids, CHUNK) for v in self._delete(known, chunk, hard)]

    # -- insert and update ------------------------------------------------------------------------------------------

    def _insert(self, known: SObject, given: Sequence[Mapping[str, Any]], options: Options) -> list[Verdict]:
        drafts = []
        for sent in given:
            draft = Draft(known, None, None)
            draft.attempt(self._take, draft, sent, options)
            drafts.append(draft)
        context = self._context(known, drafts, options)
        now = self._clock.naive
        with self._salesforce.unit():
            for draft in drafts:
                if draft.error is None:
                    draft.new = {**self._blank(known, now), **draft.typed}
                    draft.attempt(check, draft, context)
                if draft.error is None:
                    number = self._store.next_number("salesforce " + known.name, FIRST_NUMBER)
                    draft.id = make_id(known.prefix, number)
                    draft.new["Id"] = draft.id
                    context.keep(draft)
            made = [draft for draft in drafts if draft.error is None]
            rows.insert(self._store, known, [draft.new for draft in made])
            shown = sorted({n for d in made for n in d.new if n in d.typed or n in d.derived})
            rows.log(self._store, known, "create", shown, [(d.new["Id"], {}, d.new) for d in made])
            members.after_insert(self._salesforce, known, [draft.new for draft in made])
        return [Verdict(draft.id, draft.error is None, [draft.error] if draft.error else []) for draft in drafts]

    def _update(
        self, known: SObject, given: Sequence[tuple[Any, Mapping[str, Any]]], options: Options
    ) -> list[Verdict]:
        drafts = []
        for record_id, sent in given:
            draft = Draft(known, None, None)
            draft.attempt(identify, draft, record_id)
            draft.attempt(self._take, draft, sent, options)
            drafts.append(draft)
        before = rows.by_id(self._store, known, {d.id for d in drafts if d.id})
        state = dict(before.items())
        context = self._context(known, drafts, options, before)
        now = self._clock.naive
        changed: dict[str, dict[str, Any]] = {}
        with self._salesforce.unit():
            for draft in drafts:
                if draft.error is None:
                    draft.attempt(reach, draft, state.get(draft.id or ""))
                if draft.error is None:
                    draft.old = state[draft.id or ""]
                    draft.new = {**draft.old, **draft.typed, **stamped(now)}
                    draft.attempt(check, draft, context)
                if draft.error is None:
                    context.keep(draft)
                    state[draft.id or ""] = changed[draft.id or ""] = draft.new
            names = sorted(
                {n for i, new in changed.items() for n, v in new.items() if v != before[i][n] and n != "hidden_"}
            )
            rows.update(self._store, known, names, list(changed.values()))
            shown = [n for n in names if n not in STAMPS]
            rows.log(self._store, known, "update", shown, [(i, before[i], new) for i, new in changed.items()])
            members.after_update(self._salesforce, known, [(before[i], new) for i, new in changed.items()])
        return [Verdict(draft.id, False, [draft.error] if draft.error else []) for draft in drafts]

    def _take(self, draft: Draft, sent: Mapping[str, Any], options: Options) -> None:
        """Read the values that were sent. Raises RowError."""
        known, creating = draft.known, draft.id is None
        read, unwritable = values.from_csv if options.csv else values.from_json, []
        if known.name in CLOSED:
            raise RowError("INVALID_TYPE_FOR_OPERATION", f"entity type cannot be written: {known.name}")
        for name, value in sent.items():
            if name == "attributes" or (options.csv and value == ""):
                continue
            if "." in name or isinstance(value, dict):
                self._take_link(draft, name, value)
                continue
            found = known.field(name)
            if found is None or self._salesforce.is_hidden(known, found):
                raise RowError("INVALID_FIELD", f"No such column '{name}' on sobject of type {known.name}")
            if found.type == "id":
                if creating:
                    raise RowError("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", "Id")
                continue
            if ("C" if creating else "U") not in found.rights or self._salesforce.is_locked(known, found):
                unwritable.append(found.name)
                continue
            draft.typed[found.name] = read(found, value)
        if unwritable:
            raise RowError(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                f"Unable to create/update fields: {', '.join(unwritable)}. Please check the security settings of this "
                "field and verify that it is read/write for your profile or permission set.",
                *unwritable,
            )

    def _take_link(self, draft: Draft, name: str, value: Any) -> None:
        """A parent by its external id: `Account.Key__c` in CSV, {"Account": {"Key__c": ...}} in JSON."""
        if isinstance(value, dict):
            keys = [key for key in value if key != "attributes"]
            relation, key, value = name, keys[0] if len(keys) == 1 else "", value.get(keys[0]) if keys else None
        else:
            relation, _, key = name.partition(".")
        link = draft.known.relationship(relation)
        parent = self._salesforce.schema.find(link.parent[1]) if link and link.parent else None
        found = parent.field(key) if parent else None
        if link is None or parent is None or found is None or not (found.external_id or found.name == "Id"):
            raise RowError("INVALID_FIELD", f"No such column '{name}' on sobject of type {draft.known.name}")
        if ("C" if draft.id is None else "U") not in link.rights:
            raise RowError("INVALID_FIELD_FOR_INSERT_UPDATE", f"Unable to create/update fields: {link.name}", link.name)
        if value in (None, values.NULL):
            draft.typed[link.name] = None
            return
        wanted = values.from_json(found, value)
        matches = self._matches(parent, found, [wanted]).get(fold(wanted), [])
        if len(matches) != 1:
            shown = f"Foreign key external ID: {value} not found for field {found.name} in entity {parent.name}"
            raise RowError("INVALID_FIELD", shown)
        draft.typed[link.name] = matches[0]

    def _context(
        self,
        known: SObject,
        drafts: Iterable[Draft],
        options: Options,
        before: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Context:
        return Context(self._salesforce, known, [d for d in drafts if d.error is None], before or {}, options)

    def _blank(self, known: SObject, now: Any) -> dict[str, Any]:
        """A new record before anything was sent, all columns."""
        row: dict[str, Any] = {f.name: False if f.type == "boolean" else None for f in known.fields.values()}
        for name in ("OwnerId", "CreatedById"):
            if name in row:
                row[name] = USER_ID
        return {**row, **stamped(now, known), "CreatedDate": now, "hidden_": False}

    # -- upsert and delete ------------------------------------------------------------------------------------------

    def _upsert(
        self, known: SObject, key: SField, given: Sequence[tuple[Any, Mapping[str, Any]]], options: Options
    ) -> list[Verdict]:
        verdicts: list[Verdict | None] = [None] * len(given)
        wanted: list[Any] = [None] * len(given)
        for i, (sent, _) in enumerate(given):
            try:
                wanted[i] = values.from_json(key, sent)
                if wanted[i] is None and key.name != "Id":
                    raise RowError("MISSING_ARGUMENT", f"{key.name} not specified")
            except RowError as refusal:
                verdicts[i] = Verdict(errors=[refusal])
        often = Counter(fold(value) for value in wanted if value is not None)
        matches = {} if key.name == "Id" else self._matches(known, key, [v for v in wanted if v is not None])
        creates, updates = [], []
        for i, (sent, row) in enumerate(given):
            if verdicts[i]:
                continue
            found = [wanted[i]] if key.name == "Id" and wanted[i] else matches.get(fold(wanted[i]), [])
            if wanted[i] is not None and often[fold(wanted[i])] > 1:
                error = RowError("DUPLICATE_VALUE", f"Duplicate external id specified: {sent}", key.name)
                verdicts[i] = Verdict(errors=[error])
            elif len(found) > 1:
                shown = f"{key.name}: more than one record found for external id field: [{', '.join(found)}]"
                verdicts[i] = Verdict(errors=[RowError("DUPLICATE_EXTERNAL_ID", shown)], matches=found)
            elif found:
                updates.append((i, (found[0], {n: v for n, v in row.items() if n.lower() != key.name.lower()})))
            elif key.name == "Id":
                creates.append((i, {n: v for n, v in row.items() if n.lower() != "id"}))
            else:
                creates.append((i, {**{n: v for n, v in row.items() if n.lower() != key.name.lower()}, key.name: sent}))
        with self._salesforce.unit():
            for done, rows_ in (
                (self._insert(known, [row for _, row in creates], options), creates),
                (self._update(known, [row for _, row in updates], options), updates),
            ):
                for (i, _), verdict in zip(rows_, done, strict=True):
                    verdicts[i] = verdict
        return [verdict or Verdict() for verdict in verdicts]

    def _matches(self, known: SObject, key: SField, wanted: Sequence[Any]) -> dict[Any, list[str]]:
        """The live records with these values of a field: ids by folded value."""
        if not wanted:
            return {}
        column = f"lower(CAST({quoted(key.name)} AS VARCHAR))"
        found = self._store.rows(
            f"SELECT {column}, Id FROM {known.table} WHERE NOT IsDeleted AND {column} IN {rows.TEXTS} ORDER BY Id",
            [rows.texts(fold(value) for value in wanted)],
        )
        matches: dict[Any, list[str]] = {}
        for value, record_id in found:
            matches.setdefault(value, []).append(record_id)
        return matches

    def matches(self, known: SObject, key: SField, sent: Any) -> list[str]:
        """The ids of the live records that an external id names. Raises RowError."""
        wanted = values.from_json(key, sent)
        return self._matches(known, key, [wanted]).get(fold(wanted), []) if wanted is not None else []

    def _delete(self, known: SObject, ids: Sequence[Any], hard: bool) -> list[Verdict]:
        drafts = []
        for record_id in ids:
            draft = Draft(known, None, None)
            draft.attempt(identify, draft, record_id)
            drafts.append(draft)
        before = rows.by_id(self._store, known, {d.id for d in drafts if d.id})
        context = self._context(known, [], Options())
        gone: dict[str, dict[str, Any]] = {}
        for draft in drafts:
            if draft.error is None:
                row = before.get(draft.id or "")
                draft.attempt(reach, draft, {**row, "IsDeleted": True} if row and draft.id in gone else row)
            if draft.error is None:
                draft.old = draft.new = before[draft.id or ""]
                draft.attempt(context.take_locks, draft)
            if draft.error is None:
                gone[draft.id or ""] = before[draft.id or ""]
        self.remove(known, gone, hard)
        return [Verdict(draft.id, False, [draft.error] if draft.error else []) for draft in drafts]

    def remove(self, known: SObject, gone: Mapping[str, Mapping[str, Any]], hard: bool = False) -> None:
        """Delete records that exist, with whatever hangs on them."""
        if not gone:
            return
        with self._salesforce.unit():
            if hard:
                self._store.execute(f"DELETE FROM {known.table} WHERE Id IN {rows.TEXTS}", [rows.texts(gone)])
            else:
                self._store.execute(
                    f"UPDATE {known.table} SET IsDeleted = true, SystemModstamp = ? WHERE Id IN {rows.TEXTS}",
                    [self._clock.naive, rows.texts(gone)],
                )
            names = [n for n in next(iter(gone.values())) if n != "hidden_"]
            rows.log(self._store, known, "delete", names, [(i, old, {}) for i, old in gone.items()])
            members.after_delete(self._salesforce, known, list(gone.values()))


def spared(
    fate: Fate,
    first: int,
    records: Sequence[dict[str, Any]],
    write: Callable[[Sequence[dict[str, Any]]], list[Verdict]],
) -> list[Verdict]:
    """Write the records that a fault spares and refuse the others; `first` is the first one's number in the request."""
    refused = [fate.rejects(number) for number in range(first, first + len(records))]
    if not any(refused):
        return write(records)
    written = iter(write([record for record, out in zip(records, refused, strict=True) if not out]))
    error = RowError(fate.code or "UNABLE_TO_LOCK_ROW", "the record was refused as a fault told it to be")
    return [
        Verdict(normal(str(record.get("Id"))), errors=[error]) if out else next(written)
        for record, out in zip(records, refused, strict=True)
    ]


STAMPS = ("LastModifiedDate", "SystemModstamp", "LastModifiedById")


def stamped(now: Any, known: SObject | None = None) -> dict[str, Any]:
    """The stamps of a change; `known` is asked whether it has a modifier."""
    stamps = {"LastModifiedDate": now, "SystemModstamp": now}
    return {**stamps, "LastModifiedById": USER_ID} if known and known.field("LastModifiedById") else stamps


def identify(draft: Draft, record_id: Any) -> None:
    """Raises RowError for what is no id of the object."""
    if record_id is None or record_id == "":
        raise RowError("MISSING_ARGUMENT", "Id not specified in an update call")
    known = normal(record_id) if isinstance(record_id, str) else None
    if known is None:
        raise RowError("MALFORMED_ID", f"Record ID: id value of incorrect type: {values.cut(str(record_id))}", "Id")
    draft.id = known
    if known[:3] != draft.known.prefix:
        raise RowError("MALFORMED_ID", f"Record ID: id value of incorrect type: {known}", "Id")


def reach(draft: Draft, row: Mapping[str, Any] | None) -> None:
    """Raises RowError unless the record is there for its writer."""
    if row is None:
        raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    if row["IsDeleted"]:
        raise RowError("ENTITY_IS_DELETED", "entity is deleted")
    if row["hidden_"]:
        raise RowError(
            "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "insufficient access rights on cross-reference id"
        )


def fold(value: Any) -> str:
    return str(value).lower()


def chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (items[at : at + size] for at in range(0, len(items), size))
