"""Nodes of a Ray cluster that share no folder: the code and the weights of a model reach each of them, and nodes whose
files are others are refused.

Each node has a home of its own, and is started in it. Code and weights lie elsewhere.
"""

import hashlib
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway import Client
from gateway.executors.ray.node_bundle import LOCK
from tests.conftest import Serve
from tests.ray_cluster import RayCluster, cluster
from tests.ray_packages import ray_variables
from tests.server.running import Running, told
from tests.waiting import eventually

pytestmark = pytest.mark.slow

SERVICE = """\
from pathlib import Path

from gateway import Classification, Gateway, Request
from beside import NAME

app = Gateway(__name__)
WEIGHTS = Path.home() / "lungs" / "folds" / "unet.bin"


@app.model("/net", weights=[WEIGHTS])
class Net:
    def setup(self):
        self.weights = WEIGHTS.read_bytes()

    def predict(self, image: Request) -> Classification:
        return Classification({"home": str(Path.home()), "size": str(len(self.weights)), "name": NAME})
"""
SIZE = (32 << 20) + 5
"""Bytes of the weights: two pieces on their way, and a rest."""
UNET, OTHER = os.urandom(SIZE), b"other weights"
KEY = "folds/unet.bin"


@dataclass(frozen=True)
class Homes:
    """The folders of the server and of each node, and of the code."""

    server: Path
    nodes: tuple[Path, Path]
    code: Path


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    folder = tmp_path_factory.mktemp("homes")
    found = Homes(folder / "server", (folder / "first", folder / "second"), folder / "code")
    for each in (found.server, *found.nodes, found.code):
        each.mkdir()
    (found.code / "bundled.py").write_text(SERVICE)
    (found.code / "shared.py").write_text(SERVICE.replace("lungs", "shared"))
    (found.code / "beside.py").write_text('NAME = "beside"\n')
    return found


@pytest.fixture(scope="module")
def nodes(ray_packages: str, homes: Homes) -> Iterator[RayCluster]:
    """Two nodes, each with room for one replica."""
    with cluster({**ray_variables(ray_packages), "RUNNING_TEST_MARK": "files"}, 0) as found:
        found.nodes = [found.start_node(1, home, HOME=str(home)) for home in homes.nodes]
        yield found


def started(serve: Serve, app: str, nodes: RayCluster, homes: Homes, **variables: str) -> Running:
    """A server of two replicas, one a node."""
    own = {"GATEWAY_RAY": nodes.address, "GATEWAY_RAY_WORKING_DIR": str(homes.code), "HOME": str(homes.server)}
    own |= {"GATEWAY_MODEL_PROCESSES": "2", "GATEWAY_BREAKER_COOLDOWN": "1"}
    path = f"{homes.code}{os.pathsep}{nodes.variables['PYTHONPATH']}"
    server = serve(app, **nodes.variables | own | variables | {"PYTHONPATH": path})
    return Running(server, homes.server, "files", "ray")


@pytest.fixture(scope="module")
def bundled(serve: Serve, nodes: RayCluster, homes: Homes, tmp_path_factory: pytest.TempPathFactory) -> Running:
    """A server whose bundle was pushed after its start."""
    store, weights = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("weights")
    variables = {"GATEWAY_STORE_FOLDER": str(store), "GATEWAY_RAY_BUNDLES": "lungs=~/lungs"}
    server = started(serve, "bundled:app", nodes, homes, **variables)
    eventually(lambda: _reason(server, "it waits for the bundle lungs of the store"))
    (weights / KEY).parent.mkdir()
    (weights / KEY).write_bytes(UNET)
    (weights / "empty").touch()
    with Client(server.url) as client:
        client.push_bundle("lungs", weights)
    eventually(server.is_ready)
    return server


def test_the_code_and_a_bundle_reach_each_node_whole(bundled: Running, homes: Homes) -> None:
    assert seen(bundled) == {str(home) for home in homes.nodes}
    for home in homes.nodes:
        assert (home / "lungs" / KEY).read_bytes() == UNET
        assert (home / "lungs" / "empty").read_bytes() == b""
        assert {path.name for path in home.rglob(".gateway-*")} == {LOCK}


def test_files_that_are_there_are_not_sent_again(bundled: Running, nodes: RayCluster, homes: Homes) -> None:
    before = [(home / "lungs" / KEY).stat().st_ino for home in homes.nodes]
    _replace_replica(bundled, nodes, 1)
    eventually(bundled.is_ready)
    assert [(home / "lungs" / KEY).stat().st_ino for home in homes.nodes] == before


def test_a_file_that_is_another_is_refused_and_stays_as_it_is(
    bundled: Running, nodes: RayCluster, homes: Homes
) -> None:
    first, second = homes.nodes
    (second / "lungs" / KEY).write_bytes(OTHER)
    _replace_replica(bundled, nodes, 1)
    reason = eventually(lambda: _reason(bundled, "remove it, or name another folder"))
    assert hashlib.sha256(OTHER).hexdigest()[:12] in reason
    assert (second / "lungs" / KEY).read_bytes() == OTHER
    assert told(bundled.ask("net"))["home"] == str(first)
    (second / "lungs" / KEY).unlink()
    eventually(bundled.is_ready)
    assert (second / "lungs" / KEY).read_bytes() == UNET


def test_of_a_path_on_each_node_only_replicas_with_the_same_weights_answer(
    bundled: Running, serve: Serve, nodes: RayCluster, homes: Homes
) -> None:
    bundled.server.stop()  # it has the nodes' room
    for home, weights in zip(homes.nodes, (UNET, OTHER), strict=True):
        (home / "shared" / KEY).parent.mkdir(parents=True)
        (home / "shared" / KEY).write_bytes(weights)
    server = started(serve, "shared:app", nodes, homes)
    eventually(lambda: _reason(server, "are not those of the replicas that answer"))
    (served,) = seen(server, 1)
    refused = next(home for home in homes.nodes if str(home) != served)
    shutil.copy(Path(served) / "shared" / KEY, refused / "shared" / KEY)
    eventually(server.is_ready)
    assert seen(server) == {str(home) for home in homes.nodes}


def test_a_replica_for_which_a_full_cluster_has_no_room_says_what_is_in_use(
    serve: Serve, nodes: RayCluster, homes: Homes
) -> None:
    server = started(serve, "shared:app", nodes, homes)  # beside the server before, which has both nodes
    eventually(lambda: _reason(server, "it waits for 1 CPU; 0 of 2 are free"))
    assert server.health("net")["state"] == "starting"


def seen(server: Running, count: int = 2) -> set[str]:
    """The homes of the replicas that answer, each with the code that was copied."""

    def look() -> set[str]:
        with ThreadPoolExecutor(4) as threads:
            answers = [told(one) for one in threads.map(lambda _: server.ask("net"), range(4))]
        assert {answer["name"] for answer in answers} == {"beside"}
        found = {str(answer["home"]) for answer in answers}
        return found if len(found) >= count else set()

    return eventually(look)


def _reason(server: Running, text: str) -> str:
    reason: str = server.health("net")["reason"]
    return reason if text in reason else ""


def _replace_replica(server: Running, nodes: RayCluster, place: int) -> None:
    """Kill the replica of a node, and wait until the server knows."""
    restarts = server.health("net")["restarts"]
    for pid in server.family("ray::Replica"):
        if os.getsid(pid) == nodes.nodes[place].pid:
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: server.health("net")["restarts"] > restarts)
