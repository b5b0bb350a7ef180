"""A client of the DICOMweb routes of an application in this process, and files to send."""

import io
import json
from pathlib import Path
from typing import Any

import pydicom
import requests

from gateway import Gateway, Settings
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.client.wsgi import LOCAL, session

ROOT = f"{LOCAL}/dicomweb"
BOUNDARY = "b0undary"
DICOM, PLAIN_OCTETS = "application/dicom", "application/octet-stream"
PARTS = f'multipart/related; type="{DICOM}"'
AS_STORED = f"{PARTS}; transfer-syntax=*"
STORED, FAILED, OTHERS, REASON, SOP = "00081199", "00081198", "0008119A", "00081197", "00081155"


def encoded(dataset: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def sample(name: str) -> bytes:
    """A file that lies in pydicom's package."""
    (path,) = Path(pydicom.__file__).parent.glob(f"data/*_files/{name}")
    return path.read_bytes()


def body(files: list[bytes], media_type: str = DICOM, boundary: str = BOUNDARY) -> bytes:
    head = f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n\r\n".encode()
    return b"".join(head + file for file in files) + f"\r\n--{boundary}--".encode()


def split(response: requests.Response) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a response: header and bytes."""
    assert response.status_code == 200, response.text
    boundary = response.headers["Content-Type"].partition("boundary=")[2].encode()
    parts = []
    for piece in response.content.split(b"--" + boundary)[1:-1]:
        head, _, data = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        parts.append((fields, data.removesuffix(b"\r\n")))
    return parts


class Web:
    """One caller of an application."""

    def __init__(self, app: Gateway, caller: str = "", key: str = "") -> None:
        self.app = app
        self.session = session(app)
        if key:
            self.session.auth = (caller, key)

    def get(self, path: str, accept: str = "", **params: Any) -> requests.Response:
        headers = {"Accept": accept} if accept else {}
        return self.session.get(f"{ROOT}{path}", headers=headers, params=params)

    def post(self, data: bytes, content_type: str = "", path: str = "/studies", accept: str = "") -> requests.Response:
        named = content_type or f"{PARTS}; boundary={BOUNDARY}"
        headers = {"Content-Type": named} | ({"Accept": accept} if accept else {})
        return self.session.post(f"{ROOT}{path}", data=data, headers=headers)

    def store(self, *files: bytes, path: str = "/studies") -> requests.Response:
        return self.post(body(list(files)), path=path)

    def delete(self, path: str) -> requests.Response:
        return self.session.delete(f"{ROOT}{path}")

    def find(self, level: str = "/studies", **params: str) -> list[dict[str, Any]]:
        """The matches of a search."""
        answer = self.get(level, **params)
        assert answer.status_code in (200, 204), answer.text
        return json.loads(answer.content) if answer.content else []


def application(folder: Path, **settings: Any) -> Gateway:
    return Gateway(__name__, settings=Settings(store_folder=folder / "store", dicomweb=True, **settings))


def callers(folder: Path, *callers: Caller, **settings: Any) -> dict[str, Web]:
    """One application, and a client for each caller."""
    keys = {caller.name: new_key() for caller in callers}
    change(folder / "callers.json", lambda _: [CallerEntry(one, fingerprint(keys[one.name])) for one in callers])
    app = application(folder, api_keys_file=folder / "callers.json", **settings)
    return {name: Web(app, name, key) for name, key in keys.items()}


def uids(data: bytes) -> tuple[str, str, str]:
    dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID


def place(data: bytes) -> str:
    study, series, sop = uids(data)
    return f"/studies/{study}/series/{series}/instances/{sop}"
