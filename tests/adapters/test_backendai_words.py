"""The words of Backend.AI's API: names of models, commands, paths, records of a console, archives."""

import io
import tarfile
from functools import partial
from typing import Any

import pytest

from gateway.adapters.backendai.archives import ArchivedFile, archive, archive_size
from gateway.adapters.backendai.console import MEDIA_BYTES, record_of_media, record_of_question
from gateway.adapters.backendai.execution_words import ExecuteRequest, read_code
from gateway.adapters.backendai.model_commands import is_version, names_of, read_command, route_of
from gateway.adapters.backendai.session_paths import checked_path, folder_path, uploaded_path
from gateway.errors import KeyRefused, ParameterRefused

ROUTES = ("/", "/lungs", "/ct/liver")


@pytest.mark.parametrize(
    ("image", "route", "tag"),
    [
        ("lungs", "/lungs", ""),
        ("/lungs", "/lungs", ""),
        ("gateway/lungs:1.0", "/lungs", "1.0"),
        ("registry.example:5000/stable/lungs:1.0-x86", "/lungs", "1.0-x86"),
        ("registry.example:5000/lungs", "/lungs", ""),
        ("registry.example/ct/liver", "/ct/liver", ""),
        ("gateway", "/", ""),
        ("liver", "", ""),
        ("lung", "", ""),
        ("", "", ""),
    ],
)
def test_an_image_names_a_model_by_its_route(image: str, route: str, tag: str) -> None:
    assert route_of(image, ROUTES) == (route, tag)


def test_a_tag_is_a_version_or_nothing() -> None:
    assert all(is_version(tag, "1.2") for tag in ("", "latest", "1.2", "1.2-x86"))
    assert not any(is_version(tag, "1.2") for tag in ("1.20", "1", "2"))
    assert is_version("anything", "")


def test_a_command_is_a_name_and_parameters() -> None:
    names = names_of("/lungs")
    assert read_command("*", names) == read_command("lungs", names) == read_command("/lungs", names) == {}
    line = """gateway/lungs a=1 b=0.5 c=true d=text e="two words" f='{"g": [1]}' h="""
    assert read_command(line, names) == {
        **{"a": 1, "b": 0.5, "c": True, "d": "text", "e": "two words"},
        **{"f": {"g": [1]}, "h": ""},
    }
    assert read_command("* a=$(id)", names) == {"a": "$(id)"}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ls",
        "lungs;ls",
        "lungs ; ls",
        "lungs a=1 && ls",
        "lungs a",
        "lungs =1",
        "lungs 'a",
        "lungs a.b=1",
        "x" * 5000,
    ],
)
def test_another_command_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        read_command(line, names_of("/lungs"))


@pytest.mark.parametrize("code", ["", "[]", "1", "import os", '{"a": NaN}', "[" * 100_000])
def test_code_is_a_json_object(code: str) -> None:
    assert read_code('{"a": 1}') == {"a": 1}
    with pytest.raises(ValueError, match="JSON of a request"):
        read_code(code)


@pytest.mark.parametrize(
    "words",
    [
        {"mode": "shell"},
        {"mode": "query", "code": 1},
        {"mode": "query", "runId": "a/b"},
        {"mode": "query", "runId": "a" * 65},
        {"mode": "batch", "options": [1]},
        {"mode": "batch", "options": {"exec": ["ls"]}},
    ],
)
def test_a_wrong_execution_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(ParameterRefused):
        ExecuteRequest.of(words)


def test_paths_are_plain_names() -> None:
    assert uploaded_path("a%2Fb%20c%2F%C3%A4.dcm") == "a/b c/ä.dcm"
    assert uploaded_path("100%25.txt") == "100%.txt"
    assert folder_path("/home/work/a/") == folder_path("./a") == folder_path("a") == "a"
    assert folder_path(".") == folder_path("/home/work") == folder_path("") == ""
    assert folder_path("results/1") == "results/1"
    for wrong in ("/etc/passwd", "/home/worker", "../a", "a/../b", "/home/work/../x"):
        with pytest.raises(KeyRefused):
            folder_path(wrong)
    for wrong in ("results/a", "results", "%ff", "a%2f..", "a\\b", "a/ b", "a."):
        with pytest.raises(KeyRefused):
            uploaded_path(wrong)
    with pytest.raises(KeyRefused):
        checked_path("\u202egpj.exe")


def test_pictures_are_data_uris_and_svg_is_xml() -> None:
    assert record_of_media("image/png", memoryview(b"\x89PNG")) == [
        "media",
        ["image/png", "data:image/png;base64,iVBORw=="],
    ]
    assert record_of_media("image/svg+xml", memoryview(b"<svg/>")) == ["media", ["image/svg+xml", "<svg/>"]]
    assert record_of_media("text/html", memoryview(b"<b/>")) == ["html", "<b/>"]
    assert record_of_media("image/png", memoryview(bytes(MEDIA_BYTES + 1)))[0] == "stderr"


def test_a_question_is_shown_as_text() -> None:
    question = {"question": "Which?", "kind": "choice", "choices": ["liver", "spleen"]}
    assert record_of_question(question) == ["stdout", "Which? (liver, spleen)\n"]
    assert record_of_question({"number": 1}) == ["stdout", '{"number": 1}\n']


def test_an_archive_is_as_long_as_it_says_and_is_read_by_tarfile() -> None:
    contents = {"a": b"", "b/" + "ä" * 120: b"x" * 513, "c" * 150: b"y" * 2_000_000}
    files = [ArchivedFile(name, len(data), 1e9, partial(io.BytesIO, data)) for name, data in contents.items()]
    data = b"".join(archive(files))
    assert len(data) == archive_size(files)
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        assert {name: opened.extractfile(name).read() for name in opened.getnames()} == contents
