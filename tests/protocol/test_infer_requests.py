"""The JSON of the Open Inference Protocol: whatever it is, it is read or refused in words."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from gateway.contract.model import Argument, ModelDescription
from gateway.contract.requests import JSON
from gateway.errors import ParameterRefused
from gateway.protocol.oip.infer_requests import ALIGNMENT, InferRequest
from gateway.protocol.request import parse_json
from gateway.protocol.tensors import DTYPES, MEMBER, tensors_of

DESCRIPTION = ModelDescription(
    name="model",
    arguments=[
        Argument(name="volume", type="Volume"),
        Argument(name="image", type="Image", optional=True),
        Argument(name="notes", type="Attachment", many=True),
    ],
)
SCALARS = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(max_size=8)
)
ANYTHING = some.recursive(
    SCALARS, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=6), inner, max_size=3)
)
NAMES = some.sampled_from(["volume", "volume.spacing", "volume.modality", "image", "notes", "study", "other"])
LENGTHS = some.integers(-1, 4) | some.integers(0, 1 << 70) | ANYTHING
TENSORS = some.fixed_dictionaries(
    {},
    optional={
        "name": NAMES | ANYTHING,
        "datatype": some.sampled_from([*DTYPES, "BYTES", "BF16"]) | ANYTHING,
        "shape": some.lists(LENGTHS, max_size=5) | ANYTHING,
        "parameters": some.fixed_dictionaries({}, optional={"binary_data_size": LENGTHS}) | ANYTHING,
        "data": ANYTHING,
    },
)
WORDS = some.fixed_dictionaries(
    {},
    optional={
        "id": ANYTHING,
        "inputs": some.lists(TENSORS, max_size=3) | ANYTHING,
        "outputs": some.lists(TENSORS, max_size=3) | ANYTHING,
        "parameters": some.dictionaries(some.sampled_from(["timeout", "a", "sequence_id"]), ANYTHING) | ANYTHING,
    },
)


def read(words: JSON, *, binary: bool) -> InferRequest | None:
    """The request, None where it is refused."""
    try:
        infer = InferRequest.of(parse_json(json.dumps(words).encode(), None), DESCRIPTION, binary=binary)
        for one in infer.inputs:
            if one.size is None:
                assert len(b"".join(one.pieces())) >= 0
    except ParameterRefused as error:
        assert error.detail
        return None
    return infer


@given(WORDS, some.booleans())
def test_any_json_is_read_or_refused(words: JSON, binary: bool) -> None:
    read(words, binary=binary)


@given(
    some.lists(some.integers(0, 3), min_size=3, max_size=3), some.sampled_from(sorted(DTYPES)), some.integers(0, 300)
)
def test_what_is_read_agrees_with_its_bytes(shape: list[int], datatype: str, size: int) -> None:
    tensor: dict[str, Any] = {"name": "volume", "datatype": datatype, "shape": shape}
    infer = read({"inputs": [tensor | {"parameters": {"binary_data_size": size}}]}, binary=True)
    expected = shape[0] * shape[1] * shape[2] * int(DTYPES[datatype][2:])
    assert (infer is not None) == (size == expected)
    if infer is not None:
        assert infer.size == size
        assert len(infer.json()) % ALIGNMENT == 0
        (found,) = tensors_of(json.loads(infer.json()), [size])
        assert (found.nbytes, list(found.shape), json.loads(infer.json())[MEMBER][0]["file"]) == (size, shape, 0)
