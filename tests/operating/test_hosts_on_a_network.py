"""What holds across hosts on the DICOM network and towards other systems: queries, routing, deliveries, webhooks."""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydicom import dcmread
from requests_toolbelt.multipart.decoder import MultipartDecoder

from gateway.delivery.signatures import new_secret
from gateway.studies import delivery_rows, round_rows
from gateway.studies.delivery_rows import Delivery, DeliveryState
from gateway.studies.index import Index
from gateway.studies.round_rows import Round
from tests.commands import command
from tests.conftest import Serve
from tests.delivery.receivers import Receiver as HookReceiver
from tests.delivery.receivers import receiving
from tests.dicom.studies import uid
from tests.dimse.test_dimse_process import DCMTK, Network, scu
from tests.operating.hosts import Bucket, Hosts, two_hosts
from tests.peers.scripted import Asked, response, scripted
from tests.ports import free_port
from tests.require import require
from tests.routing.whole_way import Receiver
from tests.studies.databases import Cluster
from tests.studies.files import File, files
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

SLICES = 6
RULES = """
[rules.boxes]
titles = ["CT1"]
model = "/boxed"
destinations = ["archive", "pacs"]
quiet_seconds = 3600
count_from = "archive"
retry_seconds = 0.2
"""
PEERS = """
[peers.archive]
dicomweb = "http://127.0.0.1:{archive}"

[peers.pacs]
dimse = {{host = "127.0.0.1", port = {pacs}, aet = "PACS"}}
"""


class Archive:
    """An archive over DICOMweb that states how many instances each study has; ``stored`` are the UIDs it was sent."""

    def __init__(self) -> None:
        self.stored: list[str] = []

    def answer(self, asked: Asked) -> Iterable[bytes]:
        """Answer QIDO-RS and STOW-RS (PS3.18 10.6, 10.5)."""
        if asked.method == "GET":
            (study,) = parse_qs(urlsplit(asked.target).query)["StudyInstanceUID"]
            match = {"0020000D": {"vr": "UI", "Value": [study]}, "00201208": {"vr": "IS", "Value": [SLICES]}}
            return response(200, json.dumps([match]).encode())
        parts = MultipartDecoder(asked.body, asked.headers["Content-Type"]).parts
        uids = [str(dcmread(BytesIO(part.content), specific_tags=["SOPInstanceUID"]).SOPInstanceUID) for part in parts]
        self.stored += uids
        items = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in uids]
        return response(200, json.dumps({"00081199": {"vr": "SQ", "Value": items}}).encode())


@dataclass
class Site:
    """Two hosts, each with an HTTP server and the DICOM network, and the systems around them."""

    hosts: Hosts
    networks: tuple[Network, ...]
    archive: Archive
    pacs: Receiver
    hooks: HookReceiver
    index: Index

    def send(self, host: int, folder: Path, sent: list[File]) -> None:
        """Send files to the network of a host, on one association."""
        folder.mkdir()
        for number, one in enumerate(sent):
            (folder / f"{number}.dcm").write_bytes(one.data)
        assert scu(self.networks[host], "storescu", "+sd", folder).returncode == 0

    def rounds(self, study: str) -> list[Round]:
        with self.index.reading() as connection:
            return round_rows.of_study(connection, uid("study", study))

    def delivered(self, study: str) -> list[Delivery]:
        """The deliveries of a study, once all have ended."""

        def look() -> list[Delivery]:
            with self.index.reading() as connection:
                found = list(delivery_rows.of_study(connection, None, uid("study", study)))
            return found if all(one.state is not DeliveryState.PENDING for one in found) else []

        return eventually(look)


