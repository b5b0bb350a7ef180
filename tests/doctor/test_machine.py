"""Checks of a machine: each state that they should detect is a real one."""

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from gateway.config import GiB, MiB, Settings
from gateway.doctor import Level, Plan, devices, limits, memory, network, storage
from gateway.doctor import clock as clocks
from gateway.doctor.devices import ProgramOutput
from tests.conftest import ROOT, Serve
from tests.doctor.asking import ask
from tests.ports import free_port
from tests.waiting import PATIENCE

PLAN = Plan()
LIMIT = "import resource; resource.setrlimit(resource.{}, ({}, {}))"


# memory


@pytest.mark.parametrize(
    ("limit", "level"), [(None, Level.OK), (8 * GiB, Level.OK), (2 * GiB, Level.WARN), (100 * MiB, Level.FAIL)]
)
def test_the_memory_of_a_cgroup_is_compared_with_what_requests_may_use(limit: int | None, level: Level) -> None:
    assert memory.memory(PLAN, 16 * GiB, limit, spool_in_memory=False).level == level


def test_a_spool_in_memory_counts_as_memory() -> None:
    small = Plan(settings=Settings(max_bytes_in_flight=4 * GiB, spool_threshold=MiB))
    assert memory.memory(small, 2 * GiB, None, spool_in_memory=False).level == Level.OK
    found = memory.memory(small, 2 * GiB, None, spool_in_memory=True)
    assert (found.level, "GATEWAY_MAX_BYTES_IN_FLIGHT" in found.remedy) == (Level.WARN, True)


@pytest.mark.parametrize(
    ("own", "file", "text", "limit"),
    [
        ("0::/a/b\n", "a/b/memory.max", "1000\n", 1000),
        ("0::/a/b\n", "a/memory.max", "900\n", 900),
        ("0::/\n", "memory.max", "max\n", None),
        ("4:cpu,memory:/a\n", "memory/a/memory.limit_in_bytes", "800\n", 800),
        ("4:memory:/of/the/host\n", "memory/memory.limit_in_bytes", "700\n", 700),
        ("4:cpu:/a\n", "memory/a/memory.limit_in_bytes", "600\n", None),
        ("", "memory.max", "500\n", None),
    ],
)
def test_a_limit_is_found_in_either_version_of_cgroups(
    tmp_path: Path, own: str, file: str, text: str, limit: int | None
) -> None:
    (tmp_path / "cgroup").write_text(own)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    assert memory.cgroup_limit(tmp_path / "cgroup", tmp_path) == limit


def test_the_memory_of_this_machine_is_known() -> None:
    assert memory.machine_bytes() > 100 * MiB
    assert memory.cgroup_limit() is None or memory.cgroup_limit() > MiB


# shared memory


def test_shared_memory_is_tried_and_measured(tmp_path: Path) -> None:
    found = memory.shared_memory(tmp_path, 1)
    assert found.level in (Level.OK, Level.NOTE)
    assert "memfd_create works" in found.text


def test_a_missing_folder_of_shared_memory_is_reported(tmp_path: Path) -> None:
    assert memory.shared_memory(tmp_path / "shm", 0).level == Level.WARN


def test_a_folder_of_shared_memory_without_a_free_byte_stops_it() -> None:
    assert memory.shared_memory(Path("/proc"), 0).level == Level.FAIL  # no bytes of its own


@pytest.mark.parametrize(("processes", "level"), [("0", "warn"), ("1", "fail")])
@pytest.mark.slow
def test_files_in_memory_that_cannot_be_grown_stop_model_processes(processes: str, level: str) -> None:
    small = LIMIT.format("RLIMIT_FSIZE", 4096, 4096)
    told = ask("--json", before=small, cold=True, environ={"GATEWAY_MODEL_PROCESSES": processes})  # answers by a pipe
    assert told.level("shared memory") == level
    assert "memfd_create does not work: File too large" in told.text("shared memory")


# spool room


def test_the_system_s_temporary_folder_is_tried() -> None:
    found = storage.spool_room(Plan(settings=Settings(max_body_bytes=1, spool_threshold=1, max_bytes_in_flight=1)))
    assert found.level == Level.OK
    assert tempfile.gettempdir() in found.text


