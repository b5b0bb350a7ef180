"""Kept queue engines, measured on what a run needs: docs/runs.md has the table.

They are no dependencies of the gateway, and are installed in an environment of their own::

    python -m venv /tmp/engines && /tmp/engines/bin/pip install dbos==3.4.0 huey==3.5.4
    /tmp/engines/bin/python benchmarks/run_engines.py [POSTGRESQL_URL]
"""

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

POLLING = 0.05
"""Seconds between two looks of an engine at its queue: a tenth of a blink, and twenty queries a second and process."""
SINGLE, MANY = 40, 200
PATIENCE = 30.0
"""Seconds that a run of a killed process is waited for."""


class Json:
    """The serializer of DBOS in JSON; its default one pickles."""

    def serialize(self, data: Any) -> str:
        """Write JSON."""
        return json.dumps(data, default=str)

    def deserialize(self, serialized_data: str) -> Any:
        """Read JSON."""
        return json.loads(serialized_data)

    def name(self) -> str:
        """Return the name that its rows bear."""
        return "json"


class Dbos:
    """One process of DBOS, launched."""

    def __init__(self, url: str, executor: str, log: str) -> None:
        started = time.monotonic()
        from dbos import DBOS, SetWorkflowID  # type: ignore[import-not-found,unused-ignore]

        self.dbos, self.with_id = DBOS, SetWorkflowID
        self.import_seconds = time.monotonic() - started

        @DBOS.workflow()  # type: ignore[untyped-decorator,unused-ignore]
        def work(name: str, seconds: float) -> str:
            with Path(log).open("a") as file:
                file.write(f"begin {name} {executor}\n")
            time.sleep(seconds)
            with Path(log).open("a") as file:
                file.write(f"end {name} {executor}\n")
            return name

        self.work = work
        config = {"name": "runs", "system_database_url": url, "executor_id": executor, "serializer": Json()}
        DBOS(config=config | {"application_version": "1", "run_admin_server": False})
        DBOS.launch()
        DBOS.register_queue("runs", worker_concurrency=4, polling_interval_sec=POLLING)

    def submit(self, name: str, seconds: float = 0.0) -> Callable[[], Any]:
        """Enqueue one, and return what waits for it."""
        with self.with_id(name):
            handle = self.dbos.enqueue_workflow("runs", self.work, name, seconds)
        return lambda: handle.get_result(polling_interval_sec=POLLING)


def serve(url: str, executor: str, log: str) -> None:
    """A process of DBOS that works until it is killed."""
    Dbos(url, executor, log)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()


def submit_one(url: str, log: str, name: str, seconds: str) -> None:
    """A process that enqueues one workflow by the client, and leaves."""
    from dbos import DBOSClient

    client = DBOSClient(system_database_url=url, serializer=Json())
    options = {"queue_name": "runs", "workflow_name": "Dbos.__init__.<locals>.work", "workflow_id": name}
    client.enqueue(options | {"app_version": "1"}, name, float(seconds))


