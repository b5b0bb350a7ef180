"""Pixels of many frames, decoded with all cores straight into one array."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from gateway.contract.requests import reserve, stop_if_cancelled
from gateway.dicom.decoding.compressed import BROKEN
from gateway.dicom.decoding.handles import cores
from gateway.dicom.decoding.stored import Stored, layout, read
from gateway.dicom.decoding.windows import dose_scaling, linear, rescale
from gateway.dicom.reading.attributes import sequence
from gateway.dicom.reading.files import refusing
from gateway.dicom.reading.instances import Instance
from gateway.dicom.reading.redaction import naming
from gateway.errors import LimitExceeded, StudyRefused

MAX_VOLUME_BYTES = 8 << 30
"""Bytes of one volume as float32: a CT of 2000 slices takes 2 GiB, a tomosynthesis of 300 frames 5 GiB."""

ROUNDS = 4
"""Tasks given to each thread: enough to share out what differs in cost, few enough to cost nothing themselves."""

Frame = tuple[Instance, int]
Values = NDArray[np.float32]
Wanted = list[tuple[int, int]]
"""Places in the volume, and the numbers of the frames that belong there."""
Job = tuple[Instance, Wanted, Sequence[Stored] | None]
"""An instance, what is wanted of it, and its stored values where they have been read."""
Put = Callable[[int, Instance, int, Stored], None]
"""Takes the place of a frame in the volume, the frame, and its stored values, which are valid during the call."""


def load_values(frames: Sequence[Frame]) -> Values:
    """(frame, row, column) float32 after the Modality LUT, each frame by its own (PS3.3 C.11.1).

    All are grey and of one size. Raises StudyRefused, which names a broken instance by its digest, and LimitExceeded
    (``MAX_VOLUME_BYTES``, ``max_decoded_bytes``).
    """
    shape = _shape(frames)
    reserve(np.dtype(np.float32).itemsize * math.prod(shape))
    array = np.empty(shape, dtype=np.float32)

    def put(place: int, instance: Instance, frame: int, stored: Stored) -> None:
        _rescale(instance.header, stored, frame, array[place])

    _each(frames, put)
    return array


def load_stored(frames: Sequence[Frame]) -> Stored:
    """(frame, row, column) stored values, in the smallest dtype that holds those of all. Raises as ``load_values``."""
    found: list[Stored] = [np.empty(0)] * _shape(frames)[0]

    def put(place: int, instance: Instance, frame: int, stored: Stored) -> None:
        found[place] = stored

    _each(frames, put)
    reserve(sum(each.nbytes for each in found))
    return np.stack(found)


def _shape(frames: Sequence[Frame]) -> tuple[int, int, int]:
    first = frames[0][0]
    shape = len(frames), first.rows, first.columns
    if np.dtype(np.float32).itemsize * len(frames) * first.rows * first.columns > MAX_VOLUME_BYTES:
        raise LimitExceeded("MAX_VOLUME_BYTES", MAX_VOLUME_BYTES, what="A volume")
    return shape


def _each(frames: Sequence[Frame], put: Put) -> None:
    """Decode every frame and put it into its place, in as many threads as there are cores; the first fault ends it."""
    threads = cores()
    jobs = list(_jobs(frames, threads))
    size = -(-len(jobs) // (threads * ROUNDS))
    with ThreadPoolExecutor(threads) as pool:
        tasks = [
            pool.submit(copy_context().run, _decode, jobs[first : first + size], put)
            for first in range(0, len(jobs), size)
        ]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _jobs(frames: Sequence[Frame], pieces: int) -> Iterator[Job]:
    """A job for each instance; for an uncompressed one of many frames ``pieces``, which share what was read."""
    found: dict[int, tuple[Instance, Wanted]] = {}
    for place, (instance, frame) in enumerate(frames):
        found.setdefault(id(instance), (instance, []))[1].append((place, frame))
    for instance, wanted in found.values():
        with naming(instance.source):
            shared = len(wanted) > 1 and layout(instance.header) is not None
        if not shared:
            yield instance, wanted, None
            continue
        arrays, step = _read(instance, wanted), -(-len(wanted) // pieces)
        for first in range(0, len(wanted), step):
            yield instance, wanted[first : first + step], arrays[first : first + step]


def _read(instance: Instance, wanted: Wanted) -> Sequence[Stored]:
    """Stored values, (row, column) each. A file has one position, so only one thread may read an instance."""
    with naming(instance.source), refusing(f"{BROKEN}."):
        arrays = read(instance, [frame for _, frame in wanted])
        if any(array.shape != (instance.rows, instance.columns) for array in arrays):
            raise StudyRefused("The pixels of an image are not of the size that its header states.")
        return arrays


def _decode(jobs: Sequence[Job], put: Put) -> None:
    for instance, wanted, arrays in jobs:
        stop_if_cancelled()
        if arrays is None:
            arrays = _read(instance, wanted)
        with naming(instance.source), refusing(f"{BROKEN}."):
            for (place, frame), stored in zip(wanted, arrays, strict=True):
                put(place, instance, frame, stored)


def _rescale(header: Dataset, stored: Stored, frame: int, out: Values) -> None:
    """``windows.rescale`` in place, for the dtypes of which float32 holds every value."""
    if stored.dtype.itemsize > 2 or sequence(header, "ModalityLUTSequence"):
        out[...] = rescale(header, stored, frame)
        return
    slope, intercept = linear(header, frame) or (1.0, 0.0)
    np.copyto(out, stored, casting="unsafe")
    if slope != 1:
        np.multiply(out, slope, out=out)
    if intercept:
        np.add(out, intercept, out=out)
    scaling = dose_scaling(header)
    if scaling is not None:
        np.multiply(out, scaling, out=out)
