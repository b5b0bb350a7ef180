"""The image, as far as it can be checked without an engine to build it."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.container.dockerfile import Dockerfile, exec_form, parse
from tests.ports import free_port
from tests.require import require
from tests.waiting import PATIENCE, eventually

ROOT = Path(__file__).resolve().parents[2]
IMAGE = Dockerfile.read(ROOT / "Dockerfile")
NOBODY = 65534


def test_every_source_that_is_copied_exists_and_is_let_through_by_dockerignore() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    sources = [source for copied, _ in IMAGE.copies() for source in copied]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert "*" in ignored
    assert {f"!{source}" for source in sources} == {line for line in ignored if line.startswith("!")}


def test_the_user_is_a_number_and_not_root() -> None:
    user, _, group = IMAGE.last("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_nothing_of_the_image_belongs_to_the_user_who_runs_it() -> None:
    names = [found.name for found in IMAGE.instructions]
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in ("COPY", "RUN", "WORKDIR"))
    assert not any("--chown" in text for text in IMAGE.all("COPY"))


def test_the_base_is_slim_and_names_its_python() -> None:
    (base,) = IMAGE.all("FROM")
    assert base.endswith("-slim")
    assert base.startswith("python:3.")


def test_the_port_exposed_is_the_default_port_of_the_gateway() -> None:
    from gateway.config import DEFAULT_PORT

    assert IMAGE.last("EXPOSE") == IMAGE.environ()["PORT"] == str(DEFAULT_PORT)


def test_command_and_healthcheck_take_signals_themselves_since_no_shell_stands_before_them() -> None:
    assert IMAGE.command()[:2] == ["python", "-m"]
    assert IMAGE.healthcheck()[0] == "python"


def test_only_runtime_requirements_enter_the_image() -> None:
    lists = [(ROOT / name).read_text(encoding="utf-8") for name in ("requirements.txt", "requirements.lock")]
    named = " ".join([*IMAGE.all("RUN"), *lists]).lower()
    strangers = ("pytest", "hypothesis", "mypy", "ruff", "moto", "simpleitk", "pylibjpeg-libjpeg")
    assert [name for name in strangers if name in named] == []


def test_a_comment_between_continued_lines_does_not_end_the_instruction() -> None:
    first, second = parse('ENV A=1 \\\n# why\n    B=2\n\nCMD ["x"]\n')
    assert (first.name, shlex.split(first.text)) == ("ENV", ["A=1", "B=2"])
    assert exec_form(second.text) == ["x"]


def test_make_image_names_the_engines_where_none_is_installed() -> None:
    ran = subprocess.run(["make", "image", "ENGINE="], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "docker, podman or buildah" in ran.stderr


@pytest.mark.slow
def test_the_pip_line_of_the_image_installs_what_the_gateway_imports(tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    line, _ = IMAGE.all("RUN")
    words = shlex.split(line)
    assert words[:2] == ["pip", "install"]
    installed = subprocess.run(
        [str(environment / "bin/python"), "-m", *words], cwd=tmp_path, capture_output=True, text=True
    )
    require("Connection" not in installed.stderr, "the pip line needs a package index, and none can be reached")
    assert installed.returncode == 0, installed.stderr
    installed_too = "gdcm, pylibjpeg, openjpeg, jpeg_ls, PIL, yaml, requests_toolbelt, sqlalchemy, alembic, psycopg"
    probe = f"import models.app, utils, gateway.dimse.listening, {installed_too}"
    subprocess.run([str(environment / "bin/python"), "-W", "ignore", "-c", probe], cwd=ROOT, check=True)


# ---- its command, run by a user who may write in one folder only ----


def laid_out(folder: Path) -> Path:
    """Lay out the application's folder as in the image: readable by all users, writable by no user."""
    home = folder / "app"
    home.mkdir()
    for sources, destination in IMAGE.copies():
        for source in sources:
            _copy(ROOT / source, home / destination if destination != "./" else home / source)
    for path in [home, *home.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return home


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def as_nobody(python: str, *words: str) -> list[str]:
    """The command as an unprivileged user; a test that is not run by root is one already."""
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    return [*(drop if os.geteuid() == 0 else []), python, *words]


def reachable_python(environ: dict[str, str]) -> str:
    """An interpreter of this version that the unprivileged user can run with these packages."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    probe = ("-c", "import flask, gunicorn, numpy, pydicom, yaml")
    for python in (sys.executable, f"/usr/local/bin/{name}", f"/usr/bin/{name}"):
        words = as_nobody(python, *probe)
        if Path(python).exists() and subprocess.run(words, env=environ, cwd="/", capture_output=True).returncode == 0:
            return python
    require(False, f"no {name} that an unprivileged user can run with these packages")
    raise AssertionError


@pytest.fixture
def writable() -> Iterator[Path]:
    """The tmpfs of the container: the one folder in which the unprivileged user may write."""
    folder = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"gateway-container-{os.getpid()}"
    (folder / "tmp").mkdir(parents=True)
    (folder / "tmp").chmod(0o777)
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def container_environ(folder: Path, port: int) -> dict[str, str]:
    packages = os.pathsep.join(dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))
    tmp = str(folder / "tmp")
    return IMAGE.environ() | {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": packages,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "HOME": tmp,
        "TMPDIR": tmp,
    }


@contextmanager
def started(words: list[str], cwd: Path, environ: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        words, cwd=cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=PATIENCE)


def ready(port: int, process: "subprocess.Popen[str]") -> str:
    """The body of /healthcheck as soon as there is one."""

    def health() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthcheck", timeout=PATIENCE) as answer:
                return str(answer.read().decode("ascii"))
        except (urllib.error.URLError, ConnectionError):
            return ""

    found = eventually(lambda: health() or process.poll() is not None)
    assert isinstance(found, str), f"the command of the image did not serve:\n{process.communicate()[0]}"
    return found


def test_the_command_serves_for_an_unprivileged_user_with_one_writable_folder(writable: Path) -> None:
    port = free_port()
    environ = container_environ(writable, port)
    python, home = reachable_python(environ), laid_out(writable)

    def health() -> int:
        words = as_nobody(python, *IMAGE.healthcheck()[1:])
        return subprocess.run(words, cwd=home, env=environ, capture_output=True, timeout=PATIENCE).returncode

    assert health() != 0
    with started(as_nobody(python, *IMAGE.command()[1:]), home, environ) as process:
        assert ready(port, process) == "READY"
        assert health() == 0
        assert left_behind(home) == []
    assert health() != 0


def left_behind(home: Path) -> list[Path]:
    """Files that the server wrote beside its code, where a read-only root would have stopped it."""
    return [path for path in home.rglob("*") if path.name == "__pycache__" or path.suffix in (".pyc", ".sock", ".ctl")]


def test_the_healthcheck_accepts_the_state_ready_only(writable: Path) -> None:
    port = free_port()
    environ = container_environ(writable, port)
    server = (
        "import os, http.server as h\n"
        "class H(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(b'LOADING')\n"
        "h.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()\n"
    )
    with started([sys.executable, "-c", server], writable, environ) as process:
        assert ready(port, process) == "LOADING"
        check = [sys.executable, *IMAGE.healthcheck()[1:]]
        assert subprocess.run(check, env=environ, cwd=writable, timeout=PATIENCE).returncode != 0
