"""A client as viewers wrote it for the predecessor: toolbelt on both sides, and a boundary cut out of a header."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import requests
from requests_toolbelt.multipart import decoder, encoder

JSON = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """One decoded answer: names, media types and contents of its parts, in order."""

    response: requests.Response
    names: list[str]
    media_types: list[str]
    contents: list[bytes]

    @property
    def json(self) -> JSON:
        return json.loads(self.contents[0])

    @property
    def masks(self) -> list[bytes]:
        return self.contents[1:-1]

    @property
    def hashes(self) -> str:
        return self.contents[-1].decode("ascii")


def encode(request_json: JSON, attachments: list[bytes], dicom: list[bytes]) -> encoder.MultipartEncoder:
    """The request as the predecessor's own tool laid it out: JSON first, then attachments, then DICOM."""
    fields: list[tuple[str, tuple[str, bytes, str]]] = [
        ("request_json", ("request", json.dumps(request_json).encode("utf-8"), "text/json"))
    ]
    fields += [(f"attachment_{i}", (f"attach{i}", data, "application/binary")) for i, data in enumerate(attachments)]
    fields += [(f"dicom_{i}", (f"dicom{i}.dcm", data, "application/dicom")) for i, data in enumerate(dicom)]
    return encoder.MultipartEncoder(fields=fields)


def post(url: str, request_json: JSON, dicom: list[bytes], attachments: Sequence[bytes] = ()) -> requests.Response:
    """Send one study with the quoted boundary that the predecessor's tool wrote."""
    body = encode(request_json, [*attachments], dicom)
    content_type = f'multipart/related; boundary="{body.boundary_value}"'
    return requests.post(url, data=body, headers={"Content-Type": content_type}, timeout=30)


def decode(response: requests.Response) -> Answer:
    """Decode with toolbelt, which looks for ``boundary=`` in the header by itself."""
    parts = decoder.MultipartDecoder.from_response(response).parts
    return Answer(
        response=response,
        names=[_parameter(part.headers[b"Content-Disposition"], "name") for part in parts],
        media_types=[part.headers[b"Content-Type"].decode("ascii") for part in parts],
        contents=[part.content for part in parts],
    )


def split_on_boundary(response: requests.Response) -> list[bytes]:
    """The raw parts, headers and all, as a client without any library cuts them."""
    boundary = response.headers["Content-Type"].split("boundary=")[1]
    pieces = response.content.split(b"--" + boundary.encode("ascii"))
    return [piece.removeprefix(b"\r\n").removesuffix(b"\r\n") for piece in pieces[1:-1]]


def hashes(inputs: list[bytes], outputs: list[bytes]) -> str:
    """The 129 characters of the last part, recomputed from the bytes of request and response."""
    return ":".join(hashlib.sha256(b"".join(contents)).hexdigest() for contents in (inputs, outputs))


def _parameter(header: bytes, name: str) -> str:
    match = re.search(rf'{name}="([^"]*)"', header.decode("ascii"))
    assert match is not None, header
    return match.group(1)
