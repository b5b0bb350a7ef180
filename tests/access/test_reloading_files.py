"""A watched file is read again after each change, and a pipe or a device in its place delays nobody."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.access.api_keys import KeyRing, fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, dump
from gateway.access.reloading_file import MAX_BYTES, ReloadingFile
from gateway.errors import Unavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "watched"
    path.write_bytes(b"old")
    return path


def reading(path: Path) -> ReloadingFile[bytes]:
    return ReloadingFile(path, bytes)


def test_a_change_in_place_under_the_old_time_and_size_is_noticed(path: Path) -> None:
    watched = reading(path)
    before = path.stat()
    assert watched.get() == b"old"
    path.write_bytes(b"new")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_mtime_ns, after.st_size, after.st_ino) == (before.st_mtime_ns, before.st_size, before.st_ino)
    assert watched.get() == b"new"


def test_a_key_that_was_revoked_in_place_under_the_old_time_is_refused(tmp_path: Path) -> None:
    file, keys = tmp_path / "callers.json", [new_key(), new_key()]
    entries = [dump([CallerEntry(Caller("one", frozenset({"infer"})), fingerprint(key))]) for key in keys]
    file.write_bytes(entries[0])
    ring, before = KeyRing(file), file.stat()
    assert ring.of_key(keys[0]) is not None
    file.write_bytes(entries[1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ring.of_key(keys[0]) is None
    assert ring.of_key(keys[1]) is not None


def test_a_file_that_has_not_changed_for_a_while_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[bytes] = []
    watched = ReloadingFile(path, lambda data: reads.append(data) or data)
    monkeypatch.setattr("gateway.access.reloading_file.SETTLED_NS", -1)
    first = watched.get()
    path.chmod(0o600)  # another time of its status, and the same bytes
    assert watched.get() is first
    assert watched.get() is first
    assert len(reads) == 1


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_an_error_at_once(path: Path, make: Callable[[Path], None]) -> None:
    watched = reading(path)
    watched.get()
    path.unlink()
    make(path)
    with pytest.raises(OSError, match="regular file"):
        watched.get()
    with pytest.raises(Unavailable):
        KeyRing(path).of_key("key")


def test_a_file_that_is_too_large_is_an_error(path: Path) -> None:
    path.write_bytes(bytes(MAX_BYTES + 1))
    with pytest.raises(ValueError, match="larger"):
        reading(path).get()


def test_a_link_to_a_file_is_followed(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    assert reading(link).get() == b"old"
