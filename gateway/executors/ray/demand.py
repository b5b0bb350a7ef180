"""What a replica reserves of a Ray cluster, and what it waits for where no node has that. No Ray in it."""

from collections.abc import Mapping, Sequence

GIB = 1 << 30
NAMES = {"num_cpus": "CPU", "num_gpus": "GPU"}
"""Options of an actor whose resources Ray calls otherwise."""

Amounts = Mapping[str, float]
"""Resources by Ray's names: ``memory`` in bytes, others in units."""


def resources(devices: list[str] | None, memory: int, *, local: bool, stated: Amounts) -> dict[str, float]:
    """Return what a replica reserves on its node: a CPU, and a GPU where devices are declared, else so much memory.

    ``stated`` is what the cluster's nodes have: where it has no GPU, ``auto`` is the CPU, as on a machine without. Ray
    counts GPUs and not their memory. A cluster of this machine alone takes as many replicas as are asked for.
    """
    gpus = 1 if devices and devices != ["none"] else 0
    if devices == ["auto"] and not stated.get("GPU"):
        gpus = 0
    reserved: dict[str, float] = {"num_cpus": 0 if local else 1, "num_gpus": gpus}
    return reserved if gpus or not memory else {**reserved, "memory": memory}


def shortage(reserved: Amounts, nodes: Sequence[Amounts]) -> str:
    """Say what no node of the cluster has, even when it is idle; "" where one has all. ``nodes`` are their totals."""
    needs = _needs(reserved)
    if any(_has(node, needs) for node in nodes):
        return ""
    lacks = [
        _lack(name, need, nodes) for name, need in needs.items() if not any(_has(one, {name: need}) for one in nodes)
    ]
    return "it waits for " + (" and ".join(lacks) or f"a node with {_list(needs)}; the cluster has none with all of it")


def occupation(reserved: Amounts, free: Amounts, nodes: Sequence[Amounts]) -> str:
    """Say what of a cluster is in use, where it would have room for a replica. ``free`` is that of all nodes."""
    needs = _needs(reserved)
    taken = [
        f"{_amount(name, need)}; {_number(name, free.get(name, 0))} of {_number(name, _total(name, nodes))} are free"
        for name, need in needs.items()
        if free.get(name, 0) < need
    ]
    return "it waits for " + (" and ".join(taken) or f"a node with {_list(needs)} free")


def _needs(reserved: Amounts) -> dict[str, float]:
    return {NAMES.get(name, name): amount for name, amount in reserved.items() if amount}


def _has(node: Amounts, needs: Amounts) -> bool:
    return all(node.get(name, 0) >= need for name, need in needs.items())


def _lack(name: str, need: float, nodes: Sequence[Amounts]) -> str:
    total = _total(name, nodes)
    if total < need:
        return f"{_amount(name, need)}; the cluster has {_number(name, total)}"
    return f"{_amount(name, need)}; no node has more than {_number(name, max(node.get(name, 0) for node in nodes))}"


def _total(name: str, nodes: Sequence[Amounts]) -> float:
    return sum(node.get(name, 0) for node in nodes)


def _list(needs: Amounts) -> str:
    return " and ".join(_amount(name, need) for name, need in needs.items())


def _amount(name: str, amount: float) -> str:
    return f"{_number(name, amount)} of memory" if name == "memory" else f"{_number(name, amount)} {name}"


def _number(name: str, amount: float) -> str:
    return f"{amount / GIB:.1f} GiB" if name == "memory" else f"{amount:g}"
