"""An inference gateway for medical images: a Python function in, a hospital's service out.

The face is lazy (PEP 562): a name is imported when it is first used, so that ``gateway.wire`` or the client do not load
Flask.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.client import Client
    from gateway.config import Settings
    from gateway.contract import Model, Request, Result
    from gateway.errors import GatewayError, StudyRefused
    from gateway.protocol.serializer import InferenceSerializer
    from gateway.server import serve

__version__ = "0.1.0"

_HOMES = {
    "Client": "gateway.client",
    "Gateway": "gateway.app",
    "GatewayError": "gateway.errors",
    "InferenceSerializer": "gateway.protocol.serializer",
    "Model": "gateway.contract",
    "Request": "gateway.contract",
    "Result": "gateway.contract",
    "Settings": "gateway.config",
    "StudyRefused": "gateway.errors",
    "serve": "gateway.server",
}

__all__ = [
    "Client",
    "Gateway",
    "GatewayError",
    "InferenceSerializer",
    "Model",
    "Request",
    "Result",
    "Settings",
    "StudyRefused",
    "serve",
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
