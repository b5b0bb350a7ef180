"""What the page says of connections to elsewhere is all that the gateway's modules can open."""

import re

from tests.house.imports import imports_below
from tests.house.pages import ROOT, rows

CONNECTING = re.compile(
    r"(aiohttp|boto3|ftplib|grpc|http\.client|httpx|opentelemetry\.exporter|paramiko|ray|requests|smtplib"
    r"|sqlalchemy\.create_engine|urllib3?|urllib\.request|websockets?|xmlrpc)(\.|$)"
)
"""Names of libraries that open connections."""
PARSING = ("urllib.parse", "urllib3.exceptions", "urllib3.util.Url", "urllib3.util.parse_url")
CALLERS = ("gateway.client", "gateway.cli", "gateway.doctor", "gateway.testing", "gateway.endpoints.ohif")
"""Rooms and programs that a person runs, who names the gateway that they call."""
ON_NODES = ("gateway.executors.ray.replica_actor",)
"""What runs in a Ray cluster, and not in the gateway."""
MODULES = {
    "GATEWAY_DATABASE_URL": "gateway.studies.index",
    "GATEWAY_STORE_BUCKET": "gateway.studies.bucket",
    "GATEWAY_AUDIT_S3": "gateway.observe.audit.s3",
    "S3_AUDIT_BUCKET_NAME": "gateway.observe.audit.s3",
    "GATEWAY_AUDIT_SQL": "gateway.observe.audit.sql",
    "GATEWAY_JWT_JWKS": "gateway.access.jwks",
    "GATEWAY_WEBHOOK_ORIGINS": "gateway.delivery.posting",
    "GATEWAY_PEERS": "gateway.peers.web_connection",
    "GATEWAY_RAY": "gateway.executors.ray.cluster",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "gateway.observe.spans",
}


def test_only_the_modules_of_the_settings_on_the_page_import_a_library_that_connects() -> None:
    documented = [row[1].split("`")[1] for row in rows(ROOT / "docs/data-protection.md", "to")]
    assert sorted(documented) == sorted(MODULES)
    connecting = {
        each.module
        for each in imports_below(ROOT, "gateway")
        if CONNECTING.match(each.name)
        and not each.name.startswith(PARSING)
        and not each.typing_only
        and not each.module.startswith((*CALLERS, *ON_NODES))
    }
    assert connecting == set(MODULES.values())
