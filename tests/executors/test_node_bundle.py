"""A bundle in a folder of a node is whole and as the store has it, or refused; nothing that is there is replaced."""

import hashlib
import os
import threading
from pathlib import Path

import pytest

from gateway.executors.ray.node_bundle import LOCK, PARTIAL, BundleRefused, NodeBundle
from tests.waiting import PATIENCE

UNET, HEAD = os.urandom(3000), b""
FILES = {"folds/unet.bin": hashlib.sha256(UNET).hexdigest(), "head.bin": hashlib.sha256(HEAD).hexdigest()}


def bundle(folder: Path) -> NodeBundle:
    return NodeBundle("lungs", str(folder), FILES)


def write(found: NodeBundle) -> None:
    found.write("folds/unet.bin", memoryview(UNET[:1000]), last=False)
    found.write("folds/unet.bin", memoryview(UNET[1000:]), last=True)
    found.write("head.bin", memoryview(HEAD), last=True)


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_missing_files_are_written_once_and_then_found(tmp_path: Path) -> None:
    first = bundle(tmp_path / "weights")
    assert sorted(first.missing()) == ["folds/unet.bin", "head.bin"]
    write(first)
    first.close()
    assert (tmp_path / "weights" / "folds" / "unet.bin").read_bytes() == UNET
    assert left(tmp_path) == {"unet.bin", "head.bin", LOCK}
    assert bundle(tmp_path / "weights").missing() == []


def test_a_folder_that_has_all_is_only_read(tmp_path: Path) -> None:
    (tmp_path / "folds").mkdir()
    (tmp_path / "folds" / "unet.bin").write_bytes(UNET)
    (tmp_path / "head.bin").write_bytes(HEAD)
    assert bundle(tmp_path).missing() == []
    assert left(tmp_path) == {"unet.bin", "head.bin"}


def test_a_file_that_is_another_is_refused_and_left(tmp_path: Path) -> None:
    (tmp_path / "head.bin").write_bytes(b"other")
    with pytest.raises(BundleRefused, match="remove it, or name another folder"):
        bundle(tmp_path).missing()
    assert (tmp_path / "head.bin").read_bytes() == b"other"


def test_a_link_in_place_of_the_lock_is_refused_and_what_it_names_left(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / LOCK).symlink_to(tmp_path / "other")
    with pytest.raises(BundleRefused, match="has no place"):
        bundle(tmp_path / "weights").missing()
    assert (tmp_path / "other").read_bytes() == b"other"


def test_a_user_without_a_home_has_no_folder_below_it() -> None:
    with pytest.raises(BundleRefused, match="has no place"):
        bundle(Path("~nobody-has-this-name")).missing()


def test_bytes_that_are_not_those_of_the_digest_leave_no_file(tmp_path: Path) -> None:
    found = bundle(tmp_path)
    found.missing()
    with pytest.raises(BundleRefused, match="other bytes"):
        found.write("folds/unet.bin", memoryview(UNET[1:]), last=True)
    found.close()
    assert left(tmp_path) == {LOCK}


def test_a_file_that_was_begun_leaves_nothing(tmp_path: Path) -> None:
    found = bundle(tmp_path)
    found.missing()
    found.write("folds/unet.bin", memoryview(UNET[:10]), last=False)
    found.close()
    assert left(tmp_path) == {LOCK}


def test_what_a_killed_process_has_begun_is_removed_by_the_next(tmp_path: Path) -> None:
    of_another, killed, foreign = f"{PARTIAL}{'a' * 16}", f"{PARTIAL}{'b' * 16}", f"{PARTIAL}notes"
    for folder, name in (("other", of_another), ("folds", killed), ("folds", foreign)):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(UNET[:10])
    found = bundle(tmp_path)
    found.missing()
    found.close()
    assert left(tmp_path) == {LOCK, of_another, foreign}


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "folds").symlink_to(tmp_path)
    with pytest.raises(BundleRefused, match="would not lie in"):
        bundle(tmp_path / "weights").missing()


def test_a_folder_that_cannot_be_made_is_refused_with_the_systems_reason(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file")
    with pytest.raises(BundleRefused, match="the bundle lungs has no place in"):
        bundle(tmp_path / "weights").missing()


def test_two_replicas_of_a_node_do_not_both_write(tmp_path: Path) -> None:
    first, second = bundle(tmp_path), bundle(tmp_path)
    first.missing()
    found: list[list[str]] = []
    waiting = threading.Thread(target=lambda: found.append(second.missing()))
    waiting.start()
    write(first)
    first.close()
    waiting.join(PATIENCE)
    second.close()
    assert found == [[]]
