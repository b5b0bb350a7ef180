"""What an author may write for devices and their memory."""

from typing import Any

import pytest

from gateway import Execution

GIB = 1 << 30


@pytest.mark.parametrize(
    ("memory", "count"),
    [(None, 0), (4096, 4096), ("6 GiB", 6 * GIB), ("1.5GiB", 3 * GIB // 2), ("512 MiB", GIB // 2), ("8 GB", 8 * 10**9)],
)
def test_memory_is_a_number_and_a_unit(memory: str | int | None, count: int) -> None:
    """Binary units count by 1024 and decimal ones by 1000."""
    assert Execution(memory=memory).device_bytes == count


@pytest.mark.parametrize(
    ("devices", "names"),
    [(None, []), ("cuda", ["cuda"]), ("cuda:0, cuda:1", ["cuda:0", "cuda:1"]), (["rocm:1"], ["rocm:1"])],
)
def test_devices_are_kinds_or_single_ones(devices: str | list[str] | None, names: list[str]) -> None:
    """A text and a list say the same."""
    assert Execution(devices=devices).device_names == names


@pytest.mark.parametrize(
    "options", [{"memory": "much"}, {"memory": "6 XiB"}, {"memory": -1}, {"devices": "none,cuda"}, {"devices": "GPU 0"}]
)
def test_what_is_no_device_and_no_size_is_refused_where_it_is_written(options: dict[str, Any]) -> None:
    """The author sees it when the application is imported."""
    with pytest.raises(ValueError, match=r"size of memory|names no devices"):
        Execution(**options)
