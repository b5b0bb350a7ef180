"""Declarations of signatures, and the errors at the registration of one that declares no model."""

from typing import Annotated, Any, BinaryIO

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway import (
    Attachment,
    BoundingBox,
    Finding,
    Gateway,
    Image,
    Mask,
    ProbabilityMask,
    Request,
    Requires,
    Series,
    Study,
    Volume,
)
from gateway.binding.declaration import FINDINGS, Input, read_declaration


def test_types_in_the_signature_declare_inputs_parameters_and_outputs() -> None:
    def find(ct: Volume, extra: list[Attachment], threshold: float = -600) -> list[Mask | BoundingBox]:
        """Find what there is."""
        return []

    declared = read_declaration(find)
    assert (declared.name, declared.description) == ("find", "Find what there is.")
    assert [(one.name, one.type, one.many, one.optional) for one in declared.inputs] == [
        ("ct", Volume, False, False),
        ("extra", Attachment, True, False),
    ]
    assert list(declared.parameters.model_fields) == ["threshold"]
    assert declared.outputs == (Mask, BoundingBox)
    assert not declared.may_be_nothing


@pytest.mark.parametrize(
    ("annotation", "type_", "many", "optional"),
    [
        (Volume, Volume, False, False),
        (Volume | None, Volume, False, True),
        (list[Volume], Volume, True, False),
        (Image, Image, False, False),
        (list[Image], Image, True, False),
        (Series, Series, False, False),
        (list[Series], Series, True, False),
        (Study, Study, False, False),
        (Attachment, Attachment, False, False),
        (list[Attachment] | None, Attachment, True, True),
        (Request, Request, False, False),
    ],
)
def test_each_type_of_input_is_known(annotation: Any, type_: type, many: bool, optional: bool) -> None:
    def find(given: Any) -> Mask: ...

    find.__annotations__["given"] = annotation
    assert read_declaration(find).inputs == (Input("given", type_, many, optional),)


@pytest.mark.parametrize(
    ("annotation", "outputs", "may_be_nothing"),
    [
        (Mask, (Mask,), False),
        (Mask | None, (Mask,), True),
        (list[Finding], FINDINGS, False),
        (Finding, FINDINGS, False),
        (tuple[Mask, ProbabilityMask], (Mask, ProbabilityMask), False),
        (tuple[Mask, ...], (Mask,), False),
        (Annotated[NDArray[np.bool_], Mask], (Mask,), False),
    ],
)
def test_each_way_to_declare_findings_is_known(annotation: Any, outputs: Any, may_be_nothing: bool) -> None:
    def find() -> Any: ...

    find.__annotations__["return"] = annotation
    declared = read_declaration(find)
    assert (declared.outputs, declared.may_be_nothing) == (outputs, may_be_nothing)


def test_without_a_return_type_any_finding_may_be_returned() -> None:
    def find(ct: Volume): ...

    assert read_declaration(find).outputs == FINDINGS


def test_requirements_stand_with_the_argument_or_with_the_model() -> None:
    own, common = Requires(modality="MR"), Requires(modality="CT")

    def find(a: Annotated[Volume, own], b: Volume, note: str = "") -> Mask: ...

    assert read_declaration(find, requires=common).requirements == {"a": own, "b": common}


def test_a_class_is_read_by_its_predict() -> None:
    class Finder:
        """Find what there is."""

        def predict(self, ct: Volume, threshold: float = 1) -> Mask: ...

    declared = read_declaration(Finder)
    assert (declared.name, declared.description) == ("Finder", "Find what there is.")
    assert [one.name for one in declared.inputs] == ["ct"]
    assert list(declared.parameters.model_fields) == ["threshold"]


def _untyped(ct, threshold: float) -> Mask: ...
def _variadic(ct: Volume, *more: float) -> Mask: ...
def _keywords(ct: Volume, **more: float) -> Mask: ...
def _private(_threshold: float) -> Mask: ...
def _several(ct: Volume | Image) -> Mask: ...
def _studies(ct: list[Study]) -> Mask: ...
def _undeclared(ct: Volume) -> dict[str, Any]: ...
def _unknown(ct: Volume) -> Mask: ...
def _wrong_default(threshold: float = "high") -> Mask: ...
def _default_volume(ct: Volume = 3) -> Mask: ...
def _shadowing(copy: float) -> Mask: ...
def _array(ct: np.ndarray) -> Mask: ...
def _numbers(ct: NDArray[np.int16] | None = None) -> Mask: ...
def _file(ct: Volume, file: BinaryIO) -> Mask: ...
async def _asynchronous(ct: Volume) -> Mask: ...


_unknown.__annotations__["ct"] = "Missing"


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (_untyped, "ct has no type"),
        (_variadic, "declare each argument"),
        (_keywords, "declare each argument"),
        (_private, "cannot be named _threshold"),
        (_several, "ct is declared as one of several"),
        (_studies, "ct cannot be a list: a request has one Study"),
        (_undeclared, "declare findings, such as Mask"),
        (_unknown, "Missing in its signature is not defined"),
        (_wrong_default, "the default of threshold does not fit its type"),
        (_default_volume, "ct can have no default but None"),
        (_shadowing, "cannot be named copy"),
        (_array, "ct is no numpy array: use Volume; its .array is the ndarray"),
        (_numbers, "ct is no numpy array: use Volume"),
        (_file, "file has a type that no parameter can have"),
        (_asynchronous, "a plain function"),
    ],
)
def test_a_signature_that_declares_no_model_is_refused_by_name(target: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence) as caught:
        Gateway("tested").model("/")(target)
    assert str(caught.value).startswith(target.__name__)


def test_the_decorator_needs_its_route() -> None:
    def find(ct: Volume) -> Mask: ...

    with pytest.raises(TypeError, match=r'find: the decorator takes the route of the model: @app.model\("/"\)'):
        Gateway("tested").model(find)


def test_a_route_is_taken_once() -> None:
    def find() -> Mask: ...

    app = Gateway("tested")
    assert app.model("/")(find) is find
    with pytest.raises(ValueError, match="already maps to a model"):
        app.model("/")(find)