@contextmanager
def server(url: str, executor: str, log: str) -> Iterator[subprocess.Popen[str]]:
    """A process of ``serve``, killed at the end."""
    command = [sys.executable, __file__, "serve", url, executor, log]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "ready\n":
            break
    assert lines and lines[-1] == "ready\n", "".join(lines)
    threading.Thread(target=process.stdout.read, daemon=True).start()
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def speed(url: str, log: str) -> dict[str, Any]:
    """Latency and rate in one process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    engine = Dbos(url, "speed", log)
    threads = threading.active_count()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    engine.submit("first")()
    took = []
    for number in range(SINGLE):
        started = time.monotonic()
        engine.submit(f"single-{number}")()
        took.append(time.monotonic() - started)
    started = time.monotonic()
    waits = [engine.submit(f"many-{number}") for number in range(MANY)]
    enqueued = time.monotonic() - started
    for wait in waits:
        wait()
    return {
        "submit to result, median ms": round(1000 * statistics.median(took), 1),
        "enqueue, ms": round(1000 * enqueued / MANY, 1),
        "runs a second": round(MANY / (time.monotonic() - started), 1),
        "import seconds": round(engine.import_seconds, 2),
        "MiB of a process": round((after - before) / 1024),
        "threads of a process": threads,
    }


def shared(url: str, log: str) -> dict[str, Any]:
    """Two processes on one database, and a third that submits."""
    engine = None
    with server(url, "a", log), server(url, "b", log):
        engine = Dbos(url, "client", log)
        started = time.monotonic()
        for wait in [engine.submit(f"shared-{number}") for number in range(MANY)]:
            wait()
        seconds = time.monotonic() - started
    begun = [line.split()[1] for line in Path(log).read_text().splitlines() if line.startswith("begin shared")]
    return {"runs a second on three processes": round(MANY / seconds, 1), "begun twice": len(begun) - len(set(begun))}


def recovery(url: str, log: str) -> dict[str, Any]:
    """A process dies while it works; another that lives shares its database."""
    answer: dict[str, Any] = {}
    with server(url, "a", log) as first:
        submit_in_child(url, log, "lost", "3")
        wait_for(log, "begin lost a")
        with server(url, "b", log):
            first.send_signal(signal.SIGKILL)
            answer["seconds until another process took a dead one's run"] = wait_for(log, "end lost b")
            with server(url, "a", log):
                answer["seconds until it ended once that executor id had started again"] = wait_for(log, "end lost")
    return answer


def same_id(url: str, log: str) -> dict[str, Any]:
    """Two workers of one server have one executor id, its default, and the second starts while the first works."""
    with server(url, "local", log):
        submit_in_child(url, log, "twice", "3")
        wait_for(log, "begin twice local")
        with server(url, "local", log):
            time.sleep(5)
    return {"executions of one run, as a second worker starts": Path(log).read_text().count("begin twice")}


def submit_in_child(url: str, log: str, name: str, seconds: str) -> None:
    """Enqueue from a process of its own."""
    subprocess.run([sys.executable, __file__, "submit_one", url, log, name, seconds], check=True, capture_output=True)


def wait_for(log: str, line: str) -> float | None:
    """Return the seconds until a line is logged; None where it is not within PATIENCE."""
    started = time.monotonic()
    while time.monotonic() < started + PATIENCE:
        if Path(log).exists() and line in Path(log).read_text():
            return round(time.monotonic() - started, 1)
        time.sleep(0.02)
    return None


def console(url: str, log: str) -> dict[str, Any]:
    """What a start prints."""
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", url, "c", log], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    time.sleep(5)
    process.kill()
    lines = (process.communicate()[0] or "").splitlines()
    return {"lines at a start": len(lines) - 1, "console address": any("console.dbos.dev" in line for line in lines)}


def huey(folder: str, _log: str) -> dict[str, Any]:
    """huey on SQLite: latency and rate; it has no lease, so that a run of a killed consumer is lost (its docs)."""
    from huey import SqliteHuey  # type: ignore[import-not-found,unused-ignore]
    from huey.serializer import Serializer  # type: ignore[import-not-found,unused-ignore]

    engine = SqliteHuey(filename=f"{folder}/huey.db", results=True)

    @engine.task()  # type: ignore[untyped-decorator,unused-ignore]
    def work(name: str) -> str:
        return name

    consumer = engine.create_consumer(workers=4, periodic=False, initial_delay=POLLING, max_delay=POLLING)
    consumer.start()
    took = []
    for number in range(SINGLE):
        started = time.monotonic()
        work(str(number)).get(blocking=True, backoff=1.0, max_delay=POLLING)
        took.append(time.monotonic() - started)
    started = time.monotonic()
    for handle in [work(str(number)) for number in range(MANY)]:
        handle.get(blocking=True, backoff=1.0, max_delay=POLLING)
    rate = MANY / (time.monotonic() - started)
    median = round(1000 * statistics.median(took), 1)
    pickles = "pickle" in Serializer._serialize.__code__.co_names
    return {"submit to result, median ms": median, "runs a second": round(rate, 1), "pickles": pickles}


def main(postgresql: str = "") -> None:
    """Measure each in a process of its own, and print a line for each number."""
    for database in ["sqlite", *(["postgresql"] if postgresql else [])]:
        for measure in ("speed", "shared", "recovery", "same_id", "console"):
            report(f"DBOS on {database}", measure, postgresql if database == "postgresql" else "")
    report("huey on sqlite", "huey", "folder")


def report(title: str, measure: str, url: str) -> None:
    """Run one measurement in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        target = folder if url == "folder" else url or f"sqlite:///{folder}/runs.sqlite"
        command = [sys.executable, __file__, measure, target, f"{folder}/log"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        answers = [line for line in done.stdout.splitlines() if line.startswith("= ")]
        for name, value in (json.loads(answers[-1][2:]) if answers else {measure: done.stderr[-2000:]}).items():
            sys.stdout.write(f"{title}: {name}: {value}\n")


if __name__ == "__main__":
    names = {each.__name__: each for each in (serve, submit_one, speed, shared, recovery, same_id, console, huey)}
    if sys.argv[1:2] and sys.argv[1] in names:
        result = names[sys.argv[1]](*sys.argv[2:])
        sys.stdout.write(f"= {json.dumps(result)}\n")
        sys.stdout.flush()
        os._exit(0)
    main(*sys.argv[1:])
