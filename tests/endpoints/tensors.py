"""Requests and responses of the Open Inference Protocol, written and read here by its text alone."""

import io
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

HEADER = "Inference-Header-Content-Length"
KINDS = {"f4": "FP32", "f8": "FP64", "u1": "UINT8", "i2": "INT16", "b1": "BOOL", "f2": "FP16", "i8": "INT64"}
DTYPES = {"BOOL": np.bool_, "UINT8": np.uint8}
Outputs = dict[str, tuple[dict[str, Any], Any]]
"""Tensors by name: what the JSON says of each, and its array or its elements."""


def entry(name: str, array: Any, **more: Any) -> dict[str, Any]:
    """An input whose bytes follow the JSON."""
    size = {"binary_data_size": array.nbytes}
    kind = KINDS[array.dtype.str[1:]]
    return {"name": name, "datatype": kind, "shape": list(array.shape), "parameters": size, **more}


def elements(name: str, *data: bytes) -> tuple[dict[str, Any], bytes]:
    """An input of BYTES, and its bytes."""
    body = b"".join(struct.pack("<I", len(one)) + one for one in data)
    size = {"binary_data_size": len(body)}
    return {"name": name, "datatype": "BYTES", "shape": [len(data)], "parameters": size}, body


def message(words: Any, *data: bytes) -> tuple[bytes, dict[str, str]]:
    """A body of JSON, or of bytes that are none, with tensors behind it, and its field."""
    text = words if isinstance(words, bytes) else json.dumps(words).encode()
    return b"".join((text, *data)), {HEADER: str(len(text))}


def outputs(body: bytes, headers: Mapping[str, str]) -> Outputs:
    """The tensors of a response."""
    size = int(headers.get(HEADER, len(body)))
    words, data = json.loads(body[:size]), io.BytesIO(body[size:])
    found = {}
    for one in words["outputs"]:
        value = one.get("data")
        if value is None:
            value = data.read(one["parameters"]["binary_data_size"])
        found[one["name"]] = (one, _elements(one, value))
    assert data.read() == b""
    return found


def _elements(one: dict[str, Any], value: Any) -> Any:
    if one["datatype"] == "BYTES":
        return value if isinstance(value, list) else list(_split(value))
    dtype = DTYPES[one["datatype"]]
    array: Any = np.array(value, dtype) if isinstance(value, list) else np.frombuffer(value, dtype)
    return array.reshape(one["shape"])


def _split(data: bytes) -> Any:
    while data:
        (length,) = struct.unpack("<I", data[:4])
        yield data[4 : 4 + length]
        data = data[4 + length :]
