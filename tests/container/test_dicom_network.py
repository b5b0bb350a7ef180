"""docs/kubernetes-pacs.yaml and docs/compose.yaml: two containers on one store, each with a command that starts."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.cli.arguments import parse
from gateway.config import Settings, unknown_variables
from gateway.server.master import DEFAULTS
from tests.conftest import ROOT
from tests.container.dockerfile import Dockerfile
from tests.container.test_kubernetes import OLDEST

MANIFESTS = list(yaml.safe_load_all((ROOT / "docs/kubernetes-pacs.yaml").read_text(encoding="utf-8")))
CLAIM, DEPLOYMENT, WEB, DICOM = MANIFESTS
POD = DEPLOYMENT["spec"]["template"]["spec"]
PODS = {container["name"]: container for container in POD["containers"]}
COMPOSE = yaml.safe_load((ROOT / "docs/compose.yaml").read_text(encoding="utf-8"))["services"]
SHARED = {"GATEWAY_STORE_FOLDER", "GATEWAY_DICOMWEB", "GATEWAY_DIMSE_TITLES_FILE", "GATEWAY_PEERS", "GATEWAY_ROUTING"}


def environ(container: dict[str, Any]) -> dict[str, str]:
    """The variables of a container of either file."""
    entries = container.get("env")
    return {each["name"]: each["value"] for each in entries} if entries else container["environment"]


def mounts(container: dict[str, Any]) -> dict[str, str]:
    """What is mounted at each path."""
    entries = container.get("volumeMounts")
    if entries:
        return {each["mountPath"]: each["name"] for each in entries}
    return {path: name for name, path, *_ in (each.split(":") for each in container["volumes"])}


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["metadata"]["name"])
def test_each_manifest_is_valid(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("containers", [PODS, COMPOSE], ids=["kubernetes", "compose"])
def test_both_containers_open_one_store_with_the_same_settings(containers: dict[str, dict[str, Any]]) -> None:
    web, network = (containers[name] for name in ("gateway", "dimse"))
    for container in (web, network):
        known = environ(container)
        assert unknown_variables(known) == {}
        assert known.keys() >= SHARED
        below = {
            path for name in SHARED - {"GATEWAY_DICOMWEB"} for path in mounts(container) if known[name].startswith(path)
        }
        assert below == {"/store", "/network"}
    assert {name: environ(web)[name] for name in SHARED} == {name: environ(network)[name] for name in SHARED}
    assert mounts(web)["/store"] == mounts(network)["/store"]
    assert Settings(store_folder=environ(web)["GATEWAY_STORE_FOLDER"], dicomweb=True).dicomweb


@pytest.mark.parametrize(("container", "key"), [(PODS["dimse"], "args"), (COMPOSE["dimse"], "command")])
def test_the_command_listens_beyond_its_container_and_answers_metrics(container: dict[str, Any], key: str) -> None:
    (
        python,
        *module,
    ) = container[key][:3]
    arguments = parse(container[key][3:])
    assert (python, module, arguments.verb) == ("python", ["-m", "gateway"], "dimse")
    assert arguments.host == "0.0.0.0"
    assert arguments.allow_plain or (arguments.certfile and arguments.ca_certs)
    assert arguments.metrics_port == 9101


def test_the_probes_and_the_services_lead_to_ports_of_the_pod() -> None:
    arguments = parse(PODS["dimse"]["args"][3:])
    ports = {port["name"]: port["containerPort"] for each in PODS.values() for port in each["ports"]}
    assert (ports["dicom"], ports["metrics"]) == (arguments.port, arguments.metrics_port)
    assert {PODS["dimse"][probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} == {"metrics"}
    assert [port["targetPort"] for service in (WEB, DICOM) for port in service["spec"]["ports"]] == ["http", "dicom"]
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    assert WEB["spec"]["selector"] == DICOM["spec"]["selector"] == labels


def test_peers_keep_their_addresses_and_no_second_pod_opens_the_index() -> None:
    assert DICOM["spec"]["externalTrafficPolicy"] == "Local"
    assert COMPOSE["dimse"]["network_mode"] == "host"
    assert (DEPLOYMENT["spec"]["replicas"], DEPLOYMENT["spec"]["strategy"]["type"]) == (1, "Recreate")
    assert CLAIM["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert DEFAULTS["graceful_timeout"] < POD["terminationGracePeriodSeconds"] < DEFAULTS["graceful_timeout"] + 60


def test_both_containers_may_do_as_little_as_the_image_needs() -> None:
    user = int(Dockerfile.read(ROOT / "Dockerfile").last("USER").partition(":")[0])
    assert POD["securityContext"]["runAsUser"] == user
    for container in PODS.values():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for service in COMPOSE.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
