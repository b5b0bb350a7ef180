"""``send``: send a study to a gateway, write its checked answer to files, and draw the answer over the study."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from gateway.cli import run_following, undeclared
from gateway.cli.send_options import SendOptions
from gateway.cli.terminal import Terminal
from gateway.client import Answer, Client
from gateway.client.errors import counted
from gateway.client.folders import replacing, require_free
from gateway.client.reading import origin, require_sound
from gateway.client.saving import write_nifti_files
from gateway.client.showing import counts
from gateway.client.study_files import load
from gateway.client.unreadable import Skipping, Unreadable
from gateway.client.upload_body import Source
from gateway.client.wsgi import LOCAL
from gateway.dicom.drawing.gallery import write_pictures
from gateway.dicom.reading.instances import Instance
from gateway.errors import AnswerInvalid
from gateway.protocol.response import check
from gateway.protocol.serializer import InferenceSerializer
from gateway.representations.pictures import drawn_findings
from gateway.representations.placement import placed_masks

FINDINGS = ("bounding_boxes_2d", "linear_measurements_2d", "study_ml_json", "series_ml_json")
"""Members of an answer's JSON with findings; all are lists or objects."""


PICTURES = "pictures"


def send(order: SendOptions, screen: Terminal, client: Client | None = None) -> list[Path]:
    """Send the study of ``order``; return the written files, the contact sheet first.

    ``client`` replaces the gateway that the order names.
    A complete answer is saved before it is drawn. Raises ClientError, GatewayError and OSError, each with a
    sentence for the user.
    """
    skipping = Skipping(order.skip_unreadable)
    instances = load(order.study, skipping, screen.note) if order.study else []
    if order.detached:
        run_following.detach(order, instances, screen, client)
        return []
    order.out.mkdir(parents=True, exist_ok=True)  # fails now, and not after a prediction of ten minutes
    require_free(order.out)
    answer = _ask(order, instances, screen, client)
    files, pictures = answer.save(order.out, legacy=order.legacy), list[Path]()
    try:
        files += _nifti(order, instances, answer) if order.nifti else []
        pictures = _picture(order, instances, answer, screen)
    finally:
        for line in chain(of_skipped(skipping.files), summary(order, answer, files, pictures)):
            screen.say(line)
        skipped = [file.words for file in skipping.files]
        screen.tell(document(order, answer, [*pictures[:1], *files, *pictures[1:]]) | {"skipped": skipped})
    return [*pictures[:1], *files, *pictures[1:]]


def of_skipped(files: Iterable[Unreadable]) -> Iterator[str]:
    """Return the unreadable parts of a study that were left out, one to a line."""
    for file in files:
        yield f"skipped {file.file}: {file.reason}"


def summary(order: SendOptions, answer: Answer, files: list[Path], pictures: list[Path]) -> Iterator[str]:
    """Return a summary of an answer for a person, as lines."""
    yield f"answer  {', '.join(counts(answer))}"
    yield f"input   {order.digest} {answer.input_digest}"
    yield f"output  {order.digest} {answer.output_digest}"
    for kind, paths in groupby([*pictures[:1], *files, *pictures[1:]], key=_kind):
        first, *more = paths
        yield f"wrote   {first}" + (f" and {len(more)} more {_several(kind, more)}" if more else "")


def document(order: SendOptions, answer: Answer, files: list[Path]) -> dict[str, Any]:
    """Return the summary for a script; ``files`` the contact sheet first, if any."""
    return {
        "request_id": answer.request_id,
        "digest": order.digest,
        "input": answer.input_digest,
        "output": answer.output_digest,
        "findings": findings(answer),
        "files": [str(path) for path in files],
    }


def findings(answer: Answer) -> dict[str, int]:
    """Count the findings of each kind, such as one ``probability_mask``."""
    parts = Counter(str(part.get("binary_type") or part.get("key")) for part in answer.parts)
    lists = {key: answer.json.get(key) for key in FINDINGS}
    return dict(parts) | {key: len(entries) for key, entries in lists.items() if isinstance(entries, Sized) and entries}


def _kind(path: Path) -> str:
    """Return a file's name without its number: numbered siblings are listed as one."""
    return PICTURES if re.match(r"[\d-]+_.*\.png$", path.name) else re.sub(r"\d+", "*", path.name)


def _several(kind: str, paths: list[Path]) -> str:
    return kind.removesuffix("s") if kind == PICTURES and len(paths) == 1 else kind


def _ask(order: SendOptions, instances: list[Instance], screen: Terminal, client: Client | None) -> Answer:
    request = order.request(instances)
    files = [instance.source for instance in instances]
    connected = client or Client(order.url, timeout=order.patience, digest=order.digest)
    with connected as client:
        for warning in undeclared.warnings((name for name, _ in order.options), order.route, client):
            screen.note(warning)
        return _asked(order, request, files, screen, client)


def _asked(
    order: SendOptions, request: dict[str, Any], files: Sequence[Source], screen: Terminal, client: Client
) -> Answer:
    started = time.monotonic()
    if order.as_run:
        return run_following.answer_of(run_following.submit(order, request, files, screen, client), order, screen)
    with screen.bar("sending", "the model runs") as progress:
        if order.study_path:
            screen.note(f"requesting {client.address} to read the study")
            answer = client.infer_path(request, order.study_path, order.route)
        elif order.store:
            uploaded = client.upload(files, progress=progress)
            progress(1, 1)  # also where nothing had to be sent
            count = f"{uploaded.sent} of {counted(len(files), 'file')}"
            screen.note(f"sent {count} to {client.address}, which has the others")
            answer = client.infer(uploaded, order.route, request).answer
        else:
            count = counted(len(order.attachments) + len(files), "file")
            screen.note(f"running on {count}" if client.base_url == LOCAL else f"sending {count} to {client.address}")
            answer = client.ask(request, files, order.route, progress, attachments=order.attachments)
    screen.note(f"answered after {time.monotonic() - started:.1f} s")
    return answer


def _nifti(order: SendOptions, instances: list[Instance], answer: Answer) -> list[Path]:
    """Write the masks of an answer as NIfTI. Raises AnswerInvalid, StudyRefused for a mask without a place."""
    require_sound(answer)
    masks = placed_masks(answer.json, answer.buffers, instances)
    with replacing(order.out, answer, "to_nifti") as folder:
        names = [path.name for path in write_nifti_files(masks, folder)]
    return [order.out / name for name in names]


def _picture(order: SendOptions, instances: list[Instance], answer: Answer, screen: Terminal) -> list[Path]:
    """Draw the answer over its study, if that is local. Raises AnswerInvalid for an answer that breaks the protocol."""
    if "aiges" in answer.json:  # a wrapper's answer, without a position in the study
        return []
    faults: list[str] = []
    check(answer.json, list(answer.buffers), serializer=InferenceSerializer(), strict=False, warn=faults.append)
    for fault in faults:
        screen.note(fault)
    if faults:
        raise AnswerInvalid("", f"The answer breaks protocol 1.0 and is not drawn. {faults[0]}")
    if not instances:
        return []
    with screen.bar("drawing") as progress:
        marks, objects = drawn_findings(answer, instances)
        by = origin(answer, order.route)
        with replacing(order.out, answer, "to_png") as folder:
            drawn = write_pictures(folder, instances, marks, objects, by, labels=order.labels, progress=progress)
        return [order.out / path.name for path in drawn]
