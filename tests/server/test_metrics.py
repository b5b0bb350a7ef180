"""``/metrics`` through real gunicorn: exact over four workers of which two are killed with requests in work."""

import contextlib
import http.client
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import pytest
import requests
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Serve, Server
from tests.waiting import PATIENCE, eventually

WORKERS, CLIENTS, SLOW = 4, 8, 8
ROUNDS = [(400, 304, 304), pytest.param((4_000, 3_000, 3_000), marks=pytest.mark.slow)]
"""Requests before the first kill and after each."""
ROUTES = ("/echo", "/count", "/refuses", "/echo", "/raises")
BODY = b"--b\r\n\r\n{}\r\n--b\r\n\r\nDICM\r\n--b--\r\n"
HEADERS = {"Content-Type": "multipart/related; boundary=b"}

Sample = tuple[str, dict[str, str], float]
Told = Counter[tuple[str, str]]
"""How many answers there were, by route and status."""


def numbers(server: Server) -> list[Sample]:
    answer = requests.get(server.url + "/metrics", timeout=PATIENCE)
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


def total(found: list[Sample], name: str, **labels: str) -> float:
    return sum(value for other, of, value in found if other == name and labels.items() <= of.items())


def by_status(found: list[Sample]) -> dict[tuple[str, str], float]:
    return {(of["route"], of["status"]): value for name, of, value in found if name == "gateway_requests_total"}


def traffic(server: Server, count: int) -> Told:
    """So many requests from several clients at once, each of them answered."""
    share = [count // CLIENTS] * CLIENTS
    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(lambda each: client(server, each), share), Counter())


def client(server: Server, count: int) -> Told:
    told: Told = Counter()
    for route in islice(cycle(ROUTES), count):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        connection.request("POST", route, BODY, HEADERS | {"Connection": "close"})
        with contextlib.closing(connection), connection.getresponse() as answer:
            answer.read()
            told[route, str(answer.status)] += 1
    return told


def slow(server: Server, until: Path) -> bool:
    """Send one request that runs until a file exists; return whether it was answered."""
    body = b'--b\r\n\r\n{"until": "%s"}\r\n--b--\r\n' % str(until).encode()
    try:
        return requests.post(server.url + "/sleeps", body, headers=HEADERS, timeout=PATIENCE).status_code == 200
    except requests.ConnectionError:
        return False


def in_work(folder: Path) -> list[int]:
    """The workers with requests in flight, by their notes; those of a dead worker go while this reads."""
    found = []
    for file in folder.glob("gauge_livesum_*.db"):
        with contextlib.suppress(FileNotFoundError):
            values = list(MmapedDict.read_all_values_from_file(str(file)))
            found += [
                int(file.stem.rpartition("_")[2])
                for key, value, _, _ in values
                if "gateway_requests_in_flight" in key and value > 0
            ]
    return sorted(found)


def kill_one_at_work(server: Server, folder: Path, until: Path) -> Told:
    """Kill a worker while some requests are in flight; return their outcomes."""
    with ThreadPoolExecutor(SLOW) as pool:
        waiting: list[Future[bool]] = [pool.submit(slow, server, until) for _ in range(SLOW)]
        eventually(lambda: total(numbers(server), "gateway_requests_in_flight") == SLOW)
        os.kill(in_work(folder)[0], signal.SIGKILL)
        until.touch()
        answered = sum(future.result() for future in waiting)
    assert answered < SLOW
    eventually(lambda: not in_work(folder))  # the gauges of the dead are gone
    return Counter({("/sleeps", "200"): answered} if answered else {})


