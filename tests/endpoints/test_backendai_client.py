"""Backend.AI's own client, unmodified, and its command ``backend.ai run``, against a real server."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.access.callers import Caller
from gateway.access.key_pairs import KeyPair, change
from gateway.dicom.samples import phantom
from tests.conftest import Serve, Server
from tests.require import require
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

PACKAGES = ("backend.ai-client==23.9.10", "yarl==1.12.1")
PAIR = KeyPair(Caller("alice", frozenset({"infer"})), "AKIAIOSFODNN7EXAMPLE", "s" * 40)
DRIVER = """
import json, sys
from ai.backend.client.exceptions import BackendAPIError
from ai.backend.client.session import Session

def loop(session, mode, code, opts=None, answers=()):
    run_id, replies, statuses, console = None, list(answers), [], []
    while True:
        result = session.execute(run_id, code, mode=mode, opts=opts)
        run_id, opts = result["runId"], None
        statuses.append(result["status"])
        console += result["console"]
        if result["status"] == "finished":
            return {"statuses": statuses, "console": console, "exit": result["exitCode"]}
        mode, code = ("input", replies.pop(0)) if result["status"] == "waiting-input" else ("continue", "")

def refused(call):
    try:
        call()
    except BackendAPIError as error:
        return error.status

seen = {}
with Session() as api:
    seen["version"] = api.api_version
    lungs = api.ComputeSession.get_or_create("bright:1.2", name="lungs")
    seen["created"] = [lungs.created, api.ComputeSession.get_or_create("bright", name="lungs").created]
    seen["uploaded"] = lungs.upload(sys.argv[1:]).status
    seen["listed"] = [each["filename"] for each in json.loads(lungs.list_files(".")["files"])]
    seen["query"] = loop(lungs, "query", '{"threshold": 50}')
    seen["batch"] = loop(lungs, "batch", "", {"clean": "*", "build": "*", "exec": "bright threshold=50"})
    seen["shell"] = loop(lungs, "batch", "", {"clean": "rm", "build": "make", "exec": "sh -c ls"})
    seen["downloaded"] = lungs.download(["slices", "results"], dest="down")["file_names"]
    seen["info"] = lungs.get_info()["image"]
    seen["complete"] = lungs.complete("lun")
    named = api.ComputeSession.get_or_create("named", name="named")
    seen["input"] = loop(named, "query", "{}", answers=["Bob", "secret"])
    told = api.ComputeSession.get_or_create("told", name="told")
    run_id = told.execute(None, '{"seconds": 600}')["runId"]
    told.interrupt()
    while (result := told.execute(run_id, "", mode="continue"))["status"] != "finished":
        pass
    seen["interrupted"] = result["exitCode"]
    seen["logs"] = told.get_logs()["result"]["logs"]
    told.restart()
    told.rename("other")
    seen["renamed"] = api.ComputeSession("other").get_info()["image"]
    seen["failed"] = loop(api.ComputeSession.get_or_create("fails", name="failing"), "query", '{"name": "x"}')
    seen["destroyed"] = lungs.destroy()
    seen["missing"] = [refused(lungs.get_info), refused(lambda: api.ComputeSession.get_or_create("absent"))]
print(json.dumps(seen))
"""

Client = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the client installed."""
    require(sys.version_info[:2] == (3, 11), "backend.ai-client 23.9.10 needs Python 3.11")
    folder = tmp_path_factory.mktemp("backendai")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, capture_output=True)
    install = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--retries", "1", *PACKAGES]
    installed = subprocess.run(install, capture_output=True)
    require(installed.returncode == 0, "backend.ai-client 23.9.10 can be installed from no package index here")
    phantom.write(folder / "slices")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(serve: Serve, folder: Path) -> Server:
    change(folder / "pairs.json", lambda _: [PAIR])
    return serve(
        "tests.apps.computing:app",
        *("--workers", "2"),
        GATEWAY_BACKENDAI_KEYS=str(folder / "pairs.json"),
        GATEWAY_STORE_FOLDER=str(folder / "store"),
        TEST_NOTES=str(folder),
    )


