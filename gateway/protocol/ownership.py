"""Bytes of an answer that no one but the gateway can change, copied where that is not certain.

A model may fill an array again that it has returned, as a session with bound outputs does. An answer is hashed, sent
and stored later, so its bytes are made the gateway's own before the model is called again. Only two kinds need no copy:
those of a ``bytes`` object, and those of an array to which nothing refers but the views that ``serializer.as_bytes``
made of it.
"""

import sys
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy

References = Mapping[int, int]
"""By the ``id`` of an array, how many of the gateway's views lie on it."""


def references(pieces: Iterable[memoryview]) -> References:
    """Count the views on each array, for ``owned``: slices of one batch lie on one array."""
    arrays = (_exporter(piece) for piece in pieces)
    return Counter(id(array.base) for array in arrays if type(array) is numpy.ndarray)


def owned(piece: memoryview, ours: References) -> memoryview:
    """Return ``piece`` if no one else can write to it, else a copy; read-only, one dimension, format ``B``.

    Call it when the frames in which the model and the checks ran are gone: a reference of theirs costs a copy.
    """
    return piece if _is_immutable(piece) or _is_exclusive(piece, ours) else _copy(piece)


def _is_immutable(piece: memoryview) -> bool:
    """True if the memory is that of a ``bytes`` object, behind any views."""
    exporter = _exporter(piece)
    while isinstance(exporter, (numpy.ndarray, memoryview)):
        exporter = exporter.base if isinstance(exporter, numpy.ndarray) else exporter.obj
    return type(exporter) is bytes


def _is_exclusive(piece: memoryview, ours: References) -> bool:
    """True if only the gateway's views refer to the array that owns the memory, and nothing refers to these.

    Whatever can write to the memory of an array holds a reference to it: a view, a memoryview, a tensor, a thread's
    frame. A weak one could become strong again. An array that does not own its memory says nothing of its owner.
    """
    view = _exporter(piece)
    if type(view) is not numpy.ndarray or type(view.base) is not numpy.ndarray or view.flags.writeable:
        return False  # or by a memoryview beside ours, which counts nowhere
    if not view.base.flags.owndata or weakref.getweakrefcount(view.base) or weakref.getweakrefcount(view):
        return False
    if sys.getrefcount(piece.obj) != _REFERENCES_TO_VIEW + 1:  # the variable ``view``
        return False
    return sys.getrefcount(view.base) == _REFERENCES_TO_BASE + ours.get(id(view.base), 0)


def _exporter(piece: memoryview) -> Any:
    """The object whose memory a piece is."""
    return piece.obj


def _copy(piece: memoryview) -> memoryview:
    copied = numpy.array(piece, numpy.uint8)  # lets go of the GIL, as bytes(piece) does not
    copied.flags.writeable = False
    return copied.data


_SAMPLE = numpy.zeros(1, numpy.uint8)[:].data
_REFERENCES_TO_VIEW = sys.getrefcount(_SAMPLE.obj)
"""What this interpreter counts for a view to which its memoryview alone refers, the call included."""
_REFERENCES_TO_BASE = sys.getrefcount(_exporter(_SAMPLE).base) - 1
"""What it counts for an array beside the views on it: the call."""
