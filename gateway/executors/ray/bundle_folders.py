"""Which bundle lies in which folder of a node, as the settings name them, and which of them a model needs."""

from collections.abc import Iterable
from pathlib import Path

from gateway.errors import KeyRefused
from gateway.studies.bundle_keys import check_bundle


def bundle_folders(text: str) -> dict[str, str]:
    """Return the folder of each bundle of ``GATEWAY_RAY_BUNDLES``. Raises ValueError for what is no list of them."""
    found: dict[str, str] = {}
    for pair in filter(None, (each.strip() for each in text.split(","))):
        name, _, folder = pair.partition("=")
        if not folder.startswith(("/", "~/")) or name in found:
            raise ValueError(
                f"ray_bundles (GATEWAY_RAY_BUNDLES) should be NAME=/FOLDER or NAME=~/FOLDER, and not {pair!r}."
            )
        try:
            found[check_bundle(name)] = folder
        except KeyRefused as error:
            raise ValueError(f"ray_bundles (GATEWAY_RAY_BUNDLES): {error}") from error
    return found


def needed_bundles(text: str, weights: Iterable[Path]) -> list[str]:
    """Return the bundles in whose folders a model's declared ``weights`` lie; all where it declares none."""
    folders, paths = bundle_folders(text), list(weights)
    return [
        name
        for name, folder in folders.items()
        if not paths or any(path.is_relative_to(Path(folder).expanduser()) for path in paths)
    ]
