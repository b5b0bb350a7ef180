"""Helpers for the tests of model authors: a client without a server, a sample study, and comparisons of masks.

from gateway.testing import assert_overlap, client, phantom_study

def test_the_body_is_found(tmp_path):
    result = client(app).infer(phantom_study(tmp_path))
    assert_overlap(result.masks[0], expected)
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gateway.app import Gateway
from gateway.client import Client
from gateway.client.local_caller import LOCAL_CALLER, LocalCaller
from gateway.client.wsgi import LOCAL, WSGI, session


def client(app: WSGI, *, digest: str = "sha256", answers: Iterable[Any] = ()) -> Client:
    """A Client on the application itself: the same decoding, checks and hashes as over HTTP, in this process.

    ``answers`` are those to the questions of its interactive models, in their order: ``[Point(1, 2, 3), "liver"]``.
    A question without an answer refuses the request, as does an answer that does not fit.
    """
    if isinstance(app, Gateway):
        app.extensions[LOCAL_CALLER] = LocalCaller(answers)
    return Client(LOCAL, session=session(app), digest=digest)


def phantom_study(folder: Path, *, slices: int = 16, size: int = 128) -> list[Path]:
    """Write a CT-like series with known spheres (``gateway.dicom.samples.phantom``); return its files in order."""
    from gateway.dicom.samples import phantom

    return phantom.write(folder, slices=slices, size=size)


def dice(found: ArrayLike, expected: ArrayLike) -> float:
    """Return the Dice coefficient of two regions of one shape, 0 to 1 (Dice 1945); two empty ones agree."""
    one, other = _region(found), _region(expected)
    if one.shape != other.shape:
        raise AssertionError(f"the regions have the shapes {one.shape} and {other.shape}")
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def assert_overlap(found: ArrayLike, expected: ArrayLike, *, at_least: float = 0.9) -> None:
    """Fail unless two regions agree by a Dice of ``at_least``."""
    agreement = dice(found, expected)
    if agreement < at_least:
        raise AssertionError(f"the regions overlap by a Dice of {agreement:.3f}; at least {at_least} is required")


def assert_same_geometry(one: Any, other: Any, *, millimetres: float = 1e-4) -> None:
    """Fail unless two volumes (each with ``shape`` and ``affine``) lie at the same place in the patient."""
    if tuple(one.shape) != tuple(other.shape):
        raise AssertionError(f"the volumes have the shapes {tuple(one.shape)} and {tuple(other.shape)}")
    ends = np.array([[0, 0, 0, 1], [*(size - 1 for size in one.shape), 1]], float)
    apart = np.abs(ends @ np.asarray(one.affine).T - ends @ np.asarray(other.affine).T).max()
    if not apart <= millimetres:
        raise AssertionError(f"the volumes lie {apart:.4f} mm apart")


def _region(values: ArrayLike) -> NDArray[np.bool_]:
    return np.asarray(values).astype(bool)
