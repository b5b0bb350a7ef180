"""AIGES wrappers (``class Wrapper(WrapperBase)`` in a ``wrapper.py``) as models, without aiges.

``load`` gives a model, ``run`` the verdict of a local run. The contract is that of aiges 0.16.0.
"""

from gateway.adapters.aiges.verdict import WrapperVerdict, run
from gateway.adapters.aiges.wrapper_model import WrapperModel, load

__all__ = ["WrapperVerdict", "WrapperModel", "load", "run"]
