"""Two receipts side by side: what was the same when an answer was made again, and what was not."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.observe.audit.receipts import Receipt

UNVOUCHED = "the model declared no weights: nothing vouches for what it computed with"


@dataclass(frozen=True)
class Line:
    """A line of a comparison. ``same`` is None for what is reported but not judged."""

    name: str
    same: bool | None
    sentence: str


def compare(before: Receipt, after: Receipt) -> Iterator[Line]:
    """Compare two receipts: the input, the parameters, the model and the answer, a line each."""
    yield _input(before, after)
    yield _parameters(before, after)
    yield _model(before, after)
    weights = before["model"]["weights"]
    yield Line("weights", None, f"vouched for by {weights[:12]}" if weights else UNVOUCHED)
    yield _answer(before, after)
    if before["gateway"] != after["gateway"]:
        yield Line("gateway", None, f"was {before['gateway']}, is {after['gateway']}")


def _input(before: Receipt, after: Receipt) -> Line:
    same = before["input"] == after["input"]
    difference = "DIFFERENT: another JSON, a changed, missing or added file, or another order of the files"
    return Line("input", same, "the same bytes" if same else difference)


def _parameters(before: Receipt, after: Receipt) -> Line:
    same = before["parameters"] == after["parameters"]
    if same and not before["parameters"]:
        return Line("parameters", same, "none declared; what was sent is part of the input")
    return Line("parameters", same, "the same" if same else "DIFFERENT values, defaults filled in")


def _model(before: Receipt, after: Receipt) -> Line:
    was, now_is = before["model"], after["model"]
    if not was["digest"] and not now_is["digest"]:  # a plain function, which has no name but its route
        return Line("model", None, "says nothing of itself")
    changed = [name for name in ("name", "version", "weights") if was[name] != now_is[name]]
    if not changed and was["digest"] != now_is["digest"]:
        changed = ["source or config"]
    return Line("model", not changed, f"DIFFERENT: its {', '.join(changed)}" if changed else "the same")


def _answer(before: Receipt, after: Receipt) -> Line:
    if before["output"] == after["output"]:
        return Line("answer", True, "bit-equal")
    excuse = "" if before["deterministic"] else "; the model does not say that it is deterministic"
    return Line("answer", False, f"DIFFERENT{excuse}")
