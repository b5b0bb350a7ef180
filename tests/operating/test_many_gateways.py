"""Two hosts behind a balancer: a server each with a folder of its own, one PostgreSQL, and one bucket of moto's S3."""

import importlib.util
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway import Client
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from gateway.client import Refused
from gateway.dicom.samples import phantom
from tests.conftest import Serve, Server
from tests.executors.processes import below
from tests.require import require
from tests.studies.databases import Cluster
from tests.waiting import PATIENCE, eventually

ROLES = frozenset({"infer", "read", "write", "delete"})
CALLERS = ("studies", "runs", "rounds", "revoked", "busy", "full", "killed")
BURST = 100
QUOTA = 1_500_000
"""Bytes of the store: about eleven of the studies below."""
SLICES, SIZE = 4, 128


@dataclass
class Hosts:
    """The servers, the keys of callers, their file, and what the models note."""

    servers: tuple[Server, Server]
    keys: dict[str, str]
    callers: Path
    notes: Path
    bucket: Any

    def clients(self, caller: str) -> tuple[Client, Client]:
        """A client of each host."""
        first, second = (Client(server.url, api_key=self.keys[caller]) for server in self.servers)
        return first, second

    def post(self, host: int, caller: str) -> int:
        """The status of a small request."""
        sent = {"X-API-Key": self.keys[caller], "Content-Type": "multipart/related; boundary=b"}
        body = b"--b\r\n\r\n{}\r\n--b--\r\n"
        return requests.post(f"{self.servers[host].url}/quick", body, headers=sent, timeout=PATIENCE).status_code

    def stored(self) -> int:
        """Bytes of instances in the bucket."""
        pages = self.bucket.get_paginator("list_objects_v2").paginate(Bucket="gateway", Prefix="instances/")
        return sum(each["Size"] for page in pages for each in page.get("Contents", []))


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, str]]]:
    """A bucket, and the variables by which boto3 finds it."""
    found = all(map(importlib.util.find_spec, ("moto", "boto3", "flask_cors")))
    require(found, "a bucket needs boto3 and moto[server]")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    variables = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    variables |= dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), str(tmp_path_factory.mktemp("aws")))
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="gateway")
    yield client, variables | {"AWS_ENDPOINT_URL_S3": f"http://{host}:{port}"}
    client.close()
    server.stop()


