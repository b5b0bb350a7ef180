"""Checks of settings: unreadable and unknown ones, and contradictions."""

import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.access.callers_file import change
from gateway.config import Settings
from gateway.delivery.signatures import new_secret
from gateway.doctor import Level, Plan, storage, variables
from gateway.doctor.plan import faults
from tests.conftest import ROOT
from tests.doctor.asking import ask
from tests.waiting import PATIENCE


def test_every_bad_variable_is_named_and_no_value_of_one() -> None:
    told = ask(
        "--json",
        environ={"GATEWAY_MAX_PARTS": "secret-many", "GATEWAY_READ_TIMEOUT": "-1", "THREADS": "secret-few"},
    )
    assert told.status == 1
    for name in ("GATEWAY_MAX_PARTS", "GATEWAY_READ_TIMEOUT", "THREADS"):
        assert name in told.text("settings")
    assert "secret" not in told.out + told.err


@pytest.mark.parametrize(("name", "text"), [("PORT", "65536"), ("WEB_CONCURRENCY", "0"), ("THREADS", "many")])
def test_a_variable_that_serve_refuses_stops_it(name: str, text: str) -> None:
    assert variables.settings({name: text}).level == Level.FAIL


def test_a_variable_that_is_empty_counts_as_not_set() -> None:
    assert variables.settings({"PORT": "", "THREADS": ""}).level == Level.OK


def test_a_plan_is_read_as_serve_reads_it_and_without_what_is_bad() -> None:
    environ = {"PORT": "80", "THREADS": "x", "WEB_CONCURRENCY": "3", "GATEWAY_STRICT": "?", "GATEWAY_MAX_PARTS": "9"}
    plan = Plan.read(environ, {"threads": 5, "graceful_timeout": 7}, port=None)
    assert (plan.port, plan.workers, plan.threads, plan.graceful_timeout) == (80, 3, 5, 7)
    assert (plan.settings.max_parts, plan.settings.strict) == (9, True)
    assert Plan.read(environ, {}, port=81).port == 81


def test_an_unknown_variable_is_reported_with_the_nearest_known_name() -> None:
    told = ask("--json", environ={"GATEWAY_MAX_BODY_BYTE": "secret", "GATEWAY_COFFEE": "secret"})
    assert told.level("variables") == "warn"
    assert "GATEWAY_MAX_BODY_BYTE (near: GATEWAY_MAX_BODY_BYTES)" in told.text("variables")
    assert "GATEWAY_COFFEE" in told.text("variables")
    assert "secret" not in told.out + told.err
    assert told.status == 0


@pytest.mark.parametrize(
    "name", ["GATEWAY_SERVICE_HOST", "GATEWAY_SERVICE_PORT_HTTP", "GATEWAY_PORT", "GATEWAY_LUNG_PORT_8900_TCP_ADDR"]
)
def test_the_links_that_kubernetes_sets_for_a_service_are_only_a_note(name: str) -> None:
    assert variables.unknown(Plan(host="0.0.0.0"), {name: "tcp://10.0.0.1:8900"}).level == Level.NOTE


def test_every_setting_is_a_known_variable() -> None:
    every = {f"GATEWAY_{field.name.upper()}": "" for field in fields(Settings)}
    assert variables.unknown(Plan(), every).level == Level.OK


@pytest.mark.parametrize("name", ["GATEWAY_TOKEN", "GATEWAY_API_KEY", "GATEWAY_TEST_REQUIRE"])
def test_variables_of_the_client_and_of_tests_are_known(name: str) -> None:
    assert variables.unknown(Plan(host="0.0.0.0"), {name: ""}).level == Level.OK


def test_a_variable_that_serve_refuses_beyond_loopback_stops_it_there() -> None:
    assert variables.unknown(Plan(), {"GATEWAY_MAX_QUEU": "1"}).level == Level.WARN
    assert variables.unknown(Plan(host="0.0.0.0"), {"GATEWAY_MAX_QUEU": "1"}).level == Level.FAIL


@pytest.mark.parametrize(
    ("threads", "reserved", "level"), [(1, 2, Level.FAIL), (2, 2, Level.FAIL), (3, 0, Level.FAIL), (3, 2, Level.OK)]
)
def test_threads_are_left_for_probes_and_for_inference(threads: int, reserved: int, level: Level) -> None:
    assert variables.threads(Plan(threads=threads, settings=Settings(reserved_threads=reserved))).level == level


def test_threads_that_the_doctor_refuses_are_those_under_which_serve_does_not_start() -> None:
    environ = {"THREADS": "2", "GATEWAY_RESERVED_THREADS": "2"}
    assert ask("--json", environ=environ).level("threads") == "fail"
    line = [sys.executable, "-m", "gateway", "serve", "models.app:app", "--port", "0"]
    ran = subprocess.run(line, cwd=ROOT, env=os.environ | environ, capture_output=True, timeout=PATIENCE)
    assert ran.returncode != 0


def test_the_default_settings_do_not_contradict_each_other() -> None:
    assert variables.timeouts(Plan()).level == variables.limits(Settings()).level == Level.OK


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(settings=Settings(drain_delay=60)), "drain_delay + request_timeout (660 s)"),
        (Plan(graceful_timeout=30), "graceful_timeout (30 s)"),
        (Plan(settings=Settings(request_timeout=5)), "rate_grace (10 s) is longer than request_timeout (5 s)"),
        (Plan(timeout=100), "gunicorn's timeout (100 s)"),
    ],
)
def test_contradicting_timeouts_are_reported(plan: Plan, words: str) -> None:
    found = variables.timeouts(plan)
    assert found.level == Level.WARN
    assert words in found.text


