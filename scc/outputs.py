"""The outputs folder: whose it is, and files that appear whole or not at all.

An output that exists is a step that is done, so two things must never happen: a half file that looks finished (hence a
temporary name, fsync, rename, fsync of the folder), and an unreachable volume that looks empty (hence only ENOENT counts
as missing; `os.path.exists` says False for a dead mount, testbed.md 5.2).
"""

import errno
import functools
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import luigi

from scc.config import eloqua_credentials, outputs_folder, salesforce_credentials
from scc.errors import ConfigError, VolumeUnavailable

ROOT_FILE = "systems.json"
# GlusterFS answers ESTALE for a moment while another client renames over the file (testbed.md 5.1)
STALE_TRIES = 5
T = TypeVar("T")


class Target(luigi.Target):
    """A file below the outputs folder that is either whole or missing."""

    def __init__(self, path: Path):
        self.path = path

    def exists(self) -> bool:
        """Whether the file is there. Raises VolumeUnavailable when nobody can know."""
        return exists(self.path)

    def __str__(self) -> str:
        return str(self.path)


class JsonTarget(Target):
    """A JSON document, indented for people: receipts, plans, the state of a sync."""

    def read(self) -> Any:
        """The document. Raises ConfigError when the file is not JSON (somebody edited it)."""
        try:
            return json.loads(read_bytes(self.path))
        except ValueError:
            raise ConfigError(f"{self.path} is not JSON: move it away to have this step run again") from None

    def write(self, document: Any) -> None:
        """Replace the document, whole or not at all."""
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def exists(path: Path) -> bool:
    """Whether path is there: only ENOENT means no, and only while the root file still proves the volume is there."""
    if _stat(path):
        return True
    root = outputs_folder() / ROOT_FILE
    if path.is_relative_to(root.parent) and path != root and not _stat(root):
        raise VolumeUnavailable(f"the outputs volume is gone: {root} is missing; mount it, then run again")
    return False


def _stat(path: Path) -> bool:
    try:
        _patiently(path, path.stat)
    except FileNotFoundError:
        return False
    return True


def read_bytes(path: Path) -> bytes:
    """The content of a file that is there. Raises VolumeUnavailable."""
    with reading(path):
        return _patiently(path, path.read_bytes)


def _patiently(path: Path, look: Callable[[], T]) -> T:
    """Look again at a file that another client is just replacing. ENOENT stays what it is."""
    for left in reversed(range(STALE_TRIES)):
        try:
            return look()
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno != errno.ESTALE or not left:
                raise unavailable(path, error) from None
    raise AssertionError("unreachable")


def names(folder: Path) -> list[str]:
    """The names in a folder; none when it is not there. Raises VolumeUnavailable."""
    try:
        return os.listdir(folder)  # noqa: PTH208 (names suffice)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unavailable(folder, error) from None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name what cannot be read, and what to do about it, when an output fails us."""
    try:
        yield
    except OSError as error:
        raise unavailable(path, error) from None


def unavailable(path: Path, error: OSError) -> VolumeUnavailable:
    """The error for a volume that fails us at path."""
    name = errno.errorcode.get(error.errno or 0, "error")
    return VolumeUnavailable(f"the outputs volume does not answer ({name} at {path}): run again when it is back")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, which becomes `path` when the block ends well, and goes away otherwise.

    The file and the folder are synced: a write that a dying GlusterFS brick had accepted is lost without (testbed.md 5.2).
    Raises ConfigError when the folder cannot be written, VolumeUnavailable when the volume fails.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise cannot_write(path.parent, error) from None
    finally:
        _discard(temporary)


def remove(path: Path) -> None:
    """Remove a file of ours, if it is still there. Raises ConfigError or VolumeUnavailable."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path.parent, error) from None


def _discard(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        return  # the volume is gone; the error on its way up says so, OutputCleanup removes what stays behind


def cannot_write(folder: Path, error: OSError) -> ConfigError | VolumeUnavailable:
    """The error for a failed write: a permission is the operator's to mend, anything else the volume's."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return ConfigError(
            f"{folder} cannot be written ({errno.errorcode[error.errno]}): check SCC_OUTPUTS and its mount"
        )
    return unavailable(folder, error)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_once(path: Path, text: str) -> bool:
    """Create path with text, whole, unless it is there already; whether this call created it. By link(2): one winner."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        _sync(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        _sync(path.parent)
        return True
    except OSError as error:
        raise cannot_write(path.parent, error) from None
    finally:
        _discard(temporary)


def root() -> Path:
    """The outputs folder, proven to belong to the configured Eloqua site and Salesforce org.

    The first run writes the root file; another pair is refused, so that a sandbox slot never counts as done for
    production. Raises ConfigError with both pairs named.
    """
    return _root(outputs_folder(), _systems())


def _systems() -> tuple[tuple[str, str], ...]:
    eloqua, salesforce = eloqua_credentials(), salesforce_credentials()
    return (("eloqua_login", eloqua.login_url), ("eloqua_site", eloqua.site), ("salesforce_org", salesforce.url))


@functools.cache
def _root(folder: Path, systems: tuple[tuple[str, str], ...]) -> Path:
    if not folder.is_absolute():
        raise ConfigError("SCC_OUTPUTS is not an absolute path")
    target = JsonTarget(folder / ROOT_FILE)
    create_once(target.path, json.dumps(dict(systems), indent=2) + "\n")
    found = target.read()
    if found != dict(systems):
        owner = found if isinstance(found, dict) else {}
        raise ConfigError(
            f"{folder} belongs to Eloqua site {owner.get('eloqua_site')} ({owner.get('eloqua_login')}) and Salesforce "
            f"{owner.get('salesforce_org')}; this run is configured for {', '.join(value for _, value in systems)}: "
            "set SCC_OUTPUTS to another folder"
        )
    return folder
