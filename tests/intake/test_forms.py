"""``multipart/form-data`` on a model's own route: files, fields and their types, and hostile forms."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pytest
import requests

from gateway import Attachment, Classification, Gateway, Settings
from gateway.client.wsgi import LOCAL, session
from gateway.contract.execution import Execution

Part = tuple[str, bytes]
"""The header of a part without its last line end, and its data."""
TYPE = "multipart/form-data; boundary=b"


def told(json_input, files, digest):
    """Tell what arrived."""
    return {"study_ml_json": {"json": json_input, "files": [file.read().decode() for file in files]}}, []


def typed(
    notes: list[Attachment], level: float = 1, names: list[str] | None = None, on: bool = False, text: str = ""
) -> Classification:
    """Tell the typed parameters."""
    return Classification({"notes": len(notes), "level": level, "names": names, "on": on, "text": text})


app = Gateway(
    __name__, settings=Settings(max_parts=20, max_json_bytes=2000, max_json_values=50, max_body_bytes=100_000)
)
app.add_inference_route("/told", told)
app.add_inference_route("/single", told, execution=Execution(concurrency=1))
app.model("/typed")(typed)
client = session(app)


def body(parts: Sequence[Part]) -> bytes:
    return b"".join(b"--b\r\n%s\r\n\r\n%s\r\n" % (head.encode(), data) for head, data in parts) + b"--b--\r\n"


def post(parts: Sequence[Part], route: str = "/told", media_type: str = TYPE) -> requests.Response:
    return client.post(LOCAL + route, data=body(parts), headers={"Content-Type": media_type})


def field(name: str, value: str | bytes, more: str = "") -> Part:
    data = value.encode() if isinstance(value, str) else value
    return f'Content-Disposition: form-data; name="{name}"{more}', data


def file(data: bytes, name: str = "file", more: str = '; filename="a.dcm"') -> Part:
    return f'Content-Disposition: form-data; name="{name}"{more}', data


def answer(response: requests.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    head = response.content.split(b"\r\n\r\n")[1].partition(b"\r\n--")[0]
    return json.loads(head)["study_ml_json"]


def hashes(response: requests.Response) -> str:
    return response.content.rpartition(b"\r\n\r\n")[2][:64].decode()


def problem(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["type"].rpartition(":")[2]


def test_files_keep_their_order_and_fields_become_json_in_theirs() -> None:
    response = post([field("b", "2"), file(b"one"), field("a", "ä"), file(b"two", "other")])
    assert answer(response) == {"json": {"b": "2", "a": "ä"}, "files": ["one", "two"]}
    assert list(answer(response)["json"]) == ["b", "a"]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 0, 1], [2, 0, 3, 1]])
def test_the_digest_is_over_the_json_and_then_the_files_whatever_the_order(order: list[int]) -> None:
    parts = [field("a", "1"), field("b", "x"), file(b"one"), file(b"two")]
    chosen = [parts[index] for index in order]
    said = answer(response := post(chosen))
    text = json.dumps({name: said["json"][name] for name in said["json"]}).encode()
    assert hashes(response) == hashlib.sha256(text + "".join(said["files"]).encode()).hexdigest()


def test_a_field_json_alone_is_the_json_byte_by_byte() -> None:
    text = b'{ "a" :  [1, 2.50] }'
    response = post([file(b"one"), field("json", text)])
    assert answer(response)["json"] == {"a": [1, 2.5]}
    assert hashes(response) == hashlib.sha256(text + b"one").hexdigest()


def test_the_json_may_be_a_file_as_formdata_sends_blobs() -> None:
    blob = file(b'{"a": 1}', "json", '; filename="blob"\r\nContent-Type: application/json')
    assert answer(post([blob, file(b"one")])) == {"json": {"a": 1}, "files": ["one"]}


def test_json_fields_and_the_query_are_merged() -> None:
    parts = [field("json", '{"a": 1}'), field("b", "2"), file(b"one")]
    assert answer(post(parts, "/told?c=%C3%A4&d="))["json"] == {"a": 1, "c": "ä", "d": "", "b": "2"}


def test_fields_are_read_as_the_types_of_the_model() -> None:
    parts = [field("level", "0.5"), field("names", "one"), field("on", "on"), field("text", "12"), file(b"x")]
    assert answer(post(parts, "/typed")) == {"notes": 1, "level": 0.5, "names": ["one"], "on": True, "text": "12"}
    parts = [field("names", "one"), field("names", "two"), file(b"x"), file(b"y")]
    assert answer(post(parts, "/typed"))["names"] == ["one", "two"]
    assert answer(post([field("names", '["[", ","]'), file(b"x")], "/typed"))["names"] == ["[", ","]


def test_a_file_input_of_a_page_that_was_left_empty_is_no_file() -> None:
    empty = file(b"", more='; filename=""\r\nContent-Type: application/octet-stream')
    said = answer(response := post([empty, field("a", "1"), file(b"one"), empty]))
    assert said == {"json": {"a": "1"}, "files": ["one"]}
    assert hashes(response) == hashlib.sha256(b'{"a": "1"}one').hexdigest()


def test_an_empty_file_with_a_name_is_a_file() -> None:
    assert answer(post([file(b"")]))["files"] == [""]


def test_a_form_without_files_is_json_alone() -> None:
    assert answer(post([field("a", "1")])) == {"json": {"a": "1"}, "files": []}


def test_a_name_of_rfc_2231_alone_makes_a_file_too() -> None:
    assert answer(post([file(b"one", more="; filename*=UTF-8''na%C3%AFve.dcm")]))["files"] == ["one"]


def test_files_without_a_type_are_files() -> None:
    assert answer(post([file(b"one"), file(b"two", more='; filename="b"\r\nContent-Type: text/plain')]))["files"]


@pytest.mark.parametrize(
    "parts",
    [
        [field("a", "ä".encode("latin1"), "\r\nContent-Type: text/plain; charset=latin1")],
        [field("_charset_", "iso-8859-1"), field("a", "ä".encode("latin1"))],
        [field("json", '{"a": "ä"}'.encode("utf-16"), "\r\nContent-Type: application/json; charset=utf-16")],
    ],
)
def test_charsets_of_parts_and_forms_hold(parts: list[Part]) -> None:
    assert answer(post([*parts, file(b"one")]))["json"] == {"a": "ä"}


def test_parts_reach_a_model_process_or_a_queue_as_they_reach_a_thread() -> None:
    parts = [file(b"one"), field("a", "1"), file(b"two")]
    assert answer(post(parts, "/single")) == answer(post(parts))


REFUSED = {
    "no name": ([("Content-Disposition: form-data", b"1")], 400, "broken-body"),
    "an empty name": ([field("", "1")], 400, "broken-body"),
    "a file without a name": ([("Content-Disposition: form-data; filename=a", b"1")], 400, "broken-body"),
    "no disposition": ([("Content-Type: text/plain", b"1")], 400, "broken-body"),
    "another disposition": ([('Content-Disposition: attachment; name="a"', b"1")], 400, "broken-body"),
    "a name twice": ([('Content-Disposition: form-data; name="a"; name="b"', b"1")], 400, "broken-body"),
    "a length that lies": ([field("a", "1", "\r\nContent-Length: 9")], 400, "broken-body"),
    "base64": ([field("a", "MQ==", "\r\nContent-Transfer-Encoding: base64")], 400, "broken-body"),
    "text that is not UTF-8": ([field("a", b"\xff")], 400, "broken-json"),
    "a charset that is a compressor": (
        [field("a", "1", "\r\nContent-Type: text/plain; charset=zlib_codec")],
        400,
        "broken-json",
    ),
    "a charset of the form that is none": ([field("_charset_", "\xff"), field("a", "1")], 400, "broken-json"),
    "json that is none": ([field("json", "{"), file(b"x")], 400, "broken-json"),
    "json that is no object": ([field("json", "[]"), field("a", "1")], 400, "broken-json"),
    "json twice": ([field("json", "{}"), field("json", "{}")], 422, "parameter-refused"),
    "a parameter twice": ([field("json", '{"a": 1}'), file(b"x"), field("a", "1")], 422, "parameter-refused"),
    "too many fields": ([field(f"n{n}", "") for n in range(21)], 413, "limit-exceeded"),
    "a long field": ([field("a", "x" * 2001)], 413, "limit-exceeded"),
    "long fields together": ([field("a", "x" * 500) for _ in range(5)], 413, "limit-exceeded"),
    "long names": ([field("a" * 500 + str(n), "") for n in range(5)], 413, "limit-exceeded"),
    "many values": ([field("json", json.dumps({"a": [0] * 60}))], 413, "limit-exceeded"),
    "many bytes": ([file(b"x" * 100_001)], 413, "limit-exceeded"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_forms_are_refused(name: str) -> None:
    parts, status, code = REFUSED[name]
    assert problem(post(parts)) == (status, code)


def test_a_query_of_many_fields_and_one_that_is_not_utf8_are_refused() -> None:
    many = "&".join(f"a{n}=1" for n in range(21))
    assert problem(post([file(b"x")], f"/told?{many}")) == (413, "limit-exceeded")
    assert problem(post([file(b"x")], "/told?a=%FF")) == (422, "parameter-refused")


def test_a_form_without_a_boundary_and_one_that_breaks_off_are_refused() -> None:
    assert problem(post([file(b"x")], media_type="multipart/form-data")) == (400, "broken-body")
    cut = client.post(LOCAL + "/told", data=body([file(b"x")])[:-9], headers={"Content-Type": TYPE})
    assert problem(cut) == (400, "broken-body")


def test_a_million_fields_end_at_the_first_too_many() -> None:
    def endless() -> Any:
        for number in range(1_000_000):
            sent.append(number)
            yield b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 100

    sent: list[int] = []
    response = client.post(
        LOCAL + "/told", data=endless(), headers={"Content-Type": TYPE, "Transfer-Encoding": "chunked"}
    )
    assert problem(response) == (413, "limit-exceeded")
    assert len(sent) < 1000
