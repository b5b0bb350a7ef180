"""Bundles of the gateway's store on their way to the nodes of a cluster, through its object store."""

import threading
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from gateway.config import MiB, Settings
from gateway.executors.messages import Words
from gateway.executors.ray.bundle_folders import bundle_folders
from gateway.executors.ray.node_bundle import BundleRefused

if TYPE_CHECKING:
    from gateway.studies.bundles import Bundles

PIECE = 16 * MiB
"""Bytes of one object on its way: the requests of other models share that memory."""

Tell = Callable[[str, Words, Any], Words]
"""Calls a method of a replica with words, and an array if any; returns its answer."""


class BundleSender:
    """The bundles of this gateway's store; the store is opened with the first that is asked for."""

    def __init__(self, settings: Settings, piece: int = PIECE) -> None:
        self._settings = settings
        self._piece = piece
        self._folders = bundle_folders(settings.ray_bundles)
        self._lock = threading.Lock()
        self._opened: Bundles | None = None

    def send(self, name: str, tell: Tell) -> None:
        """Have a replica's node compare a bundle with its folder, and send what it has not.

        Raises BundleRefused, also where the store cannot be read; BundleNotFound, Unavailable.
        """
        try:
            self._send(name, tell)
        except (OSError, ImportError, ValueError) as error:
            raise BundleRefused(f"the store does not give the bundle {name}: {error}") from error

    def _send(self, name: str, tell: Tell) -> None:
        bundles = self._bundles()
        digests = {file.key: file.sha256 for file in bundles.files(name)}
        words = {"name": name, "folder": self._folders[name], "files": digests}
        for key in _answered(tell("compare", words, None))["missing"]:
            file, size = bundles.open(name, digests[key])
            with closing(file):
                for number in range(max(1, -(-size // self._piece))):
                    piece = np.frombuffer(file.read(self._piece), np.uint8)
                    _answered(tell("write", {"key": key, "last": (number + 1) * self._piece >= size}, piece))

    def _bundles(self) -> "Bundles":
        from gateway.studies.bundles import Bundles  # needs a database, which a gateway without bundles may lack
        from gateway.studies.store import Store

        with self._lock:
            if self._opened is None:
                self._opened = Bundles(Store.open(self._settings))
            return self._opened


def _answered(answer: Words) -> Words:
    """Return what a node has answered. Raises BundleRefused with its sentence."""
    if "refused" in answer:
        raise BundleRefused(answer["refused"])
    return answer
