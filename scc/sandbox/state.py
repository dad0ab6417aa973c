"""A sandbox's state in a file, and quick copies of it.

The file is a DuckDB database: all tables of the store, and one row with what the systems hold in Python: definitions,
syncs, tokens, jobs, limits, fault rules, counters, the clock. Not kept: hooks, connections, the list of requests.

What is held in Python is found, not listed. A *part* is an object of the sandbox that hangs on a system by attributes
when it is new; every sandbox has the same parts. A part's attributes are its state, but for routers, locks and functions;
where they lead to another part, only its path is kept. So whoever adds a part to a system has it saved.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import duckdb

from scc.sandbox.http import Router
from scc.sandbox.store import Store

if TYPE_CHECKING:
    from scc.sandbox.sandbox import Sandbox

FORMAT = 2
LOCKS = (type(threading.Lock()), type(threading.RLock()))
# What a state may be made of: a file that somebody else wrote must not call anything else.
TRUSTED = {"builtins", "collections", "copyreg", "datetime", "decimal", "random", "re", "uuid"}
UNTRUSTED = {"eval", "exec", "open", "getattr", "setattr", "__import__", "compile", "input", "print", "breakpoint"}


class BadState(ValueError):
    """The file holds no state of a sandbox, or one that cannot be read."""


class State:
    """A saved state, from which any number of sandboxes can be started.

    state = State.load("day2.state")
    with state.start() as sandbox: ...          # independent of each other and of the file
    """

    def __init__(self, path: str, parts: bytes, folder: tempfile.TemporaryDirectory[str] | None = None) -> None:
        self.path, self.parts = path, parts
        self._folder = folder  # goes with this object

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> State:
        """Read a state file. Raises OSError when there is none, BadState when it is something else."""
        path = os.fspath(path)
        with Path(path).open("rb"):
            pass  # the plain error for a file that cannot be read
        try:
            database = duckdb.connect(path, read_only=True)
            try:
                found = database.execute("SELECT format, parts FROM staging.sandbox_state").fetchone()
            finally:
                database.close()
        except duckdb.Error as error:
            raise BadState(f"{path} is no state of a sandbox: {str(error).splitlines()[0]}") from None
        if found is None or found[0] != FORMAT:
            raise BadState(f"{path} was saved by another release of the sandbox")
        return cls(path, found[1])

    @classmethod
    def of(cls, sandbox: Sandbox) -> State:
        """The state of a sandbox, kept in a temporary file for as long as this object lives."""
        folder = tempfile.TemporaryDirectory(prefix="scc-sandbox-")
        path = folder.name + "/state"
        save(sandbox, path)
        return cls(path, cls.load(path).parts, folder)

    def start(self, port: int = 0) -> Sandbox:
        """A sandbox in this state that listens. Raises OSError when the port is taken."""
        return self.sandbox(port).start()

    def sandbox(self, port: int = 0) -> Sandbox:
        """A sandbox in this state that does not listen yet."""
        from scc.sandbox.sandbox import Sandbox

        return Sandbox(port=port, state=self)

    def fill(self, sandbox: Sandbox) -> None:
        """Give a sandbox without company this state."""
        sandbox.store.copy_from(self.path)
        sandbox.store.execute("DROP TABLE staging.sandbox_state")
        try:
            saved = Reader(io.BytesIO(self.parts), sandbox.parts).load()
        except (pickle.UnpicklingError, AttributeError, KeyError, ImportError, TypeError) as error:
            raise BadState(f"the state was saved by another release of the sandbox: {error}") from None
        for path, attributes in saved.items():
            vars(sandbox.parts[path]).update(attributes)


def save(sandbox: Sandbox, path: str | os.PathLike[str]) -> None:
    """Write the state to a new file, or over an old one; it appears whole or not at all. Raises OSError."""
    folder = tempfile.mkdtemp(prefix=".scc-sandbox-", dir=Path(path).parent)
    try:
        draft = folder + "/state"
        store = sandbox.store
        with store.lock:
            parts = write_parts(sandbox.parts)
            store.copy_to(draft)
            with duckdb.connect(draft) as database:
                database.execute("CREATE TABLE staging.sandbox_state (format INTEGER, parts BLOB)")
                database.execute("INSERT INTO staging.sandbox_state VALUES (?, ?)", [FORMAT, parts])
        Path(draft).replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- parts ------------------------------------------------------------------------------------------------------------


def find_parts(**roots: Any) -> dict[str, Any]:
    """All parts by path: attribute names joined by dots; a router's handlers count as attributes of who has it."""
    parts: dict[str, Any] = {}
    known: set[int] = set()
    waiting = list(roots.items())
    while waiting:
        path, part = waiting.pop(0)
        if id(part) in known:
            continue
        known.add(id(part))
        parts[path] = part
        for name, value in hanging(part):
            if is_part(value):
                waiting.append((f"{path}.{name}", value))
    return parts


def hanging(part: Any) -> Iterator[tuple[str, Any]]:
    for name, value in vars(part).items():
        if isinstance(value, Router):
            for at, (_, _, handler) in enumerate(value._routes):
                if isinstance(handler, MethodType):
                    yield f"{name}[{at}]", handler.__self__
        else:
            yield name, value


def is_part(value: Any) -> bool:
    """An object of ours that can change. Frozen dataclasses are values."""
    kind = type(value)
    if not kind.__module__.startswith("scc.sandbox") or isinstance(value, Router) or not hasattr(value, "__dict__"):
        return False
    return not (hasattr(kind, "__dataclass_params__") and kind.__dataclass_params__.frozen)


def state_of(part: Any) -> dict[str, Any]:
    """The attributes of a part that are worth keeping."""
    if isinstance(part, Store):
        return {"_names": dict(part._names)}
    return {
        name: value
        for name, value in vars(part).items()
        if not isinstance(value, (Router, FunctionType, MethodType, *LOCKS)) and name != "base_url"
    }


def write_parts(parts: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    Writer(out, parts).dump({path: state_of(part) for path, part in parts.items()})
    return out.getvalue()


class Writer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, parts: dict[str, Any]) -> None:
        super().__init__(file, protocol=5)
        self._paths = {id(part): path for path, part in parts.items()}

    def persistent_id(self, obj: Any) -> str | None:
        return self._paths.get(id(obj))


class Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, parts: dict[str, Any]) -> None:
        super().__init__(file)
        self._parts = parts

    def persistent_load(self, pid: str) -> Any:
        return self._parts[pid]

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("scc.sandbox.") or (module in TRUSTED and name not in UNTRUSTED):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"a state holds no {module}.{name}")
