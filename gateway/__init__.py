"""An inference gateway for medical images: a Python function in, a hospital's service out.

The face is lazy (PEP 562): a name is imported when it is first used, so that ``gateway.wire`` or the client do not load
Flask.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.binding.parameters import unit
    from gateway.binding.requirements import Requires
    from gateway.client import Client
    from gateway.client.local import LocalClient
    from gateway.config import Settings
    from gateway.contract.findings import (
        BoundingBox,
        Classification,
        Code,
        Conformance,
        Finding,
        Heatmap,
        Label,
        LabelMask,
        LinearMeasurement,
        Mask,
        ProbabilityMask,
        SecondaryCapture,
        StructuredReport,
    )
    from gateway.contract.requests import Attachment, Model, Request, Result
    from gateway.dicom.volumes.study import Image, Series, Study, Volume
    from gateway.dicom.writing.codes import codes
    from gateway.errors import GatewayError, StudyRefused
    from gateway.protocol.serializer import InferenceSerializer
    from gateway.server.master import serve

__version__ = "0.1.0"

_HOMES = {
    "Attachment": "gateway.contract.requests",
    "Batch": "gateway.contract.execution",
    "BoundingBox": "gateway.contract.findings",
    "Cancelled": "gateway.errors",
    "Classification": "gateway.contract.findings",
    "Client": "gateway.client",
    "Code": "gateway.contract.findings",
    "Conformance": "gateway.contract.findings",
    "Execution": "gateway.contract.execution",
    "Finding": "gateway.contract.findings",
    "Gateway": "gateway.app",
    "GatewayError": "gateway.errors",
    "Heatmap": "gateway.contract.findings",
    "Image": "gateway.dicom.volumes.study",
    "InferenceSerializer": "gateway.protocol.serializer",
    "Label": "gateway.contract.findings",
    "LabelMask": "gateway.contract.findings",
    "LinearMeasurement": "gateway.contract.findings",
    "LocalClient": "gateway.client.local",
    "Mask": "gateway.contract.findings",
    "Model": "gateway.contract.requests",
    "ProbabilityMask": "gateway.contract.findings",
    "Request": "gateway.contract.requests",
    "Requires": "gateway.binding.requirements",
    "Result": "gateway.contract.requests",
    "SecondaryCapture": "gateway.contract.findings",
    "Series": "gateway.dicom.volumes.study",
    "Settings": "gateway.config",
    "StructuredReport": "gateway.contract.findings",
    "Study": "gateway.dicom.volumes.study",
    "StudyRefused": "gateway.errors",
    "Volume": "gateway.dicom.volumes.study",
    "codes": "gateway.dicom.writing.codes",
    "current_request": "gateway.contract.requests",
    "serve": "gateway.server.master",
    "unit": "gateway.binding.parameters",
}

__all__ = [
    "Attachment",
    "Batch",
    "BoundingBox",
    "Cancelled",
    "Classification",
    "Client",
    "Code",
    "Conformance",
    "Execution",
    "Finding",
    "Gateway",
    "GatewayError",
    "Heatmap",
    "Image",
    "InferenceSerializer",
    "Label",
    "LabelMask",
    "LinearMeasurement",
    "LocalClient",
    "Mask",
    "Model",
    "ProbabilityMask",
    "Request",
    "Requires",
    "Result",
    "SecondaryCapture",
    "Series",
    "Settings",
    "StructuredReport",
    "Study",
    "StudyRefused",
    "Volume",
    "codes",
    "current_request",
    "serve",
    "unit",
]


def __getattr__(name: str) -> Any:
    """Import a name of the face when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
