"""The declaration of a model, read from its signature: inputs, parameters and outputs."""

import inspect
import types
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from gateway.binding.parameters import Parameters, declare
from gateway.binding.requirements import Requires
from gateway.contract.execution import Batch
from gateway.contract.findings import Finding
from gateway.contract.interaction import Step
from gateway.contract.model import Argument
from gateway.contract.requests import Attachment, Request
from gateway.dicom.volumes.study import Image, Series, Study, Volume

INPUTS: dict[type, bool] = {Volume: True, Image: True, Series: True, Study: False, Attachment: True, Request: False}
"""The types that are filled from the request, and whether a list of them is too."""
LISTS = (list, Sequence, Iterable, tuple)
"""Ways to declare several findings."""
FINDINGS: tuple[type, ...] = get_args(Finding)


@dataclass(frozen=True)
class Input:
    """An argument from the request: its type, whether it is a list, and the requirements on its series."""

    name: str
    type: type
    many: bool = False
    optional: bool = False
    requires: Requires = Requires()

    @property
    def of_images(self) -> bool:
        """Return True if it is filled from images, on which there may be requirements."""
        return self.type in (Volume, Image, Series, Study)

    def describe(self) -> Argument:
        """Return the argument in words."""
        return Argument(name=self.name, type=self.type.__name__, many=self.many, optional=self.optional)


@dataclass(frozen=True)
class Declaration:
    """A model's contract. ``outputs`` are the finding types it may return; all of them where it does not say.

    ``interactive`` is True for a generator, which may ask its caller while it works.
    """

    name: str
    description: str
    inputs: tuple[Input, ...]
    parameters: type[Parameters]
    outputs: tuple[type, ...]
    may_be_nothing: bool = False
    forbid_unknown: bool = False
    interactive: bool = False

    @property
    def requirements(self) -> dict[str, Requires]:
        """The requirements by the name of the argument."""
        return {one.name: one.requires for one in self.inputs if one.of_images}

    def sentences(self) -> Iterator[str]:
        """Yield what the model takes and answers, one sentence each."""
        for one in self.inputs:
            kind = f"several of type {one.type.__name__}" if one.many else f"one {one.type.__name__}"
            yield f"Takes {kind} as {one.name}{', if there is any' if one.optional else ''}."
        names = ", ".join(one.__name__ for one in self.outputs)
        if self.interactive:
            yield "May ask its caller while it works: as a run or in a session, since a request cannot answer."
        yield f'Answers {names or "nothing"}; with "output": "dicom" in the JSON, as DICOM objects.'


def read_declaration(
    target: Callable[..., Any],
    *,
    requires: Requires | None = None,
    forbid_unknown: bool = False,
    batch: Batch | None = None,
) -> Declaration:
    """Read a function, or a class with ``predict``. Raises TypeError, with a readable sentence, for what is no model.

    ``requires`` holds for each argument of images that has no ``Annotated[Volume, Requires(...)]`` of its own. With a
    ``batch`` each argument that comes from the request is a list of what each request holds.
    """
    name, predict = target.__name__, _predict(target)
    if inspect.iscoroutinefunction(predict) or inspect.isasyncgenfunction(predict):
        raise TypeError(f"{name}: a model is a plain function or a generator, and not async: write def and yield.")
    hints = _hints(name, predict)
    interactive, returns = _steps(name, predict, hints.get("return"))
    if interactive and batch is not None:
        raise TypeError(f"{name}: an interactive model answers one request at a time; leave out its Batch.")
    signature = list(inspect.signature(predict).parameters.values())[inspect.isclass(target) :]
    inputs, parameters = [], []
    for one in signature:
        annotation = _annotation(name, one, hints)
        if batch is not None:
            annotation = _of_each(name, one, annotation, batch)
        found = _input(name, one, annotation, requires or Requires())
        inputs += [found] if found else []
        parameters += [] if found else [one.replace(annotation=annotation)]
    outputs = tuple(dict.fromkeys(_outputs(name, returns))) if "return" in hints else FINDINGS
    return Declaration(
        name=name,
        description=inspect.getdoc(target) or inspect.getdoc(predict) or "",
        inputs=tuple(inputs),
        parameters=declare(name, parameters),
        outputs=tuple(one for one in outputs if one is not types.NoneType),
        may_be_nothing=types.NoneType in outputs,
        forbid_unknown=forbid_unknown,
        interactive=interactive,
    )


