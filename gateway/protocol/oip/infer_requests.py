"""The JSON of an inference request -> its tensors, its parameters, and what it wants answered.

The bytes of a tensor follow the JSON (the binary tensor extension), or stand in it as ``data``.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from gateway.contract.model import ModelDescription
from gateway.contract.requests import JSON
from gateway.errors import ParameterRefused
from gateway.protocol.oip.model_tensors import MASK_TYPES, TensorSlot, inputs_of, outputs_of
from gateway.protocol.tensors import BYTES, MEMBER, Tensor

HEADER = "Inference-Header-Content-Length"
"""The field with the bytes of the JSON, where other bytes follow it."""
RESERVED = frozenset({"binary_data_output", "timeout", "priority"})
"""Parameters of a request that are the protocol's and not the model's. The priority is not used."""
LONGEST_TIMEOUT = 1e15
"""Microseconds, 31 years: above any limit of a server, and within a float."""
UNSUPPORTED = ("sequence_id", "sequence_start", "sequence_end")
"""Parameters of models that remember requests, which no model here does."""
PREFIX = 4
"""Bytes of the length, little-endian, before each element of BYTES."""
ALIGNMENT = 64
"""The JSON is filled up with spaces to a multiple of so many bytes, so that numbers after it lie as numpy puts them."""


@dataclass(frozen=True)
class InputTensor:
    """A tensor of a request: ``size`` bytes after the JSON, or ``data`` in it; ``files`` where elements are files."""

    tensor: Tensor
    at: str
    files: bool
    size: int | None
    data: Any = None

    def fault(self, member: str, sentence: str) -> ParameterRefused:
        """Return the refusal of one member."""
        return ParameterRefused([(f"{self.at}/{member}", sentence)])

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of ``data``: one piece for a tensor of numbers, one for each element of BYTES.

        Raises ParameterRefused.
        """
        return self._texts() if self.tensor.datatype == BYTES else iter([self._numbers()])

    def _texts(self) -> Iterator[bytes]:
        items = _flat(self.data)
        if len(items) != self.tensor.size or not all(isinstance(item, str) for item in items):
            raise self.fault("data", f"The data should be {self.tensor.size} texts.")
        return (item.encode() for item in items)

    def _numbers(self) -> bytes:
        try:
            sent = np.array(self.data)
        except (ValueError, OverflowError):
            raise self.fault("data", "The data should be a list of numbers, flat or in the shape.") from None
        if sent.size != self.tensor.size or (sent.ndim > 1 and sent.shape != self.tensor.shape):
            raise self.fault("data", f"The data should have {self.tensor.size} elements, as the shape says.")
        wanted = np.dtype(self.tensor.dtype)
        kinds = {"b": "b", "f": "iuf"}.get(wanted.kind, "iu")
        with np.errstate(over="ignore"):
            values = sent.astype(wanted) if sent.size and sent.dtype.kind in kinds else np.empty(0, wanted)
        exact = wanted.kind == "f" and np.isfinite(values).all()
        if len(values.ravel()) != sent.size or not (exact or np.array_equal(values, sent)):
            raise self.fault("data", f"The data should be values of {self.tensor.datatype}.")
        return values.tobytes()


def _flat(data: Any) -> list[Any]:
    """The elements of nested lists; deeper ones than tensors have stay as they are, and are refused."""
    items = data if isinstance(data, list) else [data]
    return [inner for item in items for inner in (item if isinstance(item, list) else [item])]


