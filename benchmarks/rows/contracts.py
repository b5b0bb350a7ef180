"""Cost of the typed contract: a typed function against a plain one that reads the same study by the same loader."""

import io
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Annotated, Any, BinaryIO

from pydantic import Field

from benchmarks.pairs import alternate
from benchmarks.results import Line, Plan
from gateway import InferenceSerializer, Mask, Request, Requires, Volume
from gateway.binding.typed_model import Options, TypedModel
from gateway.contract.model import Model, adapt
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.samples import phantom
from gateway.dicom.volumes.study import study
from gateway.executors.runner import AnswerChecks, answer

SIZE = 512
ADDED_MS = 5.0
JSON = {"studyUID": "1.2.3", "threshold": "100"}


def contract(plan: Plan) -> list[Line]:
    """Measure parameters, requirements, checks of the findings and their translation; both decode alike."""
    slices = plan.small_parts // 4
    files = [convert_dataset_to_bytes(one) for one in phantom.datasets(slices=slices, size=SIZE)]
    options = Options(version="1.0.0", requires=Requires(modality="CT", min_slices=8, uniform_spacing=True))
    works = {
        "typed": _timed(TypedModel("/", segment, options), files),
        "plain": _timed(adapt("/", segment_plainly), files),
    }
    samples = alternate(8 * plan.pairs, works)
    added = median(ours - plain for ours, plain in zip(samples["typed"], samples["plain"], strict=True)) * 1000
    typed, plain = (median(samples[name]) * 1000 for name in ("typed", "plain"))
    return [
        Line(
            work=f"typed function, {slices} slices of {SIZE} x {SIZE}", unit="ms", ours=typed, baseline=plain,
            against="plain function", ratio=typed / plain, must_reach=f"added <= {ADDED_MS:g} ms",
            met=added <= ADDED_MS, note=f"the contract adds {added:.2f} ms", samples=samples,
        )
    ]  # fmt: skip


def segment(ct: Volume, threshold: Annotated[float, Field(ge=-1024, le=3071)] = 250) -> Mask:
    """Segment as a typed model does."""
    return Mask(ct.array > threshold, "Dense")


def segment_plainly(json_input: dict[str, Any], files: list[BinaryIO], digest: str) -> Any:
    """Segment as a plain model does, without any check."""
    ct = study(files).series[0].volume()
    mask = ct.array > float(json_input["threshold"])
    depth, height, width = mask.shape
    entry = {
        "label": "Dense",
        "binary_type": "boolean_mask",
        "binary_data_shape": {"timepoints": 1, "depth": depth, "height": height, "width": width},
        "SeriesInstanceUID": ct.series_instance_uid,
    }
    return {"protocol_version": "1.0", "parts": [entry]}, [mask]


def _timed(model: Model, files: list[bytes]) -> Callable[[], float]:
    checks = AnswerChecks(InferenceSerializer(), True, _refuse)

    def work() -> float:
        request = Request(JSON, [io.BytesIO(file) for file in files], "0" * 64)
        started = perf_counter()
        (outcome,) = answer(model, [request], checks)
        seconds = perf_counter() - started
        if isinstance(outcome, Exception):
            raise outcome
        return seconds

    return work


def _refuse(sentence: str) -> None:
    raise ValueError(sentence)
