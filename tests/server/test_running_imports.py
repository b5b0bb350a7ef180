"""Code that fails to import, at a reload or in a replacement worker, ends no server."""

import os
import signal

import pytest

from tests.server.running import MOSTLY_PROCESS, Running, Start, eventually, told

REFUSED = "not reloaded"


@pytest.fixture(scope="module", params=MOSTLY_PROCESS)
def server(request: pytest.FixtureRequest, start: Start) -> Running:
    return start(request.param, "echo")


@pytest.mark.slow
def test_a_reload_that_cannot_import_is_refused_and_the_former_code_serves_on(server: Running) -> None:
    eventually(lambda: len(server.workers) == 2)
    server.views()  # both have imported it
    before, refused = server.workers, server.server.log.count(REFUSED)
    server.order("unimportable", "no module of this name")
    os.kill(server.master, signal.SIGHUP)
    eventually(lambda: server.server.log.count(REFUSED) > refused)
    assert "no module of this name" in server.server.log
    assert server.workers == before
    assert server.is_ready()
    assert told(server.ask("echo"))
    server.order("unimportable", "")
    os.kill(server.master, signal.SIGHUP)
    eventually(lambda: server.workers and not server.workers & before)
    eventually(server.is_ready)
    assert told(server.ask("echo"))


def test_a_worker_that_cannot_import_what_the_killed_one_did_leaves_the_others_serving(server: Running) -> None:
    eventually(lambda: len(server.workers) == 2)
    server.views()
    before = server.workers
    server.order("unimportable", "half a release")
    os.kill(min(before), signal.SIGKILL)
    eventually(lambda: "half a release" in server.server.log)
    assert told(server.ask("echo"))
    server.order("unimportable", "")
    eventually(lambda: len(server.workers) == 2 and server.workers - before)
    eventually(lambda: len(server.views()) == 2)
    assert server.server.process.poll() is None
