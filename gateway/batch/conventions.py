"""The conventions of others for one job in a container: where its input lies, and where its results go."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from gateway.batch.challenge_results import write_results
from gateway.batch.challenge_sockets import read_job
from gateway.batch.study_inference import StudyInference
from gateway.contract.model import Model

GRAND_CHALLENGE, PACKAGE = "grand-challenge", "map"


@dataclass(frozen=True)
class Places:
    """Where a job reads, and where it writes."""

    input: Path
    output: Path


def places(convention: str, environ: Mapping[str, str] = os.environ) -> Places:
    """Return the folders of a convention.

    A MONAI Application Package has them in its environment, relative ones below its working folder (MONAI Application
    Package, "Table of Important Paths"); grand-challenge has fixed ones.
    """
    if convention == GRAND_CHALLENGE:
        return Places(Path("/input"), Path("/output"))
    home = Path(environ.get("HOLOSCAN_WORKDIR") or "/var/holoscan")
    named = (environ.get(f"HOLOSCAN_{name}_PATH") or f"{name.lower()}/" for name in ("INPUT", "OUTPUT"))
    return Places(*(home / path for path in named))


def run_challenge(
    inference: StudyInference, model: Model, where: Places, parameters: Mapping[str, Any], slugs: Mapping[str, str]
) -> list[Path]:
    """Run one job of grand-challenge; return the files written.

    ``slugs`` are output sockets by the labels of findings; ``parameters`` give way to values of the job. Raises
    ChallengeRefused, AnswerInvalid, StudyRefused, ParameterRefused, ImportError, OSError.
    """
    job = read_job(where.input, model.describe().arguments or ())
    files = [BytesIO(array.tobytes()) for array in job.tensors]
    with inference.answered_files({**parameters, **job.words}, files) as (answer, _):
        return write_results(answer, job.images, where.output, slugs)
