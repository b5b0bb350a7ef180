"""What a replica reserves in a Ray cluster."""

import pytest

from gateway.executors.ray.bridge import resources

CPUS, GPUS = {"CPU": 8.0}, {"CPU": 8.0, "GPU": 1.0}
MEMORY = 6 << 30


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
