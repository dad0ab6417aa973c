"""Exports and imports that go on where a killed run stopped.

What a run needs for that lies beside the step's output: the definition's uri before its sync is asked for, the sync's uri
the moment it is known, and for an import which rows it holds, and in the end what became of them. While the outcome of an
import is open, `<outputs>/<process>/unfinished/` points to it, for the next run of whatever slot to account for.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scc.config import eloqua as settings
from scc.eloqua.bulk import Bulk, Definition, SyncFailed, SyncPostponed, counts, elq_code
from scc.errors import Refused, Unaccounted, Unavailable
from scc.outputs import JsonTarget, names, remove
from scc.tables import Table

log = logging.getLogger(__name__)

TRIES = 3
GONE = (404, 410)
REJECTS = {"identifier": "string", "code": "string"}
Progress = Callable[[str], None]


def export(bulk: Bulk, parent: str, definition: Mapping[str, Any], table: Table, progress: Progress) -> None:
    """Run an export into a table whose columns are the definition's fields.

    A re-run resumes the sync that an earlier one asked for. Raises what Bulk raises; the table appears only when whole.
    """
    state = JsonTarget(table.path.with_suffix(".sync.json"))
    if state.exists():
        bulk.adopt_export(state.read()["definition"])
    for fresh in (False, True):
        sync = _started(bulk, state, lambda: bulk.define(parent, definition), fresh)
        try:
            bulk.wait(sync, progress)
            rows = _read(bulk, sync, definition["fields"], table, progress)
            break
        except (SyncFailed, SyncPostponed):
            _forget(bulk, state)  # the next run asks anew
            raise
        except Refused as error:
            if error.status not in GONE or fresh:
                raise
            log.info("Eloqua no longer holds sync %s; asking for a new one", sync)
    log.info("export %s: %s rows", sync, f"{rows:,}")
    bulk.delete_definition(state.read()["definition"])


def _started(bulk: Bulk, state: JsonTarget, define: Callable[[], Definition], fresh: bool) -> str:
    """The uri of the sync to wait for: an earlier run's, unless fresh, or a new one."""
    sync = None if fresh else _earlier_sync(bulk, state)
    if sync is None:
        if state.exists():
            bulk.delete_definition(state.read()["definition"])
        definition = define()
        state.write({"definition": definition.uri, "defined_at": definition.created_at})
        sync = _ask(bulk, definition)
    if state.read().get("sync") != sync:
        state.write({**state.read(), "sync": sync})
    return sync


def _earlier_sync(bulk: Bulk, state: JsonTarget) -> str | None:
    """The sync that an earlier run asked for, also when it was killed before it learnt the sync's uri."""
    if not state.exists():
        return None
    known = state.read()
    if "sync" in known:
        log.info("resuming sync %s", known["sync"])
        return str(known["sync"])
    return bulk.find_sync(Definition(known["definition"], known["defined_at"]))


def _ask(bulk: Bulk, definition: Definition) -> str:
    """Ask for a sync. When the answer is lost, it is looked for before it is asked for again: two would collide (3.4)."""
    for left in reversed(range(TRIES)):
        try:
            return bulk.start_sync(definition.uri)
        except Unavailable:
            sync = bulk.find_sync(definition)
            if sync:
                return sync
            if not left:
                raise
    raise AssertionError("unreachable")


def _read(bulk: Bulk, sync: str, columns: Mapping[str, str], table: Table, progress: Progress) -> int:
    rows = 0
    with table.writer() as write:
        for batch in bulk.read_sync(sync, list(columns)):
            write(batch)
            rows += batch.num_rows
            progress(f"{rows:,} rows read")
    return rows


def _forget(bulk: Bulk, state: JsonTarget) -> None:
    bulk.delete_definition(state.read()["definition"])
    remove(state.path)


@dataclass(frozen=True)
class Import:
    """What to import and how its outcome is counted.

    parent: "/customObjects/9/imports". definition: as in eloqua.md 3.4; its fields' names are the columns sent.
    created, updated: the ELQ codes that count them, which differ by entity (3.10). unmatched: the code for rows that an
    import which may only update had no record for; "" where there are none.
    """

    parent: str
    definition: Mapping[str, Any]
    created: str
    updated: str
    unmatched: str = ""

    @property
    def columns(self) -> list[str]:
        return list(self.definition["fields"])

    @property
    def accounting(self) -> dict[str, str]:
        """What a later run needs to know to count this import's outcome."""
        identifier = str(self.definition["identifierFieldName"])
        codes = {"created": self.created, "updated": self.updated, "unmatched": self.unmatched}
        return {**codes, "identifier": identifier}