def test_a_spool_folder_that_is_a_file_stops_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = storage.spool_room(Plan(settings=Settings(spool_folder=tmp_path / "file")))
    assert (found.level, "is not a folder" in found.text) == (Level.FAIL, True)


def test_a_spool_folder_that_takes_no_file_stops_it() -> None:
    found = storage.spool_room(Plan(settings=Settings(spool_folder=Path("/proc"))))
    assert (found.level, "cannot be written" in found.text) == (Level.FAIL, True)


def test_a_disk_that_takes_no_byte_stops_it(tmp_path: Path) -> None:
    full = LIMIT.format("RLIMIT_FSIZE", 0, 0)  # as a full disk, seen by a process that may do anything else
    told = ask("--json", before=full, cold=True, environ={"GATEWAY_SPOOL_FOLDER": str(tmp_path)})
    assert told.level("spool room") == "fail"
    assert "cannot be written: File too large" in told.text("spool room")
    assert told.status == 1


@pytest.mark.parametrize(
    ("free", "unnamed", "level"),
    [
        (100 * GiB, True, Level.OK),
        (10 * GiB, True, Level.NOTE),
        (100 * GiB, False, Level.WARN),
        (1 * GiB, True, Level.WARN),
        (1 * MiB, True, Level.FAIL),
    ],
)
def test_free_bytes_are_compared_with_the_largest_request_and_with_all_of_them(
    free: int, unnamed: bool, level: Level
) -> None:
    assert storage.judge_room(PLAN, Path("spool"), free, unnamed=unnamed).level == level


def test_a_folder_without_files_without_names_is_seen(tmp_path: Path) -> None:
    assert not storage.takes_unnamed_files(tmp_path / "missing")


def test_a_folder_in_memory_is_distinguished_from_one_on_a_disk(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        f"2 1 0:2 / {str(tmp_path).replace(' ', chr(92) + '040')} rw,nosuid shared:1 - tmpfs none rw\n"
    )
    assert storage.in_memory(tmp_path / "spool", mounts)
    assert not storage.in_memory(Path("/elsewhere"), mounts)
    assert not storage.in_memory(tmp_path, tmp_path / "missing")


# open files


@pytest.mark.parametrize(
    ("soft", "hard", "system", "level"),
    [
        (100_000, 100_000, None, Level.OK),
        (1024, 524_288, None, Level.WARN),
        (120, 120, None, Level.FAIL),
        (100_000, 100_000, 2000, Level.WARN),
    ],
)
def test_open_files_are_compared_with_workers_and_connections(
    soft: int, hard: int, system: int | None, level: Level
) -> None:
    assert limits.open_files(Plan(workers=4), soft, hard, system).level == level


def test_a_process_with_few_files_is_reported() -> None:
    told = ask("--json", before=LIMIT.format("RLIMIT_NOFILE", 100, 100))
    assert told.level("open files") == "fail"
    assert told.status == 1
    assert "open files" in told.err


def test_the_connections_of_a_worker_are_those_of_gunicorn() -> None:
    from gunicorn.config import WorkerConnections

    from gateway.doctor.plan import CONNECTIONS

    assert WorkerConnections.default == CONNECTIONS


# clock


@pytest.mark.parametrize("year", [1970, 2000, 2100])
def test_a_year_that_cannot_be_stops_it(year: int) -> None:
    assert clocks.clock(datetime(year, 1, 1, tzinfo=UTC), [1, 2], True).level == Level.FAIL


@pytest.mark.parametrize("ticks", [[5, 5, 5], [1, 3, 2]])
def test_a_monotonic_clock_that_stands_or_goes_back_fails(ticks: list[int]) -> None:
    assert clocks.clock(datetime(2027, 1, 1, tzinfo=UTC), ticks, True).level == Level.FAIL


@pytest.mark.parametrize(("synchronised", "level"), [(True, Level.OK), (None, Level.OK), (False, Level.WARN)])
def test_an_unsynchronised_clock_is_a_warning(synchronised: bool | None, level: Level) -> None:
    assert clocks.clock(datetime(2027, 1, 1, tzinfo=UTC), [1, 2], synchronised).level == level


