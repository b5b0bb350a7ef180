"""Bundles: only differences are sent, stored bytes are those that were sent, and no key is a path."""

import hashlib
import json
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BrokenJSON, BundleNotFound, DigestMismatch, KeyRefused, LimitExceeded
from gateway.studies.bundle_keys import check_bundle, check_key, folded
from gateway.studies.bundles import BundleFile, Bundles, BundleUpload, read_files, read_push
from gateway.studies.store import Store
from tests.studies.conftest import OpenStore, blobs, incoming


def entry(key: str, data: bytes, mtime: float = 1.5) -> dict[str, object]:
    return {"key": key, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "mtime": mtime}


def listed(store: Store, contents: dict[str, bytes]) -> list[BundleFile]:
    return read_files(json.dumps([entry(key, data) for key, data in contents.items()]).encode(), store.settings)


def push(store: Store, name: str, contents: dict[str, bytes], remove: tuple[str, ...] = ()) -> int:
    words = {"files": [entry(key, data) for key, data in contents.items()], "remove": remove}
    with BundleUpload(store, name, read_push(json.dumps(words).encode(), store.settings)) as batch:
        for data in contents.values():
            batch.begin()
            batch.write(data)
            batch.end()
        return batch.keep()


def test_only_different_files_are_missing(store: Store) -> None:
    push(store, "lungs", {"a.bin": b"a", "b/c.bin": b"b", "old.bin": b"old"})
    theirs = listed(store, {"a.bin": b"a", "b/c.bin": b"changed", "new.bin": b"new"})
    difference = Bundles(store).difference("lungs", theirs)
    assert (difference.same, difference.missing) == (["a.bin"], ["b/c.bin", "new.bin"])
    assert [one.key for one in difference.extra] == ["old.bin"]
    assert Bundles(store).difference("empty", theirs).missing == ["a.bin", "b/c.bin", "new.bin"]


def test_what_was_pushed_can_be_pulled_and_removed(store: Store) -> None:
    push(store, "lungs", {"a.bin": b"a", "folder/b.bin": b"bb"})
    assert push(store, "lungs", {"c.bin": b""}, remove=("a.bin", "never.bin")) == 1
    files = Bundles(store).files("lungs")
    assert [(one.key, one.size, one.mtime) for one in files] == [("c.bin", 0, 1.5), ("folder/b.bin", 2, 1.5)]
    file, size = Bundles(store).open("lungs", files[1].sha256)
    with file:
        assert (file.read(), size) == (b"bb", 2)
    assert Bundles(store).names() == [{"name": "lungs", "files": 2, "bytes": 2}]
    assert Bundles(store).remove("lungs") == (2, 2)
    assert blobs(store, "bundles") == incoming(store) == []
    for ask in (lambda: Bundles(store).files("lungs"), lambda: Bundles(store).open("lungs", files[0].sha256)):
        with pytest.raises(BundleNotFound):
            ask()


def test_the_same_bytes_are_stored_once_until_the_last_key_is_removed(store: Store) -> None:
    push(store, "lungs", {"a.bin": b"same", "b.bin": b"same"})
    push(store, "liver", {"c.bin": b"same"})
    assert len(blobs(store, "bundles")) == 1
    push(store, "lungs", {"a.bin": b"other"}, remove=("b.bin",))
    assert len(blobs(store, "bundles")) == 2
    Bundles(store).remove("liver")
    assert [path.read_bytes() for path in blobs(store, "bundles")] == [b"other"]


def test_a_bundle_returns_no_file_of_another(store: Store) -> None:
    push(store, "lungs", {"a.bin": b"a"})
    push(store, "liver", {"b.bin": b"b"})
    with pytest.raises(BundleNotFound):
        Bundles(store).open("liver", hashlib.sha256(b"a").hexdigest())


def test_a_changed_file_is_not_returned_and_is_missing(store: Store) -> None:
    push(store, "lungs", {"a.bin": b"a"})
    (path,) = blobs(store, "bundles")
    path.write_bytes(b"b")
    with pytest.raises(BundleNotFound):
        Bundles(store).open("lungs", hashlib.sha256(b"a").hexdigest())
    assert Bundles(store).difference("lungs", listed(store, {"a.bin": b"a"})).missing == ["a.bin"]
    assert blobs(store, "bundles") == []


