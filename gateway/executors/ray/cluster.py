"""The connection to a Ray cluster, or a cluster of this machine alone: with tokens, without a dashboard."""

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from gateway.config import Settings
from gateway.executors.forks import do_nothing
from gateway.executors.ray.bundle_folders import bundle_folders
from gateway.extras import hint

logger = logging.getLogger("gateway.ray")

LOCAL = "local"
"""The address of a cluster that begins and ends with the server."""
NAMESPACE = "gateway"
LONGEST = 24
"""Characters of a temporary folder: the paths of Ray's sockets add 80, of 107 that Unix has for one."""
VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    # milliseconds for which a call of an actor that is gone waits to learn how it ended, and between two looks
    "RAY_timeout_ms_task_wait_for_death_info": "100",
    "RAY_core_worker_internal_heartbeat_ms": "200",
    # seconds for a node of a busy machine to start; Ray gives it up after 30
    "RAY_raylet_start_wait_time_s": "120",
}
CONNECT_PAUSE = 2.0
"""Seconds between two tries to reach a cluster."""
LISTEN_SECONDS = 5.0
"""Seconds for a head to take a connection; Ray itself waits for it for minutes, and says nothing."""


def require_ray(settings: Settings) -> None:
    """Raise ImportError with what to install where the settings name a cluster and Ray is missing; import nothing.

    Raises ValueError for settings of Ray that do not fit together.
    """
    if bundle_folders(settings.ray_bundles) and not (settings.ray and settings.store_folder):
        raise ValueError(
            "ray_bundles (GATEWAY_RAY_BUNDLES) takes bundles from a store to the nodes of a cluster, and needs both: "
            "set GATEWAY_STORE_FOLDER, and --ray."
        )
    if settings.ray_working_dir and settings.ray in ("", LOCAL):
        raise ValueError(
            "ray_working_dir (GATEWAY_RAY_WORKING_DIR) is copied to the nodes of a cluster that runs already: give "
            "--ray HOST:PORT, or unset it, since models are imported from where the server is."
        )
    if settings.ray_working_dir and not settings.ray_working_dir.is_dir():
        raise ValueError(f"ray_working_dir (GATEWAY_RAY_WORKING_DIR) is no folder: {settings.ray_working_dir}.")
    if settings.ray and find_spec("ray") is None:
        raise ImportError(f"--ray (GATEWAY_RAY) needs Ray; {hint('ray')}")


@contextlib.contextmanager
def connected(settings: Settings) -> Iterator[Any]:
    """Connect to the cluster that the settings name; yield the module ``ray``. Raises what ``ray.init`` raises.

    Nodes know each other by a token (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH). A local cluster makes its own, and listens
    on loopback alone.
    """
    local = settings.ray == LOCAL
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ |= VARIABLES
    with _local() if local else _remote(settings) as options:
        import ray

        ray.init(namespace=NAMESPACE, configure_logging=False, log_to_driver=True, **options)
        do_nothing(signal.SIGTERM)  # ray.init has a handler that would end this process before the models
        try:
            yield ray
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _remote(settings: Settings) -> Iterator[dict[str, Any]]:
    """Arguments of ``ray.init`` for a cluster that runs already."""
    folder = settings.ray_working_dir
    _require_listening(settings.ray)
    yield {"address": settings.ray, **({"runtime_env": {"working_dir": str(folder)}} if folder else {})}


def _require_listening(address: str) -> None:
    """Raise OSError where nobody listens at host:port; other forms of address are left to Ray."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=LISTEN_SECONDS).close()


@contextlib.contextmanager
def _local() -> Iterator[dict[str, Any]]:
    """Arguments of ``ray.init`` for a cluster of this machine, in a folder that is removed at its end."""
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # Ray binds loopback where the node's address is; on Linux it takes that address only with this switch.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    short = len(tempfile.gettempdir()) <= LONGEST
    folder = tempfile.mkdtemp(prefix="gateway-ray-", dir=None if short else "/tmp")
    os.environ["RAY_TMPDIR"] = folder  # else a folder of Ray's stays beside it
    try:
        yield {
            "include_dashboard": False,
            "_temp_dir": folder,
            # bytes of a study are not written to a named file where memory is short: the put fails instead
            "_system_config": {"automatic_object_spilling_enabled": False},
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)
