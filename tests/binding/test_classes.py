"""Models that are set up before they answer: classes, weights, and health meanwhile."""

import hashlib
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway import Classification, Gateway, Request
from gateway.binding.typed_model import TypedModel, source_digest
from tests.binding.asking import Answer, ask, serving
from tests.waiting import PATIENCE, eventually


class Counting:
    """Counts its calls."""

    config = {"step": 1, "name": "counting"}
    events: list[str] = []

    def setup(self) -> None:
        self.events.append("setup")
        self.total = 0

    def predict(self, times: int = 1) -> Classification:
        self.total += times * self.config["step"]
        return Classification({"total": self.total, **self.config})

    def close(self) -> None:
        self.events.append("close")


@pytest.fixture(autouse=True)
def events() -> list[str]:
    Counting.events = []
    return Counting.events


def health(app: Gateway) -> str:
    return app.test_client().get("/healthcheck").text


def wait_for(app: Gateway, word: str) -> None:
    eventually(lambda: health(app) == word)


def total(answer: Answer) -> int:
    return int(answer.json["study_ml_json"]["total"])


def test_a_class_is_set_up_once_and_has_its_state_between_requests(events: list[str]) -> None:
    app = serving(Counting)
    assert [total(ask(app, times=2)), total(ask(app))] == [2, 3]
    assert events == ["setup"]


def test_nothing_is_set_up_when_a_model_is_registered(events: list[str]) -> None:
    serving(Counting)
    assert events == []


def test_the_config_of_the_service_wins_over_that_of_the_class() -> None:
    said = ask(serving(Counting, config={"step": 10})).json["study_ml_json"]
    assert said == {"total": 10, "step": 10, "name": "counting"}
    assert Counting.config["step"] == 1


def test_models_are_closed_in_reverse_order(events: list[str]) -> None:
    class Other(Counting):
        def close(self) -> None:
            self.events.append("close other")

    app = serving(Counting)
    app.model("/other")(Other)
    assert [ask(app).status, ask(app, "/other").status] == [200, 200]
    app.close()
    assert events[-2:] == ["close other", "close"]


def test_a_class_needs_neither_setup_nor_close() -> None:
    class Bare:
        def predict(self) -> Classification:
            return Classification({"bare": True})

    app = serving(Bare)
    assert ask(app).json["study_ml_json"] == {"bare": True}
    app.close()


def test_health_is_starting_until_the_model_is_ready_and_requests_wait_for_it() -> None:
    free = threading.Event()

    class Slow(Counting):
        def setup(self) -> None:
            assert free.wait(PATIENCE)
            super().setup()

    app, answers = serving(Slow), list[Answer]()
    assert health(app) == "STARTING"
    asking = [threading.Thread(target=lambda: answers.append(ask(app))) for _ in range(2)]
    for thread in asking:
        thread.start()
    assert health(app) == "STARTING"
    assert answers == []
    free.set()
    for thread in asking:
        thread.join()
    assert len(answers) == 2
    assert set(map(total, answers)) <= {1, 2}  # they run side by side
    wait_for(app, "READY")
    assert Slow.events == ["setup"]


def test_a_failed_setup_is_reported_by_health_and_each_response_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Counting):
        def setup(self) -> None:
            raise RuntimeError("weights.pt is cut short")

    app = serving(Broken)
    app.model("/fine")(Counting)
    with caplog.at_level(logging.ERROR, "gateway"):
        wait_for(app, "FAILED")
        eventually(lambda: "model setup failed on /" in caplog.text)
    assert "RuntimeError: weights.pt is cut short" in caplog.text  # there is no request yet, and so no patient
    answer = ask(app)
    assert (answer.status, answer.json["type"]) == (500, "urn:gateway:problem:model-failed")
    assert answer.json["detail"] == "This model could not be set up; the gateway's log says why."
    assert total(ask(app, "/fine")) == 1


def test_a_plain_service_is_ready_at_once() -> None:
    def model() -> Classification:
        return Classification({})

    assert health(serving(model)) == "READY"


def weighed(path: Path) -> Any:
    def model() -> Classification:
        return Classification({"size": path.stat().st_size})

    return model


def test_weights_are_hashed_before_the_model_answers(tmp_path: Path) -> None:
    path = tmp_path / "net.bin"
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    for weights in ([path], {path: digest}, {str(path): digest.upper()}):
        app = serving(weighed(path), weights=weights)
        wait_for(app, "READY")
        assert ask(app).status == 200


@pytest.mark.parametrize("change", ["contents", "touched", "gone"])
def test_weights_that_change_after_they_were_loaded_are_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "net.bin"
    path.write_bytes(b"weights")
    app = serving(weighed(path), weights=[path])
    assert ask(app).status == 200
    if change == "contents":
        path.write_bytes(b"other weights")
    elif change == "touched":
        os.utime(path, ns=(1, 1))
    else:
        path.unlink()
    answer = ask(app)
    assert (answer.status, answer.json["type"]) == (500, "urn:gateway:problem:model-failed")
    assert answer.json["detail"].startswith("A weights file of this model has changed since it was loaded")


def test_weights_that_change_while_they_are_loaded_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.bin"
    path.write_bytes(b"weights")

    class Loading(Counting):
        def setup(self) -> None:
            path.write_bytes(b"other weights")

    app = serving(Loading, weights=[path])
    wait_for(app, "FAILED")
    assert ask(app).status == 500


@pytest.mark.parametrize("exists", [True, False])
def test_weights_that_are_not_those_declared_are_refused_at_load(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "net.bin"
    if exists:
        path.write_bytes(b"other weights")
    app = serving(weighed(path), weights={path: hashlib.sha256(b"weights").hexdigest()})
    wait_for(app, "FAILED")
    answer = ask(app)
    assert answer.status == 500
    assert str(path) not in str(answer.json)


def test_the_models_digest_covers_its_source_version_weights_and_config(tmp_path: Path) -> None:
    from gateway.binding.typed_model import Options

    path = tmp_path / "net.bin"

    def digest(target: Any = Counting, contents: bytes = b"weights", **options: Any) -> str:
        path.write_bytes(contents)
        model = TypedModel("/", target, Options(weights=[path], **options))
        model.setup()
        return model.model_digest

    class Other(Counting):
        pass

    digests = [
        digest(),
        digest(Other),
        digest(contents=b"other"),
        digest(version="2"),
        digest(config={"step": 2}),
    ]
    assert len(set(digests)) == len(digests)
    assert digest() == digests[0]


def test_a_source_that_cannot_be_read_has_no_digest() -> None:
    space: dict[str, Any] = {}
    exec("def model(): ...", space)
    assert source_digest(space["model"]) == ""
    assert len(source_digest(Counting)) == 64


def test_a_closed_model_is_set_up_again_when_it_is_used_again(events: list[str]) -> None:
    model = TypedModel("/", Counting)
    request = Request({}, [], "0" * 64)
    model.predict(request)
    model.close()
    model.predict(request)
    assert events == ["setup", "close", "setup"]
