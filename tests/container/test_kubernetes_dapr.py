"""docs/kubernetes-dapr.yaml is valid, and its services are those of docs/dapr.md: three WASM functions."""

import runpy
from pathlib import Path
from typing import Any

import kubernetes_validate
import numpy as np
import pytest
import yaml

from gateway import Gateway
from gateway.doctor import Level, Plan, variables
from gateway.server.master import DEFAULTS
from gateway.testing import client, phantom_study
from tests.conftest import ROOT
from tests.container.test_kubernetes import OLDEST, PROBES
from tests.house.pages import blocks

DEPLOYMENTS = list(yaml.safe_load_all((ROOT / "docs/kubernetes-dapr.yaml").read_text(encoding="utf-8")))
_, SERVICE = blocks(ROOT / "docs/dapr.md", "python")
NAMES = ["grayscale", "otsu-mask", "bright"]


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environ(deployment: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(deployment)["env"]}


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=NAMES)
def test_each_manifest_is_valid(deployment: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(deployment, version, strict=True)


@pytest.mark.parametrize(("name", "deployment"), list(zip(NAMES, DEPLOYMENTS, strict=True)), ids=NAMES)
def test_the_sidecar_calls_what_the_service_serves(name: str, deployment: dict[str, Any]) -> None:
    template, own = deployment["spec"]["template"], container(deployment)
    annotations, variable = template["metadata"]["annotations"], environ(deployment)
    assert deployment["metadata"]["name"] == annotations["dapr.io/app-id"] == variable["FUNCTION"] == name
    assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    plan = Plan.read(variable, DEFAULTS)
    assert int(annotations["dapr.io/app-port"]) == own["ports"][0]["containerPort"] == plan.port
    assert annotations["dapr.io/app-health-check-path"] == PROBES["readinessProbe"]
    assert {probe: own[probe]["httpGet"]["path"] for probe in PROBES} == PROBES
    assert annotations["dapr.io/max-body-size"] == f"{plan.settings.max_body_bytes >> 20}Mi"
    assert all(isinstance(value, str) for value in annotations.values())  # of another type Kubernetes takes none
    stop = plan.settings.drain_delay + plan.graceful_timeout
    assert stop < template["spec"]["terminationGracePeriodSeconds"] < stop + 60
    assert variables.settings(variable).level == variables.unknown(plan, variable).level == Level.OK


def served(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """The application of the page."""
    monkeypatch.setenv("FUNCTION", name)
    monkeypatch.chdir(ROOT)
    script = folder / "wasm_service.py"
    script.write_text(SERVICE.text, encoding="utf-8")
    app: Gateway = runpy.run_path(str(script))["app"]
    return app


def test_two_services_answer_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    colours = np.zeros((4, 5, 3), np.uint8)
    colours[:, 2:] = (255, 255, 255)
    grey = (
        served("grayscale", tmp_path, monkeypatch)
        .test_client()
        .post("/grayscale", data=b"P6 5 4 255\n" + colours.tobytes())
    )
    mask = served("otsu-mask", tmp_path, monkeypatch).test_client().post("/otsu-mask", data=grey.data)
    assert (grey.status_code, mask.status_code) == (200, 200)
    for picture in (grey.data, mask.data):
        pixels = np.frombuffer(picture[-20:], np.uint8).reshape(4, 5)
        assert np.array_equal(pixels == 255, colours[..., 0] == 255)


def test_the_third_finds_masks_in_a_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = phantom_study(tmp_path / "study", slices=2, size=16)
    found = client(served("bright", tmp_path, monkeypatch)).infer(files, "/bright")
    assert [mask.shape for mask in found.masks] == [(16, 16), (16, 16)]