@pytest.fixture(scope="module")
def client(server: Server, folder: Path) -> Client:
    """Run a program of the client's environment."""

    def run(program: str, *words: object, typed: str = "") -> "subprocess.CompletedProcess[str]":
        environ = os.environ | {
            "BACKEND_ENDPOINT": f"{server.url}/backendai",
            "BACKEND_ACCESS_KEY": PAIR.access_key,
            "BACKEND_SECRET_KEY": PAIR.secret_key,
            "HOME": str(folder),
        }
        command = [folder / "venv/bin" / program, *map(str, words)]
        return subprocess.run(
            command, cwd=folder, env=environ, input=typed, capture_output=True, text=True, timeout=PATIENCE
        )

    return run


def text(console: list[list[Any]], kind: str) -> str:
    return "".join(content for name, content in console if name == kind)


def ends(execution: dict[str, Any]) -> list[str]:
    return [status for status in execution["statuses"] if status != "continued"]


@pytest.fixture(scope="module")
def seen(client: Client, folder: Path) -> dict[str, Any]:
    """What the client saw."""
    ran = client("python", "-W", "ignore", "-c", DRIVER, *sorted((folder / "slices").iterdir()))
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def test_the_client_negotiates_and_uploads(seen: dict[str, Any]) -> None:
    assert seen["version"] == [6, "20220315"]
    assert (seen["created"], seen["uploaded"], seen["info"]) == ([True, False], 204, "bright:1.2")
    assert (seen["listed"], seen["complete"]) == (["slices"], [])


def test_the_client_runs_queries_and_batches(seen: dict[str, Any]) -> None:
    assert (ends(seen["query"]), seen["query"]["exit"]) == (["finished"], 0)
    assert (ends(seen["batch"]), seen["batch"]["exit"]) == (["clean-finished", "build-finished", "finished"], 0)
    answers = [text(seen[mode]["console"], "stdout").splitlines()[-1] for mode in ("query", "batch")]
    assert answers[0] == answers[1]
    assert json.loads(answers[0])["study_ml_json"]
    assert seen["shell"]["exit"] == 1
    assert text(seen["shell"]["console"], "stderr").count("This is not a shell") == 3


def test_the_client_downloads_files_and_results(seen: dict[str, Any], folder: Path) -> None:
    assert {f"slices/{path.name}" for path in (folder / "slices").iterdir()} < set(seen["downloaded"])
    for path in (folder / "slices").iterdir():
        assert (folder / "down/slices" / path.name).read_bytes() == path.read_bytes()
    answers = list((folder / "down/results").glob("*/answer.json"))
    assert json.loads(answers[0].read_bytes())["study_ml_json"]


def test_the_client_answers_interrupts_and_reads_logs(seen: dict[str, Any]) -> None:
    assert ends(seen["input"]) == ["waiting-input", "waiting-input", "finished"]
    assert '{"name": "Bob", "letters": 6}' in text(seen["input"]["console"], "stdout")
    assert (seen["interrupted"], seen["logs"], seen["renamed"]) == (130, "a line\n", "told")
    assert seen["failed"]["exit"] == 1
    assert "The model raised an exception" in text(seen["failed"]["console"], "stderr")


def test_the_client_destroys_and_gets_a_404(seen: dict[str, Any]) -> None:
    assert (seen["destroyed"], seen["missing"]) == ({"stats": {}}, [404, 404])


def test_the_command_runs_code(client: Client) -> None:
    ran = client("backend.ai", "run", "--rm", "quick", "-c", '{"a": 1}')
    assert ran.returncode == 0, ran.stderr
    assert '"json": {"a": 1}' in ran.stdout
    assert "Execution finished. (exit code = 0)" in ran.stdout + ran.stderr


def test_the_command_runs_files(client: Client, folder: Path) -> None:
    files = sorted(path.relative_to(folder) for path in (folder / "slices").iterdir())
    ran = client("backend.ai", "run", "--rm", "--exec", "bright threshold=50", "bright", *files)
    assert ran.returncode == 0, ran.stderr
    for line in ("Clean finished. (exit code = 0)", "Build finished. (exit code = 0)", "Cleaned up the session."):
        assert line in ran.stdout + ran.stderr
    assert '"study_ml_json"' in ran.stdout


def test_the_command_answers_questions(client: Client) -> None:
    ran = client("backend.ai", "run", "--rm", "choosing", "-c", "{}", typed="liver\n")
    assert ran.returncode == 0, ran.stderr
    assert '"organ": "liver"' in ran.stdout
