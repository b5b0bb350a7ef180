"""The rows of the table, each a function from a plan to its lines."""

from collections.abc import Callable

from benchmarks.results import Line, Plan
from benchmarks.rows.archives import archives
from benchmarks.rows.associations import associations
from benchmarks.rows.batches import batch
from benchmarks.rows.clicks import clicks
from benchmarks.rows.clusters import ray_actors
from benchmarks.rows.contracts import contract
from benchmarks.rows.crowds import many
from benchmarks.rows.dicomweb import dicomweb, searches
from benchmarks.rows.endurance import endurance
from benchmarks.rows.forms import forms
from benchmarks.rows.functions import functions
from benchmarks.rows.latencies import latency
from benchmarks.rows.memories import gigabyte, in_memory, spooled
from benchmarks.rows.mixed import mixed
from benchmarks.rows.observability import observability
from benchmarks.rows.overload import overload
from benchmarks.rows.pages import pages
from benchmarks.rows.placing import devices
from benchmarks.rows.processes import hop, weights
from benchmarks.rows.ray_nodes import ray_nodes
from benchmarks.rows.round_trips import round_trips
from benchmarks.rows.runs import runs
from benchmarks.rows.segmentations import segmentation
from benchmarks.rows.signals import deaths, signals
from benchmarks.rows.tensors import tensors
from benchmarks.rows.uploads import uploads
from benchmarks.rows.volumes import codecs, headers, volume
from benchmarks.rows.walls import blake3, wall
from benchmarks.rows.watchers import watchers

ROWS: dict[str, Callable[[Plan], list[Line]]] = {
    "wall": wall,
    "memory": in_memory,
    "spooled": spooled,
    "gigabyte": gigabyte,
    "latency": latency,
    "many": many,
    "blake3": blake3,
    "observability": observability,
    "contract": contract,
    "segmentation": segmentation,
    "volume": volume,
    "codecs": codecs,
    "headers": headers,
    "uploads": uploads,
    "dicomweb": dicomweb,
    "searches": searches,
    "associations": associations,
    "round-trips": round_trips,
    "runs": runs,
    "clicks": clicks,
    "pages": pages,
    "tensors": tensors,
    "forms": forms,
    "endurance": endurance,
    "weights": weights,
    "hop": hop,
    "batch": batch,
    "ray": ray_actors,
    "nodes": ray_nodes,
    "archives": archives,
    "devices": devices,
    "functions": functions,
    "overload": overload,
    "signals": signals,
    "deaths": deaths,
    "mixed": mixed,
    "watchers": watchers,
}
"""Each row by the name that ``--rows`` takes."""
