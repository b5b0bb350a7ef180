"""What a rule asks of its model: DICOM objects of a stored study, without a person, by parameters that it takes."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.binding.parameters import GATEWAY_KEYS, read
from gateway.binding.typed_model import TypedModel
from gateway.contract.model import Model
from gateway.errors import ParameterRefused
from gateway.studies.references import FROM, MEMBERS

RESERVED = frozenset({*MEMBERS, FROM, *GATEWAY_KEYS})
"""Members of a request that the gateway writes itself."""


def model_faults(model: Model) -> Iterator[str]:
    """Yield a sentence for each reason why no rule can use a model."""
    if not isinstance(model, TypedModel):
        yield f"the model on {model.name!r} is a plain function, which makes no DICOM objects; declare its types."
    elif model.interactive:
        yield f"the model on {model.name!r} asks its caller while it works, and a rule cannot answer."


def parameter_faults(model: Model, parameters: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each parameter that a model refuses, or needs."""
    for name in sorted(parameters.keys() & RESERVED):
        yield f"parameters/{name} is written by the gateway; leave it out."
    if not isinstance(model, TypedModel):
        return
    try:
        read(model.declaration.parameters, dict(parameters), forbid_unknown=True)
    except ParameterRefused as refusal:
        for fault in refusal.members["errors"]:
            yield f"parameters{fault['pointer']}: {fault['detail']}"
