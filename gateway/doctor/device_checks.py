"""Checks of the devices that model processes get, and whether the models of an application fit them."""

from collections.abc import Mapping

from gateway.config import Settings
from gateway.contract.model import Model
from gateway.doctor.diagnoses import Diagnosis, Level
from gateway.executors.device_ledger import DeviceLedger
from gateway.executors.found_devices import Device, offered

NAME, PLACED = "devices", "placement"
GIB = 1 << 30
REMEDY = "Correct --devices (GATEWAY_DEVICES), or show the container its devices."


def devices(settings: Settings, environ: Mapping[str, str]) -> Diagnosis:
    """Check that the devices of the settings are there, and list them."""
    try:
        here = offered(settings.devices, environ)
    except ValueError as error:
        return Diagnosis(NAME, Level.FAIL, str(error), REMEDY)
    listed = ", ".join(map(_described, here))
    if settings.devices == "auto" and not here:
        return Diagnosis(NAME, Level.OK, "None is found: auto runs models on the CPU.")
    if not settings.devices:
        return Diagnosis(NAME, Level.OK, f"{listed or 'None'}; a model has one where it declares devices or memory.")
    return Diagnosis(NAME, Level.OK, f"{listed or 'None'}, for each model process one.")


def placement(settings: Settings, environ: Mapping[str, str], models: Mapping[str, Model]) -> Diagnosis:
    """Check that the processes of all models fit the devices together."""
    if not settings.model_processes or settings.ray:
        return Diagnosis(PLACED, Level.OK, "Off: there are no model processes on this machine.")
    from gateway.executors.runner import execution_of  # numpy, whose absence the doctor reports

    executions = {name: execution_of(model, settings) for name, model in models.items()}
    apart = {name: execution for name, execution in executions.items() if execution.processes}
    ledger = DeviceLedger(settings.devices, lambda: offered(settings.devices, environ))
    if refused := ledger.plan(apart):
        return Diagnosis(PLACED, Level.FAIL, next(iter(refused.values())))
    places = "; ".join(f"{name} on {', '.join(devices)}" for name, devices in ledger.planned.items())
    return Diagnosis(PLACED, Level.OK, f"{places or 'Every model process sees all devices'}.")


def _described(device: Device) -> str:
    return f"{device.name} {device.memory / GIB:.3g} GiB" if device.memory else device.name
