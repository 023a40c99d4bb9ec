import errno
import os

import pytest
from adaptbench import UserError
from adaptbench.harness.store import files
from adaptbench.harness.store.files import append, disk_errors, make_folder, write_atomic


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EIO, "nothing written so far is lost"),
    ],
)
def test_an_error_of_the_disk_says_where_and_what_to_do(tmp_path, code, advice):
    with pytest.raises(UserError) as caught, disk_errors(tmp_path / "x"):
        raise OSError(code, os.strerror(code))
    assert caught.value.where == str(tmp_path / "x")
    assert caught.value.what == f"cannot write: {os.strerror(code)}"
    assert advice in caught.value.todo


def test_a_file_where_a_folder_is_needed_is_an_error_of_the_user(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(UserError, match=r"a file is where a folder is needed"):
        make_folder(tmp_path / "x" / "y")
    with pytest.raises(UserError, match=r"a file is where a folder is needed"):
        make_folder(tmp_path / "x")


def test_a_new_folder_is_synced_in_its_parent(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "_sync_folder", synced.append)
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert synced == [tmp_path, tmp_path / "a"]
    make_folder(tmp_path / "a" / "b")
    assert len(synced) == 2


def test_an_atomic_write_replaces_the_file_and_leaves_no_draft(tmp_path):
    path = tmp_path / "new" / "x.json"
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".x.json.tmp").write_bytes(b"of a killed process")
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert list((tmp_path / "new").iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_atomic_write_leaves_the_old_content_and_no_draft(tmp_path, monkeypatch, call):
    path = tmp_path / "x"
    write_atomic(path, b"old")

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(UserError, match=r"the disk is full"):
            write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_what_need_not_be_durable_is_not_synced(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle) or real(handle))
    write_atomic(tmp_path / "x", b"x", durable=False)
    assert synced == []
    write_atomic(tmp_path / "x", b"y")
    assert len(synced) == 2, "the file, and the folder that names it"


def test_what_is_appended_is_on_disk_on_return(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size) or real(handle))
    append(tmp_path / "x", b"one\n")
    assert synced[0] == 4
    assert len(synced) == 2, "a new file is synced in its folder too"
    append(tmp_path / "x", b"two\n")
    assert synced[2:] == [8]
    assert (tmp_path / "x").read_bytes() == b"one\ntwo\n"


def test_an_append_that_does_not_fit_is_taken_back(tmp_path, monkeypatch):
    append(tmp_path / "x", b"one\n")

    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"the disk is full"):
            append(tmp_path / "x", b"two\n")
    assert (tmp_path / "x").read_bytes() == b"one\n"
    append(tmp_path / "x", b"three\n")
    assert (tmp_path / "x").read_bytes() == b"one\nthree\n"


def test_a_device_that_is_full_is_an_error_of_the_user():
    from pathlib import Path

    with pytest.raises(UserError, match=r"^/dev/full: cannot write: No space left on device; the disk is full"):
        append(Path("/dev/full"), b"x")