@dataclass
class Outcome:
    """What Eloqua did with the rows sent.

    began: Eloqua's ISO stamp of the first definition, "" when nothing was sent. syncs: their uris. rejects: tables of
    identifier and ELQ code.
    """

    sent: int = 0
    created: int = 0
    updated: int = 0
    rejected: int = 0
    unmatched: int = 0
    began: str = ""
    syncs: list[str] = field(default_factory=list)
    rejects: list[Table] = field(default_factory=list)

    def add(self, result: Mapping[str, Any], rejects: Table) -> None:
        self.sent += result["rows"]
        self.created += result["created"]
        self.updated += result["updated"]
        self.rejected += result["rejected"]
        self.unmatched += result["unmatched"]
        self.began = self.began or result["began"]
        self.syncs.append(result["sync"])
        if result["rejected"]:
            self.rejects.append(rejects)


@dataclass(frozen=True)
class Parts:
    """Where an import keeps what it knows: <name>.part-0001.json and so on in folder, pointed to from unfinished.

    unfinished: a folder beside the slots, so that runs of other slots find what this one leaves.
    """

    folder: Path
    name: str
    unfinished: Path

    def state(self, number: int) -> JsonTarget:
        return JsonTarget(self.folder / f"{self.name}.part-{number:04}.json")

    def pointer(self, state: JsonTarget) -> JsonTarget:
        place = state.path.relative_to(self.unfinished.parent)
        return JsonTarget(self.unfinished / "+".join(place.parts))


def import_table(bulk: Bulk, what: Import, rows: Table, parts: Parts, progress: Progress) -> Outcome:
    """Import a table's rows, in its order, in parts of one sync each; finished parts are not sent again.

    The rejected rows of a part lie beside its state. Raises Unaccounted when Eloqua's counts do not add up to the rows
    sent, and what Bulk raises.
    """
    total = Outcome()
    position, number = 0, 1
    while True:
        state = parts.state(number)
        result = state.read().get("result") if state.exists() else None
        if result is None:
            result = _import_part(
                bulk, what, _Posts(rows, what.columns, position), state, parts.pointer(state), progress
            )
            if result is None:
                return total
        total.add(result, _rejects(state))
        position += result["rows"]
        number += 1


def settle(bulk: Bulk, unfinished: Path, progress: Progress) -> None:
    """Account for the imports that earlier runs, of whatever slot, asked for and left behind.

    One whose sync was never asked for, or failed, is forgotten: its rows are still where they were, and are read again.
    Raises Unaccounted as import_table does, once.
    """
    for name in sorted(names(unfinished)):
        pointer = JsonTarget(unfinished / name)
        state = JsonTarget(unfinished.parent / pointer.read()["state"])
        if state.exists() and "result" not in state.read():
            log.info("settling the import that an earlier run left: %s", state.path.name)
            sync = _earlier_sync(bulk, state)
            try:
                if sync:
                    _finish_part(bulk, state, sync, progress)
                else:
                    _forget(bulk, state)
            except (SyncFailed, SyncPostponed) as error:
                log.warning("the import that an earlier run left has failed: %s", error)
            except Unaccounted:
                remove(pointer.path)
                raise
        remove(pointer.path)


def _import_part(
    bulk: Bulk, what: Import, posts: "_Posts", state: JsonTarget, pointer: JsonTarget, progress: Progress
) -> dict[str, Any] | None:
    """Send one part, or settle one that an earlier run sent; None when no row is left."""
    sync = _earlier_sync(bulk, state) if state.exists() and "rows" in state.read() else None
    if sync is None:
        if state.exists():
            bulk.delete_definition(state.read()["definition"])
        staged = _stage(bulk, what, posts, state, progress)
        if staged is None:
            return None
        pointer.write({"state": str(state.path.relative_to(pointer.path.parent.parent))})
        sync = _ask(bulk, staged)
    result = _finish_part(bulk, state, sync, progress)
    remove(pointer.path)
    return result


def _finish_part(bulk: Bulk, state: JsonTarget, sync: str, progress: Progress) -> dict[str, Any]:
    """Wait for a part's sync, and record in its state what became of the rows."""
    known = {**state.read(), "sync": sync}
    state.write(known)
    try:
        status = bulk.wait(sync, progress)
    except (SyncFailed, SyncPostponed):
        _forget(bulk, state)  # the next run sends these rows again, which is idempotent
        raise
    result = {"began": known["defined_at"], **_account(bulk, known, status, _rejects(state))}
    state.write({**known, "result": result})
    bulk.delete_definition(known["definition"])
    return result


