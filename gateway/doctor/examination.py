"""All checks, in the order of the output: machine, installed packages, settings, application."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from gateway.config import Settings
from gateway.contract.model import Model
from gateway.doctor import (
    application,
    clock,
    device_checks,
    devices,
    installed_codecs,
    limits,
    memory,
    network,
    packages,
    storage,
    variables,
)
from gateway.doctor.diagnoses import Diagnosis, Level
from gateway.doctor.plan import Plan

Check = tuple[str, Callable[[], Diagnosis]]
"""The name of a check, and its function."""


def examine(plan: Plan, environ: Mapping[str, str]) -> Iterator[Diagnosis]:
    """Run every check of the machine, of its installed packages, and of the settings."""
    return _findings([*_machine(plan, environ), *_installed(plan, environ), *_settings(plan, environ)])


def examine_application(app: Any, environ: Mapping[str, str]) -> Iterator[Diagnosis]:
    """Check the routes and the models of an imported ``Gateway``."""
    models = app.service.models
    looks = [(f"model {route}", partial(application.model, route, model)) for route, model in models.items()]
    routes = [("routes", partial(application.routes, app)), *looks]
    rules = [("routing", partial(_routing, app.settings, models))] if app.settings.routing is not None else []
    places = [("placement", partial(device_checks.placement, app.settings, environ, models))]
    return _findings([*routes, *rules, *places])


def _findings(checks: Iterable[Check]) -> Iterator[Diagnosis]:
    """Run checks; one that cannot run, for a missing package or a refusal of the system, is a failed one."""
    for name, check in checks:
        try:
            yield check()
        except ImportError as error:
            remedy = "Install the packages of requirements.txt."
            yield Diagnosis(name, Level.FAIL, f"Cannot run: {error.name or 'a module'} does not import.", remedy)
        except OSError as error:
            yield Diagnosis(name, Level.FAIL, f"Cannot run: {error.strerror or type(error).__name__}.")


def _machine(plan: Plan, environ: Mapping[str, str]) -> list[Check]:
    return [
        ("memory", lambda: _memory(plan)),
        ("shared memory", lambda: memory.shared_memory(memory.SHARED, plan.settings.model_processes)),
        ("spool room", lambda: storage.spool_room(plan)),
        ("open files", lambda: limits.open_files(plan, *limits.process_limits(), limits.system_limit())),
        ("clock", lambda: clock.clock(clock.now(), clock.ticks(), clock.synchronised())),
        ("gpu", _gpu),
        ("devices", partial(device_checks.devices, plan.settings, environ)),
        ("port", lambda: network.port(plan)),
    ]


def _memory(plan: Plan) -> Diagnosis:
    in_memory = storage.in_memory(storage.spool_folder(plan.settings))
    return memory.memory(plan, memory.machine_bytes(), memory.cgroup_limit(), spool_in_memory=in_memory)


def _gpu() -> Diagnosis:
    return devices.gpu(devices.driver_version(), devices.AMD.exists(), devices.ask_smi(), devices.ask_torch())


def _installed(plan: Plan, environ: Mapping[str, str]) -> list[Check]:
    declared = packages.declared
    return [
        *((f"codec {family}", partial(installed_codecs.codec, family)) for family in installed_codecs.FAMILIES),
        ("python", lambda: packages.python(declared())),
        ("packages", lambda: packages.packages(declared())),
        ("extras", lambda: packages.extras(declared(), packages.called_for(plan.settings, environ))),
    ]


def _settings(plan: Plan, environ: Mapping[str, str]) -> list[Check]:
    return [
        ("settings", lambda: variables.settings(environ)),
        ("variables", lambda: variables.unknown(plan, environ)),
        ("threads", lambda: variables.threads(plan)),
        ("timeouts", lambda: variables.timeouts(plan)),
        ("limits", lambda: variables.limits(plan.settings)),
        ("folders", lambda: storage.folders(plan.settings)),
        ("runs", lambda: variables.runs(plan.settings)),
        ("webhooks", lambda: variables.webhooks(plan.settings)),
        *_peers(plan),
        ("sources", lambda: _sources(plan.settings)),
        ("routing", lambda: _routing(plan.settings, None)),
        ("audit", lambda: variables.audit(plan.settings)),
        ("callers", lambda: variables.callers(plan)),
    ]


def _routing(own: Settings, models: Mapping[str, Model] | None) -> Diagnosis:
    if own.routing is None:
        return Diagnosis("routing", Level.OK, "Off: there is no file of rules.")
    from gateway.doctor import routing_checks  # pydantic, which may be missing; the check of the packages tells

    return routing_checks.routing(own, models)


def _sources(own: Settings) -> Diagnosis:
    from gateway.doctor import routing_checks

    return routing_checks.sources(own)


def _peers(plan: Plan) -> list[Check]:
    if plan.settings.peers is None:
        return [("peers", lambda: Diagnosis("peers", Level.OK, "Off: there is no file of them."))]
    from gateway.doctor import peer_checks  # urllib3, which may be missing; the check of the packages tells

    return peer_checks.checks(plan.settings)
