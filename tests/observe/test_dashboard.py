"""The dashboard and the alerts query existing metrics, in expressions that Prometheus' own tool accepts."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.contract.execution import HealthState
from gateway.errors import GatewayError
from gateway.executors.states import DeviceUse, ModelHealth
from gateway.observe.delivery_states import DeliveryStates, DestinationNumbers
from gateway.observe.instruments import Instruments
from gateway.observe.metrics import Metrics
from gateway.observe.modelhealth import ModelHealths
from gateway.observe.network_metrics import NetworkMetrics
from gateway.observe.outcomes import PHASES
from gateway.observe.routing_states import RoutingNumbers, RoutingStates
from gateway.observe.runstates import RunStates, WaitingWebhooks
from gateway.runs.lifecycle import RunState
from gateway.studies.round_rows import RoundState
from gateway.studies.routing_rows import RoutingState
from tests.house.pages import ROOT, rows
from tests.observe.outcomes import outcome
from tests.require import require

DASHBOARD = json.loads((ROOT / "docs/grafana-dashboard.json").read_text(encoding="utf-8"))
ALERTS = ROOT / "docs/alerts.yml"
OPERATING = ROOT / "docs/operating.md"
RULES = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
PANELS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
QUERIES = [*PANELS, *(rule["expr"] for rule in RULES)]
ROUTING = RoutingNumbers(
    rounds=dict.fromkeys(RoundState, 1),
    oldest_round=1.0,
    latest_arrival=1.0,
    routings=dict.fromkeys(RoutingState, 1),
    oldest_routing=1.0,
)
MATCHER = re.compile(r'(\w+)(=~|!~|=|!=)"([^"]*)"')

ROUTE = {"job": "gateway", "route": "/a"}
SERIES = 'gateway_{}{{job="gateway",{}}}'
FIRING: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "GatewayDown": ({'up{job="gateway",instance="a"}': "0x60"}, {"job": "gateway", "instance": "a"}),
    "GatewayFailing": (
        {
            SERIES.format("requests_total", 'route="/a",status="200"'): "0+90x60",
            SERIES.format("requests_total", 'route="/a",status="500"'): "0+6x60",
            SERIES.format("requests_total", 'route="/a",status="502"'): "0+4x60",
            SERIES.format("requests_total", 'route="/fine",status="200"'): "0+90x60",
        },
        ROUTE,
    ),
    "GatewayTurnsAway": (
        {
            SERIES.format("requests_total", 'route="/a",status="200"'): "0+90x60",
            SERIES.format("requests_total", 'route="/a",status="503"'): "0+10x60",
        },
        ROUTE,
    ),
    "GatewayModelFailed": (
        {
            SERIES.format("model_state", 'model="/a",state="failed"'): "1x60",
            SERIES.format("model_state", 'model="/b",state="failed"'): "0x60",
        },
        {"job": "gateway", "model": "/a"},
    ),
    "GatewayModelDegraded": (
        {
            SERIES.format("model_state", 'model="/a",state="degraded"'): "1x60",
            SERIES.format("model_state", 'model="/b",state="busy"'): "1x60",
        },
        {"job": "gateway", "model": "/a"},
    ),
    "GatewayModelRestarts": (
        {
            SERIES.format("model_restarts_total", 'model="/a"'): "0+1x60",
            SERIES.format("model_restarts_total", 'model="/b"'): "2x60",
        },
        {"job": "gateway", "model": "/a"},
    ),
    "GatewayQueueLong": (
        {SERIES.format("queue_depth", 'model="/a"'): "20x60", SERIES.format("queue_depth", 'model="/b"'): "16x60"},
        {"job": "gateway", "model": "/a"},
    ),
    "GatewaySlow": (
        {
            SERIES.format("request_seconds_bucket", 'route="/a",le="120.0"'): "0+1x60",
            SERIES.format("request_seconds_bucket", 'route="/a",le="300.0"'): "0+10x60",
            SERIES.format("request_seconds_bucket", 'route="/a",le="+Inf"'): "0+10x60",
            SERIES.format("request_seconds_bucket", 'route="/b",le="1.0"'): "0+10x60",
            SERIES.format("request_seconds_bucket", 'route="/b",le="+Inf"'): "0+10x60",
        },
        ROUTE,
    ),
    "GatewayClientsStall": (
        {
            SERIES.format("requests_total", 'route="/a",status="200"'): "0+8x60",
            SERIES.format("requests_total", 'route="/a",status="408"'): "0+2x60",
            SERIES.format("rejections_total", 'route="/a",reason="request-stalled"'): "0+2x60",
        },
        {"job": "gateway"},
    ),
    "GatewaySpoolFull": (
        {SERIES.format("rejections_total", 'route="/a",reason="storage-full"'): "0x50 1x10"},
        {"job": "gateway"},
    ),
    "GatewayAuditIncomplete": ({'gateway_audit_failures_total{job="gateway"}': "0x50 1x10"}, {"job": "gateway"}),
    "GatewayRunsWait": ({'gateway_run_queue_seconds{job="gateway"}': "0+60x60"}, {"job": "gateway"}),
    "GatewayRunsRestart": ({'gateway_run_restarts_total{job="gateway"}': "0+1x60"}, {"job": "gateway"}),
    "GatewayPeerAway": (
        {SERIES.format("peer_operations_total", 'peer="pacs",operation="fetch",outcome="unavailable"'): "0+1x60"},
        {"job": "gateway", "peer": "pacs"},
    ),
    "GatewayDeliveriesDead": (
        {SERIES.format("deliveries_dead", 'destination="pacs"'): "0x20 1x40"},
        {"job": "gateway", "destination": "pacs"},
    ),
    "GatewayDeliveriesLate": (
        {SERIES.format("delivery_oldest_seconds", 'destination="pacs"'): "0+60x60"},
        {"job": "gateway", "destination": "pacs"},
    ),
    "GatewayWebhooksDead": ({SERIES.format("webhooks_total", 'outcome="dead"'): "0x50 1x10"}, {"job": "gateway"}),
    "GatewayWebhooksLate": ({'gateway_webhook_oldest_seconds{job="gateway"}': "0+60x10 4000x50"}, {"job": "gateway"}),
    "GatewayDimseDown": (
        {'up{job="gateway-dimse",instance="a"}': "0x60"},
        {"job": "gateway-dimse", "instance": "a"},
    ),
    "GatewayDimseRefuses": (
        {
            'gateway_dimse_instances_total{job="gateway-dimse",outcome="full"}': "0x50 1x10",
            'gateway_dimse_instances_total{job="gateway-dimse",outcome="stored"}': "0+9x60",
        },
        {"job": "gateway-dimse", "outcome": "full"},
    ),
    "GatewayRoutingFailed": (
        {
            SERIES.format("routings", 'state="failed"'): "0x10 1x50",
            SERIES.format("routings", 'state="refused"'): "9x60",
        },
        {"job": "gateway"},
    ),
    "GatewayRoutingWaits": ({'gateway_routing_oldest_seconds{job="gateway"}': "0+60x60"}, {"job": "gateway"}),
    "GatewayStudyIncomplete": ({'gateway_round_oldest_seconds{job="gateway"}': "0+200x60"}, {"job": "gateway"}),
}
"""For each alert, series of which one sample a minute makes it fire after an hour, and the labels it then has."""


def told() -> Iterator[tuple[str, dict[str, str]]]:
    """Each sample of a gateway that has been through everything: its name and its labels."""
    metrics = Metrics(["/a"], Instruments(CollectorRegistry()))
    metrics.progress("/a")
    for status, reason in ((200, ""), (422, "study-refused"), (503, "unavailable")):
        metrics.count(outcome(route="/a", status=status, reason=reason, phases=dict.fromkeys(PHASES, 1.0)))
    metrics.open(lambda: {"/a": ModelHealth(state=HealthState.READY, devices={"cuda:0": DeviceUse(1, 1)})})
    metrics.runs = lambda: (dict.fromkeys(RunState, 1), 1.0)
    metrics.routing = lambda: ROUTING
    metrics.webhook_age = lambda: 1.0
    metrics.deliveries = lambda: {"pacs": DestinationNumbers(1, 1.0, 1)}
    metrics.delivery("pacs", "delivered")
    metrics.peer("pacs", "fetch", "unavailable", 1.0)
    network = NetworkMetrics()
    network.association("released")
    network.instance("stored", 1)
    network.commitment("reported")
    pages = metrics.exposition()[0] + generate_latest(network.registry)
    for family in text_string_to_metric_families(pages.decode()):
        for sample in family.samples:
            yield sample.name, sample.labels


TOLD: dict[str, set[str]] = {}
for name, labels in told():
    TOLD.setdefault(name, set()).update(labels)


@pytest.mark.parametrize("query", QUERIES)
def test_every_required_metric_is_exposed_with_its_labels(query: str) -> None:
    asked = re.findall(r"\b(gateway_\w+)(?:\{([^}]*)\})?", query)
    assert asked or query.startswith("up{")
    for name, matchers in asked:
        assert name in TOLD
        assert {label for label, _, _ in MATCHER.findall(matchers)} <= TOLD[name]


@pytest.mark.parametrize("query", QUERIES)
def test_every_label_that_is_compared_has_a_value_that_can_be(query: str) -> None:
    known = {
        "phase": PHASES,
        "state": [*HealthState, *RunState, *RoundState, *RoutingState],
        "reason": [kind.code for kind in below(GatewayError)],
    }
    for label, _, text in MATCHER.findall(query):
        assert all(word in known[label] for word in text.split("|")) if label in known else True


def below(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from below(child)


def test_the_dashboard_shows_every_metric_of_the_gateway() -> None:
    shown = set(re.findall(r"\bgateway_\w+", " ".join(PANELS)))
    families = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in TOLD}
    assert {
        name for name in families if not any(query.startswith(name.removesuffix("_total")) for query in shown)
    } == set()


def test_the_panels_have_titles_and_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def promtool(folder: Path, verb: str, rules: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    require(shutil.which("promtool"), "the check of the queries needs promtool, from Debian's prometheus")
    file = folder / f"{verb}.yml"
    file.write_text(yaml.safe_dump(rules), encoding="utf-8")
    return subprocess.run(["promtool", verb, "rules", str(file)], capture_output=True, text=True)


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    words = {"$__rate_interval": "5m", "$route": ".*"}
    plain = [re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], query) for query in PANELS]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(plain)]
    checked = promtool(tmp_path, "check", {"groups": [{"name": "panels", "rules": [*rules, *RULES]}]})
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_fires_when_it_should_and_names_what_is_wrong(tmp_path: Path, rule: dict[str, Any]) -> None:
    series, labels = FIRING[rule["alert"]]
    fired = {"exp_labels": labels | rule["labels"], "exp_annotations": filled(rule["annotations"], labels)}
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": "0m", "alertname": rule["alert"], "exp_alerts": []},
            {"eval_time": "55m", "alertname": rule["alert"], "exp_alerts": [fired]},
        ],
    }
    tested = promtool(tmp_path, "test", {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]})
    assert tested.returncode == 0, tested.stdout + tested.stderr


def filled(annotations: dict[str, str], labels: dict[str, str]) -> dict[str, str]:
    return {
        name: re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)
        for name, text in annotations.items()
    }


def test_the_documented_metrics_are_those_of_the_gateway() -> None:
    families = [family for instrument in Instruments(CollectorRegistry()) for family in instrument.describe()]
    routed = RoutingStates(lambda: ROUTING).collect()
    stored = [*RunStates(lambda: ({}, 0.0)).collect(), *routed, *WaitingWebhooks(float).collect()]
    stored += DeliveryStates(lambda: {}).collect()
    described = [
        [f"`{family.name}{'_total' if family.type == 'counter' else ''}`", family.type, family.documentation]
        for family in [*families, *ModelHealths(dict).collect(), *stored]
    ]
    assert [[name, kind, text] for name, kind, _, text in rows(OPERATING, "metric")] == described
    for name, kind, labels, _ in rows(OPERATING, "metric"):
        found = TOLD[name.strip("`") + ("_bucket" if kind == "histogram" else "")]
        assert set(filter(None, labels.split(", "))) == found - {"le"}


def test_the_documented_metrics_of_the_dicom_network_are_those_of_its_process() -> None:
    families = NetworkMetrics().registry.collect()
    documented = [name.strip("`") for name, _ in rows(ROOT / "docs/dimse.md", "metric")]
    assert sorted(documented) == sorted(
        f"{family.name}{'_total' if family.type == 'counter' else ''}" for family in families
    )


def test_the_documented_alerts_are_those_of_the_rules() -> None:
    documented = [(name.strip("`"), severity) for name, severity, _ in rows(OPERATING, "alert")]
    assert documented == [(rule["alert"], rule["labels"]["severity"]) for rule in RULES]
