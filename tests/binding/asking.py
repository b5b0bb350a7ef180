"""Studies made for the purpose, and a question to one route of an application without a server."""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from requests_toolbelt.multipart.decoder import MultipartDecoder

from gateway import Gateway
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.samples import phantom

SLICES, SIZE = 4, 16
SHAPE = (SLICES, SIZE, SIZE)


def series(number: int = 1, *, slices: int = SLICES, size: int = SIZE, **attributes: Any) -> list[Dataset]:
    """A CT series of the phantom; ``attributes`` are set on each image. One study, a series for each ``number``."""
    datasets = list(phantom.datasets(slices=slices, size=size))
    for dataset in datasets:
        dataset.StudyInstanceUID = "1.2.3"
        dataset.SeriesInstanceUID = f"1.2.3.{number}"
        dataset.SeriesNumber = number
        dataset.SOPInstanceUID = f"1.2.3.{number}.{dataset.InstanceNumber}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
    return datasets


@dataclass(frozen=True)
class Answer:
    """A response: the JSON of an answer and its binary parts, or a problem."""

    status: int
    json: dict[str, Any]
    parts: list[bytes]

    def mask(self, index: int = 0) -> "np.ndarray[Any, Any]":
        """A mask in the shape that its entry states."""
        shape = self.json["parts"][index]["binary_data_shape"]
        sizes = [shape[name] for name in ("depth", "height", "width") if name in shape]
        return np.frombuffer(self.parts[index], np.uint8).reshape(sizes)

    def datasets(self) -> list[Dataset]:
        """The binary parts as DICOM."""
        return [dcmread(io.BytesIO(part)) for part in self.parts]


def related(json_input: dict[str, Any], files: Iterable[Dataset | bytes] = ()) -> bytes:
    """The body of a request, its boundary ``b``."""
    contents = [file if isinstance(file, bytes) else convert_dataset_to_bytes(file) for file in files]
    parts = [json.dumps(json_input).encode(), *contents]
    return b"".join(b"--b\r\n\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def ask(
    app: Gateway, route: str = "/", files: Iterable[Dataset | bytes] = (), accept: str = "", **json_input: Any
) -> Answer:
    """Post a study and its parameters to ``route``."""
    headers = {"Accept": accept} if accept else {}
    body = related(json_input, files)
    response = app.test_client().post(route, data=body, content_type="multipart/related; boundary=b", headers=headers)
    if response.status_code != 200:
        return Answer(response.status_code, response.get_json(), [])
    sent = MultipartDecoder(response.data, response.headers["Content-Type"]).parts
    return Answer(200, json.loads(sent[0].text), [part.content for part in sent[1:-1]])


def serving(target: Any, **options: Any) -> Gateway:
    """An application with one typed model on ``/``."""
    app = Gateway("tested")
    app.model("/", **options)(target)
    return app
