"""Model processes on devices: never more than a device's memory, found wherever there is a way, and evenly."""

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.executors.packing import Demand, DoesNotFit, pack
from tests.examples import examples

DEVICES = ("cuda:0", "cuda:1", "cuda:2")
Demands = list[Demand]


@st.composite
def demands(draw: st.DrawFn) -> Demands:
    """A few models, six processes at most."""
    counts = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3).filter(lambda counts: sum(counts) <= 6))
    some = st.lists(st.sampled_from(DEVICES), min_size=1, unique=True).map(tuple)
    return [Demand(f"/{n}", count, draw(st.integers(0, 9)), draw(some)) for n, count in enumerate(counts)]


capacities = st.fixed_dictionaries(dict.fromkeys(DEVICES, st.integers(1, 12) | st.just(math.inf)))


def fits(chosen: dict[str, list[str]], of: Demands, capacity: dict[str, float]) -> bool:
    used: Counter[str] = Counter()
    for demand in of:
        for device in chosen[demand.model]:
            used[device] += demand.memory
    return all(used[device] <= capacity[device] for device in used)


def some_way(of: Demands, capacity: dict[str, float]) -> bool:
    """Try every way."""
    processes = [demand for demand in of for _ in range(demand.count)]
    for devices in itertools.product(*(demand.devices for demand in processes)):
        used: Counter[str] = Counter()
        for demand, device in zip(processes, devices, strict=True):
            used[device] += demand.memory
        if all(used[device] <= capacity[device] for device in used):
            return True
    return False


@settings(max_examples=examples(200))
@given(demands(), capacities)
def test_a_way_is_found_wherever_there_is_one_and_no_device_is_overbooked(
    of: Demands, capacity: dict[str, float]
) -> None:
    try:
        chosen = pack(of, capacity)
    except DoesNotFit:
        assert not some_way(of, capacity)
        return
    assert {model: len(devices) for model, devices in chosen.items()} == {one.model: one.count for one in of}
    assert all(set(chosen[demand.model]) <= set(demand.devices) for demand in of)
    assert fits(chosen, of, capacity)


@given(st.integers(1, 12), st.integers(1, 3))
def test_processes_that_declare_nothing_take_turns(count: int, devices: int) -> None:
    chosen = pack([Demand("/", count, 0, DEVICES[:devices])], dict.fromkeys(DEVICES, math.inf))
    users = Counter(chosen["/"])
    assert max(users.values()) - min(users[device] for device in DEVICES[:devices]) <= 1


def test_what_fits_only_in_one_way_is_found() -> None:
    capacity = {"cuda:0": 10.0, "cuda:1": 10.0}
    both = tuple(capacity)
    wanted = [Demand("/six", 1, 6, both), Demand("/fives", 2, 5, both), Demand("/four", 1, 4, both)]
    assert fits(pack(wanted, capacity), wanted, capacity)
    with pytest.raises(DoesNotFit):
        pack([*wanted, Demand("/one", 1, 1, both)], capacity)
