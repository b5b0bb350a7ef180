"""DICOMweb beside Debian's Orthanc: a study stored until it is durable, and retrieved; searches among many studies."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import memory, orthanc, pairs, servers, synthetic_index, web_requests
from benchmarks.results import Line, Plan, at_most, skipped
from benchmarks.rows.uploads import settle, write
from benchmarks.servers import Server
from benchmarks.studies import MiB
from gateway import Client, Settings
from gateway.dicom.reading.files import read_header
from gateway.studies.store import Store

ROOT = "/dicomweb"
FLAT = 16
"""MiB by which a study of 250 MiB may raise the memory of a worker."""
PER_STUDY = 100
"""Instances of each study in the synthetic index."""
MOST_SECONDS = 0.05
WARM_UP = 20
STRIDE = 37
"""From one study that is searched for to the next, so that they lie apart; prime to the number of attributes."""


def dicomweb(plan: Plan) -> list[Line]:
    """Measure all lines; both servers wait for the disk at each file."""
    with tempfile.TemporaryDirectory(prefix="bench-web-") as name, ExitStack() as stack:
        rounds = _Rounds(Path(name), plan.web_instances)
        server = stack.enter_context(_served(Path(name) / "store", GATEWAY_STORE_FSYNC="1"))
        missing = "" if orthanc.program() else f"Orthanc {orthanc.MISSING}"
        peer = 0 if missing else stack.enter_context(orthanc.serving())
        other = stack.enter_context(_served(Path(name) / "other", GATEWAY_STORE_FSYNC="1"))
        lines = [
            *_stored(plan, rounds, server, other.port, peer, missing),
            *_retrieved(plan, rounds, server, peer, missing),
        ]
        return [*lines, *_flat(rounds, server)]


def searches(plan: Plan) -> list[Line]:
    """Measure searches for one study, on each database."""
    with tempfile.TemporaryDirectory(prefix="bench-search-") as name:
        return [*_searched(plan, "SQLite", Path(name)), *_searched_on_postgresql(plan, Path(name))]


class _Rounds:
    """The files of each round, new ones for each, which every candidate of the round stores."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count = folder, count
        self._taken: dict[str, int] = {}
        self._files: dict[int, list[bytes]] = {}

    def next(self, candidate: str) -> tuple[int, list[bytes]]:
        """Return the number and the files of the next round of a candidate, whose writes have reached the disk."""
        number = self._taken[candidate] = self._taken.get(candidate, -1) + 1
        if number not in self._files:
            folder = self._folder / f"round-{number}"
            self._files = {number: [path.read_bytes() for path in write(folder, self._count, number)]}
            shutil.rmtree(folder)
        settle(self._folder, self._count * (1 << 19))
        return number, self._files[number]

    @property
    def study(self) -> str:
        """The UID of the study to which all files belong."""
        ((_, files),) = self._files.items()
        path = self._folder / "one"
        path.write_bytes(files[0])
        with path.open("rb") as file:
            return str(read_header(file).StudyInstanceUID)


def _stored(plan: Plan, rounds: _Rounds, server: Server, chunks: int, peer: int, missing: str) -> Iterator[Line]:
    def ours() -> float:
        return web_requests.store(server.port, ROOT, rounds.next("ours")[1])

    def theirs() -> float:
        return web_requests.store(peer, orthanc.ROOT, rounds.next("Orthanc")[1])

    def chunked() -> float:
        _, files = rounds.next("chunked upload")
        with tempfile.TemporaryDirectory(prefix="bench-chunked-") as name:
            paths = [Path(name) / f"{place}.dcm" for place in range(len(files))]
            for path, data in zip(paths, files, strict=True):
                path.write_bytes(data)
            with Client(f"http://127.0.0.1:{chunks}", timeout=300, cache=Path(name) / "cache") as client:
                client.ping()
                return pairs.timed(lambda: client.upload(paths))()

    works: dict[str, pairs.Work] = {"ours": ours, **({"Orthanc": theirs} if peer else {}), "chunked upload": chunked}
    samples = pairs.alternate(plan.pairs, works)
    work = f"STOW-RS of {plan.web_instances} x 512 KiB until durable"
    yield at_most(1 / 3, work, samples, "ours", "Orthanc") if peer else skipped(work, missing)
    yield at_most(1.5, work, samples, "ours", "chunked upload", note="which hashes before it sends")


