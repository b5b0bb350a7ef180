"""podman with a store of its own: images and containers of a test, which leave nothing on the machine."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.conftest import ROOT
from tests.ports import free_port
from tests.require import require
from tests.waiting import PATIENCE, eventually

MISSING = "the image is built by podman and debootstrap, as root or by sudo; .ci/run --slow installs both"
BUILD_PATIENCE = 1200
HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
"""What the Dockerfile and docs/deploying.md advise."""
READER = 1234
"""The user of a page's commands; the engine itself runs as root, as Docker does."""
LIMITS = ["nofile=4096:4096", "nproc=4096:4096"]
"""podman would raise them, and root may lack the capability for that."""
AS_ON_A_PAGE = f"""
docker() {{
    case " $* " in *" -p "*) podman run --detach "${{@:2}}" ;; *) podman "$@" ;; esac
}}
id() {{ echo {READER}; }}
"""
"""For bash: a server of a page runs in the background."""


def as_root() -> list[str]:
    """What stands before a command for it to run as root."""
    return [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]


def can_build() -> bool:
    programs = all(map(shutil.which, ("podman", "debootstrap", "make", *as_root()[:1])))
    return programs and subprocess.run([*as_root(), "true"], capture_output=True).returncode == 0


@dataclass(frozen=True)
class Container:
    """A container that runs, and the URL of its gateway."""

    engine: "Engine"
    name: str
    url: str

    def inside(self, *words: str) -> str:
        """The output of a command in the container."""
        return self.engine.podman("exec", self.name, *words)

    def health(self) -> str:
        """The health status, after one run of the health check."""
        self.engine.run("podman", "healthcheck", "run", self.name)
        return self.inspected("{{.State.Health.Status}}")

    def inspected(self, template: str) -> str:
        return self.engine.podman("inspect", self.name, "--format", template).strip()

    def ready(self) -> "Container":
        """Wait until it is ready; fail with its log if it ends instead."""
        eventually(lambda: self._answers() or self.inspected("{{.State.Running}}") == "false")
        assert self._answers(), self.engine.run("podman", "logs", self.name)
        return self

    def _answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False

    def stop(self) -> int:
        """Send SIGTERM; return the exit status."""
        self.engine.podman("stop", "--time", str(int(PATIENCE)), self.name)
        return int(self.inspected("{{.State.ExitCode}}"))


class Engine:
    """podman, and the programs that call it, with images and containers in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "storage.conf").write_text(f'[storage]\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n')
        (folder / "containers.conf").write_text(f"[containers]\ndefault_ulimits = {json.dumps(LIMITS)}\n")

    @property
    def environ(self) -> dict[str, str]:
        return {
            "BUILDAH_FORMAT": "docker",
            "CONTAINERS_CONF": f"{self.folder}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.folder}/storage.conf",
            "DISABLE_HC_SYSTEMD": "true",  # no timer: the tests run the health check themselves
            "ENGINE": "podman",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}{os.pathsep}/usr/sbin",
            "PYTHONDONTWRITEBYTECODE": "1",  # root would own what is compiled in the checkout
            "PYTHONPATH": str(ROOT),
        }

    def run(self, *words: str, cwd: Path = ROOT, script: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command as root, ``script`` on its standard input."""
        pairs = [f"{name}={value}" for name, value in self.environ.items()]
        command = [*as_root(), "env", *pairs, *words]
        return subprocess.run(command, cwd=cwd, input=script, capture_output=True, text=True, timeout=BUILD_PATIENCE)

    def succeed(self, *words: str, cwd: Path = ROOT, script: str = "") -> str:
        """The output of a command that must succeed."""
        ran = self.run(*words, cwd=cwd, script=script)
        assert ran.returncode == 0, f"{' '.join(words)}\n{script}\n{ran.stdout[-4000:]}\n{ran.stderr[-4000:]}"
        return ran.stdout

    def podman(self, *words: str) -> str:
        return self.succeed("podman", *words)

    def commands(self, lines: list[str], folder: Path) -> str:
        """Run a page's commands in ``folder``; return their output."""
        return self.succeed("bash", "-eu", cwd=folder, script="\n".join([AS_ON_A_PAGE, *lines]))

    @contextlib.contextmanager
    def started(self, *words: str) -> Iterator[Container]:
        """A container of ``podman run``: its options, the image and its command."""
        port = free_port()
        yield from self._until_used(self.podman("run", "--detach", f"--publish=127.0.0.1:{port}:8900", *words), port)

    @contextlib.contextmanager
    def started_by(self, lines: list[str], folder: Path) -> Iterator[tuple[Container, str]]:
        """The container of the last of a page's commands, on another port; the output of the commands before it."""
        port = free_port()
        assert "-p 8900:8900" in lines[-1]
        *output, name = self.commands([line.replace("-p 8900:", f"-p {port}:") for line in lines], folder).splitlines()
        for container in self._until_used(name, port):
            yield container, "\n".join(output)

    def _until_used(self, name: str, port: int) -> Iterator[Container]:
        try:
            yield Container(self, name.strip(), f"http://127.0.0.1:{port}")
        finally:
            self.run("podman", "rm", "--force", "--time", "0", "--volumes", name.strip())

    def remove(self) -> None:
        """Remove the images and all that the store has mounted."""
        self.run("podman", "rm", "--all", "--force", "--time", "0")
        self.run("podman", "rmi", "--all", "--force")
        self.run("umount", "--lazy", f"{self.folder}/images/overlay")
        self.run("rm", "-rf", "--one-file-system", str(self.folder))


@contextlib.contextmanager
def engine_with_image(folder: Path) -> Iterator[Engine]:
    """An engine that has built the image, its base pulled, or else made from Debian's packages."""
    require(can_build(), MISSING)
    engine = Engine(folder)
    try:
        base = next(line.split()[1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line[:5] == "FROM ")
        if engine.run("podman", "pull", "--quiet", base).returncode:
            engine.succeed("make", "image-base")
        engine.succeed("make", "image")
        yield engine
    finally:
        engine.remove()
