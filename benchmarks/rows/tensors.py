"""A tensor in and a mask out by PyPI's tritonclient, beside MLServer and beside multipart/related."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks import pairs, peers, servers
from benchmarks.models import HEIGHT, SLICE, WIDTH
from benchmarks.results import Line, Plan, at_most, skipped
from benchmarks.studies import MiB

TRITONCLIENT = "tritonclient[http,grpc]==2.73.0"
FP32 = 4
"""Bytes of a value."""


def tensors(plan: Plan) -> list[Line]:
    """Measure the tensor of a quarter of the plan's slices, since a value has four bytes."""
    depth = max(1, plan.depth // FP32)
    work = f"{FP32 * depth * SLICE // MiB} MiB FP32 tensor in, {depth * SLICE // MiB} MiB mask out by tritonclient"
    try:
        python = peers.installed(TRITONCLIENT)
    except RuntimeError as error:
        return [skipped(work, f"tritonclient: {error}")]
    with ExitStack() as stack:
        client = stack.enter_context(_TensorClient.started(str(python), depth))
        ours = stack.enter_context(servers.ours(app="benchmarks.tensors:app"))
        works: dict[str, pairs.Work] = {
            "ours": client.work("http", ours.port, "threshold", "boolean_mask"),
            "multipart": client.work("multipart", ours.port, "/multipart"),
        }
        missing = ""
        try:
            works["MLServer"] = client.work("grpc", stack.enter_context(peers.mlserver(depth)), "threshold", "mask")
        except RuntimeError as error:
            missing = f"MLServer: {error}"
        samples = pairs.alternate(plan.pairs, works)
    note = "by gRPC: over HTTP it reads JSON alone"
    beside = skipped(work, missing) if missing else at_most(0.5, work, samples, "ours", "MLServer", note=note)
    return [beside, at_most(1.2, work, samples, "ours", "multipart", note="the same bytes, hashed both ways too")]


class _TensorClient:
    """A process of tritonclient's environment that times one request after another."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    @classmethod
    @contextmanager
    def started(cls, python: str, depth: int) -> "Iterator[_TensorClient]":
        """The client while the block lasts."""
        command = [python, "tensor_client.py", str(depth), str(HEIGHT), str(WIDTH)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=peers.APPS, stdin=pipe, stdout=pipe, text=True) as process:
            try:
                yield cls(process)
            finally:
                process.kill()

    def work(self, *words: object) -> pairs.Work:
        """The work of one request."""
        line = " ".join(map(str, words))
        return lambda: self._seconds(line)

    def _seconds(self, line: str) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        answered = self._process.stdout.readline()
        if not answered:
            raise RuntimeError(f"the client ended at {line}")
        return float(answered)
