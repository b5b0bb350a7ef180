"""Options of ``send``, and the request that they describe."""

import argparse
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from gateway.cli.connection_options import url_of
from gateway.config import DEFAULT_PORT
from gateway.contract.requests import MODALITY
from gateway.dicom.reading.attributes import text
from gateway.dicom.reading.instances import Instance
from gateway.dicom.volumes.nifti_volumes import is_nifti

COMMANDS = {"box": "get-bounding-box-2d", "label": "get-classification-labels"}
"""``inference_command`` for a kind of model, as the predecessor's test tool named them."""


@dataclass(frozen=True, kw_only=True)
class SendOptions:
    """Options of a ``send``; the fields are named like the command line's options."""

    study: Path | None = None
    out: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    route: str = "/"
    attachments: list[Path] = field(default_factory=list)
    study_path: str = ""
    command: str = ""
    kind: str | None = None
    study_size: bool = False
    options: list[tuple[str, str]] = field(default_factory=list)
    modality: str = ""
    labels: bool = False
    nifti: bool = False
    legacy: bool = False
    timeout: float | None = None
    digest: str = "sha256"
    store: bool = False
    skip_unreadable: bool = False
    as_run: bool = False
    detached: bool = False
    run_id: str | None = None
    webhook: str | None = None

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> Self:
        """Return the options of a parsed command line."""
        return cls(**{f.name: getattr(arguments, f.name) for f in fields(cls)})

    @property
    def url(self) -> str:
        """The URL of the gateway; a ``host`` that is a URL is returned as it is."""
        return url_of(self.host, self.port)

    @property
    def patience(self) -> float | None:
        """Seconds to wait for a silent server, None unless set."""
        return self.timeout

    def request(self, instances: list[Instance]) -> dict[str, Any]:
        """Return the JSON part: options and the predecessor's ``studyUID``, ``inference_command``, ``depth`` ..."""
        request: dict[str, Any] = {}
        if instances and not is_nifti(instances[0]):
            request["studyUID"] = text(instances[0].header, "StudyInstanceUID")
        if command := self.command or _command(self.kind, instances):
            request["inference_command"] = command
        if self.study_size and instances:
            request |= {"depth": _depth(instances), "height": instances[0].rows, "width": instances[0].columns}
        stated = {MODALITY: self.modality} if self.modality else {}
        return request | dict(self.options) | stated


def _depth(instances: list[Instance]) -> int:
    return instances[0].frames if is_nifti(instances[0]) else len(instances)


def _command(kind: str | None, instances: list[Instance]) -> str:
    if kind == "mask":
        in_space = bool(instances) and (instances[0].position is not None or is_nifti(instances[0]))
        return "get-probability-mask-3D" if in_space else "get-probability-mask-2D"
    return COMMANDS.get(kind or "", "")
