"""What a write did: counts that add up, and the rejected rows with their reasons beside them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scc.errors import Unaccounted
from scc.outputs import JsonTarget, read_bytes
from scc.tables import Schema

# the rows a step could not write: ids and reason codes, beside its receipt
REJECTS: Schema = {"record_id": "string", "identifier": "string", "reason": "string"}


@dataclass
class Counts:
    """Records by what became of them. deferred: single records left for a later run, never an outage."""

    planned: int
    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    rejected: int = 0
    deferred: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Raise Unaccounted unless every planned record has exactly one outcome."""
        found = self.created + self.updated + self.deleted + self.unchanged + self.rejected + self.deferred
        if found != self.planned:
            raise Unaccounted(
                f"{self.planned:,} records were planned, but {self.created:,} created + {self.updated:,} updated + "
                f"{self.deleted:,} deleted + {self.unchanged:,} unchanged + {self.rejected:,} rejected + "
                f"{self.deferred:,} deferred make {found:,}"
            )

    @property
    def rejected_share(self) -> float:
        """Rejected records by planned ones, 0 to 1."""
        return self.rejected / self.planned if self.planned else 0.0


def is_receipt(path: Path) -> bool:
    """Whether a JSON file is a receipt: then what it counts has happened."""
    try:
        document = json.loads(read_bytes(path))
    except ValueError:
        return False
    return isinstance(document, dict) and "planned" in document and document.get("outcome") in ("done", "partly")


class Receipt(JsonTarget):
    """The output of a step that writes to a remote system."""

    def settle(self, counts: Counts, limit: float, about: Mapping[str, Any]) -> str:
        """Write the receipt; its outcome: "done", "partly" (some rows rejected) or "rehearsed" (a dry run).

        limit: the largest share of rejected records a run may end well with. Raises Unaccounted when counts do not add up
        or the share is larger; the receipt then lies beside as <name>.failed.json, and the step counts as not done.
        """
        outcome = "rehearsed" if about.get("dry_run") else "partly" if counts.rejected else "done"
        document = {**about, "outcome": outcome, **asdict(counts)}
        try:
            counts.check()
            if counts.rejected_share > limit:
                raise Unaccounted(
                    f"{counts.rejected:,} of {counts.planned:,} records were rejected, limit {limit:.1%}; their ids and "
                    f"reasons: {self.path.with_suffix('.rejects.parquet')}"
                )
        except Unaccounted:
            JsonTarget(self.path.with_suffix(".failed.json")).write({**document, "outcome": "failed"})
            raise
        self.write(document)
        return outcome
