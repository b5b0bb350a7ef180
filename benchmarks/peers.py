"""Other inference servers, each in a virtual environment of its own and by its best upload path.

They read the same files from ``multipart/form-data`` and answer a mask of the same size; none hashes anything.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.request import urlopen

from benchmarks import pairs, servers
from benchmarks.client import Client
from benchmarks.models import SLICE
from benchmarks.results import Line, Plan, Samples, beside, skipped
from benchmarks.studies import MiB, Study, study

APPS = Path(__file__).resolve().parent / "peer_apps"
INSTALL_SECONDS = 600
READY_SECONDS = 60


@dataclass(frozen=True)
class Peer:
    """A server: its packages, its command and environment with ``{port}``, the path of its one route.

    ``{other}`` and ``{third}`` are further free ports, and ``folder`` is that of its application.
    """

    name: str
    requirements: tuple[str, ...]
    arguments: tuple[str, ...]
    path: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""


FASTAPI = Peer(
    "FastAPI form",
    ("fastapi==0.165.0", "uvicorn[standard]==0.54.0", "python-multipart==0.0.34"),
    ("-m", "uvicorn", "fastapi_app:app", "--host", "127.0.0.1", "--port", "{port}", "--no-access-log"),
)
LITSERVE = Peer(
    "LitServe",
    ("litserve==0.2.19", "fastapi==0.165.0", "uvicorn[standard]==0.54.0", "python-multipart==0.0.34"),
    ("litserve_app.py", "{port}"),
)
BENTOML = Peer(
    "BentoML",
    ("bentoml==1.4.39",),
    ("-m", "bentoml", "serve", "bentoml_app:Upload", "--host", "127.0.0.1", "--port", "{port}"),
)
MLSERVER = Peer(
    "MLServer",
    ("mlserver==1.7.1",),
    ("-m", "mlserver.cli.main", "start", "."),
    environment={
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": "{port}",
        "MLSERVER_GRPC_PORT": "{other}",
        "MLSERVER_METRICS_PORT": "{third}",
        "MLSERVER_PARALLEL_WORKERS": "0",
        "MLSERVER_GRPC_MAX_MESSAGE_LENGTH": f"{512 * MiB}",
        "MLSERVER_DEBUG": "false",
    },
    folder="mlserver_threshold",
)
"""On its faster protocol, gRPC, and without the hop to its worker processes; over HTTP it reads JSON alone."""
PEERS = (FASTAPI, LITSERVE, BENTOML)


def compare(plan: Plan) -> list[Line]:
    """Compare the gateway with every peer that can be installed, on the first row."""
    sent = study(plan.parts, depth=plan.depth)
    with ExitStack() as stack:
        ours, plain = stack.enter_context(servers.ours()), stack.enter_context(servers.plain())
        works = {"ours": pairs.exchange(ours.port, sent), "plain": pairs.exchange(plain.port, sent)}
        missing = add(stack, works, PEERS, plan)
        samples = pairs.alternate(plan.pairs, works)
    work = f"{sent.size / MiB:.0f} MiB in, {plan.depth * SLICE / MiB:.0f} MiB mask out, beside"
    return [_line(work, samples, name) for name in works if name != "ours"] + [
        skipped(f"{work} {name}", reason) for name, reason in missing.items()
    ]


def add(stack: ExitStack, works: dict[str, pairs.Work], wanted: Sequence[Peer], plan: Plan) -> dict[str, str]:
    """Start the peers and add their work; return the reason for each peer that does not run here."""
    missing = {}
    for peer in wanted:
        sent = study(plan.parts, depth=plan.depth, path=peer.path, kind="form-data")
        try:
            server = stack.enter_context(_serving(peer, plan.depth))
            works[peer.name] = _ready(server.port, sent, plan.depth)
        except RuntimeError as error:
            missing[peer.name] = str(error)
    return missing


def _line(work: str, samples: Samples, against: str) -> Line:
    hashed = "hashes both ways as the gateway does" if against == "plain" else "hashes nothing"
    return replace(beside(f"{work} {against}", samples, "ours", against), note=hashed)


def _serving(peer: Peer, depth: int) -> servers.Serving:
    """The peer on a free port. Raises RuntimeError when it cannot be installed."""
    python, ports = installed(*peer.requirements), (_free_port(), _free_port(), _free_port())
    return _started(peer, python, ports, depth)


def _started(peer: Peer, python: Path, ports: tuple[int, int, int], depth: int) -> servers.Serving:
    """The peer on its ports, of which ``Server`` has the first."""
    named = dict(zip(("port", "other", "third"), ports, strict=True))
    command = [str(python), *(argument.format(**named) for argument in peer.arguments)]
    environment = {"BENCH_DEPTH": str(depth), "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": f"{python.parent.parent}"}
    environment |= {name: value.format(**named) for name, value in peer.environment.items()}
    return servers.run(command, environment, cwd=APPS / peer.folder, port=ports[0])


@contextmanager
def mlserver(depth: int) -> Iterator[int]:
    """The port of MLServer's gRPC while the block lasts, once its model is ready. Raises RuntimeError."""
    python, ports = installed(*MLSERVER.requirements), (_free_port(), _free_port(), _free_port())
    with _started(MLSERVER, python, ports, depth):
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError), urlopen(f"http://127.0.0.1:{ports[0]}/v2/models/threshold/ready", timeout=5):
                yield ports[1]
                return
            time.sleep(0.5)
        raise RuntimeError("it does not serve its model")


def _ready(port: int, sent: Study, depth: int) -> pairs.Work:
    """Wait for a good answer and return the exchange: some peers print that they listen before they do."""
    deadline, client, seen = time.monotonic() + READY_SECONDS, Client(port), "no connection"
    while time.monotonic() < deadline:
        try:
            answer = client.post(sent)
        except OSError:
            client.close()
            time.sleep(0.5)
            continue
        if answer.status == 200 and len(answer.body) == depth * SLICE:
            return pairs.unchecked(port, sent)
        seen = f"status {answer.status}: {bytes(answer.body[:300])!r}"
        time.sleep(0.5)
    raise RuntimeError(f"it does not serve this request: {seen}")


def installed(*requirements: str) -> Path:
    """The interpreter of an environment with these packages, which is made once and stored in the user's cache.

    Raises RuntimeError where they cannot be installed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gateway-benchmarks"
    folder = cache / "-".join(requirement.replace("[", "-").replace("]", "") for requirement in requirements)
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        _call([sys.executable, "-m", "venv", "--clear", str(folder)])
        _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
        (folder / "complete").touch()
    return python


def _call(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(
            "it cannot be installed: the package index is out of reach, or lacks these versions"
        ) from error


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
