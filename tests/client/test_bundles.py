"""Bundles pushed and pulled: only differences are sent, a name is complete or absent, nothing leaves the folder."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client import AnswerCorrupt, Client, ClientError, Refused, SourceUnreadable
from gateway.client.bundles import is_safe
from tests.client.servers import Heard, Said, listening, problem
from tests.client.stores import Store
from tests.waiting import PATIENCE


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def client(store: Store, tmp_path: Path) -> Iterator[Client]:
    with listening(store) as url, Client(url, timeout=PATIENCE, cache=tmp_path / "cache") as client:
        yield client


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    for index in range(20):
        path = folder / f"fold{index % 3}" / f"{index}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([index]) * 1000)
        os.utime(path, (time.time() - 60 - index, time.time() - 60 - index))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_is_pulled_as_it_was_pushed(client: Client, weights: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    pushed = client.push_bundle("b", weights, progress=lambda sent, total: seen.append((sent, total)))
    pulled = client.pull_bundle("b", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(weights)
    assert (len(pushed.moved), len(pulled.moved), seen[-1]) == (20, 20, (20_000, 20_000))
    times = [path.stat().st_mtime for folder in (weights, tmp_path / "out") for path in sorted(folder.rglob("*.bin"))]
    assert times[:20] == pytest.approx(times[20:], abs=1e-3)


def test_only_what_differs_travels(client: Client, weights: Path, tmp_path: Path, store: Store) -> None:
    client.push_bundle("b", weights)
    client.pull_bundle("b", tmp_path / "out")
    (weights / "fold0/0.bin").write_bytes(b"new")
    (weights / "fold1/1.bin").unlink()
    again = client.push_bundle("b", weights)
    assert (again.moved, again.removed, again.bytes_moved) == (("fold0/0.bin",), ("fold1/1.bin",), 3)
    assert client.pull_bundle("b", tmp_path / "out").moved == ("fold0/0.bin",)
    assert client.pull_bundle("b", tmp_path / "out").moved == ()


def test_other_files_in_the_folder_stay(client: Client, weights: Path, tmp_path: Path) -> None:
    client.push_bundle("b", weights)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_bytes(b"mine")
    client.pull_bundle("b", tmp_path / "out")
    assert contents(tmp_path / "out").pop("mine") == b"mine"


def test_a_push_that_was_interrupted_sends_only_the_rest(client: Client, weights: Path, store: Store) -> None:
    store.trouble = lambda request: problem(500, title="Down") if len(store.chunks()) > 1 else None
    with pytest.raises(Refused, match="Down"):
        client.push_bundle("b", weights)
    store.trouble = lambda request: None
    assert len(client.push_bundle("b", weights).moved) == 4


def test_a_pull_that_was_interrupted_fetches_only_the_rest(
    client: Client, weights: Path, store: Store, tmp_path: Path
) -> None:
    client.push_bundle("b", weights)
    fetched: list[Heard] = []

    def breaks(request: Heard) -> Said | None:
        fetched.append(request)
        return problem(500, title="Down") if len(fetched) > 8 else None

    store.trouble = breaks
    with pytest.raises(Refused):
        client.pull_bundle("b", tmp_path / "out")
    assert len(contents(tmp_path / "out")) == 7
    store.trouble = lambda request: None
    assert len(client.pull_bundle("b", tmp_path / "out").moved) == 13


@pytest.mark.parametrize("length", [None, 2000])
def test_bytes_that_are_not_those_of_the_digest_are_never_named(
    client: Client, weights: Path, store: Store, tmp_path: Path, length: int | None
) -> None:
    client.push_bundle("b", weights)
    lie = Said(b"\xff" * 1000, "application/octet-stream", length=length)
    store.trouble = lambda request: lie if request.path.startswith("/bundles/b/files/") else None
    with pytest.raises(ClientError):
        client.pull_bundle("b", tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_an_endless_file_is_not_read_to_its_end(client: Client, weights: Path, store: Store, tmp_path: Path) -> None:
    client.push_bundle("b", weights)
    endless = Said(bytes(8 << 20), "application/octet-stream")
    store.trouble = lambda request: endless if request.path.startswith("/bundles/b/files/") else None
    with pytest.raises(AnswerCorrupt, match="other bytes"):
        client.pull_bundle("b", tmp_path / "out")


UNSAFE = [
    "", "/", "/etc/passwd", "..", "../up", "a/../../up", "a//b", "a/", "./a", "a\\b", "..\\up", "c:", "C:/x", "a:b",
    "nul", "a/CON", "com1.txt", "LPT9", "dot.", "space ", "new\nline", "zero\0", "x" * 256, "/".join(["x" * 100] * 6),
    ".gateway-x", "\ud800" * 200,
]  # fmt: skip


@pytest.mark.parametrize("key", UNSAFE)
def test_a_key_that_is_no_safe_name_is_refused_and_nothing_is_written(
    client: Client, store: Store, tmp_path: Path, key: str
) -> None:
    data = b"hostile"
    entry = {"key": key, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "mtime": 1.0}
    store.files[key] = (entry, data)
    with pytest.raises(AnswerCorrupt):
        client.pull_bundle("b", tmp_path / "deep" / "out")
    assert not any(path.is_file() for path in (tmp_path / "deep").rglob("*"))


@given(st.text(max_size=40))
def test_a_safe_key_stays_below_the_folder(key: str) -> None:
    if is_safe(key):
        assert os.path.normpath(f"/folder/{key}") == f"/folder/{key}"


@pytest.mark.parametrize(
    "entry",
    [
        {"sha256": "x"},
        {"sha256": 5},
        {"size": -1},
        {"size": True},
        {"mtime": float("nan")},
        {"mtime": -1},
        {"mtime": 1e300},
        {"mtime": None},
        {"key": None},
    ],
)
def test_a_list_that_is_not_in_the_form_of_one_is_refused(
    client: Client, store: Store, tmp_path: Path, entry: dict[str, Any]
) -> None:
    honest = {"key": "a", "sha256": "0" * 64, "size": 0, "mtime": 0}
    store.files["a"] = (honest | entry, b"")
    with pytest.raises(AnswerCorrupt, match="malformed"):
        client.pull_bundle("b", tmp_path / "out")


def test_two_keys_that_are_one_file_elsewhere_are_refused(client: Client, store: Store, tmp_path: Path) -> None:
    for key in ("weights/a", "weights/A"):
        store.files[key] = ({"key": key, "sha256": "0" * 64, "size": 0, "mtime": 0}, b"")
    with pytest.raises(AnswerCorrupt, match="case alone"):
        client.pull_bundle("b", tmp_path / "out")


def test_a_link_that_leads_out_of_the_folder_is_not_followed(
    client: Client, weights: Path, tmp_path: Path, store: Store
) -> None:
    client.push_bundle("b", weights)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fold0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AnswerCorrupt, match="not lie in the folder"):
        client.pull_bundle("b", tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_without_files_is_no_bundle(client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceUnreadable, match="no file in"):
        client.push_bundle("b", tmp_path / "empty")
    with pytest.raises(SourceUnreadable, match="is not a folder"):
        client.push_bundle("b", tmp_path / "absent")
