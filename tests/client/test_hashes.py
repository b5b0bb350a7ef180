"""The cache of digests: it saves hashing, and never trusts a file that may be another."""

import hashlib
import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.client.hashes import RACY_NS, HashCache, Known, Stat, cache_folder
from gateway.client.local_files import absolute
from gateway.client.scanning import Digests
from tests.examples import examples

NOW = 1_800_000_000_000_000_000


def written(path: Path, data: bytes = b"bytes", *, seconds_ago: float = 60) -> Path:
    path.write_bytes(data)
    then = time.time_ns() - int(seconds_ago * 1e9)
    os.utime(path, ns=(then, then))
    return path


def digest_of(path: Path, folder: Path) -> str:
    ((_, known),) = Digests(absolute([path]), HashCache(folder), dicom=False)
    return known.sha256


def read_bytes_of(path: Path, folder: Path) -> int:
    """Bytes that were read to learn the digest."""
    seen = [0]
    list(Digests(absolute([path]), HashCache(folder), lambda done, total: seen.append(done), dicom=False))
    return max(seen)


def test_a_file_that_is_as_it_was_is_not_read_again(tmp_path: Path) -> None:
    path = written(tmp_path / "f")
    assert [read_bytes_of(path, tmp_path / "c") for _ in range(3)] == [5, 0, 0]
    assert digest_of(path, tmp_path / "c") == hashlib.sha256(b"bytes").hexdigest()


def test_a_file_of_another_size_is_not_trusted(tmp_path: Path) -> None:
    path = written(tmp_path / "f")
    first, stat = digest_of(path, tmp_path / "c"), path.stat()
    path.write_bytes(b"other")
    path.write_bytes(b"longer")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digest_of(path, tmp_path / "c") == hashlib.sha256(b"longer").hexdigest() != first


def test_a_file_of_another_time_is_not_trusted(tmp_path: Path) -> None:
    path = written(tmp_path / "f")
    digest_of(path, tmp_path / "c")
    mtime = path.stat().st_mtime_ns
    path.write_bytes(b"other")
    os.utime(path, ns=(mtime + 1, mtime + 1))
    assert digest_of(path, tmp_path / "c") == hashlib.sha256(b"other").hexdigest()


def test_a_file_put_in_its_place_with_the_same_size_and_time_is_not_trusted(tmp_path: Path) -> None:
    path, other = written(tmp_path / "f"), written(tmp_path / "g", b"other")
    digest_of(path, tmp_path / "c")
    os.utime(other, ns=(path.stat().st_mtime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert digest_of(path, tmp_path / "c") == hashlib.sha256(b"other").hexdigest()


def test_a_link_that_leads_to_another_file_is_not_trusted(tmp_path: Path) -> None:
    one, other = written(tmp_path / "1"), written(tmp_path / "2", b"other")
    os.utime(other, ns=(one.stat().st_mtime_ns, one.stat().st_mtime_ns))
    link = tmp_path / "link"
    link.symlink_to(one)
    digest_of(link, tmp_path / "c")
    link.unlink()
    link.symlink_to(other)
    assert digest_of(link, tmp_path / "c") == hashlib.sha256(b"other").hexdigest()


def test_a_file_that_changed_just_now_is_hashed_the_next_time_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gateway.client.hashes.RACY_NS", 3600 * RACY_NS
    )  # a busy machine takes its time from line to line
    path = written(tmp_path / "f", seconds_ago=0)
    assert [read_bytes_of(path, tmp_path / "c") for _ in range(2)] == [5, 5]


@settings(deadline=None, max_examples=examples(60))
@given(
    known=st.builds(Stat, *[st.integers(0, 2**62)] * 4),
    now=st.builds(Stat, *[st.integers(0, 2**62)] * 4),
)
def test_only_the_very_same_stat_is_trusted(tmp_path_factory: pytest.TempPathFactory, known: Stat, now: Stat) -> None:
    cache = HashCache(tmp_path_factory.mktemp("cache"))
    cache.remember({"/f": Known(known, "d" * 64)}, now_ns=known.mtime_ns + RACY_NS + 1)
    assert ("/f" in cache.look_up({"/f": now})) is (known == now)
    assert cache.look_up({"/f": known})["/f"].sha256 == "d" * 64


def test_what_turned_out_to_be_wrong_is_forgotten(tmp_path: Path) -> None:
    path = written(tmp_path / "f")
    digest_of(path, tmp_path / "c")
    HashCache(tmp_path / "c").forget(absolute([path]))
    assert read_bytes_of(path, tmp_path / "c") == 5


def test_the_cache_holds_no_names(tmp_path: Path) -> None:
    digest_of(written(tmp_path / "DOE^JANE"), tmp_path / "c")
    assert b"DOE" not in b"".join(file.read_bytes() for file in (tmp_path / "c").iterdir())
    assert (tmp_path / "c").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"", b"not a database at all, and long enough to be taken for one" * 100])
def test_a_broken_cache_costs_time_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path / "f")
    digest_of(path, tmp_path / "c")
    (file,) = (tmp_path / "c").glob("*.sqlite")
    file.write_bytes(content)
    assert digest_of(path, tmp_path / "c") == hashlib.sha256(b"bytes").hexdigest()


def test_where_there_is_no_place_for_a_cache_digests_are_right_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert digest_of(written(tmp_path / "f"), tmp_path / "file") == hashlib.sha256(b"bytes").hexdigest()


def _many(folder: Path, start: int) -> None:
    cache = HashCache(folder)
    for index in range(start, start + 40):
        cache.remember({f"/{index}": Known(Stat(1, 1, 1, 1), "d" * 64)})


@pytest.mark.heavy
def test_processes_and_threads_share_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers: list[Any] = [
        *(context.Process(target=_many, args=(tmp_path, 100 * index)) for index in range(3)),
        *(threading.Thread(target=_many, args=(tmp_path, 100 * index)) for index in range(3, 6)),
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    stats = {f"/{100 * index + n}": Stat(1, 1, 1, 1) for index in range(6) for n in range(40)}
    assert len(HashCache(tmp_path).look_up(stats)) == 240


def test_the_folder_is_that_of_the_users_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gateway"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "gateway"
