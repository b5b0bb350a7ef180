"""The image, built from the Dockerfile and run as the documentation says."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from gateway import Client
from gateway.cli import main
from gateway.dicom.samples import phantom
from tests.conftest import ROOT
from tests.container.dockerfile import Dockerfile
from tests.container.engine import HARDENED, READER, Container, Engine, engine_with_image
from tests.container.test_kubernetes import CONTAINER, ENVIRON, POD, PROBES
from tests.house.pages import blocks
from tests.operating.page_commands import section
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

MB = 1_000_000
USER, _, GROUP = Dockerfile.read(ROOT / "Dockerfile").last("USER").partition(":")
OPEN = ("--env", "GATEWAY_ALLOW_ANONYMOUS=1")
STRICT = (*HARDENED, "--read-only-tmpfs=false")
"""As Docker's --read-only: podman's own would make /run and /var/tmp writable too."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine_with_image(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture(scope="module")
def hardened(engine: Engine) -> Iterator[Container]:
    """A container as restricted as the documentation advises, its models in processes of their own."""
    with engine.started(*STRICT, *OPEN, "--env", "GATEWAY_MODEL_PROCESSES=1", "gateway") as container:
        yield container.ready()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    phantom.write(tmp_path / "study", slices=8, size=64)
    return tmp_path / "study"


@pytest.fixture
def folder(engine: Engine, tmp_path: Path) -> Iterator[Path]:
    """A folder for the commands of a page, which give files to other users."""
    (tmp_path / "page").mkdir()
    yield tmp_path / "page"
    engine.succeed("chown", "--recursive", str(os.getuid()), str(tmp_path))


def masks(container: Container, study: Path, **access: str) -> int:
    """Send a study; return the number of masks of the answer."""
    with Client(container.url, **access) as client:
        return len(client.infer(study, "/segmentation-3d", timeout=PATIENCE).masks)


def test_the_image_is_below_600_mb(engine: Engine) -> None:
    assert int(engine.podman("image", "inspect", "gateway", "--format", "{{.Size}}")) < 600 * MB


UNCOMPILED = """
import os, sys, warnings
warnings.simplefilter("ignore")
import gateway.gunicorn_conf, gateway.worker, models.app
files = {name: getattr(module, "__cached__", None) for name, module in sys.modules.items()}
print([name for name, file in files.items() if file and not os.path.exists(file)])
"""
"""Prints the modules that each process of a server would compile again."""


def test_what_a_server_imports_is_compiled(hardened: Container) -> None:
    assert hardened.inside("python", "-c", UNCOMPILED).strip() == "[]"


def test_it_has_what_the_dockerfile_copies_and_no_tests_and_no_compiler(hardened: Container) -> None:
    expected = {"gateway", "utils", "models", "logging.yaml", "requirements.txt", "requirements.lock"}
    assert set(hardened.inside("ls", "-A", "/app").split()) == expected
    assert hardened.inside("find", "/app", "-name", ".*", "-o", "-name", "test_*.py") == ""
    assert hardened.inside("sh", "-c", "command -v gcc cc make git curl wget || true") == ""


def test_it_serves_studies_from_a_read_only_root_without_capabilities(hardened: Container, study: Path) -> None:
    status = dict(line.split(":", 1) for line in hardened.inside("cat", "/proc/1/status").splitlines())
    assert status["Uid"].split() == [USER] * 4
    assert status["Gid"].split() == [GROUP] * 4
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0}
    assert status["NoNewPrivs"].strip() == "1"
    assert masks(hardened, study) > 0
    assert hardened.health() == "healthy"


def test_a_study_larger_than_dev_shm_is_served_by_model_processes(hardened: Container, tmp_path: Path) -> None:
    size = int(hardened.inside("stat", "--file-system", "--format", "%b", "/dev/shm"))
    size *= int(hardened.inside("stat", "--file-system", "--format", "%S", "/dev/shm"))
    assert size < 65 * 2**20
    files = phantom.write(tmp_path / "large", slices=140, size=512)
    assert sum(file.stat().st_size for file in files) > size
    assert masks(hardened, tmp_path / "large") > 0


def test_it_leaves_no_process_behind(hardened: Container, study: Path) -> None:
    masks(hardened, study)
    states = hardened.inside("sh", "-c", "cat /proc/[0-9]*/stat | sed 's/.*) //' | cut -c1")
    assert "Z" not in states.split()


def test_the_gateway_s_commands_run_in_it(hardened: Container) -> None:
    def gateway(*words: str) -> str:
        return hardened.inside("python", "-m", "gateway", *words)

    assert gateway("keys", "add", "viewer", "--file", "/tmp/callers.json").startswith("gw_")
    assert gateway("keys", "list", "--file", "/tmp/callers.json").startswith("viewer")
    gateway("phantom", "/tmp/study")
    gateway("send", "-i", "/tmp/study", "-o", "/tmp/answer")
    assert "response.json" in hardened.inside("ls", "/tmp/answer")


def test_sigterm_ends_it_with_0_and_it_has_written_nothing_outside_tmp(engine: Engine, study: Path) -> None:
    with engine.started("--tmpfs", "/tmp", *OPEN, "gateway") as container:
        assert masks(container.ready(), study) > 0
        assert container.stop() == 0
        changes = engine.podman("diff", container.name).splitlines()
    engines_own = ("/etc", "/run", "/proc", "/sys", "/dev", "/tmp")
    assert [line for line in changes if not line.split(" ", 1)[1].startswith(engines_own)] == []


def test_without_callers_it_refuses_to_start(engine: Engine) -> None:
    ran = engine.run("podman", "run", "--rm", *STRICT, "gateway")
    assert ran.returncode == 3
    assert "GATEWAY_API_KEYS_FILE" in ran.stdout + ran.stderr


