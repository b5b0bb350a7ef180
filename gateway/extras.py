"""The packages of each extra that a setting or a file may need, and the hint that names them.

A hint names packages, and never the gateway with an extra in brackets: the gateway is on no package index, and a
stranger who took its name there would be installed in its place (dependency confusion).
"""

import shlex

PACKAGES = {
    "backendai": ("wsproto >= 1.3",),
    "blake3": ("blake3 >= 1.0",),
    "dimse": ("pynetdicom >= 3.0.4",),
    "gdcm": ("python-gdcm >= 3.2.6",),
    "itk": ("SimpleITK >= 2.5",),
    "nifti": ("nibabel >= 5.3",),
    "nninteractive": ("zstandard >= 0.23",),
    "oidc": ("PyJWT[crypto] >= 2.10.1",),
    "otel": ("opentelemetry-sdk >= 1.30", "opentelemetry-exporter-otlp-proto-http >= 1.30"),
    "ray": ("ray >= 2.60",),
    "s3": ("boto3 >= 1.35",),
    "sql": ("SQLAlchemy >= 2.0", "psycopg[binary] >= 3.2"),
    "store": ("SQLAlchemy >= 2.0", "psycopg[binary] >= 3.2", "alembic >= 1.14", "cryptography >= 46.0.5"),
    "wasm": ("wasmtime >= 50.0.1",),
}
"""What setup.cfg has for these extras; an image of the gateway has no setup.cfg and no metadata."""


def hint(extra: str) -> str:
    """Return what to run for an extra: the same for a checkout, an installed wheel and an image."""
    return f"run: pip install {shlex.join(PACKAGES[extra])} (for a container: in the Dockerfile of its image)"
