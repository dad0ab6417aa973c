"""Query jobs of the Bulk API 2.0: the result is kept as a table and rendered as CSV page by page (salesforce.md 3.4)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from scc.sandbox.salesforce.job import DELIMITERS, LINE_ENDINGS, Job, csv_line
from scc.sandbox.salesforce.query import Compiled
from scc.sandbox.salesforce.schema import SField
from scc.sandbox.salesforce.soql import SoqlError, parse
from scc.sandbox.store import literal

if TYPE_CHECKING:
    from scc.sandbox.salesforce import Salesforce


class QueryJob(Job):
    kind = "query"

    def __init__(self, salesforce: Salesforce, text: str, **shared: Any) -> None:
        super().__init__(salesforce, "", **shared)
        self._text = text
        self._table = f"staging.bulk_{self.id}"
        self._compiled: Compiled | None = None

    def compile(self) -> Compiled:
        """Raises SoqlError, also for what only the Bulk API refuses."""
        compiled = self.salesforce.compiler(self.operation == "queryAll").compile(self._text)
        tree = compiled.tree
        if tree.count or compiled.keys or tree.groups:
            raise SoqlError("FEATURENOTENABLED", "Aggregate queries are not supported by the Bulk API")
        if tree.offset:
            raise SoqlError("FEATURENOTENABLED", "OFFSET is not supported by the Bulk API")
        self.object_name = compiled.object.name
        return compiled

    def advance(self, part: int, parts: int) -> None:
        """The result is what the org holds when the job ends."""
        if part < parts or self._compiled:
            return
        try:
            self._compiled = self.compile()
        except SoqlError as refusal:  # a field that was hidden since
            self.fail(f"{refusal.code} : {refusal.message}")
            return
        store = self.salesforce.store
        store.execute(
            f"CREATE TABLE {self._table}({self._compiled.names}) AS {self._compiled.sql}", self._compiled.values
        )
        self.total = store.value(f"SELECT count(*) FROM {self._table}")

    def forget(self) -> None:
        self.salesforce.store.execute(f"DROP TABLE IF EXISTS {self._table}")

    # -- results ----------------------------------------------------------------------------------------------------

    def page(self, first: int, rows: int) -> bytes:
        """Header row and rows, in the order of the SELECT."""
        compiled = self._compiled
        assert compiled is not None
        delimiter, ending = DELIMITERS[self.delimiter], LINE_ENDINGS[self.line_ending]
        if not self.total and not self.salesforce.limits.empty_result_header:
            return b""
        header = csv_line([".".join((*c.path, c.field.name)) for c in compiled.columns], delimiter)
        cells = f" || {literal(delimiter)} || ".join(cell(f"c{i}", c.field) for i, c in enumerate(compiled.columns, 1))
        body = self.salesforce.store.value(
            f"SELECT string_agg(line, '' ORDER BY row) FROM (SELECT rowid AS row, {cells} || {sql_text(ending)} AS line "
            f"FROM {self._table} WHERE rowid >= {first} AND rowid < {first + rows})"
        )
        return (header + ending + (body or "")).encode()

    def locator(self, offset: int) -> str | None:
        """What names the page that begins with this row; None after the last one."""
        return base64.urlsafe_b64encode(f"{offset}".encode()).decode().rstrip("=") if offset < self.total else None

    def offset(self, locator: str | None) -> int | None:
        """The row that a locator names, None when it names none."""
        if not locator:
            return 0
        try:
            text = base64.urlsafe_b64decode(locator + "=" * (-len(locator) % 4)).decode()
        except (binascii.Error, ValueError):
            return None
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 and int(text) < self.total else None

    def shown(self, full: bool = False) -> dict[str, Any]:
        shown = super().shown()
        if full:
            shown |= {
                "jobType": "V2Query",
                "numberRecordsProcessed": self.total,
                "retries": 0,
                "totalProcessingTime": self.took(),
                "isPkChunkingSupported": self._is_chunked(),
            }
            if self.state == "Failed":
                shown["errorMessage"] = self.error
        return shown

    def _is_chunked(self) -> bool:
        """LIMIT and ORDER BY switch chunking by id off."""
        tree = self._compiled.tree if self._compiled else parse(self._text)
        return tree.limit is None and not tree.order


def cell(column: str, found: SField) -> str:
    """SQL of a quoted CSV value; null is empty."""
    text = f"strftime({column}, '%Y-%m-%dT%H:%M:%S.%gZ')" if found.type == "datetime" else f"CAST({column} AS VARCHAR)"
    return f"""'"' || replace(coalesce({text}, ''), '"', '""') || '"'"""


def sql_text(ending: str) -> str:
    return " || ".join(f"chr({ord(character)})" for character in ending)
