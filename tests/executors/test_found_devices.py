"""The devices of a machine, by what NVIDIA's tool and the kernels of NVIDIA and AMD say; each as it is documented."""

from pathlib import Path

import pytest

from gateway.executors.found_devices import Device, found, instances, offered

GIB = 1 << 30
TWO = "0, GPU-aaaa, 24576, [N/A]\n1, GPU-bbbb, 81559, Disabled\n"
DIVIDED = "0, GPU-aaaa, 81920, Enabled\n1, GPU-bbbb, 24576, Disabled\n"
LISTING = """\
GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-aaaa)
  MIG 3g.40gb     Device  0: (UUID: MIG-1111)
  MIG 1c.3g.20gb  Device  1: (UUID: MIG-2222)
  MIG 1g.10gb+me  Device  2: (UUID: MIG-3333)
GPU 1: NVIDIA A30 (UUID: GPU-bbbb)
"""


def with_tool(folder: Path, query: str, listing: str = "") -> dict[str, str]:
    """The environment of a machine whose nvidia-smi prints this."""
    (folder / "query").write_text(query)
    (folder / "listing").write_text(listing)
    tool = folder / "nvidia-smi"
    tool.write_text(f'#!/bin/sh\n[ "$1" = -L ] && exec /bin/cat {folder}/listing\nexec /bin/cat {folder}/query\n')
    tool.chmod(0o755)
    return {"PATH": str(folder)}


def with_amd(folder: Path, *sizes: int) -> Path:
    """The topology of a machine with a processor and devices of so many bytes (Linux, amdgpu/kfd)."""
    for number, size in enumerate([0, *sizes]):
        bank = folder / str(number) / "mem_banks" / "0"
        bank.mkdir(parents=True)
        (folder / str(number) / "properties").write_text(
            f"cpu_cores_count {0 if size else 8}\nsimd_count {size and 240}\n"
        )
        (bank / "properties").write_text(f"heap_type {1 if size else 0}\nsize_in_bytes {size or 64 * GIB}\n")
    return folder


def test_devices_of_nvidia_are_shown_by_their_uuids(tmp_path: Path) -> None:
    one, two = found(with_tool(tmp_path, TWO))
    assert one == Device("cuda:0", "GPU-aaaa", 24 * GIB)
    assert (two.name, two.visible) == ("cuda:1", "GPU-bbbb")
    assert one.environment() == {"CUDA_VISIBLE_DEVICES": "GPU-aaaa", "HIP_VISIBLE_DEVICES": "-1"}


@pytest.mark.parametrize(
    ("visible", "entries"),
    [("1", ["1"]), ("GPU-bbbb,0", ["GPU-bbbb", "0"]), ("MIG-1111", ["MIG-1111"]), ("1,-1,0", ["1"]), ("", [])],
)
def test_devices_that_the_container_shows_keep_their_names_and_hide_the_others(
    tmp_path: Path, visible: str, entries: list[str]
) -> None:
    devices = found(with_tool(tmp_path, TWO) | {"CUDA_VISIBLE_DEVICES": visible})
    assert [(device.name, device.visible) for device in devices] == [(f"cuda:{n}", e) for n, e in enumerate(entries)]


def test_a_number_in_cudas_own_order_has_the_least_memory_of_all(tmp_path: Path) -> None:
    environ = with_tool(tmp_path, TWO) | {"CUDA_VISIBLE_DEVICES": "1"}
    assert found(environ)[0].memory == 24 * GIB
    assert found(environ | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})[0].memory == 81559 << 20


def test_instances_of_a_divided_device_are_devices(tmp_path: Path) -> None:
    devices = found(with_tool(tmp_path, DIVIDED, LISTING))
    assert [device.visible for device in devices] == ["GPU-bbbb", "MIG-1111", "MIG-2222", "MIG-3333"]
    assert instances(LISTING) == {"MIG-1111": 40 * 10**9, "MIG-2222": 20 * 10**9, "MIG-3333": 10**10}


def test_without_the_tool_the_kernel_is_asked(tmp_path: Path) -> None:
    for bus, uuid in {"0000:81:00.0": "GPU-bbbb", "0000:3b:00.0": "GPU-aaaa"}.items():
        (tmp_path / bus).mkdir()
        (tmp_path / bus / "information").write_text(
            f"Model: \t\t NVIDIA L4\nIRQ: 1\nGPU UUID: \t {uuid}\nVideo BIOS: 1\n"
        )
    devices = found({"PATH": "/nonexistent"}, nvidia=tmp_path)
    assert devices == [Device("cuda:0", "GPU-aaaa"), Device("cuda:1", "GPU-bbbb")]


def test_devices_of_amd_are_those_of_the_kernels_topology(tmp_path: Path) -> None:
    nodes = with_amd(tmp_path, 16 * GIB, 32 * GIB)
    nothing = {"PATH": "/nonexistent"}
    one, two = found(nothing, amd=nodes)
    assert (one, two) == (Device("rocm:0", "0", 16 * GIB), Device("rocm:1", "1", 32 * GIB))
    assert two.environment() == {"HIP_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "1"}
    assert found(nothing | {"HIP_VISIBLE_DEVICES": "1"}, amd=nodes) == [Device("rocm:0", "1", 32 * GIB)]
    assert found(nothing | {"ROCR_VISIBLE_DEVICES": "1"}, amd=nodes) == [Device("rocm:0", "0", 32 * GIB)]
    assert found(nothing | {"HIP_VISIBLE_DEVICES": "-1"}, amd=nodes) == []


def test_a_setting_chooses_devices_and_may_state_their_memory(tmp_path: Path) -> None:
    environ = with_tool(tmp_path, TWO)
    assert [device.name for device in offered("auto", environ)] == ["cuda:0", "cuda:1"]
    assert offered("none", environ) == []
    assert offered("cuda:1,cuda:0=8GiB", environ) == [
        Device("cuda:1", "GPU-bbbb", 81559 << 20),
        Device("cuda:0", "GPU-aaaa", 8 * GIB),
    ]
    assert offered("fake:0, fake:1=1GiB", environ) == [Device("fake:0", "fake:0"), Device("fake:1", "fake:1", GIB)]
    with pytest.raises(ValueError, match="has no device cuda:2; it has cuda:0, cuda:1"):
        offered("cuda:2", environ)


def test_a_device_whose_memory_is_stated_need_not_be_found() -> None:
    hidden = {"PATH": "/nonexistent", "CUDA_VISIBLE_DEVICES": "GPU-aaaa,GPU-bbbb"}
    assert offered("cuda:1=8GiB", hidden) == [Device("cuda:1", "GPU-bbbb", 8 * GIB)]
