"""What Ray itself says of the object stores of a cluster: ``python -m benchmarks.object_store ADDRESS``.

A process of its own, since Ray is not where the benchmarks are. It writes one line of JSON for each line it reads.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.servers import ROOT


class Stored(NamedTuple):
    """The objects in the stores of all nodes, and their bytes; ``spilled`` are those written to files."""

    objects: int
    size: int
    spilled: int


class ObjectStore:
    """The stores of a cluster, as ``ray memory --stats-only`` shows them."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def read(self) -> Stored:
        """Ask a raylet, which asks all others."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Stored(*json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def opened(address: str, environment: Mapping[str, str]) -> Iterator[ObjectStore]:
    """Have a reader of the stores within the block; ``environment`` has where Ray is, and its token."""
    command = [sys.executable, "-m", "benchmarks.object_store", address]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=dict(environment), stdin=pipe, stdout=pipe, text=True) as process:
        yield ObjectStore(process)
        process.terminate()


def main(address: str) -> None:
    """Answer each line until there is none."""
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address  # Ray has no public name for it

    state: Any = get_state_from_address(address)
    for _ in sys.stdin:
        found = get_memory_info_reply(state).store_stats
        stored = Stored(found.num_local_objects, found.object_store_bytes_used, found.spilled_objects_total)
        sys.stdout.write(json.dumps(stored) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
