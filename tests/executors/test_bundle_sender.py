"""A bundle of a real store on its way into the folder of a node, without a cluster between them."""

from pathlib import Path
from typing import Any

import pytest

from gateway import Settings
from gateway.errors import BundleNotFound
from gateway.executors.messages import Words
from gateway.executors.ray.bundle_sender import BundleSender
from gateway.executors.ray.node_bundle import BundleRefused, NodeBundle
from gateway.studies.store import Store
from tests.studies.test_store_bundles import push

PIECE = 1000
FILES = {"a.bin": b"a" * (2 * PIECE), "folds/b.bin": b"b" * (PIECE + 1), "empty": b""}


class Node:
    """A replica that answers as the actor does; it counts the bytes that it receives."""

    def __init__(self) -> None:
        self.received = 0

    def tell(self, method: str, words: Words, piece: Any) -> Words:
        """See ``Tell``."""
        try:
            if method == "compare":
                self.bundle = NodeBundle(**words)
                return {"missing": self.bundle.missing()}
            self.received += piece.nbytes
            self.bundle.write(words["key"], piece.data, last=words["last"])
            return {}
        except BundleRefused as error:
            return {"refused": str(error)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store_folder=tmp_path / "store", ray="local", ray_bundles=f"lungs={tmp_path}/weights")


def test_each_missing_file_is_sent_once_in_pieces(settings: Settings, tmp_path: Path) -> None:
    sender, node = BundleSender(settings, PIECE), Node()
    with pytest.raises(BundleNotFound):
        sender.send("lungs", node.tell)
    store = Store.open(settings)
    push(store, "lungs", FILES)
    store.close()
    sender.send("lungs", node.tell)
    node.bundle.close()
    assert {key: (tmp_path / "weights" / key).read_bytes() for key in FILES} == FILES
    assert node.received == sum(map(len, FILES.values()))
    again = Node()
    sender.send("lungs", again.tell)
    assert again.received == 0
    (tmp_path / "weights" / "empty").write_bytes(b"other")
    with pytest.raises(BundleRefused, match="remove it"):
        sender.send("lungs", again.tell)


def test_a_store_that_cannot_be_read_is_named(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(BundleRefused, match="the store does not give the bundle lungs"):
        BundleSender(settings).send("lungs", Node().tell)
