"""``application/zip`` as the body of a request: a folder, and hostile archives."""

import hashlib
import io
import json
import struct
import zipfile
from typing import Any

import pytest
import requests

from gateway import Gateway, Settings
from gateway.client.wsgi import LOCAL, session

SMALL = Settings(max_parts=20, max_body_bytes=200_000, spool_threshold=50_000)


def told(json_input, files, digest):
    """Tell what arrived."""
    return {"study_ml_json": {"json": json_input, "files": [file.read().decode("latin1") for file in files]}}, []


app = Gateway(__name__, settings=SMALL)
app.add_inference_route("/told", told)
client = session(app)


def packed(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()


def post(data: bytes, route: str = "/told", media_type: str = "application/zip") -> requests.Response:
    return client.post(LOCAL + route, data=data, headers={"Content-Type": media_type})


def answer(response: requests.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return json.loads(response.content.split(b"\r\n\r\n")[1].partition(b"\r\n--")[0])["study_ml_json"]


def problem(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["type"].rpartition(":")[2]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("media_type", ["application/zip", "application/x-zip-compressed"])
def test_files_come_in_the_order_of_their_names(method: int, media_type: str) -> None:
    data = packed({"b/2": b"two", "a": b"one", "b/1": b"", "b/": b"", "c": b"x" * 100_000}, method)
    response = post(data, "/told?level=0.4&level=2", media_type)
    assert answer(response) == {"json": {"level": ["0.4", "2"]}, "files": ["one", "", "two", "x" * 100_000]}
    text = b'{"level": ["0.4", "2"]}'
    digest = response.content.rpartition(b"\r\n\r\n")[2][:64].decode()
    assert digest == hashlib.sha256(text + b"onetwo" + b"x" * 100_000).hexdigest()


def test_what_systems_add_to_a_folder_is_left_out() -> None:
    names = [".DS_Store", "__MACOSX/._a", "s/Thumbs.db", "s/desktop.ini", "DICOMDIR", "s/.git/x"]
    assert answer(post(packed({"s/a": b"one", **dict.fromkeys(names, b"litter")})))["files"] == ["one"]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "C:\\x", "a/../../b", "\u202ex", "a\nb", "x" * 5000]
)
def test_a_name_reaches_no_file_system(name: str) -> None:
    assert answer(post(packed({name: b"one"})))["files"] == ["one"]


def test_an_archive_of_another_program_with_a_prefix_and_a_comment_is_read() -> None:
    file = io.BytesIO(packed({"a": b"one"}))
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"PK" * 100
    assert answer(post(file.getvalue()))["files"] == ["one"]


def encrypted() -> bytes:
    data = bytearray(packed({"a": b"one"}))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + place] |= 1
    return bytes(data)


def lying(size: int) -> bytes:
    """An archive whose directory states another size of its file."""
    data = bytearray(packed({"a": b"x" * 1000}))
    place = data.index(b"PK\x01\x02")
    data[place + 24 : place + 28] = struct.pack("<I", size)
    return bytes(data)


def overlapping(count: int) -> bytes:
    """Entries that all name one stretch of the archive."""
    data = packed({"a": bytes(150_000)})
    place = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    directory = b"".join(data[place:end][:46] + b"%c" % (97 + n) for n in range(count))
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(directory), place, 0)
    return data[:place] + directory + tail


def doubled() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a", b"one")
        archive.writestr("a", b"two")
    return file.getvalue()


def with_damage() -> bytes:
    data = bytearray(packed({"a": b"0123456789" * 10}, zipfile.ZIP_STORED))
    data[data.index(b"0123456789")] ^= 1
    return bytes(data)


REFUSED = {
    "no archive": (lambda: b"PK no archive", 400, "broken-body"),
    "nothing": (lambda: b"", 400, "broken-body"),
    "no entry": (lambda: packed({}), 400, "broken-body"),
    "folders alone": (lambda: packed({"a/": b"", "a/.hidden": b"x"}), 400, "broken-body"),
    "a part of an archive": (lambda: packed({"a": b"one" * 1000})[:-30], 400, "broken-body"),
    "damage": (with_damage, 400, "broken-body"),
    "a size that is too small": (lambda: lying(10), 400, "broken-body"),
    "a size that is too large": (lambda: lying(5_000), 400, "broken-body"),
    "a size beyond the limit": (lambda: lying(1 << 30), 413, "limit-exceeded"),
    "two files of one name": (doubled, 400, "broken-body"),
    "encrypted": (encrypted, 415, "unsupported-media-type"),
    "lzma": (lambda: packed({"a": b"one"}, zipfile.ZIP_LZMA), 415, "unsupported-media-type"),
    "an archive in an archive": (lambda: packed({"a.ZIP": packed({"a": b"x"})}), 415, "unsupported-media-type"),
    "too many entries": (lambda: packed({f"{n}": b"" for n in range(21)}), 413, "limit-exceeded"),
    "too many folders": (lambda: packed({f"{n}/": b"" for n in range(21)}), 413, "limit-exceeded"),
    "a bomb": (lambda: packed({"a": bytes(10_000_000)}), 413, "limit-exceeded"),
    "a bomb of many": (lambda: packed({f"{n}": bytes(20_000) for n in range(19)}), 413, "limit-exceeded"),
    "a bomb of one stretch": (lambda: overlapping(10), 413, "limit-exceeded"),
    "an archive that is too large": (lambda: packed({"a": b"x" * 200_001}, zipfile.ZIP_STORED), 413, "limit-exceeded"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_archives_are_refused(name: str) -> None:
    make, status, code = REFUSED[name]
    assert problem(post(make())) == (status, code)


def test_a_million_entries_are_refused_before_one_is_read() -> None:
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    directory = entry * 4000
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), 0, 0)
    assert problem(post(directory + tail)) == (413, "limit-exceeded")


def test_what_an_archive_unpacks_to_counts_to_the_bytes_in_flight() -> None:
    cramped = Gateway(__name__, settings=Settings(max_body_bytes=10 << 20, max_bytes_in_flight=10 << 20))
    cramped.add_inference_route("/told", told)
    data = packed({"a": bytes(9 << 20), "b": bytes(1 << 20)})
    response = session(cramped).post(LOCAL + "/told", data=data, headers={"Content-Type": "application/zip"})
    assert response.status_code == 503
    assert cramped.service.admission.bytes == 0


def test_a_long_unpacking_ends_at_the_deadline() -> None:
    roomy = Gateway(__name__, settings=Settings(max_body_bytes=1 << 30))
    roomy.add_inference_route("/told", told)
    headers = {"Content-Type": "application/zip", "X-Request-Timeout": "0.01"}
    response = session(roomy).post(LOCAL + "/told", data=packed({"a": bytes(40 << 20)}), headers=headers)
    assert problem(response) == (504, "deadline-exceeded")
