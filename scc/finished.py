"""The proof that a process has ended: a marker on the outputs volume, for those who do not know the process.

    <outputs>/<process>/<slot>/[dry-run/]finished.json     which outputs the process needed, and what they say of its outcome

The last thing that a process writes. It holds as long as the outputs that it names are there: one that was moved away to
have its step run again makes the slot unfinished, and so does setting aside the marker itself (scc/catching_up.py).
"""

import os
from pathlib import Path
from typing import Any

from scc.catching_up import APART, READ
from scc.errors import ConfigError
from scc.outputs import JsonTarget, exists, names

FINISHED = "finished.json"


def marker(folder: Path) -> JsonTarget:
    """The marker of a process whose outputs lie in folder."""
    return JsonTarget(folder / FINISHED)


def named(folder: Path) -> dict[str, Any] | None:
    """The outputs that a marker names, relative to its folder, with their outcomes (None where it is no receipt).

    None where the marker is not what a process writes: it then proves nothing.
    """
    try:
        document = marker(folder).read()
    except ConfigError:
        return None
    outputs = document.get("outputs") if isinstance(document, dict) else None
    return outputs if isinstance(outputs, dict) else None


def is_finished(slot: Path) -> bool:
    """Whether a slot's process has ended; rehearsals do not count.

    A process with parameters of its own, which its steps have as well, has a marker in each folder below. Raises
    VolumeUnavailable.
    """
    return _is_finished(slot, slot)


def _is_finished(folder: Path, slot: Path) -> bool:
    if marker(folder).exists():
        outputs = named(folder)
        paths = [Path(os.path.normpath(folder / name)) for name in outputs or {}]
        return outputs is not None and all(path.is_relative_to(slot) and exists(path) for path in paths)
    found = [folder / name for name in names(folder) if name not in (APART if folder == slot else {READ})]
    return bool(found) and all(one.is_dir() and not one.is_symlink() and _is_finished(one, slot) for one in found)