def test_the_commands_of_the_readme_run_it_with_the_reader_s_own_keys(
    engine: Engine, folder: Path, study: Path
) -> None:
    *_, (add,), (build, run) = section("../README.md", "Serve it")
    engine.commands([build], ROOT)
    key = engine.commands([add, f"chown {READER} keys.json"], folder).strip()
    with engine.started_by([run], folder) as (container, _):
        assert requests.post(container.ready().url, timeout=PATIENCE).status_code == 401
        assert masks(container, study, api_key=key) > 0


def test_the_commands_of_the_deploying_page_run_it_with_keys_that_may_change(
    engine: Engine, folder: Path, study: Path
) -> None:
    (build, *lines), *_ = section("deploying.md", "Container")
    assert build == "make image"
    with engine.started_by(lines, folder) as (container, key):
        assert masks(container.ready(), study, api_key=key) > 0
        assert requests.post(container.url, timeout=PATIENCE).status_code == 401
        second = engine.commands([lines[-2].replace("viewer", "second")], folder).strip()
        assert masks(container, study, api_key=second) > 0


def test_a_store_on_a_volume_outlives_its_container(engine: Engine, folder: Path, study: Path) -> None:
    (_, *callers, _), lines, *_ = section("deploying.md", "Container")
    key = engine.commands(
        [line.replace("--roles infer", "--roles read,write,infer") for line in callers], folder
    ).strip()
    assert all("/srv/gateway" in line for line in lines)
    lines = [line.replace("/srv/gateway", f"{folder}/store") for line in lines]
    with engine.started_by(lines, folder) as (container, _), Client(container.ready().url, api_key=key) as client:
        uploaded = client.upload(study)
        assert container.stop() == 0
    with engine.started_by(lines, folder) as (container, _), Client(container.ready().url, api_key=key) as client:
        assert len(client.studies()) == 1
        assert client.infer(uploaded, "/segmentation-3d", timeout=PATIENCE).masks


def test_it_serves_the_dicom_network_too(engine: Engine, folder: Path) -> None:
    (folder / "titles.toml").write_text('[ae.PROBE]\naddress = ["127.0.0.1"]\ncaller = "probe"\n')
    itself = '{host = "127.0.0.1", port = 11112, aet = "GATEWAY", calling = "PROBE"}'
    (folder / "peers.toml").write_text(f"[peers.itself]\ndimse = {itself}\n")
    engine.commands(["mkdir store", f"chown {USER}:{GROUP} store", "chmod 755 ."], folder)
    settings = {
        "STORE_FOLDER": "/store",
        "DIMSE_TITLES_FILE": "/network/titles.toml",
        "PEERS": "/network/peers.toml",
    }
    options = (
        *(f"--volume={folder}:/network:ro", f"--volume={folder}/store:/store"),
        *(f"--env=GATEWAY_{name}={value}" for name, value in settings.items()),
    )
    echo = ("python", "-m", "gateway", "peers", "echo")
    with engine.started(*STRICT, *options, "gateway", "python", "-m", "gateway", "dimse") as container:
        assert eventually(lambda: "ok" in engine.run("podman", "exec", container.name, *echo).stdout)


def test_it_runs_as_the_kubernetes_manifest_says(engine: Engine, folder: Path, study: Path) -> None:
    group = POD["securityContext"]["fsGroup"]
    key = engine.commands(
        [
            "python -m gateway keys add viewer --roles infer --file callers.json",
            f"chown 0:{group} callers.json; chmod 440 callers.json; chmod 755 .",
        ],
        folder,
    ).strip()
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    options = (
        f"--user={POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}",
        *("--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        *(f"--tmpfs={mounts['tmp']}", f"--tmpfs={mounts['shm']}", f"--volume={folder}:{mounts['callers']}:ro"),
        *(f"--env={name}={value}" for name, value in ENVIRON.items()),
    )
    with engine.started(*options, "gateway", *CONTAINER["args"]) as container:
        container.ready()
        answers = [requests.get(container.url + path, timeout=PATIENCE) for path in PROBES.values()]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert masks(container, study, api_key=key) > 0


def test_a_model_and_packages_are_added_as_the_deploying_page_says(engine: Engine, folder: Path, study: Path) -> None:
    (dockerfile,) = blocks(ROOT / "docs/deploying.md", "dockerfile")
    (folder / "Dockerfile").write_text(dockerfile.text, encoding="utf-8")
    (folder / "lungs.py").write_text(blocks(ROOT / "README.md", "python")[0].text, encoding="utf-8")
    engine.succeed("podman", "build", "--tag", "lungs", ".", cwd=folder)
    with engine.started(*STRICT, *OPEN, "lungs") as container, Client(container.ready().url) as client:
        assert len(client.infer(study, "/", timeout=PATIENCE).masks) == 1
        container.inside("python", "-c", "import boto3")
        assert container.inside("id", "-u").strip() == USER


def test_the_image_of_a_new_model_runs_as_its_readme_says(
    engine: Engine, folder: Path, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert main(["new", "lung_nodules"]) == 0
    project = folder / "lung_nodules"
    add, build, run = _last_block(project / "README.md")
    key = engine.commands([add, f"chown {READER} keys.json", build], project).splitlines()[0]
    with engine.started_by([run], project) as (container, _), Client(container.ready().url, api_key=key) as client:
        assert len(client.infer(study, "/", timeout=PATIENCE).masks) == 1


def _last_block(page: Path) -> list[str]:
    block = page.read_text(encoding="utf-8").split("```console\n")[-1].split("```")[0]
    return [line.removeprefix("$ ") for line in block.splitlines()]