@pytest.mark.parametrize("rounds", ROUNDS, ids=["a thousand requests", "ten thousand"])
@pytest.mark.slow
def test_the_numbers_are_exact_after_workers_were_killed(serve: Serve, tmp_path: Path, rounds: tuple[int, ...]) -> None:
    server = serve(
        "tests.apps.faults:app",
        *("--workers", str(WORKERS), "--threads", "16"),
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "metrics"),
    )
    told = traffic(server, rounds[0])
    for number, count in enumerate(rounds[1:]):
        told += kill_one_at_work(server, tmp_path / "metrics", tmp_path / f"go {number}")
        told += traffic(server, count)
    fast = sum(count for (route, _), count in told.items() if route != "/sleeps")
    assert fast == sum(rounds)
    eventually(lambda: total(numbers(server), "gateway_requests_total") >= told.total())  # after an answer's last byte
    found = numbers(server)
    assert by_status(found) == told
    assert total(found, "gateway_request_seconds_count") == told.total()
    assert total(found, "gateway_received_bytes_total", route="/echo") == len(b"{}DICM") * told["/echo", "200"]
    assert total(found, "gateway_rejections_total", reason="study-refused") == told["/refuses", "422"]
    assert total(found, "gateway_rejections_total", reason="model-failed") == told["/raises", "500"]
    assert total(found, "gateway_requests_in_flight") == 0


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve("tests.apps.faults:app")


def test_the_phases_add_up_to_the_time_of_the_requests(server: Server) -> None:
    large = b"--b\r\n\r\n" + b'{"shape": [64, 256, 256]}' + b"\r\n--b\r\n\r\n" + bytes(4 << 20) + b"\r\n--b--\r\n"
    sums = [(0.0, 0.0)]

    def add_up() -> bool:
        asked = 10 * len(sums)
        for _ in range(10):
            assert requests.post(server.url + "/mask", large, headers=HEADERS, timeout=PATIENCE).status_code == 200
        eventually(lambda: total(numbers(server), "gateway_request_seconds_count", route="/mask") == asked)
        names = ("gateway_phase_seconds_sum", "gateway_request_seconds_sum")
        sums.append(tuple(total(numbers(server), name, route="/mask") for name in names))
        phases, whole = (after - before for before, after in zip(sums[-2], sums[-1], strict=True))
        return phases == pytest.approx(whole, rel=0.05)

    assert any(add_up() for _ in range(5)), "a busy machine stops between two phases now and then, and not each time"


def test_every_response_lists_its_phases_in_server_timing(server: Server) -> None:
    answer = requests.post(server.url + "/echo", BODY, headers=HEADERS, timeout=PATIENCE)
    timings = [entry.partition(";dur=") for entry in answer.headers["Server-Timing"].split(", ")]
    assert {"receive", "predict"} <= {name for name, _, _ in timings}
    assert all(float(milliseconds) >= 0 for _, _, milliseconds in timings)
    refused = requests.post(server.url + "/refuses", BODY, headers=HEADERS, timeout=PATIENCE)
    assert "receive;dur=" in refused.headers["Server-Timing"]
    no_number = HEADERS | {"X-Request-Timeout": "soon"}
    turned_away = requests.post(server.url + "/echo", BODY, headers=no_number, timeout=PATIENCE)
    assert (turned_away.status_code, turned_away.headers["Server-Timing"][:12]) == (400, "receive;dur=")


def folder_of(server: Server) -> Path:
    """The folder in which a server's worker has its metrics, by its mapped files."""
    assert requests.get(server.url + "/metrics", timeout=PATIENCE).status_code == 200
    (worker,) = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    mapped = {Path(line.split()[-1]) for line in Path(f"/proc/{worker}/maps").read_text().splitlines()}
    (folder,) = {path.parent for path in mapped if path.name.endswith(f"_{worker}.db")}
    return folder


def test_the_folder_of_the_metrics_is_private_and_removed_with_the_server(serve: Serve) -> None:
    server = serve("tests.apps.faults:app")
    folder = folder_of(server)
    assert folder.stat().st_mode & 0o077 == 0
    server.stop()
    assert not folder.exists()


def test_a_server_removes_the_folder_of_a_killed_one_and_no_folder_in_use(serve: Serve) -> None:
    killed, in_use = serve("tests.apps.faults:app"), serve("tests.apps.faults:app")
    left_over, used = folder_of(killed), folder_of(in_use)
    os.killpg(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    eventually(lambda: not any(str(left_over) in maps for maps in mapped_files()))  # its worker is gone too
    serve("tests.apps.faults:app")
    assert not left_over.exists()
    assert used.exists()


def mapped_files() -> Iterator[str]:
    """The maps of all processes that can be read."""
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            yield maps.read_text()
