"""A study as ``multipart/form-data``, beside the same parts as ``multipart/related``."""

from benchmarks import pairs, servers
from benchmarks.results import Line, Plan, at_most
from benchmarks.rows.walls import first_row
from benchmarks.studies import study
from gateway.intake.text_fields import WHOLE


def forms(plan: Plan) -> list[Line]:
    """Measure the first row by a form of files and one field of JSON."""
    with servers.ours() as ours:
        works = {
            "ours": pairs.exchange(ours.port, study(plan.parts, depth=plan.depth, kind="form-data", name=WHOLE)),
            "multipart/related": pairs.exchange(ours.port, study(plan.parts, depth=plan.depth)),
        }
        samples = pairs.alternate(plan.pairs, works)
    return [at_most(1.05, f"{first_row(plan)}, form-data", samples, "ours", "multipart/related")]
