"""A server of a few models in one form of running them, for the tests that look at its processes."""

import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Serve
from tests.ray_packages import ray_variables
from tests.server.running import FORMS, Running, Start
from tests.waiting import eventually


@pytest.fixture(scope="module")
def start(serve: Serve, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Serve the models named, in one of ALL_FORMS; each server is ended with the module."""
    started: list[Running] = []

    def begin(
        form: str,
        models: str,
        *options: str,
        ready: bool = True,
        orders: Mapping[str, str] | None = None,
        **environment: str,
    ) -> Running:
        notes, mark = tmp_path_factory.mktemp("notes"), uuid.uuid4().hex
        for name, text in (orders or {}).items():
            (notes / name).write_text(text)
        variables = {"NOTES": str(notes), "MODELS": models, "RUNNING_TEST_MARK": mark}
        if form == "ray":
            variables |= ray_variables(request.getfixturevalue("ray_packages")) | {"GATEWAY_RAY": "local"}
        variables |= {"GATEWAY_MODEL_PROCESSES": FORMS.get(form, "1")} | environment
        server = serve("tests.apps.running:app", *(options or ("--workers", "2")), **variables)
        started.append(Running(server, notes, mark, form))
        if ready:
            eventually(started[-1].is_ready)
        return started[-1]

    yield begin
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda running: running.server.stop(), started))
    for running in started:
        eventually(lambda running=running: not running.family())
