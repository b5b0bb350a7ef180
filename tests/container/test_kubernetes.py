"""docs/kubernetes.yaml is a valid manifest, and its numbers match the gateway's."""

import copy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import gateway
from gateway.config import GiB
from gateway.doctor import Level, Plan, memory, storage, variables
from gateway.server.master import DEFAULTS
from tests.conftest import ROOT
from tests.container.dockerfile import Dockerfile

MANIFESTS = list(yaml.safe_load_all((ROOT / "docs/kubernetes.yaml").read_text(encoding="utf-8")))
DEPLOYMENT, SERVICE, BUDGET = MANIFESTS
POD = DEPLOYMENT["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
ENVIRON = {entry["name"]: entry["value"] for entry in CONTAINER["env"]}
PLAN = Plan.read(ENVIRON, DEFAULTS)
PROBES = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
OLDEST = "1.27"


def size(quantity: str) -> int:
    """Bytes of a quantity in Gi."""
    assert quantity.endswith("Gi")
    return int(quantity.removesuffix("Gi")) * GiB


def volume(path: str) -> dict[str, Any]:
    """The volume that is mounted on a path."""
    name = next(mount["name"] for mount in CONTAINER["volumeMounts"] if mount["mountPath"] == path)
    found: dict[str, Any] = next(each for each in POD["volumes"] if each["name"] == name)["emptyDir"]
    return found


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_each_manifest_is_valid_and_has_no_field_that_kubernetes_does_not_know(
    manifest: dict[str, Any], version: str
) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_field_that_is_misspelt_would_be_found() -> None:
    broken = copy.deepcopy(DEPLOYMENT)
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, OLDEST, strict=True)


def test_service_and_budget_select_the_pods_of_the_deployment() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    assert SERVICE["spec"]["selector"] == labels
    assert BUDGET["spec"]["selector"]["matchLabels"] == labels
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert {port["targetPort"] for port in SERVICE["spec"]["ports"]} <= ports.keys()
    assert ports["http"] == PLAN.port


def test_the_probes_request_paths_that_the_gateway_serves() -> None:
    app = gateway.Gateway(__name__)
    app.open()
    answered = {rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    asked = {name: CONTAINER[name]["httpGet"]["path"] for name in PROBES}
    assert asked == PROBES
    assert set(asked.values()) <= answered


def test_kubernetes_waits_for_as_long_as_a_stop_may_take() -> None:
    stop = PLAN.settings.drain_delay + PLAN.graceful_timeout
    assert stop < POD["terminationGracePeriodSeconds"] < stop + 60
    probe = CONTAINER["readinessProbe"]
    assert PLAN.settings.drain_delay > probe["periodSeconds"] * probe["failureThreshold"]


def test_the_doctor_finds_nothing_wrong_with_its_settings() -> None:
    assert variables.settings(ENVIRON).level == Level.OK
    assert variables.unknown(PLAN, ENVIRON).level == Level.OK
    for check in (variables.threads, variables.timeouts):
        assert check(PLAN).level == Level.OK
    assert variables.limits(PLAN.settings).level == Level.OK
    assert PLAN.settings.model_processes == 1


def test_memory_and_disk_hold_what_requests_may_take() -> None:
    limit = size(CONTAINER["resources"]["limits"]["memory"]) - size(volume("/dev/shm")["sizeLimit"])
    assert memory.memory(PLAN, 1024 * GiB, limit, spool_in_memory=False).level == Level.OK
    room = volume("/tmp")
    assert "medium" not in room
    assert storage.judge_room(PLAN, Path("/tmp"), size(room["sizeLimit"]), unnamed=True).level == Level.OK
    assert size(room["sizeLimit"]) <= size(CONTAINER["resources"]["limits"]["ephemeral-storage"])
    assert volume("/dev/shm")["medium"] == "Memory"


def test_the_pod_may_do_as_little_as_the_image_needs() -> None:
    user, _, group = Dockerfile.read(ROOT / "Dockerfile").last("USER").partition(":")
    assert (POD["securityContext"]["runAsUser"], POD["securityContext"]["runAsGroup"]) == (int(user), int(group))
    assert POD["securityContext"]["runAsNonRoot"] is True
    own = CONTAINER["securityContext"]
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert POD["automountServiceAccountToken"] is False
    assert POD["enableServiceLinks"] is False


def test_requests_and_limits_are_set() -> None:
    resources = CONTAINER["resources"]
    assert resources["requests"].keys() >= {"cpu", "memory", "ephemeral-storage"}
    assert resources["limits"].keys() >= {"memory", "ephemeral-storage"}
    assert CONTAINER["image"].partition(":")[2] == gateway.__version__
