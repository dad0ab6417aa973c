"""Whose an outputs folder is, what counts as missing in it, and that a file there is whole or not at all."""

import errno
import io
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scc import outputs
from scc.errors import ConfigError, VolumeUnavailable
from scc.outputs import JsonTarget, create_once, replacing
from tests.outputs.conftest import full_disk, not_ours

Failing = Callable[..., None]

# what counts as missing


def test_a_file_is_there_or_missing(folder: Path) -> None:
    target = JsonTarget(folder / "enrichment" / "receipt.json")
    assert not target.exists()

    target.write({"planned": 1})

    assert target.exists()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT])
def test_a_volume_that_does_not_answer_is_not_an_empty_one(folder: Path, failing: Failing, error: int) -> None:
    target = JsonTarget(folder / "receipt.json")
    failing("stat", target.path, error)

    with pytest.raises(VolumeUnavailable, match=errno.errorcode[error]):
        target.exists()


def test_a_path_below_a_file_is_not_missing(folder: Path) -> None:
    (folder / "enrichment").write_text("a file where a folder should be")

    with pytest.raises(VolumeUnavailable, match="ENOTDIR"):
        JsonTarget(folder / "enrichment" / "receipt.json").exists()


def test_a_file_that_is_just_being_replaced_is_there(folder: Path, failing: Failing) -> None:
    target = JsonTarget(folder / "receipt.json")
    target.write({})
    failing("stat", target.path, errno.ESTALE, times=2)

    assert target.exists()


def test_nothing_is_missing_on_a_volume_whose_root_file_is_gone(folder: Path) -> None:
    (folder / "systems.json").unlink()

    with pytest.raises(VolumeUnavailable, match="the outputs volume is gone"):
        JsonTarget(folder / "receipt.json").exists()


def test_nothing_is_missing_when_the_root_file_cannot_be_asked_for(folder: Path, failing: Failing) -> None:
    failing("stat", folder / "systems.json", errno.ENOTCONN)

    with pytest.raises(VolumeUnavailable):
        JsonTarget(folder / "receipt.json").exists()


# reading


def test_a_document_comes_back_as_it_was_written(folder: Path) -> None:
    target = JsonTarget(folder / "receipt.json")

    target.write({"reason": "größer als erlaubt", "planned": 2})

    assert target.read() == {"reason": "größer als erlaubt", "planned": 2}
    assert "größer" in target.path.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b'{"planned": 1', b"\xff\xfe\x00"], ids=["empty", "cut", "no text"])
def test_a_document_that_somebody_spoilt_is_named(folder: Path, content: bytes) -> None:
    path = folder / "receipt.json"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"receipt\.json is not JSON"):
        JsonTarget(path).read()


def test_a_document_that_cannot_be_read_is_the_volumes_fault(folder: Path) -> None:
    with pytest.raises(VolumeUnavailable, match="ENOENT"):
        JsonTarget(folder / "receipt.json").read()


def test_a_document_that_is_just_being_replaced_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = JsonTarget(folder / "receipt.json")
    target.write({"planned": 1})
    working, faults = io.open, iter([errno.ESTALE])

    def stale_once(path: object, *arguments: object, **keywords: object) -> object:
        if str(path) == str(target.path) and (error := next(faults, None)):
            raise OSError(error, os.strerror(error))
        return working(path, *arguments, **keywords)

    monkeypatch.setattr(io, "open", stale_once)

    assert target.read() == {"planned": 1}


# writing


def files(folder: Path) -> list[str]:
    """Everything in the folder but the root file."""
    return sorted(path.name for path in folder.iterdir() if path.name != "systems.json")


def test_a_file_appears_when_it_is_whole(folder: Path) -> None:
    with replacing(folder / "table") as temporary:
        temporary.write_text("half")
        assert not (folder / "table").exists()
        assert temporary.parent == folder

    assert files(folder) == ["table"]


