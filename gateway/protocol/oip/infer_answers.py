"""A result of protocol 1.0 -> the tensors of an inference response: its JSON, and the bytes that follow it.

A mask is a tensor of its own, on the bytes of the result. Texts and DICOM files are elements of BYTES.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gateway.contract.requests import JSON, BinaryPart, Result
from gateway.errors import LimitExceeded
from gateway.protocol.buffers import shape_of
from gateway.protocol.kinds import kind_of
from gateway.protocol.oip.infer_requests import PREFIX, InferRequest
from gateway.protocol.oip.model_tensors import LISTS, MASK_TYPES, RESPONSE
from gateway.protocol.tensors import BYTES, DTYPES

DESCRIBED = ("label", "binary_type", "SeriesInstanceUID", "probability_threshold")
"""Members of an entry of ``parts`` that are parameters of its tensor as they are."""
AS_TEXT = ("label_map", "dicom_image", "dicomConformance")
"""Members that are JSON in a text, since a parameter of the protocol is a text, a number or a truth value."""


@dataclass(frozen=True)
class OutputTensor:
    """A tensor of a response; ``elements`` are its bytes, those of each element for BYTES."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    elements: list[memoryview]
    parameters: JSON = field(default_factory=dict)
    is_text: bool = True

    @property
    def size(self) -> int:
        """Bytes behind the JSON."""
        more = PREFIX * len(self.elements) if self.datatype == BYTES else 0
        return more + sum(element.nbytes for element in self.elements)

    def pieces(self) -> Iterator[memoryview]:
        """Yield the bytes behind the JSON."""
        for element in self.elements:
            if self.datatype == BYTES:
                yield memoryview(element.nbytes.to_bytes(PREFIX, "little"))
            yield element

    def data(self, limit: int) -> list[Any]:
        """Return the elements for the JSON: numbers, texts, files in base64. Raises LimitExceeded."""
        if self.datatype == BYTES:
            return [str(one, "utf-8") if self.is_text else base64.b64encode(one).decode() for one in self.elements]
        values = np.frombuffer(self.elements[0], DTYPES[self.datatype])
        if values.size > limit:
            what = f"The output {self.name} as JSON, which binary_data would send as bytes,"
            raise LimitExceeded("max_json_values", limit, "values", what=what)
        found: list[Any] = values.tolist()
        return found


@dataclass(frozen=True)
class InferAnswer:
    """A response: its JSON, and the tensors whose bytes follow it."""

    text: bytes
    binary: list[OutputTensor]

    @property
    def size(self) -> int:
        """Bytes of the whole body."""
        return len(self.text) + sum(one.size for one in self.binary)

    def pieces(self) -> Iterator[memoryview]:
        """Yield the bytes of the body."""
        yield memoryview(self.text)
        for one in self.binary:
            yield from one.pieces()


def infer_answer(result: Result, infer: InferRequest, model: Mapping[str, str], limit: int) -> InferAnswer:
    """Return the response to a request; ``model`` has the members that name the model.

    Of numbers, up to ``limit`` may stand in the JSON; more raise LimitExceeded.
    """
    outputs, binary = [], []
    for one in _tensors(result, batched=infer.batched):
        if infer.outputs is not None and one.name not in infer.outputs:
            continue
        described: JSON = {"name": one.name, "datatype": one.datatype, "shape": list(one.shape)}
        if infer.outputs[one.name] if infer.outputs is not None else infer.binary:
            binary.append(one)
            described["parameters"] = one.parameters | {"binary_data_size": one.size}
        else:
            encoding = {} if one.is_text or one.datatype != BYTES else {"encoding": "base64"}
            described |= {"parameters": one.parameters | encoding, "data": one.data(limit)}
        outputs.append(described)
    identity = {"id": infer.id} if infer.id else {}
    members = {**model, **identity, "parameters": {"input_digest": result.input_digest}, "outputs": outputs}
    return InferAnswer(json.dumps(members).encode(), binary)


def _tensors(result: Result, *, batched: bool) -> Iterator[OutputTensor]:
    document = json.loads(result.json_bytes)
    numbers: Counter[str] = Counter()
    files: dict[str, list[BinaryPart]] = {}
    labels: dict[str, list[str]] = {}
    for entry, part in zip(document.get("parts", []), result.parts, strict=True):
        name = str(entry.get("binary_type", ""))
        if kind_of(entry).is_mask and isinstance(entry.get("binary_data_shape"), dict):
            numbers[name] += 1
            yield _mask(f"{name}.{numbers[name]}" if numbers[name] > 1 else name, entry, part, document, batched)
        else:
            files.setdefault(name or "files", []).append(part)
            labels.setdefault(name or "files", []).append(str(entry.get("label", "")))
    for name, parts in files.items():
        content = {"content_type": parts[0].media_type, "labels": json.dumps(labels[name])}
        yield OutputTensor(name, BYTES, (len(parts),), [part.data for part in parts], content, is_text=False)
    for member in (name for names in LISTS.values() for name in names):
        if found := document.get(member):
            items = found if isinstance(found, list) else [found]
            texts = [memoryview(json.dumps(item).encode()) for item in items]
            yield OutputTensor(member, BYTES, (len(texts),), texts)
    yield OutputTensor(RESPONSE, BYTES, (1,), [memoryview(result.json_bytes)])


def _mask(name: str, entry: JSON, part: BinaryPart, document: JSON, batched: bool) -> OutputTensor:
    """A mask in the axes of what it lies on; a single time point is no axis."""
    lengths = entry["binary_data_shape"]
    shape = shape_of(lengths)[1:] if lengths.get("timepoints") == 1 else shape_of(lengths)
    parameters = {member: entry[member] for member in DESCRIBED if member in entry}
    parameters |= {member: json.dumps(entry[member]) for member in AS_TEXT if member in entry}
    if "palette" in entry:
        parameters["palette"] = json.dumps(document.get("palettes", {}).get(entry["palette"]))
    datatype = MASK_TYPES[str(entry["binary_type"])]
    return OutputTensor(name, datatype, (1, *shape) if batched else tuple(shape), [part.data], parameters)