def _retrieved(plan: Plan, rounds: _Rounds, server: Server, peer: int, missing: str) -> Iterator[Line]:
    study, least = rounds.study, (plan.pairs + 1) * plan.web_instances * (1 << 19)
    for syntax, named in (("*", "as stored"), ("", "in the default transfer syntax, in which it is stored")):
        work = f"WADO-RS of that study of {(plan.pairs + 1) * plan.web_instances} instances, {named}"
        if not peer:
            yield skipped(work, missing)
            continue

        def get(port: int, root: str, syntax: str = syntax) -> Callable[[], float]:
            return lambda: web_requests.retrieve(port, root, study, least, syntax)

        works = {"ours": get(server.port, ROOT), "Orthanc": get(peer, orthanc.ROOT)}
        yield at_most(0.5, work, pairs.alternate(plan.pairs, works), "ours", "Orthanc")


def _flat(rounds: _Rounds, server: Server) -> Iterator[Line]:
    _, files = rounds.next("memory")
    study = rounds.study
    works: dict[str, Callable[[], object]] = {
        f"{len(files)} instances are stored": lambda: web_requests.store(server.port, ROOT, files),
        "the study is retrieved": lambda: web_requests.retrieve(server.port, ROOT, study, len(files), "*"),
    }
    for name, work in works.items():
        memory.reset_peak(server.worker)
        before = memory.exact(server.worker) / MiB
        work()
        peak = memory.peak(server.worker) / MiB
        yield Line(
            work=f"worker's peak RSS while {name}", unit="MiB", ours=peak, baseline=before, against="before",
            ratio=peak / before, must_reach=f"<= {FLAT} MiB more", met=peak - before <= FLAT,
            samples={"ours": [peak], "before": [before]},
        )  # fmt: skip


def _searched_on_postgresql(plan: Plan, folder: Path) -> Iterator[Line]:
    from tests.studies import databases

    if not databases.program("initdb"):
        yield skipped("QIDO-RS on PostgreSQL", "needs the Debian package postgresql")
        return
    with databases.cluster() as running:
        yield from _searched(plan, "PostgreSQL", folder, running.database())


def _searched(plan: Plan, database: str, folder: Path, url: str = "") -> Iterator[Line]:
    place = folder / database
    store = Store.open(Settings(store_folder=place, dicomweb=True, database_url=url))
    with store.index.writing() as connection:
        synthetic_index.fill(connection, plan.web_studies, PER_STUDY, store.clock())
    store.close()
    with _served(place, **({"GATEWAY_DATABASE_URL": url} if url else {})) as server:
        for number in range(WARM_UP):
            _search(server.port, number)
        times = [_search(server.port, number * STRIDE % plan.web_studies) for number in range(plan.web_queries)]
    slowest = sorted(times)[int(len(times) * 0.99)]
    yield Line(
        work=f"QIDO-RS for one among {plan.web_studies:,} studies of {PER_STUDY} instances, {database}: p99", unit="ms",
        ours=slowest * 1000, must_reach=f"<= {MOST_SECONDS * 1000:.0f} ms", met=slowest <= MOST_SECONDS,
        note=f"{len(times)} searches by each of {len(_TERMS)} attributes in turn", samples={"ours": times},
    )  # fmt: skip


_TERMS: tuple[tuple[str, Callable[[int], dict[str, str]]], ...] = (
    ("/studies", lambda number: {"PatientID": f"P{number}"}),
    ("/studies", lambda number: {"AccessionNumber": f"A{number}"}),
    ("/studies", lambda number: {"StudyInstanceUID": synthetic_index.study_uid(number)}),
    ("/studies", lambda number: {"PatientName": f"{synthetic_index.NAMES[number % 7]}^{number}*", "limit": "25"}),
    ("/series", lambda number: {"StudyInstanceUID": synthetic_index.study_uid(number)}),
    ("/instances", lambda number: {"StudyInstanceUID": synthetic_index.study_uid(number), "limit": "100"}),
)


def _search(port: int, number: int) -> float:
    path, terms = _TERMS[number % len(_TERMS)]
    return web_requests.search(port, f"{ROOT}{path}", **terms(number))


def _served(store: Path, **settings: Any) -> servers.Serving:
    return servers.ours(GATEWAY_STORE_FOLDER=str(store), GATEWAY_DICOMWEB="1", **settings)
