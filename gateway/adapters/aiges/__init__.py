"""AIGES wrappers (``class Wrapper(WrapperBase)`` in a ``wrapper.py``) as models, without aiges.

``load`` gives a model, ``run`` the verdict of a local run. The contract is that of aiges 0.16.0.
"""

from gateway.adapters.aiges.model import WrapperModel, load
from gateway.adapters.aiges.verdict import Verdict, run

__all__ = ["Verdict", "WrapperModel", "load", "run"]
