"""Only what an earlier answer wrote is replaced, whole; a folder with other files is refused and stays as it was."""

import json
from pathlib import Path

import pytest

from gateway.client import Answer, ClientError
from gateway.client.folders import MANIFEST, replacing, require_free


def answer(study: str = "a", words: str = "b") -> Answer:
    return Answer({}, (), (), study * 64, words * 64)


def write(out: Path, names: str, method: str = "to_png", *, of: Answer | None = None) -> None:
    with replacing(out, of or answer(), method) as folder:
        for name in names.split():
            (folder / name).write_text(name)


def listed(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if path.name != MANIFEST)


def test_no_file_of_another_study_stays_beside_the_new_ones(tmp_path: Path) -> None:
    write(tmp_path / "out", "sheet.png 0.png 1.png 2.png")
    write(tmp_path / "out", "response.json", "save")
    write(tmp_path / "out", "sheet.png 0.png", of=answer("c"))
    assert listed(tmp_path / "out") == ["0.png", "sheet.png"]


def test_methods_of_one_answer_share_a_folder_and_replace_their_own_files(tmp_path: Path) -> None:
    write(tmp_path, "response.json", "save")
    write(tmp_path, "sheet.png 0.png 1.png")
    write(tmp_path, "sheet.png 0.png")
    assert listed(tmp_path) == ["0.png", "response.json", "sheet.png"]


@pytest.mark.parametrize("method", ["save", "to_png"])
def test_the_same_words_on_another_study_are_another_answer(method: str, tmp_path: Path) -> None:
    write(tmp_path, "response.json", "save", of=answer("a"))
    write(tmp_path, "new", method, of=answer("c"))
    assert listed(tmp_path) == ["new"]


@pytest.mark.parametrize("stranger", ["notes.txt", "0_CT0001.dcm.png", "response.json", "folder/"])
def test_a_folder_with_other_files_is_refused_and_stays_as_it_was(stranger: str, tmp_path: Path) -> None:
    (tmp_path / stranger).mkdir() if stranger.endswith("/") else (tmp_path / stranger).write_text("mine")
    with pytest.raises(ClientError, match=stranger.rstrip("/")):
        write(tmp_path, "response.json")
    assert listed(tmp_path) == [stranger.rstrip("/")]


def test_a_file_that_its_user_changed_is_not_replaced(tmp_path: Path) -> None:
    write(tmp_path, "mask.npy other.npy", "save")
    (tmp_path / "mask.npy").write_text("corrected by hand")
    with pytest.raises(ClientError, match="mask.npy"):
        write(tmp_path, "mask.npy", "save", of=answer("c"))
    assert (tmp_path / "mask.npy").read_text() == "corrected by hand"
    assert listed(tmp_path) == ["mask.npy", "other.npy"]


def test_a_file_that_its_user_removed_is_no_obstacle(tmp_path: Path) -> None:
    write(tmp_path, "0.png 1.png")
    (tmp_path / "0.png").unlink()
    write(tmp_path, "new.png", of=answer("c"))
    assert listed(tmp_path) == ["new.png"]


def test_what_desktops_leave_in_a_folder_stays(tmp_path: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_text("")
    write(tmp_path, "0.png")
    assert listed(tmp_path) == [".DS_Store", "0.png", "Thumbs.db", "desktop.ini"]


MANIFESTS = ["", "{", "[]", '{"answer": "x"}', '{"answer": "x", "files": {"mine": 3}}', "[" * 100_000, "\x00"]


@pytest.mark.parametrize("text", MANIFESTS)
def test_an_invalid_list_frees_no_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ClientError, match="mine"):
        require_free(tmp_path)


@pytest.mark.parametrize("name", ["../victim", "sub/victim", "/victim"])
def test_a_list_cannot_name_a_file_elsewhere(name: str, tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.write_text("")
    stat = victim.stat()
    path = str(victim) if name == "/victim" else name
    files = {path: ["save", stat.st_size, stat.st_mtime_ns]}
    (out / MANIFEST).write_text(json.dumps({"answer": "x", "files": files}))
    write(out, "new")
    assert victim.exists()


def test_a_failure_leaves_the_earlier_answer(tmp_path: Path) -> None:
    write(tmp_path, "0.png 1.png")
    with pytest.raises(RuntimeError), replacing(tmp_path, answer("c"), "to_png") as folder:
        (folder / "0.png").write_text("half")
        raise RuntimeError
    assert listed(tmp_path) == ["0.png", "1.png"]
    assert (tmp_path / "0.png").read_text() == "0.png"
    assert require_free(tmp_path).files.keys() == {"0.png", "1.png"}