@pytest.fixture(scope="module")
def hosts(
    cluster: Cluster, s3: tuple[Any, dict[str, str]], serve: Serve, tmp_path_factory: pytest.TempPathFactory
) -> Hosts:
    folder = tmp_path_factory.mktemp("hosts")
    (folder / "notes").mkdir()
    keys = {name: new_key() for name in CALLERS}
    change(folder / "callers.json", lambda _: [CallerEntry(Caller(n, ROLES), fingerprint(k)) for n, k in keys.items()])
    shared = s3[1] | {
        "TEST_NOTES": str(folder / "notes"),
        "GATEWAY_DATABASE_URL": cluster.database(),
        "GATEWAY_STORE_BUCKET": "gateway",
        "GATEWAY_STORE_MAX_BYTES": str(QUOTA),
        "GATEWAY_STORE_CALLER_BYTES": str(QUOTA // 2),
        "GATEWAY_API_KEYS_FILE": str(folder / "callers.json"),
        "GATEWAY_CALLER_RATE": "60",
        "GATEWAY_CALLER_BURST": str(BURST),
        "GATEWAY_CALLER_HOSTS": "2",
        "GATEWAY_RUN_LEASE": "3",
    }
    first, second = (
        serve("tests.apps.many_hosts:app", "--workers", "1", GATEWAY_STORE_FOLDER=str(folder / name), **shared)
        for name in ("first", "second")
    )
    for server in (first, second):
        eventually(lambda server=server: requests.get(f"{server.url}/readyz", timeout=PATIENCE).status_code == 200)
    return Hosts((first, second), keys, folder / "callers.json", folder / "notes", s3[0])


def study(folder: Path, number: int = 0) -> list[Path]:
    return phantom.write(folder / str(number), slices=SLICES, size=SIZE, study=str(number))


def test_a_study_and_its_result_are_those_of_both_hosts(hosts: Hosts, tmp_path: Path) -> None:
    paths, (first, second) = study(tmp_path), hosts.clients("studies")
    assert first.upload(paths).sent == SLICES
    uploaded = second.upload(paths)
    assert uploaded.sent == 0
    second.infer(uploaded, "/measured")
    (result,) = first.results()
    assert first.result(result["id"]).json == second.result(result["id"]).json
    (listed,) = second.studies()
    assert first.studies() == [listed]
    second.forget(listed["study_instance_uid"])
    assert first.studies() == first.results() == []
    with pytest.raises(Refused):
        first.result(result["id"])


def test_a_run_is_followed_cancelled_and_fetched_wherever_it_works(hosts: Hosts) -> None:
    first, second = hosts.clients("runs")
    for name in ("one", "two"):
        first.submit(None, "/told", {"name": name}, id=name)
    seen = second.run("one")
    eventually(lambda: "begin one" in _noted(hosts) and "begin two" in _noted(hosts))
    second.run("two").cancel()
    eventually(lambda: first.run("two").state == "cancelled")
    (hosts.notes / "go one").touch()
    for event in seen.events():
        if event.kind == "state" and event.data.get("state") == "finished":
            break
    assert first.run("one").state == "finished"
    assert second.run("one").answer().json == first.run("one").answer().json


def test_the_rate_of_a_caller_is_that_of_both_hosts_together(hosts: Hosts) -> None:
    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(lambda host: hosts.post(host, "busy"), islice(cycle((0, 1)), 2 * BURST)))
    assert set(statuses) == {200, 429}
    assert BURST <= statuses.count(200) <= BURST + 60  # a minute's more, however slow the machine
    assert hosts.post(0, "studies") == 200


def test_a_revoked_key_opens_neither_host(hosts: Hosts) -> None:
    assert [hosts.post(host, "revoked") for host in (0, 1)] == [200, 200]
    change(hosts.callers, lambda entries: [entry for entry in entries if entry.caller.name != "revoked"])
    for host in (0, 1):
        eventually(lambda host=host: hosts.post(host, "revoked") == 401)


@pytest.mark.slow
def test_the_quota_is_that_of_the_store_and_not_of_a_host(hosts: Hosts, tmp_path: Path) -> None:
    size = sum(path.stat().st_size for path in study(tmp_path))
    for number, client in zip(range(1, 2 * QUOTA // size), cycle(hosts.clients("full")), strict=False):
        client.upload(study(tmp_path, number))
        assert hosts.stored() <= QUOTA + size  # what was displaced is removed a moment later
    first, second = hosts.clients("full")
    listed = first.studies()
    assert listed == second.studies()
    assert 0 < len(listed) * size <= QUOTA
    eventually(lambda: hosts.stored() <= QUOTA)


@pytest.mark.slow
def test_the_runs_of_a_host_that_died_are_finished_by_the_other(hosts: Hosts) -> None:
    first, second = hosts.clients("killed")
    for number in range(4):
        first.submit(None, "/told", {"name": f"killed {number}"}, id=f"killed-{number}")
    eventually(lambda: len([line for line in _noted(hosts) if line.startswith("begin killed")]) == 4)
    dead = hosts.servers[0].process.pid
    for pid in (dead, *below(dead)):
        os.kill(pid, signal.SIGKILL)
    for number in range(4):
        (hosts.notes / f"go killed {number}").touch()
    for number in range(4):
        run = second.run(f"killed-{number}")
        assert run.wait(PATIENCE)
        assert run.state == "finished"


def _noted(hosts: Hosts) -> list[str]:
    path = hosts.notes / "executions"
    return [line.rpartition(" ")[0] for line in path.read_text().splitlines()] if path.exists() else []
