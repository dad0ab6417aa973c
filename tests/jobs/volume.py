"""An outputs folder as runs of long ago leave it, for the tests of OutputCleanup."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DAY = 86_400


@dataclass
class Volume:
    """An outputs folder. Ages are days before now; whatever is written is as old as its slot."""

    root: Path
    now: float

    def slot_name(self, age: float) -> str:
        """The slot of a run so many days ago."""
        return time.strftime("%Y-%m-%dT%H%M", time.gmtime(self.now - age * DAY))

    def write(self, path: str, age: float, text: str = "{}") -> Path:
        """Write a file, with the folders above it."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        self.age(file, age)
        return file

    def age(self, path: Path, age: float) -> None:
        """Make a path, and the folders above it up to its process's, look so old."""
        for one in [path, *path.parents]:
            if one == self.root or one.parent == self.root:
                return
            os.utime(one, (self.now - age * DAY, self.now - age * DAY), follow_symlinks=False)

    def slot(self, age: float, process: str = "enrichment", finished: bool = True, read: int | None = None) -> Path:
        """A slot of a run so many days ago: an export, a receipt, and the process's proof that it ended."""
        name = f"{process}/{self.slot_name(age)}"
        self.write(f"{name}/events/Export.parquet", age, "x" * 1000)
        if read is not None:
            self.write(f"{name}/read.json", age, json.dumps({"lease": read}))
        if finished:
            self.write(f"{name}/events/Fill.json", age)
            self.write(f"{name}/finished.json", age, json.dumps({"outputs": {"events/Fill.json": "done"}}))
        return self.root / name

    def rehearsal(self, age: float, process: str = "enrichment") -> Path:
        """What a dry run so many days ago left."""
        name = f"{process}/{self.slot_name(age)}/dry-run"
        self.write(f"{name}/events/Decide.parquet", age, "x" * 500)
        return self.root / name

    def lease(self, number: int, age: float, slot: str, process: str = "enrichment", ends: str = "released") -> None:
        """The files of a run's lease. ends: further files, "released wrote"."""
        self.write(f"{process}/lease/{number:08}.json", age, json.dumps({"slot": slot}))
        for end in ends.split():
            self.write(f"{process}/lease/{number:08}.{end}", age, slot if end == "wrote" else "")

    def paths(self) -> set[str]:
        """All that is there, but for the clean-up's own folder."""
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*")}
        return {path for path in found if path.partition("/")[0] not in ("output_cleanup", "systems.json")}

    def receipt(self, slot: str, dry_run: bool = False) -> dict[str, Any]:
        """The receipt of a clean-up."""
        folder = self.root / "output_cleanup" / slot / ("dry-run" if dry_run else "")
        return json.loads((folder / "RemoveOutputs.json").read_text())
