"""``/admin/studies`` in a real browser, which signs in by Basic authentication and has a delivery tried again."""

from pathlib import Path

import pytest

from gateway.cli import main
from gateway.studies import study_history
from gateway.studies.delivery_rows import DeliveryState
from gateway.studies.index import Index
from tests.conftest import Serve
from tests.endpoints.browser import CHROMIUM, browsing
from tests.require import require
from tests.studies import arrived
from tests.waiting import eventually

pytestmark = pytest.mark.slow

RULES = '[rules.lungs]\ntitles = ["CT*"]\nmodel = "/segmentation-3d"\n'
NOW = 1_700_000_000.0


def test_an_operator_signs_in_and_has_a_dead_delivery_sent_again(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require(CHROMIUM, "chromium is not installed")
    keys, rules, store = tmp_path / "keys.json", tmp_path / "rules.toml", tmp_path / "store"
    assert main(["keys", "add", "operator", "--roles", "admin", "--file", str(keys)]) == 0
    key = capsys.readouterr().out.strip()
    rules.write_text(RULES, encoding="utf-8")
    store.mkdir()
    index = Index(store, "")
    with index.writing() as connection:
        dead = arrived.arrive(connection, "dead", NOW)
        arrived.judged(connection, dead, lungs="")
        arrived.route(connection, dead, NOW, arrived.RoutingState.DONE, sent=[("archive", DeliveryState.DEAD)])
    options = {"STORE_FOLDER": store, "ROUTING": rules, "API_KEYS_FILE": keys, "STORE_MAX_AGE": 1e10}
    server = serve("models.app:app", **{f"GATEWAY_{name}": str(value) for name, value in options.items()})
    with browsing(tmp_path / "profile") as page:
        page.go(f"http://operator:{key}@127.0.0.1:{server.port}/admin/studies")
        page.wait("main", "waits for a person 1")
        page.run("document.querySelector('article a').click()")
        page.wait("main", "to archive")
        page.run("document.querySelector('li form button').click()")
        page.wait("[role=status]", "tried again")
        assert page.failures == []

    def state() -> DeliveryState:
        with index.reading() as connection:
            ((history,),) = [each.rounds for each in study_history.of_study(connection, arrived.study("dead"))]
        return history.all_deliveries[0].state

    assert eventually(lambda: state() is DeliveryState.PENDING)
    index.close()
