"""The same upload with BentoML, which hands files to its service as paths."""

import os
from pathlib import Path
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType

MASK = os.urandom(512 * 512) * int(os.environ["BENCH_DEPTH"])


@bentoml.service(workers=1)
class Upload:
    """Take the form, answer the mask."""

    @bentoml.api(route="/")
    def upload(
        self, files: list[Path], request_json: dict[str, Any], context: bentoml.Context
    ) -> Annotated[Path, ContentType("application/octet-stream")]:
        """Answer a mask in a file if there are files."""
        mask = Path(context.temp_dir) / "mask"
        mask.write_bytes(MASK if files else b"")
        return mask
