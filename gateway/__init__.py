"""An inference gateway for medical images: a Python function in, a hospital's service out.

``__init__.pyi`` is the list of public names. Each is imported when it is first used (PEP 562), so that ``gateway.wire``
or the client do not load Flask.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
