"""Two hosts behind a balancer: a server each with a folder of its own, one PostgreSQL, and one bucket of moto's S3.

The clock of the second is a minute ahead.
"""

import importlib.util
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from gateway import Client
from gateway.access.api_keys import fingerprint, new_key
from gateway.access.callers import Caller
from gateway.access.callers_file import CallerEntry, change
from tests.conftest import Serve, Server
from tests.executors.processes import below, wait_until_ready
from tests.require import require
from tests.studies.databases import Cluster
from tests.waiting import PATIENCE

ROLES = frozenset({"infer", "read", "write", "delete"})
CLOCKS = ("0", "60")
"""Seconds by which the clock of each host is ahead."""
LEASE = "10"
"""Seconds; a living process renews its leases three times in them, however busy the machine is."""


@dataclass
class Bucket:
    """A bucket named ``gateway``, and the variables by which boto3 finds it."""

    client: Any
    variables: Mapping[str, str]

    def keys(self, prefix: str = "") -> dict[str, int]:
        """Return the keys of all objects, with their sizes in bytes."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="gateway", Prefix=prefix)
        return {each["Key"]: each["Size"] for page in pages for each in page.get("Contents", [])}


@contextmanager
def opened_bucket(folder: Path) -> Iterator[Bucket]:
    """Run moto's S3 with an empty bucket; ``folder`` is for the files of AWS, which are absent."""
    found = all(map(importlib.util.find_spec, ("moto", "boto3", "flask_cors")))
    require(found, "a bucket needs boto3 and moto[server]")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    variables = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    variables |= dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), str(folder))
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="gateway")
    yield Bucket(client, variables | {"AWS_ENDPOINT_URL_S3": f"http://{host}:{port}"})
    client.close()
    server.stop()


@dataclass
class Hosts:
    """The servers, their folders and variables, and the keys of the callers."""

    servers: tuple[Server, ...]
    folders: tuple[Path, ...]
    environ: dict[str, str]
    keys: dict[str, str]
    bucket: Bucket

    @property
    def callers(self) -> Path:
        """The file of callers."""
        return Path(self.environ["GATEWAY_API_KEYS_FILE"])

    def clients(self, caller: str) -> tuple[Client, Client]:
        """A client of each host."""
        first, second = (Client(server.url, api_key=self.keys[caller]) for server in self.servers)
        return first, second

    def ask(self, host: int, caller: str, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request of a caller to one of the hosts."""
        headers = {"X-API-Key": self.keys[caller]} | options.pop("headers", {})
        url = self.servers[host].url + path
        return requests.request(method, url, headers=headers, timeout=PATIENCE, **options)

    def post(self, host: int, caller: str) -> int:
        """The status of a small request."""
        sent = {"Content-Type": "multipart/related; boundary=b"}
        return self.ask(host, caller, "POST", "/quick", data=b"--b\r\n\r\n{}\r\n--b--\r\n", headers=sent).status_code

    def noted(self) -> list[str]:
        """The lines that models have noted."""
        return [line for line, _ in self._notes()]

    def at_work(self, noted: str) -> int:
        """The host whose model noted this line first."""
        pid = next(pid for line, pid in self._notes() if line == noted)
        return next(host for host, server in enumerate(self.servers) if pid in below(server.process.pid))

    def _notes(self) -> list[tuple[str, int]]:
        """The lines, each with the process that noted it."""
        path = Path(self.environ["TEST_NOTES"], "executions")
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.rpartition(" ")[0], int(line.rpartition(" ")[2])) for line in lines]

    def note(self, name: str) -> None:
        """Make a file that a model waits for."""
        Path(self.environ["TEST_NOTES"], name).touch()

    def kill(self, host: int) -> None:
        """End a host by signal 9, with all its processes."""
        os.killpg(self.servers[host].process.pid, signal.SIGKILL)
        self.servers[host].process.wait(PATIENCE)


def two_hosts(folder: Path, cluster: Cluster, bucket: Bucket, serve: Serve, *callers: str, **variables: str) -> Hosts:
    """Start both hosts, with these callers and settings."""
    (folder / "notes").mkdir()
    (folder / "ui.key").write_bytes(os.urandom(32))
    (folder / "ui.key").chmod(0o600)
    keys = {name: new_key() for name in callers}
    change(folder / "callers.json", lambda _: [CallerEntry(Caller(n, ROLES), fingerprint(k)) for n, k in keys.items()])
    environ = {
        **bucket.variables,
        "TEST_NOTES": str(folder / "notes"),
        "GATEWAY_DATABASE_URL": cluster.database(),
        "GATEWAY_STORE_BUCKET": "gateway",
        "GATEWAY_API_KEYS_FILE": str(folder / "callers.json"),
        "GATEWAY_UI_SECRET_FILE": str(folder / "ui.key"),
        "GATEWAY_RUN_LEASE": LEASE,
        **variables,
    }
    folders = folder / "first", folder / "second"
    servers = tuple(
        serve(
            "tests.apps.many_hosts:app",
            *("--workers", "1"),
            **environ,
            GATEWAY_STORE_FOLDER=str(own),
            TEST_CLOCK=clock,
        )
        for own, clock in zip(folders, CLOCKS, strict=True)
    )
    for server in servers:
        wait_until_ready(server)
    return Hosts(servers, folders, environ, keys, bucket)