def test_nothing_of_a_chunk_with_a_file_of_another_digest_is_stored(store: Store) -> None:
    words = {"files": [entry("a.bin", b"a"), entry("b.bin", b"b")]}
    with (
        pytest.raises(DigestMismatch),
        BundleUpload(store, "lungs", read_push(json.dumps(words).encode(), store.settings)) as one,
    ):
        for data in (b"a", b"c"):
            one.begin()
            one.write(data)
            one.end()
    assert Bundles(store).names() == []
    assert blobs(store, "bundles") == incoming(store) == []


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("keys", [("a.bin", "A.BIN"), ("a", "a/b"), ("straße", "STRASSE")])
def test_keys_that_are_one_file_somewhere_are_refused(store: Store, keys: tuple[str, str], together: bool) -> None:
    chunks = [dict.fromkeys(keys, b"x")] if together else [{key: b"x"} for key in keys]
    with pytest.raises(KeyRefused):
        for chunk in chunks:
            push(store, "lungs", chunk)


def test_a_bundle_has_a_limit_of_files_and_of_bytes_however_it_is_sent(open_store: OpenStore) -> None:
    store = open_store(max_bundle_files=2, max_bundle_bytes=10)
    push(store, "lungs", {"a": b"12345"})
    for contents in ({"b": b"1", "c": b"2"}, {"b": b"123456"}):
        with pytest.raises(LimitExceeded):
            push(store, "lungs", contents)
    assert [one.key for one in Bundles(store).files("lungs")] == ["a"]


def test_more_keys_are_removed_at_once_than_a_statement_takes_and_no_more_than_a_bundle_has(
    open_store: OpenStore,
) -> None:
    store = open_store(max_bundle_files=40_000)
    push(store, "lungs", {"a": b"1", "b": b"2"})
    assert push(store, "lungs", {}, remove=("b", *map(str, range(39_999)))) == 1
    assert [file.key for file in Bundles(store).files("lungs")] == ["a"]
    with pytest.raises(LimitExceeded):
        push(store, "lungs", {}, remove=tuple(map(str, range(40_001))))


def test_a_key_that_is_sent_and_removed_is_refused(store: Store) -> None:
    with pytest.raises(BrokenJSON):
        push(store, "lungs", {"a": b"1"}, remove=("a",))


UNSAFE = [
    *("", ".", "..", "/", "/etc/passwd", "a/../b", "../a", "a/..", "a//b", "a/", "./a", "a/./b", "~/../x/."),
    *("a\\b", "..\\a", "C:", "C:/a", "c:a", "a:b", "\\\\host\\share", "//host/share", "a\0b", "a\nb", "\x7f"),
    *("CON", "con.txt", "a/NUL", "nul.tar.gz", "COM1", "lpt9.x", "COM¹", "aux/a", "conin$"),
    *(
        "a.",
        "a ",
        "a./b",
        " a",
        "a<b",
        "a|b",
        "a?b",
        "a*b",
        'a"b',
        "\u202egpj.exe",
        "\ud800",
        "e\u0301",
        "x" * 256,
        "x/" * 300,
    ),
]


@pytest.mark.parametrize("key", UNSAFE, ids=ascii)
def test_a_key_that_some_system_would_take_for_more_than_a_file_is_refused(key: str) -> None:
    with pytest.raises(KeyRefused):
        check_key(key)


@given(
    st.text(max_size=40) | st.lists(st.sampled_from(["a", "..", ".", "", "CON", "b.c", " "]), max_size=5).map("/".join)
)
def test_a_key_that_passes_lies_below_its_folder_on_every_system(key: str) -> None:
    try:
        check_key(key)
    except KeyRefused:
        return
    posix, windows = PurePosixPath(key), PureWindowsPath(key)
    assert not posix.is_absolute()
    assert not windows.drive
    assert not windows.root
    assert not windows.is_reserved()
    assert ".." not in posix.parts
    assert posix.parts == windows.parts == tuple(key.split("/"))
    assert folded(folded(key)) == folded(key)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", ".a", "-a", "a.", "a b", "ä", "CON", "nul.x", "x" * 65, "a\n"]
)
def test_a_bundle_with_an_unsafe_name_is_refused(name: str) -> None:
    with pytest.raises(KeyRefused):
        check_bundle(name)