def _rejects(state: JsonTarget) -> Table:
    return Table(state.path.with_suffix(".rejects.parquet"), REJECTS)


def _stage(bulk: Bulk, what: Import, posts: "_Posts", state: JsonTarget, progress: Progress) -> Definition | None:
    """Upload one part under a definition of its own.

    When an upload's answer is lost, the rows may lie there twice: the definition is given up and a new one filled.
    """
    if not posts.any():
        return None
    for left in reversed(range(TRIES)):
        definition = bulk.define(what.parent, what.definition)
        known = {"definition": definition.uri, "defined_at": definition.created_at, **what.accounting}
        state.write(known)
        rows = 0
        try:
            for count, body in posts.one_sync():
                bulk.upload(definition.uri, body)
                rows += count
                progress(f"{rows:,} rows sent")
        except Unavailable:
            bulk.delete_definition(definition.uri)
            if not left:
                raise
            continue
        state.write({**known, "rows": rows})
        return definition
    raise AssertionError("unreachable")


def _account(bulk: Bulk, part: Mapping[str, Any], status: str, rejects: Table) -> dict[str, Any]:
    """Read logs and rejects of a finished import sync, and make them add up."""
    sync, sent = part["sync"], part["rows"]
    totals = counts(bulk.logs(sync))
    rejected = 0
    if status != "success":
        rejected = _keep_rejects(bulk, part["identifier"], sync, rejects)
    created, updated = totals.get(part["created"], 0), totals.get(part["updated"], 0)
    unmatched = totals.get(part["unmatched"], 0)
    staged = totals.get("ELQ-00130", sent)
    log.info(
        "import %s: %s rows sent, %s updated, %s created, %s rejected, %s without a record",
        *(sync, sent, updated, created, rejected, unmatched),
    )
    if staged != sent or created + updated + rejected + unmatched != sent:
        raise Unaccounted(
            f"Eloqua's sync {sync.rsplit('/', 1)[-1]}: {sent:,} rows sent, {staged:,} staged, but {created:,} created + "
            f"{updated:,} updated + {rejected:,} rejected + {unmatched:,} without a record; look at its log "
            "in Eloqua before the next run"
        )
    found = {"created": created, "updated": updated, "rejected": rejected, "unmatched": unmatched}
    return {"rows": sent, **found, "sync": sync}


def _keep_rejects(bulk: Bulk, identifier: str, sync: str, table: Table) -> int:
    import pyarrow as pa

    count = 0
    with table.writer() as write:
        for page in _in_pages(bulk.rejects(sync), 1000):
            identifiers = [str(reject["fieldValues"].get(identifier, "")) for reject in page]
            codes = [elq_code(reject) for reject in page]
            write(pa.RecordBatch.from_pydict({"identifier": identifiers, "code": codes}))
            count += len(page)
    return count


def _in_pages(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    page = []
    for item in items:
        page.append(item)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page


class _Posts:
    """The bodies of one part's uploads, cut by bytes: 32 MB a POST, 500 POSTs and about 250 MB a sync (4.1)."""

    def __init__(self, table: Table, columns: Sequence[str], position: int):
        self._table, self._columns, self._position = table, list(columns), position
        self._limits = settings()

    def any(self) -> bool:
        return next(self._rows(), None) is not None

    def one_sync(self) -> Iterator[tuple[int, bytes]]:
        """(rows, JSON array) for each upload until a sync is full or no row is left."""
        pieces: list[bytes] = []
        size = sent_bytes = posts = 0
        for row in self._rows():
            if pieces and size + len(row) + 2 > self._limits.post_bytes:
                yield len(pieces), b"[" + b",".join(pieces) + b"]"
                posts, sent_bytes = posts + 1, sent_bytes + size
                pieces, size = [], 0
                if posts == self._limits.posts_per_sync or sent_bytes >= self._limits.sync_bytes:
                    return
            pieces.append(row)
            size += len(row) + 1
        if pieces:
            yield len(pieces), b"[" + b",".join(pieces) + b"]"

    def _rows(self) -> Iterator[bytes]:
        skip = self._position
        for batch in self._table.batches():
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            for row in batch.slice(skip).select(self._columns).to_pylist():
                yield json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
            skip = 0
