"""For any order of starts, ends and reloads, no device has more than its memory, and each process gets one at last."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.contract.execution import Execution
from gateway.executors.device_ledger import Assignment, DeviceLedger
from gateway.executors.found_devices import Device
from tests.examples import examples

GIB = 1 << 30
HERE = [Device("cuda:0", "GPU-a", 8 * GIB), Device("cuda:1", "GPU-b", 8 * GIB)]
FIRST = {"/large": Execution(processes=2, devices="cuda", memory="5 GiB"), "/small": Execution(processes=2, memory=GIB)}
SECOND = {"/large": Execution(processes=1, devices="cuda", memory="8 GiB"), "/small": FIRST["/small"]}


def ledger(setting: str = "", devices: list[Device] = HERE) -> DeviceLedger:
    return DeviceLedger(setting, lambda: devices)


class Booking(RuleBasedStateMachine):
    """Processes start and end in any order, of one generation after another."""

    @initialize()
    def open(self) -> None:
        self.ledger, self.generation, self.number, self.models = ledger(), 0, 0, FIRST
        assert not self.ledger.plan(FIRST)
        self.alive: dict[tuple[str, int], tuple[int, Assignment]] = {}

    def start(self, model: str) -> bool:
        of = [one for one in self.alive if one[0] == model and self.alive[one][0] == self.generation]
        if len(of) == self.models[model].processes:
            return True
        self.number += 1
        assignment = self.ledger.take(model, self.number, self.generation)
        if assignment is not None:
            self.alive[model, self.number] = self.generation, assignment
        return assignment is not None

    @rule(model=st.sampled_from(list(FIRST)))
    def start_one(self, model: str) -> None:
        started = self.start(model)
        assert started or any(generation < self.generation for generation, _ in self.alive.values())

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def end_one(self, data: st.DataObject) -> None:
        model, number = data.draw(st.sampled_from(sorted(self.alive)))
        generation, former = self.alive.pop((model, number))
        self.ledger.release(model, number)
        of = [each for (name, _), (its, each) in self.alive.items() if (name, its) == (model, generation)]
        if generation == self.generation and len(of) + 1 == self.models[model].processes and self.start(model):
            assert self.alive[model, self.number][1].device == former.device

    @rule(models=st.sampled_from([FIRST, SECOND]))
    def reload(self, models: dict[str, Execution]) -> None:
        self.models, self.generation = models, self.generation + 1
        assert not self.ledger.plan(models)

    @rule()
    def drain_what_is_former(self) -> None:
        for one in [one for one, (generation, _) in self.alive.items() if generation < self.generation]:
            del self.alive[one]
            self.ledger.release(*one)
        for model in self.models:
            for _ in range(self.models[model].processes or 0):
                assert self.start(model)

    @invariant()
    def no_device_has_more_than_its_memory(self) -> None:
        for device in HERE:
            used = [each.memory for _, each in self.alive.values() if each.device == device.name]
            assert sum(used) <= device.memory


TestBooking = Booking.TestCase
TestBooking.settings = settings(max_examples=examples(60), stateful_step_count=20)


def test_a_model_that_declares_nothing_sees_all_unless_the_server_is_told_otherwise() -> None:
    plain = {"/plain": Execution(processes=1)}
    for setting, device in {"": "", "auto": "cuda:0", "none": "none"}.items():
        devices = ledger(setting, [] if setting == "none" else HERE)
        assert not devices.plan(plain)
        taken = devices.take("/plain", 1, 0)
        assert taken is not None
        assert taken.device == device
        assert bool(taken.environment) == bool(device)


def test_a_machine_without_devices_runs_what_may_run_on_its_processors() -> None:
    devices = ledger("", [])
    assert not devices.plan({"/": Execution(processes=1, devices="auto", memory="6 GiB")})
    assert devices.take("/", 1, 0) == Assignment()
    refused = devices.plan({"/": Execution(processes=1, devices="cuda"), "/plain": Execution(processes=1)})
    assert list(refused) == ["/"]
    assert "needs the device cuda; this server has none" in refused["/"]


@pytest.mark.parametrize("names", ["cuda:1", ["cuda:1"], "rocm:0, cuda:1"])
def test_a_model_gets_the_device_that_it_names(names: str | list[str]) -> None:
    devices = ledger()
    assert not devices.plan({"/": Execution(processes=1, devices=names)})
    taken = devices.take("/", 1, 0)
    assert taken is not None
    assert taken.environment["CUDA_VISIBLE_DEVICES"] == "GPU-b"
