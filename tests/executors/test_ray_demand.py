"""What a replica reserves in a Ray cluster, and the words for what it waits for."""

import pytest

from gateway.executors.ray.demand import occupation, resources, shortage

CPUS, GPUS = {"CPU": 8.0}, {"CPU": 8.0, "GPU": 1.0}
MEMORY = 6 << 30
ROOMY, SMALL = {"CPU": 8.0, "memory": 16 << 30}, {"CPU": 2.0, "memory": 4 << 30}


@pytest.mark.parametrize(
    ("devices", "stated", "gpus"),
    [
        (["auto"], CPUS, 0),  # a GPU would be waited for without end
        (["auto"], GPUS, 1),
        (["cuda"], CPUS, 1),  # an autoscaler may add it
        (["none"], GPUS, 0),
        (None, GPUS, 0),
    ],
)
def test_a_gpu_is_reserved_as_the_cluster_and_the_model_state(
    devices: list[str] | None, stated: dict[str, float], gpus: int
) -> None:
    found = resources(devices, MEMORY, local=False, stated=stated)
    assert found == {"num_cpus": 1, "num_gpus": gpus, **({} if gpus else {"memory": MEMORY})}


@pytest.mark.parametrize(
    ("reserved", "nodes", "words"),
    [
        ({"num_cpus": 1, "num_gpus": 1}, [CPUS, SMALL], "it waits for 1 GPU; the cluster has 0"),
        ({"num_cpus": 1}, [], "it waits for 1 CPU; the cluster has 0"),
        ({"num_cpus": 1, "memory": MEMORY}, [SMALL], "it waits for 6.0 GiB of memory; the cluster has 4.0 GiB"),
        (
            {"num_cpus": 1, "memory": MEMORY},
            [SMALL, SMALL],
            "it waits for 6.0 GiB of memory; no node has more than 4.0 GiB",
        ),
        ({"num_cpus": 0, "scanner": 2}, [{"scanner": 1}], "it waits for 2 scanner; the cluster has 1"),
        (
            {"num_cpus": 4, "num_gpus": 1},
            [{"CPU": 2.0, "GPU": 1.0}, CPUS],
            "it waits for a node with 4 CPU and 1 GPU; the cluster has none with all of it",
        ),
    ],
)
def test_what_no_node_has_is_said_with_what_the_cluster_has(
    reserved: dict[str, float], nodes: list[dict[str, float]], words: str
) -> None:
    assert shortage(reserved, nodes) == words


@pytest.mark.parametrize("reserved", [{"num_cpus": 0, "num_gpus": 0}, {"num_cpus": 1, "memory": MEMORY}])
def test_nothing_is_said_where_one_node_has_all(reserved: dict[str, float]) -> None:
    assert shortage(reserved, [SMALL, ROOMY]) == ""


def test_what_is_in_use_is_said_with_what_is_free() -> None:
    reserved = {"num_cpus": 1.0, "memory": float(MEMORY)}
    full = {"memory": float(MEMORY)}  # Ray leaves out what nothing is left of
    assert occupation(reserved, full, [ROOMY]) == "it waits for 1 CPU; 0 of 8 are free"
    split = {"CPU": 2.0, "memory": float(MEMORY)}
    assert occupation(reserved, split, [ROOMY]) == "it waits for a node with 1 CPU and 6.0 GiB of memory free"