@dataclass(frozen=True)
class InferRequest:
    """An inference request in words.

    ``outputs`` are the names of the wanted tensors, each with True where its bytes should follow the JSON; None where
    all are wanted, then ``binary`` says so of them. ``batched`` is True where the tensors have a leading axis of 1.
    ``timeout`` is in seconds.
    """

    id: str
    inputs: tuple[InputTensor, ...]
    parameters: JSON
    outputs: Mapping[str, bool] | None = None
    binary: bool = False
    timeout: float | None = None
    batched: bool = False

    @property
    def size(self) -> int:
        """Bytes that follow the JSON."""
        return sum(one.size or 0 for one in self.inputs)

    def json(self) -> bytes:
        """Return the JSON of the request in the gateway's words: its parameters, and its tensors where there are any.

        Files are numbered as ``inputs`` bring them.
        """
        entries, place = [], 0
        for one in self.inputs:
            if not one.files:
                entries.append(replace(one.tensor, file=place).entry())
            place += one.tensor.size if one.files else 1
        text = json.dumps(self.parameters | ({MEMBER: entries} if entries else {})).encode()
        return text.ljust(math.ceil(len(text) / ALIGNMENT) * ALIGNMENT) if entries else text

    def located(self, error: ParameterRefused) -> ParameterRefused:
        """Return a refusal of the request in the gateway's words with the pointers of the request as it was sent."""
        tensors = [one for one in self.inputs if not one.files]
        faults = []
        for fault in error.problem()["errors"]:
            _, member, *rest = fault["pointer"].split("/")
            inside = member == MEMBER and rest and rest[0].isdigit() and int(rest[0]) < len(tensors)
            start = [tensors[int(rest[0])].at, *rest[1:]] if inside else ["/parameters", member, *rest]
            faults.append(("/".join(start), fault["detail"]))
        return ParameterRefused(faults, more=error.problem().get("more", 0))

    @classmethod
    def of(cls, words: JSON, description: ModelDescription, *, binary: bool) -> Self:
        """Read a request for a model; ``binary`` is True where bytes may follow the JSON. Raises ParameterRefused."""
        reading = _Reading(words, description, binary)
        parameters = reading.parameters()
        return cls(
            reading.id(),
            reading.inputs(),
            {name: value for name, value in parameters.items() if name not in RESERVED},
            reading.outputs(),
            parameters.get("binary_data_output") is True,
            reading.timeout(parameters),
            reading.batched,
        )


@dataclass
class _Reading:
    words: JSON
    description: ModelDescription
    binary: bool
    batched: bool = field(default=False, init=False)

    def id(self) -> str:
        found = self.words.get("id", "")
        if not isinstance(found, str) or len(found) > 256:
            raise ParameterRefused([("/id", "The id should be text of at most 256 characters.")])
        return found

    def parameters(self) -> JSON:
        found = self.words.get("parameters", {})
        if not isinstance(found, dict):
            raise ParameterRefused([("/parameters", "The parameters should be an object.")])
        for name in UNSUPPORTED:
            if found.pop(name, None):
                raise ParameterRefused([(f"/parameters/{name}", "No model here takes sequences; leave it out.")])
        if MEMBER in found:
            raise ParameterRefused([(f"/parameters/{MEMBER}", "This name is the gateway's; send tensors as inputs.")])
        return found

    def timeout(self, parameters: JSON) -> float | None:
        """Seconds; the parameter is in microseconds, as Triton's."""
        found = parameters.get("timeout", 0)
        if type(found) not in (int, float) or not 0 <= found <= LONGEST_TIMEOUT:
            raise ParameterRefused([("/parameters/timeout", "The timeout should be a number of microseconds.")])
        return found / 1e6 if found else None

    def inputs(self) -> tuple[InputTensor, ...]:
        entries = self.words.get("inputs", [])
        if not isinstance(entries, list):
            raise ParameterRefused([("/inputs", "The inputs should be a list.")])
        slots, found = inputs_of(self.description), list[InputTensor]()
        for number, entry in enumerate(entries):
            one = self._input(entry, f"/inputs/{number}", slots)
            if any(one.tensor.name == other.tensor.name and one.files == other.files for other in found):
                raise one.fault("name", "Another input has this name.")
            found.append(one)
        return tuple(found)

    def _input(self, entry: Any, at: str, slots: Sequence[TensorSlot]) -> InputTensor:
        tensor = Tensor.of(entry, at)
        slot = next((one for one in slots if one.name == tensor.name), None)
        if slot is None:
            names = ", ".join(one.name for one in slots)
            raise ParameterRefused([(f"{at}/name", f"This model takes no such input; it takes {names or 'none'}.")])
        tensor = self._without_batch(tensor, slot)
        given = _members(entry, at)
        one = InputTensor(tensor, at, slot.files, given.get("binary_data_size"), entry.get("data"))
        if (tensor.datatype == BYTES) != (slot.datatype == BYTES):
            raise one.fault(
                "datatype",
                f"This input is {slot.datatype}, or another type of numbers."
                if slot.datatype != BYTES
                else "This input is BYTES.",
            )
        if not _fits(tensor, slot):
            raise one.fault("shape", f"The shape should be {list(slot.shape)}, where -1 is any length.")
        _check_bytes(one, given, binary=self.binary)
        return one

    def _without_batch(self, tensor: Tensor, slot: TensorSlot) -> Tensor:
        """Take a leading axis of 1 off."""
        more = len(tensor.shape) - len(slot.shape)
        colour = slot.colour and tensor.datatype == "UINT8" and tensor.shape[-1:] == (3,)
        if tensor.shape[:1] != (1,) or more != 1 + colour:
            return tensor
        self.batched = self.batched or slot.datatype != BYTES
        return replace(tensor, shape=tensor.shape[1:])

    def outputs(self) -> dict[str, bool] | None:
        entries = self.words.get("outputs")
        if entries is None or entries == []:
            return None
        if not isinstance(entries, list):
            raise ParameterRefused([("/outputs", "The outputs should be a list.")])
        known, found = {slot.name for slot in outputs_of(self.description)}, dict[str, bool]()
        for number, entry in enumerate(entries):
            at = f"/outputs/{number}"
            name = entry.get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str) or not _is_output(name, known):
                sentence = f"This model has no such output; it has {', '.join(sorted(known))}."
                raise ParameterRefused([(f"{at}/name", sentence)])
            given = _members(entry, at)
            if given.get("classification"):
                raise ParameterRefused([(f"{at}/parameters/classification", "No output is a classification.")])
            found[name] = given.get("binary_data", self.words.get("parameters", {}).get("binary_data_output")) is True
        return found


