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


def compare(then: Receipt, now: Receipt) -> Iterator[Line]:
    """Compare two receipts: the input, the parameters, the model and the answer, a line each."""
    yield _input(then, now)
    yield _parameters(then, now)
    yield _model(then, now)
    weights = then["model"]["weights"]
    yield Line("weights", None, f"vouched for by {weights[:12]}" if weights else UNVOUCHED)
    yield _answer(then, now)
    if then["gateway"] != now["gateway"]:
        yield Line("gateway", None, f"was {then['gateway']}, is {now['gateway']}")


def _input(then: Receipt, now: Receipt) -> Line:
    same = then["input"] == now["input"]
    other = "DIFFERENT: another JSON, a changed, missing or added file, or another order of the files"
    return Line("input", same, "the same bytes" if same else other)


def _parameters(then: Receipt, now: Receipt) -> Line:
    same = then["parameters"] == now["parameters"]
    if same and not then["parameters"]:
        return Line("parameters", same, "none declared; what was sent is part of the input")
    return Line("parameters", same, "the same" if same else "DIFFERENT values, defaults filled in")


def _model(then: Receipt, now: Receipt) -> Line:
    was, now_is = then["model"], now["model"]
    if not was["digest"] and not now_is["digest"]:  # a plain function, which has no name but its route
        return Line("model", None, "says nothing of itself")
    changed = [name for name in ("name", "version", "weights") if was[name] != now_is[name]]
    if not changed and was["digest"] != now_is["digest"]:
        changed = ["source or config"]
    return Line("model", not changed, f"DIFFERENT: its {', '.join(changed)}" if changed else "the same")


def _answer(then: Receipt, now: Receipt) -> Line:
    if then["output"] == now["output"]:
        return Line("answer", True, "bit-equal")
    excuse = "" if then["deterministic"] else "; the model does not say that it is deterministic"
    return Line("answer", False, f"DIFFERENT{excuse}")
