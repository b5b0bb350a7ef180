"""The tensors of a model: what it takes and what it answers, in the words of the protocol's metadata.

A Volume and an Image are tensors by the names of their arguments, with what their sender states of them beside them.
A study is a tensor of DICOM files for every model, since only these carry all that a model may need.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.contract.model import Argument, Model, ModelDescription
from gateway.contract.requests import JSON
from gateway.protocol.kinds import KINDS
from gateway.protocol.tensors import BYTES

ANY = "application/octet-stream"
PLATFORM = "inference-gateway"
STUDY, FILES = "study", "files"
"""The tensor of files, and its name for a model that has an argument of the first name."""
RESPONSE = "response"
"""The tensor of the whole JSON of an answer, as protocol 1.0 has it."""
VOLUME, IMAGE = "slice, row, column", "row, column"
BATCH = "one axis of 1 before these is accepted, and the answer has it then"


@dataclass(frozen=True)
class TensorSlot:
    """A tensor of a model. ``shape`` has -1 for any length; ``files`` is True where each element is a file."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: JSON = field(default_factory=dict)
    files: bool = False
    colour: bool = False

    def configure(self) -> JSON:
        """Return the tensor as a configuration has it, in Triton's words."""
        kind = "STRING" if self.datatype == BYTES else self.datatype
        return {"name": self.name, "data_type": f"TYPE_{kind}", "dims": list(self.shape)}

    @property
    def optional(self) -> bool:
        """True where a request may be without it."""
        return self.parameters.get("optional") is True

    def describe(self) -> JSON:
        """Return the tensor as metadata has it."""
        return {
            "name": self.name,
            "datatype": self.datatype,
            "shape": list(self.shape),
            "parameters": self.parameters,
        }


def inputs_of(description: ModelDescription) -> list[TensorSlot]:
    """Return the tensors that a model takes; those of a model without a declaration are files."""
    arguments = description.arguments
    if arguments is None:
        return [TensorSlot(STUDY, BYTES, (-1,), {"content": "the files of the request"}, files=True)]
    named = {one.name for one in arguments if one.type in ("Volume", "Image")}
    slots = [slot for one in arguments for slot in _slots(one)]
    if any(one.type != "Attachment" for one in arguments):
        content = {"content": "DICOM files (PS3.10), each an element", "optional": bool(slots)}
        slots.append(TensorSlot(FILES if STUDY in named else STUDY, BYTES, (-1,), content, files=True))
    return slots


def _slots(argument: Argument) -> Iterator[TensorSlot]:
    """Yield the tensors that stand for an argument."""
    name = argument.name
    if argument.type == "Attachment":
        content = {"content": "files that are not DICOM", "optional": argument.optional or argument.many}
        yield TensorSlot(name, BYTES, (-1,) if argument.many else (1,), content, files=True)
    elif argument.type in ("Volume", "Image") and not argument.many:
        volume = argument.type == "Volume"
        axes = {"axes": VOLUME if volume else IMAGE, "batch": BATCH, "optional": True}
        more = {} if volume else {"colour": "UINT8 (row, column, 3) is an image in RGB"}
        yield TensorSlot(name, "FP32", (-1,) * (3 if volume else 2), axes | more, colour=not volume)
        size = 3 if volume else 2
        yield TensorSlot(f"{name}.spacing", "FP64", (size,), {"unit": "mm", "axes": axes["axes"], "optional": True})
        if volume:
            content = {"content": "index (slice, row, column, 1) to patient (x, y, z, 1) in mm, LPS", "optional": True}
            yield TensorSlot(f"{name}.affine", "FP64", (4, 4), content)
        yield TensorSlot(
            f"{name}.modality", BYTES, (1,), {"content": "a modality of DICOM, such as CT", "optional": True}
        )


MASKS: Mapping[str, tuple[str, str]] = {
    "Mask": ("boolean_mask", "BOOL"),
    "ProbabilityMask": ("probability_mask", "UINT8"),
    "LabelMask": ("numeric_label_mask", "UINT8"),
    "Heatmap": ("heatmap", "UINT8"),
}
"""Findings that are arrays: the name and the data type of their tensors."""
MASK_TYPES = dict(MASKS.values())
LISTS: Mapping[str, tuple[str, ...]] = {
    "BoundingBox": ("bounding_boxes_2d",),
    "LinearMeasurement": ("linear_measurements_2d",),
    "Classification": ("study_ml_json", "series_ml_json"),
}
"""Findings that are JSON: the tensors of texts, an element for each item."""
FILE_KINDS = {name: kind.media_type for name, kind in KINDS.items() if not kind.is_mask} | {"file": ANY}
"""The tensors of files, by name with their media types: DICOM objects, and the output of a WASM function."""


def outputs_of(description: ModelDescription) -> list[TensorSlot]:
    """Return the tensors that a model may answer."""
    return [*_masks(description), *_texts(description), *_files()]


def _masks(description: ModelDescription) -> Iterator[TensorSlot]:
    arguments: Sequence[Argument] = description.arguments or ()
    flat = bool(arguments) and all(one.type == "Image" for one in arguments)
    axes = {"axes": IMAGE if flat else VOLUME, "more": "the second of its kind is named .2, and so on"}
    for finding, (name, datatype) in MASKS.items():
        if description.findings is None or finding in description.findings:
            yield TensorSlot(name, datatype, (-1,) * (2 if flat else 3), axes)


def _texts(description: ModelDescription) -> Iterator[TensorSlot]:
    for finding, names in LISTS.items():
        if description.findings is None or finding in description.findings:
            for name in names:
                yield TensorSlot(name, BYTES, (-1,), {"content": "JSON, an item in each element"})
    yield TensorSlot(RESPONSE, BYTES, (1,), {"content": "the whole JSON of the answer (protocol 1.0)"})


def _files() -> Iterator[TensorSlot]:
    for name, media_type in FILE_KINDS.items():
        content = {"content": "files, each an element", "content_type": media_type}
        yield TensorSlot(name, BYTES, (-1,), content, files=True)


def metadata(name: str, model: Model, version: str) -> JSON:
    """Return the metadata of a model; ``parameters`` has the JSON Schema of those of its requests."""
    description = model.describe()
    return {
        "name": name,
        "versions": [version] if version else [],
        "platform": PLATFORM,
        "inputs": [slot.describe() for slot in inputs_of(description)],
        "outputs": [slot.describe() for slot in outputs_of(description)],
        "parameters": {
            "description": description.text,
            "request_parameters": model.parameters_schema("#/$defs/{model}"),
        },
    }


def configuration(name: str, model: Model) -> JSON:
    """Return the configuration of a model, which Triton's perf_analyzer reads; it has no batches of its own.

    https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_configuration.md
    """
    description = model.describe()
    return {
        "name": name,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "max_batch_size": 0,
        "input": [slot.configure() | {"optional": slot.optional} for slot in inputs_of(description)],
        "output": [slot.configure() for slot in outputs_of(description)],
    }