def test_the_kernel_reports_the_clock_and_nothing_is_set() -> None:
    before = clocks.now()
    assert clocks.synchronised() in (True, False, None)
    assert 0 <= (clocks.now() - before).total_seconds() < 60


# GPU


def test_a_machine_without_a_gpu_is_fine() -> None:
    found = devices.gpu("", False, ProgramOutput(), ProgramOutput())
    assert (found.level, found.text) == (Level.OK, "None, which is fine: models run on the CPU; no PyTorch.")


@pytest.mark.parametrize(
    ("driver", "smi", "torch", "level"),
    [
        ("550.54", ProgramOutput("NVIDIA H200, 143771 MiB, 550.54"), ProgramOutput("2.9.0 12.8 1"), Level.OK),
        ("550.54", ProgramOutput("NVIDIA H200, 143771 MiB, 550.54"), ProgramOutput(), Level.OK),
        ("550.54", ProgramOutput("NVIDIA H200, 143771 MiB, 550.54"), ProgramOutput("2.9.0 cpu 0"), Level.WARN),
        ("550.54", ProgramOutput(), ProgramOutput(), Level.WARN),
        ("", ProgramOutput(fault="couldn't communicate with the NVIDIA driver"), ProgramOutput(), Level.WARN),
        ("", ProgramOutput(), ProgramOutput(fault="ImportError: libcudart.so.12"), Level.WARN),
        ("", ProgramOutput(), ProgramOutput("2.9.0 cpu 0"), Level.OK),
    ],
)
def test_kernel_tool_and_pytorch_have_to_agree(
    driver: str, smi: ProgramOutput, torch: ProgramOutput, level: Level
) -> None:
    assert devices.gpu(driver, False, smi, torch).level == level


def test_a_tool_that_fails_and_a_pytorch_that_does_not_import_are_quoted(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho no devices were found >&2\nexit 6\n")
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    assert ask("--json", environ={"PATH": path}).text("gpu") == "nvidia-smi does not work: no devices were found."
    program.unlink()
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise ImportError('libcudart.so.12: cannot open')\n")
    told = ask("--json", folder=tmp_path)
    assert "PyTorch is installed but does not import: ImportError: libcudart.so.12" in told.text("gpu")


def test_a_tool_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "PATIENCE", 0.2)
    assert devices.ask([sys.executable, "-c", "import time; time.sleep(30)"]).fault.startswith("no answer")
    assert devices.ask([str(ROOT / "no-such-program")]).fault == "No such file or directory"


def test_the_version_of_the_driver_is_read(tmp_path: Path) -> None:
    file = tmp_path / "version"
    assert devices.driver_version(file) == ""
    file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5\n")
    assert devices.driver_version(file) == "550.54.15"


# port


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken


def test_a_port_that_is_taken_stops_it(listener: socket.socket) -> None:
    def refuse() -> None:
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    threading.Thread(target=refuse, daemon=True).start()
    told = ask("--json", port=str(listener.getsockname()[1]))
    listener.shutdown(socket.SHUT_RDWR)
    assert told.level("port") == "fail"
    assert told.status == 1
    assert told.err == "error: this machine would not serve: port\n"


def test_the_port_of_the_environment_is_the_one_that_is_tried() -> None:
    number = free_port()
    assert f"port {number} is free" in ask("--json", environ={"PORT": str(number)}, port="").text("port")


def test_an_address_of_another_machine_stops_it() -> None:
    assert network.port(Plan(host="192.0.2.1", port=0)).level == Level.FAIL


def test_a_gateway_that_listens_there_already_is_known_by_its_greeting(serve: Serve) -> None:
    server = serve("tests.cli.service:app")
    assert requests.get(f"{server.url}/ping", timeout=PATIENCE).status_code == 200
    found = network.port(Plan(port=server.port))
    assert (found.level, "a gateway answers there already" in found.text) == (Level.WARN, True)


def test_the_greeting_is_that_of_the_gateway() -> None:
    from gateway.endpoints.health import PONG

    assert network.GREETING.decode() == PONG