def test_a_limit_of_0_fails_and_one_below_another_is_reported() -> None:
    assert variables.limits(Settings(max_body_bytes=0)).level == Level.FAIL
    assert variables.limits(Settings(max_bytes_in_flight=10)).level == Level.WARN


def test_every_setting_that_is_a_path_is_looked_at() -> None:
    paths = {field.name for field in fields(Settings) if field.type == Path | None}
    assert paths - {"spool_folder"} == storage.USES.keys()


@pytest.mark.parametrize("name", storage.USES)
def test_a_path_below_a_file_stops_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = storage.folders(Settings(**{name: tmp_path / "file" / "below"}))
    assert (found.level, name in found.text) == (Level.FAIL, True)


@pytest.mark.parametrize("name", ["study_root", "api_keys_file", "webhook_secrets_file"])
def test_what_is_only_read_has_to_be_there(name: str, tmp_path: Path) -> None:
    assert storage.folders(Settings(**{name: tmp_path / "missing"})).level == Level.FAIL


def test_what_is_written_may_be_made_and_nothing_is_left_of_the_trial(tmp_path: Path) -> None:
    own = Settings(
        store_folder=tmp_path / "a/store", audit_file=tmp_path / "audit", audit_key_file=tmp_path / "audit.key"
    )
    assert storage.folders(own).level == Level.OK
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_code_that_others_may_write_stops_it(tmp_path: Path) -> None:
    assert storage.folders(Settings(wasm_cache=tmp_path)).level == Level.OK
    tmp_path.chmod(0o770)
    assert storage.folders(Settings(wasm_cache=tmp_path)).level == Level.FAIL


def test_a_missing_study_root_stops_it_by_its_variable(tmp_path: Path) -> None:
    told = ask("--json", environ={"GATEWAY_STUDY_ROOT": str(tmp_path / "unmounted")})
    assert told.status == 1
    assert "study_root" in told.text("folders")


def test_a_server_beyond_loopback_without_authentication_is_a_warning() -> None:
    assert variables.callers(Plan()).level == Level.OK
    assert variables.callers(Plan(host="0.0.0.0")).level == Level.FAIL
    allowed = Plan(host="0.0.0.0", settings=Settings(allow_anonymous=True))
    assert variables.callers(allowed).level == Level.WARN


def test_authentication_that_cannot_work_stops_it(tmp_path: Path) -> None:
    missing = Settings(api_keys_file=tmp_path / "missing")
    assert variables.callers(Plan(settings=missing)).level == Level.FAIL
    no_audience = Settings(jwt_jwks="https://issuer.invalid/keys", jwt_issuer="https://issuer.invalid")
    assert variables.callers(Plan(settings=no_audience)).level == Level.FAIL


@pytest.mark.parametrize(
    "wrong",
    [
        {"cors_origins": "viewer.example"},
        {"expose_docs": "nobody"},
        {"caller_rate": 5},
        {"jwt_jwks": "http://a.example"},
    ],
)
def test_settings_of_access_under_which_no_application_is_made_stop_it(wrong: dict[str, Any]) -> None:
    assert variables.callers(Plan(settings=Settings(**wrong))).level == Level.FAIL


def test_a_file_of_callers_that_others_may_write_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "callers.json"
    change(path, lambda entries: entries)
    plan = Plan(settings=Settings(api_keys_file=path))
    assert variables.callers(plan).level == Level.OK
    path.chmod(0o660)
    assert variables.callers(plan).level == Level.WARN


def test_an_audit_that_cannot_begin_stops_it_and_nothing_is_made(tmp_path: Path) -> None:
    assert variables.audit(Settings(audit_required=True)).level == Level.FAIL
    own = Settings(audit_file=tmp_path / "audit", audit_key_file=tmp_path / "key")
    assert variables.audit(own).level == Level.OK
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "key").write_text("secret that is no key")
    found = variables.audit(own)
    assert (found.level, "64 hexadecimal digits" in found.text, "secret" in found.text) == (Level.FAIL, True, False)


def test_a_pipe_in_the_place_of_the_audit_stops_it_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "audit")
    assert storage.folders(Settings(audit_file=tmp_path / "audit")).level == Level.FAIL


def test_only_the_gateway_s_own_variables_are_judged() -> None:
    assert faults({"PATH": "x", "STRICT": "perhaps", "GATEWAY_STRICT": "perhaps"}).keys() == {"GATEWAY_STRICT"}


def test_runs_are_on_with_a_store(tmp_path: Path) -> None:
    assert "store_folder" in variables.runs(Settings()).text
    assert "30 s" in variables.runs(Settings(store_folder=tmp_path)).text
    assert variables.runs(Settings(store_folder=tmp_path, run_concurrency=0)).level == Level.NOTE


def test_an_origin_of_webhooks_needs_a_secret_and_a_store(tmp_path: Path) -> None:
    secrets, origin = tmp_path / "secrets", "https://hooks.example.org"
    assert variables.webhooks(Settings()).level == Level.OK
    assert variables.webhooks(Settings(webhook_origins=origin)).level == Level.FAIL
    own = Settings(webhook_origins=origin, webhook_secrets_file=secrets, store_folder=tmp_path)
    assert variables.webhooks(own).level == Level.FAIL
    secrets.write_text(f"{origin} {new_secret()}\n")
    secrets.chmod(0o600)
    assert variables.webhooks(own).level == Level.OK
    assert variables.webhooks(replace(own, store_folder=None)).level == Level.WARN
    secrets.chmod(0o644)
    assert variables.webhooks(own).level == Level.FAIL
