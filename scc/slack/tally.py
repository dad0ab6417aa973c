"""What a slot's receipts say, whoever wrote them: this run, a forked worker of it, or an earlier try."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scc import outputs
from scc.catching_up import APART
from scc.errors import SccError

COUNTS = ("planned", "created", "updated", "unchanged", "rejected", "deferred")
# Fill.json, or what Fill left when its counts did not add up; not Fill.part-0001.json
RECEIPT = re.compile(r"[A-Z]\w*(\.failed)?\.json")
FAILED = ".failed.json"


@dataclass(frozen=True)
class Tally:
    """counts: records by outcome, over all receipts; empty where there is none. is_partly: some rows were rejected."""

    counts: dict[str, int] = field(default_factory=dict)
    is_partly: bool = False


def tally(process: str, slot: str) -> Tally:
    """Add up a slot's receipts. A volume that does not answer has none to show."""
    try:
        found = list(_receipts(process, slot))
    except (SccError, OSError):
        return Tally()
    counts = {name: sum(int(one.get(name) or 0) for one in found) for name in COUNTS} if found else {}
    return Tally(counts, any(one["outcome"] == "partly" for one in found))


def _receipts(process: str, slot: str) -> Iterator[dict[str, Any]]:
    top = outputs.root() / process / slot
    for folder, folders, names in os.walk(top):
        if folder == str(top):
            folders[:] = [name for name in folders if name not in APART]
        for name in names:
            done_since = name.endswith(FAILED) and f"{name.removesuffix(FAILED)}.json" in names
            if not RECEIPT.fullmatch(name) or done_since:
                continue
            document = outputs.JsonTarget(Path(folder, name)).read()
            if isinstance(document, dict) and "planned" in document and "outcome" in document:
                yield document