@pytest.mark.parametrize("failure", [ValueError("a bad row"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_a_failed_write_leaves_nothing(folder: Path, failure: BaseException) -> None:
    with pytest.raises(BaseException), replacing(folder / "table") as temporary:  # noqa: B017
        temporary.write_text("half")
        raise failure

    assert files(folder) == []


def test_a_failed_write_leaves_the_former_file(folder: Path) -> None:
    target = JsonTarget(folder / "state.json")
    target.write({"sync": "/syncs/7"})

    with pytest.raises(TypeError):
        target.write({"sync": object()})

    assert target.read() == {"sync": "/syncs/7"}


def test_a_killed_write_leaves_no_target(folder: Path) -> None:
    child = os.fork()
    if not child:
        with replacing(folder / "table") as temporary:
            temporary.write_text("half")
            os._exit(0)
    os.waitpid(child, 0)

    assert "table" not in files(folder)


def test_content_is_on_the_disk_before_its_name_and_then_the_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, working = [], os.fsync

    def note(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, (folder / "table").exists()))
        working(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with replacing(folder / "table") as temporary:
        temporary.write_text("content")

    assert synced == [((folder / "table").stat().st_ino, False), (folder.stat().st_ino, True)]


def test_content_that_the_volume_lost_does_not_get_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(descriptor: int) -> None:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    monkeypatch.setattr(os, "fsync", lost)

    with pytest.raises(VolumeUnavailable, match="ENOTCONN"):
        JsonTarget(folder / "receipt.json").write({})
    assert files(folder) == []


def test_a_full_volume_is_the_volumes_fault(folder: Path) -> None:
    with full_disk(), pytest.raises(VolumeUnavailable):
        JsonTarget(folder / "receipt.json").write(["x" * 1000] * 1000)
    assert files(folder) == []


def test_a_folder_that_may_not_be_written_is_the_operators_fault(folder: Path) -> None:
    with not_ours(folder), pytest.raises(ConfigError, match=r"cannot be written.*check SCC_OUTPUTS"):
        JsonTarget(folder / "receipt.json").write({})


def test_a_file_in_the_way_of_a_folder_is_the_operators_fault(folder: Path) -> None:
    (folder / "enrichment").write_text("a file where a folder should be")

    with pytest.raises(ConfigError, match="cannot be written"):
        JsonTarget(folder / "enrichment" / "receipt.json").write({})


def test_of_many_who_create_a_file_one_does(folder: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        created = list(pool.map(lambda number: create_once(folder / "00000001.json", f"{number}"), range(64)))

    assert created.count(True) == 1
    assert (folder / "00000001.json").read_text() == str(created.index(True))
    assert files(folder) == ["00000001.json"]


def test_a_file_created_once_is_on_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))

    create_once(folder / "00000001.json", "{}")

    assert synced == [(folder / "00000001.json").stat().st_ino, folder.stat().st_ino]


# whose folder it is


def test_the_first_run_says_whose_folder_it_is(folder: Path) -> None:
    assert json.loads((folder / "systems.json").read_text()) == {
        "eloqua_login": "https://login.example.com",
        "eloqua_site": "Acme",
        "salesforce_org": "https://acme.example.com",
    }
    assert outputs.root() == folder


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ELOQUA_SITE", "AcmeTest"),
        ("ELOQUA_LOGIN_URL", "https://sandbox.example.com"),
        ("SALESFORCE_URL", "https://acme--test.example.com"),
    ],
)
def test_a_folder_of_other_systems_is_refused(
    folder: Path, credentials: pytest.MonkeyPatch, name: str, value: str
) -> None:
    credentials.setenv(name, value)

    with pytest.raises(ConfigError, match="set SCC_OUTPUTS to another folder") as raised:
        outputs.root()
    assert "Acme " in str(raised.value)
    assert value in str(raised.value)


def test_the_same_systems_written_with_a_slash_are_the_same(folder: Path, credentials: pytest.MonkeyPatch) -> None:
    credentials.setenv("SALESFORCE_URL", "https://acme.example.com/")

    assert outputs.root() == folder


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_spoilt_root_file_is_refused(folder: Path, content: str) -> None:
    outputs._root.cache_clear()
    (folder / "systems.json").write_text(content)

    with pytest.raises(ConfigError):
        outputs.root()


def test_a_relative_folder_is_refused(credentials: pytest.MonkeyPatch) -> None:
    credentials.setenv("SCC_OUTPUTS", "outputs")

    with pytest.raises(ConfigError, match="not an absolute path"):
        outputs.root()


def test_a_folder_that_cannot_be_made_is_the_operators_fault(credentials: pytest.MonkeyPatch, tmp_path: Path) -> None:
    credentials.setenv("SCC_OUTPUTS", str(tmp_path / "new" / "outputs"))

    with not_ours(tmp_path), pytest.raises(ConfigError, match="cannot be written"):
        outputs.root()
