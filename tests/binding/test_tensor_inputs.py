"""Tensors of a request, as its JSON describes them to any door: files that are volumes, and descriptions that lie."""

import io
from typing import Any

import numpy as np
import pytest

from gateway import Image, Mask, Volume
from gateway.binding.typed_model import TypedModel
from gateway.contract.requests import Request
from gateway.errors import LimitExceeded, ParameterRefused, StudyRefused
from gateway.protocol.tensors import MEMBER

VOXELS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
ENTRY = {"name": "volume", "datatype": "FP32", "shape": [2, 3, 4], "file": 0}


def dense(volume: Volume, other: Volume | None = None, level: float = 5) -> Mask:
    """Voxels above a level, those of the other volume too."""
    return Mask((volume.array > level) | (False if other is None else other.array > level), of=volume)


def ask(*entries: Any, files: tuple[bytes, ...] = (VOXELS.tobytes(),), **json: Any) -> Any:
    """Ask the model for its only mask."""
    words = {MEMBER: list(entries), **json}
    answer = TypedModel("/", dense).predict(Request(words, [io.BytesIO(file) for file in files], "0" * 64))
    return answer.buffers[0]


def test_a_file_is_the_volume_that_its_entry_describes() -> None:
    assert np.array_equal(ask(ENTRY, level=7), VOXELS > 7)
    other = ENTRY | {"name": "other", "datatype": "INT16", "file": 1}
    low = np.full(VOXELS.shape, 9, np.int16).tobytes()
    assert ask(ENTRY, other, files=(VOXELS.tobytes(), low), level=8).all()
    swapped = ENTRY | {"file": 1}, other | {"file": 0}
    assert np.array_equal(ask(*swapped, files=(low, VOXELS.tobytes()), level=9), VOXELS > 9)


@pytest.mark.parametrize(
    "entries",
    [
        (ENTRY | {"file": 1},),
        (ENTRY | {"file": -1},),
        (ENTRY | {"file": True},),
        (ENTRY | {"file": "0"},),
        ({name: value for name, value in ENTRY.items() if name != "file"},),
        (ENTRY, ENTRY | {"name": "other"}),
        (ENTRY | {"name": "level"},),
        (ENTRY | {"name": "volume.spacing"},),
        (ENTRY | {"shape": [2, 3, 5]},),
        (ENTRY | {"shape": [24]},),
        (ENTRY | {"datatype": "BYTES"},),
        ("volume",),
        (None,),
    ],
)
def test_a_description_that_does_not_fit_its_file_is_refused(entries: tuple[Any, ...]) -> None:
    with pytest.raises(ParameterRefused) as caught:
        ask(*entries)
    assert caught.value.pointer.startswith(f"/{MEMBER}/")


def test_a_description_is_a_list_with_a_name_for_each() -> None:
    with pytest.raises(ParameterRefused):
        TypedModel("/", dense).predict(Request({MEMBER: {"volume": ENTRY}}, [], "0" * 64))
    with pytest.raises(ParameterRefused):
        ask(ENTRY, ENTRY | {"file": 1}, files=(VOXELS.tobytes(),) * 2)


def test_slices_beyond_those_of_a_study_are_refused() -> None:
    flat = ENTRY | {"shape": [100_001, 1, 1], "datatype": "UINT8"}
    with pytest.raises(LimitExceeded):
        ask(flat, files=(bytes(100_001),))


def test_a_model_reads_of_a_tensor_what_is_stated_alone() -> None:
    seen: dict[str, Any] = {}

    def look(volume: Volume, picture: Image) -> Mask:
        seen.update(shape=volume.shape, stored=volume.stored.dtype, spacing=picture.spacing, affine=picture.affine)
        seen.update(writeable=volume.array.flags.writeable, text=f"{volume} {picture}")
        for what in ("affine", "spacing", "modality", "header.PatientID", "description", "study_instance_uid"):
            with pytest.raises(StudyRefused, match="send"):
                value: Any = volume
                for name in what.split("."):
                    value = getattr(value, name)
        with pytest.raises(StudyRefused, match="WindowWidth"):
            picture.header.get("WindowWidth", 0)
        with pytest.raises(StudyRefused):
            assert 0x00100010 in picture.instance.header
        return Mask(volume.array > 5, of=volume)

    words = {MEMBER: [ENTRY, {"name": "picture", "datatype": "UINT8", "shape": [2, 2, 3], "file": 1}]}
    files = [io.BytesIO(VOXELS.tobytes()), io.BytesIO(bytes(12))]
    TypedModel("/", look).predict(Request(words, list(files), "0" * 64))
    assert seen == {
        "shape": (2, 3, 4),
        "stored": np.float32,
        "spacing": None,
        "affine": None,
        "writeable": False,
        "text": "<Volume (2, 3, 4) of a tensor> <Image (2, 2) of a tensor>",
    }
