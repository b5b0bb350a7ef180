"""Show the way of a study in one command: a modality sends it, a model finds something, and the PACS has it.

Orthanc is the PACS, dcmtk's storescu the modality. The files that configure the gateway lie in OUT afterwards.

usage: python pacs_demo.py [OUT]    (default: pacs-demo-output)
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import requests

from demo import START_SECONDS, started, url_of
from gateway.cli import main as gateway
from gateway.cli.terminal import ShowTask, Terminal
from gateway.dicom.drawing.captures import CarriedObject
from gateway.dicom.drawing.gallery import write_pictures
from gateway.dicom.reading.instances import read_instance
from gateway.dicom.volumes import segmentations
from gateway.studies import study_history
from gateway.studies.index import Index

WAIT_SECONDS = 180
LISTENING = re.compile(r"listening for DICOM associations at \S+, port (\d+)")
TITLES = """\
[ae.CT1]
address = ["127.0.0.1"]
caller = "ct1"
may = ["store"]
"""
PEERS = """\
[peers.orthanc]
dimse = {{host = "127.0.0.1", port = {port}, aet = "ORTHANC"}}
"""
RULES = """\
[rules.body]
titles = ["CT1"]
match = {Modality = "CT"}
model = "/segmentation-3d"
destinations = ["orthanc"]
association_end = true
"""
STAGES = {
    "attention": "the gateway waits for a person: see the log",
    "working": "the model runs, and its result goes to Orthanc",
    "arriving": "the study arrives at the gateway",
    "untaken": "no rule took the study",
    "done": "every rule and every delivery has ended",
}

STOPPED = (STAGES["attention"], STAGES["untaken"])


def main(out: Path) -> None:
    """Fill ``out`` with the study, the configuration, the logs, the SEG and its pictures. Raises SystemExit."""
    screen = Terminal()
    missing = [name for name in ("Orthanc", "storescu") if not shutil.which(name)]
    if missing:
        screen.say(f"Skipped: the demo needs {' and '.join(missing)}, from Debian's packages orthanc and dcmtk.")
        return
    for name in ("orthanc", "store"):
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir(parents=True)
    _run(screen, "phantom", str(out / "study"))
    with ExitStack() as stack:
        orthanc = stack.enter_context(_orthanc(out))
        screen.note(f"Orthanc is the PACS, at {orthanc.url} and port {orthanc.dicom}")
        environ = _environ(out, orthanc.dicom)
        url = stack.enter_context(_served(out, environ))
        port = stack.enter_context(_listening(out, environ))
        screen.note(f"the gateway answers at {url}, and DICOM associations at port {port}")
        for title, there in (("ORTHANC", orthanc.dicom), ("GATEWAY", port)):
            _send(screen, out / "study", title, there)
        with screen.task("waiting") as show:
            found = _awaited(orthanc, out, screen, show)
        study = str(read_instance(BytesIO(found[0])).header.StudyInstanceUID)
        page = requests.get(f"{url}/admin/studies/{study}", timeout=START_SECONDS)
        (out / "operator.html").write_bytes(page.content)
    screen.say("Look at these:")
    for path in (*_draw(out, found), out / "operator.html", *(out / name for name in CONFIGURATION)):
        screen.say(str(path.resolve()))


CONFIGURATION = ("titles.toml", "peers.toml", "rules.toml")


def _environ(out: Path, port: int) -> dict[str, str]:
    """Write the files of the operator, and return the environment of both processes."""
    for name, text in zip(CONFIGURATION, (TITLES, PEERS.format(port=port), RULES), strict=True):
        (out / name).write_text(text, encoding="utf-8")
    titles, peers, rules = (str((out / name).resolve()) for name in CONFIGURATION)
    others = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return others | {
        "GATEWAY_STORE_FOLDER": str((out / "store").resolve()),
        "GATEWAY_DIMSE_TITLES_FILE": titles,
        "GATEWAY_PEERS": peers,
        "GATEWAY_ROUTING": rules,
    }


class _Orthanc:
    """A running Orthanc: the URL of its own interface, and its port on the DICOM network."""

    def __init__(self, url: str, dicom: int) -> None:
        self.url, self.dicom = url, dicom

    def answers(self) -> bool:
        """Return True once it serves."""
        try:
            return requests.get(f"{self.url}/system", timeout=START_SECONDS).ok
        except requests.ConnectionError:
            return False

    def segmentations(self) -> list[bytes]:
        """Return the SEG objects that it holds."""
        query = {"Level": "Instance", "Query": {"Modality": "SEG"}}
        found: list[str] = requests.post(f"{self.url}/tools/find", json=query, timeout=START_SECONDS).json()
        return [requests.get(f"{self.url}/instances/{id}/file", timeout=START_SECONDS).content for id in found]


@contextmanager
def _orthanc(out: Path) -> Iterator[_Orthanc]:
    http, dicom = _free_ports(2)
    folder = str((out / "orthanc").resolve())
    configuration: dict[str, Any] = {
        "Name": "DEMO",
        "StorageDirectory": folder,
        "IndexDirectory": folder,
        "HttpPort": http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": "ORTHANC",
        "DicomPort": dicom,
        "DicomAlwaysAllowStore": True,
    }
    (out / "orthanc.json").write_text(json.dumps(configuration, indent=2), encoding="utf-8")
    orthanc = _Orthanc(f"http://127.0.0.1:{http}", dicom)
    log = out / "orthanc.log"
    with started(["Orthanc", str(out / "orthanc.json")], log, dict(os.environ)) as process:
        _until(orthanc.answers, process, log)
        yield orthanc


@contextmanager
def _served(out: Path, environ: dict[str, str]) -> Iterator[str]:
    command = [sys.executable, "-m", "gateway", "serve", "models.app:app", "--host", "127.0.0.1", "--port", "0"]
    with started(command, out / "server.log", environ) as process:
        yield url_of(process, out / "server.log")


@contextmanager
def _listening(out: Path, environ: dict[str, str]) -> Iterator[int]:
    command, log = [sys.executable, "-m", "gateway", "dimse", "--port", "0"], out / "dimse.log"
    with started(command, log, environ) as process:
        yield int(_until(lambda: LISTENING.search(log.read_text("utf-8", "replace")), process, log)[1])


def _send(screen: Terminal, study: Path, title: str, port: int) -> None:
    command = ["storescu", "-aet", "CT1", "-aec", title, "127.0.0.1", str(port)]  # dcmtk's, or that of pynetdicom
    screen.note(" ".join(("$", *command, f"{study}/*")))
    files = [str(path) for path in sorted(study.iterdir())]
    subprocess.run([*command, *files], check=True, env=os.environ | {"TCP_NODELAY": "1"})


def _awaited(orthanc: _Orthanc, out: Path, screen: Terminal, show: ShowTask) -> list[bytes]:
    """Tell the stages of the study until it is done; return the SEG objects in Orthanc. Raises SystemExit."""
    index, told = Index(out / "store", ""), ""
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while told != STAGES["done"]:
            with index.reading() as connection:
                found = study_history.recent(connection, 1)
            stage = STAGES[found[0].stage] if found else STAGES["arriving"]
            if stage != told:
                told = stage
                screen.note(stage)
                show(stage)
            if stage in STOPPED or time.monotonic() > deadline:
                raise SystemExit(f"The study is not done: {stage}; the logs are in {out}.")
            time.sleep(0.2)
    finally:
        index.close()
    return orthanc.segmentations()


def _draw(out: Path, found: Sequence[bytes]) -> Sequence[Path]:
    """Write the objects and a picture of each slice; return the paths to look at first."""
    objects, instances = [], [read_instance(path) for path in sorted((out / "study").iterdir())]
    for number, data in enumerate(found):
        (out / f"seg_{number}.dcm").write_bytes(data)
        objects.append(CarriedObject(f"seg_{number}", data, list(segmentations.masks(data, instances))))
    origin = "As Orthanc has it. For research, not for diagnosis."
    sheet, *_ = write_pictures(out / "pictures", instances, [], objects, origin)
    return [sheet, *(out / f"{each.name}.dcm" for each in objects)]


def _run(screen: Terminal, *words: str) -> None:
    screen.note(" ".join(("$ python -m gateway", *words)))
    if status := gateway(words):
        raise SystemExit(status)


def _until(found: Callable[[], Any], process: "subprocess.Popen[bytes]", log: Path) -> Any:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(0.1)
    raise SystemExit(f"A program did not start; see {log}.")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that all programs are stopped then
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "pacs-demo-output").absolute())
