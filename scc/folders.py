"""Looking into folders, and removing them, while others work beside us: below an open folder, and never through a link.

Names are looked up relative to open folders (dir_fd), a link counts as the link it is, and a folder of another file system
is not entered: whatever is put in a folder's place meanwhile, nothing outside of the first open folder is seen or removed.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# no folder of ours is nearly so deep; each level costs a descriptor
DEEPEST = 40
TRIES = 5
Problems = dict[str, str]


@contextmanager
def opened(path: str, below: int | None = None) -> Iterator[int]:
    """A folder's descriptor, while the block lasts. below: the open folder that a relative path leads down from.

    Raises OSError: ENOTDIR or ELOOP where a part of a relative path is a link.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if below is None:
        descriptor = os.open(path, flags)
    else:
        descriptor = os.dup(below)
        for name in path.split("/") if path else []:
            try:
                step = os.open(name, flags | os.O_NOFOLLOW, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = step
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def walk(folder: int, problems: Problems, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """(path, lstat) of everything below an open folder, a folder before what is in it. What vanishes meanwhile is left out.

    problems: gets, by path, why something could not be looked at; the walk goes on beside it.
    """
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError as error:
        problems[prefix.rstrip("/")] = code(error)
        return
    device = os.fstat(folder).st_dev
    for entry in found:
        path = prefix + entry.name
        try:
            about = entry.stat(follow_symlinks=False)
            yield path, about
            if not stat.S_ISDIR(about.st_mode):
                continue
            if about.st_dev != device or prefix.count("/") >= DEEPEST:
                problems[path] = "EXDEV" if about.st_dev != device else "ENAMETOOLONG"
                continue
            with opened(entry.name, folder) as below:
                yield from walk(below, problems, f"{path}/")
        except FileNotFoundError:
            continue
        except OSError as error:
            problems[path] = code(error)


def code(error: OSError) -> str:
    """An error's symbol, "EACCES"."""
    return errno.errorcode.get(error.errno or 0, "error")


@dataclass
class Contents:
    """What a folder holds. files: all that is no folder; bytes: their sizes, a link's own; newest: the last change of
    anything, seconds since 1970; problems: why parts of it are unknown.
    """

    files: int = 0
    bytes: int = 0
    newest: float = 0.0
    problems: Problems = field(default_factory=dict)

    def add(self, about: os.stat_result) -> None:
        """Count one more."""
        self.newest = max(self.newest, about.st_mtime)
        if not stat.S_ISDIR(about.st_mode):
            self.files += 1
            self.bytes += about.st_size


def remove(name: str, folder: int) -> None:
    """Remove a folder below an open one, links in it as links. Raises OSError; the rest then stays where it is."""
    for left in reversed(range(TRIES)):
        try:
            shutil.rmtree(name, dir_fd=folder)
        except FileNotFoundError:  # the folder, or only something in it, which somebody else removed
            if left and exists(name, folder):
                continue
        return


def exists(name: str, folder: int) -> bool:
    """Whether an open folder has something of that name, a broken link too. Raises OSError."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
