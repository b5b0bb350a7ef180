"""What holds across hosts (docs/many-gateways.md): studies, runs, quotas, callers, logins and uploads over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import pytest
import requests

from gateway import Settings
from gateway.access.callers_file import change
from gateway.client import Refused
from gateway.dicom.samples import phantom
from gateway.studies.caller_rates import ASKING
from gateway.studies.store import Store
from tests.conftest import Serve
from tests.operating.hosts import Bucket, Hosts, two_hosts
from tests.studies.asking import Asking
from tests.studies.conftest import Clock
from tests.studies.databases import Cluster
from tests.studies.files import files, upload
from tests.waiting import PATIENCE, eventually

CALLERS = (
    "studies",
    "uploads",
    "runs",
    "once",
    "clicks",
    "reader",
    "revoked",
    "busy1",
    "busy2",
    "full",
    "killed",
    "away",
)
BURST = 100
QUOTA = 1_500_000
"""Bytes of the store: about eleven of the studies below."""
SLICES, SIZE = 4, 128


@pytest.fixture(scope="module")
def hosts(cluster: Cluster, s3: Bucket, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Hosts:
    limits = {
        "GATEWAY_STORE_MAX_BYTES": str(QUOTA),
        "GATEWAY_STORE_CALLER_BYTES": str(QUOTA // 2),
        "GATEWAY_CALLER_RATE": "60",
        "GATEWAY_CALLER_BURST": str(BURST),
        "GATEWAY_CALLER_HOSTS": "2",
        "GATEWAY_UI": "on",
    }
    return two_hosts(tmp_path_factory.mktemp("hosts"), cluster, s3, serve, *CALLERS, **limits)


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


def test_an_upload_that_one_host_negotiated_is_continued_at_the_other(hosts: Hosts) -> None:
    first, second = (Asking(server.url, hosts.keys["uploads"]) for server in hosts.servers)
    sent = files(4, study="uploads")
    assert {state["state"] for state in first.manifest(sent)} == {"missing"}
    assert second.send(sent[:2]).status_code == 200
    assert [state["state"] for state in first.manifest(sent)] == ["present"] * 2 + ["missing"] * 2
    assert first.send_missing(sent) == 2
    assert second.send_missing(sent) == 0


def test_a_run_is_followed_cancelled_and_fetched_wherever_it_works(hosts: Hosts) -> None:
    first, second = hosts.clients("runs")
    for name in ("one", "two"):
        first.submit(None, "/told", {"name": name}, id=name)
    seen = second.run("one")
    eventually(lambda: "begin one" in hosts.noted() and "begin two" in hosts.noted())
    for client in (first, second):
        eventually(lambda client=client: (client.run("one").progress or {}).get("text") == "one third of one")
    second.run("two").cancel()
    eventually(lambda: first.run("two").state == "cancelled")
    hosts.note("go one")
    for event in seen.events():
        if event.kind == "state" and event.data.get("state") == "finished":
            break
    assert first.run("one").state == "finished"
    assert second.run("one").answer().json == first.run("one").answer().json


def test_an_id_that_is_submitted_to_both_hosts_at_once_is_one_run(hosts: Hosts) -> None:
    clients = hosts.clients("once")
    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(lambda client: client.submit(None, "/counted", {"name": "same"}, id="same"), clients))
    assert all(run.wait(PATIENCE) and run.state == "finished" for run in runs)
    assert hosts.noted().count("begin same") == 1
    for client in clients:
        with pytest.raises(Refused, match="another"):
            client.submit(None, "/counted", {"name": "other"}, id="same")


def test_a_click_session_of_a_worker_that_is_not_on_this_host_is_gone_and_says_why(
    hosts: Hosts, tmp_path: Path
) -> None:
    first, _ = hosts.clients("clicks")
    with first.session(study(tmp_path), "/paint") as session:
        assert hosts.ask(0, "clicks", "GET", f"/sessions/{session.id}").status_code == 200
        # both servers of the test run on one machine, where workers reach each other: an id as of another machine's
        elsewhere = hosts.ask(1, "clicks", "GET", f"/sessions/{session.id[::-1]}")
        assert elsewhere.status_code == 404
        assert "the balancer has to keep a client on its host" in elsewhere.json()["detail"]


def test_a_login_at_one_host_is_a_login_at_the_other(hosts: Hosts) -> None:
    first, second = (server.url for server in hosts.servers)
    with requests.Session() as browser:
        logged_in = browser.post(f"{first}/ui/login", json={"key": hosts.keys["reader"]}, headers={"Origin": first})
        assert logged_in.status_code == 204
        words = [browser.get(f"{url}/ui/config").json() for url in (first, second)]
        assert words[0]["csrf"] == words[1]["csrf"] != ""
        written = {"X-CSRF-Token": words[0]["csrf"], "Origin": second}
        body = {"data": b"--b\r\n\r\n{}\r\n--b--\r\n", "headers": {"Content-Type": "multipart/related; boundary=b"}}
        assert browser.post(f"{second}/quick", data=body["data"], headers=body["headers"] | written).status_code == 200


@pytest.mark.parametrize("at", [(0, 1), (1,)], ids=["both", "one"])
def test_a_caller_gets_its_rate_at_both_hosts_together_and_at_one_alone(hosts: Hosts, at: tuple[int, ...]) -> None:
    caller = f"busy{len(at)}"
    with ThreadPoolExecutor(ASKING) as threads:  # none waits for its turn to ask the database
        statuses = list(threads.map(lambda host: hosts.post(host, caller), islice(cycle(at), 2 * BURST)))
    assert set(statuses) == {200, 429}
    assert BURST <= statuses.count(200) <= BURST + 60  # a minute's more, however slow the machine
    assert hosts.post(0, "studies") == 200


def test_a_revoked_key_opens_neither_host(hosts: Hosts) -> None:
    assert [hosts.post(host, "revoked") for host in (0, 1)] == [200, 200]
    change(hosts.callers, lambda entries: [entry for entry in entries if entry.caller.name != "revoked"])
    for host in (0, 1):
        eventually(lambda host=host: hosts.post(host, "revoked") == 401)


@pytest.mark.slow
def test_two_hosts_remove_what_is_too_old_at_once_and_nothing_else(
    cluster: Cluster, s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)
    database, clock, before = cluster.database(), Clock(), s3.keys()
    stores = [
        Store.open(
            Settings(store_folder=tmp_path / name, database_url=database, store_bucket="gateway/old", store_max_age=60),
            clock=clock,
        )
        for name in ("first", "second")
    ]
    for number, store in enumerate(stores):
        upload(store, "ct", files(3, study=f"old {number}"))
    clock.now += 100
    (young,) = files(1, study="young")
    upload(stores[0], "ct", [young])
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(_tidy, stores))
    kept = s3.keys().keys() - before.keys()
    assert [key for key in kept if young.entry.sha256 in key] == sorted(kept)
    for store in stores:
        store.close()


@pytest.mark.slow
def test_while_the_database_is_away_hosts_answer_what_does_not_need_it_and_grant_their_parts(
    hosts: Hosts, cluster: Cluster
) -> None:
    cluster.halt()
    try:
        granted = [hosts.post(0, "away") for _ in range(BURST)].count(200)
        assert BURST // 2 <= granted < BURST
        assert hosts.ask(0, "reader", "GET", "/studies").status_code == 503
        assert requests.get(f"{hosts.servers[0].url}/readyz", timeout=PATIENCE).status_code == 200
    finally:
        cluster.start()
    for host in (0, 1):
        eventually(lambda host=host: hosts.ask(host, "reader", "GET", "/studies").status_code == 200)
    assert hosts.clients("runs")[1].submit(None, "/quick").wait(PATIENCE)


@pytest.mark.slow
def test_the_quota_is_that_of_the_store_and_not_of_a_host(hosts: Hosts, tmp_path: Path) -> None:
    def stored() -> int:
        return sum(hosts.bucket.keys("instances/").values())

    size = sum(path.stat().st_size for path in study(tmp_path))
    for number, client in zip(range(1, 2 * QUOTA // size), cycle(hosts.clients("full")), strict=False):
        client.upload(study(tmp_path, number))
        assert stored() <= QUOTA + size  # what was displaced is removed a moment later
    first, second = hosts.clients("full")
    listed = first.studies()
    assert listed == second.studies()
    assert 0 < len(listed) * size <= QUOTA
    eventually(lambda: stored() <= QUOTA)


@pytest.mark.slow
def test_the_runs_of_a_host_that_died_are_finished_by_the_other(hosts: Hosts) -> None:
    clients = hosts.clients("killed")
    for number in range(4):
        clients[0].submit(None, "/told", {"name": f"killed {number}"}, id=f"killed-{number}")
    eventually(lambda: len([line for line in hosts.noted() if line.startswith("begin killed")]) == 4)
    dead = hosts.at_work("begin killed 0")
    hosts.kill(dead)
    for number in range(4):
        hosts.note(f"go killed {number}")
    for number in range(4):
        run = clients[1 - dead].run(f"killed-{number}")
        assert run.wait(PATIENCE)
        assert run.state == "finished"
    assert hosts.noted().count("begin killed 0") == 2


def _tidy(store: Store) -> None:
    with store.index.writing() as connection:
        store.retention.tidy(connection)