@pytest.fixture(scope="module")
def site(cluster: Cluster, s3: Bucket, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require(shutil.which("storescp") and shutil.which("movescu"), DCMTK)
    folder, archive, pacs = tmp_path_factory.mktemp("site"), Archive(), free_port()
    with ExitStack() as stack:
        peer = stack.enter_context(scripted(archive.answer))
        hooks = stack.enter_context(receiving())
        receiver = Receiver(folder / "pacs", pacs)
        receiver.start()
        stack.callback(receiver.stop)
        texts = {
            "rules.toml": RULES,
            "peers.toml": PEERS.format(archive=peer.port, pacs=pacs),
            "secrets": f"{hooks.origin} {new_secret()}\n",
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
            (folder / name).chmod(0o600)
        variables = {
            "GATEWAY_DICOMWEB": "1",
            "GATEWAY_ROUTING": str(folder / "rules.toml"),
            "GATEWAY_PEERS": str(folder / "peers.toml"),
            "GATEWAY_WEBHOOK_ORIGINS": hooks.origin,
            "GATEWAY_WEBHOOK_SECRETS_FILE": str(folder / "secrets"),
        }
        hosts = two_hosts(folder, cluster, s3, serve, "ct1", **variables)
        networks = []
        for own in hosts.folders:
            networks.append(Network(own, **hosts.environ, GATEWAY_STORE_FOLDER=str(own)))
            stack.callback(networks[-1].kill)
        index = Index(folder, hosts.environ["GATEWAY_DATABASE_URL"])
        stack.callback(index.close)
        yield Site(hosts, tuple(networks), archive, receiver, hooks, index)


def test_what_one_host_received_is_found_and_moved_at_the_other(site: Site, tmp_path: Path) -> None:
    sent = files(3, study="found")
    study = uid("study", "found")
    site.send(0, tmp_path / "found", sent)
    for host in (0, 1):
        answer = site.hosts.ask(host, "ct1", "GET", f"/dicomweb/studies?StudyInstanceUID={study}")
        assert [match["00201208"]["Value"] for match in answer.json()] == [[3]]
        keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
        found = scu(site.networks[host], "findscu", *keys)
        assert (found.stdout + found.stderr).count("Find Response: ") == 1
    assert scu(site.networks[1], "movescu", "-aem", "PACS", *keys).returncode == 0
    assert len(site.pacs.received) == 3
    retrieved = site.hosts.ask(1, "ct1", "GET", f"/dicomweb/studies/{study}")
    assert all(one.entry.sop_instance_uid.encode() in retrieved.content for one in sent)


def test_a_study_that_arrives_at_two_hosts_is_one_run_and_each_result_is_delivered_once(
    site: Site, tmp_path: Path
) -> None:
    sent = files(SLICES, study="halves")
    site.send(0, tmp_path / "lower", sent[:3])
    site.send(1, tmp_path / "upper", sent[3:])
    (one,) = eventually(lambda: [one for one in site.rounds("halves") if any(r.ended_at for r in one.routings)])
    (routing,) = one.routings
    assert (one.instances, routing.sentence) == (SLICES, "")
    assert {(each.destination, each.state) for each in eventually(lambda: site.delivered("halves"))} == {
        ("archive", DeliveryState.DELIVERED),
        ("pacs", DeliveryState.DELIVERED),
    }
    assert site.hosts.noted() == [f"boxed {SLICES}"]
    assert len(site.archive.stored) == len(set(site.archive.stored)) == routing.results


def test_the_end_of_a_run_is_reported_once(site: Site) -> None:
    first, second = site.hosts.clients("ct1")
    runs = [
        client.submit(None, "/counted", {"name": name}, id=name, webhook=f"{site.hooks.origin}/hook")
        for client, name in ((first, "one"), (second, "two"), (first, "three"))
    ]
    assert all(run.wait(PATIENCE) for run in runs)
    eventually(lambda: len(site.hooks.received) >= 3)
    assert sorted(body["id"] for body in site.hooks.bodies) == ["one", "three", "two"]


@pytest.mark.parametrize("words", [["studies", "list"], ["deliveries", "list"], ["webhooks", "list"]], ids=" ".join)
def test_each_host_lists_the_same_for_its_operator(site: Site, words: list[str]) -> None:
    printed = [
        command(*words, "--json", environ=site.hosts.environ | {"GATEWAY_STORE_FOLDER": str(own), "PATH": "/usr/bin"})
        for own in site.hosts.folders
    ]
    assert [one.returncode for one in printed] == [0, 0], printed
    assert printed[0].stdout == printed[1].stdout != ""


def test_the_delivery_of_a_host_that_died_is_done_by_the_other(site: Site, tmp_path: Path) -> None:
    """The host dies once a peer has stored the objects and before that is recorded: they are sent once more."""
    site.archive.stored.clear()
    site.hosts.note("armed")
    site.send(0, tmp_path / "dead", files(SLICES, study="dead"))
    eventually(lambda: [server for server in site.hosts.servers if server.process.poll() is not None])
    assert {(each.destination, each.state) for each in eventually(lambda: site.delivered("dead"))} == {
        ("archive", DeliveryState.DELIVERED),
        ("pacs", DeliveryState.DELIVERED),
    }
    (one,) = site.rounds("dead")
    assert len(set(site.archive.stored)) == one.routings[0].results
    assert site.hosts.noted().count(f"boxed {SLICES}") == 2