def _is_output(name: str, known: set[str]) -> bool:
    """Return True for the name of an output, and for that of a further mask, such as ``boolean_mask.2``."""
    base, _, number = name.partition(".")
    return name in known or (base in known and base in MASK_TYPES and number.isascii() and number.isdigit())


def _members(entry: JSON, at: str) -> JSON:
    found = entry.get("parameters", {})
    if not isinstance(found, dict):
        raise ParameterRefused([(f"{at}/parameters", "The parameters should be an object.")])
    if any(name.startswith("shared_memory") for name in found):
        raise ParameterRefused([(f"{at}/parameters", "Shared memory is not offered; send and take the bytes.")])
    return found


def _fits(tensor: Tensor, slot: TensorSlot) -> bool:
    if slot.colour and tensor.datatype == "UINT8" and tensor.shape[2:] == (3,):
        return True
    pairs = zip(tensor.shape, slot.shape, strict=False)
    return len(tensor.shape) == len(slot.shape) and all(wanted in (-1, length) for length, wanted in pairs)


def _check_bytes(one: InputTensor, given: JSON, *, binary: bool) -> None:
    """Check that an input has its bytes in one place, and as many as its shape says."""
    size, in_json = given.get("binary_data_size"), one.data is not None
    at = "parameters/binary_data_size"
    if (size is not None) == in_json:
        raise one.fault("data", "An input has either data, or the parameter binary_data_size.")
    if in_json:
        return
    if type(size) is not int or size < 0:
        raise one.fault(at, "The size should be a whole number of bytes.")
    if not binary:
        raise one.fault(at, f"Bytes follow the JSON only with the field {HEADER}.")
    least = one.tensor.size * PREFIX if one.tensor.datatype == BYTES else one.tensor.nbytes
    if size < least or (size != least and one.tensor.datatype != BYTES):
        raise one.fault(at, f"The shape needs {least} bytes of {one.tensor.datatype}; the size is {size}.")
