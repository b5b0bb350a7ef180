"""A request's tensors -> the volumes and images of a model, where DICOM files are not what was sent.

The tensor of an argument has its name. What belongs to it is named after it: ``volume.spacing`` (3 mm),
``volume.affine`` (4 x 4), ``volume.modality`` (text such as CT).
"""

import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gateway.binding.declaration import Declaration, Input
from gateway.binding.stated_series import StatedSeries
from gateway.contract.findings import Conformance
from gateway.contract.requests import Request
from gateway.dicom.volumes.study import Image, Volume
from gateway.dicom.volumes.tensor_images import Stated, TensorImage, TensorVolume
from gateway.errors import ParameterRefused
from gateway.protocol.faults import pointer
from gateway.protocol.tensors import BYTES, MEMBER, Tensor, tensors_of

STATED = {"spacing": (3,), "affine": (4, 4), "modality": (1,)}
"""What a tensor may state of a volume, with the shape of the tensor that states it."""
LONGEST_MODALITY = 16
"""Characters of a modality (CS, PS3.5 6.2)."""


class TensorInputs:
    """The tensors of one request; none in a request of DICOM files."""

    def __init__(self, request: Request) -> None:
        """Raises ParameterRefused for a description that is malformed or does not fit its file."""
        self._files = request.instances
        sizes = [file.seek(0, os.SEEK_END) for file in self._files] if MEMBER in request.json else []
        self._tensors = {one.name: one for one in tensors_of(request.json, sizes)}

    @property
    def names(self) -> frozenset[str]:
        """The names of the tensors."""
        return frozenset(self._tensors)

    @property
    def other_files(self) -> list[BinaryIO]:
        """The files of the request that are not tensors, in its order."""
        if not self._tensors:
            return self._files
        taken = {one.file for one in self._tensors.values()}
        return [file for place, file in enumerate(self._files) if place not in taken]

    def check(self, declaration: Declaration) -> None:
        """Check that the model takes each tensor. Raises ParameterRefused."""
        known = {name for one in declaration.inputs for name in tensor_names(one)}
        for number, name in enumerate(self._tensors):
            if name not in known:
                names = ", ".join(sorted(known)) or "DICOM files alone"
                sentence = f"This model takes no such tensor; it takes {names}."
                raise ParameterRefused([(pointer((MEMBER, number, "name")), sentence)])
            owner = name.partition(".")[0]
            if owner not in self._tensors:
                raise ParameterRefused([(pointer((MEMBER, number, "name")), f"The tensor {owner} is missing.")])

    def argument(self, declared: Input) -> tuple[Any, list[Conformance]]:
        """Return the Volume or Image of a tensor, and which recommended conditions hold.

        Raises ParameterRefused for a tensor of another shape or type, StudyRefused as the model's requirements are.
        """
        tensor = self._tensors[declared.name]
        stated = Stated(
            declared.name,
            self._pixels(tensor, declared),
            self._numbers(f"{declared.name}.spacing", STATED["spacing"] if declared.type is Volume else (2,)),
            self._numbers(f"{declared.name}.affine", STATED["affine"]),
            self._modality(f"{declared.name}.modality"),
        )
        if stated.spacing is not None and not (stated.spacing > 0).all():
            raise self._fault(f"{declared.name}.spacing", "A spacing should be above 0 mm.")
        slices = len(stated.array) if declared.type is Volume else 1
        ask = f"send the tensor {stated.name}.modality too"
        conformance = StatedSeries("the tensor", stated.modality, slices, ask).conformance(declared.requires)
        file = self._files[tensor.file]
        return (TensorVolume if declared.type is Volume else TensorImage)(stated, file), conformance

    def _pixels(self, tensor: Tensor, declared: Input) -> NDArray[Any]:
        colour = tensor.datatype == "UINT8" and len(tensor.shape) == 3 and tensor.shape[-1] == 3
        fits = len(tensor.shape) == 3 if declared.type is Volume else len(tensor.shape) == 2 or colour
        if tensor.datatype == BYTES or not fits:
            wanted = (
                "(slice, row, column)" if declared.type is Volume else "(row, column), or (row, column, 3) of UINT8"
            )
            raise self._fault(tensor.name, f"This tensor should be an array of numbers, {wanted}.")
        return self._array(tensor)

    def _array(self, tensor: Tensor) -> NDArray[Any]:
        """A tensor as an array on the bytes of its file, read-only, without a copy where these lie in memory."""
        file = self._files[tensor.file]
        getbuffer = getattr(file, "getbuffer", None)
        file.seek(0)
        data = memoryview(file.read() if getbuffer is None else getbuffer()).toreadonly()
        if tensor.datatype == "BOOL" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
            raise self._fault(tensor.name, "A BOOL should be a byte of 0 or 1.", "datatype")
        return np.frombuffer(data, tensor.dtype).reshape(tensor.shape)

    def _numbers(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
        tensor = self._tensors.get(name)
        if tensor is None:
            return None
        if tensor.datatype not in ("FP32", "FP64") or tensor.shape != shape:
            raise self._fault(name, f"This tensor should be FP64 or FP32 of the shape {list(shape)}.")
        numbers = self._array(tensor).astype(np.float64)
        if not np.isfinite(numbers).all():
            raise self._fault(name, "Its numbers should be finite.")
        return numbers

    def _modality(self, name: str) -> str | None:
        tensor = self._tensors.get(name)
        if tensor is None:
            return None
        file = self._files[tensor.file]
        file.seek(0)
        data = file.read(LONGEST_MODALITY + 1)
        if tensor.datatype != BYTES or not (data.isascii() and 0 < len(data) <= LONGEST_MODALITY):
            raise self._fault(
                name, f"This tensor should be BYTES, one text of 1 to {LONGEST_MODALITY} ASCII characters."
            )
        return data.decode()

    def _fault(self, name: str, sentence: str, member: str = "shape") -> ParameterRefused:
        number = list(self._tensors).index(name)
        return ParameterRefused([(pointer((MEMBER, number, member)), sentence)])


def tensor_names(declared: Input) -> Iterator[str]:
    """Yield the names of the tensors that may stand for an argument."""
    if declared.type not in (Volume, Image) or declared.many:
        return
    yield declared.name
    for what in STATED if declared.type is Volume else ("spacing", "modality"):
        yield f"{declared.name}.{what}"
