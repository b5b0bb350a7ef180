"""docs/kubernetes-scaled.yaml: HTTP replicas and the DICOM network on one PostgreSQL and one bucket, models in Ray."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

import gateway
from gateway.cli.arguments import parse
from gateway.config import Settings, unknown_variables
from gateway.dimse.listening import DRAIN_SECONDS
from gateway.doctor import Level, Plan, variables
from gateway.server.master import DEFAULTS
from tests.conftest import ROOT
from tests.container.dockerfile import Dockerfile
from tests.container.test_kubernetes import OLDEST

MANIFESTS = list(yaml.safe_load_all((ROOT / "docs/kubernetes-scaled.yaml").read_text(encoding="utf-8")))
SETTINGS, HTTP, DIMSE, WEB, DICOM, *BUDGETS = MANIFESTS
PROBES = ("liveness", "readiness")
PODS = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in (HTTP, DIMSE)}


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(only)


def environ(deployment: dict[str, Any]) -> dict[str, str]:
    """The variables of a container; those of Secrets have a sample."""
    own = {each["name"]: each.get("value", "postgresql://host/gateway") for each in container(deployment)["env"]}
    assert container(deployment)["envFrom"] == [{"configMapRef": {"name": SETTINGS["metadata"]["name"]}}]
    return {**SETTINGS["data"], **own}


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: f"{each['kind']} {each['metadata']['name']}")
def test_each_manifest_is_valid(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("deployment", [HTTP, DIMSE], ids=list(PODS))
def test_every_pod_shares_the_index_and_the_bytes_and_has_a_folder_of_its_own(deployment: dict[str, Any]) -> None:
    known = {name: value for name, value in environ(deployment).items() if name.startswith("GATEWAY_")}
    assert unknown_variables(known) == {}
    settings = Settings.from_environment(known)
    assert settings.database_url.startswith("postgresql:")
    assert settings.store_bucket
    volumes = {each["name"]: each for each in deployment["spec"]["template"]["spec"]["volumes"]}
    mounted = {each["mountPath"]: volumes[each["name"]] for each in container(deployment)["volumeMounts"]}
    assert "emptyDir" in mounted[str(settings.store_folder)]
    read = [str(getattr(settings, name)) for name in ("dimse_titles_file", "peers", "routing")]
    assert all("secret" in mounted[path.rpartition("/")[0]] for path in read)


def test_the_limits_of_callers_and_their_logins_are_those_of_all_replicas() -> None:
    settings = Settings.from_environment({k: v for k, v in environ(HTTP).items() if k.startswith("GATEWAY_")})
    assert settings.caller_hosts == HTTP["spec"]["replicas"] > 1
    assert settings.caller_rate
    assert settings.ui_secret_file is not None
    assert WEB["spec"]["sessionAffinity"] == "ClientIP"
    assert WEB["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] >= settings.session_life


def test_a_pod_has_the_time_that_it_needs_to_drain_before_it_is_killed() -> None:
    settings = Settings.from_environment({k: v for k, v in environ(HTTP).items() if k.startswith("GATEWAY_")})
    grace = {name: pod["terminationGracePeriodSeconds"] for name, pod in PODS.items()}
    assert settings.drain_delay > 0
    assert grace["gateway-http"] > settings.drain_delay + DEFAULTS["graceful_timeout"]
    sleep, seconds = container(DIMSE)["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert grace["gateway-dimse"] > int(seconds) + DRAIN_SECONDS


def test_probes_ask_what_they_are_for_and_a_database_that_is_away_ends_no_pod() -> None:
    http, dimse = ({kind: container(each)[f"{kind}Probe"]["httpGet"] for kind in PROBES} for each in (HTTP, DIMSE))
    assert {kind: each["path"] for kind, each in http.items()} == {"liveness": "/livez", "readiness": "/readyz"}
    assert {(each["path"], each["port"]) for each in dimse.values()} == {("/metrics", "metrics")}


@pytest.mark.parametrize("deployment", [HTTP, DIMSE], ids=list(PODS))
def test_neither_an_update_nor_the_loss_of_a_node_takes_all_pods(deployment: dict[str, Any]) -> None:
    spec, labels = deployment["spec"], deployment["spec"]["selector"]["matchLabels"]
    assert spec["replicas"] > 1
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["labelSelector"]["matchLabels"]) == ("kubernetes.io/hostname", labels)
    (budget,) = (one["spec"] for one in BUDGETS if one["spec"]["selector"]["matchLabels"] == labels)
    assert budget["maxUnavailable"] < spec["replicas"]


def test_the_doctor_finds_nothing_wrong_with_its_settings() -> None:
    plan = Plan.read(environ(HTTP), DEFAULTS)
    for check in (variables.threads, variables.timeouts):
        assert check(plan).level == Level.OK
    assert variables.limits(plan.settings).level == Level.OK
    assert plan.settings.ray == "auto"
    assert plan.settings.model_processes == 1


def test_the_node_of_the_cluster_is_there_before_the_server_and_the_server_gets_the_signals() -> None:
    shell, option, script = container(HTTP)["args"]
    assert (shell, option) == ("sh", "-c")
    node, _, server = script.partition(" && exec ")
    assert node.split()[:2] == ["ray", "start"]
    assert "--num-cpus=0" in node
    words = server.split()
    assert words[:3] == ["python", "-m", "gateway"]
    assert parse(words[3:]).verb == "serve"
    token = {name: value for name, value in environ(HTTP).items() if name.startswith("RAY_")}
    assert token == {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/ray/token"}


def test_the_network_listens_beyond_its_pod_and_peers_keep_their_addresses() -> None:
    words = container(DIMSE)["args"]
    arguments = parse(words[3:])
    assert (words[:3], arguments.verb, arguments.host) == (["python", "-m", "gateway"], "dimse", "0.0.0.0")
    assert arguments.certfile and arguments.ca_certs
    ports = {port["name"]: port["containerPort"] for port in container(DIMSE)["ports"]}
    assert ports == {"dicom": arguments.port, "metrics": arguments.metrics_port}
    assert DICOM["spec"]["externalTrafficPolicy"] == "Local"


def test_services_and_budgets_select_the_pods() -> None:
    labels = {each["metadata"]["name"]: each["spec"]["selector"]["matchLabels"] for each in (HTTP, DIMSE)}
    for each in (HTTP, DIMSE):
        assert labels[each["metadata"]["name"]].items() <= each["spec"]["template"]["metadata"]["labels"].items()
    assert (WEB["spec"]["selector"], DICOM["spec"]["selector"]) == tuple(labels.values())
    assert [budget["spec"]["selector"]["matchLabels"] for budget in BUDGETS] == list(labels.values())
    assert [port["targetPort"] for service in (WEB, DICOM) for port in service["spec"]["ports"]] == ["http", "dicom"]


@pytest.mark.parametrize("name", PODS)
def test_each_pod_may_do_as_little_as_the_image_needs(name: str) -> None:
    pod = PODS[name]
    user = int(Dockerfile.read(ROOT / "Dockerfile").last("USER").partition(":")[0])
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsNonRoot"]) == (user, True)
    assert (pod["enableServiceLinks"], pod["automountServiceAccountToken"]) == (False, False)
    (only,) = pod["containers"]
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert only["image"].partition(":")[2] == gateway.__version__