def _steps(name: str, predict: Callable[..., Any], annotation: Any) -> tuple[bool, Any]:
    """Return whether a model is interactive, and the annotation of its findings."""
    plain, _ = _unwrapped(annotation)
    if get_origin(plain) is Generator:
        if get_args(plain)[0] != Step:
            raise TypeError(f"{name}: declare an interactive model to return Interactive[...], such as of Mask.")
        return True, get_args(plain)[2]
    if not inspect.isgeneratorfunction(predict):
        return False, annotation
    if annotation is not None:
        raise TypeError(f"{name}: it yields, and so it is interactive: declare Interactive[...], such as of Mask.")
    return True, annotation


def _predict(target: Any) -> Callable[..., Any]:
    found = getattr(target, "predict", None) if inspect.isclass(target) else target
    if not callable(found):
        raise TypeError(f"{target.__name__}: a model that is a class has a method predict.")
    return cast(Callable[..., Any], found)


def _hints(name: str, predict: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(predict, include_extras=True)
    except NameError as error:
        raise TypeError(f"{name}: {error.name} in its signature is not defined where the function is.") from error


def _annotation(name: str, parameter: inspect.Parameter, hints: dict[str, Any]) -> Any:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise TypeError(f"{name}: {parameter} cannot be filled by name; declare each argument.")
    if parameter.name not in hints:
        raise TypeError(f"{name}: {parameter.name} has no type; a typed model declares one for each argument.")
    return hints[parameter.name]


def _of_each(name: str, parameter: inspect.Parameter, annotation: Any, batch: Batch) -> Any:
    """The type of each request's value of an argument that a batch declares as a list."""
    plain, metadata = _unwrapped(annotation)
    if get_origin(plain) is list:
        element = get_args(plain)[0]
        if _unwrapped(element)[0] in INPUTS or batch.mix_parameters:
            return Annotated[element, *metadata] if metadata else element
    elif plain in INPUTS or batch.mix_parameters:
        raise TypeError(f"{name}: with a batch, {parameter.name} is a list: one for each request.")
    return annotation


def _input(name: str, parameter: inspect.Parameter, annotation: Any, requires: Requires) -> Input | None:
    """The argument as one filled from the request, or None for a parameter."""
    plain, metadata = _unwrapped(annotation)
    members = [one for one in _members(plain) if one is not types.NoneType]
    kind, many = members[0] if len(members) == 1 else plain, False
    if get_origin(kind) is list:
        kind, many = _unwrapped(get_args(kind)[0])[0], True
    if np.ndarray in (kind, get_origin(kind)):
        raise TypeError(f"{name}: {parameter.name} is no numpy array: use Volume; its .array is the ndarray.")
    if kind not in INPUTS:
        if any(_unwrapped(one)[0] in INPUTS for one in _members(plain)):
            raise TypeError(f"{name}: {parameter.name} is declared as one of several; declare one type.")
        return None
    if many and not INPUTS[kind]:
        raise TypeError(f"{name}: {parameter.name} cannot be a list: a request has one {kind.__name__}.")
    if parameter.default not in (parameter.empty, None):
        raise TypeError(f"{name}: {parameter.name} can have no default but None; it comes from the request.")
    own = next((one for one in metadata if isinstance(one, Requires)), requires)
    optional = parameter.default is not parameter.empty or len(members) < len(_members(plain))
    return Input(parameter.name, kind, many, optional, own)


def _outputs(name: str, annotation: Any) -> Iterator[type]:
    """The finding types of a return annotation: alone, in a union, or in a list of them."""
    plain, metadata = _unwrapped(annotation)
    named = [one for one in metadata if one in FINDINGS]
    if named:  # Annotated[NDArray[Any], Mask]: an array for type checkers, a Mask for everyone else
        yield from named
    elif get_origin(plain) in (Union, types.UnionType) or get_origin(plain) in LISTS:
        for member in get_args(plain):
            if member is not Ellipsis:
                yield from _outputs(name, member)
    elif plain in FINDINGS or plain is types.NoneType:
        yield plain
    else:
        raise TypeError(f"{name}: it declares to return {plain}; declare findings, such as Mask or list[Finding].")


def _unwrapped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its Annotated, and what that holds beside it."""
    if get_origin(annotation) is Annotated:
        base, *metadata = get_args(annotation)
        return base, tuple(metadata)
    return annotation, ()


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
