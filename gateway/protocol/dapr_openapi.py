"""OpenAPI 3.1 of Dapr's service invocation below ``/v1.0`` (docs/dapr.md)."""

from typing import Any

from gateway.protocol.problem_responses import BODY, MODEL
from gateway.protocol.store_openapi import FILE, StoreOperation, paths_of

ANY_TYPE = {"*/*": {"schema": FILE}}


def dapr_paths() -> dict[str, Any]:
    """Return the Paths Object of invocations and of a sidecar's probe."""
    invocation = StoreOperation(
        "POST", "/v1.0/invoke/{app}/method/{path}", "daprInvoke",
        "The request to the route of this path, with any method; its answer and its problems are those of the route.",
        ANY_TYPE, ANY_TYPE, errors=(*BODY, *MODEL), tag="dapr",
    )  # fmt: skip
    probes = [
        StoreOperation("GET", f"/v1.0/healthz{path}", f"dapr{name}", "204 once the models are ready.", status="204")
        for path, name in (("", "Health"), ("/outbound", "Outbound"))
    ]
    return paths_of((invocation, *probes))
